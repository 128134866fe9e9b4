"""Search for the smallest fraction whose loss stays within a margin: the next training run, and when to stop.

Fractions are tested one after the other, from the largest: each asks whether the loss reaches the margin, and the
search continues with the next only where that is ruled out. Three things keep the chance of confirming any fraction
that truly loses the margin or more below 5%, however long the search is:

- **One after the other.** If each test follows a confirmation, all fractions may be tested at 5% each without
  dividing it: to go wrong, the first fraction that truly loses too much must be confirmed (Maurer, Hothorn and
  Lehmacher, in *Biometrie in der chemisch-pharmazeutischen Industrie* 6, 1995). This does not assume that
  smaller sets lose more.
- **Interim analyses share the 5%.** A fraction is analysed after 3, 6, 12, … trials. Testing repeatedly at 5% would
  confirm too much, so the 5% are spread over the analyses, in proportion to their trials; that the sum bounds the error
  is Bonferroni's inequality and asks nothing of their dependence.
- **An analysis has its own trials.** It compares the first k trials of the arm with the first k of the full set, even
  where the full set has more by then: how many it has depends on earlier results.

Where a loss beyond the margin is shown, at the same levels, the fraction is rejected. A search may also stop
because the trials allowed can't decide; stopping without a confirmation can't be a wrong confirmation. The margin,
the fractions and the trials allowed must be chosen before: raising them after a search has ended adds an analysis
that was not paid for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import pyarrow as pa
from scipy.special import chdtri

from ..errors import UsageError
from ..reporting.evidence.formats import difference_text, percent, points_text
from ..reporting.evidence.results import BASELINES, FULL, ArmResult, Evidence, gather
from ..reporting.evidence.statistics import ALPHA, Comparison, needed_trials

FIRST_ANALYSIS = 3  # trials
LOW_END = 0.95  # a search is called hopeless by the smallest spread that its data allow at this level


@dataclass(frozen=True)
class NextTrainingRun:
    """The training run that a search needs next.

    Attributes:
        fraction: the fraction kept; 1.0 for the full set.
        arm: ``full``, or the arm searched.
        trial: its number, from 0.
    """

    fraction: float
    arm: str
    trial: int


@dataclass(frozen=True)
class SearchResult:
    """The end of a search.

    Attributes:
        fraction: the smallest fraction confirmed; None where none is.
        sentence: the result, for this fraction and for the one that stopped the search.
        decided: False where the search stopped because the trials allowed can't decide.
    """

    fraction: float | None
    sentence: str
    decided: bool


class Decision(StrEnum):
    """The result of an interim analysis."""

    CONFIRMED = "confirmed"
    REJECTED = "rejected"
    OPEN = "open"  # neither, and the trials allowed end here or would not be enough
    CONTINUE = "continue"


def analyses(most_trials: int) -> tuple[int, ...]:
    """Return the trials of each arm after which a fraction is analysed: 3, doubled, and the most allowed.

    Raises:
        UsageError: fewer than two trials are allowed.
    """
    if most_trials < 2:
        raise UsageError(f"{most_trials} trials of a fraction have no interval; allow 2 or more")
    found, at = [], FIRST_ANALYSIS
    while at < most_trials:
        found.append(at)
        at *= 2
    return (*found, most_trials)


def decide(found: Comparison, most_trials: int) -> Decision:
    """Return the result of an interim analysis, at its share of the 5%.

    Args:
        found: the comparison of equally many first trials of an arm and of the full set.
        most_trials: of each.
    """
    whole = sum(analyses(most_trials))
    share = ALPHA * found.trials / whole
    if found.loss_p is not None and found.loss_p <= share:
        return Decision.CONFIRMED
    if found.loss_p is not None and 1 - found.loss_p <= share:
        return Decision.REJECTED
    if found.trials == most_trials or _hopeless(found, ALPHA * most_trials / whole, most_trials):
        return Decision.OPEN
    return Decision.CONTINUE


def _hopeless(found: Comparison, share: float, most_trials: int) -> bool:
    """Return whether the trials allowed would not be enough even with no loss and the smallest possible spread."""
    if found.spread is None:
        return False
    freedom = found.trials - 1 + (0 if found.overlap is not None else found.reference_trials - 1)
    smallest = found.spread * float(np.sqrt(freedom / chdtri(freedom, 1 - LOW_END)))
    distance = max(found.difference, 0.0) + found.margin
    return needed_trials(smallest, distance, share, found.overlap) > most_trials


def find_step(
    table: pa.Table, margin: float, fractions: Sequence[float], most_trials: int = 12, arm: str = "semantic"
) -> NextTrainingRun | SearchResult:
    """Return the training run that a search for the smallest sufficient set needs next, or its result.

    A pure function of the results: called again after a kill, or after training runs made for another
    purpose, it continues from the stored ones. A failed run has used its trial's number; another takes its place
    as long as numbers below `most_trials` are left.

    Args:
        table: the training runs so far, of one protocol; of the arm one layer and one embedding.
        margin: the loss still accepted, in points, > 0.
        fractions: those that may be confirmed, in (0, 1); tried from the largest.
        most_trials: the most training runs of one arm at one fraction, failed ones included.
        arm: the arm searched.

    Raises:
        UsageError: no fraction, one outside (0, 1), results of several protocols, layers or embeddings, or fewer than
            two trials allowed.
    """
    evidence = _of_one_protocol(table, margin, arm)
    confirmed: tuple[float, Comparison] | None = None
    planned = analyses(most_trials)
    for fraction in _checked_fractions(fractions):
        for trials in planned:
            lacking = [
                _lacking(evidence, *side, trials, most_trials) for side in ((FULL, 1.0), (arm, fraction))
            ]
            if any(side is None for side in lacking):
                why = f"{percent(fraction)} is open: too many training runs failed"
                return _ended(margin, confirmed, why)
            following = [run for side in lacking for run in side or ()]
            if following:
                return min(following, key=lambda run: (run.trial, run.arm != FULL))
            mine, full = (_result(evidence, *side) for side in ((arm, fraction), (FULL, 1.0)))
            assert mine is not None
            assert full is not None
            found = mine.compared(full, margin, trials)
            assert found is not None  # both have that many trials
            decision = decide(found, most_trials)
            if decision is Decision.CONFIRMED:
                confirmed = fraction, found
                break
            if decision is not Decision.CONTINUE:
                why = _why_stopped(decision, found, fraction, most_trials)
                return _ended(margin, confirmed, why, decided=decision is Decision.REJECTED)
    return _ended(margin, confirmed, "no smaller fraction was tried", decided=True)


def _of_one_protocol(table: pa.Table, margin: float, arm: str) -> Evidence:
    """Gather the results; raise for those that can't be compared."""
    if arm in BASELINES:
        raise UsageError(f"a search can't be of the arm {arm}; search an arm that selects, e.g. semantic")
    found = gather(table, margin)
    evidence = found[0] if found else Evidence("", (), margin)
    embeddings = {row["embedding"] for one in evidence.results if one.arm == arm for row in one.done}
    for what, number in (
        ("protocols", len(found)),
        ("layers", len({one.layer for one in evidence.results if one.arm == arm})),
        ("embeddings", len(embeddings)),
    ):
        if number > 1:
            raise UsageError(f"results of {number} {what} can't be compared; pass those of one")
    return evidence


