"""The farthest pair of every two clusters, from all pairs of points: exactly, or by products with a proven error.

A product of matrices in float32 is ten times as fast as sums in float64, and wrong by no more than the margin of
`filters.py`. So two dissimilarities that differ by more than twice that are compared by their products, and only others
are computed exactly. Where many are (equal differences everywhere, as on a grid), all are.
"""

from __future__ import annotations

import math
import sys
from itertools import pairwise, product
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ..progress import bar
from .distances import Doubles, Positions
from .filters import TINY, relative_margin
from .kernels import inner, kernel
from .threads import in_threads, one_blas_thread

Codes = npt.NDArray[Any]  # i·n + j of a pair: uint32 where that is enough, else int64; ordered as (i, j)
COLUMNS = 128  # pairs of one row that are summed side by side …
ROWS = 32  # … for so many rows, one after the other, …
CHUNK = 16  # … so many coordinates of the columns at a time: they stay in the innermost cache
BAND = 256  # points, about, whose rows one thread computes at a time
WIDE = 1024  # columns of a product
TILE = 32  # rows and columns transposed at a time
DOUBTFUL = 1 / 80  # of n²: where more pairs are computed one by one, all of them side by side are faster


class FarthestPairs(NamedTuple):
    """The farthest pair (d, i, j) of every two of m clusters.

    Attributes:
        height: float64[m, m], its dissimilarity, wrong by at most `wrong`.
        code: integer[m, m], i·n + j, of the pair that is the farthest in truth.
        wrong: 0 where all are exact.
        left: number of dissimilarities that may still be computed one by one.
    """

    height: Doubles
    code: Codes
    wrong: float
    left: int


class _Clustered(NamedTuple):
    """Points cluster by cluster.

    Attributes:
        units: float64[n, d], the points.
        order: int32[n], the points cluster by cluster, ascending within each.
        cluster: int32[n], the cluster of each of these, ascending.
        starts: int64[m + 1], where each cluster begins in them.
    """

    units: Doubles
    order: Positions
    cluster: Positions
    starts: npt.NDArray[np.int64]


class _Tile(NamedTuple):
    """Products of the points from place `top` on with those from place `left` on, and half the squares of both."""

    top: int
    left: int
    products: npt.NDArray[np.float32]
    halves: npt.NDArray[np.float32]
    others: npt.NDArray[np.float32]


def farthest_bytes(clusters: int, points: int, width: int, *, threads: int = 1) -> int:
    """Return the bytes that the farthest pairs take: two matrices, the points twice, and a tile per thread."""
    matrices = (8 + code_type(points).itemsize) * clusters * clusters
    tile = max(8 * COLUMNS * (width + ROWS + 2), 4 * WIDE * 2 * BAND)
    return matrices + points * (12 * width + 128) + threads * tile


def code_type(points: int) -> np.dtype[Any]:
    """Return the type of a pair's code."""
    return np.dtype(np.uint32 if points <= 1 << 16 else np.int64)


