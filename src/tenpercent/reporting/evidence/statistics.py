"""Statistics of trials: a mean with its interval, a difference with its tests, and the trials that would decide.

Accuracies are fractions in 0..1. Differences, intervals of differences and margins are in points: hundredths of
accuracy, arm minus reference, so that a positive difference is a gain of the arm.

"As good as" is claimed only after a test that could have failed: the hypothesis is that the arm loses the margin
or more, and it has to be rejected (non-inferiority; with the other side as well, equivalence by two one-sided
tests: Schuirmann, *J. Pharmacokinet. Biopharm.* 15, 1987). A difference that is not significant shows nothing.

Trials are independent training runs, or **re-splits**: the same images, split again into training and test images.
Re-splits share most of their images, so a mean over them varies more than independent trials of the same spread
would: by s² (1 / J + m / n) for J trials with m test and n training images, and not by s² / J (Nadeau and Bengio,
"Inference for the generalization error", *Machine Learning* 52, 2003, section 3). The second term, the `overlap`, stays
however many trials there are: it is the sampling error of the images. Two arms of one re-split are compared as a pair.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import numpy.typing as npt
from scipy import stats
from scipy.special import stdtr, stdtrit

from ...errors import UsageError

Floats = npt.NDArray[np.float64]

LEVEL = 0.95  # of every interval
ALPHA = 0.05  # of every one-sided test at the margin
POWER = 0.8  # of the trials that are reported as needed
MARGIN = 0.2  # points, the default
MOST_NEEDED = 1000  # trials; beyond this only "more than" is reported


@dataclass(frozen=True)
class Summary:
    """A summary of values.

    Attributes:
        n: their number.
        mean: their mean.
        std: their standard deviation (n − 1 below the sum); None for a single value.
        low, high: the 95% interval of the mean by Student's t; None for a single value, or where all are equal.
    """

    n: int
    mean: float
    std: float | None
    low: float | None
    high: float | None


def summary(values: npt.ArrayLike, overlap: float = 0.0) -> Summary:
    """Return mean, spread and the 95% t-interval of the mean.

    Args:
        values: float[n], n ≥ 1, finite: one value a trial.
        overlap: of re-splits, test images per training image; 0 for independent trials.

    Raises:
        UsageError: there is no value, or one is not finite.
    """
    checked = _checked(values)
    n, mean = len(checked), float(checked.mean())
    if np.ptp(checked) == 0:
        return Summary(n, mean, None if n == 1 else 0.0, None, None)
    std = float(checked.std(ddof=1))
    half = float(stdtrit(n - 1, (1 + LEVEL) / 2)) * std * np.sqrt(1 / n + overlap)
    return Summary(n, mean, std, mean - half, mean + half)


class Verdict(StrEnum):
    """The claim that a comparison supports at its margin."""

    BETTER = "better"  # the interval lies above zero
    AS_GOOD = "as good"  # a loss of the margin or more is ruled out
    SMALL_LOSS = "small loss"  # the interval lies below zero, and a loss of the margin or more is ruled out
    LOSS = "loss"  # the interval lies below zero; undecided whether the loss reaches the margin
    WORSE = "worse"  # a loss smaller than the margin is ruled out
    OPEN = "open"  # none of these
    UNKNOWN = "unknown"  # there is no interval

    @property
    def holds(self) -> bool:
        """True where a loss of the margin or more is ruled out."""
        return self in (Verdict.BETTER, Verdict.AS_GOOD, Verdict.SMALL_LOSS)


@dataclass(frozen=True)
class Comparison:
    """An arm against a reference, in points of accuracy.

    Attributes:
        difference: mean of the arm − mean of the reference.
        low, high: its 95% interval; None where there is none.
        margin: the loss that is still accepted.
        trials, reference_trials: the number of values of each side.
        loss_p: p-value of "the arm loses the margin or more"; None without an interval.
        gain_p: p-value of "the arm gains the margin or more"; None without an interval.
        zero_p: p-value of "the arm loses nothing"; None without an interval.
        spread: the standard deviation of one trial, pooled over both sides, or of the difference in one re-split; None
            where no side has two different values.
        missing: the reason why there is no interval; empty where there is one.
        overlap: of re-splits, test images per training image; None for independent trials.
    """

    difference: float
    low: float | None
    high: float | None
    margin: float
    trials: int
    reference_trials: int
    loss_p: float | None
    gain_p: float | None
    zero_p: float | None
    spread: float | None
    missing: str
    overlap: float | None = None

    @property
    def half(self) -> float | None:
        """Half the width of the interval, which is symmetric."""
        return None if self.low is None or self.high is None else (self.high - self.low) / 2

    @property
    def equivalent(self) -> bool:
        """True where both a loss and a gain of the margin are ruled out (two one-sided tests at 5%)."""
        if self.loss_p is None or self.gain_p is None:
            return False
        return max(self.loss_p, self.gain_p) < ALPHA

    @property
    def verdict(self) -> Verdict:
        """Claim supported: about zero by the 95% interval, about the margin by one-sided tests at 5%."""
        if self.low is None or self.high is None or self.loss_p is None:
            return Verdict.UNKNOWN
        if self.low > 0:
            return Verdict.BETTER
        if self.loss_p < ALPHA:
            return Verdict.SMALL_LOSS if self.high < 0 else Verdict.AS_GOOD
        if 1 - self.loss_p < ALPHA:  # the same test from the other side
            return Verdict.WORSE
        return Verdict.LOSS if self.high < 0 else Verdict.OPEN

    @property
    def needed(self) -> int | None:
        """Trials of each arm that would decide at the margin, if the difference and spread seen are the true ones.

        `MOST_NEEDED` + 1 for more than that; None where the margin is decided, or the spread is unknown.
        """
        if self.spread is None or self.verdict not in (Verdict.OPEN, Verdict.LOSS, Verdict.UNKNOWN):
            return None
        return self._more(needed_trials(self.spread, self.difference + self.margin, overlap=self.overlap))

    @property
    def needed_to_differ(self) -> int | None:
        """Trials of each arm that would show that the two differ, likewise; None where that is shown."""
        if self.spread is None or (
            self.low is not None and self.high is not None and self.low * self.high > 0
        ):
            return None
        return self._more(needed_trials(self.spread, self.difference, ALPHA / 2, self.overlap))

    def _more(self, needed: int) -> int:
        """Return `needed`, but more than there are: those were not enough."""
        return max(needed, min(self.trials, self.reference_trials) + 1)


def compare(
    arm: npt.ArrayLike, reference: npt.ArrayLike, margin: float = MARGIN, overlap: float | None = None
) -> Comparison:
    """Compare the accuracies of an arm's trials with those of a reference.

    The interval is Welch's, which does not assume equal spreads; of re-splits it is that of the paired differences. A
    one-sided test at 5% is the same as asking that the *90%* interval stays off the margin, so a loss of the margin can
    be ruled out although the 95% interval just reaches over it.

    Args:
        arm: float[n], accuracies in 0..1, one a trial.
        reference: float[m], likewise; of re-splits m = n, in the same order.
        margin: the loss still accepted, in points, > 0.
        overlap: of re-splits, test images per training image; None for independent trials.

    Raises:
        UsageError: a margin that is not above zero, no value, or a value that is not finite.
    """
    if not (np.isfinite(margin) and margin > 0):
        raise UsageError(f"the margin is {margin:g} points; it must be above 0, e.g. {MARGIN:g}")
    a, b = 100 * _checked(arm), 100 * _checked(reference)
    difference = float(a.mean() - b.mean())
    missing = _why_no_interval(a, b, overlap)
    low = high = loss_p = gain_p = zero_p = None
    if not missing:
        error, freedom = _error(a, b, overlap)
        half = error * float(stdtrit(freedom, (1 + LEVEL) / 2))
        low, high = difference - half, difference + half
        # The same test of other hypotheses than "no difference": only the value that is subtracted differs.
        loss_p, zero_p, gain_p = (
            float(stdtr(freedom, distance / error))
            for distance in (-margin - difference, difference, difference - margin)
        )
    spread = pooled_spread(a, b) if overlap is None else pooled_spread(a - b)
    return Comparison(
        difference=difference,
        low=low,
        high=high,
        margin=margin,
        trials=len(a),
        reference_trials=len(b),
        loss_p=loss_p,
        gain_p=gain_p,
        zero_p=zero_p,
        spread=spread or None,
        missing=missing,
        overlap=overlap,
    )


def gap(
    arm: npt.ArrayLike, reference: npt.ArrayLike, overlap: float | None = None
) -> tuple[float, float | None]:
    """Return the difference of an arm's mean from a reference's, in the unit of both, with half its 95% interval.

    Args:
        arm, reference, overlap: as for `compare`.

    Returns:
        Half an interval is None where there is none: see `compare`.

    Raises:
        UsageError: no value, or a value that is not finite.
    """
    a, b = _checked(arm), _checked(reference)
    difference = float(a.mean() - b.mean())
    if _why_no_interval(a, b, overlap):
        return difference, None
    error, freedom = _error(a, b, overlap)
    return difference, error * float(stdtrit(freedom, (1 + LEVEL) / 2))


def _error(a: Floats, b: Floats, overlap: float | None) -> tuple[float, float]:
    """Return the standard error of the difference of two means, and its degrees of freedom."""
    if overlap is not None:
        return float((a - b).std(ddof=1)) * math.sqrt(1 / len(a) + overlap), len(a) - 1
    tested = stats.ttest_ind(a, b, equal_var=False)
    low, high = map(float, tested.confidence_interval(LEVEL))
    freedom = float(tested.df)
    return (high - low) / 2 / float(stdtrit(freedom, (1 + LEVEL) / 2)), freedom


def needed_trials(spread: float, distance: float, alpha: float = ALPHA, overlap: float | None = None) -> int:
    """Return the number of trials of each side that a one-sided test needs to decide with a power of 80%.

    The smallest n with n ≥ 2 · spread² · (t₁₋α + t₀.₈)² / distance², where both quantiles are Student's with
    2(n − 1) degrees of freedom: the sample size of a non-inferiority test with normal values (Julious, *Statistics in
    Medicine* 23, 2004, section 4), iterated in t instead of normal quantiles. For re-splits, the smallest n with
    distance² ≥ spread² · (1 / n + overlap) · (t₁₋α + t₀.₈)², with n − 1 degrees of freedom.

    Args:
        spread: the standard deviation of one trial, in points; of re-splits, of the difference in one.
        distance: assumed distance of the true difference from the value to rule out, in points.
        alpha: the level of the test.
        overlap: of re-splits; None for independent trials.

    Returns:
        2 or more; `MOST_NEEDED` + 1 where that many would not be enough.
    """
    if distance == 0:
        return MOST_NEEDED + 1
    n = np.arange(2, MOST_NEEDED + 1)
    enough = abs(distance) >= spread * _detectable(n, alpha, overlap)
    return int(n[np.argmax(enough)]) if enough.any() else MOST_NEEDED + 1


def visible_difference(spread: float, trials: int, overlap: float | None = None) -> float:
    """Return the true difference, in points, that this many trials of each side show with a power of 80%.

    Shown is that the two differ, by a two-sided test at 5%; smaller differences are mostly not seen. The inverse of
    `needed_trials` at half the level.

    Args:
        spread, overlap: as for `needed_trials`.
        trials: of each side, 2 or more.
    """
    return float(spread * _detectable(np.asarray(trials), ALPHA / 2, overlap))


def _detectable(n: npt.NDArray[np.int64], alpha: float, overlap: float | None) -> Floats:
    """Return the distance, in spreads, that a one-sided test of n trials of each side sees with a power of 80%."""
    freedom, variance = (2 * (n - 1), 2 / n) if overlap is None else (n - 1, 1 / n + overlap)
    return np.asarray(np.sqrt(variance) * (stdtrit(freedom, 1 - alpha) + stdtrit(freedom, POWER)))


def pooled_spread(*sides: npt.ArrayLike) -> float | None:
    """Return the pooled standard deviation of one trial.

    Args:
        sides: float[n] each; those with a single value are skipped.

    Returns:
        None where no side has two values.
    """
    several = [np.asarray(side, dtype=np.float64) for side in sides if np.size(side) > 1]
    freedom = sum(len(side) - 1 for side in several)
    squares = sum(float(((side - side.mean()) ** 2).sum()) for side in several)
    return float(np.sqrt(squares / freedom)) if freedom else None


def _checked(values: npt.ArrayLike) -> Floats:
    found = np.asarray(values, dtype=np.float64).reshape(-1)
    if not len(found):
        raise UsageError("0 trials are given, at least 1 is needed; repeat the failed training runs")
    if not np.isfinite(found).all():
        bad = int(np.count_nonzero(~np.isfinite(found)))
        raise UsageError(f"{bad} of {len(found)} trials have no finite value; leave failed training runs out")
    return found


def _why_no_interval(a: Floats, b: Floats, overlap: float | None) -> str:
    if min(len(a), len(b)) == 1:
        return "one trial has no interval"
    if overlap is not None:
        return (
            f"the difference is the same in all {len(a)} trials, so its spread is unknown"
            if np.ptp(a - b) == 0
            else ""
        )
    equal = next((side for side in (a, b) if np.ptp(side) == 0), None)
    return "" if equal is None else f"all {len(equal)} trials of one arm are equal, so the spread is unknown"
