"""Coverage-centric selection by a score of each image, CCS (Zheng et al., 2023, arXiv 2210.15809).

Larger is harder. Drop the hardest share β, which holds most wrong labels; cut the range of the scores that are left
into strata of equal width; give each the same budget, the smallest first, so that what a small one does not use goes
to the others; draw from each at random. Where easy images score high (the area under the margin), pass the negative.
"""

from __future__ import annotations

import numpy as np

from ...data.store.embeddings import Ints
from ...tree.steps import Floats
from .draw import draw

STRATA = 50  # as published
PRUNED = 0.1  # β: published values go from 0 to 0.3 and more, larger for deeper cuts


def ccs(scores: Floats, count: int, rng: np.random.Generator, pruned: float = PRUNED) -> Ints:
    """Choose images of all degrees of difficulty but the highest.

    Args:
        scores: float64[n], larger is harder.
        count: how many to choose, from 1 to n.
        rng: draws within the strata.
        pruned: β, the share of the hardest dropped first, never more than the share to drop in all.

    Returns:
        int64[count], positions, ascending.
    """
    n = len(scores)
    left = n - min(int(pruned * n), n - count)
    rest = np.sort(np.argsort(scores, kind="stable")[:left])
    of = strata_of(scores[rest])
    strata = [rest[of == s] for s in range(STRATA)]
    chosen = []
    for at, s in enumerate(sorted(range(STRATA), key=lambda s: len(strata[s]))):
        share = min(len(strata[s]), count // (STRATA - at))
        chosen.append(strata[s][draw(len(strata[s]), share, rng)])
        count -= share
    return np.sort(np.concatenate(chosen))


def strata_of(scores: Floats) -> Ints:
    """Return the stratum of each score, from 0: the range cut into `STRATA` of equal width; int64[n]."""
    low, high = float(scores.min()), float(scores.max())
    if low == high:
        return np.zeros(len(scores), dtype=np.int64)
    place = (scores / 2 - low / 2) / (high / 2 - low / 2)  # halved: a range may be more than a double holds
    return np.minimum((place * STRATA).astype(np.int64), STRATA - 1)
