"""Greedy farthest point: each choice is the image farthest from those chosen before it (Gonzalez, 1985).

**Guarantee.** Let r be the covering radius that results: the largest dissimilarity of an image to its nearest chosen
one. Then k chosen images and the farthest one are k + 1 images no two of which are nearer than r. Any other k images
leave two of these to one representative, so one of them is at least half as far from it, in the length of chords √(2d),
which obeys the triangle inequality. So no choice of k images has a covering radius below r/4.

**Cost.** A panel of images is compared with what was chosen since it was last looked at only when it may hold the
farthest image: dissimilarities to the nearest chosen image only fall, so an old one is an upper bound. That changes
no choice; it compares a panel with many chosen images while they are in the cache.
"""

from __future__ import annotations

import math

import numpy as np

from ...data.store.embeddings import Ints
from ...linkage.distances import Doubles, Positions
from ...linkage.farthest import COLUMNS, ROWS, add_squares
from ...linkage.kernels import kernel
from ...linkage.rows import Panels, grid_of
from ...tree.representatives import representatives
from ...tree.steps import Floats

CHOSEN = -1.0  # in place of the dissimilarity of an image that is chosen


def kcenter(units: Floats, count: int, threshold: float = -math.inf, near: Floats | None = None) -> Ints:
    """Choose images far from one another.

    The first is the representative of all: the image nearest to their centre. Each next one has the largest
    dissimilarity to its nearest chosen image; ties go to the smallest position.

    Args:
        units: float64[n, d], unit vectors in id order.
        count: how many to choose at most, from 1 to n.
        threshold: stop earlier, when no image is farther than this from its nearest chosen one.
        near: float64[n], the dissimilarity to the nearest of some images that are chosen already, `CHOSEN` for these
            themselves; they do not count. None for no such images.

    Returns:
        int64[k], the positions in the order they were chosen.
    """
    grid = grid_of(units)
    nearest = np.full((len(grid.panels), COLUMNS), CHOSEN)  # where the last panel has no images, too
    chosen, begin = np.empty(count, dtype=np.int32), 0
    if near is None:
        chosen[0], begin = representatives(units, np.zeros(len(units), dtype=np.int64))[0][0], 1
        near = np.full(len(units), np.inf)
        near[chosen[0]] = CHOSEN
    nearest.reshape(-1)[: len(units)] = near
    return np.asarray(_chosen(grid.units, grid.panels, nearest, chosen, begin, threshold), dtype=np.int64)


@kernel
def _chosen(
    units: Doubles, panels: Panels, nearest: Doubles, chosen: Positions, begin: int, threshold: float
) -> Positions:
    """Fill in the images that are chosen after the first `begin`, given the dissimilarities to those chosen already."""
    many = len(panels)
    seen = np.zeros(many, dtype=np.int64)  # how many of the chosen each panel was compared with
    bound = np.empty(many)  # of the dissimilarities in each panel
    sums = np.empty((ROWS, COLUMNS))
    for p in range(many):
        bound[p] = nearest[p].max()
    for k in range(begin, len(chosen)):
        while True:
            p = int(np.argmax(bound))  # the first of equal ones, so the smallest position
            if seen[p] == k:
                break
            while seen[p] < k:
                some = chosen[seen[p] : min(seen[p] + ROWS, k)]
                add_squares(units, some, panels[p], sums)
                for r in range(len(some)):
                    for c in range(COLUMNS):
                        nearest[p, c] = min(nearest[p, c], 0.5 * sums[r, c])
                seen[p] += len(some)
            bound[p] = nearest[p].max()
        if bound[p] <= threshold:
            return chosen[:k]
        c = int(np.argmax(nearest[p]))
        chosen[k] = p * COLUMNS + c
        nearest[p, c] = CHOSEN
        bound[p] = nearest[p].max()
        # The panel has not seen its own new image: its bound stays one, and is looked at again when it is the largest.
    return chosen
