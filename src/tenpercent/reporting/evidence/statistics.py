"""Statistics of trials: a mean with its interval, a difference with its tests, and the trials that would decide.

Accuracies are fractions in 0..1. Differences, intervals of differences and margins are in points: hundredths of
accuracy, arm minus reference, so that a positive difference is a gain of the arm.

"As good as" is claimed only after a test that could have failed: the hypothesis is that the arm loses the margin
or more, and it has to be rejected (non-inferiority; with the other side as well, equivalence by two one-sided
tests: Schuirmann, *J. Pharmacokinet. Biopharm.* 15, 1987). A difference that is not significant shows nothing.
"""

from __future__ import annotations

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
        missing: the reason why there is no interval; empty where there is one.
    """

    n: int
    mean: float
    std: float | None
    low: float | None
    high: float | None
    missing: str


def summary(values: npt.ArrayLike) -> Summary:
    """Return mean, spread and the 95% t-interval of the mean.

    Args:
        values: float[n], n ≥ 1, finite: one value a trial.

    Raises:
        UsageError: there is no value, or one is not finite.
    """
    checked = _checked(values)
    n, mean = len(checked), float(checked.mean())
    if n == 1:
        return Summary(n, mean, None, None, None, "one trial has no interval")
    if np.ptp(checked) == 0:
        return Summary(n, mean, 0.0, None, None, f"all {n} trials are equal")
    std = float(checked.std(ddof=1))
    half = float(stdtrit(n - 1, (1 + LEVEL) / 2)) * std / np.sqrt(n)
    return Summary(n, mean, std, mean - half, mean + half, "")


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
        spread: the standard deviation of one trial, pooled over both sides, or of one difference where `paired`;
            None where no side has two different values.
        paired: whether trials are paired.
        missing: the reason why there is no interval; empty where there is one.
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
    paired: bool
    missing: str

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
        """Trials of each side that would decide at the margin, if the difference and spread seen are the true ones.

        `MOST_NEEDED` + 1 for more than that; None where the margin is decided, or the spread is unknown.
        """
        if self.spread is None or self.verdict not in (Verdict.OPEN, Verdict.LOSS, Verdict.UNKNOWN):
            return None
        return self._more(needed_trials(self.spread, self.difference + self.margin, paired=self.paired))

    @property
    def needed_to_differ(self) -> int | None:
        """Trials of each side that would show that the two differ, likewise; None where that is shown."""
        if self.spread is None or (
            self.low is not None and self.high is not None and self.low * self.high > 0
        ):
            return None
        return self._more(needed_trials(self.spread, self.difference, ALPHA / 2, self.paired))

    def _more(self, needed: int) -> int:
        """Return `needed`, but more than there are: those were not enough."""
        return max(needed, min(self.trials, self.reference_trials) + 1)


def compare(
    arm: npt.ArrayLike, reference: npt.ArrayLike, margin: float = MARGIN, paired: bool = False
) -> Comparison:
    """Compare the accuracies of an arm's trials with those of a reference.

    The interval is Welch's, which does not assume equal spreads, or Student's of the differences where trials
    are paired. A one-sided test at 5% is the same as asking that the *90%* interval stays off the margin, so a
    margin can be met although the 95% interval just reaches over it.

    Args:
        arm: float[n], accuracies in 0..1, one a trial.
        reference: float[m], likewise; of the same trials in the same order where `paired`.
        margin: the loss still accepted, in points, > 0.
        paired: whether trial t of both sides share what makes trials differ.

    Raises:
        UsageError: a margin that is not above zero, no value, a value that is not finite, or unequal pairs.
    """
    if not (np.isfinite(margin) and margin > 0):
        raise UsageError(f"a margin of {margin:g} points was asked for; give one above 0, e.g. {MARGIN:g}")
    a, b = 100 * _checked(arm), 100 * _checked(reference)
    if paired and len(a) != len(b):
        raise UsageError(
            f"{len(a)} and {len(b)} trials can't be pairs; give as many of each, or paired=False"
        )
    difference = float(a.mean() - b.mean())
    missing = _why_no_interval(a, b, paired)
    low = high = loss_p = gain_p = zero_p = None
    if not missing:
        tested = stats.ttest_rel(a, b) if paired else stats.ttest_ind(a, b, equal_var=False)
        low, high = map(float, tested.confidence_interval(LEVEL))
        freedom = float(tested.df)
        error = (high - low) / 2 / float(stdtrit(freedom, (1 + LEVEL) / 2))
        # The same test of other hypotheses than "no difference": only the value that is subtracted differs.
        loss_p, zero_p, gain_p = (
            float(stdtr(freedom, distance / error))
            for distance in (-margin - difference, difference, difference - margin)
        )
    found = pooled_spread(a - b) if paired else pooled_spread(a, b)
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
        spread=found[0] if found is not None and found[0] > 0 else None,
        paired=paired,
        missing=missing,
    )


def gap(arm: npt.ArrayLike, reference: npt.ArrayLike) -> tuple[float, float | None]:
    """Return the difference of an arm's mean from a reference's, in the unit of both, with half Welch's 95% interval.

    Args:
        arm: float[n], one value a trial.
        reference: float[m], likewise.

    Returns:
        Half an interval is None where there is none: see `compare`.

    Raises:
        UsageError: no value, or a value that is not finite.
    """
    a, b = _checked(arm), _checked(reference)
    difference = float(a.mean() - b.mean())
    if _why_no_interval(a, b, paired=False):
        return difference, None
    low, high = stats.ttest_ind(a, b, equal_var=False).confidence_interval(LEVEL)
    return difference, float(high - low) / 2


def needed_trials(spread: float, distance: float, alpha: float = ALPHA, paired: bool = False) -> int:
    """Return the number of trials of each side that a one-sided test needs to decide with a power of 80%.

    The smallest n with n ≥ k · spread² · (t₁₋α + t₀.₈)² / distance², where both quantiles are Student's with
    k(n − 1) degrees of freedom and k = 2, or 1 for pairs: the sample size of a non-inferiority test with normal
    values (Julious, *Statistics in Medicine* 23, 2004, section 4), iterated in t instead of normal quantiles.

    Args:
        spread: the standard deviation of one trial, or of one difference where `paired`, in points.
        distance: assumed distance of the true difference from the value to rule out, in points.
        alpha: the level of the test.
        paired: whether trials are paired.

    Returns:
        2 or more; `MOST_NEEDED` + 1 where that many would not be enough.
    """
    if distance == 0:
        return MOST_NEEDED + 1
    sides = 1 if paired else 2
    n = np.arange(2, MOST_NEEDED + 1)
    freedom = sides * (n - 1)
    quantiles = stdtrit(freedom, 1 - alpha) + stdtrit(freedom, POWER)
    enough = n >= sides * (spread * quantiles / distance) ** 2
    return int(n[np.argmax(enough)]) if enough.any() else MOST_NEEDED + 1


def visible_difference(spread: float, trials: int) -> float:
    """Return the true difference, in points, that this many trials of each side show with a power of 80%.

    Shown is that the two differ, by a two-sided test at 5%; smaller differences are mostly not seen. The inverse of
    `needed_trials` at half the level.

    Args:
        spread: the standard deviation of one trial, in points.
        trials: of each side, 2 or more.
    """
    freedom = 2 * (trials - 1)
    quantiles = stdtrit(freedom, 1 - ALPHA / 2) + stdtrit(freedom, POWER)
    return float(spread * np.sqrt(2 / trials) * quantiles)


def pooled_spread(*sides: npt.ArrayLike) -> tuple[float, int] | None:
    """Return the pooled standard deviation of one trial and its degrees of freedom.

    Args:
        sides: float[n] each; those with a single value are skipped.

    Returns:
        None where no side has two values.
    """
    spoken = [np.asarray(side, dtype=np.float64) for side in sides if np.size(side) > 1]
    freedom = sum(len(side) - 1 for side in spoken)
    if not freedom:
        return None
    squares = sum(float(((side - side.mean()) ** 2).sum()) for side in spoken)
    return float(np.sqrt(squares / freedom)), freedom


def variance_parts(values: npt.ArrayLike, of: npt.ArrayLike) -> tuple[float, float] | None:
    """Split the spread of trials into that between embeddings and that between trials of one embedding.

    One-way analysis of variance with random effects: the variance between is (mean square between − mean
    square within) / n₀, not below zero (Searle, Casella and McCulloch, *Variance Components*, 1992, section 3.6).

    Args:
        values: float[n], one a trial.
        of: int[n], the embedding of each.

    Returns:
        The standard deviations between embeddings and within one; None for one embedding, or one trial each.
    """
    checked = _checked(values)
    _, which, size = np.unique(np.asarray(of), return_inverse=True, return_counts=True)
    k, n = len(size), len(checked)
    if k < 2 or n == k:
        return None
    mean = np.bincount(which, weights=checked) / size
    within = float(((checked - mean[which]) ** 2).sum()) / (n - k)
    between = float((size * (mean - checked.mean()) ** 2).sum()) / (k - 1)
    balanced = (n - float((size**2).sum()) / n) / (k - 1)
    return float(np.sqrt(max(between - within, 0.0) / balanced)), float(np.sqrt(within))


def _checked(values: npt.ArrayLike) -> Floats:
    found = np.asarray(values, dtype=np.float64).reshape(-1)
    if not len(found):
        raise UsageError("0 trials are given, at least 1 is needed; train one that succeeds")
    if not np.isfinite(found).all():
        bad = int(np.count_nonzero(~np.isfinite(found)))
        raise UsageError(f"{bad} of {len(found)} trials have no finite value; leave failed trainings out")
    return found


def _why_no_interval(a: Floats, b: Floats, paired: bool) -> str:
    if min(len(a), len(b)) == 1:
        return "one trial has no interval"
    for side in (a - b,) if paired else (a, b):
        if np.ptp(side) == 0:
            what = "differences" if paired else "trials of one side"
            return f"all {len(side)} {what} are equal, so the spread is unknown"
    return ""
