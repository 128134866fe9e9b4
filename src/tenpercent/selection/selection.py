"""A selection: the images kept, the images removed, and the representative of each; as a table, and on disk."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ..data.store.checks import check_kind
from ..data.store.embeddings import Embeddings, Ints, Strings, in_batches
from ..data.store.files import ROW_GROUP, write_parts
from ..data.store.ids import AT_ONCE, as_given, as_text, find_id, positions_of
from ..data.store.tables import check
from ..errors import UsageError, quoted, require
from ..tree.stage_files import read_stage, stored_file
from .applied import applied
from .arrays import ClassCut, SelectionArrays
from .explanation import Explanation, explain
from .notebook import selection_html
from .selection_file import FORMAT, LAYOUT, claims, length_beside
from .subset import checked_subset

if TYPE_CHECKING:
    import pandas as pd
    from torch.utils.data import Dataset, Subset


@dataclass(frozen=True, eq=False, repr=False)
class Selection(SelectionArrays):
    """The images kept and removed, and the representative of each.

    In the order of the source, one entry a row (``frame[selection.row_mask]``): `row_mask`, `labels_`,
    `representative_rows`, and any array of `SelectionArrays` by `by_row`. As row numbers: `rows`, `removed_rows`. The
    arrays themselves (`kept_by_id`, `group`, `representative`, …) have one entry an image with a vector, in id order:
    the order of the ids as text, in which 10 comes before 9.
    """

    @cached_property
    def table(self) -> pa.Table:
        """Table with one row an image, in id order: id, row, path, label, class_name, kept, group, group_size,
        representative (id), dissimilarity, group_diameter.

        The representative and the dissimilarity to it are null where there is none. Where images are locked, a last
        column says which.
        """
        given = as_given(self.ids, self.number_ids)
        return self._table(pa.array(given) if given.dtype.kind == "i" else pa.array(self.ids, pa.string()))

    def _table(self, ids: pa.Array, part: slice = slice(None)) -> pa.Table:
        """Return `table`, or a part of it, with the ids of all images."""
        labels, representative = self.codes[part], self.representative[part]
        names = pa.array([*self.class_names, None], pa.string())  # the last for −1
        locked = {} if self.locked is None else {"locked": pa.array(self.locked[part])}
        return pa.table(
            {
                "id": ids[part],
                "row": pa.array(self.source_rows[part], pa.int64()),
                "path": pa.nulls(len(labels), pa.string())
                if self.paths is None
                else pa.array(self.paths[part], pa.string()),
                "label": pa.array(labels, pa.int64()),
                "class_name": names.take(pa.array(np.where(labels < 0, len(self.class_names), labels))),
                "kept": pa.array(self.kept_by_id[part]),
                "group": pa.array(self.group[part], pa.int64()),
                "group_size": pa.array(self.group_size[part], pa.int64()),
                "representative": ids.take(pa.array(representative, mask=representative < 0)),
                "dissimilarity": pa.array(self.dissimilarity[part], mask=representative < 0),
                "group_diameter": pa.array(self.group_diameter[part]),
                **locked,
            }
        )

    def groups(self, min_size: int = 2) -> Iterator[pa.Table]:
        """Yield the rows of `table` group by group: largest group first, equal sizes in order of their number.

        Within a group the representative comes first, the others by dissimilarity to it.
        """
        for positions in self.group_members(min_size):
            yield self.table.take(pa.array(positions))

    def position(self, image: str | int) -> int:
        """Return the position in id order of an id; where ids are row numbers, of a row.

        Raises:
            UsageError: there is no such image, or it has no vector.
        """
        text, first = as_text(image), str(int(self.source_rows[0]))
        if find_id(self.ids, text, self.source_rows) is None and text.isdecimal():
            numbered = self.ids[0] == first.zfill(len(self.ids[0])) and len(text) <= len(self.ids[0])
            if numbered and self.length is not None and int(text) < self.length:
                raise UsageError(
                    f"row {int(text)} took no part: it was rejected or held out; ask for another"
                )
        return int(positions_of(self.ids, [image], "the id", self.source_rows)[0])

    def explain(self, image: str | int, embeddings: Embeddings | None = None) -> Explanation:
        """Explain why an image was kept or removed: its group, its representative, the dissimilarities.

        Args:
            image: its id; where ids are row numbers, the row.
            embeddings: where given, the nearest image outside the group is named as well.

        Raises:
            UsageError: there is no such image.
        """
        check_kind(
            embeddings, (Embeddings, type(None)), "embeddings", "those that the selection was made from"
        )
        return explain(self, self.position(image), embeddings)

    def subset(self, dataset: Dataset[Any]) -> Subset[Any]:
        """Return the kept images of a PyTorch dataset whose order is the source's.

        Raises:
            UsageError: the dataset has another length, or other labels.
        """
        return checked_subset(self, dataset)

    def apply(self, data: Any) -> Any:
        """Return what has one row an image, in the order of the source, without the rows that don't stay.

        Args:
            data: a frame of pandas or Polars, an Arrow table or column, a `datasets.Dataset`, a torch data set or
                tensor, an array, a list or a tuple; the result is of the same kind (of a torch data set, a `Subset`).

        Raises:
            UsageError: it has another number of rows, or other files or labels, or is none of these.
        """
        return applied(self, data)

    def to_arrow(self) -> pa.Table:
        """Return `table` in the order of the source: one row an image that has a vector, its row in column ``row``."""
        return self.table.sort_by("row")

    def to_pandas(self) -> pd.DataFrame:
        """Return `to_arrow` as a frame of pandas.

        Raises:
            MissingExtraError: pandas is not installed.
        """
        require("pandas")
        frame: pd.DataFrame = self.to_arrow().to_pandas()
        return frame

    def to_polars(self) -> Any:
        """Return `to_arrow` as a frame of Polars.

        Raises:
            MissingExtraError: Polars is not installed.
        """
        return require("polars").from_arrow(self.to_arrow())

    def with_source(self, spec: str, options: dict[str, Any], length: int) -> Selection:
        """Return the same selection with its source: for pictures in a notebook, and the length for `subset`."""
        source = {"spec": spec, "options": options, "length": length}
        return replace(self, source=source, length=length if self.length is None else self.length)

    def _repr_html_(self) -> str:
        return selection_html(self)

    # ---- on disk -------------------------------------------------------------------------------------------------

    def save(self, path: str | Path) -> None:
        """Write ``selection.parquet``: `table`, with the settings; equal selections give equal bytes."""
        about = {
            "format": FORMAT,
            "origin": self.origin,
            "n": len(self),
            "settings": self.settings,
            "notes": list(self.notes),
            "labelled": self.labels is not None,
            "class_names": list(self.class_names),
            "classes": [asdict(cut) for cut in self.classes],
        }
        if self.length is not None:
            about["length"] = self.length
        if self.number_ids:
            about["number_ids"] = True
        ids, n = pa.array(self.ids, pa.string()), len(self)
        write_parts(Path(path), (self._table(ids, part) for part in in_batches(n, ROW_GROUP)), about)

    @classmethod
    def load(cls, path: str | Path, embeddings: Embeddings | None = None) -> Selection:
        """Read ``selection.parquet`` back.

        Args:
            path: the file, or the run folder that holds it.
            embeddings: where given, the selection must have been made from them.

        Raises:
            StageError: there is none, it is damaged, of a newer format, or made from other embeddings.
        """
        path = stored_file(path, "selection.parquet", "a stored selection")
        table, about = read_stage(
            path, LAYOUT, embeddings, f"tenpercent select {quoted(path.parent)} --keep 0.9"
        )
        names, paths = table["representative"], table["path"]
        found = cls(
            ids=_known_ids(table["id"], embeddings),
            source_rows=table["row"].to_numpy(),
            paths=None if paths.null_count == len(table) else paths.to_numpy(),
            labels=table["label"].to_numpy() if about["labelled"] else None,
            class_names=tuple(about["class_names"]),
            kept_by_id=table["kept"].to_numpy(),
            group=table["group"].to_numpy(),
            group_size=table["group_size"].to_numpy(),
            representative=_places(names, table["id"]),
            dissimilarity=table["dissimilarity"].to_numpy(),
            group_diameter=table["group_diameter"].to_numpy(),
            classes=tuple(
                ClassCut(**{one.name: cut[one.name] for one in fields(ClassCut)}) for cut in about["classes"]
            ),
            settings=about["settings"],
            notes=tuple(about["notes"]),
            origin=about["origin"],
            length=about.get("length", length_beside(path)),
            number_ids=about.get("number_ids", False),
            locked=table["locked"].to_numpy() if "locked" in table.column_names else None,
        )
        check(
            path,
            (len(table) == about["n"], f"it has {len(table):,} rows of {about['n']:,}"),
            (
                np.array_equal(found.representative < 0, names.is_null().to_numpy()),
                "column representative names an image that is not there",
            ),
            *claims(found),
        )
        return found


def _known_ids(column: pa.ChunkedArray, embeddings: Embeddings | None) -> Strings:
    """Return a column of ids; where they are those of the embeddings, these, as text takes 72 bytes an image."""
    if embeddings is not None and len(embeddings) == len(column):
        parts = in_batches(len(column), AT_ONCE)
        if all(column[part].to_pylist() == embeddings.ids[part].tolist() for part in parts):
            return embeddings.ids
    return np.asarray(column.to_numpy(), dtype=object)


def _places(names: pa.ChunkedArray, ids: pa.ChunkedArray) -> Ints:
    """Return the position of each name among the ids, int64[n]; −1 for null, and where there is none.

    Most images represent themselves, so a table of the other names takes a small part of one of all ids.
    """
    own = pc.fill_null(pc.equal(names, ids), False).to_numpy()
    found = np.where(own, np.arange(len(ids)), -1)
    others = names.filter(pa.array(~own))
    wanted = pc.unique(others).drop_null()
    at = pc.fill_null(pc.index_in(ids, wanted), -1).to_numpy()
    place = np.full(len(wanted) + 1, -1)
    place[at] = np.arange(len(ids))
    place[-1] = -1  # of null, and of ids that are not wanted
    found[~own] = place[pc.fill_null(pc.index_in(others, wanted), -1).to_numpy()]
    return found
