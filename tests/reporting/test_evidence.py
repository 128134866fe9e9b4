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
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image
from test_report import Page, digits

import tenpercent as tp
from made_trainings import CLASSES, experiment, failed, table, training
from tenpercent.cli.main import main
from tenpercent.data.sources.options import SourceOptions
from tenpercent.errors import RunFolderError, StageError, duration_text
from tenpercent.evaluation.experiment import TrialProgress
from tenpercent.evaluation.stage import Evaluation, finish
from tenpercent.reporting.evidence import figure as figure_module
from tenpercent.reporting.evidence.figure import PAPER, arm_styles, curves, page_figure, write_figure
from tenpercent.reporting.evidence.formats import loss_difference_text, loss_text
from tenpercent.reporting.evidence.results import ArmResult, Evidence, gather
from tenpercent.reporting.evidence.section import FORMER, describe_evidence, section, write_evidence
from tenpercent.reporting.evidence.statistics import visible_difference
from tenpercent.reporting.evidence.table import csv_table, latex_table, markdown_table, table_rows, text_table
from tenpercent.reporting.evidence.verdicts import (
    arm_verdict,
    cost,
    headline,
    main_arm,
    power,
    remarks,
    verdicts,
)
from tenpercent.reporting.figures import COLOURS
from tenpercent.reporting.report import render

HEADS = ["kept", "images", "arm", "trials", "accuracy,", "%", "95%", "interval"]
HEADS += ["vs.", "full", "vs.", "random", "verdict"]
RUN: dict[str, Any] = {
    "stages": {"embed": {"seconds": 600.0}, "cluster": {"seconds": 9.0}, "select": {"seconds": 1.0}}
}


def evidence(rows: list[dict[str, Any]], margin: float = 0.2) -> Evidence:
    (found,) = gather(table(rows), margin)
    return found


def at(found: Evidence, arm: str, fraction: float, layer: str = "end") -> ArmResult:
    result = found.result(arm, fraction, layer)
    assert result is not None
    return result


def block(rows: list[dict[str, Any]]) -> dict[str, Any]:
    shown = section(table(rows), RUN, CLASSES)
    assert shown is not None
    (found,) = shown["blocks"]
    assert isinstance(found, dict)
    return found | {"remarks": [remark.replace("\N{NO-BREAK SPACE}", " ") for remark in found["remarks"]]}


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


# --- verdicts ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("points", "text", "fraction"),
    [
        (
            {0.9: 0.0, 0.8: -0.05, 0.7: -2.0},
            "Keeping 80% loses accuracy, but less than 0.2 points. Keeping 70% loses more than 0.2 points.",
            0.8,
        ),
        ({0.9: 0.5}, "Keeping 90% is better than the full set.", 0.9),
        ({0.9: -1.0, 0.8: 0.0}, "Keeping 90% loses more than 0.2 points.", None),
        ({0.9: 0.0}, "Keeping 90% is as good as the full set, within 0.2 points.", 0.9),
    ],
)
def test_the_headline_goes_down_only_as_long_as_all_holds(
    points: dict[float, float], text: str, fraction: float | None
) -> None:
    found = evidence(moved(points))
    verdict = arm_verdict(found, "semantic")
    assert verdict is not None
    assert (headline(found), verdict.headline, verdict.holds) == (text, text, fraction is not None)
    assert verdict.result.fraction == (fraction or max(points))


def test_the_headline_where_little_is_known() -> None:
    assert headline(evidence([training("full", 1.0, 0, 0.9, np.random.default_rng(0))])) == (
        "No training run on a subset has finished yet."
    )
    alone = [row for row in moved({0.9: 0.0}) if row["arm"] != "full"]
    assert "No training run on the full set has finished" in headline(evidence(alone))
    single = headline(evidence(moved({0.9: 0.0}, trials=1)))
    assert single == "Keeping 90% can’t be tested: one trial has no interval; train 2 or more per arm."
    noisy = headline(evidence(experiment(trials=2, fractions=(0.9,), spread=1.0)))
    assert re.search(
        r"to rule out a 0.2-point loss; (about [\d,]+|more than 1,000) per arm would (be needed to )?decide\.$",
        noisy,
    )
    other = moved({0.9: 0.0}, arm="mine")
    assert headline(evidence(other)).startswith("Keeping 90% by mine is as good")
    random = moved({0.9: 0.0}, arm="random")
    assert headline(evidence(random)).startswith("A random 90% is as good")
    assert main_arm(evidence(random + [row for row in other if row["arm"] == "mine"])) == "mine"


