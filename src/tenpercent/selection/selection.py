"""A selection: the images kept, the images removed, and the representative of each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, fields, replace
from functools import cached_property
from numbers import Integral
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from ..data.store.checks import check_kind
from ..data.store.embeddings import Embeddings, Ints, Strings
from ..data.store.files import write_table
from ..data.store.ids import as_given, as_text, find_id
from ..data.store.ids import positions_of as positions_of
from ..data.store.tables import check
from ..errors import UsageError
from ..tree.stage_files import read_stage, stored_file
from ..tree.steps import ALL as ALL
from ..tree.steps import Bools, Floats
from .explanation import Explanation, explain
from .notebook import selection_html
from .selection_file import FORMAT, LAYOUT, claims, length_beside
from .subset import checked_subset

if TYPE_CHECKING:
    from torch.utils.data import Dataset, Subset


@dataclass(frozen=True)
class ClassCut:
    """The cut of one class.

    Attributes:
        code: the class; −1 holds the images without a label, −2 all images (``within="all"``).
        name: its name, None for −1 and −2.
        images: how many it has.
        groups: how many groups they make: the images kept, but for `keep_ids`.
        kept: how many are kept.
        height: the height of the last merge taken, 0 where none was; of a strategy without merges the radius: the
            largest dissimilarity of a removed image to its representative.
    """

    code: int
    name: str | None
    images: int
    groups: int
    kept: int
    height: float


@dataclass(frozen=True, eq=False, repr=False)
class Selection:
    """The images kept and removed, and the representative of each.

    In the order of the source, one entry a row (``frame[selection.row_mask]``): `row_mask`, `labels_`, `keeper_rows`,
    and any array below by `by_row`. As row numbers: `rows`, `removed_rows`. The arrays below have one entry
    an image with a vector, in id order: the order of the ids as text, in which 10 comes before 9.

    Attributes:
        ids: str[n], in files as here; `kept` and `removed` are as they were given.
        source_rows: int64[n], position in the source.
        paths: str[n], or None.
        labels: int64[n], −1 for none; None where the source has no labels.
        class_names: the name of each code.
        kept_by_id: bool[n], in id order like all of these; `row_mask` is in the order of the source.
        group: int64[n], numbered by smallest member.
        group_size: int64[n].
        representative: int64[n], the position in id order of the group's representative; −1 where all of
            its images are removed by decision: they stand outside the guarantee.
        dissimilarity: float64[n], to the representative; nan where there is none.
        group_diameter: float64[n], the largest dissimilarity within the group.
        classes: how each class was cut.
        settings: what was asked for.
        notes: sentences on the outcome that a person should read.
        origin: the fingerprint of the embeddings.
        source: ``spec``, ``options`` and ``length`` of the source where known (`with_source`); not stored.
        length: how many rows the source has, those without a vector counted; None where that is not known.
        number_ids: whether the ids were given as whole numbers: then `kept`, `removed`, `table` and `explain` give
            numbers.
    """

    ids: Strings
    source_rows: Ints
    paths: Strings | None
    labels: Ints | None
    class_names: tuple[str, ...]
    kept_by_id: Bools
    group: Ints
    group_size: Ints
    representative: Ints
    dissimilarity: Floats
    group_diameter: Floats
    classes: tuple[ClassCut, ...]
    settings: dict[str, Any]
    notes: tuple[str, ...] = ()
    origin: str = ""
    source: dict[str, Any] | None = field(default=None)
    length: int | None = None
    number_ids: bool = False

    def __post_init__(self) -> None:
        for name in (
            "kept_by_id",
            "group",
            "group_size",
            "representative",
            "dissimilarity",
            "group_diameter",
        ):
            getattr(self, name).flags.writeable = False

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def kept(self) -> npt.NDArray[Any]:
        """Ids of the kept images, in id order: text, or int64 where they were given as whole numbers."""
        return as_given(self.ids[self.kept_by_id], self.number_ids)

    @property
    def removed(self) -> npt.NDArray[Any]:
        """Ids of the removed images, in id order: text, or int64 where they were given as whole numbers."""
        return as_given(self.ids[~self.kept_by_id], self.number_ids)

    @property
    def kept_mask(self) -> NoReturn:
        """Removed attribute: a mask in id order would be mistaken for one in the order of the caller's rows."""
        raise AttributeError(
            "a selection has no kept_mask: take row_mask, in the order of your rows, or kept_by_id, in id order"
        )

    # ---- in the order of the source ------------------------------------------------------------------------------

    @property
    def rows(self) -> Ints:
        """Row numbers in the source of the kept images, ascending; int64[k]."""
        return np.sort(self.source_rows[self.kept_by_id])

    @property
    def removed_rows(self) -> Ints:
        """Row numbers in the source of the removed images, ascending; int64[n − k]."""
        return np.sort(self.source_rows[~self.kept_by_id])

    @property
    def row_mask(self) -> Bools:
        """Mask of the kept rows of the source, bool[length]; False also where an image has no vector."""
        return self.by_row(self.kept_by_id, False)

    @property
    def labels_(self) -> Ints:
        """Number of each row's group, as in scikit-learn: int64[length], −1 for rows without a vector."""
        return self.by_row(self.group, -1)

    @property
    def keeper_rows(self) -> Ints:
        """Row of the representative of each row's group, int64[length]; −1 where there is none."""
        keeper = np.where(self.representative < 0, -1, self.source_rows[self.representative])
        return self.by_row(keeper, -1)

    def by_row(self, values: npt.NDArray[Any], absent: object) -> npt.NDArray[Any]:
        """Return values that are in id order in the order of the source.

        Args:
            values: [n], such as `dissimilarity`.
            absent: the value of rows without a vector.

        Returns:
            An array [length] of the same dtype.

        Raises:
            UsageError: another number of values, or how many rows the source has is not known.
        """
        if len(values) != len(self):
            raise UsageError(
                f"there are {len(values):,} values for {len(self):,} images; give one an image, in id order"
            )
        if self.length is None:
            raise UsageError(
                "this selection was stored without the number of rows of its source; load selection.parquet where it "
                "lies, in its run folder"
            )
        found = np.full(self.length, absent, dtype=np.asarray(values).dtype)
        found[self.source_rows] = values
        return found

    @cached_property
    def table(self) -> pa.Table:
        """Table with one row an image, in id order: id, row, path, label, class_name, kept, group, group_size,
        representative (id), dissimilarity, group_diameter.

        The representative and the dissimilarity to it are null where there is none.
        """
        given = as_given(self.ids, self.number_ids)
        return self._table(pa.array(given) if given.dtype.kind == "i" else pa.array(self.ids, pa.string()))

    def _table(self, ids: pa.Array) -> pa.Table:
        n = len(self)
        labels = np.full(n, -1, dtype=np.int64) if self.labels is None else self.labels
        names = pa.array([*self.class_names, None], pa.string())  # the last for −1
        return pa.table(
            {
                "id": ids,
                "row": pa.array(self.source_rows, pa.int64()),
                "path": pa.nulls(n, pa.string()) if self.paths is None else pa.array(self.paths, pa.string()),
                "label": pa.array(labels, pa.int64()),
                "class_name": names.take(pa.array(np.where(labels < 0, len(self.class_names), labels))),
                "kept": pa.array(self.kept_by_id),
                "group": pa.array(self.group, pa.int64()),
                "group_size": pa.array(self.group_size, pa.int64()),
                "representative": ids.take(pa.array(self.representative, mask=self.representative < 0)),
                "dissimilarity": pa.array(self.dissimilarity, mask=self.representative < 0),
                "group_diameter": pa.array(self.group_diameter),
            }
        )

    def groups(self, min_size: int = 2) -> Iterator[pa.Table]:
        """Yield the rows of `table` group by group: largest group first, equal sizes in order of their number.

        Within a group the representative comes first, the others by dissimilarity to it.
        """
        for positions in self.group_members(min_size):
            yield self.table.take(pa.array(positions))

    def group_members(self, min_size: int = 2) -> Iterator[Ints]:
        """Yield the positions of the members, group by group, in the order of `groups`."""
        others = self.representative != np.arange(len(self))
        check_kind(min_size, Integral, "min_size", "a whole number of images")
        order = np.lexsort((np.arange(len(self)), self.dissimilarity, others, self.group))
        sizes = np.bincount(self.group)
        starts = np.cumsum(sizes) - sizes
        for g in np.argsort(-sizes, kind="stable"):
            if sizes[g] < min_size:
                return
            yield order[starts[g] : starts[g] + sizes[g]]

    @property
    def strategy(self) -> str:
        """Strategy that chose the images: ``semantic`` for the tree, else its name with its value."""
        return str(self.settings.get("strategy", "semantic"))

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

    def class_name(self, position: int) -> str | None:
        """Return the name of the class of the image at `position`, or None where it has none."""
        code = -1 if self.labels is None else int(self.labels[position])
        return None if code < 0 else self.class_names[code]

    def class_cut(self, position: int) -> ClassCut:
        """Return the cut of the class of the image at `position`."""
        code = -1 if self.labels is None else int(self.labels[position])
        return self._cut_of.get(code, self.classes[0])

    @cached_property
    def _cut_of(self) -> dict[int, ClassCut]:
        return {cut.code: cut for cut in self.classes}

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

    def with_source(self, spec: str, options: dict[str, Any], length: int) -> Selection:
        """Return the same selection with its source: for pictures in a notebook, and the length for `subset`."""
        source = {"spec": spec, "options": options, "length": length}
        return replace(self, source=source, length=length if self.length is None else self.length)

    def __repr__(self) -> str:
        kept, n = int(self.kept_by_id.sum()), len(self)
        several = len(np.unique(self.group[~self.kept_by_id]))
        largest = f" (largest {int(self.group_size.max()):,})" if several else ""
        return f"Selection({kept:,} of {n:,} images kept, {n - kept:,} removed, redundant groups: {several:,}{largest})"

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
        write_table(Path(path), self._table(pa.array(self.ids, pa.string())), about)

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
        table, about = read_stage(path, LAYOUT, embeddings, f"tenpercent select {path.parent} --keep 0.9")
        paths = np.asarray(table["path"].to_pylist(), dtype=object)
        names = table["representative"]
        found = cls(
            ids=np.asarray(table["id"].to_pylist(), dtype=object),
            source_rows=table["row"].to_numpy(),
            paths=None if table["path"].null_count == len(table) else paths,
            labels=table["label"].to_numpy() if about["labelled"] else None,
            class_names=tuple(about["class_names"]),
            kept_by_id=table["kept"].to_numpy(),
            group=table["group"].to_numpy(),
            group_size=table["group_size"].to_numpy(),
            representative=pc.index_in(names, table["id"].combine_chunks())
            .fill_null(-1)
            .to_numpy()
            .astype(np.int64),
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
