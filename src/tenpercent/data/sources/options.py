"""Options of a source, and the rules by which it is read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from enum import StrEnum
from pathlib import Path
from typing import Any, Self, get_type_hints

from ...errors import RunFolderError, UsageError, nearest, without_secrets
from ..store.checks import as_path, check_kind
from ..store.run_folder import PLACES
from ..store.typed import problem
from .remote.store import is_remote

RULES = (
    2  # how this version reads sources and pixels; run folders of 0.1 have no number and are read by rules 1
)
MAX_PIXELS = 2**30 // 4 // 3  # Pillow's own limit, 89,478,485
FPS = 1.0
MOST_FPS = 1000  # times are in thousandths of a second
NO_COLUMN = "none"  # a column name that means no column


@dataclass(frozen=True)
class Decoding:
    """Settings by which the bytes of an image become pixels.

    Attributes:
        rules: see `SourceOptions.rules`.
        max_pixels: images with more pixels are rejected before memory is allocated for them.
    """

    rules: int = RULES
    max_pixels: int = MAX_PIXELS


class Unit(StrEnum):
    """What is one image of an annotated set."""

    IMAGE = "image"
    OBJECT = "object"


@dataclass(frozen=True)
class SourceOptions:
    """Options of a source; each applies to some kinds of sources only, and is refused for others.

    Attributes:
        split: the split to take; None for `train` where there are splits; ``"none"`` where folders named like splits
            are classes.
        image_column: Parquet and `hf:`: the column that holds the images; None to find it by its type.
        label_column: Parquet and `hf:`: the column that holds the labels, ``"none"`` for no labels; None to find it.
            Folders: the column of the text file that names the images; ``"none"`` takes no labels from folders either.
        embedding_column: Parquet and `hf:`: take the vectors of this column instead of images.
        id_column: Parquet and `hf:`: the column that holds the ids, ``"none"`` for row numbers; None to find it.
        data_dir: `torchvision:`: the folder that holds its data sets.
        labels: `.npy`: labels, one per vector: `.npy`, or `.txt` with one per line. Folders, archives: a text file with
            the name and class of an image per line; None for one beside or above the images, where there are no class
            folders.
        ids: `.npy`: ids, one per vector: `.npy`, or `.txt` with one per line.
        follow_links: folders: follow links that lead out of the folder.
        max_pixels: images of more pixels are rejected; None for `MAX_PIXELS`.
        where: Parquet and `hf:`: take the rows for which this condition on their columns is true, as SQL has it.
        by: Parquet and `hf:`: the column whose values take the place of the classes: images are clustered within each.
            Videos: ``"clip"``.
        images: `coco:` and `yolo:`: the folder where paths begin, or its address; None for one beside the annotations.
        unit: `coco:`, `yolo:` and `voc:`: `Unit`; None for whole images.
        drop_bad_rows: vectors: set aside rows without a direction (zero, nan, infinite) instead of refusing them.
        fps: videos: frames to take a second, by their times; None for `FPS`.
        rules: rules for reading: `RULES`, or 1 for run folders of version 0.1. Recorded with a run.
    """

    split: str | None = None
    image_column: str | None = None
    label_column: str | None = None
    embedding_column: str | None = None
    id_column: str | None = None
    data_dir: Path | None = None
    labels: Path | None = None
    ids: Path | None = None
    follow_links: bool = False
    max_pixels: int | None = None
    where: str | None = None
    by: str | None = None
    images: Path | str | None = None
    unit: str | None = None
    drop_bad_rows: bool = False
    fps: float | None = None
    rules: int = RULES

    def __post_init__(self) -> None:
        for name in PLACES:
            value = getattr(self, name)
            if is_remote(value) and name != "images":
                raise UsageError(
                    f"{name} is {value}, which is not read where it is; fetch it, and name it on disk"
                )
            if value is not None and not is_remote(value):
                object.__setattr__(self, name, as_path(value, name))
        for name in ("split", "image_column", "label_column", "embedding_column", "id_column", "by", "where"):
            check_kind(getattr(self, name), (str, type(None)), name, "a name, or None")
        if self.by is not None and self.label_column not in (None, NO_COLUMN):
            raise UsageError(
                f"by is {self.by!r} and takes the place of the classes, but label_column is {self.label_column!r}; "
                "give one of them"
            )
        if self.unit is not None and self.unit not in list(Unit):
            raise UsageError(
                f"unit is {self.unit!r}; it must be {' or '.join(Unit)}{nearest(self.unit, Unit)}"
            )
        if self.max_pixels is not None and (not isinstance(self.max_pixels, int) or self.max_pixels < 1):
            raise UsageError(f"max_pixels is {self.max_pixels!r}; give a whole number of pixels above 0")
        if self.fps is not None:
            check_kind(self.fps, (int, float), "fps", "frames a second, such as 1 or 0.5")
            object.__setattr__(self, "fps", float(self.fps))
            if not 1 / MOST_FPS <= self.fps <= MOST_FPS:
                raise UsageError(f"fps is {self.fps:g}; give a number from {1 / MOST_FPS:g} to {MOST_FPS:,}")

    @property
    def decoding(self) -> Decoding:
        """Settings by which images of this source become pixels."""
        return Decoding(self.rules, MAX_PIXELS if self.max_pixels is None else self.max_pixels)

    def given(self) -> set[str]:
        """Return the names of the options that are set."""
        return {field.name for field in fields(self) if getattr(self, field.name) != field.default} - {
            "rules"
        }

    def allow(self, kind: str, *allowed: str) -> None:
        """Refuse options that do not apply to a kind of source.

        Raises:
            UsageError: an option that is not `allowed` is set.
        """
        for name in sorted(self.given() - set(allowed)):
            flag = "--" + name.replace("_", "-")
            value = getattr(self, name)
            said = flag if value is True else f"{flag} {value}"
            known = ", ".join("--" + other.replace("_", "-") for other in allowed) or "none"
            raise UsageError(f"{said} does not apply to {kind} (it takes: {known}); leave it out")

    def as_json(self) -> dict[str, Any]:
        """Return the options that are set, and the rules unless 1, as JSON; paths are made absolute."""
        found = {name: _plain(name, getattr(self, name)) for name in sorted(self.given())}
        return found if self.rules == 1 else {**found, "rules": self.rules}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """Return the options that `as_json` described; those of version 0.1 name no rules.

        Raises:
            RunFolderError: one is unknown, or of another type.
        """
        kinds = get_type_hints(cls)
        for name, value in values.items():
            kind = str if name in PLACES else kinds.get(name)
            wrong = "is unknown" if kind is None else problem(value, kind, "")
            if wrong is not None:
                raise RunFolderError(
                    f"the option {name!r} of the source {wrong.strip()}; restore a backup of run.json, or choose "
                    "another --out"
                )
        found: dict[str, Any] = {
            name: Path(value) if name in PLACES and not is_remote(value) else value
            for name, value in values.items()
        }
        return cls(**{"rules": 1, **found})


def _plain(name: str, value: Any) -> Any:
    """Return the value of an option for JSON: paths are made absolute, addresses have no secrets."""
    if name not in PLACES:
        return value
    return without_secrets(value) if is_remote(value) else str(Path(value).expanduser().absolute())
