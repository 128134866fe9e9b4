"""The first merges of the complete-linkage tree under cosine dissimilarity, exactly, from the near pairs alone.

    vectors ── Points ── collapse ──> points, no two of them equal
    points ── sample_pairs ──> radius ── neighbor_graph ──> pairs ── walk ──> merges      (again, wider, if too few;
                                                                                  growth.py: how far, and when dense)

The method is exact, in three steps; each is proved where it is done.

1. A merge at height h joins clusters whose cross pairs are all ≤ h. So the merges up to height r are decided by the
   pairs with d ≤ r, and `neighbor_graph` finds every one of them (`cells.py`, `filters.py`: the proofs).
2. Walking these pairs in increasing (d, i, j) and merging two clusters when the last of their cross pairs has been
   seen *is* complete linkage (`walk.py`: the claim and its proof). Widening the radius continues the walk.
3. Equal rows merge first, at height 0, and act as one point from then on (`equal_rows.py`).

So the radius decides what is computed, never what comes out.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..errors import UsageError
from .distances import Doubles
from .equal_rows import EqualRows, collapse
from .growth import GrowthStart, GrowthTask, grow
from .memory import Resources
from .points import Metric, Points
from .walk import PairCounts, restored, singletons

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Linkage:
    """First merges of the tree, in increasing (height, a, b).

    Attributes:
        a: int64[m], the smaller position of the pair that closed each merge: the farthest pair of its two clusters.
        b: int64[m], the larger position.
        height: float64[m], the dissimilarity of that pair: the diameter of the cluster that comes out.
        complete_to: every merge with height ≤ this one is included; infinity where the tree is whole.
        counted: the counts of the pairs up to `complete_to` between the remaining clusters, to resume from; None where
            the tree is whole, or where they are not known.
    """

    a: Ints
    b: Ints
    height: Doubles
    complete_to: float
    counted: PairCounts | None = None

    def __post_init__(self) -> None:
        for array in (self.a, self.b, self.height):
            array.flags.writeable = False

    def __len__(self) -> int:
        return len(self.height)


def first_merges(
    vectors: npt.ArrayLike,
    *,
    merges: int | None = None,
    height: float | None = None,
    metric: Metric | str = Metric.COSINE,
    cannot_link: npt.ArrayLike | None = None,
    after: Linkage | None = None,
    resources: Resources | None = None,
) -> Linkage:
    """Return the first merges of complete linkage.

    The dissimilarity of two clusters is the largest (d, smaller position, larger position) over their cross pairs;
    each step merges the two clusters where it is smallest. With cosine, d is ½|u − v|² of the unit vectors (1 − cos),
    with the Euclidean metric |x − y|. So there is one tree, whatever `after` and `resources` are.

    Args:
        vectors: [n, d] of real numbers; float64 is taken as it is, every other type as float32.
        merges: number of merges, from 0 to n − 1; those that tie with the last in height are included, and so are all
            at height 0.
        height: instead of `merges`: all with a height up to this one.
        metric: ``cosine`` or ``euclidean``.
        cannot_link: int[k, 2], positions that must not share a cluster: pairs at infinite dissimilarity. There may
            then be fewer merges than requested.
        after: a result for the same vectors, metric and `cannot_link`, to resume from.
        resources: memory, threads and a folder.

    Returns:
        The merges, complete up to the height of the last (`merges`), to `height`, or whole.

    Raises:
        UsageError: vectors that can't be compared; not exactly one of `merges` and `height`, or out of range.
        MemoryBudgetError: the pairs that this depth needs don't fit into memory.
    """
    points = Points.of(vectors, metric)
    n = len(points)
    check_depth(n, merges, height)
    equal = collapse(points.first_equals(), cannot_link)
    if len(equal.points) < n:
        points = points.subset(equal.points)
    more = None if merges is None else max(merges - len(equal.a), 0)
    limit = math.inf if height is None else points.upto(height)
    start = _start(points, equal, after, merges, limit)
    grown = grow(GrowthTask(points, equal.apart, more, limit, resources or Resources()), start)

    place = equal.points
    heights = np.concatenate([np.zeros(len(equal.a)), points.heights(grown.d)])
    if grown.whole:
        complete_to = math.inf
    elif height is not None:
        complete_to = height
    else:
        complete_to = float(heights[-1]) if len(heights) else 0.0
    counts = grown.counted
    if counts is not None:
        counts = PairCounts(place[counts.a].astype(np.int32), place[counts.b].astype(np.int32), counts.seen)
    return Linkage(
        np.concatenate([equal.a, place[grown.i]]),
        np.concatenate([equal.b, place[grown.j]]),
        heights,
        complete_to,
        None if grown.whole else counts,
    )


MOST = 2**31 - 1  # positions are of 32 bits


def check_depth(n: int, merges: int | None, height: float | None) -> None:
    """Raise `UsageError` unless one of them is given, n vectors have as many merges, and 32 bits tell them apart."""
    if n > MOST:
        raise UsageError(
            f"{n:,} vectors are more than the {MOST:,} that can be clustered together; give a part of them"
        )
    if (merges is None) == (height is None):
        raise UsageError(f"merges is {merges!r} and height {height!r}; give one of them")
    if merges is not None and not 0 <= merges <= max(n - 1, 0):
        raise UsageError(f"merges is {merges}; {n} vectors have from 0 to {max(n - 1, 0)} merges")
    if height is not None and not height >= 0:
        raise UsageError(f"height is {height}; it must be 0 or more")


def _start(
    points: Points, equal: EqualRows, after: Linkage | None, merges: int | None, limit: float
) -> GrowthStart:
    """Return the end of an earlier result, if it can be resumed, else the very start."""
    place = equal.points
    none = np.empty(0, dtype=np.int64)
    begin = GrowthStart(singletons(len(place)), 0.0, none, none, np.empty(0))
    if after is None or after.counted is None:
        return begin
    n = len(equal.points) + len(equal.a)
    if len(after) < len(equal.a) or (len(after) and int(after.b.max()) >= n):
        raise UsageError(f"after has {len(after):,} merges that are not of these {n:,} vectors; leave it out")
    reached = points.upto(after.complete_to)
    beyond = len(after) >= merges if merges is not None else reached > limit
    if beyond:  # fewer merges are requested than exist, and the result must not depend on these
        return begin
    a, b = (np.searchsorted(place, column[len(equal.a) :]) for column in (after.a, after.b))
    d = np.asarray([points.upto(height) for height in after.height[len(equal.a) :].tolist()])
    counts = PairCounts(
        np.searchsorted(place, after.counted.a).astype(np.int32),
        np.searchsorted(place, after.counted.b).astype(np.int32),
        after.counted.seen,
    )
    return GrowthStart(restored(len(place), a, b, counts), reached, a, b, d)
