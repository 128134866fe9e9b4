"""What is shown of an experiment: the words, the tables, the figures, the section of the report and the files."""

from __future__ import annotations

import csv
import io
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image
from test_report import Page, digits

import tenpercent as tp
from made_trainings import CLASSES, LOST, experiment, failed, table, training
from tenpercent.cli.main import main
from tenpercent.data.sources.options import SourceOptions
from tenpercent.errors import RunFolderError, StageError
from tenpercent.evaluation.experiment import Tally
from tenpercent.evaluation.stage import Evaluation, finish
from tenpercent.reporting.evidence.arms import looks_of
from tenpercent.reporting.evidence.classes import lowest_class, worst_class
from tenpercent.reporting.evidence.cost import Cost, cost_of, cost_sentence, duration
from tenpercent.reporting.evidence.figures import PAPER, Sheet, fraction_figure, on_page
from tenpercent.reporting.evidence.findings import claims, lead, main_arm, power
from tenpercent.reporting.evidence.gathered import Evidence, Point, gather
from tenpercent.reporting.evidence.section import describe_evidence, section, write_evidence
from tenpercent.reporting.evidence.series import class_lines, fraction_lines, level_of, traces_of
from tenpercent.reporting.evidence.statistics import visible_difference
from tenpercent.reporting.evidence.tables import (
    csv_table,
    latex_table,
    loss_difference_text,
    loss_text,
    markdown_table,
    rows_of,
    text_table,
)
from tenpercent.reporting.figures import COLOURS
from tenpercent.reporting.report import render

HEADS = [
    "arm",
    "kept",
    "images",
    "trials",
    "accuracy",
    "95%",
    "interval",
    "against",
    "full",
    "against",
    "random",
]
RUN: dict[str, Any] = {
    "stages": {"embed": {"seconds": 600.0}, "cluster": {"seconds": 9.0}, "select": {"seconds": 1.0}}
}


def evidence(rows: list[dict[str, Any]], margin: float = 0.2) -> Evidence:
    (found,) = gather(table(rows), margin)
    return found


def at(found: Evidence, arm: str, fraction: float, layer: str = "end") -> Point:
    point = found.point(arm, fraction, layer)
    assert point is not None
    return point


def moved(
    points: dict[float, float], trials: int = 6, arm: str = "semantic", **changes: Any
) -> list[dict[str, Any]]:
    """The full set at 90%, and an arm that is off by so many points at each fraction, hardly varying."""
    generator = np.random.default_rng(0)
    wiggle = 0.0002 * np.resize([-1, 1, 0], trials)
    rows = [training("full", 1.0, t, 0.9 + wiggle[t], generator) for t in range(trials)]
    for fraction, off in points.items():
        rows += [
            training(arm, fraction, t, 0.9 + off / 100 + wiggle[t], generator, **changes)
            for t in range(trials)
        ]
    return rows


# --- findings ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("points", "text", "fraction"),
    [
        (
            {0.9: 0.0, 0.8: -0.05, 0.7: -2.0},
            "Keeping 80% is as good as the full set, within 0.2 points. Keeping 70% loses more than 0.2 points.",
            0.8,
        ),
        ({0.9: 0.5}, "Keeping 90% beats the full set.", 0.9),
        ({0.9: -1.0, 0.8: 0.0}, "Keeping 90% loses more than 0.2 points.", None),
        ({0.9: 0.0}, "Keeping 90% is as good as the full set, within 0.2 points.", 0.9),
    ],
)
def test_the_first_sentence_goes_down_only_as_long_as_all_holds(
    points: dict[float, float], text: str, fraction: float | None
) -> None:
    found = lead(evidence(moved(points)))
    assert (found.text, found.fraction) == (text, fraction)


