"""Training runs of an experiment as series to show: the arm and fraction; lines, levels and traces of the plots."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ..figures import ARMS, Floats
from .arms import SIGNS, Look, looks_of
from .classes import class_comparisons
from .figures import Level, Line, Trace
from .findings import lead, main_arm
from .gathered import FULL, Evidence, Point
from .tables import interval_in_percent

LAYERS = {"end": Look(ARMS[0], "o"), "middle": Look(ARMS[2], "^"), "start": Look(ARMS[4], "v")}
CLASSES = 20  # rows of the plot of classes: those that lose most


@dataclass(frozen=True, eq=False)
class Shown:
    """The part that the summary, the figures and the section of one protocol share.

    Attributes:
        evidence: the training runs.
        looks: of each arm.
        class_names: the name of each code.
    """

    evidence: Evidence
    looks: Mapping[str, Look]
    class_names: Sequence[str]

    @classmethod
    def of(cls, evidence: Evidence, class_names: Sequence[str]) -> Shown:
        """Return one protocol by itself."""
        return cls(evidence, looks_of(evidence.arms), class_names)

    @cached_property
    def arm(self) -> str | None:
        """Main arm, which is named first; None where no subset was trained."""
        return main_arm(self.evidence)

    @cached_property
    def fraction(self) -> float | None:
        """Fraction shown: down to which the arm's accuracy holds, else its largest; None where there is none."""
        if self.arm is None:
            return None
        series = self.evidence.series(self.arm, self.evidence.main_layer(self.arm))
        return lead(self.evidence).fraction or (series[0].fraction if series else None)

    @cached_property
    def points(self) -> tuple[Point, ...]:
        """The full set, the main arm and the others at the fraction shown, as far as they were trained."""
        if self.fraction is None:
            return ()
        layers = {arm: self.evidence.main_layer(arm) for arm in self.evidence.arms}
        order = sorted(layers, key=lambda arm: (arm != FULL, arm != self.arm))
        found = [
            self.evidence.point(arm, 1.0 if arm == FULL else self.fraction, layers[arm]) for arm in order
        ]
        return tuple(point for point in found if point is not None and point.done)

    @property
    def point(self) -> Point | None:
        """Main arm at the fraction shown; None where no subset was trained."""
        return next((point for point in self.points if point.arm == self.arm), None)


def level_of(evidence: Evidence) -> Level | None:
    """Return the full set's accuracy in percent, or None where it was not trained."""
    full = evidence.full
    found = None if full is None else full.accuracy
    if found is None:
        return None
    low, high = interval_in_percent(found) or (None, None)
    return Level(100 * found.mean, low, high, evidence.margin)


def fraction_lines(evidence: Evidence, looks: Mapping[str, Look]) -> list[Line]:
    """Return a line for each arm but the full set, of its main layer."""
    arms = [arm for arm in evidence.arms if arm != FULL]
    series = [(arm, evidence.series(arm, evidence.main_layer(arm))) for arm in arms]
    return [_line(arm, looks[arm], points) for arm, points in series if points]


def layer_lines(evidence: Evidence, arm: str) -> list[Line]:
    """Return a line for each layer of an arm; empty where there is only one."""
    layers = [layer for layer in evidence.layers(arm) if evidence.series(arm, layer)]
    if len(layers) < 2:
        return []
    others = [layer for layer in layers if layer not in LAYERS]
    looks = LAYERS | {
        layer: Look(ARMS[(number + 1) % len(ARMS)], SIGNS[(number + 1) % len(SIGNS)])
        for number, layer in enumerate(others)
    }
    return [_line(layer, looks[layer], evidence.series(arm, layer)) for layer in layers]


def _line(name: str, look: Look, points: Sequence[Point]) -> Line:
    found = [(100 * point.fraction, point.accuracy) for point in points]
    known = [(x, accuracy) for x, accuracy in found if accuracy is not None]
    ends = [interval_in_percent(accuracy) or (np.nan, np.nan) for _, accuracy in known]
    low, high = np.array(ends, dtype=np.float64).reshape(-1, 2).T
    x = np.array([x for x, _ in known])
    mean = np.array([100 * accuracy.mean for _, accuracy in known])
    return Line(name, look, x, mean, low, high)


def traces_of(points: Sequence[Point], looks: Mapping[str, Look], column: str, scale: float) -> list[Trace]:
    """Return the training curves of some points.

    Args:
        points: one an arm.
        looks: of each arm.
        column: of the curve, e.g. ``loss``.
        scale: the factor of its values.
    """
    found = []
    for point in points:
        curves = [curve for row in point.done if len((curve := _curve(row.get("curve"), column))[0])]
        if curves:
            trials = tuple((epochs, scale * values) for epochs, values in curves)
            found.append(Trace(point.arm, looks[point.arm], *_mean(trials), trials))
    return found


def _curve(steps: Sequence[Mapping[str, float | None]] | None, column: str) -> tuple[Floats, Floats]:
    pairs = [(step["epoch"], step.get(column)) for step in steps or ()]
    known = np.array([pair for pair in pairs if None not in pair], dtype=np.float64).reshape(-1, 2)
    known = known[np.isfinite(known).all(axis=1)]
    return known[:, 0], known[:, 1]


def _mean(trials: Sequence[tuple[Floats, Floats]]) -> tuple[Floats, Floats]:
    """Return the mean of curves where all of them are known, at the epochs of the first."""
    start, end = max(epochs[0] for epochs, _ in trials), min(epochs[-1] for epochs, _ in trials)
    grid = trials[0][0]
    grid = grid[(grid >= start) & (grid <= end)]
    if not len(grid):
        return trials[0]
    return grid, np.mean([np.interp(grid, epochs, values) for epochs, values in trials], axis=0)


def class_lines(
    points: Sequence[Point], full: Point | None, looks: Mapping[str, Look], margin: float
) -> tuple[list[Line], list[int]]:
    """Return for each point its classes' differences to the full set, and the class of each row from the top.

    The classes that the first point hurts most come first; of more than `CLASSES` the others are left out. Both are
    empty where the full set was not trained, or classes were not measured.
    """
    trained = () if full is None else ((point, class_comparisons(point, full, margin)) for point in points)
    compared = [(point, found) for point, found in trained if found]
    if not compared:
        return [], []
    first = compared[0][1]
    codes = sorted(first, key=lambda code: (first[code].difference, code))[:CLASSES]
    lines = []
    for point, found in compared:
        shown = [(row, found[code]) for row, code in enumerate(codes) if code in found]
        ends = [(c.low, c.high) if c.low is not None else (np.nan, np.nan) for _, c in shown]
        # No class loses or gains more than 100 points.
        low, high = np.array(ends, dtype=np.float64).reshape(-1, 2).clip(-100, 100).T
        x = np.array([row for row, _ in shown], dtype=np.float64)
        y = np.array([c.difference for _, c in shown])
        lines.append(Line(point.arm, looks[point.arm], x, y, low, high))
    return lines, codes
