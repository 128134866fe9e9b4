"""The files of the page itself, listed once: what a client names is looked up among them, never taken for a path."""

from __future__ import annotations

import hashlib
import mimetypes
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).resolve().parent / "page"
KINDS = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".mjs": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
    ".md": "text/plain; charset=utf-8",
}


@dataclass(frozen=True)
class PageFile:
    """One file of the page."""

    data: bytes
    kind: str
    tag: str


def page_files(folder: Path = FOLDER) -> dict[str, PageFile]:
    """Return the files below a folder by their names, those in folders with slashes."""
    found = {}
    for path in sorted(folder.rglob("*")) if folder.is_dir() else []:
        name = path.relative_to(folder).as_posix()
        if path.is_file() and not any(part.startswith((".", "_")) for part in name.split("/")):
            data = path.read_bytes()
            guess = mimetypes.guess_type(name)[0] or "application/octet-stream"
            tag = hashlib.blake2b(data, digest_size=16).hexdigest()
            found[name] = PageFile(data, KINDS.get(path.suffix.lower(), guess), tag)
    return found
