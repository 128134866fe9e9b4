"""Cost of finding a subset, the training time it saves, and the number of training runs after which that is even."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from .gathered import Point
from .sentences import percent

SAME_STEPS = 0.01  # sizes whose steps differ by less than this part train equally long


@dataclass(frozen=True)
class Cost:
    """Seconds spent and saved.

    Attributes:
        fraction: the fraction kept.
        spent: seconds of each step before the first training run, by its name.
        full, subset: mean seconds of a training run on the full set and on the subset.
        saved: seconds saved a training run; 0 where both train the same number of steps.
        trainings: the number of training runs that pays back the preparation; None where nothing is saved.
        why: the reason why the saving is unknown, or why nothing is saved; empty otherwise.
    """

    fraction: float
    spent: Mapping[str, float]
    full: float
    subset: float
    saved: float
    trainings: int | None
    why: str


def cost_of(point: Point, full: Point, spent: Mapping[str, float]) -> Cost | None:
    """Compare the seconds that finding a subset took with those it saves.

    Args:
        point, full: the training runs on the subset and on the full set.
        spent: seconds of each step that finding the subset took and that is known, by its name, e.g. ``embedding``.

    Returns:
        None where the seconds of a training run are not known.
    """
    mine, whole = point.values("seconds"), full.values("seconds")
    if not len(mine) or not len(whole) or not math.isfinite(float(mine.sum() + whole.sum())):
        return None
    subset, everything = float(mine.mean()), float(whole.mean())
    steps = float(point.values("steps").mean()), float(full.values("steps").mean())
    saved, why = everything - subset, ""
    if {row.get("machine") for row in point.done} != {row.get("machine") for row in full.done}:
        saved, why = 0.0, "the trainings ran on different machines, so their seconds can’t be compared"
    elif all(map(math.isfinite, steps)) and abs(steps[0] - steps[1]) <= SAME_STEPS * steps[1]:
        saved, why = (
            0.0,
            f"every size trains the same number of steps ({steps[1]:,.0f}), so training saves nothing",
        )
    elif saved <= 0:
        saved, why = 0.0, "the trainings on the subset were no faster"
    trainings = math.ceil(sum(spent.values()) / saved) if saved > 0 else None
    return Cost(point.fraction, spent, everything, subset, saved, trainings, why)


def cost_sentence(cost: Cost) -> str:
    """Return one or two sentences on the time spent, the time saved, and the break-even point."""
    steps = [f"{name} {duration(seconds)}" for name, seconds in cost.spent.items()]
    spent = f"Preparation: {', '.join(steps)}."
    means = f"{duration(cost.subset)} on {percent(cost.fraction)}, {duration(cost.full)} on everything"
    if cost.trainings is None:
        return f"{spent} A training takes {means}: {cost.why}."
    often = "1 training" if cost.trainings == 1 else f"{cost.trainings:,} trainings"
    paid = f"{duration(cost.saved)} saved each time, which pays for the preparation after {often}"
    return f"{spent} A training takes {means}: {paid}."


def duration(seconds: float) -> str:
    """Return "31 s", "4.2 min" or "1.9 h"."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.1f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
