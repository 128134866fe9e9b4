"""Equal rows merge first, at height 0, and act as one point from then on, or as a few where constraints part them.

A dissimilarity is 0 exactly where two rows are equal, so the merges at height 0 come first and are between equal rows.
Let S be a set of equal rows. Clusters A, B ⊂ S have the farthest pair (0, min(p, q), max(p, q)) with p = max A and
q = max B: the largest smaller position is the smaller of the two maxima, and beside it the largest other position is
the other maximum. They are *allowed* to merge unless a forbidden pair lies between them.

**The sweep.** Take the positions of S in increasing order. At each, let X be the cluster whose maximum it is, and merge
X with the allowed cluster of the smallest maximum above it; if there is none, X is *left*.

**Claim.** These are the merges of complete linkage at height 0, in its order.

**Proof.** When the sweep is at position p, each position above p is still the maximum of its cluster, for only the
cluster it was at has ever been put under a larger maximum. A cluster with a maximum below p is left: it was not allowed
with any cluster above it, and never will be, as clusters only grow. So the allowed pair with the smallest key is X and
the allowed cluster of the smallest maximum above it; or, if there is none, X never merges at height 0. ∎

The merge is (0; p, q), so each position is the smaller one of at most one merge: `onto` below holds q at p. Without
constraints in S that is (0; i₁, i₂), (0; i₂, i₃) …, and only the last position is left.

**Afterwards** each cluster that is left acts as one point at its maximum:

- Two that are left of the same S hold a forbidden pair, else the one with the smaller maximum would have merged with
  the other, or with one nearer. So the forbidden pairs between points are those that `cannot_link` has between their
  clusters, and there are no others.
- Left P ⊂ S and Q ⊂ T with dissimilarity d > 0 have |P|·|Q| cross pairs of that same d. If one is forbidden, P and Q
  never share a cluster. If none is, their farthest pair is (d, min(p, q), max(p, q)) with p = max P, q = max Q, by the
  argument above: the pair of the two points.
- The farthest pair of two unions of such clusters is the farthest of those between their parts. So every key that
  complete linkage compares from here on is the key of a pair of points, and its merges are those of the points alone.
  The walk may count one pair for P and Q instead of |P|·|Q|, as it counts clusters of points.

**Cost.** One step for each position, and one for each cluster passed over. A cluster of one position is passed over
at most once for each of its constraints, as the sweep comes to it before it comes to what passed over it. Clusters
above the sweep that have taken in others hold a forbidden pair, each two of them: let p < q be their maxima; what was
merged into the one at q had passed over the one at p. So for k constraints there are at most √(2k) + 1 of these, and
O(n·√k) steps at the very worst. Enemies are handed over from the cluster with fewer to the one with more, O(k log k).
"""

from __future__ import annotations

from collections import defaultdict
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ..errors import UsageError

Ints = npt.NDArray[np.int64]


class EqualRows(NamedTuple):
    """Points made of equal rows, and the merges that made them.

    Attributes:
        points: int64[p], the position of each point, the largest of its rows; increasing.
        a: int64[n − p], the smaller position of each merge at height 0; the merges in increasing (a, b).
        b: int64[n − p], the larger one.
        apart: int64[q, 2], pairs of indexes x < y into `points` that must never merge; unique, sorted.
    """

    points: Ints
    a: Ints
    b: Ints
    apart: Ints


