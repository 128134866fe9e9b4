"""Verdicts in words: how far down the accuracy of an arm holds, and what else its training runs show.

No sentence claims more than its test allows: "as good as" needs a loss of the margin to be ruled out, and where the
trials are too few the sentence says so, and how many would decide.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...errors import counted, duration_text
from .formats import (
    accuracy_text,
    class_name,
    count_text,
    difference_text,
    loss_difference_text,
    loss_text,
    percent,
    points_text,
)
from .results import BASELINES, FULL, RANDOM, SEMANTIC, ArmResult, Evidence
from .statistics import MOST_NEEDED, Comparison, Verdict, visible_difference

NAMED = 20  # training runs that learned nothing; of more only the number is given
UNTESTED = "untested"
WORDS = {
    Verdict.BETTER: "better",
    Verdict.AS_GOOD: "holds",
    Verdict.SMALL_LOSS: "holds",
    Verdict.LOSS: "open",
    Verdict.WORSE: "loses",
    Verdict.OPEN: "open",
    Verdict.UNKNOWN: UNTESTED,
}
SAME_SIZE = "random subsets of the same size"
SAME_STEPS = 0.01  # sizes whose steps differ by less than this part train equally long


@dataclass(frozen=True)
class ArmVerdict:
    """How far down the accuracy of an arm holds.

    Attributes:
        result: the arm at the smallest fraction down to which its accuracy holds, else at its largest.
        holds: whether it holds there.
        word: the verdict in one word: better, holds, loses, open or untested.
        headline: the verdict without numbers, a sentence or two.
        sentences: the same with its numbers, and the comparison with random subsets.
        missing: the reason why it can't be tested, if so.
    """

    result: ArmResult
    holds: bool
    word: str
    headline: str
    sentences: tuple[str, ...]
    missing: str = ""


def main_arm(evidence: Evidence) -> str | None:
    """Return the arm named first: semantic, else the one with the most training runs, random only where alone."""
    arms = [arm for arm in evidence.arms if arm != FULL]
    if SEMANTIC in arms:
        return SEMANTIC
    trials = {arm: sum(len(one.done) for one in evidence.results if one.arm == arm) for arm in arms}
    return max(arms, key=lambda arm: (arm != RANDOM, trials[arm]), default=None)


def arm_results(evidence: Evidence, arm: str) -> tuple[ArmResult, ...]:
    """Return an arm's results of its layer with the most training runs, from the largest fraction."""
    layers = [results for results in evidence.curves.values() if results[0].arm == arm]
    return max(layers, key=lambda results: sum(len(one.done) for one in results), default=())


def headline(evidence: Evidence) -> str:
    """Return the verdict on the main arm, or the reason why there is none."""
    arm = main_arm(evidence)
    if arm is None:
        return "No training run on a subset has finished yet."
    verdict = arm_verdict(evidence, arm)
    if verdict is None:
        missing = "on the full set" if evidence.full is None else f"of the arm {arm}"
        return f"No training run {missing} has finished, so nothing can be compared."
    return verdict.headline


def verdicts(evidence: Evidence) -> tuple[tuple[ArmVerdict, ...], str]:
    """Return the verdicts on the arms, the main arm first, and a note on those that can't be tested."""
    first = main_arm(evidence)
    arms = sorted((arm for arm in evidence.arms if arm != FULL), key=lambda arm: arm != first)
    found = [verdict for arm in arms if (verdict := arm_verdict(evidence, arm)) is not None]
    told = tuple(verdict for verdict in found if verdict.word != UNTESTED or verdict is found[0])
    untested = ", ".join(
        f"{verdict.result.name} ({verdict.missing})" for verdict in found if verdict not in told
    )
    return told, f"Not tested: {untested}." if untested else ""


def arm_verdict(evidence: Evidence, arm: str) -> ArmVerdict | None:
    """Return the verdict on one arm; None where it can't be compared with the full set.

    The fractions are taken from the largest, each test at its full level, and only as long as all before it hold:
    so the chance of claiming too much anywhere stays that of a single test (see `find`).
    """
    pairs = [(one, evidence.against_full(one)) for one in arm_results(evidence, arm)]
    compared = [(one, found) for one, found in pairs if found is not None]
    if not compared:
        return None
    held = next((n for n, (_, found) in enumerate(compared) if not found.verdict.holds), len(compared))
    told = compared[max(held - 1, 0) : held + 1]
    texts = [finding(found, _subject(one)) for one, found in told]
    sentences = []
    for text, (one, found) in zip(texts, told, strict=True):
        against = evidence.against_random(one)
        rival = "" if against is None else f" {against_random(against)}."
        sentences.append(f"{text} ({_numbers(evidence, one, found)}).{rival}")
    return ArmVerdict(
        result=told[0][0],
        holds=held > 0,
        word=WORDS[told[0][1].verdict],
        headline=" ".join(f"{text}." for text in texts),
        sentences=tuple(sentences),
        missing=told[0][1].missing,
    )


