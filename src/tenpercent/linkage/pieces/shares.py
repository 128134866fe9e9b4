"""Shares of components: their pairs taken from all groups, and walked."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
import numpy.typing as npt

from ..components import Shares, dealt, united
from ..dense import dense_merges
from ..distances import Positions
from ..memory import MemoryBudgetError
from ..pairs import BYTES_IN_MEMORY, RECORD, Pairs, in_order, joined, merged
from ..points import Points
from ..walk import BYTES_PER_EDGE, Counts, PairCounts, restored, walk
from .arrays import load, save, write_header
from .plan import EDGES, PAIRS

BLOCK = 1 << 20  # pairs read at a time
NOBODY = np.uint16(2**16 - 1)  # the share of components without new pairs


class Standing(NamedTuple):
    """State of a walk over all pairs up to some radius: merges in increasing (d, i, j), and counts."""

    merges: Pairs
    counts: PairCounts

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what `save` wrote."""
        arrays = load(path)
        return cls(Pairs(*arrays[:3]), PairCounts(*arrays[3:]))

    def save(self, path: Path) -> None:
        """Write all arrays."""
        save(path, *self.merges, *self.counts)

    def part(self, share: Shares, mine: int | np.uint16) -> Standing:
        """Return what belongs to one share of the points."""
        own, counted = share[self.merges.i] == mine, share[self.counts.a] == mine
        return Standing(
            _some(self.merges, own),
            PairCounts(*(column[counted] for column in self.counts)),
        )


def put_together(parts: Iterable[Standing]) -> Standing:
    """Return several parts as one, in order."""
    merges, counts = zip(*parts, strict=True)
    a, b, seen = (np.concatenate(column) for column in zip(*counts, strict=True))
    order = np.lexsort((b, a))
    return Standing(in_order(joined(list(merges))), PairCounts(a[order], b[order], seen[order]))


def blocks(pairs: Path) -> Iterator[npt.NDArray[np.void]]:
    """Yield the pairs of a file, some at a time."""
    records = np.load(pairs, mmap_mode="r")
    for start in range(0, len(records), BLOCK):
        yield np.asarray(records[start : start + BLOCK])


def connected(component: Positions, files: Sequence[Path]) -> Positions:
    """Return a root of each point's component once the pairs of some files connect them too; see `united`."""
    for path in files:
        for pairs in blocks(path):
            component = united(component, pairs["i"], pairs["j"])
    return component


def work_of(component: Positions, files: Sequence[Path]) -> Counts:
    """Return the number of pairs of each component, at its root: int64[n]."""
    work = np.zeros(len(component), dtype=np.int64)
    for path in files:
        for pairs in blocks(path):
            np.add.at(work, component[pairs["i"]], 1)
    return work


def shared(component: Positions, work: Counts, count: int) -> Shares:
    """Return the share of each point, uint16[n]: about as many pairs in each; `NOBODY` where there are none."""
    return np.where(work > 0, dealt(work, count), NOBODY)[component]


def split(inputs: Sequence[Path], output: Path, *, count: int) -> None:
    """Write the pairs of a file by share, in their order.

    Args:
        inputs: an array of `RECORD`; uint16[n], the share of each point.
        output: an array of `RECORD`.
        count: number of shares.
    """
    pairs, path = inputs
    (share,) = load(path)
    size = np.zeros(count, dtype=np.int64)
    for records in blocks(pairs):
        size += np.bincount(share[records["i"]], minlength=count)
    end = np.cumsum(size) - size
    with output.open("wb") as file:  # not mapped: a full disk would kill the process without a word
        write_header(file, int(size.sum()))
        start = file.tell()
        for records in blocks(pairs):
            own = share[records["i"]]
            for mine in np.unique(own).tolist():
                part = records[own == mine]
                file.seek(start + int(end[mine]) * RECORD.itemsize)
                file.write(part.tobytes())
                end[mine] += len(part)


def walk_share(
    inputs: Sequence[Path],
    output: Path,
    *,
    mine: int,
    upto: float,
    memory: int,
    beside: int = 0,
    until: int | None = None,
) -> None:
    """Walk the pairs of one share.

    Args:
        inputs: uint16[n], the share of each point; the `Standing` before, of all points; what `split` wrote for all
            groups.
        output: the `Standing` after, of this share: its new merges alone, and its counts.
        mine: its number.
        upto: only pairs up to this dissimilarity are walked.
        memory: bytes that this may take …
        beside: … and those that it takes whatever the pairs are.
        until: stop at so many merges, as `walk` does; None to walk all.
    """
    path, before, *files = inputs
    (share,) = load(path)
    own = np.flatnonzero(share == mine).astype(np.int32)

    def local(positions: npt.NDArray[np.integer]) -> Positions:
        return np.searchsorted(own, positions).astype(np.int32)

    merges, counts = Standing.load(before).part(share, mine)
    known = PairCounts(local(counts.a), local(counts.b), counts.seen)
    clusters = restored(len(own), local(merges.i), local(merges.j), known)
    found: list[Pairs] = []
    done = 0
    runs = [_run(np.load(file, mmap_mode="r"), share, mine, upto) for file in files]
    for pairs in merged(runs, max(1, int(PAIRS * memory) // BYTES_IN_MEMORY)):
        left = None if until is None else until - done
        closing, clusters = walk(clusters, local(pairs.i), local(pairs.j), pairs.d, until=left)
        found.append(_some(pairs, closing))
        done += len(closing)
        if until is not None and done >= until:
            break
        if (needed := len(clusters.a) * BYTES_PER_EDGE / EDGES) > memory:  # and there is more to come
            needed, allowed = beside + 2 * int(needed), beside + memory
            fits = len(merges.i) + done - len(closing)
            raise MemoryBudgetError("so deep a cut", needed=needed, allowed=allowed, fits=fits, n=len(share))
    Standing(joined(found), PairCounts(own[clusters.a], own[clusters.b], clusters.seen)).save(output)


def _some(pairs: Pairs, which: npt.NDArray[Any]) -> Pairs:
    return Pairs(pairs.i[which], pairs.j[which], pairs.d[which])


def _run(records: npt.NDArray[np.void], share: Shares, mine: int, upto: float) -> npt.NDArray[np.void]:
    """Return the pairs of a share up to a dissimilarity; they lie one after the other."""
    points, d = records["i"], records["d"]
    start, stop = (bisect_left(points, own, key=lambda i: int(share[i])) for own in (mine, mine + 1))
    return records[start : bisect_right(d, upto, start, stop)]


def finish_densely(inputs: Sequence[Path], output: Path, *, threads: int = 1) -> None:
    """Write the remaining merges, from the matrix of all clusters.

    Args:
        inputs: the vectors; the positions dropped; the `Standing` before; int64[q, 2], pairs that never merge.
        output: i, j, d.
        threads: number of threads.
    """
    vectors, dropped, before, apart = inputs
    rows = np.load(vectors, mmap_mode="r")
    at = np.setdiff1d(np.arange(len(rows)), load(dropped)[0], assume_unique=True)
    points = Points.of(rows[at])
    merges = Standing.load(before).merges
    root = united(np.arange(len(at), dtype=np.int32), *(np.searchsorted(at, ends) for ends in merges[:2]))
    units = points.take(np.arange(len(at)))
    i, j, d = dense_merges(units, root, apart=np.searchsorted(at, load(apart)[0]), threads=threads)
    save(output, at[i].astype(np.int32), at[j].astype(np.int32), d)
