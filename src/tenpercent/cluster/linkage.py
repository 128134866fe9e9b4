"""The first merges of the complete-linkage tree under cosine dissimilarity, exactly, from the near pairs alone.

    vectors ── unit_vectors ──> units ── equal rows collapse ──> points
    points ── sample_pairs ──> radius ── neighbor_graph ──> pairs ── walk ──> merges      (again, wider, if too few)

Why this is exact, in three steps; each is proved where it is done.

1. A merge at height h joins clusters whose cross pairs are all ≤ h. So the merges up to height r are decided by the
   pairs with d ≤ r, and `neighbor_graph` finds every one of them (`neighbors.py`: the margin).
2. Walking these pairs in increasing (d, i, j) and merging two clusters when the last of their cross pairs has been
   seen *is* complete linkage (`walk.py`: the claim and its proof). Widening the radius continues the walk.
3. Equal rows merge first, at height 0, and act as one point from then on (`_collapse`).

So the radius decides what is computed, never what comes out.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..errors import UsageError
from .distances import Doubles, distinct_rows, unit_vectors
from .memory import MemoryBudgetError, affordable_pairs, in_words
from .neighbors import neighbor_graph
from .sample import PairSample, sample_pairs
from .walk import singletons, walk

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Linkage:
    """The first merges of the tree, in increasing (height, a, b).

    Attributes:
        a: int64[m], the smaller position of the pair that closed each merge: the farthest pair of its two clusters.
        b: int64[m], the larger position.
        height: float64[m], the dissimilarity of that pair: the diameter of the cluster that comes out.
        complete_to: every merge with height ≤ this one is here; infinity where the tree is whole.
    """

    a: Ints
    b: Ints
    height: Doubles
    complete_to: float

    def __post_init__(self) -> None:
        for array in (self.a, self.b, self.height):
            array.flags.writeable = False

    def __len__(self) -> int:
        return len(self.height)

    def prefix(self, count: int) -> Linkage:
        """Return the first `count` merges and those that tie with the last of them in height; 0 ≤ count ≤ n − 1."""
        height = float(self.height[count - 1]) if count else 0.0
        end = int(np.searchsorted(self.height, height, side="right"))
        whole = math.isinf(self.complete_to) and end == len(self)
        return Linkage(self.a[:end], self.b[:end], self.height[:end], math.inf if whole else height)


def first_merges(
    vectors: npt.ArrayLike,
    *,
    merges: int | None = None,
    height: float | None = None,
    memory: int | None = None,
) -> Linkage:
    """Return the first merges of complete linkage under cosine dissimilarity.

    The dissimilarity of two clusters is the largest (d, smaller position, larger position) over their cross pairs,
    d being ½|u − v|² of the unit vectors; each step merges the two clusters where it is smallest. So there is one tree.

    Args:
        vectors: [n, d] of real numbers; float64 is taken as it is, every other type as float32.
        merges: how many, from 0 to n − 1; those that tie with the last in height come as well, and so do all at
            height 0.
        height: instead of `merges`: all with a height up to this one.
        memory: bytes that the pairs may take; None for half of what is free.

    Returns:
        The merges, complete up to the height of the last (`merges`), to `height`, or whole.

    Raises:
        UsageError: vectors that have no direction; not exactly one of `merges` and `height`, or out of range.
        MemoryBudgetError: the pairs that this depth needs don't fit into `memory`.
    """
    units = unit_vectors(vectors)
    n = len(units)
    _check_depth(n, merges, height)
    points, twins = _collapse(units)
    if len(points) < n:
        units = units[points]

    found = twins if len(points) > 1 else Linkage(twins.a, twins.b, twins.height, math.inf)
    if len(points) > 1 and not (merges is not None and merges <= len(twins)):
        more = None if merges is None else merges - len(twins)
        above = _walk_shells(units, more, height, affordable_pairs(memory))
        found = Linkage(
            np.concatenate([twins.a, points[above.a]]),
            np.concatenate([twins.b, points[above.b]]),
            np.concatenate([twins.height, above.height]),
            above.complete_to,
        )
    return found if merges is None else found.prefix(merges)


def _check_depth(n: int, merges: int | None, height: float | None) -> None:
    if (merges is None) == (height is None):
        raise UsageError("give either merges or height, not both and not neither")
    if merges is not None and not 0 <= merges <= max(n - 1, 0):
        raise UsageError(f"merges is {merges}; {n} vectors have from 0 to {max(n - 1, 0)} merges")
    if height is not None and not height >= 0:
        raise UsageError(f"height is {height}; it must be 0 or more")


def _collapse(units: Doubles) -> tuple[Ints, Linkage]:
    """Collapse equal rows; return the position that each distinct row goes by, increasing, and the merges at height 0.

    A dissimilarity is 0 exactly where rows are equal, so all merges at height 0 come first. Of equal rows at
    i₁ < … < iₖ, {i₁, …, iₜ} and iₜ₊₁ have the farthest pair (0, iₜ, iₜ₊₁), smaller than that of iₜ₊₁ and iₜ₊₂:
    the merges are (0; iₜ, iₜ₊₁).

    Afterwards, two such sets P and Q with dissimilarity d have as their farthest pair the largest (d, min(p, q),
    max(p, q)): first the largest minimum, which is the smaller of max P and max Q, then the largest maximum, which is
    the larger of both. So each acts as one point at its largest position. The walk may count one pair for P and Q
    instead of |P|·|Q|, as these are equal and come, and are complete, together.
    """
    first = distinct_rows(units)
    order = np.argsort(first, kind="stable")
    equal = first[order[1:]] == first[order[:-1]]
    a, b = order[:-1][equal], order[1:][equal]
    by_a = np.argsort(a)
    last = np.append(~equal, len(order) > 0)
    return np.sort(order[last[: len(order)]]), Linkage(a[by_a], b[by_a], np.zeros(len(a)), 0.0)


def _walk_shells(units: Doubles, merges: int | None, height: float | None, affordable: int) -> Linkage:
    """Walk the pairs of distinct points shell by shell until there are enough merges.

    Args:
        units: float64[n, d], distinct, n ≥ 2.
        merges: at least so many (there may be more), or None …
        height: … for all up to this height.
        affordable: how many pairs may be in memory.

    Returns:
        Merges between rows of `units`, complete to the radius of the last shell, or whole.
    """
    n = len(units)
    sample = sample_pairs(units)
    radius = float(height or 0.0) if merges is None else sample.first_radius(merges / n)
    if sample.pairs(radius) > affordable:
        raise MemoryBudgetError(_too_deep(sample, merges, radius, affordable))
    clusters = singletons(n)
    shells: list[tuple[Ints, Ints, Doubles]] = []
    done, reached = 0, -1.0
    while True:
        graph = neighbor_graph(units, radius, above=reached, most=affordable - len(clusters.a))
        closing, clusters = walk(clusters, graph.i, graph.j)
        shells.append(
            (graph.i[closing].astype(np.int64), graph.j[closing].astype(np.int64), graph.d[closing])
        )
        del graph
        done, reached = done + len(closing), radius
        if merges is None or done >= merges or done == n - 1:
            break
        radius = _wider(sample, reached, affordable - len(clusters.a))
        if radius <= reached:
            fits = (
                done * 9 // 10
            )  # asked for exactly `done`, the radii would be others and could stop a little earlier
            raise MemoryBudgetError(
                f"{merges:,} merges of {n:,} vectors need more than the {in_words(affordable)} that may be used; "
                f"{fits:,} merges (keep {1 - fits / n:.2f}) should fit, or give more memory"
            )
    a, b, heights = (np.concatenate(column) for column in zip(*shells, strict=True))
    return Linkage(a, b, heights, math.inf if done == n - 1 else reached)


def _wider(sample: PairSample, radius: float, affordable: int) -> float:
    """Return a radius with about four times the pairs, or with as many as fit; `radius` itself where none do."""
    pairs = max(sample.pairs(radius), sample.points / 4)
    wider = max(sample.radius(4 * pairs), 1.5 * radius)
    if sample.pairs(wider) - sample.pairs(radius) > affordable:
        wider = max(sample.radius(sample.pairs(radius) + 0.8 * affordable), radius)
        if sample.pairs(wider) < 1.1 * pairs:
            return radius
    return wider if wider < 2.0 else math.inf


def _too_deep(sample: PairSample, merges: int | None, radius: float, affordable: int) -> str:
    """Say what a cut needs, what may be used and what would fit, before any pair is collected."""
    n, pairs = sample.points, sample.pairs(radius)
    fitting = sample.radius(0.9 * affordable)
    mutual = (
        int(np.searchsorted(sample.nearest, fitting)) * n // (2 * len(sample.nearest))
    )  # two points a merge
    asked, fits = f"height {radius:.6g}", f"height {fitting:.6g}"
    if merges is not None:
        asked, fits = f"{merges:,} merges", f"{mutual:,} merges (keep {1 - mutual / n:.2f})"
    return (
        f"{asked} of {n:,} vectors needs about {in_words(pairs)} for {pairs:,.0f} pairs, and {in_words(affordable)} "
        f"may be used; {fits} should fit, or give more memory"
    )