def test_the_first_sentence_where_little_is_known() -> None:
    assert lead(evidence([training("full", 1.0, 0, 0.9, np.random.default_rng(0))])).text == (
        "No training on a subset is done yet."
    )
    alone = [row for row in moved({0.9: 0.0}) if row["arm"] != "full"]
    assert "No training of the full set is done" in lead(evidence(alone)).text
    single = lead(evidence(moved({0.9: 0.0}, trials=1)))
    assert single.text == "What keeping 90% costs can’t be told: one trial has no interval."
    noisy = lead(evidence(experiment(trials=2, fractions=(0.9,), spread=1.0)))
    assert re.search(r"open; (about|more than) [\d,]+ trials of each would be needed\.$", noisy.text)
    other = moved({0.9: 0.0}, arm="mine")
    assert lead(evidence(other)).text.startswith("Keeping 90% by mine is as good")
    random = moved({0.9: 0.0}, arm="random")
    assert lead(evidence(random)).text.startswith("Random subsets of 90% are as good")
    assert main_arm(evidence(random + [row for row in other if row["arm"] == "mine"])) == "mine"


def test_claims_compare_with_the_full_set_and_with_random() -> None:
    found = evidence(experiment(trials=8))
    made = claims(found, "semantic")
    assert [claim.point.fraction for claim in made] == [0.95, 0.9, 0.8, 0.7, 0.5]
    for claim in made:
        assert -claim.comparison.difference == pytest.approx(LOST[claim.point.fraction], abs=0.25)
        assert claim.text.startswith(f"keeping {100 * claim.point.fraction:g}% costs ")
        assert "points better than random subsets of its size (95% interval, 8 trials)" in claim.rival
    assert [claim.rival for claim in claims(found, "random")] == [""] * 5


def test_several_embeddings_are_counted_in_words() -> None:
    rows = moved({0.9: 0.0}) + [row | {"embedding": 1} for row in moved({0.9: 0.1}) if row["arm"] != "full"]
    (claim,) = claims(evidence(rows), "semantic")
    assert "2 embeddings, 12 trials against 6" in claim.text
    shown = section(table(rows), RUN, CLASSES)
    assert shown is not None
    assert "between 2 embeddings" in shown["blocks"][0]["spreads"][0]


# --- classes and cost --------------------------------------------------------------------------------------------


def test_the_worst_class_is_named_and_held_against_chance() -> None:
    rows = moved({0.9: 0.0}, trials=6)
    for row in rows:
        noise = np.random.default_rng(row["seed"] % 1000).normal(0, 0.001, 10)
        ruined = 0.05 * (row["arm"] == "semantic") * (np.arange(10) == 7)
        row["class_accuracy"] = (0.9 - 0.1 * (np.arange(10) == 2) + noise - ruined).tolist()
    found = evidence(rows)
    full, point = at(found, "full", 1.0, ""), at(found, "semantic", 0.9)
    worst = worst_class(point, full, 0.2)
    assert worst is not None
    assert (worst.code, worst.shown) == (7, True)
    assert worst.comparison.difference == pytest.approx(-5, abs=0.3)
    assert worst.comparison.zero_p is not None
    assert worst.p == pytest.approx(10 * worst.comparison.zero_p)
    assert lowest_class(point) == (2, pytest.approx(0.8, abs=0.002))
    same = [row for row in rows if row["arm"] == "full"]
    twin = evidence(same + [row | {"arm": "semantic", "fraction": 0.9} for row in same])
    chance = worst_class(at(twin, "semantic", 0.9), at(twin, "full", 1.0, ""), 0.2)
    assert chance is not None
    assert not chance.shown


def test_a_class_that_the_test_set_lacks_is_left_out() -> None:
    rows = moved({0.9: 0.0})
    for row in rows:
        row["class_accuracy"][4] = float("nan")
        row["class_accuracy"][5] = None
    found = evidence(rows)
    worst = worst_class(at(found, "semantic", 0.9), at(found, "full", 1.0, ""), 0.2)
    assert worst is not None
    assert worst.code not in (4, 5)
    shown = section(table(rows), RUN, CLASSES)
    assert shown is not None
    assert len(shown["blocks"][0]["classes"]["rows"]) == 8
    for row in rows:
        row["class_accuracy"] = None
    assert lowest_class(at(evidence(rows), "semantic", 0.9)) is None
    bare = section(table(rows), RUN, CLASSES)
    assert bare is not None
    assert bare["blocks"][0]["classes"] is None


