"""Systematic draw along the exact tree, for deep cuts (ours): it keeps the density that complete linkage evens out.

A deep cut of complete linkage keeps one image of each group, however large: outliers stay and dense regions are thinned
most. A random draw keeps the density, but by chance: of ten images that are nearly the same it may keep none, or six.
Put the images in the order of the tree's leaves, where every group of every cut lies side by side, and take every
(n / count)-th, from a random start: systematic sampling (Madow and Madow, 1944). Then

- every image stays with the same probability, count / n, as in a random draw (`spread`);
- **guarantee**: of the m images of any group of any cut of the tree, m · count / n stay, rounded down or up.

`mixed` lies between that and `semantic`: a group of s images in the cut that `semantic` would take weighs s^α, each of
its images s^(α − 1), and an image stays with a probability in proportion to that. α = 1 is `spread`, α = 0 keeps one
image of each group, as `semantic` does, but a random one.

From images that are labelled already, `halved` chooses without chance: in the same row of leaves, the middle of the
longest stretch without one. A row counts images, so dense regions get more; every group is one stretch of it.
"""

from __future__ import annotations

import heapq

import numpy as np

from ...data.store.embeddings import Ints
from ...linkage.kernels import kernel
from ...tree.steps import Bools

ALPHA = 0.5
UNIT = 1 << 16  # weights are whole numbers, in units of 1 / UNIT


def leaf_order(n: int, a: Ints, b: Ints) -> Ints:
    """Return images in an order in which every group lies side by side; int64[n].

    The part of a merge that holds the smaller position comes first; so do groups that were not merged.

    Args:
        n: the number of images.
        a, b: int64[m], a position of each of the two groups that a merge joins, in order of the merges.
    """
    return np.asarray(_leaf_order(n, np.ascontiguousarray(a), np.ascontiguousarray(b)), dtype=np.int64)


def weights_of(sizes: Ints, alpha: float) -> Ints:
    """Return size^(α − 1) in whole units, at least one; int64[n].

    Args:
        sizes: int64[n], the size of each image's group.
        alpha: from 0 (equal weight for each group) to 1 (equal weight for each image).
    """
    if alpha == 1.0:
        return np.ones(len(sizes), dtype=np.int64)
    return np.asarray(np.maximum(1, np.rint(UNIT * sizes ** (alpha - 1.0))), dtype=np.int64)


def systematic(weights: Ints, count: int, start: float) -> Ints:
    """Draw `count` places in a row, each with a probability in proportion to its weight, or for certain.

    Args:
        weights: int64[n], at least 1, in the order of the row.
        count: how many to draw, from 0 to n.
        start: in [0, 1), drawn at random.

    Returns:
        int64[count], ascending.
    """
    certain = np.zeros(len(weights), dtype=bool)
    while True:  # what would be drawn more than once is kept for certain, and the others share the rest
        rest, total = count - int(certain.sum()), int(weights[~certain].sum())
        more = ~certain & (weights * rest >= total)
        if not rest or not more.any():
            break
        certain |= more
    others = np.flatnonzero(~certain)
    if rest and len(others):
        ends = np.cumsum(weights[others]) * rest + int(start * total)
        passed = ends // total
        certain[others[np.diff(passed, prepend=0) > 0]] = True
    return np.flatnonzero(certain)


def halved(row: Ints, labelled: Bools, count: int) -> Ints:
    """Choose the middle of the longest stretch of a row without a labelled or chosen image, again and again.

    Of equally long stretches the first is halved, and of two middles the first is taken.

    Args:
        row: int64[n], images in order.
        labelled: bool[n], by image.
        count: how many to choose, at most those that are not labelled.

    Returns:
        int64[count], images in the order they were chosen.
    """
    edges = np.flatnonzero(np.concatenate([[True], labelled[row], [True]]))
    heap = [
        (begin + 1 - end, begin) for begin, end in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True)
    ]  # (−length, begin)
    heapq.heapify(heap)
    chosen = []
    for _ in range(count):
        less, begin = heapq.heappop(heap)
        middle = begin + (-less - 1) // 2
        chosen.append(middle)
        heapq.heappush(heap, (begin - middle, begin))
        heapq.heappush(heap, (middle + 1 - begin + less, middle + 1))
    return row[chosen]


@kernel
def _leaf_order(n: int, a: Ints, b: Ints) -> Ints:
    root, last = np.arange(n), np.arange(n)  # of each group: its smallest position, and the end of its row
    after = np.full(n, -1)
    for k in range(len(a)):
        x, y = a[k], b[k]
        while root[x] != x:
            root[x] = root[root[x]]
            x = root[x]
        while root[y] != y:
            root[y] = root[root[y]]
            y = root[y]
        x, y = min(x, y), max(x, y)
        root[y] = x
        after[last[x]] = y
        last[x] = last[y]
    order = np.empty(n, dtype=np.int64)
    at = 0
    for x in range(n):
        if root[x] == x:
            while x >= 0:
                order[at] = x
                at += 1
                x = after[x]
    return order
