"""Counts of each class at the end of its merges, stored beside them, from which a deeper cut resumes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import TypedDict

import numpy as np
import pyarrow as pa

from ..data.store.embeddings import Ints
from ..data.store.files import write_table
from ..data.store.tables import Column, Layout, ascending, check, read_about, read_checked
from ..data.store.typed import NewerFormatError
from ..linkage.walk import PairCounts
from .merge_table import MergeTable
from .representatives import groups_of

FORMAT = 1


class CountsAbout(TypedDict):
    """Metadata stored beside the counts."""

    format: int
    made_of: str
    classes: list[int]


LAYOUT = Layout(
    (
        Column("class", pa.int64()),
        Column("a", pa.int32(), lowest=0),
        Column("b", pa.int32(), lowest=0),
        Column("seen", pa.int64(), lowest=1),
    ),
    CountsAbout,
    FORMAT,
)


class StoredCounts(Mapping[int, PairCounts]):
    """Stored counts by the code of the class, read on first use.

    Counts apply only to the merges they were written beside. Where they are missing, belong to other merges, or have a
    newer format, no class has any: a deeper cut then walks all pairs again, with the same result.
    """

    def __init__(self, path: Path, merges: MergeTable) -> None:
        """Open the counts beside the file of merges `path`, if they belong to `merges`, which it holds."""
        self._path, self._merges = counts_path(path), merges

    @cached_property
    def _found(self) -> dict[int, PairCounts]:
        if not self._path.is_file():
            return {}
        try:
            about = read_about(self._path, LAYOUT)
        except NewerFormatError:
            return {}
        if about["made_of"] != self._merges.fingerprint:
            return {}
        table, _ = read_checked(self._path, LAYOUT)
        of_class, a, b, seen = (table[name].to_numpy() for name in table.column_names)
        self._check(about["classes"], of_class, a, b, seen)
        codes = about["classes"]
        ends = np.searchsorted(of_class, codes, side="right").tolist()
        starts = np.searchsorted(of_class, codes, side="left").tolist()
        return {
            code: PairCounts(a[start:end], b[start:end], seen[start:end])
            for code, start, end in zip(codes, starts, ends, strict=True)
        }

    def _check(self, codes: list[int], of_class: Ints, a: Ints, b: Ints, seen: Ints) -> None:
        """Raise `StageError` unless these are counts between clusters that the merges leave."""
        merges, n = self._merges, len(self._merges.embeddings)
        check(
            self._path,
            (
                codes == sorted(set(codes) & set(merges.classes.tolist())),
                "its classes are not those of the merges",
            ),
            (np.isin(of_class, codes).all(), "it counts for a class that it does not name"),
            (max(a.max(initial=0), b.max(initial=0)) < n, f"it names a cluster above {n - 1}"),
            (ascending(of_class, a, b), "its rows are not in ascending order"),
        )
        group = groups_of(n, merges.a, merges.b)
        largest = np.zeros(n, dtype=np.int64)
        largest[group] = np.arange(n)  # of equal groups the last is assigned
        size, one, other = np.bincount(group), group[a], group[b]
        place = np.searchsorted(merges.classes, of_class)
        index = merges.class_index
        check(
            self._path,
            (np.all(a < b), "column a is not below column b"),
            (
                np.array_equal(largest[one], a) and np.array_equal(largest[other], b),
                "it counts between clusters that the merges don't leave",
            ),
            (
                np.array_equal(index[a], place) and np.array_equal(index[b], place),
                "it counts between images of other classes",
            ),
            (np.all(seen <= size[one] * size[other]), "it counts more pairs than there are"),
        )

    def __getitem__(self, code: int) -> PairCounts:
        return self._found[code]

    def __iter__(self) -> Iterator[int]:
        return iter(self._found)

    def __len__(self) -> int:
        return len(self._found)


def counts_path(merges: Path) -> Path:
    """Return the path of the counts of a file of merges."""
    return merges.with_name(f"{merges.stem}.counted.parquet")


def save_counts(merges: Path, counts: Mapping[int, PairCounts], made_of: str) -> None:
    """Write the counts beside the file `merges`, which has the fingerprint `made_of`; equal counts, equal bytes.

    Write them first: a process killed between the two files then leaves counts that do not match the older merges.
    """
    path, codes = counts_path(merges), sorted(counts)
    if not codes:
        path.unlink(missing_ok=True)
        return
    edges = [len(counts[code].seen) for code in codes]
    columns = {"class": np.repeat(np.asarray(codes, dtype=np.int64), edges)}
    for name in PairCounts._fields:
        columns[name] = np.concatenate([getattr(counts[code], name) for code in codes])
    write_table(path, pa.table(columns), {"format": FORMAT, "made_of": made_of, "classes": codes})