def cost(rows: list[dict[str, Any]]) -> Cost:
    found = evidence(rows)
    spent = {"embedding": 600.0, "clustering": 9.0, "selection": 1.0}
    made = cost_of(at(found, "semantic", 0.9), at(found, "full", 1.0, ""), spent)
    assert made is not None
    return made


def test_the_cost_and_when_it_is_paid_back() -> None:
    rows = [row | {"seconds": 1000.0 if row["arm"] == "full" else 900.0} for row in moved({0.9: 0.0})]
    saved = cost(rows)
    assert (saved.saved, saved.trainings) == (100.0, 7)  # 610 seconds of preparation
    assert cost_sentence(saved) == (
        "Preparation: embedding 10.0 min, clustering 9.0 s, selection 1.0 s. A training takes 15.0 min on 90%, 16.7 "
        "min on everything: 1.7 min saved each time, which pays for the preparation after 7 trainings."
    )
    steps = cost([row | {"steps": 39_000} for row in rows])
    assert (steps.saved, steps.trainings) == (0.0, None)
    assert "every size trains the same number of steps (39,000), so training saves nothing." in cost_sentence(
        steps
    )
    elsewhere = [row | ({"machine": "{}"} if row["arm"] == "full" else {}) for row in rows]
    assert "different machines" in cost_sentence(cost(elsewhere))
    slower = [row | {"seconds": 800.0 if row["arm"] == "full" else 900.0} for row in rows]
    assert "were no faster" in cost_sentence(cost(slower))


def test_durations() -> None:
    given = (0.44, 31.4, 99.4, 100, 252, 5399, 5400, 90_000)
    said = ["0.4 s", "31 s", "99 s", "1.7 min", "4.2 min", "90.0 min", "1.5 h", "25.0 h"]
    assert [duration(seconds) for seconds in given] == said


def test_what_the_trials_can_show() -> None:
    made = evidence(experiment(trials=4, fractions=(0.9, 0.8)))
    first = next(claim for claim in claims(made, "semantic")).comparison
    assert first.spread is not None
    seen = visible_difference(first.spread, 4)
    assert f"by {first.spread:.2f} points" in power(made)
    assert f"4 of each show a true difference of {seen:.2f} points four times out of five" in power(made)
    assert power(evidence(experiment(trials=1, fractions=(0.9,)))) == ""
    assert power(evidence(experiment(trials=4, fractions=()))) == ""


# --- tables ------------------------------------------------------------------------------------------------------


def test_the_words_for_the_terminal() -> None:
    rows = [*experiment(trials=4, fractions=(0.9, 0.8)), failed("random", 0.8, 4)]
    text = describe_evidence(table(rows))
    lines = text.splitlines()
    assert lines[0] == lead(evidence(rows)).text
    assert lines[2].split() == HEADS
    assert [line.split()[:4] for line in lines[3:8]] == [
        ["full", "100%", "50,000", "4"],
        ["semantic", "90%", "45,000", "4"],
        ["semantic", "80%", "40,000", "4"],
        ["random", "90%", "45,000", "4"],
        ["random", "80%", "40,000", "4"],
    ]
    assert "Keeping 90% costs " in text
    assert "  semantic at 90% is " in text
    assert power(evidence(rows)) in text
    assert (
        "1 failed: random at 80%, trial 5: loss is nan at step 1200" in text
    )  # counted from 1, as by `Trial`
    assert describe_evidence(table([])) == "No training is done yet."
    both = describe_evidence(table([*rows, *(row | {"protocol": "zz"} for row in rows[:3])]))
    assert both.startswith("Protocol 5f2c9a7e01b3d486:")
    assert "Protocol zz:" in both


