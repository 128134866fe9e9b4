"""Number of images that each class keeps: exact counts by largest remainder."""

from __future__ import annotations

import numpy as np

from ..data.store.embeddings import Ints


def allot(sizes: Ints, smallest: Ints, wanted: int, minimum: int | Ints = 1) -> Ints:
    """Distribute `wanted` images over the classes, in proportion to their sizes.

    A class whose proportional share is below ``min(minimum, its size)`` gets that many. The others share the rest in
    proportion, by largest remainder; remainder ties go to the class that holds the smallest image id. Where the minima
    alone exceed `wanted`, each class gets its minimum and the sum exceeds `wanted`. All computations are in whole
    numbers.

    Args:
        sizes: int64[c], images of each class, at least 1.
        smallest: int64[c], the position in id order of each class's first image.
        wanted: the number of images to keep over all classes.
        minimum: the number that no class goes below unless it is smaller itself, at least 1; one for all classes, or
            int64[c].

    Returns:
        int64[c], images to keep of each class.
    """
    counts = np.minimum(minimum, sizes)
    fixed = np.zeros(len(sizes), dtype=bool)
    while True:
        rest = wanted - int(counts[fixed].sum())
        total = int(sizes[~fixed].sum())
        below = ~fixed & (rest * sizes < counts * total)
        if not below.any():
            break
        fixed |= below
    if total == 0:
        return counts
    free = np.flatnonzero(~fixed)
    shares, remainders = np.divmod(rest * sizes[free], total)
    left = rest - int(shares.sum())
    first = np.lexsort((smallest[free], -remainders))[:left]
    shares[first] += 1
    counts[free] = shares
    return counts
