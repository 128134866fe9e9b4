"""A threshold from a person's answers about pairs: its interval holds theirs, and the answers last."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import tenpercent as tp
from examples import some
from tenpercent.calibration.contact_sheet import write_contact_sheet
from tenpercent.calibration.estimate import FEWEST
from tenpercent.calibration.posterior import Answer, ThresholdPosterior
from tenpercent.cli.main import main
from tenpercent.data.sources.opening import open_source
from tenpercent.decisions.log import Decision, DecisionLog

RUNS = some(200)


@dataclass
class LogInMemory:
    """The answers of a simulated person: no file, so that hundreds of them take seconds."""

    path: Path = Path("RUN/decisions.sqlite")
    made: list[Decision] = field(default_factory=list)

    def active(self):
        return tuple(self.made)

    def add(self, kind, images):
        self.made.append(Decision(len(self.made) + 1, "", kind, tuple(images)))


def tree(spread: float, seed: int = 0) -> tp.Merges:
    """Return a whole tree of 240 vectors in clusters of three widths."""
    random = np.random.default_rng(seed)
    centres = random.normal(size=(24, 16)).repeat(10, axis=0)
    widths = random.choice([0.01, 0.1, 1.0], size=(240, 1))
    vectors = centres + spread * widths * random.normal(size=(240, 16))
    return tp.cluster(tp.Embeddings.from_numpy(vectors.astype("f4")), keep=0.02)


def answered(merges: tp.Merges, threshold: float, slope: float, errors: float, seed: int) -> tp.Calibration:
    """Return the calibration of a person with this threshold, who errs in a share of the answers."""
    random = np.random.default_rng(seed)
    calibration = tp.Calibration(merges, LogInMemory())
    while not calibration.done:
        for question in calibration.questions(6):
            same = random.logistic(np.log(threshold), slope) > np.log(question.dissimilarity)
            calibration = calibration.answer(question, same=bool(same ^ (random.random() < errors)))
    return calibration


def test_the_interval_holds_the_threshold_of_people_who_err_in_a_tenth():
    trees, random, held = [tree(0.5), tree(1.0), tree(2.0)], np.random.default_rng(1), 0
    for run in range(RUNS):
        merges = trees[run % 3]
        low, high = np.log(np.quantile(merges.height, [0.05, 0.95]))
        threshold, slope = float(np.exp(random.uniform(low, high))), [0.01, 0.1, 0.3][run % 7 % 3]
        found = answered(merges, threshold, slope, 0.1, run).estimate
        held += found.low <= threshold <= found.high
    assert held >= 0.85 * RUNS


def test_answers_that_separate_perfectly_need_no_special_case():
    posterior = ThresholdPosterior(0.001, 1.0, [Answer(d, d < 0.1) for d in np.geomspace(0.001, 1, 40)])
    low, middle, high = posterior.quantiles(0.05, 0.5, 0.95)
    assert 0.06 < low < 0.09 < middle < 0.11 < high < 0.16


def test_no_answers_say_nothing_and_equal_answers_point_beyond_the_tree():
    merges = tree(1.0)
    none = tp.Calibration(merges, LogInMemory())
    assert "no threshold" in str(none.estimate)
    every = answered(merges, 1e9, 0.01, 0, 0).estimate
    assert every.beyond and "--threshold" in str(every)
    assert every.removed == len(merges)
    nothing = answered(merges, 1e-9, 0.01, 0, 0).estimate
    assert nothing.below and nothing.removed == 0


def test_a_whole_tree_offers_no_deeper_one() -> None:
    random = np.random.default_rng(0)
    merges = tp.cluster(tp.Embeddings.from_numpy(random.normal(size=(40, 4)).astype("f4")), threshold=2)
    found = answered(merges, 1e9, 0.01, 0, 0).estimate
    assert not found.beyond and found.removed == 39 and "cluster" not in str(found)


def test_duplicates_that_differ_by_rounding_are_neither_asked_about_nor_part_of_the_range() -> None:
    random = np.random.default_rng(0)
    rows = random.normal(size=(60, 8))
    merges = tp.cluster(tp.Embeddings.from_numpy(np.concatenate([rows, rows[:20] * (1 + 1e-7)])), keep=0.3)
    assert 0 <= merges.height[0] < 1e-9 < merges.height[25]
    calibration = tp.Calibration(merges, LogInMemory())
    assert calibration.heights[0] > 1e-3 and len(calibration.heights) == len(merges) - 20
    assert min(one.dissimilarity for one in calibration.questions(36)) > 1e-3


def test_what_it_removes_is_what_a_cut_there_removes():
    merges = tree(1.0)
    found = answered(merges, float(np.quantile(merges.height, 0.4)), 0.05, 0, 3).estimate
    for height, count in (
        (found.threshold, found.removed),
        (found.low, found.fewest),
        (found.high, found.most),
    ):
        assert len(tp.select(merges, tp.Cut(threshold=height)).removed) == count


def test_every_pair_is_asked_once_and_lies_where_the_tree_merges():
    merges, calibration = tree(1.0), None
    calibration = tp.Calibration(merges, LogInMemory())
    known = {(int(a), int(b)): float(d) for a, b, d in zip(merges.a, merges.b, merges.height, strict=True)}
    asked = []
    for _ in range(60):
        question = calibration.questions(1)[0]
        assert calibration.questions(1)[0] == question
        assert known[question.first, question.second] == question.dissimilarity
        asked.append(question[:2])
        calibration = calibration.answer(question, same=question.dissimilarity < 0.1)
    assert len(set(asked)) == 60


@pytest.fixture
def run(tmp_path):
    """A run of twenty small pictures, ten of them nearly equal."""
    random = np.random.default_rng(0)
    photos = tmp_path / "photos"
    photos.mkdir()
    for number in range(10):
        picture = random.integers(0, 255, (12, 12, 3), dtype=np.uint8)
        Image.fromarray(picture).save(photos / f"{number}.png")
        Image.fromarray(picture ^ random.integers(0, 2 + number, picture.shape, dtype=np.uint8)).save(
            photos / f"{number} again.png"
        )
    folder = tmp_path / "run"
    tp.run(photos, out=folder, embedder=lambda pixels: pixels.reshape(len(pixels), -1).astype("f4") - 127)
    return folder


def replies(monkeypatch, given):
    """Let the terminal's user type these lines, then end the input."""
    lines = iter(given)

    def reply(_):
        try:
            return next(lines)
        except StopIteration:
            raise EOFError from None

    monkeypatch.setattr("builtins.input", reply)