def test_the_terminal_also_says_what_a_mean_hides() -> None:
    rows = [row | {"seconds": 900.0 + 100 * (row["arm"] == "full")} for row in moved({0.9: 0.0, 0.8: -2.0})]
    for row in rows:
        row["class_accuracy"] = [0.9 - 0.02 * (code == 3 and row["arm"] == "semantic") for code in range(10)]
        row |= {"best_accuracy": row["accuracy"] + 0.01, "removed_accuracy": 0.98}
        row["curve"] = [{"epoch": epoch, "test_accuracy": 0.9} for epoch in (1.0, 2.0)]
        row["test_loss"] = 0.5 - 0.1 * (row["arm"] == "semantic") + 0.001 * row["trial"]
    short = describe_evidence(table(rows))
    text = describe_evidence(table(rows), None, CLASSES, RUN)
    assert text.split("\n\n")[:3] == short.split("\n\n")[:3]  # what comes before is the same
    assert text.split("\n\n")[3].splitlines() == [
        "semantic at 90%:",
        "  Best over epochs: 91.00 ± 0.02%, of the full set 91.00 ± 0.02%; optimistic, as the test images choose the "
        "epoch.",
        "  Loses most: cat, −2.00 points against the full set.",
        "  Accuracy on the images left out: 98.00 ± 0.00%.",
        "  Test loss 0.4025 ± 0.0019; −0.1000 ± 0.0024 against the full set (95% intervals; below zero is better).",
        "  Preparation: embedding 10.0 min, clustering 9.0 s, selection 1.0 s. A training takes 15.0 min on 90%, "
        "16.7 min on everything: 1.7 min saved each time, which pays for the preparation after 7 trainings.",
    ]
    assert "Loses most: class 3, −2.00" in short
    assert "Preparation" not in short
    cut = {"stages": {"embed": {"seconds": 600.0}}}  # what evaluate cuts for itself has no seconds
    assert "Preparation: embedding 10.0 min. " in describe_evidence(table(rows), None, CLASSES, cut)


def test_the_test_loss_is_set_against_random_subsets_and_the_full_set() -> None:
    rows = experiment(trials=4, fractions=(0.9,))
    found = evidence(rows)
    point, random, full = at(found, "semantic", 0.9), at(found, "random", 0.9, ""), at(found, "full", 1.0, "")
    gaps = [loss_difference_text(point, other) for other in (random, full)]
    said = "est loss {}; {} against random subsets, {} against the full set".format(
        loss_text(point.loss), *gaps
    )
    assert f"  T{said}" in describe_evidence(table(rows))
    shown = section(table(rows), RUN, CLASSES)
    assert shown is not None
    assert shown["blocks"][0]["loss"].startswith(f"semantic at 90%: t{said}")
    assert [row["loss"] for row in shown["blocks"][0]["details"]] == [
        loss_text(one.loss) for one in found.points
    ]
    without = [row | {"test_loss": None} for row in rows]
    assert "est loss" not in describe_evidence(table(without))
    assert loss_difference_text(point, at(evidence(without), "random", 0.9, "")) == "–"


def test_the_terminal_says_how_much_embeddings_choose_alike() -> None:
    kept = [np.packbits(np.arange(20) >= first).tobytes() for first in (10, 8)]
    rows = moved({0.5: 0.0}, kept=kept[0])
    rows += [row | {"embedding": 1, "kept": kept[1]} for row in moved({0.5: 0.1}) if row["arm"] == "semantic"]
    text = describe_evidence(table(rows))
    assert "  The accuracy varies by 0.02 points between trials of one embedding" in text
    assert "  Of the images that one embedding keeps another keeps 90.9% too" in text


def test_the_best_over_epochs_is_shown_where_there_are_several_and_called_optimistic() -> None:
    rows = experiment(trials=3, fractions=(0.9,))
    shown = rows_of(evidence(rows))
    for text in (markdown_table(shown), latex_table(shown)):
        assert "best over epochs is optimistic, as the test images choose the epoch" in text
    mine = next(line for line in markdown_table(shown).splitlines() if line.startswith("| semantic"))
    best = 100 * np.array([row["best_accuracy"] for row in rows if row["arm"] == "semantic"])
    assert mine.endswith(f" {best.mean():.2f} ± {best.std(ddof=1):.2f} |")
    once = [row | {"curve": row["curve"][-1:]} for row in rows]
    shown = rows_of(evidence(once))
    for text in (markdown_table(shown), latex_table(shown), describe_evidence(table(once))):
        assert "over epochs" not in text


