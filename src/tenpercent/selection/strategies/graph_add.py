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
from ...linkage.dense import COLUMNS, ROWS
from ...linkage.distances import Doubles
from ...linkage.kernels import inner, kernel
from ...linkage.rows import Panels, fill_rows, grid_of
from ...tree.steps import Floats

NOTHING = 2.0  # the dissimilarity to the nearest chosen image while there is none: that of opposite images
LANES = 8  # sums side by side, added up at the end
CACHE_BYTES = 1 << 29  # of rows that are kept, each class; others are computed again


def graph_add(units: Floats, count: int, cache_bytes: int = CACHE_BYTES) -> Ints:
    """Choose the images that represent all others best.

    Each choice adds most; ties go to the smallest position.

    Args:
        units: float64[n, d], unit vectors in id order.
        count: how many to choose, from 1 to n.
        cache_bytes: memory for dissimilarities; it affects the time, never the result.

    Returns:
        int64[count], the positions in the order they were chosen.
    """
    n = len(units)
    grid = grid_of(units)
    kept_rows = np.empty((min(n, cache_bytes // (8 * n)), n))
    return np.asarray(_chosen(grid.units, grid.panels, kept_rows, count), dtype=np.int64)


@kernel
def _chosen(units: Doubles, panels: Panels, kept_rows: Doubles, count: int) -> npt.NDArray[np.int64]:
    n, known = len(units), len(kept_rows)
    sums, block = np.empty((ROWS, COLUMNS)), np.empty((ROWS, n))
    nearest = np.full(n, NOTHING)
    heap = [(0.0, 0) for _ in range(0)]  # (−what it would add, position)
    for top in range(0, n, ROWS):
        rows = np.arange(top, min(top + ROWS, n)).astype(np.int32)
        fill_rows(units, rows, panels, n, sums, block)
        for r in range(len(rows)):
            if top + r < known:
                kept_rows[top + r] = block[r]
            heap.append((-_added(nearest, block[r]), top + r))
    heapq.heapify(heap)
    when = np.zeros(n, dtype=np.int64)  # number of chosen images when each value was computed
    chosen = np.empty(count, dtype=np.int64)
    one = np.empty(1, dtype=np.int32)
    for k in range(count):
        while True:
            _, x = heapq.heappop(heap)
            if x < known:
                row = kept_rows[x]
            else:
                one[0] = x
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