def test_a_verdict_has_its_numbers_and_compares_with_random_subsets() -> None:
    found = evidence(experiment(trials=8))
    (semantic, random), untested = verdicts(found)
    assert (semantic.result.name, random.result.name, untested) == ("semantic", "random", "")
    assert semantic.word == "holds" and semantic.holds and len(semantic.sentences) == 2
    for sentence in semantic.sentences:
        assert "points, 95% interval, 8 trials per arm)." in sentence
        assert "Better than random subsets of the same size: +" in sentence
    held = found.against_full(semantic.result)
    assert (
        held is not None
        and f"({'+' if held.difference > 0 else '−'}{abs(held.difference):.2f} ± " in (semantic.sentences[0])
    )
    assert "same size" not in " ".join(random.sentences)


def test_arms_of_one_trial_are_named_as_untested() -> None:
    rows = moved({0.9: 0.0}) + [row for row in moved({0.5: -1.0}, arm="mine") if row["fraction"] < 1][:1]
    told, untested = verdicts(evidence(rows))
    assert [verdict.result.name for verdict in told] == ["semantic"]
    assert untested == "Not tested: mine (one trial has no interval)."
    assert untested in describe_evidence(table(rows)) and block(rows)["untested"] == untested
    assert [row["verdict"] for row in table_rows(evidence(rows))] == ["–", "holds", "untested"]
    only, note = verdicts(evidence(moved({0.9: 0.0}, trials=1)))
    assert (only[0].word, note) == ("untested", "")  # the headline says it


def test_a_loss_ruled_out_by_the_one_sided_test_alone_says_so() -> None:
    rows = moved({0.9: -0.1})
    for row in rows:
        row["accuracy"] += 0.0008 * (row["trial"] % 3 - 1)
    found = evidence(rows)
    compared = found.against_full(at(found, "semantic", 0.9))
    assert compared is not None and compared.low is not None
    assert compared.verdict.holds and compared.low < -0.2
    verdict = arm_verdict(found, "semantic")
    assert verdict is not None and verdict.sentences[0].endswith("; by a one-sided test at 5%).")
    clear = arm_verdict(evidence(moved({0.9: -0.1})), "semantic")
    assert clear is not None and "one-sided" not in clear.sentences[0]


def test_several_embeddings_are_counted_in_words() -> None:
    rows = moved({0.9: 0.0}) + [row | {"embedding": 1} for row in moved({0.9: 0.1}) if row["arm"] != "full"]
    verdict = arm_verdict(evidence(rows), "semantic")
    assert verdict is not None
    assert "12 trials of 2 embeddings and 6 of the full set" in verdict.sentences[0]


# --- classes and cost --------------------------------------------------------------------------------------------