def test_an_interval_is_shown_as_far_as_an_accuracy_goes() -> None:
    rows = moved({0.9: 0.0, 0.5: 0.0}, trials=2)
    values = {"full": (0.99, 0.95), "semantic": (0.01, 0.06)}
    for row in rows:
        row["accuracy"] = values[row["arm"]][row["trial"]]
        row["class_accuracy"] = [row["accuracy"]] * 10
    found = evidence(rows, margin=3.0)
    assert "71.59 to 100.00" in text_table(rows_of(found))
    assert "0.00 to 35.27" in text_table(rows_of(found))
    stored = next(csv.DictReader(io.StringIO(csv_table([found]))))
    assert float(stored["accuracy_high"]) > 1  # the statistics stay what they are
    lines, level = fraction_lines(found, looks_of(found.arms)), level_of(found)
    low, high = fraction_figure(lines, level, Sheet.PAGE, 760).axes[0].get_ylim()
    assert -9 < low < 0 < 100 < high < 109  # some air, and no tick in it
    drawn = on_page(fraction_figure(lines, level, Sheet.PAGE, 760), "x", "")
    assert ">100%<" in drawn and ">120%<" not in drawn and not re.search(r">[-−]\d", drawn)
    full, point = at(found, "full", 1.0, ""), at(found, "semantic", 0.9)
    (dots,), _ = class_lines([point], full, looks_of(found.arms), 3.0)
    assert dots.low.min() == -100 and dots.high.max() <= 100


def test_the_csv_has_everything_in_full_precision() -> None:
    found = evidence([*experiment(trials=3, fractions=(0.9,)), failed("semantic", 0.9, 3)])
    read = list(csv.DictReader(io.StringIO(csv_table([found], CLASSES))))
    assert [row["arm"] for row in read] == ["full", "semantic", "random"]
    (row,) = [row for row in read if row["arm"] == "semantic"]
    point = at(found, "semantic", 0.9)
    values = point.values("accuracy")
    assert float(row["accuracy_mean"]) == values.mean()
    assert float(row["accuracy_std"]) == pytest.approx(values.std(ddof=1), rel=1e-12)
    assert float(row["test_loss_mean"]) == point.values("test_loss").mean()
    compared = found.against_full(point)
    assert compared is not None
    assert (float(row["full_difference"]), row["verdict"]) == (compared.difference, str(compared.verdict))
    assert (row["trials"], row["failed"], row["worst_class"]) == ("3", "1", row["worst_class"])
    assert row["worst_class"] in CLASSES
    assert read[0]["full_difference"] == row["top5_mean"] == ""


@pytest.mark.parametrize("width", [760, 360])
def test_points_stand_side_by_side_and_nearest_to_their_own_fraction(width: int) -> None:
    """However many arms: 22 moved points of 30% to 26% and of 80% to 74% once."""
    rows = experiment(trials=3, fractions=(0.9, 0.8, 0.3))
    rows += [
        row
        for arm in range(20)
        for row in moved({0.8: 0.0, 0.3 + 1e-4 * arm: 0.0}, trials=3, arm=f"arm{arm}")[3:]
    ]
    found = evidence(rows)
    lines = fraction_lines(found, looks_of(found.arms))
    axes = fraction_figure(lines, None, Sheet.PAGE, width).axes[0]
    drawn = [line for line in axes.lines if len(line.get_xdata()) == 3 or len(line.get_xdata()) == 2]
    low, high = axes.get_xlim()
    seen = {30: set[float](), 80: set[float](), 90: set[float]()}
    for line in drawn:
        for x in np.asarray(line.get_xdata(), dtype=float):
            assert low < x < high
            seen[min(seen, key=lambda fraction: abs(fraction - x))].add(round(float(x), 9))
    assert [len(at) for at in seen.values()] == [22, 22, 2]
    for fraction, at in seen.items():
        assert max(abs(x - fraction) for x in at) < 3.8


