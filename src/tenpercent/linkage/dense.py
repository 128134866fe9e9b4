"""Dense end of a deep cut: the remaining clusters, finished from the matrix of all their farthest pairs.

When most is merged, the pairs that a walk would need fill most of the matrix of all pairs. Then it is faster to find
the farthest pair (d, i, j) of every two of the m remaining clusters (`farthest.py`), and to build the rest of the tree
from it.

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

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from .distances import Doubles, Positions, fixed
from .farthest import Codes, FarthestPairs, exact_of, farthest_pairs
from .kernels import inner, kernel


class DenseMerges(NamedTuple):
    """Pairs that closed merges, in increasing (d, i, j): int64[k], int64[k], float64[k]."""

    i: Codes
    j: Codes
    d: Doubles


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
    given = fixed(units, np.float64), fixed(order), fixed(cluster[order])
    x, y = cluster[np.asarray(apart)].T if apart is not None and len(apart) else (cluster[:0], cluster[:0])

    def merged(exact: bool) -> tuple[Doubles, npt.NDArray[np.int64]] | None:
        farthest = farthest_pairs(*given, threads, exact=exact)
        if farthest is None:
            return None
        farthest.height[x, y] = farthest.height[y, x] = np.inf
        return _merged(given[0], farthest)

    found = merged(exact=False) or merged(exact=True)
    assert found is not None  # nothing is in doubt where all is exact
    d, pair = found
    first = np.lexsort((pair, d))
    if until is not None and until < len(d):
        first = (
            first[: int(np.searchsorted(d[first], d[first][until - 1], side="right"))] if until else first[:0]
        )
    d, pair = d[first], pair[first]
    return DenseMerges(pair // n, pair % n, d)


def _merged(units: Doubles, farthest: FarthestPairs) -> tuple[Doubles, npt.NDArray[np.int64]] | None:
    """Merge all clusters; return the keys in the order of the chains, None where too many are in doubt."""
    d, pair = np.empty(len(farthest.height)), np.empty(len(farthest.height), dtype=np.int64)
    count = _chain(units, farthest.height, farthest.code, farthest.wrong, farthest.left, d, pair)
    return None if count < 0 else (d[:count], pair[:count])


# ---- kernels: no fastmath, so neither reordered nor fused --------------------------------------------------------


@kernel
def _chain(
    units: Doubles,
    height: Doubles,
    code: Codes,
    wrong: float,
    most: int,
    d: Doubles,
    pair: npt.NDArray[np.int64],
) -> int:
    """Merge along chains of nearest neighbours; fill `d` and `pair` with the keys.

    Returns:
        The number of merges; −1 where more than `most` dissimilarities would have to be computed exactly.
    """
    m = len(height)
    left = np.arange(m)  # the clusters that may still merge, in the first `size` places
    size = m
    chain = np.empty(m + 1, dtype=np.int64)
    length = 0
    merged = 0
    computed = 0
    while size > 1:
        if computed > most:
            return -1
        if length == 0:
            chain[0] = left[0]
            length = 1
        x = chain[length - 1]
        y, nearest, second = -1, np.inf, np.inf
        for at in range(size):
            c = left[at]
            h = height[x, c]
            if c != x and h < nearest:
                y, nearest, second = c, h, nearest
            elif c != x and h < second:
                second = h
        if y < 0:  # only at the beginning of a chain: no other has come to it
            size = _without(left, size, x)
            length = 0
            continue
        if second <= nearest + 2.0 * wrong:  # others may be nearer in truth
            first = y
            for at in range(size):
                c = left[at]
                if c != x and c != first and height[x, c] <= nearest + 2.0 * wrong:
                    computed += 2
                    if _is_farther(units, code[x, y], code[x, c], wrong):
                        y = c
        if length < 2 or y != chain[length - 2]:
            chain[length] = y
            length += 1
            continue
        pair[merged] = code[x, y]
        d[merged] = exact_of(units, pair[merged]) if wrong > 0.0 else height[x, y]
        merged += 1
        length -= 2
        size = _without(left, size, x)
        for at in range(size):  # y represents both from now on
            c = left[at]
            if c == y:
                continue
            one, other = height[x, c], height[y, c]
            farther = one > other
            if one < np.inf and abs(one - other) <= 2.0 * wrong:
                computed += 2
                farther = _is_farther(units, code[x, c], code[y, c], wrong)
            if farther:
                height[y, c] = height[c, y] = one
                code[y, c] = code[c, y] = code[x, c]
    return merged


@inner
def _is_farther(units: Doubles, pair: int, other: int, wrong: float) -> bool:
    """Return whether a pair has the larger key, of two whose stored dissimilarities do not tell."""
    one, two = np.int64(pair), np.int64(other)
    d, e = (exact_of(units, one), exact_of(units, two)) if wrong > 0.0 else (0.0, 0.0)
    return bool(d > e or (d == e and one > two))


@inner
def _without(left: Codes, size: int, cluster: int) -> int:
    """Remove a cluster from those that may merge, keeping their order; return the number left."""
    at = 0
    while left[at] != cluster:
        at += 1
    for after in range(at + 1, size):
        left[after - 1] = left[after]
    return size - 1
