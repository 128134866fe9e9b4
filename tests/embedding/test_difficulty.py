"""How hard images were to learn is counted as said, outlives a kill, and is what the strategies rank by."""

from __future__ import annotations

import io
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from test_training import QUICK, Images, KilledError, stripes
from torch import nn

import tenpercent as tp
from tenpercent.cli.main import main
from tenpercent.data.store.files import write_table
from tenpercent.data.store.scores import FILE, read_scores, write_scores
from tenpercent.embedding import loop
from tenpercent.embedding.augment import View
from tenpercent.embedding.difficulty import Difficulty
from tenpercent.embedding.loop import Job
from tenpercent.embedding.networks import build
from tenpercent.embedding.precision import Choice
from tenpercent.embedding.settings import Precision
from tenpercent.embedding.training import Classes, train
from tenpercent.errors import StageError, UsageError

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
    if not guesses:
        return np.nan, np.nan
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
        np.testing.assert_allclose([row["el2n"], row["forgetting"]], [el2n, forgetting], atol=1e-6)


@pytest.mark.parametrize("stop_after", [1, 5, 12, 31])
def test_a_kill_changes_no_score(tmp_path: Path, stop_after: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "SAVE_AFTER", 0.0)  # a checkpoint after each step
    array, labels = stripes(241)
    train(Images(array), labels, 3, QUICK, tmp_path / "whole", graded=True)
    with pytest.raises(KilledError):
        train(Images(array, stop_after), labels, 3, QUICK, tmp_path / "broken", graded=True)
    train(Images(array), labels, 3, QUICK, tmp_path / "broken", graded=True)
    assert (tmp_path / "whole" / FILE).read_bytes() == (tmp_path / "broken" / FILE).read_bytes()


class Ranks:
    """Two processes as threads, in the place of Fabric's: what they sum, and where they wait for each other."""

    def __init__(self) -> None:
        self.barrier = threading.Barrier(2, timeout=60)
        self.given: list[torch.Tensor | None] = [None, None]

    def of(self, rank: int) -> Any:
        return OneRank(self, rank)


class OneRank:
    """What `loop._run` takes of Fabric, for one of two ranks; their weights are not kept alike."""

    world_size = 2
    device = torch.device("cpu")

    def __init__(self, ranks: Ranks, rank: int) -> None:
        self.ranks, self.global_rank = ranks, rank

    def all_reduce(self, values: torch.Tensor, reduce_op: str) -> torch.Tensor:
        assert reduce_op == "sum"
        self.ranks.given[self.global_rank] = values.clone()
        self.barrier()
        first, second = self.ranks.given
        assert first is not None and second is not None
        found = first + second
        self.barrier()
        return found

    def barrier(self) -> None:
        self.ranks.barrier.wait()

    def broadcast(self, value: bool) -> bool:
        return value

    def setup(self, network: nn.Module, optimizer: torch.optim.Optimizer) -> Any:
        return network, optimizer

    def autocast(self) -> Any:
        return nullcontext()

    def backward(self, loss: torch.Tensor) -> None:
        loss.backward()  # type: ignore[no-untyped-call]