def test_tables_for_papers() -> None:
    found = evidence(experiment(trials=3, fractions=(0.9,)) + moved({0.9: 0.0}, arm="mine_50%|x")[6:])
    rows = rows_of(found)
    markdown = markdown_table(rows).splitlines()
    assert len({line.replace("\\|", "").count("|") for line in markdown[: 2 + len(rows)]}) == 1
    latex = latex_table(rows)
    assert r"\toprule" in latex
    assert r"mine\_50\%|x & 90\% & 45,000" in latex
    assert latex.count(r" \\") == len(rows) + 1
    assert not re.search(r"(?<!\\)[%_#]", latex.split("\n", 1)[1])  # the first line is a comment on purpose
    assert "±" not in latex
    assert "−" not in latex


# --- figures -----------------------------------------------------------------------------------------------------


def test_arms_look_the_same_wherever_they_are() -> None:
    few, many = (
        looks_of(["full", "semantic"]),
        looks_of(["semantic", "mine", "random", "full", "yours", "kcenter"]),
    )
    assert few["semantic"] == many["semantic"]
    assert looks_of(["random"])["random"] == many["random"]
    crowd = looks_of([f"arm {number:02d}" for number in range(30)] + ["semantic", "random"])
    assert len({(look.colour, look.sign) for look in crowd.values()}) == 33
    for look in crowd.values():
        assert look.colour in COLOURS
        assert look.colour in PAPER
        ElementTree.fromstring(look.swatch)


def test_the_main_figure_shows_what_was_measured() -> None:
    found = evidence(
        [
            *experiment(trials=4, fractions=(0.9, 0.5)),
            training("semantic", 0.7, 0, 0.91, np.random.default_rng(0)),
        ]
    )
    lines = fraction_lines(found, looks_of(found.arms))
    assert [line.name for line in lines] == ["semantic", "random"]
    assert lines[0].x.tolist() == [90, 70, 50]
    point = at(found, "semantic", 0.9)
    assert point.accuracy is not None
    assert lines[0].y[0] == pytest.approx(100 * point.accuracy.mean)
    assert np.isfinite(lines[0].low).tolist() == [True, False, True]  # one trial has no interval
    level = level_of(found)
    assert level is not None
    text = on_page(fraction_figure(lines, level, Sheet.PAGE, 760), "x", "Words about it.")
    ElementTree.fromstring(text)
    assert not re.search(r"#[0-9a-fA-F]{6}\b", re.sub(r"(url\(|href=\")#[^)\"]+", "", text))
    assert "var(--arm1)" in text
    for tick in ("50%", "70%", "90%", "100%"):
        assert f">{tick}<" in text
    again = on_page(fraction_figure(lines, level, Sheet.PAGE, 760), "x", "Words about it.")
    assert text == again


@pytest.mark.parametrize("fractions", [(0.9,), (0.999,), (0.01, 0.011, 0.012, 0.9)])
def test_odd_fractions_draw(fractions: tuple[float, ...]) -> None:
    found = evidence(moved(dict.fromkeys(fractions, 0.0), trials=1))
    lines = fraction_lines(found, looks_of(found.arms))
    for width in (340, 760):
        ElementTree.fromstring(
            on_page(fraction_figure(lines, None, Sheet.PAGE, width), "x", "Words about it.")
        )


@pytest.mark.parametrize("trials", [1, 3])
def test_the_key_of_a_figure_names_each_arm_once(trials: int) -> None:
    found = evidence(
        [*moved({0.9: 0.0}, trials=trials), training("mixed", 0.5, 0, 0.9, np.random.default_rng(0))]
    )
    drawn = on_page(
        fraction_figure(fraction_lines(found, looks_of(found.arms)), None, Sheet.PAPER, 760), "x", ""
    )
    for arm in ("semantic", "mixed"):
        assert drawn.count(f">{arm}</text>") == 1


