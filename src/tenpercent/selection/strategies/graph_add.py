"""Facility location: starting empty, add the image that most raises the sum of similarities to the nearest chosen one.

The article calls this kind of choice constructive and does not define it; this definition is ours. The similarity of
two images is 2 − their dissimilarity (1 + cosine), which is never negative; with nothing chosen it counts as 0. The
value of a choice S is the sum over all images of the similarity to the nearest image in S.

**Guarantee.** That sum is monotone and submodular, so the greedy choice of k images reaches at least 1 − 1/e (63%) of
what the best k could (Nemhauser, Wolsey and Fisher, 1978).

**Lazy is plain.** What an image would add only falls as others are added, so an old value is an upper bound and only
the largest one is recomputed (Minoux, 1978). That holds for the rounded values, too: with m the dissimilarity of an
image to its nearest chosen one, an image adds the sum of max(0, m − d), whose terms are rounded monotonously and summed
in one fixed order; rounded addition is monotone in both terms. So ties are settled as plain greedy would settle them.
"""

from __future__ import annotations

import heapq

import numpy as np
import numpy.typing as npt

from ...data.store.embeddings import Ints
from ...linkage.distances import Doubles, Positions
from ...linkage.farthest import COLUMNS, ROWS
from ...linkage.kernels import inner, kernel
from ...linkage.rows import Panels, fill_rows, grid_of
from ...tree.steps import Floats

NOTHING = 2.0  # the dissimilarity to the nearest chosen image while there is none: that of opposite images
LANES = 8  # sums side by side, added up at the end
CACHE_BYTES = 1 << 29  # of rows that are kept, each class; others are computed again


def graph_add(units: Floats, count: int, cache_bytes: int = CACHE_BYTES, near: Floats | None = None) -> Ints:
    """Choose the images that represent all others best.

    Each choice adds most; ties go to the smallest position.

    Args:
        units: float64[n, d], unit vectors in id order.
        count: how many to choose, from 1 to n.
        cache_bytes: memory for dissimilarities; it affects the time, never the result.
        near: float64[n], the dissimilarity to the nearest of some images that are chosen already, below 0 for these
            themselves; they do not count. None for no such images.

    Returns:
        int64[count], the positions in the order they were chosen.
    """
    n = len(units)
    grid = grid_of(units)
    nearest = np.full(n, NOTHING) if near is None else near.copy()
    others = np.flatnonzero(nearest >= 0).astype(np.int32)
    kept_rows = np.empty((min(len(others), cache_bytes // (8 * n)), n))
    found = _chosen(grid.units, grid.panels, nearest, others, kept_rows, count)
    return np.asarray(others[found], dtype=np.int64)


@kernel
def _chosen(
    units: Doubles,
    panels: Panels,
    nearest: Doubles,
    others: Positions,
    kept_rows: Doubles,
    count: int,
) -> npt.NDArray[np.int64]:
    """Return which of the others are chosen, given the dissimilarity of each image to its nearest chosen one."""
    n, known = len(units), len(kept_rows)
    sums, block = np.empty((ROWS, COLUMNS)), np.empty((ROWS, n))
    heap = [(0.0, 0) for _ in range(0)]  # (−what it would add, which of the others)
    for top in range(0, len(others), ROWS):
        rows = others[top : top + ROWS]
        fill_rows(units, rows, panels, n, sums, block)
        for r in range(len(rows)):
            if top + r < known:
                kept_rows[top + r] = block[r]
            heap.append((-_added(nearest, block[r]), top + r))
    heapq.heapify(heap)
    when = np.zeros(len(others), dtype=np.int64)  # number of chosen images when each value was computed
    chosen = np.empty(count, dtype=np.int64)
    one = np.empty(1, dtype=np.int32)
    for k in range(count):
        while True:
            _, x = heapq.heappop(heap)
            if x < known:
                row = kept_rows[x]
            else:
                one[0] = others[x]
                fill_rows(units, one, panels, n, sums, block)
                row = block[0]
            if when[x] == k:
                break
            when[x] = k
            heapq.heappush(heap, (-_added(nearest, row), x))
        chosen[k] = x
        for y in range(n):
            nearest[y] = min(nearest[y], row[y])
    return chosen


@inner
def _added(nearest: Doubles, row: Doubles) -> float:
    """Return the sum of max(0, nearest − row), always added in the same order."""
    lanes = np.zeros(LANES)
    even = len(row) - len(row) % LANES
    for begin in range(0, even, LANES):
        for lane in range(LANES):
            lanes[lane] += max(0.0, nearest[begin + lane] - row[begin + lane])
    for y in range(even, len(row)):
        lanes[y - even] += max(0.0, nearest[y] - row[y])
    total = 0.0
    for lane in range(LANES):
        total += lanes[lane]
    return total
