"""What can be said about a source besides its name."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Self

from ..errors import UsageError

_PATHS = ("data_dir", "labels", "ids")


@dataclass(frozen=True)
class SourceOptions:
    """Options of a source; each applies to some kinds of source only, and is refused elsewhere.

    Attributes:
        split: which split to take; None for `train` where there are splits.
        image_column: Parquet and `hf:`: the column that holds the images; None to find it by its type.
        label_column: Parquet and `hf:`: the column that holds the labels; None to find it.
        embedding_column: Parquet and `hf:`: take the vectors of this column instead of images.
        data_dir: `torchvision:`: the folder its data sets lie in.
        labels: `.npy`: labels, one a vector: `.npy`, or `.txt` with one a line.
        ids: `.npy`: ids, one a vector: `.npy`, or `.txt` with one a line.
    """

    split: str | None = None
    image_column: str | None = None
    label_column: str | None = None
    embedding_column: str | None = None
    data_dir: Path | None = None
    labels: Path | None = None
    ids: Path | None = None

    def given(self) -> set[str]:
        """Return the names of the options that are set."""
        return {field.name for field in fields(self) if getattr(self, field.name) is not None}

    def allow(self, kind: str, *allowed: str) -> None:
        """Refuse options that a kind of source has no use for.

        Raises:
            UsageError: one that is not `allowed` is set.
        """
        for name in sorted(self.given() - set(allowed)):
            flag = "--" + name.replace("_", "-")
            known = ", ".join("--" + other.replace("_", "-") for other in allowed) or "none"
            raise UsageError(
                f"{flag} {getattr(self, name)} does not apply to {kind} (it takes: {known}); leave it out"
            )

    def as_json(self) -> dict[str, Any]:
        """Return the options that are set, paths made absolute, as JSON can hold them."""
        return {
            name: str(Path(getattr(self, name)).expanduser().resolve())
            if name in _PATHS
            else getattr(self, name)
            for name in sorted(self.given())
        }

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Self:
        """Return the options that `as_json` described."""
        found: dict[str, Any] = {
            name: Path(value) if name in _PATHS else value for name, value in values.items()
        }
        return cls(**found)
