"""The class that a subset hurts most, and whether by more than chance: a mean can hide a ruined class."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .gathered import Point
from .statistics import Comparison, Floats, compare


@dataclass(frozen=True)
class ClassLoss:
    """The class that loses most against the full set.

    Attributes:
        code: of the class.
        comparison: its accuracy, arm against full set.
        p: p-value of a loss this large in any class (one-sided, times the number of classes: the worst of many would
            look bad by chance); None without an interval.
    """

    code: int
    comparison: Comparison
    p: float | None

    @property
    def shown(self) -> bool:
        """True where the loss is more than the worst of as many classes would show by chance."""
        return self.p is not None and self.p < 0.05


def lowest_class(point: Point) -> tuple[int, float] | None:
    """Return the class with the lowest mean accuracy and that accuracy, 0..1; None where classes were not measured."""
    mean = class_means(point)
    if not np.isfinite(mean).any():
        return None
    code = int(np.nanargmin(mean))
    return code, float(mean[code])


def class_means(point: Point) -> Floats:
    """Return the mean accuracy of each class over the trials, float64[classes], nan where the test set has none."""
    found = point.class_accuracies()
    return found.mean(axis=0) if len(found) else np.empty(0)


def class_comparisons(point: Point, full: Point, margin: float) -> dict[int, Comparison]:
    """Compare each class's accuracy with the full set's, by its code; classes that the test set lacks are left out."""
    mine, reference = point.class_accuracies(), full.class_accuracies()
    if not len(mine) or not len(reference) or mine.shape[1] != reference.shape[1]:
        return {}
    measured = np.isfinite(mine).all(axis=0) & np.isfinite(reference).all(axis=0)
    return {
        int(code): compare(mine[:, code], reference[:, code], margin) for code in np.flatnonzero(measured)
    }


def worst_class(point: Point, full: Point, margin: float) -> ClassLoss | None:
    """Return the class that loses most against the full set; None where classes were not measured."""
    found = class_comparisons(point, full, margin)
    if not found:
        return None
    code = min(found, key=lambda one: (found[one].difference, one))
    worst = found[code]
    return ClassLoss(code, worst, _any_loss(worst, len(found)))


def _any_loss(worst: Comparison, classes: int) -> float | None:
    """Return the p-value of "no loss" for the worst of several classes, by Bonferroni's inequality."""
    if worst.zero_p is None:
        return None
    return min(1.0, classes * worst.zero_p)