def test_a_terminal_asks_undoes_stops_and_goes_on(run, monkeypatch, capsys):
    replies(monkeypatch, ["y", "what?", "n", "u", "y", "q"])
    assert main(["calibrate", str(run)]) == 0
    said = capsys.readouterr().out
    assert "calibration.png" in said and "After 2 answers" in said and f"{FEWEST - 2} more" in said
    with Image.open(run / "calibration.png") as sheet:
        assert sheet.width > sheet.height / 3
    assert [str(one.kind) for one in DecisionLog(run).active()] == ["same", "same"]
    replies(monkeypatch, ["y"] * 100)
    assert main(["calibrate", str(run)]) == 0
    assert len(tp.Calibration.open(run).answered) > 2


def test_answers_change_no_cut_and_are_shared_like_decisions(run, tmp_path, caplog):
    before = (run / "selection.parquet").read_bytes()
    calibration = tp.Calibration.open(run)
    for question in calibration.questions(4):
        calibration = calibration.answer(question, same=question.dissimilarity < 0.5)
    tp.select(run)
    assert (run / "selection.parquet").read_bytes() == before
    assert "decision" not in caplog.text
    lines = tmp_path / "decisions.jsonl"
    assert main(["decisions", str(run), "--export", str(lines)]) == 0
    (run / "decisions.sqlite").unlink()
    assert not tp.Calibration.open(run).answered
    assert main(["decisions", str(run), "--import", str(lines)]) == 0
    assert tp.Calibration.open(run).answered == calibration.answered


def test_a_tree_without_unequal_merges_says_so(tmp_path, capsys):
    vectors = tmp_path / "vectors.npy"
    np.save(vectors, np.repeat(np.eye(4, dtype="f4"), 2, axis=0))
    tp.embed(vectors, out=tmp_path / "run")
    tp.cluster(tmp_path / "run", keep=0.5)
    assert main(["calibrate", str(tmp_path / "run")]) == 2
    assert "cluster deeper: tenpercent cluster" in capsys.readouterr().err


def test_letters_beyond_ascii_are_drawn_in_a_contact_sheet(tmp_path, run):
    images = open_source(tmp_path / "photos")
    sheets = []
    for name in ("ü", "ö", "ж", "a\nb"):
        write_contact_sheet(tmp_path / "sheet.png", images, [("1", (0, 1), (name, ""))])
        sheets.append((tmp_path / "sheet.png").read_bytes())
    assert len(set(sheets)) == 4  # a font without a letter draws the same box for each
    write_contact_sheet(tmp_path / "sheet.png", images, [("1", (0, 1), ("a\\nb", ""))])
    assert (tmp_path / "sheet.png").read_bytes() == sheets[3]


def test_a_picture_that_is_gone_leaves_its_place(tmp_path, run):
    (tmp_path / "photos" / "3.png").unlink()
    from tenpercent.selection.stored import OpenRun

    images, _ = OpenRun.open(run).present()
    write_contact_sheet(tmp_path / "sheet.png", images, [("1", (0, 1), ("a" * 80, "b"))] * 3)
    assert (tmp_path / "sheet.png").exists()
