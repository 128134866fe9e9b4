"""Every pair of points within a radius, none missed: cells leave out most, a filter most others, float64 decides."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from threading import local
from typing import NamedTuple

import numpy as np

from ..errors import TenpercentError
from ..progress import bar
from .accelerators import best_filter
from .candidates import Candidates, OtherCells
from .cells import Cells, make_cells
from .distances import Doubles, Positions
from .exact import UnitMemory, pairs_within
from .filters import PairFilter
from .pairs import Pairs, PairStore, in_order, joined
from .points import CentredPoints, PointMemory, Points
from .threads import cpus, in_threads, one_blas_thread


class TooManyPairsError(TenpercentError):
    """Error for more pairs within a radius than the caller accepts."""

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
    multiply: PairFilter | None = None,
) -> NeighborGraph:
    """Find every pair of a set with `above` < dissimilarity ≤ `radius`.

    Neither cells nor tiles nor threads change a bit of the result: they only choose what is computed again by
    `dissimilarities`, which decides, and never leave out a pair within the radius (cells.py, filters.py: the proofs).

    Args:
        points: the set.
        radius: the largest dissimilarity; infinity for all pairs.
        above: leave out pairs up to this one (those of a smaller radius, found before).
        most: the largest number of pairs; None for any number.
        threads: number of threads; None for as many as this process may use.
        cells: division of the points; None for the most efficient.
        multiply: filter for tiles; None for this machine's fastest.

    Raises:
        TooManyPairsError: there are more than `most`.
    """
    return PairSearch(points, None, radius, above, threads or cpus(), multiply).graph(cells, most)


def near_pairs(
    left: Points,
    right: Points,
    radius: float,
    *,
    most: int | None = None,
    threads: int | None = None,
    cells: Cells | None = None,
    multiply: PairFilter | None = None,
) -> NeighborGraph:
    """Find every pair of one point of each of two sets with dissimilarity ≤ `radius`: the same function as within one.

    Args:
        left: one set; `i` counts in it.
        right: the other one, which the cells divide; `j` counts in it.
        radius, most, threads, cells, multiply: see `neighbor_graph`.

    Raises:
        ValueError: the points of the two sets differ in width, or are not on one scale.
        TooManyPairsError: there are more than `most`.
    """
    if left.width != right.width:
        raise ValueError(f"the left points have {left.width} values, the right ones {right.width}")
    if (left.metric, left.scale) != (right.metric, right.scale):
        raise ValueError(
            f"the left points are {left.metric}, scaled by {left.scale}, the right ones {right.metric}, scaled by "
            f"{right.scale}; make them together, and take subsets"
        )
    return PairSearch(left, right, radius, -1.0, threads or cpus(), multiply).graph(cells, most)


class _ThreadMemory(local):
    """Scratch memory of each thread."""

    def __init__(self) -> None:
        self.left, self.right = PointMemory(), PointMemory()
        self.exact = UnitMemory(), UnitMemory()


class _Block(NamedTuple):
    """Members of a cell, from `start` on: compared with the cell's candidates and the members before them."""

    cell: int
    start: int
    candidates: Positions


