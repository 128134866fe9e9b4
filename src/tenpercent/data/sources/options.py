"""What can be said about a source besides its name, and by which rules it is read."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Self, get_type_hints

from ...errors import RunFolderError, UsageError
from ..store.checks import as_path, check_kind
from ..store.run_folder import PLACES
from ..store.typed import problem

RULES = (
    2  # how this version reads sources and pixels; run folders of 0.1 have no number and are read by rules 1
)
MAX_PIXELS = 2**30 // 4 // 3  # Pillow's own limit, 89,478,485
NO_COLUMN = "none"  # a column's name that stands for no column


@dataclass(frozen=True)
class Decoding:
    """How the bytes of an image become pixels.

    Attributes:
        rules: those of `SourceOptions.rules`.
        max_pixels: images of more are rejected before memory is taken for them.
    """

    rules: int = RULES
    max_pixels: int = MAX_PIXELS


@dataclass(frozen=True)
class SourceOptions:
    """Options of a source; each applies to some kinds of source only, and is refused elsewhere.

    Attributes:
        split: which split to take; None for `train` where there are splits; ``"none"`` where folders named
            for splits are classes.
        image_column: Parquet and `hf:`: the column that holds the images; None to find it by its type.
        label_column: Parquet and `hf:`: the column that holds the labels, ``"none"`` for no labels; None to find it.
            Folders: that of the text file that names the images; ``"none"`` takes no labels from folders either.
        embedding_column: Parquet and `hf:`: take the vectors of this column instead of images.
        id_column: Parquet and `hf:`: the column that holds the ids, ``"none"`` for row numbers; None to find it.
        data_dir: `torchvision:`: the folder its data sets lie in.
        labels: `.npy`: labels, one a vector: `.npy`, or `.txt` with one a line. Folders: a text file that names the
            images, a line each with its class; None for one that lies with them or above, where there are no class
            folders.
        ids: `.npy`: ids, one a vector: `.npy`, or `.txt` with one a line.
        follow_links: folders: follow links that lead out of the folder.
        max_pixels: images of more pixels are rejected; None for `MAX_PIXELS`.
        drop_bad_rows: vectors: set rows without a direction (zero, nan, infinite) aside instead of refusing them.
        rules: how it is read: `RULES`, or 1 as run folders of version 0.1 were made. Recorded with a run.
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
    drop_bad_rows: bool = False
    rules: int = RULES

    def __post_init__(self) -> None:
        for name in PLACES:
            if getattr(self, name) is not None:
                object.__setattr__(self, name, as_path(getattr(self, name), name))
        for name in ("split", "image_column", "label_column", "embedding_column", "id_column"):
            check_kind(getattr(self, name), (str, type(None)), name, "a name, or None")
        if self.max_pixels is not None and (not isinstance(self.max_pixels, int) or self.max_pixels < 1):
            raise UsageError(f"max_pixels is {self.max_pixels!r}; give a whole number of pixels above 0")

    @property
    def decoding(self) -> Decoding:
        """How images of this source become pixels."""
        return Decoding(self.rules, MAX_PIXELS if self.max_pixels is None else self.max_pixels)

    def given(self) -> set[str]:
        """Return the names of the options that are set."""
        return {field.name for field in fields(self) if getattr(self, field.name) != field.default} - {
            "rules"
        }

    def allow(self, kind: str, *allowed: str) -> None:
        """Refuse options that a kind of source has no use for.

        Raises:
            UsageError: one that is not `allowed` is set.
        """
        for name in sorted(self.given() - set(allowed)):
            flag = "--" + name.replace("_", "-")
            value = getattr(self, name)
            said = flag if value is True else f"{flag} {value}"
            known = ", ".join("--" + other.replace("_", "-") for other in allowed) or "none"
            raise UsageError(f"{said} does not apply to {kind} (it takes: {known}); leave it out")

    def as_json(self) -> dict[str, Any]:
        """Return the options that are set, and the rules but for 1, as JSON can hold them; paths are made absolute."""
        found: dict[str, Any] = {
            name: str(Path(getattr(self, name)).expanduser().absolute())
            if name in PLACES
            else getattr(self, name)
            for name in sorted(self.given())
        }
        return found if self.rules == 1 else {**found, "rules": self.rules}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Self:
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
            name: Path(value) if name in PLACES else value for name, value in values.items()
        }
        return cls(**{"rules": 1, **found})
