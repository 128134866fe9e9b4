"""Sentences on comparisons: the cost, how sure it is, and how many trials would make it surer."""

from __future__ import annotations

from .statistics import MOST_NEEDED, Comparison, Verdict

FULL = "the full set"


def sentence(comparison: Comparison, subject: str, against: str = FULL, trials: str = "") -> str:
    """Return a sentence on an arm against the full set, at the comparison's margin.

    The number is a cost, so a negative one is a gain; the word "gains" is a claim, made only where the whole
    interval lies above zero.

    Args:
        comparison: of the arm with `against`.
        subject: what is done, e.g. ``keeping 90%``.
        against: the reference, in words.
        trials: the number of trials in words; by default counted from the comparison.

    Returns:
        One sentence without a full stop, e.g. "keeping 90% costs −0.03 ± 0.11 points against the full set
        (95% interval, 10 trials; a margin of 0.2 is met)".
    """
    counted = trials or trials_in_words(comparison)
    verdict, margin = comparison.verdict, f"a margin of {comparison.margin:g}"
    if verdict is Verdict.UNKNOWN:
        cost = signed(-comparison.difference, 2)
        return (
            f"{subject} costs {cost} points against {against} ({counted}; no interval: {comparison.missing}"
            f"{_remedy(comparison, margin)})"
        )
    if verdict is Verdict.BETTER:
        amount = plus_minus(comparison.difference, comparison.half)
        return f"{subject} gains {amount} points over {against} (95% interval, {counted}; it beats {against})"
    amount = plus_minus(-comparison.difference, comparison.half)
    said = {
        Verdict.AS_GOOD: f"{margin} is met{_by_test(comparison)}",
        Verdict.SMALL_LOSS: f"a loss, but {margin} is met{_by_test(comparison)}",
        Verdict.WORSE: f"{margin} is not met{_by_test(comparison)}",
        Verdict.LOSS: f"a loss; whether {margin} is met is open{_needed(comparison)}",
        Verdict.OPEN: f"whether {margin} is met is open{_needed(comparison)}",
    }[verdict]
    return f"{subject} costs {amount} points against {against} (95% interval, {counted}; {said})"


def cost(comparison: Comparison, subject: str, against: str = FULL) -> str:
    """Return the cost of an arm without a margin, e.g. "keeping 90% costs 0.1 ± 0.2 points against the full set"."""
    amount = plus_minus(-comparison.difference, comparison.half)
    return f"{subject} costs {amount} points against {against}"


def rival_sentence(comparison: Comparison, subject: str, rival: str, trials: str = "") -> str:
    """Return a sentence on which of two arms of the same size is better, if that is shown.

    Args:
        comparison: of the arm with its rival.
        subject, rival: both arms in words, e.g. ``semantic at 90%`` and ``random subsets of the same size``.
        trials: the number of trials in words; by default counted from the comparison.

    Returns:
        One sentence without a full stop.
    """
    counted = trials or trials_in_words(comparison)
    if comparison.low is None or comparison.high is None:
        return (
            f"{subject} is {signed(comparison.difference, 2, plus=True)} points from {rival} "
            f"({counted}; no interval: {comparison.missing})"
        )
    if comparison.low > 0:
        amount = plus_minus(comparison.difference, comparison.half)
        return f"{subject} is {amount} points better than {rival} (95% interval, {counted})"
    if comparison.high < 0:
        amount = plus_minus(-comparison.difference, comparison.half)
        return f"{subject} is {amount} points worse than {rival} (95% interval, {counted})"
    amount = plus_minus(comparison.difference, comparison.half, plus=True)
    if comparison.equivalent:
        said = f"less than {comparison.margin:g} apart either way"
    else:
        said = f"which of the two is better is open{_needed_to_differ(comparison)}"
    return f"{subject} is {amount} points from {rival} (95% interval, {counted}; {said})"


def trials_in_words(comparison: Comparison) -> str:
    """Return "10 trials", or "10 trials against 5" where the sides differ."""
    one, other = comparison.trials, comparison.reference_trials
    words = f"{one} {'trial' if one == 1 else 'trials'}"
    return words if one == other else f"{words} against {other}"


def plus_minus(value: float, half: float | None, plus: bool = False) -> str:
    """Return "−0.03 ± 0.11": two decimals, or as many as a narrow interval needs, but no more than four."""
    decimals = 2 if half is None or half >= 0.02 else 3 if half >= 0.002 else 4
    return signed(value, decimals, plus) + ("" if half is None else f" ± {half:.{decimals}f}")


def signed(value: float, decimals: int, plus: bool = False) -> str:
    """Return a number with a true minus sign; a number that rounds to zero has no sign."""
    text = f"{abs(value):.{decimals}f}"
    if float(text) == 0:
        return text
    return f"{'−' if value < 0 else '+' if plus else ''}{text}"


def percent(fraction: float) -> str:
    """Return a fraction kept as "90%" or "66.7%"."""
    return f"{round(100 * fraction, 2):g}%"


def _by_test(comparison: Comparison) -> str:
    """Return a note where the margin lies inside the 95% interval: the test is one-sided, the interval is not."""
    assert comparison.low is not None
    assert comparison.high is not None
    inside = comparison.low <= -comparison.margin <= comparison.high
    return " by a one-sided test at 5%" if inside else ""


def _needed(comparison: Comparison) -> str:
    if comparison.needed is None:
        return ""
    return f": {_about(comparison.needed)} trials of each would tell"


def _needed_to_differ(comparison: Comparison) -> str:
    """Return how many trials would show a difference of the size seen, in words."""
    if comparison.needed_to_differ is None:
        return ""
    return f": {_about(comparison.needed_to_differ)} trials of each would show a difference of this size"


def _remedy(comparison: Comparison, margin: str) -> str:
    if comparison.needed is None:
        return "; take 2 or more of each"
    return f"; {_about(comparison.needed)} of each would tell whether {margin} is met"


def _about(needed: int) -> str:
    return f"more than {MOST_NEEDED:,}" if needed > MOST_NEEDED else f"about {needed:,}"
