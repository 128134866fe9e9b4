"""Estimates for all pairs from a sample: the number within a radius, and the distances of nearest neighbours.

Nothing here affects the result: a sample only chooses the initial radius, and estimates its cost.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from .distances import Doubles, Positions
from .kernels import kernel
from .points import Indices, PointMemory, Points, Singles
from .threads import in_threads, one_blas_thread

ROWS = 128
BLOCK = 1024


@dataclass(frozen=True, eq=False)
class PairSample:
    """Dissimilarities of some rows to all others, in float32.

    Attributes:
        points: number of rows in all, n.
        nearest: float32[s], the dissimilarity of each sampled row to its nearest neighbour, increasing.
        edges: float64[b], upper ends of classes of dissimilarities, increasing.
        cumulative: float64[b], the estimated number of all n(n−1)/2 pairs up to each of them.
    """

    points: int
    nearest: Singles
    edges: Doubles
    cumulative: Doubles

    def pairs(self, radius: float) -> float:
        """Return the estimated number of pairs with dissimilarity ≤ `radius`."""
        return float(np.interp(radius, self.edges, self.cumulative))

    def radius(self, pairs: float) -> float:
        """Return the radius within which about so many pairs lie; infinity where that is all of them."""
        at = int(np.searchsorted(self.cumulative, pairs))
        return float(self.edges[at]) if at < len(self.edges) - 1 else np.inf

    def radius_of(self, fraction: float, generous: float = 2.8) -> float:
        """Return a radius that holds the merges of a `fraction` of the points, approximately.

        On embeddings the n·f-th merge has a height that 1 − (1 − f)^x of the points have a neighbour within, with x
        from 2.0 to 2.6 for f up to 0.6 (measured on CIFAR-10's classes, all of it, and subsets). Where falling short
        costs another comparison a little more is taken: pairs too many cost little.
        """
        quantile = 1.0 - (1.0 - fraction) ** generous
        return float(np.quantile(self.nearest, quantile, method="higher")) * (1.0 + 1e-5)

    def merges(self, radius: float) -> int:
        """Return the approximate number of merges up to a radius: the inverse of `radius_of`, and rather too few."""
        within = float(np.searchsorted(self.nearest, radius)) / len(self.nearest)
        return int(self.points * (1.0 - (1.0 - within) ** (1.0 / 2.8)) * 0.9)


def sample_pairs(points: Points, threads: int = 1, rows: int = ROWS) -> PairSample:
    """Compare points drawn with a fixed seed with all points.

    Args:
        points: n ≥ 2.
        threads: number of threads.
        rows: number of points drawn.
    """
    drawn = drawn_rows(len(points), rows)
    some = points.subset(drawn)
    return gathered(len(points), [look_at(points, some, drawn, threads)])


def drawn_rows(n: int, rows: int = ROWS) -> Indices:
    """Return the positions of the sampled rows, in order."""
    return np.sort(np.random.default_rng(0).choice(n, min(n, rows), replace=False))


class Look(NamedTuple):
    """Comparison of sampled rows with some points: their nearest, and the number of each class of dissimilarities."""

    nearest: Singles
    counts: Indices


def look_at(points: Points, some: Points, drawn: Indices, threads: int = 1) -> Look:
    """Compare sampled rows with points.

    Args:
        points: some or all.
        some: the sampled rows.
        drawn: int64[s], their positions in `points`; below 0 for those that are not there.
        threads: number of threads.
    """
    n, size = len(points), len(some)
    middle = some.take(np.arange(size)).mean(axis=0)
    sampled = some.seen_from(middle, np.arange(size))

    def look(mine: range) -> Look:
        nearest = np.full(size, np.inf, dtype=np.float32)
        counts = np.zeros(1 << 15, dtype=np.int64)  # by the upper 16 bits of a float32: 128 classes an octave
        space = PointMemory()
        for start in mine:
            block = points.seen_from(middle, np.arange(start, min(start + BLOCK, n), dtype=np.int32), space)
            products = sampled.singles @ block.singles.T
            inside = np.flatnonzero((drawn >= start) & (drawn < start + BLOCK))
            products[inside, drawn[inside] - start] = -np.inf  # a point is not its own neighbour
            _count_classes(products, products.view(np.int32), sampled.halves, block.halves, nearest, counts)
        return Look(nearest, counts)

    starts = range(0, n, BLOCK)
    shares = [starts[k::threads] for k in range(threads)]
    with one_blas_thread():
        return _together(list(in_threads(look, shares, threads)))


def gathered(n: int, looks: Sequence[Look]) -> PairSample:
    """Return the estimates for n points from comparisons with all of them, a part each."""
    nearest, counts = _together(looks)
    size = len(nearest)
    codes = np.arange(len(counts), dtype=np.uint32)
    edges = ((codes + 1) << 16).view(np.float32)
    last = int(np.flatnonzero(counts)[-1]) + 1 if counts.any() else 1
    cumulative = np.asarray(np.cumsum(counts)[:last] * (n / (2.0 * size)), dtype=np.float64)
    return PairSample(n, np.sort(nearest), edges[:last].astype(np.float64), cumulative)


def _together(looks: Sequence[Look]) -> Look:
    nearest, counts = zip(*looks, strict=True)
    return Look(np.min(nearest, axis=0), np.sum(counts, axis=0))


@kernel
def _count_classes(
    products: Singles,
    bits: Positions,
    halves: Singles,
    others: Singles,
    nearest: Singles,
    counts: Indices,
) -> None:
    """Count dissimilarities by the upper 16 bits of a float32, and keep the smallest of each row.

    Args:
        products: float32[s, b]; they are overwritten.
        bits: the same memory as int32.
        halves, others: float32[s], float32[b].
        nearest: float32[s], the smallest so far.
        counts: int64[2¹⁵], the number of each class so far.
    """
    for r in range(products.shape[0]):
        smallest = nearest[r]
        for c in range(products.shape[1]):
            d = halves[r] + (others[c] - products[r, c])
            d = d if d > np.float32(1e-30) else np.float32(1e-30)
            products[r, c] = d
            smallest = d if d < smallest else smallest
        nearest[r] = smallest
        for c in range(products.shape[1]):
            if products[r, c] < np.inf:
                counts[bits[r, c] >> 16] += 1