def farthest_pairs(
    units: Doubles, order: Positions, cluster: Positions, threads: int, *, exact: bool = False
) -> FarthestPairs | None:
    """Find the farthest pair of every two clusters.

    Args:
        units: float64[n, d], the points.
        order: int32[n], the points cluster by cluster, ascending within each.
        cluster: int32[n], the cluster of each of these, ascending.
        threads: number of threads.
        exact: whether all dissimilarities are computed exactly.

    Returns:
        The pairs; None where so many dissimilarities are too close to tell apart by products that exact is faster.
    """
    n, m = len(order), int(cluster[-1]) + 1
    height = np.full((m, m), -np.inf)
    code = np.zeros((m, m), dtype=code_type(n))
    starts = np.searchsorted(cluster, np.arange(m + 1))
    points = _Clustered(units, order, cluster, starts)
    edges = np.unique(np.searchsorted(starts, np.append(np.arange(0, n, BAND), n))).tolist()
    products = None if exact else _Products.of(units, order)
    if products is not None and not math.isfinite(products.wrong):
        return None
    left = sys.maxsize if exact else int(DOUBTFUL * n * n) + n

    def fold(band: tuple[int, int]) -> tuple[int, int]:
        first, last = band
        rows, after = int(starts[last] - starts[first]), int(n - starts[last])
        pairs, computed = rows * (rows - 1) // 2 + rows * after, 0
        if products is None:
            _fold(points, first, last, height, code)
        else:
            computed = products.fold(points, band, left, height, code)
        return pairs, computed

    with bar(n * (n - 1) // 2, "Comparing", "pairs") as shown, one_blas_thread():
        for pairs, computed in in_threads(fold, list(pairwise(edges)), threads):
            shown.update(pairs)
            left -= computed
            if left < 0:
                return None
    _mirror(height, code)
    return FarthestPairs(height, code, 0.0 if products is None else products.wrong, left)


class _Products(NamedTuple):
    """Points in float32 from their middle, in the order of the clusters, and how wrong their dissimilarities are."""

    singles: npt.NDArray[np.float32]
    halves: npt.NDArray[np.float32]
    wrong: float

    @classmethod
    def of(cls, units: Doubles, order: Positions) -> _Products:
        centre = units.mean(axis=0)
        singles = np.empty(units.shape, dtype=np.float32)
        halves = np.empty(len(units), dtype=np.float32)
        with np.errstate(over="ignore", invalid="ignore"):
            for start in range(0, len(order), BAND):
                part = slice(start, start + BAND)
                singles[part] = units[order[part]] - centre
                halves[part] = 0.5 * np.einsum("ij,ij->i", singles[part], singles[part])
        # The margin of the filter (docs/clustering.md), for the points farthest from the middle.
        largest = float(halves.max()) + TINY
        return cls(singles, halves, 4.0 * relative_margin(units.shape[1]) * largest + 2.0 * TINY)

    def fold(self, points: _Clustered, band: tuple[int, int], most: int, height: Doubles, code: Codes) -> int:
        """Find the farthest pairs of some clusters with all later ones; return how many were computed exactly."""
        first, last = int(points.starts[band[0]]), int(points.starts[band[1]])
        count, begin = 0, int(points.starts[band[0] + 1])
        for top, left in product(range(first, last, BAND), range(begin, len(points.order), WIDE)):
            rows, columns = slice(top, min(top + BAND, last)), slice(left, left + WIDE)
            products = self.singles[rows] @ self.singles[columns].T
            tile = _Tile(top, left, products, self.halves[rows], self.halves[columns])
            count += _fold_products(points, tile, self.wrong, most - count, height, code)
            if count > most:
                break
        return count


# ---- kernels: no fastmath, so neither reordered nor fused --------------------------------------------------------


@inner
def exact_of(units: Doubles, pair: int) -> float:
    """Return the dissimilarity of a pair i·n + j: the bits of `dissimilarities`."""
    i, j = pair // len(units), pair % len(units)
    total = 0.0
    for k in range(units.shape[1]):
        w = units[i, k] - units[j, k]
        total += w * w
    return 0.5 * total


@kernel
def _fold_products(
    points: _Clustered, tile: _Tile, wrong: float, most: int, height: Doubles, code: Codes
) -> int:
    """Take farther pairs of a tile; return how many were compared exactly, soon after it is more than `most`."""
    units, order, cluster, starts = points
    top, left, products, halves, others = tile
    n, computed = len(units), 0
    for r in range(len(products)):
        a, half, point = cluster[top + r], np.float64(halves[r]), np.int64(order[top + r])
        for c in range(max(starts[a + 1] - left, 0), products.shape[1]):
            b, far = cluster[left + c], half + np.float64(others[c]) - np.float64(products[r, c])
            before = height[a, b]
            if far + 2.0 * wrong < before:
                continue
            other = np.int64(order[left + c])
            pair = min(point, other) * n + max(point, other)
            if far - 2.0 * wrong <= before:
                computed += 2
                one, two = exact_of(units, pair), exact_of(units, np.int64(code[a, b]))
                if one < two or (one == two and pair < np.int64(code[a, b])):
                    continue
            height[a, b], code[a, b] = far, pair
        if computed > most:
            break
    return computed


@kernel
def _fold(points: _Clustered, first: int, last: int, height: Doubles, code: Codes) -> None:
    """Find the farthest pairs of clusters first … last − 1 with all later ones."""
    units, order, cluster, starts = points
    n, width = units.shape
    panel, sums = np.zeros((width, COLUMNS)), np.empty((ROWS, COLUMNS))
    farthest, which = np.empty(COLUMNS), np.empty(COLUMNS, dtype=np.int64)
    for begin in range(starts[first + 1], n, COLUMNS):
        end = min(begin + COLUMNS, n)
        for c in range(begin, end):
            for k in range(width):
                panel[k, c - begin] = units[order[c], k]
        for top in range(starts[first], starts[last], ROWS):
            if cluster[top] >= cluster[end - 1]:
                break
            rows = order[top : min(top + ROWS, starts[last])]
            add_squares(units, rows, panel, sums)
            r = 0
            while r < len(rows):
                a, begun = cluster[top + r], r
                while r < len(rows) and cluster[top + r] == a:
                    _take_farther(sums[r], rows[r], farthest, which, r == begun)
                    r += 1
                for c in range(max(begin, starts[a + 1]), end):
                    d, b = farthest[c - begin], cluster[c]
                    if d >= height[a, b]:
                        i, j = which[c - begin], order[c]
                        pair = min(i, j) * n + max(i, j)
                        if d > height[a, b] or pair > np.int64(code[a, b]):
                            height[a, b] = d
                            code[a, b] = pair


@inner
def _take_farther(sums: Doubles, point: int, farthest: Doubles, which: Codes, begin: bool) -> None:
    """Store half of the sums and their point where they are not nearer than the stored ones.

    With equal d, the key of a later point with the same partner is the larger, and the points come in order.
    """
    if begin:
        farthest[:] = -1.0
    for c in range(COLUMNS):
        half, most, best = 0.5 * sums[c], farthest[c], which[c]
        farther = half >= most
        farthest[c] = half if farther else most
        which[c] = point if farther else best


@inner
def add_squares(units: Doubles, rows: Positions, panel: Doubles, sums: Doubles) -> None:
    """Fill sums[r, c] with Σ (u − v)² of units[rows[r]] and column c of the panel, in the order of the coordinates.

    Each sum is a lane of its own, added to in that order, so it has the bits of a loop over one pair, and neighbouring
    lanes become one vector instruction. Four coordinates are taken at a time, so that sums are fetched less often.
    """
    width = len(panel)
    sums[:] = 0.0
    for begin in range(0, width, CHUNK):
        end = min(begin + CHUNK, width)
        for r in range(len(rows)):
            row, total = units[rows[r]], sums[r]
            k = begin
            while k + 4 <= end:
                w, x, y, z = row[k], row[k + 1], row[k + 2], row[k + 3]
                one, two, three, four = panel[k], panel[k + 1], panel[k + 2], panel[k + 3]
                for c in range(COLUMNS):
                    e, f, g, h = w - one[c], x - two[c], y - three[c], z - four[c]
                    total[c] = (((total[c] + e * e) + f * f) + g * g) + h * h
                k += 4
            while k < end:
                x, one = row[k], panel[k]
                for c in range(COLUMNS):
                    e = x - one[c]
                    total[c] += e * e
                k += 1


@kernel
def _mirror(height: Doubles, code: Codes) -> None:
    m = len(height)
    for top in range(0, m, TILE):
        for left in range(top, m, TILE):
            for a in range(top, min(top + TILE, m)):
                for b in range(max(left, a + 1), min(left + TILE, m)):
                    height[b, a] = height[a, b]
                    code[b, a] = code[a, b]