def _checked_fractions(fractions: Sequence[float]) -> tuple[float, ...]:
    checked = sorted({round(float(fraction), 9) for fraction in fractions}, reverse=True)
    if not checked:
        raise UsageError("the search has 0 fractions to try; give at least 1, e.g. --keep 0.95 0.9 0.8 0.7")
    for fraction in checked:
        if not 0 < fraction < 1:
            raise UsageError(f"the search can't try a fraction of {fraction:g}; give some between 0 and 1")
    return tuple(checked)


def _lacking(
    evidence: Evidence, arm: str, fraction: float, trials: int, most_trials: int
) -> tuple[NextTrainingRun, ...] | None:
    """Return the training runs that one arm lacks for an analysis, or None where too many failed for it."""
    found = _result(evidence, arm, fraction)
    done, failed = ((), ()) if found is None else (found.done, found.failed)
    wanted = trials - len(done)
    if wanted <= 0:
        return ()
    taken = {int(row["trial"]) for row in (*done, *failed)}
    free = [number for number in range(most_trials) if number not in taken][:wanted]
    return tuple(NextTrainingRun(fraction, arm, number) for number in free) if len(free) == wanted else None


def _result(evidence: Evidence, arm: str, fraction: float) -> ArmResult | None:
    """Return the training runs of one arm at one fraction, whatever its layer; None where there are none."""
    return next((one for one in evidence.results if (one.arm, one.fraction) == (arm, fraction)), None)


def _why_stopped(decision: Decision, found: Comparison, fraction: float, most_trials: int) -> str:
    said = _numbers(found)
    if decision is Decision.REJECTED:
        return f"{percent(fraction)} is rejected ({said})"
    why = f"the {most_trials} trials allowed do not decide"
    if found.trials < most_trials:
        why = f"trials vary too much for the {most_trials} allowed to decide"
    return f"{percent(fraction)} is open, as {why} ({said})"


def _ended(
    margin: float, confirmed: tuple[float, Comparison] | None, why: str, *, decided: bool = False
) -> SearchResult:
    if confirmed is None:
        return SearchResult(
            None, f"No fraction is confirmed to lose less than {points_text(margin)}; {why}.", decided
        )
    fraction, found = confirmed
    said = (
        f"{percent(fraction)} is the smallest fraction confirmed, with 95% confidence, to lose less than "
        f"{points_text(margin)} ({_numbers(found)}); {why}."
    )
    return SearchResult(fraction, said, decided)


def _numbers(found: Comparison) -> str:
    """Return the difference and its interval, which does not pay for the other analyses; the decision does."""
    interval = "95% interval of this analysis alone" if found.half is not None else found.missing
    return f"{difference_text(found)} points against the full set, {found.trials} trials per arm, {interval}"
