"""Kept images of a selection in the order of the source, as every format writes them."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from ..data.sources.source import ImageSource
from ..errors import StageError

if TYPE_CHECKING:
    from ..selection.selection import Selection


ABOUT = ("id", "class_name", "group", "group_size", "group_diameter")  # what formats tell of a kept image


@dataclass(frozen=True, eq=False)
class Kept:
    """The kept images; where a format has all of them, these.

    Attributes:
        table: the selection's columns, one row an image, in the order of the source.
    """

    table: pa.Table

    @classmethod
    def of(cls, selection: Selection, *, all_images: bool = False) -> Kept:
        """Take the kept rows of `selection.table`, or all, sorted by their row in the source."""
        table = selection.table
        return cls((table if all_images else table.filter(pc.field("kept"))).sort_by("row"))

    def without(self, gone: Collection[str]) -> Kept:
        """Return the rows without the given ids."""
        missing = pc.is_in(self.table["id"], pa.array(list(gone), pa.string()))
        return Kept(self.table.filter(pc.invert(missing))) if gone else self

    def __len__(self) -> int:
        return int(self.table.num_rows)

    @property
    def rows(self) -> npt.NDArray[np.int64]:
        """Rows in the source, int64[k], increasing."""
        return np.asarray(self.table["row"].to_numpy(), dtype=np.int64)

    @property
    def class_names(self) -> list[str | None]:
        """Class of each image; None for an image without a label."""
        return list(self.table["class_name"].to_pylist())

    def about(self, columns: Sequence[str] = ABOUT) -> Iterator[dict[str, Any]]:
        """Yield of each image what formats tell of it, by column: id, class and group, as far as they are known."""
        table = self.table.select([name for name in columns if name in self.table.column_names])
        for batch in table.to_batches(max_chunksize=1000):  # as objects they take much more memory
            for entry in batch.to_pylist():
                yield {name: value for name, value in entry.items() if value is not None}

    def check(self, source: ImageSource) -> None:
        """Raise `StageError` where these rows are not of `source`."""
        ids = self.table["id"].to_pylist()
        for row, name in zip(self.rows.tolist(), ids, strict=True):
            if row >= len(source) or source.ids[row] != name:
                there = repr(source.ids[row]) if row < len(source) else "nothing"
                raise StageError(
                    f"{source.spec} has changed since the run was made: row {row} was {name!r}, is {there}; "
                    f"bring the old source back or run again into another folder"
                )