def test_traces_are_means_where_all_trials_are_known() -> None:
    def curve(*pairs: tuple[float, float | None]) -> list[dict[str, Any]]:
        return [{"epoch": epoch, "loss": loss, "step": 0} for epoch, loss in pairs]

    rows = moved({0.9: 0.0}, trials=2)
    mine = [row for row in rows if row["arm"] == "semantic"]
    mine[0]["curve"] = curve((0, 9.0), (1, 4.0), (2, 3.0), (3, 2.0), (5, None))
    mine[1]["curve"] = curve((1, 2.0), (2, 1.0), (4, float("nan")))
    point = at(evidence(rows), "semantic", 0.9)
    (trace,) = traces_of([point], looks_of(["semantic"]), "loss", 2)
    assert trace.epochs.tolist() == [1, 2]
    assert trace.mean.tolist() == [6, 4]  # twice the means of 4 and 2, and of 3 and 1
    assert [values.tolist() for _, values in trace.trials] == [[18, 8, 6, 4], [4, 2]]
    for row in mine:
        row["curve"] = []
    assert traces_of([at(evidence(rows), "semantic", 0.9)], looks_of(["semantic"]), "loss", 1) == []


# --- the page and the files --------------------------------------------------------------------------------------


def everything() -> list[dict[str, Any]]:
    rows = experiment(trials=3, fractions=(0.9, 0.8))
    rows += [row | {"layer": "start", "seed": row["seed"] + 1} for row in rows if row["arm"] == "semantic"]
    return [*rows, failed("semantic", 0.8, 3, "loss is nan <b>& more</b>")]


def test_the_report_has_a_section_where_there_are_trainings() -> None:
    material = digits(n=60)
    rows = [*everything(), *(row | {"protocol": "zz"} for row in moved({0.9: 0.0}, trials=1))]
    text = render(replace(material, results=table(rows), margin=0.5))
    page = Page(text)
    sections = [attributes["id"] for attributes in page.all("section")]
    assert sections[:3] == ["found", "evidence", "groups"]
    assert {"href": "#evidence"} in page.all("a")
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert lead(evidence(everything(), 0.5)).text in page.text
    assert "a margin of 0.5 is" in page.text
    assert "Under other settings protocol zz" in page.text
    assert (
        "1 training failed and counts in no mean: semantic at 80%, trial 4: loss is nan <b>& more</b>"
        in page.text
    )
    for words in (
        "The layers compared",
        "How the trainings went",
        "Class by class",
        "Its last half, enlarged",
    ):
        assert words in page.text
    assert page.text.index("Keeping 90% costs") < page.text.index("against random, points")
    assert "Does it hold?" not in render(replace(material, results=table([])))


def test_a_page_of_one_trial_says_that_it_has_no_interval() -> None:
    rows = [
        row | {"curve": None, "class_accuracy": None, "seconds": None} for row in moved({0.9: -0.1}, trials=1)
    ]
    text = render(replace(digits(n=60), results=table(rows)))
    page = Page(text)
    assert "What keeping 90% costs can’t be told: one trial has no interval." in page.text
    assert "hollow: no interval" in page.text
    assert "interval shaded" not in page.text
    assert "± " not in page.text[
        page.text.index("Keeping 90% costs") : page.text.index("Of a difference")
    ].replace("mean ± std", "")


def test_files_for_papers(tmp_path: Path) -> None:
    write_evidence(tmp_path / "evidence", table(everything()), CLASSES)
    names = {path.name for path in (tmp_path / "evidence").iterdir()}
    figures = {"accuracy", "layers", "loss-curve", "accuracy-curve", "accuracy-curve-end", "classes"}
    assert names == {"table.md", "table.tex", "table.csv"} | {
        f"{f}.{kind}" for f in figures for kind in ("svg", "png")
    }
    for name in figures:
        drawn = (tmp_path / "evidence" / f"{name}.svg").read_text(encoding="utf-8")
        ElementTree.fromstring(drawn)
        assert not any(placeholder in drawn for placeholder in COLOURS)
        assert "var(" not in drawn
        assert "fill: #ffffff" in drawn.split("</g>")[0]  # as dark letters need one, also on a dark page
        with Image.open(tmp_path / "evidence" / f"{name}.png") as picture:
            assert picture.width > 1000
            assert picture.convert("RGBA").getchannel("A").getextrema() == (255, 255)
            assert picture.convert("RGB").getpixel((0, 0)) == (255, 255, 255)
    with Image.open(tmp_path / "evidence" / "accuracy.png") as picture:
        seen = {tuple(colour[:3]) for _, colour in picture.convert("RGB").getcolors(10**6) or ()}
    assert {(0x0B, 0x62, 0xA8), (0xC4, 0x50, 0x0A), (0x1B, 0x1D, 0x1F)} <= seen
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(RunFolderError, match="can't write"):
        write_evidence(tmp_path / "file", table(everything()))
    write_evidence(tmp_path / "none", table([]))
    assert not (tmp_path / "none").exists()


