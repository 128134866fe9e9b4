"""Cells: a partition of space that limits the points with a partner in each part, so most pairs are never multiplied.

Every point belongs to the nearest of a few hundred centres. Let x belong to centre o and y to centre c, and let
|x − y| ≤ t. Then both of these hold:

    |x − c| ≤ R(c) + t                       (the triangle inequality; R(c): from c to its farthest member),
    |x − c|² − |x − o|² ≤ 2 |o − c| t        (the bisector).

The second: f(z) = (|z − o|² − |z − c|²) / (2|o − c|) is the signed distance of z to the plane halfway between o and c:
linear, with a gradient of length one. f(y) ≥ 0, for c is the centre nearest to y; |f(y) − f(x)| ≤ |x − y| ≤ t; hence
−f(x) ≤ t. So the points that fail one of the tests have no partner in c, and the others, the candidates, are compared
with all of c. Of two cells only the later one has candidates, points of the earlier one.

All squared distances here come from float32 products. With an error of at most ε(x, c), which grows with the distances
of x and c to the middle, c may be taken for the nearest centre of y when o is nearer by ε(y, c) + ε(y, o) in squares.
So f(y) ≥ −(ε(y, c) + ε(y, o)) / (2|o − c|), and the right side of the second test grows by that and by as much for x;
the first grows by ε(x, c). The centres decide how much is left to compare, never what is found.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from threading import local
from typing import NamedTuple, Self

import numpy as np

from .distances import Doubles, Positions
from .filters import TINY, WIDEST, relative_margin
from .kernels import kernel
from .points import Indices, PointMemory, Points, Singles
from .threads import in_threads

BLOCK = 1024
SEED = 0
ROUNDS = 4  # of k-means; more change little
# Rough cost of a step, in float32 multiplications, the same everywhere: it affects the choice, never the result.
TILE_COST = 4e6  # to call for one tile
WIDE, SAMPLE_BYTES = (
    1 << 15,
    256 << 20,
)  # vectors of more values are sampled within so many bytes, where that does
WORTHWHILE = 4e9  # below, comparing everything costs less than choosing cells


class CellAssignment(NamedTuple):
    """Cells of some points.

    Attributes:
        cell: int32[n], the nearest centre.
        square: float32[n], its squared distance.
        farthest: float32[c], the largest ½|x|² of the points of each cell, relative to the middle.
    """

    cell: Positions
    square: Singles
    farthest: Singles


@dataclass(frozen=True, eq=False)
class Cells:
    """Points grouped by the nearest of some centres.

    Attributes:
        centres: float32[c, d], relative to `middle`.
        order: int32[n], the points, cell by cell.
        starts: int64[c + 1], where each cell begins in `order`.
        middle: float64[d], the approximate middle of all points.
        home: the cell of each point, and its distance to its centre.
        reach: float64[c], at least the distance from each centre to its farthest member.
        left: the approximate fraction of all pairs left to compare.
    """

    centres: Singles
    order: Positions
    starts: Indices
    middle: Doubles
    home: CellAssignment
    reach: Doubles
    left: float

    def __len__(self) -> int:
        """Return the number of cells."""
        return len(self.centres)

    def save(self, path: Path) -> None:
        """Write all arrays to a file, whole or not at all."""
        unfinished = path.with_suffix(".unfinished.npz")
        np.savez(
            unfinished,
            centres=self.centres,
            order=self.order,
            starts=self.starts,
            middle=self.middle,
            cell=self.home.cell,
            square=self.home.square,
            farthest=self.home.farthest,
            reach=self.reach,
            left=self.left,
        )
        unfinished.replace(path)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a file written by `save`."""
        with np.load(path) as found:
            home = CellAssignment(found["cell"], found["square"], found["farthest"])
            left = float(found["left"])
            named = {name: found[name] for name in ("centres", "order", "starts", "middle", "reach")}
        return cls(home=home, left=left, **named)

    def centre(self, cell: int) -> Doubles:
        """Return the centre of a cell: float64[d]."""
        centre: Doubles = self.middle + self.centres[cell]
        return centre

    def members(self, cell: int) -> Positions:
        """Return the points of a cell: int32[k]."""
        return self.order[self.starts[cell] : self.starts[cell + 1]]


def one_cell(points: Points) -> Cells:
    """Return a single cell: everything is compared with everything."""
    n = len(points)
    return Cells(
        centres=np.zeros((1, points.width), dtype=np.float32),
        order=np.arange(n, dtype=np.int32),
        starts=np.asarray([0, n]),
        middle=points.take(drawn(n, 1024)).mean(axis=0) if n else np.zeros(points.width),
        home=CellAssignment(
            np.zeros(n, dtype=np.int32), np.zeros(n, dtype=np.float32), np.zeros(1, dtype=np.float32)
        ),
        reach=np.asarray([np.inf]),
        left=1.0,
    )