def finding(found: Comparison, subject: str) -> str:
    """Return what a comparison with the full set shows, without a full stop.

    Args:
        found: the comparison.
        subject: what is done, e.g. ``Keeping 90%``.
    """
    verdict, margin = found.verdict, points_text(found.margin)
    few, enough = _few(found, found.needed), _would("decide", found.needed, found.overlap)
    if verdict is Verdict.UNKNOWN:
        single = min(found.trials, found.reference_trials) == 1
        remedy = "; train 2 or more per arm" if single else "; add trials, or a larger test set"
        return f"{subject} can’t be tested: {found.missing}{enough or remedy}"
    return {
        Verdict.BETTER: f"{subject} is better than the full set",
        Verdict.AS_GOOD: f"{subject} is as good as the full set, within {margin}",
        Verdict.SMALL_LOSS: f"{subject} loses accuracy, but less than {margin}",
        Verdict.WORSE: f"{subject} loses more than {margin}",
        Verdict.LOSS: f"{subject} loses accuracy; too few {few} to tell whether less than {margin}{enough}",
        Verdict.OPEN: f"{subject}: too few {few} to rule out a {found.margin:g}-point loss{enough}",
    }[verdict]


def against_random(found: Comparison) -> str:
    """Return what a comparison with random subsets of the same size shows, without a full stop."""
    amount = f"{difference_text(found)} points"
    if found.low is None or found.high is None:
        return f"Against {SAME_SIZE} {amount}; {found.missing}"
    if found.low > 0 or found.high < 0:
        return f"{'Better' if found.low > 0 else 'Worse'} than {SAME_SIZE}: {amount}"
    if found.equivalent:
        return f"Within {points_text(found.margin)} of {SAME_SIZE}: {amount}"
    enough = _would("show a difference this large", found.needed_to_differ, found.overlap)
    return f"Too few {_few(found, found.needed_to_differ)} to tell it from {SAME_SIZE}: {amount}{enough}"


def _subject(result: ArmResult) -> str:
    kept = percent(result.fraction)
    if result.arm == RANDOM:
        return f"A random {kept}"
    return f"Keeping {kept}" + ("" if result.name == SEMANTIC else f" by {result.name}")


def _numbers(evidence: Evidence, result: ArmResult, found: Comparison) -> str:
    """Return the difference, its interval and the trials that it rests on."""
    full = evidence.full
    assert full is not None  # there is a comparison with it
    trials = counted(len(result.done), "trial")
    if result.embeddings > 1:
        trials += f" of {result.embeddings} embeddings"
    if found.overlap is not None:
        trials = counted(found.trials, "split")
    same = found.overlap is not None or (len(result.done) == len(full.done) and result.embeddings < 2)
    trials += (
        "" if found.overlap is not None else " per arm" if same else f" and {len(full.done)} of the full set"
    )
    if found.low is None or found.high is None:
        return f"{difference_text(found)} points, {trials}"
    # The test at the margin is one-sided, the interval is not.
    inside = found.verdict in (Verdict.AS_GOOD, Verdict.SMALL_LOSS, Verdict.WORSE) and (
        found.low <= -found.margin <= found.high
    )
    test = "; by a one-sided test at 5%" if inside else ""
    return f"{difference_text(found)} points, 95% interval, {trials}{test}"


def _few(found: Comparison, needed: int | None) -> str:
    """Return what there is too little of: of re-splits, more trials may not help, as the images are the same."""
    return "images" if found.overlap is not None and needed is not None and needed > MOST_NEEDED else "trials"


def _would(what: str, needed: int | None, overlap: float | None) -> str:
    """Return "; about 525 per arm would decide"; empty where the number is not known."""
    if overlap is not None and needed is not None:
        if needed > MOST_NEEDED:
            return f"; more splits of these would not {what}"
        return f"; about {needed:,} splits would {what}"
    if needed is not None and needed > MOST_NEEDED:
        return f"; more than {MOST_NEEDED:,} per arm would be needed to {what}"
    return "" if needed is None else f"; about {needed:,} per arm would {what}"


def power(evidence: Evidence) -> str:
    """Return the smallest difference that the trials of the main arm can show, in words.

    Empty while the spread is unknown. Taken at the fraction with the most trials, of equals the largest.
    """
    arm = main_arm(evidence)
    pairs = [evidence.against_full(one) for one in (() if arm is None else arm_results(evidence, arm))]
    known = [
        (min(one.trials, one.reference_trials), one.spread, one.overlap)
        for one in pairs
        if one and one.spread
    ]
    trials, spread, overlap = max(known, key=lambda one: one[0], default=(0, 0.0, None))
    if trials < 2:
        return ""
    what = "Trials vary" if overlap is None else "The difference between arms varies from split to split"
    return (
        f"{what} by {spread:.2f} points (standard deviation): {trials} {'per arm' if overlap is None else 'splits'} "
        f"show a true difference of {visible_difference(spread, trials, overlap):.2f} points four times out of five, a "
        "smaller one less often."
    )


