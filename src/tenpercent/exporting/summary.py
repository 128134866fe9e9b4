"""Export formats, and the summary of an export."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import NoReturn

from ..data.sources.changes import OTHER_CONTENT, Change, some
from ..errors import UsageError, counted, nearest


class Format(StrEnum):
    """The format of an export."""

    INDICES = "indices"
    FOLDER = "folder"
    CSV = "csv"
    HF = "hf"

    @property
    def has_images(self) -> bool:
        """True where it holds the images themselves."""
        return self in (Format.FOLDER, Format.HF)

    @classmethod
    def _missing_(cls, value: object) -> NoReturn:
        """Raise for an unknown name, and suggest the nearest."""
        known = [one.value for one in cls]
        close = nearest(str(value), known)
        raise UsageError(f"--format is {value!r}; it must be one of {', '.join(known)}{close}")


def describe_change(change: Change, kept: Collection[str], format: Format) -> list[str]:  # noqa: A002
    """Return notes on an export whose source has changed, a sentence each.

    Args:
        change: the changes.
        kept: ids of the images that the selection keeps.
        format: the format written.
    """
    if not change:
        return []
    if not format.has_images:
        return [f"The source has changed since: {change}. Rows and ids here are those of the run."]
    mine = set(kept)
    renamed = [f"{old} is {new}" for old, new in (change.renamed or {}).items() if old in mine]
    told = (
        ("kept image", "is", "gone and not exported", _among(change.gone, mine)),
        ("kept image", "has", f"{OTHER_CONTENT} and is not exported", _among(change.replaced, mine)),
        ("kept image", "has", "another name now, and is exported under it", renamed),
        (
            "kept image",
            "has",
            "another class now, and is exported by that of the run",
            _among(change.relabelled, mine),
        ),
        ("image", "is", "new to the run and not exported", change.new),
        ("removed image", "has", OTHER_CONTENT, [name for name in change.replaced if name not in mine]),
    )
    return [_told(*one) for one in told if one[3]]


def _among(names: Collection[str], mine: Collection[str]) -> list[str]:
    return [name for name in names if name in mine]


def _told(noun: str, verb: str, what: str, names: Collection[str]) -> str:
    if len(names) > 1:
        verb = {"is": "are", "has": "have"}[verb]
        what = what.replace("and is", "and are").replace("it was", "they were")
    return f"{counted(len(names), noun)} {verb} {what}: {some(names)}."


@dataclass(frozen=True)
class ExportSummary:
    """The summary of an export.

    Attributes:
        format: its format.
        paths: the files or folders written.
        images: number of images in them.
        notes: further notes, a sentence each.
    """

    format: Format
    paths: tuple[Path, ...]
    images: int
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        wrote = f"{counted(self.images, 'kept image')} -> {' and '.join(map(str, self.paths))}"
        return "\n".join([wrote, *self.notes])