def with_classes(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Class 7 is ruined by 5 points, class 2 is the lowest anyway."""
    for row in rows:
        noise = np.random.default_rng(row["seed"] % 1000).normal(0, 0.001, 10)
        ruined = 0.05 * (row["arm"] == "semantic") * (np.arange(10) == 7)
        row["class_accuracy"] = (0.9 - 0.1 * (np.arange(10) == 2) + noise - ruined).tolist()
    return rows


def test_the_worst_class_is_named_and_held_against_chance() -> None:
    rows = with_classes(moved({0.9: 0.0}, trials=6))
    found = evidence(rows)
    worst = found.worst_class(at(found, "semantic", 0.9))
    assert worst is not None
    assert (worst.code, worst.classes, worst.beyond_chance) == (7, 10, True)
    assert worst.comparison.difference == pytest.approx(-5, abs=0.3)
    assert worst.comparison.zero_p is not None
    assert worst.p == pytest.approx(10 * worst.comparison.zero_p)
    said = r"Class hurt most: horse, −[45]\.\d+ ± [\d.]+ points, more than the worst of 10 loses by chance\."
    assert re.search(said, describe_evidence(table(rows), None, CLASSES))
    assert any(re.fullmatch(said, remark) for remark in block(rows)["remarks"])


def test_a_class_within_chance_is_not_called_hurt() -> None:
    rows = with_classes(moved({0.9: 0.0}, trials=6))
    same = [row for row in rows if row["arm"] == "full"]
    found = evidence(same + [row | {"arm": "semantic", "fraction": 0.9} for row in same])
    worst = found.worst_class(at(found, "semantic", 0.9))
    assert worst is not None and not worst.beyond_chance
    below = [row for row in same if row["trial"] < 3]
    rows = same + [row | {"arm": "semantic", "fraction": 0.9} for row in below]
    assert any(
        re.fullmatch(
            r"No class loses more than the worst of 10 would by chance \(largest loss: .*\)\.", remark
        )
        for remark in block(rows)["remarks"]
    )


def test_a_class_that_the_test_set_lacks_is_left_out() -> None:
    rows = moved({0.9: 0.0})
    for row in rows:
        row["class_accuracy"][4] = float("nan")
        row["class_accuracy"][5] = None
    found = evidence(rows)
    worst = found.worst_class(at(found, "semantic", 0.9))
    assert worst is not None
    assert worst.code not in (4, 5) and worst.classes == 8
    for row in rows:
        row["class_accuracy"] = None
    found = evidence(rows)
    assert found.worst_class(at(found, "semantic", 0.9)) is None
    assert not any("class " in remark.lower() for remark in block(rows)["remarks"])


def cost_of(rows: list[dict[str, Any]]) -> str:
    found = evidence(rows)
    return cost(at(found, "semantic", 0.9), at(found, "full", 1.0, ""), RUN)


def test_the_cost_and_when_it_is_paid_back() -> None:
    rows = [row | {"seconds": 1000.0 if row["arm"] == "full" else 900.0} for row in moved({0.9: 0.0})]
    begin = (
        "Finding the subset took 10.2 min; a training run takes 15 min on 90% and 16.7 min on all images: "
    )
    assert cost_of(rows) == f"{begin}the time is regained after 7 training runs."
    same = "every size trains for the same 39,000 steps, so no time is saved."
    assert cost_of([row | {"steps": 39_000} for row in rows]) == begin + same
    elsewhere = [row | ({"machine": "{}"} if row["arm"] == "full" else {}) for row in rows]
    assert cost_of(elsewhere) == f"{begin}these ran on different machines and can’t be compared."
    slower = [row | {"seconds": 800.0 if row["arm"] == "full" else 900.0} for row in rows]
    assert cost_of(slower).endswith(": no time is saved.")
    assert cost_of([row | {"seconds": None} for row in rows]) == ""
    cut = {"stages": {"embed": {"seconds": 600.0}}}  # what evaluate cuts for itself has no seconds
    assert "Finding the subset took 10 min;" in describe_evidence(table(rows), None, CLASSES, cut)
    assert "Finding" not in describe_evidence(table(rows), None, CLASSES, {"stages": {}})


def test_durations() -> None:
    given = (0.44, 31.4, 99.4, 100, 252, 5399, 5400, 90_000, 392_400, 30_624_840)
    said = ["0.4 s", "31 s", "99 s", "1.7 min", "4.2 min", "90 min", "1.5 h", "25 h", "4.5 days", "354 days"]
    assert [duration_text(seconds) for seconds in given] == said


def test_what_the_trials_can_show() -> None:
    made = evidence(experiment(trials=4, fractions=(0.9, 0.8)))
    first = made.against_full(at(made, "semantic", 0.9))
    assert first is not None and first.spread is not None
    seen = visible_difference(first.spread, 4)
    assert f"by {first.spread:.2f} points" in power(made)
    assert f"4 per arm show a true difference of {seen:.2f} points four times out of five" in power(made)
    assert power(evidence(experiment(trials=1, fractions=(0.9,)))) == ""
    assert power(evidence(experiment(trials=4, fractions=()))) == ""


# --- tables ------------------------------------------------------------------------------------------------------


def test_the_words_for_the_terminal() -> None:
    rows = [*experiment(trials=4, fractions=(0.9, 0.8)), failed("random", 0.8, 4)]
    text = describe_evidence(table(rows))
    lines = text.splitlines()
    assert lines[0] == headline(evidence(rows))
    assert lines[2].split() == HEADS
    assert [line.split()[:4] for line in lines[3:8]] == [
        ["100%", "50,000", "full", "4"],
        ["90%", "45,000", "semantic", "4"],
        ["90%", "45,000", "random", "4"],
        ["80%", "40,000", "semantic", "4"],
        ["80%", "40,000", "random", "4"],
    ]
    assert " (1 failed) " in lines[7]
    for verdict in verdicts(evidence(rows))[0]:
        assert "\n".join(verdict.sentences) in text
    assert power(evidence(rows)) in text
    assert (
        "1 failed: random at 80%, trial 5: loss is nan at step 1200" in text
    )  # counted from 1, as by `Trial`
    assert describe_evidence(table([])) == "No training run has finished yet."
    both = describe_evidence(table([*rows, *(row | {"protocol": "zz"} for row in rows[:3])]))
    assert both.startswith("Protocol 5f2c9a7e01b3d486:")
    assert "Protocol zz:" in both
    assert "1 failed" in describe_evidence(table([failed("random", 0.8, 4)]))


def test_the_terminal_also_says_what_a_mean_hides() -> None:
    rows = [row | {"seconds": 900.0 + 100 * (row["arm"] == "full")} for row in moved({0.9: 0.0, 0.8: -2.0})]
    for row in rows:
        row["class_accuracy"] = [0.9 - 0.02 * (code == 3 and row["arm"] == "semantic") for code in range(10)]
        row |= {"best_accuracy": row["accuracy"] + 0.01, "removed_accuracy": 0.98}
        row["test_loss"] = 0.5 - 0.1 * (row["arm"] == "semantic") + 0.001 * row["trial"]
    short = describe_evidence(table(rows))
    text = describe_evidence(table(rows), None, CLASSES, RUN)
    assert text.split("\n\n")[:3] == short.split("\n\n")[:3]  # what comes before is the same
    assert text.split("\n\n")[3].splitlines() == [
        "semantic at 90%:",
        "  Class hurt most: cat, −2.00 points; whether by more than chance is unknown.",
        "  Of the removed images 98.00 ± 0.00% are classified correctly.",
        "  Test loss 0.4025 ± 0.0019: −0.1000 ± 0.0024 against the full set (below zero is better).",
        "  Best epoch 91.00 ± 0.02%, of the full set 91.00 ± 0.02%; optimistic, since the test images choose the "
        "epoch.",
        "  Finding the subset took 10.2 min; a training run takes 15 min on 90% and 16.7 min on all images: the "
        "time is regained after 7 training runs.",
    ]
    assert "Class hurt most: class 3, −2.00" in short
    assert "Finding the subset" not in short
    once = [row | {"best_accuracy": row["accuracy"]} for row in rows]
    assert "Best epoch" not in describe_evidence(table(once))


def test_the_test_loss_is_set_against_random_subsets_and_the_full_set() -> None:
    rows = experiment(trials=4, fractions=(0.9,))
    found = evidence(rows)
    result, random, full = (
        at(found, "semantic", 0.9),
        at(found, "random", 0.9, ""),
        at(found, "full", 1.0, ""),
    )
    gaps = [loss_difference_text(result, other) for other in (random, full)]
    own = loss_text(result.summary("test_loss"))
    said = "Test loss {}: {} against random subsets, {} against the full set".format(own, *gaps)
    assert f"  {said}" in describe_evidence(table(rows))
    assert any(remark.startswith(said) for remark in block(rows)["remarks"])
    without = [row | {"test_loss": None} for row in rows]
    assert "Test loss" not in describe_evidence(table(without))
    assert loss_difference_text(result, at(evidence(without), "random", 0.9, "")) == "–"


def test_an_interval_is_shown_as_far_as_an_accuracy_goes() -> None:
    rows = moved({0.9: 0.0, 0.5: 0.0}, trials=2)
    values = {"full": (0.99, 0.95), "semantic": (0.01, 0.06)}
    for row in rows:
        row["accuracy"] = values[row["arm"]][row["trial"]]
    found = evidence(rows, margin=3.0)
    assert "71.59 to 100.00" in text_table(found)
    assert "0.00 to 35.27" in text_table(found)
    stored = next(csv.DictReader(io.StringIO(csv_table([found]))))
    assert float(stored["accuracy_high"]) > 1  # the statistics stay what they are
    low, high = axes_of(found, 760).get_ylim()
    assert -9 < low < 0 < 100 < high < 109  # some air, and no tick in it
    drawn = page_figure(found, 760, "x", "")
    assert ">100%<" in drawn and ">120%<" not in drawn and not re.search(r">[-−]\d", drawn)


def test_the_csv_has_everything_in_full_precision() -> None:
    found = evidence([*experiment(trials=3, fractions=(0.9,)), failed("semantic", 0.9, 3)])
    read = list(csv.DictReader(io.StringIO(csv_table([found], CLASSES))))
    assert [row["arm"] for row in read] == ["full", "semantic", "random"]
    (row,) = [row for row in read if row["arm"] == "semantic"]
    result = at(found, "semantic", 0.9)
    values = result.values("accuracy")
    assert float(row["accuracy_mean"]) == values.mean()
    assert float(row["accuracy_std"]) == pytest.approx(values.std(ddof=1), rel=1e-12)
    assert float(row["test_loss_mean"]) == result.values("test_loss").mean()
    compared = found.against_full(result)
    assert compared is not None
    assert (float(row["full_difference"]), row["verdict"]) == (compared.difference, str(compared.verdict))
    assert (row["trials"], row["failed"], row["worst_class"]) == ("3", "1", row["worst_class"])
    assert row["worst_class"] in CLASSES
    assert read[0]["full_difference"] == row["top5_mean"] == ""


def test_tables_for_papers() -> None:
    found = evidence(experiment(trials=3, fractions=(0.9,)) + moved({0.9: 0.0}, arm="mine_50%|x")[6:])
    rows = table_rows(found)
    markdown = markdown_table(found).splitlines()
    assert len({line.replace("\\|", "").count("|") for line in markdown[: 2 + len(rows)]}) == 1
    latex = latex_table(found)
    assert r"\toprule" in latex
    assert r"90\% & 45,000 & mine\_50\%|x & 6 & " in latex
    assert latex.count(r" \\") == len(rows) + 1
    assert not re.search(r"(?<!\\)[%_#]", latex.split("\n", 1)[1])  # the first line is a comment on purpose
    assert "±" not in latex
    assert "−" not in latex
    for row in rows:  # the same rows everywhere
        assert " ".join(row.values()).split() in [line.split() for line in text_table(found).splitlines()]
        assert f"| {' | '.join(row.values())} |".replace("%|x", "%\\|x") in markdown


# --- figures -----------------------------------------------------------------------------------------------------


def axes_of(found: Evidence, width: int) -> Axes:
    """The axes of the figure for a page."""
    with pytest.MonkeyPatch.context() as patch:
        kept: list[Figure] = []
        patch.setattr(figure_module, "inline", lambda figure, *_: kept.append(figure) or "")
        page_figure(found, width, "x", "")
    return kept[0].axes[0]


@pytest.mark.parametrize("width", [760, 360])
def test_points_stand_side_by_side_and_nearest_to_their_own_fraction(width: int) -> None:
    """However many arms: 22 moved points of 30% to 26% and of 80% to 74% once."""
    rows = experiment(trials=3, fractions=(0.9, 0.8, 0.3))
    rows += [
        row
        for arm in range(20)
        for row in moved({0.8: 0.0, 0.3 + 1e-4 * arm: 0.0}, trials=3, arm=f"arm{arm}")[3:]
    ]
    axes = axes_of(evidence([row for row in rows if row["arm"] != "full"]), width)
    drawn = [line for line in axes.lines if line.get_linestyle() == "-"]
    assert len(drawn) == 22
    low, high = axes.get_xlim()
    seen = {30: set[float](), 80: set[float](), 90: set[float]()}
    for line in drawn:
        for x in np.asarray(line.get_xdata(), dtype=float):
            assert low < x < high
            seen[min(seen, key=lambda fraction: abs(fraction - x))].add(round(float(x), 9))
    assert [len(at) for at in seen.values()] == [22, 22, 2]
    for fraction, at in seen.items():
        assert max(abs(x - fraction) for x in at) < 3.8


def test_arms_look_the_same_wherever_they_are() -> None:
    few, many = (
        arm_styles(["full", "semantic"]),
        arm_styles(["semantic", "mine", "random", "full", "yours", "kcenter"]),
    )
    assert few["semantic"] == many["semantic"]
    assert arm_styles(["random"])["random"] == many["random"]
    crowd = arm_styles([f"arm {number:02d}" for number in range(30)] + ["semantic", "random"])
    assert len({(style.colour, style.marker) for style in crowd.values()}) == 33
    for style in crowd.values():
        assert style.colour in COLOURS
        assert style.colour in PAPER
        ElementTree.fromstring(style.swatch)


def test_the_figure_shows_what_was_measured() -> None:
    found = evidence(
        [
            *experiment(trials=4, fractions=(0.9, 0.5)),
            training("semantic", 0.7, 0, 0.91, np.random.default_rng(0)),
            training("semantic", 0.9, 0, 0.91, np.random.default_rng(1), layer="start"),
        ]
    )
    drawn = curves(found)
    assert list(drawn) == ["semantic", "semantic (start)", "random"]
    assert drawn["semantic"][:, 0].tolist() == [90, 70, 50]
    accuracy = at(found, "semantic", 0.9).summary("accuracy")
    assert accuracy is not None and accuracy.low is not None and accuracy.high is not None
    assert drawn["semantic"][0, 1:] == pytest.approx(
        [100 * accuracy.mean, 100 * accuracy.low, 100 * accuracy.high]
    )
    assert np.isfinite(drawn["semantic"][:, 2]).tolist() == [True, False, True]  # one trial has no interval
    text = page_figure(found, 760, "x", "Words about it.")
    ElementTree.fromstring(text)
    assert not re.search(r"#[0-9a-fA-F]{6}\b", re.sub(r"(url\(|href=\")#[^)\"]+", "", text))
    assert "var(--arm1)" in text
    for tick in ("50%", "70%", "90%", "100%"):
        assert f">{tick}<" in text
    assert text == page_figure(found, 760, "x", "Words about it.")


@pytest.mark.parametrize("fractions", [(0.9,), (0.999,), (0.01, 0.011, 0.012, 0.9)])
def test_odd_fractions_draw(fractions: tuple[float, ...]) -> None:
    found = evidence(moved(dict.fromkeys(fractions, 0.0), trials=1))
    for width in (340, 760):
        ElementTree.fromstring(page_figure(found, width, "x", "Words about it."))


@pytest.mark.parametrize("trials", [1, 3])
def test_the_key_of_a_figure_names_each_arm_once(trials: int, tmp_path: Path) -> None:
    rows = [*moved({0.9: 0.0}, trials=trials), training("mixed", 0.5, 0, 0.9, np.random.default_rng(0))]
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(figure_module.PAPER_STYLE, "svg.fonttype", "none")
        write_figure(tmp_path / "one", [("", evidence(rows))])
        write_figure(tmp_path / "two", [("first", evidence(rows)), ("second", evidence(moved({0.9: 0.0})))])
    for name in ("one", "two"):
        drawn = (tmp_path / f"{name}.svg").read_text(encoding="utf-8")
        for arm in ("semantic", "mixed", "margin of 0.2 points"):
            assert drawn.count(f">{arm}</text>") == 1
    assert ">second</text>" in drawn


# --- the page and the files --------------------------------------------------------------------------------------


def everything() -> list[dict[str, Any]]:
    rows = experiment(trials=3, fractions=(0.9, 0.8))
    rows += [row | {"layer": "start", "seed": row["seed"] + 1} for row in rows if row["arm"] == "semantic"]
    return [*rows, failed("semantic", 0.8, 3, "loss is nan <b>& more</b>")]


def test_training_runs_that_give_one_class_are_named() -> None:
    rows = experiment(trials=3, fractions=(0.9,))
    assert "learned nothing" not in describe_evidence(table(rows))
    dead = {"accuracy": 0.1, "class_accuracy": [0.0, 1.0, *[0.0] * 7, float("nan")]}
    there = [row | dead if row["arm"] == "random" and row["trial"] != 1 else row for row in rows]
    said = (
        "2 training runs learned nothing: they gave all test images one class, and count in the means "
        "(random at 90%, trial 1; random at 90%, trial 3)."
    )
    assert said in describe_evidence(table(there))
    assert said in Page(render(replace(digits(n=60), results=table(there)))).text


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
    found = evidence(everything(), 0.5)
    assert headline(found) in page.text
    assert "rules out a loss of 0.5 points or more" in page.text
    assert "Under other settings protocol zz" in page.text
    assert (
        "1 training run failed and counts in no mean: semantic at 80%, trial 4: loss is nan <b>& more</b>"
        in page.text
    )
    for verdict in verdicts(found)[0]:
        for sentence in verdict.sentences:
            assert sentence in page.text
    for row in table_rows(found):
        assert row["accuracy, %"] in page.text
    assert "semantic (start)" in page.text
    headings = [page.text.index(f"{kept}% kept {n} images") for kept, n in ((90, "45,000"), (80, "40,000"))]
    assert headings == sorted(headings)
    about, further = remarks(found, material.selection.class_names, material.run)
    assert about in page.text and len(further) > 2
    assert all(remark in page.text for remark in further)
    assert "What the training runs show" not in render(replace(material, results=table([])))


def test_a_page_of_one_trial_says_that_it_has_no_interval() -> None:
    rows = [
        row | {"curve": None, "class_accuracy": None, "seconds": None} for row in moved({0.9: -0.1}, trials=1)
    ]
    text = render(replace(digits(n=60), results=table(rows)))
    page = Page(text)
    assert "Keeping 90% can’t be tested: one trial has no interval; train 2 or more per arm." in page.text
    assert "hollow: no interval" in page.text
    assert "interval shaded" not in page.text
    shown = page.text[page.text.index("100% kept") : page.text.index("A minus is a loss")]
    assert "±" not in shown and "−0.10" in shown and "untested" in shown


def test_a_page_without_a_finished_training_run_has_no_empty_table() -> None:
    page = Page(render(replace(digits(n=60), results=table([failed("semantic", 0.8, 3)]))))
    assert (
        "No training run on the full set has finished" in page.text and "1 training run failed" in page.text
    )
    assert "vs. full" not in page.text and "0 networks" not in page.text


def test_files_for_papers(tmp_path: Path) -> None:
    write_evidence(tmp_path / "evidence", table(everything()), CLASSES)
    names = {path.name for path in (tmp_path / "evidence").iterdir()}
    assert names == {"table.md", "table.tex", "table.csv", "accuracy.svg", "accuracy.png"}
    drawn = (tmp_path / "evidence" / "accuracy.svg").read_text(encoding="utf-8")
    ElementTree.fromstring(drawn)
    assert not any(placeholder in drawn for placeholder in COLOURS)
    assert "var(" not in drawn
    assert "fill: #ffffff" in drawn.split("</g>")[0]  # as dark letters need one, also on a dark page
    with Image.open(tmp_path / "evidence" / "accuracy.png") as picture:
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
    for name in ("mine.png", "layers.svg", "loss-curve.png"):
        (tmp_path / name).write_bytes(b"")
    write_evidence(tmp_path, both, CLASSES, protocol="zz")
    for name in ("table.md", "table.tex"):
        assert "Protocol zz, one of 2 in this run." in (tmp_path / name).read_text(encoding="utf-8")
    assert (tmp_path / "mine.png").exists() and (tmp_path / "accuracy.png").exists()
    assert not [path for path in tmp_path.iterdir() if path.stem in FORMER]  # figures of earlier versions
    write_evidence(tmp_path, both, CLASSES)
    assert "Protocol 5f2c9a7e01b3d486, one of 2" in (tmp_path / "table.md").read_text(encoding="utf-8")
    write_evidence(tmp_path, table(moved({}, trials=2)), CLASSES)
    assert not (tmp_path / "accuracy.png").exists()  # nothing to draw


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
    assert "What the training runs show" not in (run / "report.html").read_text(encoding="utf-8")
    pq.write_table(table(moved({0.9: -0.4}, trials=4)), run / "results.parquet")
    tp.report(run)
    text = (run / "report.html").read_text(encoding="utf-8")
    assert "Keeping 90% loses more than 0.2 points." in text
    tp.report(run, margin=1.0)
    assert "loses accuracy, but less than 1 point." in (run / "report.html").read_text(encoding="utf-8")
    assert "1.0" in (run / "evidence" / "table.csv").read_text(encoding="utf-8")
    assert main(["report", str(run), "--margin", "2"]) == 0
    said = capsys.readouterr().out
    assert "Keeping 90% loses accuracy, but less than 2 points." in said
    assert said.endswith(f"Report: {run / 'report.html'}\n")
    assert "but less than 2 points" in (run / "report.html").read_text(encoding="utf-8")
    assert main(["report", str(run), "--margin", "-1"]) == 2
    assert "--margin is -1" in capsys.readouterr().err
    # What has just been trained is what the files show, though others are more.
    mine = moved({0.9: -0.4}, trials=4)
    both = table([*mine, *(row | {"protocol": "zz"} for row in mine[:-1])])
    pq.write_table(both, run / "results.parquet")
    finish(run, Evaluation(both, TrialProgress(7, (), ()), "zz"), 2.0)
    assert "Protocol zz" in (run / "evidence" / "table.md").read_text(encoding="utf-8")
    assert "embed" in json.loads((run / "run.json").read_text())["stages"]
    (run / "results.parquet").write_bytes(b"PAR1 but not whole")
    with pytest.raises(StageError, match="is damaged"):
        tp.report(run)
