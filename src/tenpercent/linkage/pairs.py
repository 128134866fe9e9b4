"""Pairs in memory or, where they exceed it, in sorted files; returned in increasing (d, i, j)."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
import time
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, Self

import numpy as np
import numpy.typing as npt

from ..errors import TenpercentError
from .distances import Doubles, Positions

RECORD = np.dtype([("d", "<f8"), ("i", "<i4"), ("j", "<i4")])
BYTES_IN_MEMORY = (
    64  # of a pair: found and joined (2 × 16), ordered (8), put in order (16), with something to spare
)
SECONDS = 30.0  # the most work that an interruption costs, where there is a folder to resume from
NAME = re.compile(r"pairs-(\d+)-(\d+)\.npy")


class Pairs(NamedTuple):
    """Pairs: int32[k], int32[k], float64[k]."""

    i: Positions
    j: Positions
    d: Doubles


class ScratchError(TenpercentError):
    """Error for pairs that exceed the memory and can't be written."""


class PairStore:
    """Store for the pairs of one shell; a context, whose files are removed at its end unless they are to be kept.

    The work that finds pairs is numbered from 0, and `done` is the number of pieces whose pairs are in files:
    an interrupted search resumes there.
    """

    def __init__(self, room: int, folder: Path | None) -> None:
        """Find the files of an earlier process.

        Args:
            room: number of pairs that may be in memory.
            folder: for the others, and for those of an earlier process; None for a temporary folder, if need be.
        """
        self.room = max(room, 1)
        self.folder = folder
        self.done = 0
        self._temporary: Path | None = None
        self._files: list[Path] = []
        self._recent: list[Pairs] = []
        self._count = self._next = 0
        self._recently = 0
        self._written = time.monotonic()
        if folder is not None:
            self._resume(folder)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._temporary is not None:
            shutil.rmtree(self._temporary, ignore_errors=True)

    def __len__(self) -> int:
        """Return the number of pairs."""
        return self._count + self._recently

    def add(self, work: int, found: Pairs) -> None:
        """Add the pairs that a piece of work found; the pieces come in order.

        Raises:
            ScratchError: they exceed the memory and can't be written.
        """
        self._recent.append(found)
        self._recently += len(found.d)
        self._next = work + 1
        late = self.folder is not None and time.monotonic() - self._written > SECONDS
        if late or self._recently > self.room:
            self._write()

    def pieces(self) -> Iterator[Pairs]:
        """Yield all pairs in increasing (d, i, j), about as many at a time as fit into memory; ties in d together."""
        recent = in_order(joined(self._recent))
        self._recent = [recent]
        if not self._files:
            yield recent
            return
        runs = [np.load(file, mmap_mode="r") for file in self._files]
        if len(recent.d):
            runs.append(records_of(recent))
        yield from merged(runs, self.room)

    def _write(self) -> None:
        """Write the recent pairs into a sorted file of their own."""
        recent = in_order(joined(self._recent))
        self._recent = []
        folder = self._where()
        path = folder / f"pairs-{self.done}-{self._next}.npy"
        size = len(recent.d) * RECORD.itemsize
        try:
            with (folder / "unfinished").open("wb") as file:
                np.save(file, records_of(recent))
                file.flush()
                os.fsync(file.fileno())
            (folder / "unfinished").replace(path)
        except OSError as error:
            self._recent = [recent]
            raise ScratchError(
                f"{size / 2**20:,.0f} MiB of pairs can't be written to {folder}: {error.strerror}; free space there, "
                "give more --memory, or ask for fewer merges"
            ) from error
        self._files.append(path)
        self._count += len(recent.d)
        self._recently = 0
        self.done = self._next
        self._written = time.monotonic()

    def _where(self) -> Path:
        if self.folder is not None:
            self.folder.mkdir(parents=True, exist_ok=True)
            return self.folder
        if self._temporary is None:
            self._temporary = Path(tempfile.mkdtemp(prefix="tenpercent-"))
        return self._temporary

    def _resume(self, folder: Path) -> None:
        """Find the existing files, up to the first gap."""
        found = {}
        for path in folder.glob("pairs-*.npy"):
            if name := NAME.fullmatch(path.name):
                found[int(name[1])] = (int(name[2]), path)
        while self.done in found:
            self.done, path = found[self.done]
            self._files.append(path)
            self._count += len(np.load(path, mmap_mode="r"))
        self._next = self.done


def joined(parts: list[Pairs]) -> Pairs:
    """Return all parts as one."""
    if not parts:
        return Pairs(np.empty(0, np.int32), np.empty(0, np.int32), np.empty(0, np.float64))
    i, j, d = zip(*parts, strict=True)
    return Pairs(np.concatenate(i), np.concatenate(j), np.concatenate(d))


def in_order(pairs: Pairs) -> Pairs:
    """Sort by (d, i, j): numpy's quick sort by d, then the order within runs of equal d."""
    i, j, d = pairs
    order = np.argsort(d)
    equal = np.diff(d[order]) == 0.0
    tied = np.zeros(len(d), dtype=np.bool_)
    tied[1:] |= equal
    tied[:-1] |= equal
    run = order[tied]
    order[tied] = run[np.lexsort((j[run], i[run], d[run]))]
    return Pairs(i[order], j[order], d[order])


def merged(runs: Sequence[npt.NDArray[np.void]], room: int) -> Iterator[Pairs]:
    """Yield all pairs of sorted runs in increasing (d, i, j), about `room` at a time; ties in d together."""
    places = [0] * len(runs)
    step = max(1, room // max(len(runs), 1))
    while any(place < len(run) for place, run in zip(places, runs, strict=True)):
        # No sorted run has more than `step` below the smallest of the values a step ahead.
        ahead = [
            run["d"][min(place + step, len(run)) - 1]
            for place, run in zip(places, runs, strict=True)
            if place < len(run)
        ]
        upto = min(ahead)
        ends = [
            bisect_right(run["d"], upto, lo=place) for place, run in zip(places, runs, strict=True)
        ]  # not by numpy, which would copy the column
        part = np.concatenate([run[a:b] for run, a, b in zip(runs, places, ends, strict=True)])
        places = ends
        yield in_order(Pairs(part["i"].copy(), part["j"].copy(), part["d"].copy()))


def without(pairs: Pairs, codes: npt.NDArray[np.int64], n: int) -> Pairs:
    """Leave out the pairs of some codes i · n + j, which are sorted."""
    if not len(codes):
        return pairs
    code = pairs.i.astype(np.int64) * n + pairs.j
    at = np.minimum(np.searchsorted(codes, code), len(codes) - 1)
    free = codes[at] != code
    return Pairs(pairs.i[free], pairs.j[free], pairs.d[free])


def records_of(pairs: Pairs) -> npt.NDArray[np.void]:
    """Return pairs as an array of `RECORD`."""
    records = np.empty(len(pairs.d), dtype=RECORD)
    records["i"], records["j"], records["d"] = pairs
    return records
