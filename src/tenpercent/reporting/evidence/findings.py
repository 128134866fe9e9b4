"""Findings of an experiment: how far down the accuracy holds, and a claim for every arm and fraction."""

from __future__ import annotations

from dataclasses import dataclass

from .gathered import BLIND, FULL, RANDOM, SEMANTIC, Evidence, Point
from .sentences import percent, rival_sentence, sentence
from .statistics import MOST_NEEDED, Comparison, Verdict, visible_difference


@dataclass(frozen=True)
class Claim:
    """The result of one arm at one fraction.

    Attributes:
        point: the arm, layer and fraction.
        comparison: with the full set.
        text: the claim as a sentence.
        rival: the comparison with random subsets of the same size as a sentence; empty without such training runs.
    """

    point: Point
    comparison: Comparison
    text: str
    rival: str


@dataclass(frozen=True)
class Lead:
    """The headline, and the fraction down to which the accuracy holds.

    Attributes:
        text: one or two sentences.
        fraction: the smallest fraction down to which the accuracy holds; None for none.
        claims: the claims it rests on: that of the fraction, and of the next smaller one, where there are any.
    """

    text: str
    fraction: float | None
    claims: tuple[Claim, ...]


def main_arm(evidence: Evidence) -> str | None:
    """Return the arm named first: semantic, else the one with the most training runs, random only where alone."""
    arms = [arm for arm in evidence.arms if arm != FULL]
    if SEMANTIC in arms:
        return SEMANTIC
    trials = {arm: sum(len(p.done) for p in evidence.points if p.arm == arm) for arm in arms}
    return max(arms, key=lambda arm: (arm != RANDOM, trials[arm]), default=None)


def claims(evidence: Evidence, arm: str, layer: str | None = None) -> tuple[Claim, ...]:
    """Return the claims about an arm against the full set and random subsets, from the largest fraction.

    Args:
        evidence: the training runs.
        arm: its name.
        layer: the layer; by default the one with the most training runs.
    """
    chosen = evidence.main_layer(arm) if layer is None else layer
    found = []
    for point in evidence.series(arm, chosen):
        comparison = evidence.against_full(point)
        if comparison is None:
            continue
        rival = evidence.against_random(point)
        random = evidence.point(RANDOM, point.fraction)
        said = ""
        if rival is not None and random is not None:
            counts = _against(point, random)
            said = rival_sentence(rival, in_words(point), "random subsets of its size", counts)
        subject = f"keeping {percent(point.fraction)}"
        if named(point) != SEMANTIC:
            subject += f" by {named(point)}"
        full = evidence.full
        assert full is not None  # there is a comparison with it
        text = sentence(comparison, subject, trials=_against(point, full))
        found.append(Claim(point, comparison, text, said))
    return tuple(found)


def lead(evidence: Evidence) -> Lead:
    """Return the fraction down to which the main arm holds, as a sentence.

    The fractions are taken from the largest, each test at its full level, and only as long as all before it hold:
    so the chance of claiming too much anywhere stays that of a single test (see `find`).
    """
    arm = main_arm(evidence)
    if arm is None:
        return Lead("No training on a subset is done yet.", None, ())
    made = claims(evidence, arm)
    if not made:
        missing = "the full set" if evidence.full is None else f"the arm {arm}"
        return Lead(f"No training of {missing} is done, so nothing can be compared.", None, ())
    held: Claim | None = None
    stopped: Claim | None = None
    for claim in made:
        if not claim.comparison.verdict.holds:
            stopped = claim
            break
        held = claim
    by = "" if arm == SEMANTIC else f" by {named(made[0].point)}"
    said = [] if held is None else [_holds(held, by)]
    if stopped is not None:
        said.append(_stops(stopped, by if held is None else ""))
    rests = tuple(claim for claim in (held, stopped) if claim is not None)
    return Lead(" ".join(said), None if held is None else held.point.fraction, rests)


def power(evidence: Evidence) -> str:
    """Return the smallest difference that the training runs of the main arm can show, in words.

    Empty while the spread is unknown. Taken at the fraction with the most trials, of equals the largest.
    """
    arm = main_arm(evidence)
    made = () if arm is None else claims(evidence, arm)
    compared = [claim.comparison for claim in made]
    known = [found for found in compared if found.spread and _trials(found) > 1]
    if not known:
        return ""
    best = max(known, key=_trials)
    assert best.spread is not None
    seen = visible_difference(best.spread, _trials(best))
    return (
        f"Trials vary by {best.spread:.2f} points (standard deviation), so {_trials(best)} of each show a true "
        f"difference of {seen:.2f} points four times out of five, and smaller ones less often."
    )


def in_words(point: Point) -> str:
    """Return "semantic at 90%", with the layer where it is not the last."""
    return f"{named(point)} at {percent(point.fraction)}"


def named(point: Point) -> str:
    """Return an arm's name, with the layer where it is not the last."""
    return point.arm if point.layer in ("", "end") else f"{point.arm} ({point.layer})"


def _holds(claim: Claim, by: str) -> str:
    kept, margin = percent(claim.point.fraction), claim.comparison.margin
    if claim.comparison.verdict is Verdict.BETTER:
        return f"Keeping {kept}{by} beats the full set."
    if claim.point.arm in BLIND:
        return f"Random subsets of {kept} are as good as the full set, within {margin:g} points."
    return f"Keeping {kept}{by} is as good as the full set, within {margin:g} points."


def _stops(claim: Claim, by: str) -> str:
    kept, found = percent(claim.point.fraction), claim.comparison
    if found.verdict is Verdict.WORSE:
        return f"Keeping {kept}{by} loses more than {found.margin:g} points."
    if found.verdict is Verdict.UNKNOWN:
        return f"What keeping {kept}{by} costs can’t be told: {found.missing}."
    needed = found.needed
    much = "more than " if needed is not None and needed > MOST_NEEDED else "about "
    trials = "" if needed is None else f"; {much}{min(needed, MOST_NEEDED):,} trials of each would be needed"
    if found.verdict is Verdict.LOSS:
        return f"Keeping {kept}{by} loses something; whether it is less than {found.margin:g} points is open{trials}."
    return f"Whether keeping {kept}{by} is as good is open{trials}."


def _trials(comparison: Comparison) -> int:
    return min(comparison.trials, comparison.reference_trials)


def _against(point: Point, reference: Point) -> str:
    """Return the number of training runs of each side, once where they are equal."""
    one, other = point.counted, reference.counted
    return one if one == other else f"{one} against {other.removesuffix(' trials').removesuffix(' trial')}"