def make_cells(points: Points, radius: float, rows: int, threads: int) -> Cells:
    """Divide points into as many cells as pay for a comparison within `radius`; one where none do.

    Args:
        points: the points to divide.
        radius: a dissimilarity, ½|x − y|².
        rows: number of points that each is compared with: their own number, or that of another set.
        threads: number of threads.
    """
    whole = one_cell(points)

    def sample(size: int) -> Singles:
        return points.seen_from(whole.middle, drawn(len(points), size)).singles

    chosen = choose_centres(sample, len(points), points.width, rows, radius)
    return whole if chosen is None else divide(points, chosen.centres, whole.middle, chosen.left, threads)


class Centres(NamedTuple):
    """Centres of cells: float32[c, d], relative to a middle; and the share of pairs that they probably leave."""

    centres: Singles
    left: float


def choose_centres(
    sample: Callable[[int], Singles], n: int, width: int, rows: int, radius: float
) -> Centres | None:
    """Choose as many centres as pay; None where a comparison of everything costs less.

    Args:
        sample: returns so many of the n points, or all, drawn with a fixed seed, relative to their middle.
        n, width: number of points to divide, and of their coordinates.
        rows, radius: see `make_cells`.
    """
    plain = n * rows * (width + TILE_COST / (256 * 1024))
    # Beyond WIDEST coordinates the errors of distances to centres are not known.
    if width > WIDEST or plain < WORTHWHILE or not np.isfinite(radius):
        return None
    count = 1 << round(np.log2(1.4 * np.sqrt(n)))
    size = max(8 * count, 2048)
    if width > WIDE:
        size = max(min(size, SAMPLE_BYTES // (4 * width)), 2 * count)
    seen = sample(size)
    centres = k_means(seen, count)
    left = _share_left(seen, centres, np.sqrt(2.0 * radius))
    products = 3 * count * max(n, rows) + left * n * rows
    if products * width + TILE_COST * count * (1 + left * rows / 256) > 0.7 * plain:
        return None
    return Centres(centres, left)


def drawn(n: int, size: int) -> Indices:
    """Return `size` of n positions, or all, drawn with a fixed seed, in order."""
    return np.sort(np.random.default_rng(SEED).choice(n, min(n, size), replace=False))


def _share_left(sample: Singles, centres: Singles, t: float) -> float:
    """Return the fraction of a sample's pairs that the tests leave, estimated from some of its rows."""
    squares = squares_to(sample, centres)
    own = squares.argmin(axis=1)
    nearest = squares[np.arange(len(sample)), own]
    reach = np.zeros(len(centres), dtype=np.float32)
    np.maximum.at(reach, own, nearest)
    size = np.bincount(own, minlength=len(centres))
    apart = np.sqrt(np.maximum(squares_to(centres, centres), 0.0))
    rows = slice(None, None, max(1, len(sample) // 1024))
    squares, own, nearest = squares[rows], own[rows], nearest[rows]
    near = squares <= (np.sqrt(np.maximum(reach, 0.0)) + np.float32(t)) ** 2
    near &= squares - nearest[:, None] <= np.float32(2.0 * t) * apart[own]
    return float((near @ size).sum() / (len(own) * len(sample)))


def k_means(sample: Singles, count: int) -> Singles:
    """Return `count` centres after a few rounds of Lloyd's algorithm: they affect only the speed."""
    centres = sample[np.random.default_rng(SEED).choice(len(sample), count, replace=False)]
    halves = halves_of(sample)
    own, square = np.empty(len(sample), dtype=np.int32), np.empty(len(sample), dtype=np.float32)
    for _ in range(ROUNDS):
        _nearest(sample @ centres.T, halves, halves_of(centres), own, square)
        size = np.bincount(own, minlength=count)
        order = np.argsort(own, kind="stable")
        filled = size > 0
        begins = np.cumsum(size)[filled] - size[filled]
        centres[filled] = np.add.reduceat(sample[order], begins, axis=0) / size[filled, None].astype(
            np.float32
        )
    return centres


def squares_to(points: Singles, centres: Singles) -> Singles:
    """Return squared distances, float32[n, c], with an error of at most ε."""
    squares: Singles = points @ centres.T
    squares *= np.float32(-2.0)
    squares += 2 * halves_of(points)[:, None]
    squares += 2 * halves_of(centres)
    return squares


def divide(points: Points, centres: Singles, middle: Doubles, left: float, threads: int) -> Cells:
    """Return the cells of points around given centres, float32[c, d], relative to `middle`."""
    home = find_homes(points, centres, middle, threads)
    farthest = np.zeros(len(centres), dtype=np.float32)
    np.maximum.at(farthest, home.cell, home.square)
    rank = wide_first(farthest)
    cell = np.argsort(rank).astype(np.int32)[home.cell]
    order = by_cell(cell).astype(np.int32)
    return Cells(
        centres=centres[rank],
        order=order,
        starts=np.searchsorted(cell[order], np.arange(len(centres) + 1)),
        middle=middle,
        home=CellAssignment(cell, home.square, home.farthest[rank]),
        reach=reach_of(farthest, home.farthest, centres)[rank],
        left=left,
    )


def wide_first(farthest: Singles) -> Indices:
    """Return the cells, those with the largest squared distance of a member first.

    Points look for partners in the later, narrower cells, where fewer of them are candidates.
    """
    return np.argsort(-farthest, kind="stable")


def reach_of(farthest: Singles, halves: Singles, centres: Singles) -> Doubles:
    """Return at least the distance from each centre to its farthest member: float64[c].

    Args:
        farthest: float32[c], the largest squared distance of a member, as computed.
        halves: float32[c], the largest ½|x|² of the members.
        centres: float32[c, d].
    """
    reach: Doubles = np.sqrt(farthest + own_errors(halves, halves_of(centres), centres.shape[1]))
    return reach


def by_cell(cells: Positions) -> Indices:
    """Return a stable order that sorts cells: in 16 bits, for which numpy counts instead of comparing.

    There are no more than 2¹⁶ cells, for 2³¹ points.
    """
    return np.argsort(cells.astype(np.uint16), kind="stable")


def find_homes(points: Points, centres: Singles, middle: Doubles, threads: int) -> CellAssignment:
    """Find the nearest centre of each point."""
    cell = np.empty(len(points), dtype=np.int32)
    square = np.empty(len(points), dtype=np.float32)
    half = np.empty(len(points), dtype=np.float32)
    halves = halves_of(centres)
    space = CellMemory()

    def look(start: int) -> None:
        end = min(start + BLOCK, len(points))
        seen = points.seen_from(middle, np.arange(start, end, dtype=np.int32), space.points)
        products = space.fit(len(seen.halves), len(centres))
        np.matmul(seen.singles, centres.T, out=products)
        _nearest(products, seen.halves, halves, cell[start:end], square[start:end])
        half[start:end] = seen.halves

    for _ in in_threads(look, range(0, len(points), BLOCK), threads):
        pass
    farthest = np.zeros(len(centres), dtype=np.float32)
    np.maximum.at(farthest, cell, half)
    return CellAssignment(cell, square, farthest)


def square_errors(farthest: Singles, centres: Singles, width: int) -> Doubles:
    """Return the largest error ε of squared distances: float64[o, c], of a point in cell o and centre c.

    Args:
        farthest: float32[o], the largest ½|x|² of the points of each cell.
        centres: float32[c], ½|c|² of each centre.
        width: number of values per point.
    """
    return own_errors(farthest[:, None], centres, width)


def own_errors(farthest: Singles, centres: Singles, width: int) -> Doubles:
    """Return the largest error ε of squared distances to each cell's own centre; see `square_errors`."""
    far = np.sqrt(farthest.astype(np.float64) + TINY) + np.sqrt(centres.astype(np.float64) + TINY)
    errors: Doubles = 2.0 * relative_margin(width) * 1.01 * far**2 + TINY
    return errors


def halves_of(singles: Singles) -> Singles:
    """Return half the squared length of each row, in float32."""
    halves: Singles = np.einsum("ij,ij->i", singles, singles) * np.float32(0.5)
    return halves


class CellMemory(local):
    """Scratch memory of each thread."""

    def __init__(self) -> None:
        self.points = PointMemory()
        self._products = np.empty(0, dtype=np.float32)
        self._listed = np.empty(0, dtype=np.int32), np.empty(0, dtype=np.int32)

    def list(self, size: int) -> tuple[Positions, Positions]:
        """Return two arrays of int32[size], which the thread's next call reuses."""
        if len(self._listed[0]) < size:
            self._listed = np.empty(size, dtype=np.int32), np.empty(size, dtype=np.int32)
        return self._listed

    def fit(self, rows: int, columns: int) -> Singles:
        """Return float32[rows, columns], which the thread's next call reuses."""
        if len(self._products) < rows * columns:
            self._products = np.empty(rows * columns, dtype=np.float32)
        return self._products[: rows * columns].reshape(rows, columns)


@kernel
def _nearest(products: Singles, halves: Singles, others: Singles, cell: Positions, square: Singles) -> None:
    """Find the smallest |x − c|² = 2 (½|x|² + ½|c|² − x·c) of each row."""
    for r in range(products.shape[0]):
        best, at = np.float32(np.inf), 0
        for c in range(products.shape[1]):
            rest = others[c] - products[r, c]
            if rest < best:
                best, at = rest, c
        cell[r] = at
        nearest = np.float32(2.0) * (halves[r] + best)
        square[r] = nearest if nearest > np.float32(0.0) else np.float32(0.0)
