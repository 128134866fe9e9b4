"""How far to look for pairs, estimated from a sample and from the merges so far; and whether to finish densely.

Nothing here affects the result: a radius only sets which pairs are handled together.
"""

from __future__ import annotations

import math

import numpy as np

from .distances import Doubles
from .sample import PairSample

# Cost of a step on one thread of an ordinary CPU, in seconds: these choose the faster way and nothing else.
PAIR_SECONDS = 2.5e-7  # to find, sort and walk a pair
SCATTERED_SECONDS = 6e-10  # of a coordinate in the exact dissimilarity of a pair that was found somewhere
PRODUCT_SECONDS = (
    3e-11  # of a coordinate in products of float32, by which pairs are searched for, densely too
)
ENTRY_SECONDS = 2e-8  # of its matrix

LIVE = 0.5  # of n points and E pairs there are about LIVE · √(E·n) of them at a time, on real embeddings

SHALLOW = 0.6  # up to this fraction of merges the nearest neighbours of a sample tell the radius
BEGINNING = (0.5, 2.1)  # of deeper cuts: about this fraction first, and then what pays


def first_radius(sample: PairSample, merges: int) -> float:
    """Return a radius that probably holds the merges wanted or, for a deep cut, the first half."""
    fraction = merges / sample.points
    return sample.radius_of(fraction) if fraction <= SHALLOW else sample.radius_of(*BEGINNING)


def wider_radius(sample: PairSample, merges: int, reached: float, heights: Doubles) -> float:
    """Return a wider radius, from the growth of the merges with the pairs so far.

    The log-odds of the fraction merged grow with the logarithm of the pairs, the faster the deeper, on all
    embeddings examined: the slope so far overestimates the pairs that are needed, a little.

    Args:
        sample: of all points.
        merges: number of merges wanted.
        reached: the radius so far.
        heights: float64[m], the dissimilarities of the merges so far.
    """
    n, done = sample.points, len(heights)
    pairs = max(sample.pairs(reached), n / 4)
    half = int(np.searchsorted(heights, sample.radius(pairs / 2), side="right"))
    slope = max((_log_odds(done / n) - _log_odds(half / n)) / math.log(2.0), 0.3)
    factor = math.exp((_log_odds(merges / n) - _log_odds(done / n)) / slope) * 1.2
    return max(sample.radius(pairs * min(max(factor, 2.0), 8.0)), 1.2 * reached)


def dense_pays(sample: PairSample, merges: int, done: int, radius: float, width: int) -> bool:
    """Return whether the dense end is the faster way from the merges done to those wanted.

    Args:
        sample: of all points.
        merges: number of merges wanted.
        done: number of merges so far.
        radius: of the search, so far or, where nothing is done, of the first.
        width: number of coordinates.
    """
    n = sample.points
    left, end = max(n - done, 1), max(n - merges, 0.5)
    pairs, searches = sample.pairs(radius), 1
    if not done:
        searches = 1 if merges <= SHALLOW * n else 2
    else:
        share = math.log(end / n) / math.log(min(left, n - 0.5) / n)
        pairs = min(pairs * share**2, n * (n - 1) / 2)
    products = n * n / 2 * width * PRODUCT_SECONDS  # of a search, where cells leave nothing out
    sparse = searches * products + pairs * (PAIR_SECONDS + width * SCATTERED_SECONDS)
    return products + left * left * ENTRY_SECONDS < sparse


def edges_of(pairs: float, n: int) -> float:
    """Return the approximate number of counted pairs of clusters: on real embeddings no more than this."""
    return min(pairs, LIVE * math.sqrt(pairs * n))


def _log_odds(fraction: float) -> float:
    return math.log(max(fraction, 1e-9) / max(1.0 - fraction, 1e-9))
