"""Search for the smallest fraction whose loss stays within a margin: the next training run, and when to stop.

Fractions are tested one after the other, from the largest: each asks whether the loss reaches the margin, and the
search continues with the next only where that is ruled out. Three things keep the chance of confirming any fraction
that truly loses the margin or more below 5%, however long the search is:

- **One after the other.** If each test follows a confirmation, all fractions may be tested at 5% each without
  dividing it: to go wrong, the first fraction that truly loses too much must be confirmed (Maurer, Hothorn and
  Lehmacher, in *Biometrie in der chemisch-pharmazeutischen Industrie* 6, 1995). This does not assume that
  smaller sets lose more.
- **Looks are paid for.** A fraction is looked at after 3, 6, 12, … trials. Looking repeatedly at 5% would confirm
  too much, so the 5% are spread over the looks, in proportion to their trials; that the sum bounds the error is
  Bonferroni's inequality and asks nothing of the looks' dependence.
- **A look has its own trials.** It compares the first k trials of the arm with the first k of the full set, even
  where the full set has more by then: how many it has depends on earlier results.

Where a loss beyond the margin is shown, at the same levels, the fraction is rejected. A search may also stop
because the trials allowed can't decide; stopping without a confirmation can't be a wrong confirmation. The margin,
the fractions and the trials allowed must be chosen before: raising them after a search has ended adds a look
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
from ..reporting.evidence.gathered import BLIND, FULL, Evidence, Point, gather
from ..reporting.evidence.sentences import cost, percent
from ..reporting.evidence.statistics import ALPHA, Comparison, Floats, compare, needed_trials

FIRST_LOOK = 3  # trials
LOW_END = 0.95  # a search is called hopeless by the smallest spread that its data allow at this level


@dataclass(frozen=True)
class Train:
    """A training run to do next.

    Attributes:
        fraction: the fraction kept; 1.0 for the full set.
        arm: ``full``, or the arm searched.
        trial: its number, from 0.
    """

    fraction: float
    arm: str
    trial: int


@dataclass(frozen=True)
class Done:
    """The end of a search.

    Attributes:
        fraction: the smallest fraction confirmed; None where none is.
        sentence: the result, for this fraction and for the one that stopped the search.
        decided: False where the search stopped because the trials allowed can't decide.
    """

    fraction: float | None
    sentence: str
    decided: bool


class Answer(StrEnum):
    """The result of a fraction's trials at a look."""

    CONFIRMED = "confirmed"
    REFUSED = "refused"
    OPEN = "open"  # neither, and the trials allowed end here or would not be enough
    GO_ON = "go on"


def looks(most_trials: int) -> tuple[int, ...]:
    """Return the trials of each side after which a fraction is looked at: 3, doubled, and the most allowed.

    Raises:
        UsageError: fewer than two trials are allowed.
    """
    if most_trials < 2:
        raise UsageError(f"{most_trials} trials a fraction have no interval; allow 2 or more")
    found, at = [], FIRST_LOOK
    while at < most_trials:
        found.append(at)
        at *= 2
    return (*found, most_trials)


def look(found: Comparison, most_trials: int) -> Answer:
    """Return the result of equally many first trials of an arm and of the full set, at this look's share of the 5%.

    Args:
        found: the comparison of the two.
        most_trials: of each side.
    """
    planned = looks(most_trials)
    share = ALPHA * found.trials / sum(planned)
    if found.loss_p is not None and found.loss_p <= share:
        return Answer.CONFIRMED
    if found.loss_p is not None and 1 - found.loss_p <= share:
        return Answer.REFUSED
    if found.trials == most_trials or _hopeless(found, ALPHA * most_trials / sum(planned), most_trials):
        return Answer.OPEN
    return Answer.GO_ON


def _hopeless(found: Comparison, share: float, most_trials: int) -> bool:
    """Return whether the trials allowed would not be enough even with no loss and the smallest possible spread."""
    if found.spread is None:
        return False
    freedom = found.trials + found.reference_trials - 2
    smallest = found.spread * float(np.sqrt(freedom / chdtri(freedom, 1 - LOW_END)))
    return needed_trials(smallest, max(found.difference, 0.0) + found.margin, share) > most_trials


def find_step(
    table: pa.Table, margin: float, ladder: Sequence[float], most_trials: int = 12, arm: str = "semantic"
) -> Train | Done:
    """Return the training run that a search for the smallest sufficient set needs next, or its end.

    A pure function of the results: called again after a kill, or after training runs made for another
    purpose, it continues from the stored ones. A failed run has used its trial's number; another takes its place
    as long as numbers below `most_trials` are left.

    Args:
        table: the training runs so far, of one protocol; of the arm one layer and one embedding.
        margin: the loss still accepted, in points, > 0.
        ladder: the fractions that may be asked for, in (0, 1); taken from the largest.
        most_trials: the most training runs of one arm at one fraction, failed ones included.
        arm: the arm searched.

    Raises:
        UsageError: an empty ladder, a fraction outside (0, 1), results of several protocols, layers or embeddings,
            or fewer than two trials allowed.
    """
    following = _walk(table, margin, ladder, most_trials, arm)
    return following if isinstance(following, Done) else following[0]


def open_trainings(
    table: pa.Table, margin: float, ladder: Sequence[float], most_trials: int = 12, arm: str = "semantic"
) -> tuple[Train, ...]:
    """Return all training runs that the search needs before its next decision; none at its end.

    Args, raises: see `find_step`, which returns the first of them.
    """
    following = _walk(table, margin, ladder, most_trials, arm)
    return () if isinstance(following, Done) else following


