"""The dense end of a deep cut: the clusters that are left, finished from the matrix of all their farthest pairs.

When most is merged, the pairs that a walk would need fill most of the matrix of all pairs. Then it is faster to find
the farthest pair (d, i, j) of every two of the m clusters left, and to build the rest of the tree from that matrix.

**Why it is the same tree.** The matrix holds what complete linkage compares, and (A ∪ B, C) has the larger of the keys
of (A, C) and (B, C). Follow nearest neighbours from any cluster: each step's key is smaller than the one before, so the
chain ends in two clusters that are nearest to each other. Merge these at once. Whatever else merges before or after, no
key that either of the two has ever becomes smaller, since keys of unions are maxima: the two stay nearest to each other
until they merge, in every order, and so in that of complete linkage (the nearest-neighbour chain: Murtagh, 1983; for
reducible linkages in general: Müllner, arXiv 1109.2378, section 3.2). All keys differ, so there are no ties to be
settled otherwise. Sorted by key, these are the merges of complete linkage. Clusters that hold a forbidden pair are at
infinity; a cluster with nothing else left around it is done, for unions are at infinity too.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

from .distances import Doubles, Positions
from .threads import in_threads

Codes = npt.NDArray[Any]  # i·n + j of a pair: uint32 where that is enough, else int64; ordered as (i, j)
COLUMNS = 256  # a block of them stays in a core's cache, for every row
BAND = 256  # points, about, whose rows one thread computes at a time
TILE = 32  # rows and columns turned over at a time


class DenseMerges(NamedTuple):
    """The pairs that closed merges, in increasing (d, i, j): int64[k], int64[k], float64[k]."""

    i: Codes
    j: Codes
    d: Doubles


def dense_bytes(clusters: int, points: int, width: int) -> int:
    """Return how many bytes the dense end takes: two matrices of the clusters, and the points twice."""
    return (8 + _code_type(points).itemsize) * clusters * clusters + 16 * points * width + 64 * points


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
    """Return the merges that are left.

    Args:
        units: float64[n, d], the points.
        root: integer[n], the cluster of each point.
        apart: int64[q, 2], pairs of points that must never share a cluster.
        until: how many merges; those that tie in d with the last come as well. None for all.
        threads: how many to use.

    Returns:
        At most m − 1 merges, fewer with `apart`.
    """
    n = len(root)
    cluster = np.unique(root, return_inverse=True)[1]
    order = np.argsort(cluster, kind="stable")
    cluster = cluster[order]
    height, code = _farthest_pairs(units[order], cluster, order, threads)
    if apart is not None and len(apart):
        place = np.empty(n, dtype=np.int64)
        place[order] = cluster
        x, y = place[apart].T
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


def _farthest_pairs(points: Doubles, cluster: Codes, position: Codes, threads: int) -> tuple[Doubles, Codes]:
    """Return d and i·n + j of the farthest pair of every two clusters: float64[m, m] and int64[m, m].

    Args:
        points: float64[n, d], cluster by cluster.
        cluster: int64[n], the cluster of each, ascending.
        position: int64[n], the position of each: i and j.
        threads: how many to use.
    """
    m = int(cluster[-1]) + 1
    height = np.full((m, m), -1.0)
    code = np.zeros((m, m), dtype=_code_type(len(points)))
    starts = np.searchsorted(cluster, np.arange(m + 1))
    columns = np.ascontiguousarray(points.T)
    edges = np.unique(np.searchsorted(starts, np.append(np.arange(0, len(points), BAND), len(points))))

    def fold(band: tuple[int, int]) -> None:
        _fold(points, columns, cluster, position, starts, band[0], band[1], height, code)

    for _ in in_threads(fold, zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True), threads):
        pass
    _mirror(height, code)
    return height, code


# ---- kernels: no fastmath, so neither reordered nor fused --------------------------------------------------------


@njit(cache=True, nogil=True)
def _fold(
    points: Doubles,
    columns: Doubles,
    cluster: Codes,
    position: Codes,
    starts: Codes,
    first: int,
    last: int,
    height: Doubles,
    code: Codes,
) -> None:
    """Find the farthest pairs of clusters first … last − 1 with all later ones.

    Many pairs are summed side by side, each in the order of the coordinates: the bits of `dissimilarities`.
    """
    n, width = points.shape
    total = np.empty(COLUMNS, dtype=np.float64)
    for begin in range(starts[first + 1], n, COLUMNS):
        end = min(begin + COLUMNS, n)
        for a in range(first, last):
            low = max(begin, starts[a + 1])
            if low >= end:
                continue
            sums = total[: end - low]
            for p in range(starts[a], starts[a + 1]):
                sums[:] = 0.0
                for k in range(width):
                    x = points[p, k]
                    others = columns[k, low:end]
                    for c in range(len(sums)):
                        difference = x - others[c]
                        sums[c] += difference * difference
                for c in range(len(sums)):
                    d = 0.5 * sums[c]
                    b = cluster[low + c]
                    if d >= height[a, b]:
                        i, j = position[p], position[low + c]
                        pair = min(i, j) * n + max(i, j)
                        if d > height[a, b] or pair > np.int64(code[a, b]):
                            height[a, b] = d
                            code[a, b] = pair


@njit(cache=True, nogil=True)
def _mirror(height: Doubles, code: Codes) -> None:
    m = len(height)
    for top in range(0, m, TILE):
        for left in range(top, m, TILE):
            for a in range(top, min(top + TILE, m)):
                for b in range(max(left, a + 1), min(left + TILE, m)):
                    height[b, a] = height[a, b]
                    code[b, a] = code[a, b]


@njit(cache=True, nogil=True)
def _chain(height: Doubles, code: Codes, d: Doubles, pair: Codes) -> int:
    """Merge along chains of nearest neighbours; fill `d` and `pair` with the keys, return how many merges."""
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
        for at in range(size):  # y stands for both from now on
            c = left[at]
            if c != y and (
                height[x, c] > height[y, c] or (height[x, c] == height[y, c] and code[x, c] > code[y, c])
            ):
                height[y, c] = height[c, y] = height[x, c]
                code[y, c] = code[c, y] = code[x, c]
    return merged


@njit(cache=True, nogil=True)
def _without(left: Codes, size: int, cluster: int) -> int:
    """Take a cluster out of those that may merge, keeping their order; return how many are left."""
    at = 0
    while left[at] != cluster:
        at += 1
    for after in range(at + 1, size):
        left[after - 1] = left[after]
    return size - 1