def collapse(first: Ints, cannot_link: npt.ArrayLike | None = None) -> EqualRows:
    """Merge all equal rows that may merge.

    Args:
        first: int64[n], for each row the first position that holds an equal one (`Points.first_equals`).
        cannot_link: int[k, 2], positions that must not share a cluster; None for no such pairs.

    Raises:
        UsageError: `cannot_link` is not a list of pairs of two different positions.
    """
    n = len(first)
    pairs = forbidden_pairs(cannot_link, n)
    order = np.argsort(first, kind="stable")
    sets = first[order]
    equal = sets[1:] == sets[:-1]
    onto = np.arange(n)
    onto[order[:-1][equal]] = order[1:][equal]

    inner = pairs[first[pairs[:, 0]] == first[pairs[:, 1]]]
    against = _enemies(inner)
    touched = np.unique(first[inner[:, 0]])
    starts, ends = np.searchsorted(sets, touched), np.searchsorted(sets, touched, side="right")
    for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
        rows = order[start:end]
        onto[rows] = _sweep(rows.tolist(), against)

    merged = onto != np.arange(n)
    points, a = np.flatnonzero(~merged), np.flatnonzero(merged)
    apart = np.searchsorted(points, _ends(onto)[pairs]) if len(pairs) else pairs
    return EqualRows(points, a, onto[a], _unique_pairs(apart))


def forbidden_pairs(cannot_link: npt.ArrayLike | None, n: int) -> Ints:
    """Return the pairs that must not share a cluster: int64[k, 2], x < y, unique, sorted.

    Args:
        cannot_link: int[k, 2], positions in any order, pairs more than once; None for no such pairs.
        n: the number of vectors.

    Raises:
        UsageError: not pairs of integers, a position that is not there, or a pair of a position with itself.
    """
    array = np.empty((0, 2), dtype=np.int64) if cannot_link is None else np.asarray(cannot_link)
    if array.size == 0:
        return np.empty((0, 2), dtype=np.int64)
    if array.ndim != 2 or array.shape[1] != 2 or array.dtype.kind not in "iu":
        raise UsageError(
            f"cannot_link has shape {array.shape} and dtype {array.dtype}; it must be int[k, 2], pairs of positions"
        )
    wrong = np.flatnonzero(((array < 0) | (array >= n)).any(axis=1))
    if len(wrong):
        x, y = array[wrong[0]].tolist()
        raise UsageError(
            f"cannot_link[{wrong[0]}] is ({x}, {y}); positions of {n} vectors go from 0 to {n - 1}"
        )
    wrong = np.flatnonzero(array[:, 0] == array[:, 1])
    if len(wrong):
        x = int(array[wrong[0], 0])
        raise UsageError(
            f"cannot_link[{wrong[0]}] is ({x}, {x}); name two different positions, or remove the pair"
        )
    return _unique_pairs(array.astype(np.int64))


def _unique_pairs(pairs: Ints) -> Ints:
    """Return pairs with the smaller first, each once, sorted."""
    return np.unique(np.sort(pairs, axis=1), axis=0) if len(pairs) else pairs


def _enemies(pairs: Ints) -> defaultdict[int, set[int]]:
    """Return for each position in `pairs` those it must not join."""
    against: defaultdict[int, set[int]] = defaultdict(set)
    for x, y in pairs.tolist():
        against[x].add(y)
        against[y].add(x)
    return against


def _sweep(rows: list[int], against: defaultdict[int, set[int]]) -> list[int]:
    """Merge equal rows that may merge.

    Args:
        rows: the positions of a set of equal rows, increasing.
        against: for each cluster, by its name, the names of those it must not join; initially each position is a
            cluster. It is changed: clusters that merge take the name of the one with more enemies.

    Returns:
        For each position the maximum of the cluster that its own merges with, or the position itself.
    """
    onto = rows.copy()
    name = rows.copy()  # of the cluster whose maximum each position is
    for at, x in enumerate(name):
        enemies = against.get(x, ())
        other = at + 1
        while other < len(rows) and name[other] in enemies:
            other += 1
        if other == len(rows):
            continue
        onto[at] = rows[other]
        y = name[other]
        if not enemies:
            continue
        fewer, more = (x, y) if len(against[x]) <= len(against[y]) else (y, x)
        for enemy in against.pop(fewer):
            against[enemy].remove(fewer)
            against[enemy].add(more)
            against[more].add(enemy)
        name[other] = more
    return onto


def _ends(onto: Ints) -> Ints:
    """Follow `onto` to its end from every position, in steps that double."""
    while True:
        further = onto[onto]
        if np.array_equal(further, onto):
            return onto
        onto = further
