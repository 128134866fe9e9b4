"""Finished classes of an unfinished clustering, in part files until the merges are complete."""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from ..data.store.files import fingerprint, remove_temporaries, write_table
from ..data.store.tables import Column, FormatOnly, Layout, check, read_checked
from ..linkage.linkage import Linkage
from ..linkage.walk import PairCounts

FORMAT = 1
SECONDS = 2.0  # between two part files, so that a thousand small classes don't cause a thousand slow writes
TYPES = {"a": "i8", "b": "i8", "height": "f8", "counted_a": "i4", "counted_b": "i4", "counted_seen": "i8"}
PLAIN = (
    Column("code", pa.int64()),
    Column("merges", pa.int64(), nullable=True, lowest=0),
    Column("up_to", pa.float64(), nullable=True, lowest=0),
    Column("complete_to", pa.float64()),
    Column("is_counted", pa.bool_()),
)


LISTS = tuple(
    Column(name, pa.large_list(pa.from_numpy_dtype(np.dtype(kind)))) for name, kind in TYPES.items()
)
LAYOUT = Layout((*PLAIN, *LISTS), FormatOnly, FORMAT)


class ClassDepth(NamedTuple):
    """Requested depth of a class: a number of merges, or all up to a height."""

    code: int
    merges: int | None
    height: float | None


class FinishedClasses:
    """Classes finished so far, by requested depth, in the run folder.

    Merges are a pure function of the vectors and the requested depth. So a class with the same request is read from
    here, whatever else has changed meanwhile, and the result has the bytes of an uninterrupted run.

    Attributes:
        folder: for the part files, and a folder per class for the spilled files of its clustering.
    """

    def __init__(self, scratch: Path, what: dict[str, Any]) -> None:
        """Load what an interrupted run left; the caller holds the lock of the stage.

        Args:
            scratch: the run's folder for files needed only until a stage is done.
            what: description of the input; parts with another one are removed.

        Raises:
            StageError: a part file is damaged.
        """
        self.folder = scratch / f"cluster-{fingerprint({'format': FORMAT, **what})}"
        for other in scratch.glob("cluster-*"):
            if other != self.folder:
                shutil.rmtree(other)
        if self.folder.is_dir():
            remove_temporaries(self.folder)
        parts = sorted(self.folder.glob("part-*.parquet"))
        self._next = len(parts)
        self._found: dict[ClassDepth, Linkage] = {}
        self._of_class: dict[int, list[Linkage]] = {}
        for part in parts:
            self.take(part)
        self._fresh: list[tuple[ClassDepth, Linkage]] = []
        self._written = time.monotonic()

    def find(self, depth: ClassDepth) -> Linkage | None:
        """Return the result of a request, or None where it is not finished."""
        return self._found.get(depth)

    def take(self, part: Path) -> None:
        """Take over the classes of a part file, e.g. that of a task.

        Raises:
            StageError: it is damaged.
        """
        for depth, linkage in read_part(part).items():
            self._found[depth] = linkage
            self._of_class.setdefault(depth.code, []).append(linkage)

    def shallower(self, depth: ClassDepth) -> list[Linkage]:
        """Return the results of the class for shallower requests, to resume from.

        Deeper ones do not help: cut back they would lack their counts, and whole they would depend on earlier calls.
        """
        return [
            linkage
            for linkage in self._of_class.get(depth.code, [])
            if (depth.merges is not None and len(linkage) < depth.merges)
            or (depth.height is not None and linkage.complete_to < depth.height)
        ]

    def scratch(self, code: int) -> Path:
        """Return the folder that the clustering of a class may spill to; it need not exist."""
        return self.folder / f"class-{code}"

    def add(self, depth: ClassDepth, linkage: Linkage) -> None:
        """Add a finished class, and write the collected ones if the last write was `SECONDS` ago.

        Raises:
            RunFolderError: the disk is full; what was written before is kept.
        """
        self._fresh.append((depth, linkage))
        if time.monotonic() - self._written >= SECONDS:
            self.write()

    def write(self) -> None:
        """Write the classes that are not on disk yet, and remove what they spilled.

        Raises:
            RunFolderError: the disk is full; what was written before is kept.
        """
        if self._fresh:
            write_part(self.folder / f"part-{self._next:05d}.parquet", self._fresh)
            self._next += 1
            for depth, _ in self._fresh:
                shutil.rmtree(self.scratch(depth.code), ignore_errors=True)
            self._fresh.clear()
        self._written = time.monotonic()


def write_part(path: Path, finished: Sequence[tuple[ClassDepth, Linkage]]) -> None:
    """Write classes with their requested depth as a part file, whole or not at all."""
    write_table(path, _table(finished), {"format": FORMAT})


def _table(finished: Sequence[tuple[ClassDepth, Linkage]]) -> pa.Table:
    """Return one row per class, its arrays as lists."""
    columns: dict[str, Any] = {
        "code": pa.array([depth.code for depth, _ in finished], pa.int64()),
        "merges": pa.array([depth.merges for depth, _ in finished], pa.int64()),
        "up_to": pa.array([depth.height for depth, _ in finished], pa.float64()),
        "complete_to": pa.array([linkage.complete_to for _, linkage in finished], pa.float64()),
        "is_counted": pa.array([linkage.counted is not None for _, linkage in finished]),
    }
    rows = [_arrays(linkage) for _, linkage in finished]
    for name, kind in TYPES.items():
        arrays = [row[name] for row in rows]
        offsets = np.concatenate([[0], np.cumsum([len(array) for array in arrays])])
        values = np.concatenate(arrays).astype(kind, copy=False)
        columns[name] = pa.LargeListArray.from_arrays(offsets, values)
    return pa.table(columns)


def _arrays(linkage: Linkage) -> dict[str, Any]:
    counted = linkage.counted
    edges = [[], [], []] if counted is None else [counted.a, counted.b, counted.seen]
    return dict(zip(TYPES, [linkage.a, linkage.b, linkage.height, *edges], strict=True))


def read_part(part: Path) -> dict[ClassDepth, Linkage]:
    """Return the classes of a part file.

    Raises:
        StageError: it is damaged.
    """
    table, _ = read_checked(part, LAYOUT)
    table, plain = table.combine_chunks(), [column.name for column in PLAIN]
    lists = {name: table[name].combine_chunks() for name in TYPES}
    values = {name: column.values.to_numpy() for name, column in lists.items()}
    offsets = {name: column.offsets.to_numpy() for name, column in lists.items()}
    found = {}
    for row, (code, merges, up_to, complete_to, is_counted) in enumerate(
        zip(*(table[name].to_pylist() for name in plain), strict=True)
    ):
        a, b, height, *edges = (values[name][offsets[name][row] : offsets[name][row + 1]] for name in TYPES)
        counted = PairCounts(*edges) if is_counted else None
        check(part, (len(a) == len(b) == len(height), "its arrays have different lengths"))
        check(part, (len({len(array) for array in edges}) == 1, "its arrays have different lengths"))
        found[ClassDepth(code, merges, up_to)] = Linkage(a, b, height, complete_to, counted)
    return found
