"""File and folder names valid on any file system, made from arbitrary ids and class names."""

from __future__ import annotations

import os
import re
import unicodedata

from ..data.sources.classes import caseless

LONGEST = 200  # bytes: file systems allow 255, and a name may still get a number and another extension
UNSAFE = re.compile(r'[\x00-\x1f\x7f/\\:*?"<>|]')
RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\.|$)", re.IGNORECASE)


def safe_name(text: str) -> str:
    """Return `text` as one plain name: no separators, no control characters, not hidden, not too long."""
    name = UNSAFE.sub("_", unicodedata.normalize("NFC", text)).rstrip(" .")
    if not name or name[0] in ". " or RESERVED.match(name):
        name = f"_{name.lstrip(' .')}"
    return shortened(name)


def shortened(name: str) -> str:
    """Return `name` cut to `LONGEST` bytes, its extension kept."""
    stem, extension = os.path.splitext(name)  # noqa: PTH122
    if len(os.fsencode(extension)) > 20:
        stem, extension = name, ""
    while len(os.fsencode(stem + extension)) > LONGEST:
        stem = stem[:-1]
    return stem + extension


class FreeNames:
    """FreeNames within one folder, each given once, even where case does not count."""

    def __init__(self) -> None:
        self._taken: set[str] = set()

    def free(self, name: str) -> str:
        """Return `name`, or `name` with the first number that makes it new: ``cat.jpg``, ``cat-2.jpg``."""
        stem, extension = os.path.splitext(name)  # noqa: PTH122
        candidate, number = name, 1
        while caseless(candidate) in self._taken:
            number += 1
            candidate = f"{stem}-{number}{extension}"
        self._taken.add(caseless(candidate))
        return candidate
