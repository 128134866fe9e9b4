"""Numbers as text: percentages, differences with their intervals, counts and durations."""

from __future__ import annotations

import math
from collections.abc import Sequence

from .results import ArmResult
from .statistics import Comparison, Summary, gap

NONE = "–"


def percent(fraction: float) -> str:
    """Return a fraction kept as "90%" or "66.67%"."""
    return f"{round(100 * fraction, 2):g}%"


def signed(value: float, decimals: int, plus: bool = True) -> str:
    """Return a number with its sign, a true minus or, unless `plus` is off, a plus; none where it rounds to zero."""
    text = f"{abs(value):.{decimals}f}"
    sign = "" if float(text) == 0 else "−" if value < 0 else "+" if plus else ""
    return sign + text


def points_text(value: float) -> str:
    """Return a number of points, e.g. "0.2 points" or "1 point"."""
    return f"{value:g} {'point' if value == 1 else 'points'}"


def difference_text(found: Comparison | None) -> str:
    """Return a difference in points, e.g. "−0.03 ± 0.11": with two decimals, or up to four for a narrow interval."""
    if found is None:
        return NONE
    half = found.half
    decimals = 2 if half is None or half >= 0.02 else 3 if half >= 0.002 else 4
    return signed(found.difference, decimals) + ("" if half is None else f" ± {half:.{decimals}f}")


def accuracy_text(found: Summary | None) -> str:
    """Return mean ± standard deviation in percent, e.g. "92.79 ± 0.12"; the mean alone for one trial."""
    return _mean_text(found, 100, 2)


def loss_text(found: Summary | None) -> str:
    """Return mean ± standard deviation of a test loss, e.g. "0.6512 ± 0.0054"; the mean alone for one trial."""
    return _mean_text(found, 1, 4)


def _mean_text(found: Summary | None, factor: int, decimals: int) -> str:
    if found is None:
        return NONE
    std = "" if found.std is None else f" ± {factor * found.std:.{decimals}f}"
    return f"{factor * found.mean:.{decimals}f}{std}"


def loss_difference_text(result: ArmResult, reference: ArmResult) -> str:
    """Return the difference in test loss, with half its 95% interval, e.g. "−0.0102 ± 0.0067".

    A dash where a training run of either has no test loss.
    """
    mine, theirs = result.beside(reference)
    one, other = mine.independent("test_loss"), theirs.independent("test_loss")
    if not len(one) or not len(other):
        return NONE
    difference, half = gap(one, other, mine.overlap)
    return signed(difference, 4) + ("" if half is None else f" ± {half:.4f}")


def interval_in_percent(found: Summary) -> tuple[float, float] | None:
    """Return the interval of a mean accuracy, in percent, clipped to 0 to 100."""
    if found.low is None or found.high is None:
        return None
    return 100 * max(found.low, 0.0), 100 * min(found.high, 1.0)


def count_text(value: float) -> str:
    """Return a mean count, e.g. "45,000"; a dash where it is not known."""
    return f"{value:,.0f}" if math.isfinite(value) else NONE


def class_name(code: int, names: Sequence[str]) -> str:
    """Return a class's name, or "class 7" where it has none or is a number."""
    name = names[code] if code < len(names) else str(code)
    return f"class {name}" if name.isdecimal() else name
