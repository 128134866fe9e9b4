"""Random draw: every image of a class is equally likely to be kept."""

from __future__ import annotations

import numpy as np

from ...data.store.embeddings import Ints


def draw(n: int, count: int, rng: np.random.Generator) -> Ints:
    """Draw `count` of n positions, ascending; int64[count].

    Each position gets a number, and the smallest stay: a smaller draw with the same seed is part of a larger one.
    """
    return np.sort(np.argsort(rng.random(n), kind="stable")[:count])
