"""How hard images were to learn is counted as said, outlives a kill, and is what the strategies rank by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import tenpercent as tp
from tenpercent.cli import main
from tenpercent.embed import loop
from tenpercent.embed.difficulty import Difficulty
from tenpercent.embed.training import train
from tenpercent.errors import UsageError
from tenpercent.store.scores import FILE, read_scores
from test_training import QUICK, Images, KilledError, stripes

Batch = tuple[list[int], list[list[float]]]  # places, and the logits of each


@st.composite
def trainings(draw: st.DrawFn) -> tuple[list[int], list[list[Batch]]]:
    """Return labels of up to 6 images, −1 for none, and what each epoch, the last one cut short, said of the others."""
    labels = draw(st.lists(st.integers(-1, 2), min_size=1, max_size=6).filter(lambda found: max(found) >= 0))
    labelled = [place for place, label in enumerate(labels) if label >= 0]
    logits = st.lists(st.integers(-2, 2).map(float), min_size=3, max_size=3)
    epochs = []
    for _ in range(draw(st.integers(1, 5))):
        order = draw(st.permutations(labelled))
        cut = draw(st.integers(0, len(order)))
        batches = [part for part in (order[:cut], order[cut:]) if part]
        epochs.append([(part, [draw(logits) for _ in part]) for part in batches])
    if draw(st.booleans()):
        epochs[-1] = epochs[-1][:1]
    return labels, epochs


def counted(labels: Sequence[int], epochs: list[list[Batch]], place: int) -> tuple[float, float]:
    """Return both scores of one image, image by image as the publications say it."""
    early = -(-len(epochs) // 2)
    guesses, errors = [], []
    for epoch, batches in enumerate(epochs, 1):
        for places, logits in batches:
            if place in places:
                own = np.array(logits[places.index(place)])
                guesses.append(int(np.argmax(own)) == labels[place])
                share = np.exp(own) / np.exp(own).sum()
                share[labels[place]] -= 1
                if epoch <= early:
                    errors.append(float(np.sqrt((share**2).sum())))
    forgotten = sum(before and not after for before, after in pairwise(guesses))
    return (float(np.mean(errors)) if errors else 0.0), float(forgotten if any(guesses) else len(guesses))


@settings(deadline=None)
@given(trainings())
def test_scores_are_those_counted_image_by_image(
    tmp_path_factory: pytest.TempPathFactory, case: tuple[list[int], list[list[Batch]]]
) -> None:
    labels, epochs = case
    found = Difficulty.of(np.array(labels), len(epochs), torch.device("cpu"))
    for number, batches in enumerate(epochs, 1):
        for places, logits in batches:
            found.note(torch.tensor(logits), np.array(places))
        found.end_epoch(number)
    folder = tmp_path_factory.mktemp("training")
    places = np.flatnonzero(np.array(labels) >= 0)
    found.write(folder, places)
    table = pq.read_table(folder / FILE).to_pylist()
    assert [row["position"] for row in table] == places.tolist()
    for row in table:
        el2n, forgetting = counted(labels, epochs, row["position"])
        assert row["el2n"] == pytest.approx(el2n, abs=1e-6) and row["forgetting"] == forgetting


@pytest.mark.parametrize("stop_after", [1, 5, 12, 31])
def test_a_kill_changes_no_score(tmp_path: Path, stop_after: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "SAVE_AFTER", 0.0)  # a checkpoint after each step
    array, labels = stripes(241)
    train(Images(array), labels, 3, QUICK, tmp_path / "whole", graded=True)
    with pytest.raises(KilledError):
        train(Images(array, stop_after), labels, 3, QUICK, tmp_path / "broken", graded=True)
    train(Images(array), labels, 3, QUICK, tmp_path / "broken", graded=True)
    assert (tmp_path / "whole" / FILE).read_bytes() == (tmp_path / "broken" / FILE).read_bytes()


def test_two_processes_note_every_image(tmp_path: Path) -> None:
    array, labels = stripes(96)
    labels[5] = -1
    train(Images(array), labels, 3, replace(QUICK, devices=2), tmp_path, graded=True)
    scores = read_scores(tmp_path, "el2n", np.arange(96))
    assert scores is not None and np.isnan(scores[5])
    rest = np.delete(scores, 5)
    assert (rest > 0).all() and (rest < 2**0.5).all()


def test_a_training_that_is_not_asked_notes_nothing(tmp_path: Path) -> None:
    array, labels = stripes(64)
    train(Images(array), labels, 3, replace(QUICK, epochs=1), tmp_path)
    assert read_scores(tmp_path, "el2n", np.arange(64)) is None


def test_strategies_take_the_scores_of_the_run(photos: Path, tmp_path: Path) -> None:
    """One of the images can't be read: the scores are those of the others, by their rows in the source."""
    run = tmp_path / "run"
    asked = ["--depth", "8", "--epochs", "2", "--batch", "16", "--precision", "float32"]
    assert main(["run", str(photos), "--out", str(run), *asked]) == 0
    embeddings = tp.Embeddings.load(run / "embeddings")
    noted = pq.read_table(run / "training" / FILE)
    by_row = dict(zip(sorted(embeddings.rows.tolist()), noted["el2n"].to_pylist(), strict=True))
    scores = np.array([by_row[row] for row in embeddings.rows.tolist()])
    for name, strategy in (("el2n", "el2n"), ("el2n", "ccs:0.2"), ("forgetting", "forgetting")):
        assert main(["select", str(run), "--keep", "0.5", "--strategy", strategy]) == 0
        given = read_scores(run / "training", name, embeddings.rows)
        expected = tp.select_by(embeddings, 0.5, strategy=strategy, scores=given)
        assert tp.Selection.load(run / "selection.parquet").kept.tolist() == expected.kept.tolist()
    hardest = tp.select_by(run, 0.5, strategy="el2n").kept_mask
    for label in (0, 1):
        own = embeddings.labels == label
        assert scores[own & hardest].min() >= scores[own & ~hardest].max()


def test_a_run_without_scores_says_so_before_anything_is_trained(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    asked = ["--depth", "8", "--steps", "2", "--batch", "16", "--precision", "float32", "--holdout", "0.3"]
    assert main(["embed", str(photos), "--out", str(run), *asked]) == 0
    (run / "training" / FILE).unlink()
    with pytest.raises(UsageError, match=r"el2n needs a score of each image, and .* has none"):
        tp.select_by(run, 0.5, strategy="el2n")
    capsys.readouterr()
    call = ["evaluate", str(run), "--preset", "digits", "--keep", "0.5", "--arms", "full", "forgetting"]
    assert main(call) == 2
    assert "forgetting needs a score of each image" in capsys.readouterr().err
