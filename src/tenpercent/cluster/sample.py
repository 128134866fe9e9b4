"""What a sample says about all pairs: how many lie within a radius, and how far nearest neighbours are.

Nothing here decides a result: a sample only chooses the radius to begin with, and says what it would cost.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from numba import njit

from .distances import Doubles
from .neighbors import Singles

PRODUCTS = 2_000_000  # a sample has about this many products, and at least LEAST rows
LEAST = 128
BLOCK = 8192


@dataclass(frozen=True, eq=False)
class PairSample:
    """The dissimilarities of some rows to all others, in float32.

    Attributes:
        points: how many rows there are in all, n.
        nearest: float32[s], the dissimilarity of each sampled row to its nearest neighbour, increasing.
        edges: float64[b], upper ends of classes of dissimilarities, increasing.
        cumulative: float64[b], the estimated number of all n(n−1)/2 pairs up to each of them.
    """

    points: int
    nearest: Singles
    edges: Doubles
    cumulative: Doubles

    def pairs(self, radius: float) -> float:
        """Return the estimated number of pairs with dissimilarity ≤ `radius`."""
        return float(np.interp(radius, self.edges, self.cumulative))

    def radius(self, pairs: float) -> float:
        """Return the radius within which about so many pairs lie; infinity where that is all of them."""
        at = int(np.searchsorted(self.cumulative, pairs))
        return float(self.edges[at]) if at < len(self.edges) - 1 else np.inf

    def first_radius(self, fraction: float) -> float:
        """Return a radius that probably holds the merges of a `fraction` of the points, not many more.

        On embeddings of images the n·f-th merge has a height that 1 − (1 − f)^2.3 of the points have a neighbour
        within, for every f and class that was looked at. The exponent is a little more here, to fall short rarely.
        """
        if fraction > 0.95:
            return np.inf  # the last merges need most of the pairs
        quantile = 1.0 - (1.0 - fraction) ** 2.6
        return float(np.quantile(self.nearest, quantile, method="higher"))


def sample_pairs(units: Doubles) -> PairSample:
    """Compare rows drawn with a fixed seed with all rows.

    Args:
        units: float64[n, d] unit vectors, n ≥ 2.
    """
    n = len(units)
    size = min(n, max(LEAST, PRODUCTS // n))
    rows = np.sort(np.random.default_rng(0).choice(n, size, replace=False))
    sampled = units[rows].astype(np.float32)
    nearest = np.full(size, np.inf, dtype=np.float32)
    counts = np.zeros(1 << 15, dtype=np.int64)  # by the upper 16 bits of a float32: 128 classes an octave
    for start in range(0, n, BLOCK):
        d = np.float32(1) - sampled @ units[start : start + BLOCK].astype(np.float32).T
        np.clip(d, np.float32(1e-9), np.float32(2), out=d)
        inside = np.flatnonzero((rows >= start) & (rows < start + BLOCK))
        d[inside, rows[inside] - start] = np.inf  # a row is no neighbour of its own
        np.minimum(nearest, d.min(axis=1), out=nearest)
        _count_classes(d.view(np.uint32), counts)
    codes = np.arange(len(counts), dtype=np.uint32)
    edges = ((codes + 1) << 16).view(np.float32)
    keep = (edges > 0) & (edges < 2.1)  # beyond are infinity and nan
    cumulative = np.asarray(np.cumsum(counts)[keep] * (n / (2.0 * size)), dtype=np.float64)
    nearest.sort()
    return PairSample(n, nearest, edges[keep].astype(np.float64), cumulative)


@njit(cache=True, nogil=True)
def _count_classes(bits: npt.NDArray[np.uint32], counts: npt.NDArray[np.int64]) -> None:
    """Count float32 numbers by their upper 16 bits."""
    for r in range(bits.shape[0]):
        for c in range(bits.shape[1]):
            counts[bits[r, c] >> np.uint32(16)] += 1