@dataclass(frozen=True)
class PairSearch:
    """Comparison of two sets of points or, without `right`, of one with itself.

    Attributes:
        left, right, radius, above, threads, multiply: see `neighbor_graph` and `near_pairs`.
        room: bytes that all tiles may take beyond those of `SinglesFilter`.
        others: cells of `left`, where they are known and others than those of `right`.
        space: scratch memory of each thread.
    """

    left: Points
    right: Points | None
    radius: float
    above: float
    threads: int
    multiply: PairFilter | None = None
    room: float = math.inf
    others: OtherCells | None = None
    space: _ThreadMemory = field(default_factory=_ThreadMemory)

    @property
    def within(self) -> bool:
        """True if it is one set compared with itself."""
        return self.right is None

    @property
    def divided(self) -> Points:
        """Points that cells divide."""
        return self.left if self.right is None else self.right

    def cells(self) -> Cells:
        """Return the most efficient cells."""
        with one_blas_thread():
            return make_cells(self.divided, self.radius, len(self.left), self.threads)

    def filter(self, cells: Cells) -> PairFilter:
        """Return the filter for tiles."""
        n = len(self.left)
        pairs = n * (n - 1) / 2 if self.within else n * len(self.divided)
        return self.multiply or best_filter(self.left.width, cells.left * pairs, self.room / self.threads)

    def graph(self, cells: Cells | None, most: int | None) -> NeighborGraph:
        """Return all pairs at once."""
        found: list[Pairs] = []
        count = 0
        for _, part in self.parts(cells or self.cells()):
            found.append(part)
            count += len(part.d)
            if most is not None and count > most:
                raise TooManyPairsError(self.radius, count, most)
        everything = joined(found)
        found.clear()
        return NeighborGraph(*in_order(everything), self.radius, self.above)

    def fill(self, store: PairStore, cells: Cells) -> None:
        """Add all pairs to a store, resuming after those it has."""
        for number, part in self.parts(cells, store.done):
            store.add(number, part)

    def parts(self, cells: Cells, done: int = 0) -> Iterator[tuple[int, Pairs]]:
        """Yield the pairs found, in numbered pieces of work, without the first `done` of them."""
        n, m = len(self.left), len(self.divided)
        pairs = n * (n - 1) // 2 if self.within else n * m
        if not pairs:
            return
        multiply = self.filter(cells)
        number = 0
        with bar(pairs, "Comparing", "pairs") as shown, one_blas_thread():
            candidates = Candidates(
                cells,
                self.left,
                self.radius,
                within=self.within,
                threads=self.threads,
                others=self.others,
            )
            for group in candidates.groups():
                places = [
                    place for cell in reversed(group) for place in self._places(cells, cell, multiply.columns)
                ]
                rest = places[max(0, done - number) :]
                shown.update(
                    sum(
                        self._decided(cells, place, multiply.columns)
                        for place in places[: len(places) - len(rest)]
                    )
                )
                number += len(places) - len(rest)
                if not rest:
                    continue
                near = candidates.of(group)
                blocks = [_Block(cell, start, near[cell - group.start]) for cell, start in rest]

                def compare(block: _Block) -> Pairs:
                    return self._compare(cells, block, multiply)

                for place, part in zip(rest, in_threads(compare, blocks, self.threads), strict=True):
                    yield number, part
                    number += 1
                    shown.update(self._decided(cells, place, multiply.columns))

    def _places(self, cells: Cells, cell: int, wide: int) -> list[tuple[int, int]]:
        """Return the columns of a tile that a cell's members are cut into, the last first: they have the most rows."""
        size = len(cells.members(cell))
        return [(cell, start) for start in reversed(range(0, size, wide))]

    def _decided(self, cells: Cells, place: tuple[int, int], wide: int) -> int:
        """Return the number of pairs decided with some columns: those with all rows, candidates or not."""
        cell, start = place
        columns = min(len(cells.members(cell)) - start, wide)
        if not self.within:
            return len(self.left) * columns
        return columns * (int(cells.starts[cell]) + start) + columns * (columns - 1) // 2

    def _compare(self, cells: Cells, block: _Block, multiply: PairFilter) -> Pairs:
        """Return all pairs of a block within the radius."""
        centre = cells.centre(block.cell)
        members = cells.members(block.cell)
        columns = members[block.start : block.start + multiply.columns]
        rows, first = block.candidates, len(block.candidates)
        if self.within:
            rows = np.concatenate([rows, members[: block.start + len(columns)]])
            first += block.start
        right = self.divided.seen_from(centre, columns, self.space.right)
        exact = self.space.exact[1].of(self.divided, columns)
        parts = []
        high = multiply.rows * min(
            4, multiply.columns // len(columns)
        )  # fewer and larger steps where cells are narrow
        for start in range(0, len(rows), high):
            positions = rows[start : start + high]
            left = self.left.seen_from(centre, positions, self.space.left)
            skip = max(0, start - first)  # columns left of the diagonal
            others = CentredPoints(right.singles[skip:], right.halves[skip:]) if skip else right
            r, c = multiply.near(left, others, self.radius, first - start + skip)
            if not len(r):
                continue
            parts.append(
                pairs_within(
                    self.space.exact[0].of(self.left, positions),
                    exact,
                    (r, c + skip if skip else c),
                    self.above,
                    self.radius,
                    within=self.within,
                )
            )
        return joined(parts)
