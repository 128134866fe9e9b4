"""Every pair of points within a radius, none missed: cells leave most pairs out, a filter most others, float64 decides."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import chain
from threading import local

import numpy as np
import numpy.typing as npt

from ..errors import TenpercentError
from ..progress import bar
from .cells import Candidates, Cells, make_cells
from .distances import Doubles, Positions, dissimilarities
from .filters import Filter, best_filter
from .points import Points, Space
from .threads import cpus, in_threads
from .threads import one_blas_thread as one_blas_thread

Found = tuple[Positions, Positions, Doubles]


class TooManyPairsError(TenpercentError):
    """There are more pairs within a radius than the caller can take."""

    def __init__(self, radius: float, found: int, most: int) -> None:
        self.found = found
        super().__init__(
            f"there are {found:,} pairs or more within {radius:.6g}, and {most:,} may come; take a smaller radius"
        )


@dataclass(frozen=True, eq=False)
class NeighborGraph:
    """All pairs of points with dissimilarity in (`above`, `radius`], in increasing (d, i, j).

    Attributes:
        i: int32[k], the smaller position of each pair; of two sets, the position in the left one.
        j: int32[k], the larger position; of two sets, the position in the right one.
        d: float64[k], the dissimilarity, ½|x − y|².
        radius: every pair up to it is here …
        above: … from this one on, which is left out; −1 where nothing is left out.
    """

    i: Positions
    j: Positions
    d: Doubles
    radius: float
    above: float = -1.0

    def __post_init__(self) -> None:
        for array in (self.i, self.j, self.d):
            array.flags.writeable = False

    def __len__(self) -> int:
        return len(self.d)


def neighbor_graph(
    points: Points,
    radius: float,
    *,
    above: float = -1.0,
    most: int | None = None,
    threads: int | None = None,
    cells: Cells | None = None,
    multiply: Filter | None = None,
) -> NeighborGraph:
    """Find every pair of a set with `above` < dissimilarity ≤ `radius`.

    Neither cells nor tiles nor threads change a bit of the result: they only choose what is computed again by
    `dissimilarities`, which decides, and never leave out a pair within the radius (cells.py, filters.py: the proofs).

    Args:
        points: the set.
        radius: the largest dissimilarity that is wanted; infinity for all pairs.
        above: leave out pairs up to this one (those of a smaller radius, found before).
        most: how many pairs may come; None for any number.
        threads: how many to use; None for as many as this process may.
        cells: how the points are divided; None for what pays.
        multiply: how tiles are multiplied; None for what this machine does best.

    Raises:
        TooManyPairsError: there are more than `most`.
    """
    join = _Join(points, points, radius, above, threads or cpus(), multiply or best_filter())
    return join.graph(cells, most)


def near_pairs(
    left: Points,
    right: Points,
    radius: float,
    *,
    most: int | None = None,
    threads: int | None = None,
    cells: Cells | None = None,
    multiply: Filter | None = None,
) -> NeighborGraph:
    """Find every pair of one point of each of two sets with dissimilarity ≤ `radius`: the same function as within one.

    Args:
        left: one set; `i` counts in it.
        right: the other one, which the cells divide; `j` counts in it.
        radius, most, threads, cells, multiply: see `neighbor_graph`.

    Raises:
        ValueError: the points of the two sets differ in width.
        TooManyPairsError: there are more than `most`.
    """
    if left.width != right.width:
        raise ValueError(f"the left points have {left.width} values, the right ones {right.width}")
    join = _Join(left, right, radius, -1.0, threads or cpus(), multiply or best_filter())
    return join.graph(cells, most)


@dataclass(frozen=True)
class _Block:
    """Rows to be compared with columns, all seen from one centre.

    From row `first` on the rows are the columns themselves, and only those beyond the diagonal count. With it so many
    pairs are `decided`: those of the columns with all rows, candidates or not.
    """

    rows: Positions
    columns: Positions
    first: int
    centre: Doubles
    decided: int


class _Space(local):
    """Each thread's own memory."""

    def __init__(self) -> None:
        self.left, self.right = Space(), Space()


