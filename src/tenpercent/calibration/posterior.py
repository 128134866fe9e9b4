"""Bayesian fit of the dissimilarity up to which a person calls two images the same.

The probability of "the same" falls with the logarithm of the dissimilarity as a logistic curve, whose middle is the
threshold. Its slope is fitted too, as is the share of answers that are errors, without which a few of them would
move the threshold far (F. A. Wichmann and N. J. Hill, The psychometric function I, 2001). All three lie on a grid,
so answers that separate perfectly need no special case. Questions are drawn as in adaptive measurement of thresholds
(A. B. Watson and D. G. Pelli, QUEST, 1983).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

POINTS = 161  # thresholds of the grid
BEYOND = 2.0  # the grid begins and ends at this ratio below and above the dissimilarities that can be shown
SLOPES = np.geomspace(0.05, 1.0, 6)  # scale of the logistic curve, in the logarithm of the dissimilarity
LAPSES = np.array([0.01, 0.05, 0.1, 0.2])  # share of answers that are errors
LAPSE_PRIOR = np.array([2.0, 3.0, 3.0, 2.0])


class Answer(NamedTuple):
    """Answer about a pair: its dissimilarity, and whether it is the same for the person's purpose."""

    dissimilarity: float
    same: bool


class ThresholdPosterior:
    """Distribution of the threshold after some answers.

    Attributes:
        thresholds: float64[POINTS], logarithms of the thresholds, evenly spaced.
        probability: float64[POINTS], of each; they add up to 1.
    """

    def __init__(self, lowest: float, highest: float, answers: Iterable[Answer] = ()) -> None:
        """Fit the threshold.

        Args:
            lowest, highest: the range of the dissimilarities that can be shown, 0 < lowest ≤ highest.
            answers: those given so far, of dissimilarities above 0.
        """
        self.thresholds = np.linspace(np.log(lowest / BEYOND), np.log(highest * BEYOND), POINTS)
        weights = np.broadcast_to(LAPSE_PRIOR, (POINTS, len(SLOPES), len(LAPSES))).copy()
        for answer in answers:
            apart = (self.thresholds[:, None] - np.log(answer.dissimilarity)) / SLOPES
            curve = 0.5 * (1 + np.tanh(apart / 2))[:, :, None]
            chance = LAPSES + (1 - 2 * LAPSES) * curve
            weights *= chance if answer.same else 1 - chance
            weights /= weights.max()  # many answers would come to 0
        self.probability = weights.sum(axis=(1, 2)) / weights.sum()

    def quantiles(self, *levels: float) -> Floats:
        """Return the thresholds below which the true one lies with these probabilities."""
        half = (self.thresholds[1] - self.thresholds[0]) / 2
        edges = np.concatenate([[self.thresholds[0] - half], self.thresholds + half])
        below = np.concatenate([[0.0], np.cumsum(self.probability)])
        return np.asarray(np.exp(np.interp(levels, below, edges)))

    def draw(self, random: np.random.Generator) -> float:
        """Return a threshold drawn from the distribution: near the estimate, as far as that is known."""
        return float(np.exp(random.choice(self.thresholds, p=self.probability)))