def test_two_processes_note_each_image_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a checkpoint after each step, from which both go on after a kill."""
    monkeypatch.setattr(loop, "SAVE_AFTER", -1.0)
    monkeypatch.setattr(loop, "AGREE_EVERY", 1)
    noted: list[tuple[list[int], list[list[float]]]] = []
    own = Difficulty.note

    def note(self: Difficulty, logits: torch.Tensor, places: Any) -> None:
        noted.append((places.tolist(), logits.detach().tolist()))
        own(self, logits, places)

    monkeypatch.setattr(Difficulty, "note", note)
    array, labels = stripes(40, side=16)
    settings = replace(QUICK, epochs=3, batch=8)
    labels[7] = -1

    def run(stop: int | None) -> None:
        ranks = Ranks()
        with ThreadPoolExecutor(2) as pool:
            tasks = [pool.submit(loop._run, ranks.of(rank), job(rank, stop)) for rank in (0, 1)]
            for task in tasks:
                task.result()

    def job(rank: int, stop: int | None) -> Job:
        pixels = Images(array, stop)
        view = View.of(Images(array))
        return Job(
            pixels=pixels,
            places=np.flatnonzero(labels >= 0),
            task=Classes(labels, view, settings),
            network=build(None, 8, 3, (16, 16)),
            view=view,
            choice=Choice(Precision.FLOAT32),
            settings=settings,
            batches=5,
            steps=13,
            marks=(5, 10, 13),
            exam=None,
            labels=labels,
            threads=1,
            folder=tmp_path,
            quiet=True,
        )

    tmp_path.joinpath("curve.json").touch()
    with pytest.raises(KilledError):
        run(7)
    assert len(noted) == 14
    run(None)
    assert len(noted) == 2 * 13
    steps = [noted[at : at + 2] for at in range(0, 26, 2)]
    epochs = [[batch for step in part for batch in step] for part in (steps[:5], steps[5:10], steps[10:])]
    for place in np.flatnonzero(labels >= 0).tolist():
        assert sum(place in places for places, _ in epochs[0]) == 1
        (row,) = [one for one in pq.read_table(tmp_path / FILE).to_pylist() if one["position"] == place]
        el2n, forgetting = counted(labels.tolist(), epochs, place)
        assert row["el2n"] == pytest.approx(el2n, abs=1e-5) and row["forgetting"] == forgetting


@pytest.mark.slow
def test_two_real_processes_note_every_image(tmp_path: Path) -> None:
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


def test_each_score_is_of_its_own_image(tmp_path: Path) -> None:
    """One image can't be read, some are held out; those that are black are the hardest."""
    count, broken = 120, 17
    array, labels = stripes(count, side=16)
    hard = np.arange(5, count, 10)  # of all three classes
    array[hard] = 0
    files = []
    for pixels in array:
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, "PNG")
        files.append(file.getvalue())
    files[broken] = b"no image"
    columns = {"image": files, "label": labels}
    (tmp_path / "data").mkdir()
    pq.write_table(pa.table(columns), tmp_path / "data" / "train.parquet")
    run = tmp_path / "run"
    settings = replace(QUICK, epochs=8, batch=16)
    embeddings = tp.embed(tmp_path / "data", out=run, embedder=settings, holdout=0.2)
    assert broken not in embeddings.rows and len(embeddings) < count - 20
    scores = read_scores(run / "training", "el2n", embeddings.rows)
    assert scores is not None
    trained = set(embeddings.rows.tolist())
    assert np.isnan(scores[[row for row in range(len(scores)) if row not in trained]]).all()
    own_hard = [row for row in hard if row in trained]
    rest = sorted(trained - set(own_hard))
    assert np.nanmin(scores[own_hard]) > np.nanmedian(scores[rest]) and len(own_hard) > 5


@pytest.mark.parametrize(
    ("name", "strategy"), [("el2n", "el2n"), ("el2n", "ccs:0.2"), ("forgetting", "forgetting")]
)
def test_strategies_take_the_scores_of_the_run(
    photos: Path, tmp_path: Path, name: str, strategy: str
) -> None:
    run = tmp_path / "run"
    asked = ["--depth", "8", "--epochs", "2", "--batch", "16", "--precision", "float32"]
    assert main(["embed", str(photos), "--out", str(run), *asked]) == 0
    embeddings = tp.Embeddings.load(run / "embeddings")
    assert main(["select", str(run), "--keep", "0.5", "--strategy", strategy]) == 0
    given = read_scores(run / "training", name, embeddings.rows)
    expected = tp.select_by(embeddings, 0.5, strategy=strategy, scores=given)
    assert tp.Selection.load(run / "selection.parquet").kept.tolist() == expected.kept.tolist()


def test_images_that_took_no_part_are_said_before_anything_is_trained(tmp_path: Path) -> None:
    array, labels = stripes(60, side=16)
    files = []
    for pixels in array:
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, "PNG")
        files.append(file.getvalue())
    labels[[3, 9]] = -1
    table = pa.table({"image": files, "label": pa.array(labels)})
    (tmp_path / "data").mkdir()
    pq.write_table(table, tmp_path / "data" / "train.parquet")
    tp.embed(tmp_path / "data", out=tmp_path / "run", embedder=replace(QUICK, epochs=1), holdout=0.2)
    with pytest.raises(UsageError, match=r"of \d+ took no part in the training"):
        tp.select_by(tmp_path / "run", 0.5, strategy="forgetting")


def test_scores_go_by_the_order_of_rows_whatever_that_of_ids(tmp_path: Path) -> None:
    write_scores(tmp_path, np.array([0, 2]), {"el2n": np.array([0.25, 0.75])})
    found = read_scores(tmp_path, "el2n", np.array([8, 2, 5]))
    np.testing.assert_array_equal(found, [np.nan, np.nan, 0.25, *[np.nan] * 5, 0.75])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            {"position": list(range(99)), "el2n": [0.0] * 99},
            r"has 99 rows of position, el2n, and 9 images need el2n",
        ),
        ({"position": [0], "other": [0.0]}, "has 1 rows of position, other"),
    ],
)
def test_scores_of_another_run_are_refused(tmp_path: Path, change: dict[str, Any], said: str) -> None:
    write_table(tmp_path / FILE, pa.table(change), {"format": 1})
    with pytest.raises(StageError, match=said):
        read_scores(tmp_path, "el2n", np.arange(9))
    write_table(tmp_path / FILE, pa.table(change), {"format": 2})
    with pytest.raises(StageError, match="has format 2, this version reads up to 1"):
        read_scores(tmp_path, "el2n", np.arange(9))


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