@dataclass(frozen=True)
class _Join:
    left: Points
    right: Points
    radius: float
    above: float
    threads: int
    multiply: Filter
    space: _Space = field(default_factory=_Space)

    @property
    def within(self) -> bool:
        return self.left is self.right

    def graph(self, cells: Cells | None, most: int | None) -> NeighborGraph:
        n, m = len(self.left), len(self.right)
        found: list[Found] = []
        count = 0
        pairs = n * (n - 1) // 2 if self.within else n * m
        with bar(pairs, "Comparing", "pairs") as shown, one_blas_thread():
            if pairs:
                if cells is None:
                    cells = make_cells(self.right, self.radius, n, self.threads)
                for part, decided in self._parts(cells):
                    found.append(part)
                    count += len(part[0])
                    if most is not None and count > most:
                        raise TooManyPairsError(self.radius, count, most)
                    shown.update(decided)
        i, j, d = _joined(found)
        found.clear()
        order = _by_key(i, j, d)
        return NeighborGraph(i[order], j[order], d[order], self.radius, self.above)

    def _parts(self, cells: Cells) -> Iterator[tuple[Found, int]]:
        """Yield pairs that were found, and how many pairs are decided by that."""
        candidates = Candidates(cells, self.left, self.radius, within=self.within, threads=self.threads)
        for group, near in candidates.groups():
            blocks = list(
                chain.from_iterable(
                    self._blocks(cells, cell, rows) for cell, rows in zip(group, near, strict=True)
                )
            )
            for block, part in zip(blocks, in_threads(self._compare, blocks, self.threads), strict=True):
                yield part, block.decided

    def _blocks(self, cells: Cells, cell: int, rows: Positions) -> Iterator[_Block]:
        """Yield a cell's members by columns of a tile, the last first: they have the most rows."""
        members = cells.members(cell)
        wide = self.multiply.columns
        for start in reversed(range(0, len(members), wide)):
            columns = members[start : start + wide]
            if self.within:
                others = np.concatenate([rows, members[: start + len(columns)]])
                before = int(cells.starts[cell]) + start
                decided = len(columns) * before + len(columns) * (len(columns) - 1) // 2
                yield _Block(others, columns, len(rows) + start, cells.centre(cell), decided)
            else:
                yield _Block(rows, columns, len(rows), cells.centre(cell), len(self.left) * len(columns))

    def _compare(self, block: _Block) -> Found:
        """Return all pairs of a block within the radius."""
        right = self.right.seen_from(block.centre, block.columns, self.space.right)
        parts = []
        high = self.multiply.rows
        for start in range(0, len(block.rows), high):
            positions = block.rows[start : start + high]
            left = self.left.seen_from(block.centre, positions, self.space.left)
            r, c = self.multiply.near(left, right, self.radius, block.first - start)
            d = dissimilarities(left.exact, r, c, right.exact)
            keep = (d > self.above) & (d <= self.radius)
            i, j = positions[r[keep]], block.columns[c[keep]]
            if self.within:
                i, j = np.minimum(i, j), np.maximum(i, j)
            parts.append((i, j, d[keep]))
        return _joined(parts)


def _joined(parts: list[Found]) -> Found:
    if not parts:
        return np.empty(0, np.int32), np.empty(0, np.int32), np.empty(0, np.float64)
    i, j, d = zip(*parts, strict=True)
    return np.concatenate(i), np.concatenate(j), np.concatenate(d)


def _by_key(i: Positions, j: Positions, d: Doubles) -> npt.NDArray[np.int64]:
    """Return the order by (d, i, j): numpy's quick sort by d, then the runs of equal d put right."""
    order = np.argsort(d)
    equal = np.diff(d[order]) == 0.0
    tied = np.zeros(len(d), dtype=np.bool_)
    tied[1:] |= equal
    tied[:-1] |= equal
    run = order[tied]
    order[tied] = run[np.lexsort((j[run], i[run], d[run]))]
    return order
