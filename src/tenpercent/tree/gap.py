"""Scale of a set's dissimilarities: their mean over all pairs, and the gap between copies and everything else.

The lowest values of a smooth distribution lie as those of a power law: then i · (log h[i + 1] − log h[i]) are
independent and exponential with one mean (A. Rényi, On the theory of order statistics, 1953). A gap is where one of
them is far larger than those that follow it allow.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ..data.store.embeddings import Vectors, in_batches
from ..errors import counted
from ..linkage.distances import unit_vectors
from ..linkage.points import rows_at_a_time
from .steps import Floats

LOWEST = 1e-9  # heights up to this one are of exact duplicates, whose vectors differ by rounding at most
FOLLOWING = 100  # spacings that the mean is computed from
FEWEST = 4  # least number of them for an answer
RATIO = 1.2  # a narrower gap separates nothing that a person would see
CHANCE = 1e-3  # probability that heights without a gap show one, over all positions
ROWS = 65_536  # vectors read at a time


@dataclass(frozen=True)
class Gap:
    """Gap in the heights.

    Attributes:
        merges: number of merges below it, those of exact duplicates included.
        below: the greatest height below it.
        above: the smallest above it.
    """

    merges: int
    below: float
    above: float

    @property
    def threshold(self) -> float:
        """Middle of the gap, by ratio; rounded to two digits, which still lie within it."""
        middle = math.sqrt(self.below * self.above)
        rounded = float(f"{middle:.2g}")
        return rounded if self.below < rounded < self.above else middle


def find_gap(heights: Floats) -> Gap | None:
    """Return the clearest gap in the heights of a tree's first merges, or None where there is none.

    Those of exact duplicates are left out: the step from 0 to any other height is not a finding.

    Args:
        heights: float64[m], ascending.
    """
    exact = exact_duplicates(heights)
    low = heights[exact:]
    if len(low) < FEWEST + 2:
        return None
    spacings = np.arange(1, len(low)) * np.diff(np.log(low))
    sums = np.concatenate([[0.0], np.cumsum(spacings)])
    first = np.arange(1, len(spacings) - FEWEST + 1)
    last = np.minimum(first + FOLLOWING, len(spacings))
    # Twice the ratio to the mean of k others is distributed as F(2, 2k): the logarithm of its upper tail.
    ratio = spacings[first - 1] / np.maximum(sums[last] - sums[first], 1e-12)
    evidence = np.where(low[first] >= RATIO * low[first - 1], -(last - first) * np.log1p(ratio), 0.0)
    best = int(evidence.argmin())
    if evidence[best] >= math.log(CHANCE / len(first)):
        return None
    return Gap(exact + best + 1, float(low[best]), float(low[best + 1]))


def without_exact(heights: Floats) -> Floats:
    """Return heights without those of exact duplicates.

    Args:
        heights: float64[m], ascending.
    """
    return heights[exact_duplicates(heights) :]


def exact_duplicates(heights: Floats) -> int:
    """Return the number of merges of equal vectors, each of which leaves one exact duplicate out."""
    return int(np.searchsorted(heights, LOWEST, side="right"))


def mean_dissimilarity(vectors: Vectors) -> float | None:
    """Return the mean dissimilarity over all pairs of images; None for a single image.

    With w the unit vectors less the first of them, |u − v|² over all pairs adds up to n·Σ|w|² − |Σw|². So one pass over
    the vectors is enough, equal ones give exactly 0, and the order of the rows changes nothing but the rounding.
    """
    n, width = len(vectors), int(vectors.shape[1])
    if n < 2:
        return None
    total, squares = np.zeros(width), 0.0
    first = unit_vectors(vectors[:1])
    for part in in_batches(n, rows_at_a_time(width, ROWS)):
        apart = unit_vectors(vectors[part]) - first
        total += apart.sum(axis=0)
        squares += float(np.einsum("ij,ij->", apart, apart))
    return max(n * squares - float(np.square(total).sum()), 0.0) / (n * (n - 1))


def said_height(value: float) -> str:
    """Return a height or dissimilarity in two digits, with a minus sign in its power of ten."""
    return f"{value:.2g}".replace("-", "−")


def precise_height(value: float) -> str:
    """Return a height or dissimilarity in 8 characters at most, the small ones as powers of ten."""
    if value == 0:
        return "0"
    return f"{value:.6f}" if value >= 1e-3 else f"{value:.2e}".replace("-", "−")


def describe_exact(exact: int) -> str:
    """Return how many images are exact duplicates; "" for none."""
    verb = "is an exact duplicate" if exact == 1 else "are exact duplicates"
    return f"{counted(exact, 'image')} {verb} of another (equal vectors)" if exact else ""


def describe_gap(heights: Floats, images: int) -> str:
    """Return a sentence or two on exact duplicates, and on the gap in the heights of a tree's first merges, if any.

    Args:
        heights: float64[m], ascending.
        images: number of images: a tree of fewer merges than half of it may end before a gap.
    """
    exact = exact_duplicates(heights)
    threshold = "0" if exact and heights[exact - 1] == 0 else f"{LOWEST:g}"
    said = (
        [
            f"{describe_exact(exact)}; --threshold {threshold} removes {'it' if exact == 1 else 'them'} and no other."
        ]
        if exact
        else []
    )
    if exact < len(heights):
        said.append(_describe_others(heights, exact, images))
    return " ".join(said)


def _describe_others(heights: Floats, exact: int, images: int) -> str:
    """Return a sentence on the gap in the heights above those of exact duplicates, or on its absence."""
    gap, early, others = find_gap(heights), len(heights) < images / 2, "other " if exact else ""
    if gap is not None:
        return (
            f"The heights of the merges have a gap: {gap.merges:,} up to {said_height(gap.below)}, the next from "
            f"{said_height(gap.above)}. --threshold {gap.threshold:.2g} takes what lies below it."
        )
    if len(heights) - exact <= FEWEST + 1:
        few = "merges" if early else "images"
        why = f"There are too few {others}{few} to see a gap between copies and the rest"
    else:
        last = said_height(float(heights[-1 - FEWEST]))
        why = f"The heights of the {others}merges have no gap up to {last}"
        if not early:
            return f"{why}: no threshold up to there tells copies from the rest."
        why += ", where the tree ends"
    return f"{why}: a lower --keep looks further." if early else f"{why}."
