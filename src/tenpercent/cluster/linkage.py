"""The first merges of the complete-linkage tree under cosine dissimilarity, exactly, from the near pairs alone.

    vectors ── Points ── collapse ──> points, no two of them equal
    points ── sample_pairs ──> radius ── neighbor_graph ──> pairs ── walk ──> merges      (again, wider, if too few;
                                                                                  growth.py: how far, and when dense)

Why this is exact, in three steps; each is proved where it is done.

1. A merge at height h joins clusters whose cross pairs are all ≤ h. So the merges up to height r are decided by the
   pairs with d ≤ r, and `neighbor_graph` finds every one of them (`cells.py`, `filters.py`: the proofs).
2. Walking these pairs in increasing (d, i, j) and merging two clusters when the last of their cross pairs has been
   seen *is* complete linkage (`walk.py`: the claim and its proof). Widening the radius continues the walk.
3. Equal rows merge first, at height 0, and act as one point from then on (`twins.py`).

So the radius decides what is computed, never what comes out.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..errors import UsageError
from .distances import Doubles
from .growth import Start, Task, grow
from .memory import Resources
from .points import Metric, Points
from .twins import Collapsed, collapse
from .walk import Counted, restored, singletons

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Linkage:
    """The first merges of the tree, in increasing (height, a, b).

    Attributes:
        a: int64[m], the smaller position of the pair that closed each merge: the farthest pair of its two clusters.
        b: int64[m], the larger position.
        height: float64[m], the dissimilarity of that pair: the diameter of the cluster that comes out.
        complete_to: every merge with height ≤ this one is here; infinity where the tree is whole.
        counted: what has been counted of the pairs up to `complete_to` between the clusters that are left, to go on
            from; None where nobody can go on (the tree is whole), or where it is not known.
    """

    a: Ints
    b: Ints
    height: Doubles
    complete_to: float
    counted: Counted | None = None

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
        merges: how many, from 0 to n − 1; those that tie with the last in height come as well, and so do all at
            height 0.
        height: instead of `merges`: all with a height up to this one.
        metric: ``cosine`` or ``euclidean``.
        cannot_link: int[k, 2], positions that must not share a cluster: pairs at infinite dissimilarity. There may
            then be fewer merges than were asked for.
        after: a result for the same vectors, metric and `cannot_link`, to go on from.
        resources: memory, threads and a folder to use.

    Returns:
        The merges, complete up to the height of the last (`merges`), to `height`, or whole.

    Raises:
        UsageError: vectors that can't be compared; not exactly one of `merges` and `height`, or out of range.
        MemoryBudgetError: the pairs that this depth needs don't fit into memory.
    """
    points = Points.of(vectors, metric)
    n = len(points)
    _check_depth(n, merges, height)
    twins = collapse(points.first_equals(), cannot_link)
    zeros = np.zeros(len(twins.a))
    if len(twins.points) < n:
        points = points.subset(twins.points)
    if len(points) <= 1:
        return Linkage(twins.a, twins.b, zeros, math.inf)
    if merges is not None and merges <= len(twins.a):
        none = np.empty(0, dtype=np.int32)
        return Linkage(twins.a, twins.b, zeros, 0.0, Counted(none, none, none.astype(np.int64)))

    exact = metric == Metric.COSINE
    limit = math.inf if height is None else height if exact else _half_square(height, points.scale)
    more = None if merges is None else merges - len(twins.a)

    def ties(d: float) -> float:
        return d if exact else _half_square(math.sqrt(2.0 * d) / points.scale, points.scale)

    task = Task(points, twins.apart, more, limit, ties, resources or Resources())
    grown = grow(task, _start(after if exact else None, merges, limit, n, twins))
    heights = grown.d if exact else np.sqrt(2.0 * grown.d) / points.scale
    whole = len(twins.a) + len(heights) == n - 1 or math.isinf(grown.complete_to)
    if whole:
        complete_to = math.inf
    elif height is not None:
        complete_to = height
    else:
        complete_to = float(heights[-1])
    place = twins.points
    counts = None if whole or not exact else grown.counted
    if counts is not None:
        counts = Counted(place[counts.a].astype(np.int32), place[counts.b].astype(np.int32), counts.seen)
    return Linkage(
        np.concatenate([twins.a, place[grown.i]]),
        np.concatenate([twins.b, place[grown.j]]),
        np.concatenate([zeros, heights]),
        complete_to,
        counts,
    )


def _check_depth(n: int, merges: int | None, height: float | None) -> None:
    if (merges is None) == (height is None):
        raise UsageError("give either merges or height, not both and not neither")
    if merges is not None and not 0 <= merges <= max(n - 1, 0):
        raise UsageError(f"merges is {merges}; {n} vectors have from 0 to {max(n - 1, 0)} merges")
    if height is not None and not height >= 0:
        raise UsageError(f"height is {height}; it must be 0 or more")


def _start(after: Linkage | None, merges: int | None, limit: float, n: int, twins: Collapsed) -> Start:
    """Return where an earlier result ended, where it can be gone on from, else the very start."""
    points = twins.points
    begin = Start(singletons(len(points)), -1.0, np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0))
    if after is None or after.counted is None:
        return begin
    if len(after) < len(twins.a) or (len(after) and int(after.b.max()) >= n):
        raise UsageError(f"after has {len(after):,} merges that are not of these {n:,} vectors; leave it out")
    beyond = len(after) >= merges if merges is not None else after.complete_to > limit
    if beyond:  # what is asked for is less than what is there, and must come out as if nothing had been there
        return begin
    a, b = (np.searchsorted(points, column[len(twins.a) :]) for column in (after.a, after.b))
    counts = after.counted
    there = Counted(
        np.searchsorted(points, counts.a).astype(np.int32),
        np.searchsorted(points, counts.b).astype(np.int32),
        counts.seen,
    )
    return Start(restored(len(points), a, b, there), after.complete_to, a, b, after.height[len(twins.a) :])


def _half_square(height: float, scale: float) -> float:
    """Return the largest ½|x − y|² of scaled rows whose |x − y| is reported as no more than `height`."""

    def reported(d: float) -> float:
        return math.sqrt(2.0 * d) / scale

    d = 0.5 * (height * scale) * (height * scale)
    while d > 0.0 and reported(d) > height:
        d = math.nextafter(d, 0.0)
    while d < math.inf and reported(math.nextafter(d, math.inf)) <= height:
        d = math.nextafter(d, math.inf)
    return d