def test_files_are_of_the_protocol_asked_for_and_old_ones_go(tmp_path: Path) -> None:
    both = table([*everything(), *(row | {"protocol": "zz"} for row in moved({0.9: 0.0}, trials=2))])
    write_evidence(tmp_path, table(everything()), CLASSES)
    assert "Protocol" not in (tmp_path / "table.md").read_text(encoding="utf-8")
    (tmp_path / "mine.png").write_bytes(b"")
    write_evidence(tmp_path, both, CLASSES, protocol="zz")
    for name in ("table.md", "table.tex"):
        assert "Protocol zz, one of 2 in this run." in (tmp_path / name).read_text(encoding="utf-8")
    assert not {"layers.svg", "layers.png"} & {path.name for path in tmp_path.iterdir()}
    assert (tmp_path / "mine.png").exists() and (tmp_path / "accuracy.png").exists()
    write_evidence(tmp_path, both, CLASSES)
    assert "Protocol 5f2c9a7e01b3d486, one of 2" in (tmp_path / "table.md").read_text(encoding="utf-8")
    assert (tmp_path / "layers.png").exists()


def test_the_same_results_give_the_same_files(tmp_path: Path) -> None:
    rows = [row | {"curve": None, "class_accuracy": None} for row in moved({0.9: 0.0, 0.8: -0.5})]
    for name, given in (("one", rows), ("other", rows[::-1])):
        write_evidence(tmp_path / name, table(given), CLASSES)
    one, other = ({p.name: p.read_bytes() for p in (tmp_path / name).iterdir()} for name in ("one", "other"))
    assert one == other
    assert "accuracy.png" in one


def test_report_reads_the_results_of_a_run(
    vectors: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    options = SourceOptions(labels=vectors.parent / "labels.npy")
    tp.run(vectors, out=run, keep=0.8, options=options)
    assert "Does it hold?" not in (run / "report.html").read_text(encoding="utf-8")
    pq.write_table(table(moved({0.9: -0.4}, trials=4)), run / "results.parquet")
    tp.report(run)
    text = (run / "report.html").read_text(encoding="utf-8")
    assert "Keeping 90% loses more than 0.2 points." in text
    tp.report(run, margin=1.0)
    assert "as good as the full set, within 1 points" in (run / "report.html").read_text(encoding="utf-8")
    assert "1.0" in (run / "evidence" / "table.csv").read_text(encoding="utf-8")
    assert main(["report", str(run), "--margin", "2"]) == 0
    said = capsys.readouterr().out
    assert "Keeping 90% is as good as the full set, within 2 points." in said
    assert said.endswith(f"See it: {run / 'report.html'}\n")
    assert "within 2 points" in (run / "report.html").read_text(encoding="utf-8")
    assert main(["report", str(run), "--margin", "-1"]) == 2
    assert "--margin is -1" in capsys.readouterr().err
    # What has just been trained is what the files show, though others are more.
    mine = moved({0.9: -0.4}, trials=4)
    both = table([*mine, *(row | {"protocol": "zz"} for row in mine[:-1])])
    pq.write_table(both, run / "results.parquet")
    finish(run, Evaluation(both, Tally(7, (), ()), "zz"), 2.0)
    assert "Protocol zz" in (run / "evidence" / "table.md").read_text(encoding="utf-8")
    assert "embed" in json.loads((run / "run.json").read_text())["stages"]
    (run / "results.parquet").write_bytes(b"PAR1 but not whole")
    with pytest.raises(StageError, match="is damaged"):
        tp.report(run)