def unlearned(evidence: Evidence) -> str:
    """Name the training runs that learned nothing; empty where there are none."""
    runs = evidence.unlearned
    if not runs:
        return ""
    one, noun = len(runs) == 1, evidence.noun
    more = f"; {len(runs) - NAMED} more" if len(runs) > NAMED else ""
    return (
        f"{counted(len(runs), 'training run')} learned nothing: {'it' if one else 'they'} gave all test {noun}s one "
        f"class, and {'counts' if one else 'count'} in the means ({'; '.join(runs[:NAMED])}{more}). They say "
        f"little about the {noun}s: look at their loss, and try a lower learning rate."
    )


def remarks(evidence: Evidence, class_names: Sequence[str], run: Mapping[str, Any]) -> tuple[str, list[str]]:
    """Return what else the training runs of one arm at one fraction show, and which these are.

    Args:
        evidence: the training runs.
        class_names: the name of each code.
        run: the content of ``run.json``, for the seconds of its stages.

    Returns:
        "semantic at 90%", and sentences; both empty where nothing can be compared.
    """
    arm = main_arm(evidence)
    verdict = None if arm is None else arm_verdict(evidence, arm)
    if verdict is None:
        return "", []
    result = verdict.result
    full, random = evidence.full, evidence.result(RANDOM, result.fraction)
    others = [
        (one, "the full set" if one is full else "random subsets")
        for one in (random, full)
        if one is not None and one.done and one is not result
    ]
    said = [
        _worst_class(evidence, result, class_names),
        _removed(evidence, result, random),
        _test_loss(result, others),
        _best_epoch(evidence, result, full),
        "" if full is None or evidence.heads or result.arm in BASELINES else cost(result, full, run),
    ]
    return f"{result.name} at {percent(result.fraction)}", [sentence for sentence in said if sentence]


def _worst_class(evidence: Evidence, result: ArmResult, class_names: Sequence[str]) -> str:
    worst = evidence.worst_class(result)
    if worst is None:
        return ""
    if worst.comparison.difference >= 0:
        return "No class loses accuracy."
    said = f"{class_name(worst.code, class_names)}, {difference_text(worst.comparison)} points"
    if worst.beyond_chance:
        return f"Class hurt most: {said}, more than the worst of {worst.classes} loses by chance."
    if worst.p is None:
        return f"Class hurt most: {said}; whether by more than chance is unknown."
    return f"No class loses more than the worst of {worst.classes} would by chance (largest loss: {said})."


def _removed(evidence: Evidence, result: ArmResult, random: ArmResult | None) -> str:
    found = result.summary("removed_accuracy")
    other = None if random is None or random is result else random.summary("removed_accuracy")
    if found is None:
        return ""
    drawn = "" if other is None else f"; of those removed at random {accuracy_text(other)}%"
    return f"Of the removed {evidence.noun}s {accuracy_text(found)}% are classified correctly{drawn}."


def _test_loss(result: ArmResult, others: Sequence[tuple[ArmResult, str]]) -> str:
    own = result.summary("test_loss")
    known = [
        (loss_difference_text(result, other), name) for other, name in others if other.summary("test_loss")
    ]
    if own is None or not known:
        return ""
    differences = ", ".join(f"{text} against {name}" for text, name in known)
    return f"Test loss {loss_text(own)}: {differences} (below zero is better)."


def _best_epoch(evidence: Evidence, result: ArmResult, full: ArmResult | None) -> str:
    """Return the article's measure, where it is another than the accuracy at the end."""
    best = result.summary("best_accuracy")
    if best is None or np.array_equal(result.values("best_accuracy"), result.values("accuracy")):
        return ""
    reference = None if full is None else full.summary("best_accuracy")
    other = "" if reference is None else f", of the full set {accuracy_text(reference)}%"
    return f"Best epoch {accuracy_text(best)}%{other}; optimistic, since the test {evidence.noun}s choose the epoch."


def cost(result: ArmResult, full: ArmResult, run: Mapping[str, Any]) -> str:
    """Return the time that finding a subset took and that it saves, in a sentence; empty where it is not known.

    Args:
        result, full: the training runs on the subset and on the full set.
        run: the content of ``run.json``, for the seconds of its stages.
    """
    stages = run.get("stages", {})
    subset, whole = (float(one.values("seconds").mean()) for one in (result, full))
    if "embed" not in stages or not math.isfinite(subset + whole):
        return ""
    spent = sum(float(stages[name]["seconds"]) for name in ("embed", "cluster", "select") if name in stages)
    steps = [float(one.values("steps").mean()) for one in (result, full)]
    if len({row.get("machine") for row in (*result.done, *full.done)}) > 1:
        saved = "these ran on different machines and can’t be compared"
    elif abs(steps[0] - steps[1]) <= SAME_STEPS * steps[1]:
        saved = f"every size trains for the same {count_text(steps[1])} steps, so no time is saved"
    elif subset >= whole:
        saved = "no time is saved"
    else:
        runs = counted(math.ceil(spent / (whole - subset)), "training run")
        saved = f"the time is regained after {runs}"
    kept = percent(result.fraction)
    return (
        f"Finding the subset took {duration_text(spent)}; a training run takes {duration_text(subset)} on {kept} and "
        f"{duration_text(whole)} on all images: {saved}."
    )
