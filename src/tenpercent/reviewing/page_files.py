"""Files of the page itself, read once: a client's name is looked up among them, never used as a path."""

from __future__ import annotations

import hashlib
from pathlib import Path

from starlette.responses import Response

FOLDER = Path(__file__).resolve().parent / "page"
KINDS = {".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}


def page_files(folder: Path = FOLDER) -> dict[str, Response]:
    """Return the files below a folder by their names, with slashes for subfolders."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.suffix in KINDS and not any(part.startswith((".", "_")) for part in name.split("/")):
            data = path.read_bytes()
            tag = hashlib.blake2b(data, digest_size=16).hexdigest()
            headers = {"ETag": f'"{tag}"', "Cache-Control": "private, no-cache"}
            found[name] = Response(data, media_type=KINDS[path.suffix], headers=headers)
    return found