def _walk(
    table: pa.Table, margin: float, ladder: Sequence[float], most_trials: int, arm: str
) -> tuple[Train, ...] | Done:
    fractions = _checked_ladder(ladder)
    planned = looks(most_trials)
    evidence = _of_one_protocol(table, margin, arm)
    confirmed: tuple[float, Comparison] | None = None
    for fraction in fractions:
        for trials in planned:
            lacking = [
                _lacking(evidence, *side, trials, most_trials) for side in ((FULL, 1.0), (arm, fraction))
            ]
            if any(side is None for side in lacking):
                return _ended(margin, confirmed, f"{percent(fraction)} is open: too many trainings failed")
            following = [training for side in lacking for training in side or ()]
            if following:
                return tuple(sorted(following, key=lambda one: (one.trial, one.arm != FULL)))
            mine, full = (_accuracies(evidence, *side)[:trials] for side in ((arm, fraction), (FULL, 1.0)))
            found = compare(mine, full, margin)
            answer = look(found, most_trials)
            if answer is Answer.CONFIRMED:
                confirmed = fraction, found
                break
            if answer is not Answer.GO_ON:
                return _ended(margin, confirmed, _why_stopped(answer, found, fraction, most_trials), answer)
    return _ended(margin, confirmed, "no smaller fraction was asked for", Answer.CONFIRMED)


def _of_one_protocol(table: pa.Table, margin: float, arm: str) -> Evidence:
    """Gather the results; raise for those that can't be compared."""
    if arm in BLIND:
        raise UsageError(
            f"a search of the arm {arm} was asked for; search an arm that selects, e.g. semantic"
        )
    found = gather(table, margin)
    if len(found) > 1:
        raise UsageError(f"results of {len(found)} protocols can't be compared; pass those of one")
    evidence = found[0] if found else Evidence("", (), margin)
    layers = evidence.layers(arm)
    if len(layers) > 1:
        raise UsageError(f"results of {len(layers)} layers ({', '.join(layers)}); pass those of one")
    embeddings = {row["embedding"] for p in evidence.points if p.arm == arm for row in p.done}
    if len(embeddings) > 1:
        raise UsageError(f"results of {len(embeddings)} embeddings; pass those of one")
    return evidence


def _checked_ladder(ladder: Sequence[float]) -> tuple[float, ...]:
    fractions = sorted({round(float(fraction), 9) for fraction in ladder}, reverse=True)
    if not fractions:
        raise UsageError(
            "the search has 0 fractions to ask for; give at least 1, e.g. --keep 0.95 0.9 0.8 0.7"
        )
    for fraction in fractions:
        if not 0 < fraction < 1:
            raise UsageError(
                f"the search can't ask for a fraction of {fraction:g}; give some between 0 and 1"
            )
    return tuple(fractions)


def _point(evidence: Evidence, arm: str, fraction: float) -> Point | None:
    layers = evidence.layers(arm)
    return evidence.point(arm, fraction, layers[0]) if layers else None


def _accuracies(evidence: Evidence, arm: str, fraction: float) -> Floats:
    """Return the accuracies of the completed training runs, in order of their trials."""
    point = _point(evidence, arm, fraction)
    return np.empty(0) if point is None else point.values("accuracy")


def _lacking(
    evidence: Evidence, arm: str, fraction: float, trials: int, most_trials: int
) -> tuple[Train, ...] | None:
    """Return the training runs that one side lacks for a look, or None where too many failed for it."""
    point = _point(evidence, arm, fraction)
    wanted = trials - (0 if point is None else len(point.done))
    if wanted <= 0:
        return ()
    taken = set() if point is None else {int(row["trial"]) for row in (*point.done, *point.failed)}
    free = [number for number in range(most_trials) if number not in taken]
    return tuple(Train(fraction, arm, number) for number in free[:wanted]) if len(free) >= wanted else None


def _why_stopped(answer: Answer, found: Comparison, fraction: float, most_trials: int) -> str:
    said = f"{cost(found, f'keeping {percent(fraction)}')} ({_interval(found)})"
    if answer is Answer.REFUSED:
        return f"{percent(fraction)} is refused: {said}"
    if found.trials < most_trials:
        why = f"the spread is too large for the {most_trials} trials allowed"
    else:
        why = f"the {most_trials} trials allowed do not decide"
    return f"{percent(fraction)} is open, {why}: {said}"


def _ended(
    margin: float, confirmed: tuple[float, Comparison] | None, why: str, answer: Answer = Answer.OPEN
) -> Done:
    within = f"a margin of {margin:g} points with 95% confidence"
    decided = answer in (Answer.CONFIRMED, Answer.REFUSED)
    if confirmed is None:
        return Done(None, f"no fraction is confirmed to stay within {within}; {why}", decided)
    fraction, found = confirmed
    said = f"{cost(found, f'keeping {percent(fraction)}')} ({_interval(found)})"
    return Done(
        fraction,
        f"{percent(fraction)} is the smallest fraction confirmed to stay within {within}: {said}; {why}",
        decided,
    )


def _interval(found: Comparison) -> str:
    """Return a note on the interval: the looks and the fractions are paid for in the decision, not in the interval."""
    if found.half is None:
        return f"{found.trials} trials, no interval: {found.missing}"
    return f"95% interval of this look alone, {found.trials} trials"
