"""Thinning of the neighbour graph: drop one image of the closest pair that is left, again and again.

The article calls this kind of choice destructive and does not define it; this definition is ours. Of all pairs of
images that are left take the closest, by (dissimilarity, smaller position, larger position), and drop its **larger**
position. Stop when `count` images are left, or none is nearer than the threshold to another.

**Guarantee.** No two kept images are nearer than the pair that was dropped last. A dropped image was as near to one
that was there then; that one may be dropped later, so the representative of an image can be farther away than any pair
here.

**Shells give the same result.** Once all pairs up to a radius r are walked, no two images left are within r: the next
shell holds only pairs above r among what is left. So the pairs in memory are few, however deep the cut.
"""

from __future__ import annotations

import math

import numpy as np

from ...data.store.embeddings import Ints, Vectors
from ...linkage.kernels import kernel
from ...linkage.neighbors import NeighborGraph, TooManyPairsError, neighbor_graph
from ...linkage.points import Points
from ...linkage.sample import sample_pairs
from ...tree.steps import Bools

SAME = 1e-9  # of a radius: a shell is not made narrower than this
MOST = 1 << 24  # pairs of a shell, about: 16 bytes each, and as much again while they are sorted


def graph_remove(vectors: Vectors, count: int, threshold: float = math.inf, most: int = MOST) -> Ints:
    """Drop images until `count` are left or none is within `threshold` of another.

    Args:
        vectors: [n, d] in id order.
        count: how many are to be left, from 1 to n.
        threshold: the largest dissimilarity of a pair that is dropped.
        most: how many pairs a shell may hold, unless they have one dissimilarity; it never affects the result.

    Returns:
        int64[k], the positions that are left, ascending.
    """
    points = Points.of(vectors)
    n = len(points)
    first = points.first_equals()
    # Pairs of equal images come first, by (0, smaller, larger): each drops an equal one of the smallest position.
    again = np.flatnonzero(first != np.arange(n))
    again = again[np.lexsort((again, first[again]))][: n - count]
    left = np.ones(n, dtype=np.bool_)
    left[again] = False
    reached = 0.0
    while reached < threshold and (more := int(left.sum()) - count) > 0:
        positions = np.flatnonzero(left)
        graph = _shell(points.subset(positions), reached, more, threshold, most)
        keeps = np.ones(len(positions), dtype=np.bool_)
        _drop(graph.i.astype(np.int64), graph.j.astype(np.int64), keeps, more)
        left[positions[~keeps]] = False
        reached = graph.radius
    return np.flatnonzero(left)


def _shell(points: Points, above: float, more: int, threshold: float, most: int) -> NeighborGraph:
    """Return all pairs from `above` to a radius that should be enough to drop `more`, or as far as memory allows."""
    wanted = sample_pairs(points).radius_of(min(1.0, 1.5 * more / len(points)))
    radius = min(threshold, max(wanted, 1.25 * above))  # wider than before, however few it would be
    while True:
        try:
            return neighbor_graph(points, radius, above=above, most=most)
        except TooManyPairsError:
            narrower = above + (min(radius, 2.0) - above) / 2.0
            if narrower - above < SAME * radius:  # more pairs than that at one dissimilarity: take them all
                return neighbor_graph(points, radius, above=above)
            radius = narrower


@kernel
def _drop(i: Ints, j: Ints, left: Bools, count: int) -> None:
    """Walk pairs in order and drop the larger position of each whose both are left, `count` times at most."""
    for p in range(len(i)):
        if count == 0:
            return
        if left[i[p]] and left[j[p]]:
            left[j[p]] = False
            count -= 1
