"""Sentences on training runs beyond their mean accuracy: best epoch, classes, removed images, cost, spreads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .cost import cost_of, cost_sentence
from .findings import in_words
from .gathered import BLIND, RANDOM, Point
from .sentences import signed
from .series import Shown
from .tables import OPTIMISTIC, Row, class_name, loss_difference_text, loss_text, spread_text

STEPS = {"embed": "embedding", "cluster": "clustering", "select": "selection"}  # stages that find a subset


def beyond_the_mean(shown: Shown, rows: Sequence[Row], run: Mapping[str, Any]) -> list[str]:
    """Return further results of the main arm at the fraction shown, a line each, below the name of both.

    Args:
        shown: the training runs.
        rows: of all of them, see `tables.rows_of`.
        run: the content of ``run.json``, for the seconds of its stages.
    """
    point = shown.point
    if point is None:
        return []
    of = {row.point: row for row in rows}
    full, random = shown.evidence.full, shown.evidence.point(RANDOM, point.fraction)
    lines = [
        _best(of[point], None if full is None else of[full]),
        _worst(of[point], shown.class_names),
        _removed(of[point], None if random is None or random is point else of.get(random)),
        loss_words(shown),
        cost_words(shown, run),
        *spread_words(point),
    ]
    known = [f"  {line}" for line in lines if line]
    return [f"{in_words(point)}:", *known] if known else []


def _best(mine: Row, full: Row | None) -> str:
    if mine.best is None:
        return ""
    other = "" if full is None or full.best is None else f", of the full set {spread_text(full.best)}%"
    return f"Best over epochs: {spread_text(mine.best)}%{other}; {OPTIMISTIC}."


def _worst(mine: Row, class_names: Sequence[str]) -> str:
    worst = mine.worst
    if worst is None:
        return ""
    chance = "more than the worst of as many classes loses by chance"
    if not worst.shown:
        chance = "the worst of as many classes may lose that by chance"
    lost = signed(worst.comparison.difference, 2, plus=True)
    said = "" if worst.p is None else f"; {chance}"
    if worst.comparison.difference >= 0:
        return "No class loses accuracy against the full set."
    return f"Loses most: {class_name(worst.code, class_names)}, {lost} points against the full set{said}."


def _removed(mine: Row, random: Row | None) -> str:
    if mine.removed is None:
        return ""
    other = (
        ""
        if random is None or random.removed is None
        else f", by random subsets {spread_text(random.removed)}%"
    )
    return f"Accuracy on the images left out: {spread_text(mine.removed)}%{other}."


def loss_words(shown: Shown) -> str:
    """Compare the test loss with that of random subsets and of the full set; empty where it is not known."""
    point, evidence = shown.point, shown.evidence
    if point is None or point.loss is None:
        return ""
    others = (("random subsets", evidence.point(RANDOM, point.fraction)), ("the full set", evidence.full))
    said = [
        f"{loss_difference_text(point, other)} against {name}"
        for name, other in others
        if other is not None and other is not point and other.loss is not None
    ]
    differences = f"{', '.join(said)} (95% intervals; below zero is better)"
    return f"Test loss {loss_text(point.loss)}; {differences}." if said else ""


def cost_words(shown: Shown, run: Mapping[str, Any]) -> str:
    """Return the time spent and saved at the fraction shown, in words; empty where it is not known."""
    full, point, stages = shown.evidence.full, shown.point, run.get("stages", {})
    if full is None or point is None or point.arm in BLIND or "embed" not in stages:
        return ""
    spent = {name: float(stages[stage]["seconds"]) for stage, name in STEPS.items() if stage in stages}
    found = cost_of(point, full, spent)
    return "" if found is None else cost_sentence(found)


def spread_words(point: Point) -> list[str]:
    """Return what several embeddings add to the spread of the trials, and how far their choices overlap, in words."""
    lines = []
    spread, overlap = point.spread_of_embeddings, point.overlap_of_embeddings
    if spread is not None:
        lines.append(
            f"The accuracy varies by {100 * spread[1]:.2f} points between trials of one embedding and by "
            f"{100 * spread[0]:.2f} more between {point.embeddings} embeddings (standard deviations)."
        )
    if overlap is not None:
        kept = 100 * point.fraction
        lines.append(
            f"Of the images that one embedding keeps another keeps {100 * overlap[0]:.1f}% too, and of those it "
            f"removes another removes {100 * overlap[1]:.1f}% (by chance {kept:g}% and {100 - kept:g}%)."
        )
    return lines
