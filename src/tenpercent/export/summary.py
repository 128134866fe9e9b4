"""The formats there are, and what an export says it wrote."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import NoReturn

from ..errors import UsageError, nearest


class Format(StrEnum):
    """What an export writes."""

    INDICES = "indices"
    FOLDER = "folder"
    CSV = "csv"
    HF = "hf"

    @classmethod
    def _missing_(cls, value: object) -> NoReturn:
        """Refuse any other name, and offer the nearest."""
        known = [one.value for one in cls]
        close = nearest(str(value), known)
        raise UsageError(f"--format is {value!r}; it must be one of {', '.join(known)}{close}")


@dataclass(frozen=True)
class ExportSummary:
    """What was written.

    Attributes:
        format: what kind of export it is.
        paths: the files or folders that are there now.
        images: how many images they hold.
        notes: what else a person should know, a sentence each.
    """

    format: Format
    paths: tuple[Path, ...]
    images: int
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        wrote = f"{self.images:,} kept images -> {' and '.join(map(str, self.paths))}"
        return "\n".join([wrote, *self.notes])
