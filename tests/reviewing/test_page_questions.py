"""The questions of the review page: two pictures, keys y and n, undo, and a cut at the threshold found."""

from __future__ import annotations

from pathlib import Path

import numpy as np

import tenpercent as tp
from browsing import Look
from reviewing import page, run_of_vectors
from tenpercent.calibration.calibration import MOST


def test_questions_by_keys_lead_to_a_cut(seen: Look, run: Path) -> None:
    seen.page.get_by_role("button", name="Find your threshold").click()
    dialog = seen.page.locator("dialog.questions")
    dialog.get_by_text("0 of 30 to 60 answers").wait_for()
    assert dialog.locator("figure").count() == 2
    seen.page.keyboard.press("y")
    dialog.get_by_text("1 of 30 to 60 answers").wait_for()
    seen.page.keyboard.press("n")
    dialog.get_by_text("2 of 30 to 60 answers").wait_for()
    assert [str(one.kind) for one in tp.Calibration.open(run).log.active()] == ["same", "different"]
    seen.page.keyboard.press("u")
    dialog.get_by_text("1 of 30 to 60 answers").wait_for()
    assert len(tp.Calibration.open(run).answered) == 1

    middle = float(np.median(tp.Calibration.open(run).heights))
    calibration = tp.Calibration.open(run)
    while not calibration.done:
        (question,) = calibration.questions(1)
        calibration = calibration.answer(question, same=question.dissimilarity < middle)
    seen.page.keyboard.press("Escape")
    seen.page.get_by_role("button", name="Find your threshold").click()
    dialog.get_by_role("button", name="Cut there").click()
    found = calibration.estimate
    seen.becomes(lambda: float(seen.page.locator("#threshold-number").input_value()), found.threshold)
    assert seen.api(f"api/cut?threshold={found.threshold}")["removed"] == found.removed
    assert not seen.faults


def test_answers_are_no_marks_and_no_count_of_decisions(seen: Look) -> None:
    seen.page.get_by_role("button", name="Find your threshold").click()
    seen.page.get_by_text("0 of 30 to 60 answers").wait_for()
    seen.page.keyboard.press("y")
    seen.page.get_by_text("1 of 30 to 60 answers").wait_for()
    seen.page.keyboard.press("Escape")
    seen.settle()
    assert seen.page.locator("#decision-count").is_hidden()
    assert seen.page.locator("#feed .marks").count() == 0
    seen.page.locator("[data-view='decisions']").click()
    seen.page.locator(".history").get_by_text("The same").wait_for()
    seen.page.get_by_text("0 decisions and 1 answer in force").wait_for()


def test_the_server_asks_until_no_pair_is_left(tmp_path: Path) -> None:
    rows = np.random.default_rng(0).standard_normal((12, 4))
    with page(run_of_vectors(tmp_path, rows, None, keep=0.01)) as opened:
        asked = 0
        while (told := opened.get("/api/calibration"))["pair"]:
            opened.decide("same" if asked % 2 else "different", *(image["p"] for image in told["pair"]))
            asked += 1
            assert asked <= MOST
        assert told["done"] and told["answers"] == asked == 11


def test_equal_vectors_alone_are_refused_in_a_line(tmp_path: Path) -> None:
    with page(run_of_vectors(tmp_path, np.repeat(np.eye(4), 2, axis=0), None, keep=0.5)) as opened:
        assert "no merges of unequal images" in opened.get("/api/calibration", 400)["error"]
