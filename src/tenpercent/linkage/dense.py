"""Dense end of a deep cut: the remaining clusters, finished from the matrix of all their farthest pairs.

When most is merged, the pairs that a walk would need fill most of the matrix of all pairs. Then it is faster to find
the farthest pair (d, i, j) of every two of the m remaining clusters, and to build the rest of the tree from it.

**Why it is the same tree.** The matrix holds what complete linkage compares, and (A ∪ B, C) has the larger of the keys
of (A, C) and (B, C). Follow nearest neighbours from any cluster: each step's key is smaller than the one before, so the
chain ends in two clusters that are nearest to each other. Merge these at once. Whatever else merges before or after, no
key that either of the two has ever becomes smaller, since keys of unions are maxima: the two stay nearest to each other
until they merge, in every order, and so in that of complete linkage (the nearest-neighbour chain: Murtagh, 1983;
Müllner, arXiv 1109.2378, proves it for all reducible linkages). All keys differ, so there are no ties to be settled
otherwise. Sorted by key, these are the merges of complete linkage. Clusters that hold a forbidden pair are at infinity;
a cluster with nothing else left around it is done, for unions are at infinity too.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ..progress import bar
from .distances import Doubles, Positions, fixed
from .kernels import inner, kernel
from .threads import in_threads

Codes = npt.NDArray[Any]  # i·n + j of a pair: uint32 where that is enough, else int64; ordered as (i, j)
COLUMNS = 128  # pairs of one row that are summed side by side …
ROWS = 32  # … for so many rows, one after the other, …
CHUNK = 16  # … so many coordinates of the columns at a time: they stay in the innermost cache
BAND = 256  # points, about, whose rows one thread computes at a time
TILE = 32  # rows and columns transposed at a time


class DenseMerges(NamedTuple):
    """Pairs that closed merges, in increasing (d, i, j): int64[k], int64[k], float64[k]."""

    i: Codes
    j: Codes
    d: Doubles


def dense_bytes(clusters: int, points: int, width: int, *, threads: int = 1) -> int:
    """Return the bytes that the dense end takes: two matrices, the points as float64, and a tile per thread."""
    matrices = (8 + _code_type(points).itemsize) * clusters * clusters
    return matrices + points * (8 * width + 96) + threads * 8 * COLUMNS * (width + ROWS + 2)


def _code_type(points: int) -> np.dtype[Any]:
    return np.dtype(np.uint32 if points <= 1 << 16 else np.int64)


def dense_merges(
    units: Doubles,
    root: Positions,
    *,
    apart: npt.NDArray[np.int64] | None = None,
    until: int | None = None,
    threads: int = 1,
) -> DenseMerges:
    """Return the remaining merges.

    Args:
        units: float64[n, d], the points.
        root: integer[n], the cluster of each point.
        apart: int64[q, 2], pairs of points that must never share a cluster.
        until: number of merges; those that tie in d with the last are included. None for all.
        threads: number of threads.

    Returns:
        At most m − 1 merges, fewer with `apart`.
    """
    n = len(root)
    if n == 0:
        none = np.empty(0, dtype=np.int64)
        return DenseMerges(none, none, np.empty(0))
    cluster = np.unique(root, return_inverse=True)[1]
    order = np.argsort(cluster, kind="stable")
    height, code = _farthest_pairs(fixed(units, np.float64), fixed(order), fixed(cluster[order]), threads)
    if apart is not None and len(apart):
        x, y = cluster[np.asarray(apart)].T
        height[x, y] = height[y, x] = np.inf
    d, pair = np.empty(len(height)), np.empty(len(height), dtype=code.dtype)
    count = _chain(height, code, d, pair)
    d, pair = d[:count], pair[:count].astype(np.int64)
    first = np.lexsort((pair, d))
    if until is not None and until < count:
        first = (
            first[: int(np.searchsorted(d[first], d[first][until - 1], side="right"))] if until else first[:0]
        )
    d, pair = d[first], pair[first]
    return DenseMerges(pair // n, pair % n, d)


def _farthest_pairs(
    units: Doubles, order: Positions, cluster: Positions, threads: int
) -> tuple[Doubles, Codes]:
    """Return d and i·n + j of the farthest pair of every two clusters: float64[m, m] and integers[m, m].

    Args:
        units: float64[n, d], the points.
        order: int32[n], the points cluster by cluster, ascending within each.
        cluster: int32[n], the cluster of each of these, ascending.
        threads: number of threads.
    """
    n, m = len(order), int(cluster[-1]) + 1
    height = np.full((m, m), -1.0)
    code = np.zeros((m, m), dtype=_code_type(n))
    starts = np.searchsorted(cluster, np.arange(m + 1))
    edges = np.unique(np.searchsorted(starts, np.append(np.arange(0, n, BAND), n))).tolist()

    def fold(band: tuple[int, int]) -> int:
        first, last = band
        _fold(units, order, cluster, starts, first, last, height, code)
        rows, after = int(starts[last] - starts[first]), int(n - starts[last])
        return rows * (rows - 1) // 2 + rows * after

    with bar(n * (n - 1) // 2, "Comparing", "pairs") as shown:
        for pairs in in_threads(fold, list(pairwise(edges)), threads):
            shown.update(pairs)
    _mirror(height, code)
    return height, code


# ---- kernels: no fastmath, so neither reordered nor fused --------------------------------------------------------


@kernel
def _fold(
    units: Doubles,
    order: Positions,
    cluster: Positions,
    starts: npt.NDArray[np.int64],
    first: int,
    last: int,
    height: Doubles,
    code: Codes,
) -> None:
    """Find the farthest pairs of clusters first … last − 1 with all later ones."""
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
            _add_squares(units, rows, panel, sums)
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
def _add_squares(units: Doubles, rows: Positions, panel: Doubles, sums: Doubles) -> None:
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


@kernel
def _chain(height: Doubles, code: Codes, d: Doubles, pair: Codes) -> int:
    """Merge along chains of nearest neighbours; fill `d` and `pair` with the keys, return the number of merges."""
    m = len(height)
    left = np.arange(m)  # the clusters that may still merge, in the first `size` places
    size = m
    chain = np.empty(m + 1, dtype=np.int64)
    length = 0
    merged = 0
    while size > 1:
        if length == 0:
            chain[0] = left[0]
            length = 1
        x = chain[length - 1]
        y = -1
        for at in range(size):
            c = left[at]
            if c != x and (
                y < 0
                or height[x, c] < height[x, y]
                or (height[x, c] == height[x, y] and code[x, c] < code[x, y])
            ):
                y = c
        if height[x, y] == np.inf:  # only at the beginning of a chain: no other has come to it
            size = _without(left, size, x)
            length = 0
            continue
        if length < 2 or y != chain[length - 2]:
            chain[length] = y
            length += 1
            continue
        d[merged], pair[merged] = height[x, y], code[x, y]
        merged += 1
        length -= 2
        size = _without(left, size, x)
        for at in range(size):  # y represents both from now on
            c = left[at]
            if c != y and (
                height[x, c] > height[y, c] or (height[x, c] == height[y, c] and code[x, c] > code[y, c])
            ):
                height[y, c] = height[c, y] = height[x, c]
                code[y, c] = code[c, y] = code[x, c]
    return merged


@inner
def _without(left: Codes, size: int, cluster: int) -> int:
    """Remove a cluster from those that may merge, keeping their order; return the number left."""
    at = 0
    while left[at] != cluster:
        at += 1
    for after in range(at + 1, size):
        left[after - 1] = left[after]
    return size - 1
