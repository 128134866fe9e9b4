"""The run folders of version 0.1 that `stored_runs.zip` holds, laid out as they were made."""

from __future__ import annotations

import zipfile
from pathlib import Path

PACKED = Path(__file__).with_name("stored_runs.zip")
PLACE = b"@FOLDER@"  # where the folder lay, in the files that say so
SAYING = (".json", ".html", ".csv", ".tex", ".md")


def unpack(to: Path) -> Path:
    """Unpack sources and runs into `to` and return it."""
    with zipfile.ZipFile(PACKED) as packed:
        packed.extractall(to)
    for path in to.rglob("*"):
        if path.suffix in SAYING:
            path.write_bytes(path.read_bytes().replace(PLACE, str(to).encode()))
    return to
