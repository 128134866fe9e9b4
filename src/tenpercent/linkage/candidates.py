"""Candidates: the points that can have a partner in a cell, found by the two tests of `cells.py`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from .cells import (
    CellAssignment,
    CellMemory,
    Cells,
    by_cell,
    find_homes,
    halves_of,
    own_errors,
    square_errors,
    squares_to,
)
from .distances import Positions
from .kernels import kernel
from .points import Indices, Points, Singles
from .threads import in_threads

BLOCK = 1024
GROUP = 256  # centres handled together


class OtherCells(NamedTuple):
    """Cells of points that are compared with cells of other points, around centres of which those are some.

    Attributes:
        centres: float32[o, d], all centres, relative to the same middle.
        home: the cells of the points, among these.
        before: int64[c], for each of the other cells the number of the first centres whose points are its candidates.
    """

    centres: Singles
    home: CellAssignment
    before: Indices


class Candidates:
    """Search, for groups of cells, for the points that can have a partner in them."""

    def __init__(
        self,
        cells: Cells,
        points: Points,
        radius: float,
        *,
        within: bool,
        threads: int,
        others: OtherCells | None = None,
    ) -> None:
        """Find the cell of each point, where it is not known.

        Args:
            cells: cells of the points among which partners are sought.
            points: the possible candidates.
            radius: a dissimilarity, ½|x − y|².
            within: `points` are those in the cells; then only those of earlier cells than the given one are candidates.
            threads: number of threads.
            others: cells of the points, where they are not in `cells` and known.
        """
        self.cells, self.points, self.within, self.threads = cells, points, within, threads
        self.order = cells.order if within else np.arange(len(points), dtype=np.int32)
        self.space = CellMemory()
        self.alone = len(cells) == 1 and others is None
        if self.alone:
            return
        self.radius, self.centres, self.before = radius, cells.centres, None
        self.halves = halves_of(cells.centres)
        self.their_halves = self.halves
        if others is not None:
            self.centres, self.home, self.before = others
            self.their_halves = halves_of(others.centres)
        else:
            self.home = cells.home if within else find_homes(points, cells.centres, cells.middle, threads)

    def groups(self) -> Iterator[range]:
        """Yield ranges of cells, the last first."""
        for end in range(len(self.cells), 0, -GROUP):
            yield range(max(0, end - GROUP), end)

    def of(self, group: range) -> list[Positions]:
        """Return the candidates of each cell of a group: int32[k], in arbitrary order."""
        if self.alone:
            return [self.order[:0] if self.within else self.order]
        last = int(self.cells.starts[group.stop]) if self.within else len(self.points)
        limits = self._limits(slice(group.start, group.stop))
        found = list(
            in_threads(
                lambda start: self._look(start, last, group, limits), range(0, last, BLOCK), self.threads
            )
        )
        cells = np.concatenate([cell for cell, _ in found])
        points = np.concatenate([point for _, point in found])
        points = points[by_cell(cells)]
        return np.split(points, np.cumsum(np.bincount(cells, minlength=len(group)))[:-1])

    def _limits(self, columns: slice) -> tuple[Singles, Singles]:
        """Return the right sides of both tests, of a point of each cell and a centre of the group: float32[o, g]."""
        width, cells = self.points.width, self.cells
        halves, farthest = self.halves[columns], cells.home.farthest[columns]
        mine = square_errors(self.home.farthest, halves, width)  # of x: [its cell, the other centre]
        theirs = square_errors(farthest, self.their_halves, width).T  # of y: [the other centre, its cell]
        own = own_errors(self.home.farthest, self.their_halves, width)[:, None]
        between = square_errors(self.their_halves, halves, width)
        t = np.sqrt(2.0 * self.radius) * (1.0 + 1e-6)
        squares = np.maximum(squares_to(self.centres, cells.centres[columns]), 0.0)
        apart = np.sqrt(squares + between) * (1.0 + 1e-6)
        reach = _up((cells.reach[columns] + t) ** 2 + mine)
        if self.before is not None:
            reach[np.arange(len(reach))[:, None] >= self.before[columns]] = -np.inf  # which no point passes
        return reach, _up(2.0 * t * apart + mine + own + theirs + own_errors(farthest, halves, width))

    def _look(
        self, start: int, last: int, group: range, limits: tuple[Singles, Singles]
    ) -> tuple[Positions, Positions]:
        """Return the pairs of a cell (counted from the group's first) and a candidate among some points."""
        positions = self.order[start : min(start + BLOCK, last)]
        seen = self.points.seen_from(self.cells.middle, positions, self.space.points)
        products = self.space.fit(len(positions), len(group))
        columns = slice(group.start, group.stop)
        np.matmul(seen.singles, self.cells.centres[columns].T, out=products)
        row, cell = self.space.list(products.size)
        home = self.home.cell[positions], self.home.square[positions]
        distances = products, seen.halves, self.halves[columns]
        count = _near(distances, home, limits, group.start if self.within else -1, row, cell)
        return cell[:count].copy(), positions[row[:count]]


def _up(values: npt.NDArray[np.floating]) -> Singles:
    """Round up to float32, and a little more, for the one addition that follows."""
    return np.nextafter((values * (1.0 + 2.0**-22)).astype(np.float32), np.float32(np.inf))


@kernel
def _near(
    distances: tuple[Singles, Singles, Singles],
    at_home: tuple[Positions, Singles],
    limits: tuple[Singles, Singles],
    first: int,
    row: Positions,
    cell: Positions,
) -> int:
    """List the rows and columns that pass both tests; return how many. With first ≥ 0, only cells beyond the home.

    Args:
        distances: products of points and centres, float32[r, c], and half their squares, float32[r] and float32[c].
        at_home: the cell of each point, int32[r], and its squared distance to that cell's centre, float32[r].
        limits: what a squared distance may be by each test, float32[o, c], for each cell at home; see `_limits`.
        first: number of the first of these cells; −1 for all.
        row, cell: filled.
    """
    (products, halves, others), (home, square), (reach, bisector) = distances, at_home, limits
    count = 0
    for r in range(products.shape[0]):
        own = home[r]
        near = square[r] * np.float32(1.0000005)
        begin = own + 1 - first if first >= 0 and own >= first else 0
        for c in range(begin, products.shape[1]):
            distance = np.float32(2.0) * (halves[r] + (others[c] - products[r, c]))
            row[count] = r
            cell[count] = c
            count += 1 if (distance <= reach[own, c]) & (distance <= near + bisector[own, c]) else 0
    return count
