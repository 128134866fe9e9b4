"""Export formats, and the summary of an export."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import NoReturn

from ..data.sources.changes import Change, some
from ..errors import UsageError, counted, nearest, worded


class ExportFormat(StrEnum):
    """The format of an export."""

    INDICES = "indices"
    FOLDER = "folder"
    CSV = "csv"
    HF = "hf"
    WEBDATASET = "webdataset"
    LABELSTUDIO = "labelstudio"
    CVAT = "cvat"
    FIFTYONE = "fiftyone"
    TIMES = "times"
    CUT = "cut"
    COCO = "coco"
    YOLO = "yolo"
    VOC = "voc"

    @property
    def has_images(self) -> bool:
        """True where it holds the images themselves."""
        return self not in (ExportFormat.INDICES, ExportFormat.CSV, ExportFormat.TIMES, ExportFormat.CUT)

    @property
    def has_boxes(self) -> bool:
        """True where it holds the boxes of a source that has some."""
        return self.has_annotations or self in (
            ExportFormat.LABELSTUDIO,
            ExportFormat.CVAT,
            ExportFormat.FIFTYONE,
        )

    @property
    def has_annotations(self) -> bool:
        """True where it is a format of annotations."""
        return self in (ExportFormat.COCO, ExportFormat.YOLO, ExportFormat.VOC)

    @classmethod
    def _missing_(cls, value: object) -> NoReturn:
        """Raise for an unknown name, and suggest the nearest."""
        known = [one.value for one in cls]
        close = nearest(str(value), known)
        raise UsageError(f"--format is {value!r}; it must be one of {', '.join(known)}{close}")


def describe_change(
    change: Change,
    kept: Collection[str],
    format: ExportFormat,  # noqa: A002
    noun: str = "image",
) -> list[str]:
    """Return notes on an export whose source has changed, a sentence each.

    Args:
        change: the changes.
        kept: ids of the images that the selection keeps.
        format: the format written.
        noun: what one of its images is called.
    """
    if not change:
        return []
    if not format.has_images:
        return [f"The source has changed since: {change}. Rows and ids here are those of the run."]
    mine = set(kept)
    renamed = [f"{old} is {new}" for old, new in change.renamed.items() if old in mine]
    told = (
        ("Gone, and not exported", "kept image", mine.intersection(change.gone)),
        ("Changed since it was embedded, and not exported", "kept image", mine.intersection(change.replaced)),
        ("Renamed, and exported under the new name", "kept image", renamed),
        (
            "Of another class now, and exported by that of the run",
            "kept image",
            mine.intersection(change.relabelled),
        ),
        ("New to the run, and not exported", "image", change.new),
        ("Changed since it was embedded", "removed image", set(change.replaced) - mine),
    )
    return [
        f"{what}: {counted(len(names), worded(one, noun))} ({some(names)})."
        for what, one, names in told
        if names
    ]


@dataclass(frozen=True)
class ExportSummary:
    """The summary of an export.

    Attributes:
        format: its format.
        paths: the files or folders written.
        images: number of images in them.
        notes: further notes, a sentence each.
        noun: what one image is called.
    """

    format: ExportFormat
    paths: tuple[Path, ...]
    images: int
    notes: tuple[str, ...] = ()
    noun: str = "image"

    def __str__(self) -> str:
        wrote = f"{counted(self.images, f'kept {self.noun}')} -> {' and '.join(map(str, self.paths))}"
        return "\n".join([wrote, *self.notes])
