"""Evaluate, as a person calls it: training runs, their rows, what is said of them, and what is refused."""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

import tenpercent as tp
from forked import start, start_command
from shuffled import Shuffled
from tenpercent.cli.main import main
from tenpercent.cli.parser import build_parser
from tenpercent.cli.values import request_of
from tenpercent.data.sources.options import SourceOptions
from tenpercent.data.sources.source import ImageSource
from tenpercent.data.store.run_folder import RunFolder, Stage
from tenpercent.decisions.log import DecisionLog, ImageName, Kind
from tenpercent.embedding import loop, pixels
from tenpercent.embedding.precision import Choice
from tenpercent.embedding.recipe import Flip, Recipe
from tenpercent.embedding.settings import Precision
from tenpercent.errors import TrainingFailedError, UsageError
from tenpercent.evaluation import experiment, stage, training, trial_tasks
from tenpercent.evaluation.claims import Claims
from tenpercent.evaluation.evaluation_set import given_set
from tenpercent.evaluation.preparation import Preparation
from tenpercent.evaluation.presets import Protocol
from tenpercent.evaluation.results import unpacked
from tenpercent.evaluation.stage import SEARCHED, EvaluationRequest, evaluate, find, finish, protocol_of
from tenpercent.linkage.threads import cpus

CLASSES = 3
SHORT = Protocol(
    tp.Supervised(depth=8, steps=8, batch=16, precision="float32", recipe=Recipe(flip=Flip.NONE)),
    evaluations=2,
)


def draw_images(folder: Path, each: int, seed: int, side: int = 20, classes: int = CLASSES) -> None:
    """Noisy images whose brightest third tells the class; larger than what trains in processes side by side."""
    random = np.random.default_rng(seed)
    for code in range(classes):
        (folder / f"class{code}").mkdir(parents=True)
        for number in range(each):
            pixels = random.integers(0, 120, (side, side, 3)).astype(np.uint8)
            pixels[code * side // 3 : (code + 1) * side // 3] += 100
            Image.fromarray(pixels).save(folder / f"class{code}" / f"{number:03d}.png")


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """20 images of each class to train on and 5 to test on."""
    folder = tmp_path_factory.mktemp("photos")
    draw_images(folder / "train", 20, 0)
    draw_images(folder / "test", 5, 1)
    return folder


def embedded(source: Path, out: Path, **more: Any) -> Path:
    tp.embed(source, out=out, embedder=SHORT.training, **more)
    return out


@pytest.fixture(scope="module")
def run(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of them, evaluated once."""
    out = embedded(photos, tmp_path_factory.mktemp("runs") / "run")
    tp.cluster(out, 0.5)
    tp.select(out, keep=0.8)
    evaluate(out, EvaluationRequest(keep=(0.5,), trials=2), SHORT)
    return out


def test_each_training_has_a_row_that_says_what_came_out(run: Path) -> None:
    rows = pq.read_table(run / "results.parquet").to_pylist()
    assert [(r["arm"], r["fraction"], r["trial"], r["n"]) for r in rows] == [
        (arm, fraction, trial, n)
        for arm, fraction, n in (("full", 1.0, 60), ("random", 0.5, 30), ("semantic", 0.5, 30))
        for trial in range(2)
    ]
    assert len({row["seed"] for row in rows}) == len(rows)
    for row in rows:
        assert row["status"] == "done" and row["steps"] == 8 and row["top5"] is None
        assert 0 <= row["accuracy"] <= row["best_accuracy"] <= 1
        assert row["accuracy"] == pytest.approx(np.mean(row["class_accuracy"]))
        assert [entry["step"] for entry in row["curve"]] == [4, 8]
        assert row["curve"][-1]["test_accuracy"] == row["accuracy"]
        assert (row["removed_accuracy"] is None) == (row["arm"] == "full")
        assert len(unpacked(row["kept"], 60)) == row["n"]
    kept = tp.select(tp.cluster(tp.Embeddings.load(run / "embeddings"), 0.5), keep=0.5).rows
    assert [unpacked(r["kept"], 60).tolist() for r in rows if r["arm"] == "semantic"] == [kept.tolist()] * 2
    assert pq.read_table(run / "selection.parquet").num_rows == 60  # the run's own selection stays as it was
    assert RunFolder(run).stage(Stage.SELECT) is not None


def test_what_is_there_is_not_trained_again_and_more_adds_to_it(run: Path) -> None:
    before = pq.read_table(run / "results.parquet")
    files = {path: path.stat().st_mtime_ns for path in (run / "trainings").glob("*.parquet")}
    found = evaluate(run, EvaluationRequest(keep=(0.5,), trials=2), SHORT)
    assert found.table.equals(before) and found.progress.done == 6
    more = evaluate(run, EvaluationRequest(keep=(0.8,), arms=("kcenter",), trials=1), SHORT)
    assert len(more.table) == 7 and more.progress.done == 1
    assert {path: path.stat().st_mtime_ns for path in files} == files


def test_trainings_as_tasks_come_to_the_same(run: Path, tmp_path: Path) -> None:
    request = EvaluationRequest(keep=(0.5,), trials=2)
    expected = [row for row in evaluate(run, request, SHORT).own.to_pylist() if row["arm"] in request.arms]
    spread = Path(shutil.copytree(run, tmp_path / "run"))
    for row in sorted((spread / "trainings").glob("*-*.parquet")):
        if not row.name.startswith("full-1.0-000-"):
            row.unlink()
    engine = Shuffled()
    found = evaluate(spread, request, SHORT, engine)
    assert found.progress.done == len(engine.done) + 1 == len(expected)
    assert {task.gpu for task in engine.done} == {True}
    for row, other in zip(found.own.to_pylist(), expected, strict=True):
        for name in ("arm", "fraction", "trial", "seed", "n", "kept", "steps", "status"):
            assert row[name] == other[name]
        assert row["loss"] == pytest.approx(other["loss"], rel=1e-4)
    assert not list(spread.rglob("*.partial")) and not list((spread / "trainings").glob("*.claim"))


def test_a_training_of_another_process_is_waited_for(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spread = Path(shutil.copytree(run, tmp_path / "run"))
    gone = sorted((spread / "trainings").glob("full-*.parquet"))[0]
    elsewhere = gone.rename(tmp_path / gone.name)
    claims = Claims(spread / "trainings")
    waited = []

    def finished(_: float) -> None:
        waited.append(1)
        shutil.copy(elsewhere, gone)

    monkeypatch.setattr(trial_tasks.time, "sleep", finished)
    with claims.claim(gone.stem) as ours:
        assert ours
        found = evaluate(spread, EvaluationRequest(keep=(0.5,), trials=2), SHORT, Shuffled())
    assert waited == [1] and found.progress.done == 6
    assert gone.read_bytes() == elsewhere.read_bytes()


@pytest.mark.parametrize("words", [["--find"], ["--network", "head"]])
def test_what_is_not_spread_refuses_machines(
    run: Path, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evaluate", str(run), *words, "--workers", "2"]) == 2
    assert "--workers has no meaning for" in capsys.readouterr().err


def test_what_is_known_is_said_and_shown(run: Path) -> None:
    found = evaluate(run, EvaluationRequest(keep=(0.5,), trials=2), SHORT)
    said = finish(run, found)
    assert "eeping 50%" in said and f"Report: {run / 'report.html'}" in said
    assert {path.name for path in (run / "evidence").iterdir()} >= {"table.md", "table.tex", "table.csv"}
    assert "What the training runs show" in (run / "report.html").read_text()


def test_the_command_says_the_same(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["evaluate", str(run), "--keep", "0.5", "--arms", "full", "semantic", "--trials", "1"]
    assert main([*words, "--preset", "digits", "--steps", "4", "--batch", "16", "--length", "epochs"]) == 0
    out, err = capsys.readouterr()
    assert "one trial has no interval" in out and "the embedding was trained with other settings" in err
    rows = [r for r in pq.read_table(run / "results.parquet").to_pylist() if r["steps"] < 8]
    assert {(row["arm"], row["steps"]) for row in rows} == {("full", 4), ("semantic", 2)}


def test_without_a_preset_trainings_are_like_the_embeddings(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evaluate", str(run), "--keep", "0.5", "--arms", "full", "--trials", "1"]) == 0
    rows = pq.read_table(run / "results.parquet").to_pylist()
    assert any(len(row["curve"]) == 8 for row in rows)  # 20 evaluations, but there are no more than 8 steps
    assert "other settings" not in capsys.readouterr().err


def test_what_is_held_out_is_seen_by_nothing_but_the_test(photos: Path, tmp_path: Path) -> None:
    out = embedded(photos / "train", tmp_path / "run", holdout=0.2)
    evaluate(out, EvaluationRequest(keep=(0.5,), trials=1), SHORT)
    held = set(pq.read_table(out / "holdout.parquet")["row"].to_pylist())
    assert len(held) == 12
    assert not held & set(tp.Embeddings.load(out / "embeddings").rows.tolist())
    for row in pq.read_table(out / "results.parquet").to_pylist():
        assert not held & set(unpacked(row["kept"], 60).tolist())
        assert round(row["accuracy"] * 12, 9) == round(row["accuracy"] * 12)


def test_a_list_of_images_is_an_arm(run: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "mine.npy", np.arange(0, 60, 4))
    found = evaluate(
        run, EvaluationRequest(arms=(f"mine={tmp_path / 'mine.npy'}",), keep=(), trials=1), SHORT
    )
    (row,) = [row for row in found.table.to_pylist() if row["arm"] == "mine"]
    assert (row["fraction"], row["n"]) == (0.25, 15)
    assert unpacked(row["kept"], 60).tolist() == list(range(0, 60, 4))


@pytest.mark.parametrize(
    "embedder",
    [SHORT.training, tp.SelfSupervised(depth=8, steps=16, batch=16, dim=8, precision="float32")],
    ids=["supervised", "selfsupervised"],
)
def test_several_embeddings_and_layers(
    photos: Path, tmp_path: Path, embedder: tp.Supervised | tp.SelfSupervised
) -> None:
    out = tmp_path / "run"
    tp.embed(photos, out=out, embedder=embedder)
    asked = EvaluationRequest(
        keep=(0.5,), arms=("semantic",), trials=1, layers=("middle", "end"), embeddings=2
    )
    rows = evaluate(out, asked, SHORT).table.to_pylist()
    assert sorted((row["layer"], row["embedding"]) for row in rows) == [
        (layer, embedding) for layer in ("end", "middle") for embedding in (0, 1)
    ]
    assert len({row["kept"] for row in rows}) > 1


def test_photos_are_seen_as_small_as_by_the_embedding(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for split, each in (("train", 8), ("test", 3)):
        draw_images(tmp_path / "large" / split, each, each, side=80)
    out = tmp_path / "run"
    tp.embed(tmp_path / "large", out=out, embedder=replace(SHORT.training, side=16))
    protocol = protocol_of(out, None)[0].override(steps=4)
    assert protocol.training == replace(SHORT.training, side=16, steps=4)
    seen = []
    own = pixels.scan

    def scan(*args: Any, **more: Any) -> pixels.Scan:
        found = own(*args, **more)
        seen.append(found.pixels.size)
        return found

    monkeypatch.setattr(pixels, "scan", scan)
    assert (
        evaluate(out, EvaluationRequest(keep=(0.5,), arms=("full",), trials=1), protocol).progress.done == 1
    )
    assert seen == [(16, 16), (16, 16)]
    call = ["evaluate", str(out), "--preset", "digits", "--keep", "0.5", "--arms", "full", "--trials", "1"]
    assert main([*call, "--steps", "2", "--side", "24"]) == 0
    assert seen[2:] == [(24, 24), (24, 24)]
    assert "the embedding saw photos at 16 pixels; train on the same with --side 16" in caplog.text


def test_a_search_ends_with_what_is_known(run: Path) -> None:
    asked = EvaluationRequest(keep=(0.9, 0.5), arms=("full", "semantic"), trials=3)
    found, ended = find(run, asked, SHORT, margin=60.0)
    assert ended.decided and ended.fraction == 0.5
    assert found.progress.done >= 2
    with pytest.raises(UsageError, match="--find compares one strategy"):
        find(run, EvaluationRequest(arms=("semantic", "kcenter")), SHORT)
    for margin in (0.0, float("inf"), float("nan")):
        with pytest.raises(UsageError, match=f"--margin is {margin:g}; it must be above 0 and at most 100"):
            find(run, asked, SHORT, margin=margin)


def test_results_of_another_test_set_or_tree_are_not_the_same(photos: Path, tmp_path: Path) -> None:
    out = embedded(photos, tmp_path / "run")
    draw_images(tmp_path / "other", 5, 2)
    keys = set()
    for asked in (
        EvaluationRequest(keep=(0.5,), arms=("random",), trials=1),
        EvaluationRequest((0.5,), ("random",), 1, test=str(tmp_path / "other")),
    ):
        found = evaluate(out, asked, SHORT)
        assert found.progress.done == 1
        keys.add(found.protocol)
    tp.cluster(out, 0.5, within="all")
    keys.add(evaluate(out, EvaluationRequest((0.5,), ("random",), 1), SHORT).protocol)
    assert len(keys) == 3 and len(pq.read_table(out / "results.parquet")) == 3


def test_images_are_chosen_by_the_layer_that_the_run_was_clustered_by(photos: Path, tmp_path: Path) -> None:
    out = embedded(photos, tmp_path / "run")
    tp.cluster(out, 0.5, layer="middle")
    (row,) = evaluate(out, EvaluationRequest((0.5,), ("semantic",), 1), SHORT).table.to_pylist()
    kept = tp.select(tp.cluster(tp.Embeddings.load(out / "embeddings", "middle"), 0.5), keep=0.5).rows
    assert row["layer"] == "middle" and unpacked(row["kept"], 60).tolist() == kept.tolist()


def test_a_precision_that_is_measured_is_the_same_for_all(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured: list[int] = []

    def choose(*_: Any) -> Choice:
        measured.append(1)
        return Choice(Precision.BFLOAT16, channels_last=False)

    monkeypatch.setattr(training, "choose", choose)
    out = embedded(photos, tmp_path / "run")
    auto = SHORT.override(precision="auto")
    for trials in (1, 2):
        evaluate(out, EvaluationRequest((0.5,), ("random",), trials), auto)
    (kept,) = (out / "trainings").glob("precision-*.json")
    assert measured == [1] and json.loads(kept.read_text())["precision"] == "bf16"
    whole = [
        row["accuracy"]
        for row in evaluate(out, EvaluationRequest((0.5,), ("random",), 2), auto).table.to_pylist()
    ]
    other = embedded(photos, tmp_path / "other")
    given = evaluate(other, EvaluationRequest((0.5,), ("random",), 2), SHORT.override(precision="bf16")).table
    assert given["accuracy"].to_pylist() == whole


def test_random_draws_the_shares_of_the_runs_own_cut(photos: Path, tmp_path: Path) -> None:
    out = embedded(photos, tmp_path / "run")
    tp.cluster(out, 1 / 3, layer="middle")
    tp.select(out, tp.Cut(keep=1 / 3, budget="global", min_per_class=2))
    rows = evaluate(out, EvaluationRequest((1 / 3,), ("random", "semantic"), 1), SHORT).table.to_pylist()
    merges = tp.cluster(tp.Embeddings.load(out / "embeddings", "middle"), 1 / 3)
    kept = tp.select(merges, tp.Cut(1 / 3, budget="global", min_per_class=2))
    assert kept.labels is not None
    shares = np.bincount(kept.labels[kept.kept_by_id]).tolist()
    assert sum(shares) == 20  # of three classes: the shares differ
    assert unpacked(rows[1]["kept"], 60).tolist() == kept.rows.tolist()
    assert np.bincount(unpacked(rows[0]["kept"], 60) // 20).tolist() == shares


def request_for(out: Path, *words: str) -> EvaluationRequest:
    return request_of(build_parser().parse_args(["evaluate", str(out), *words]), trials=1)


def test_what_is_left_open_is_as_the_runs_own_selection(photos: Path, tmp_path: Path) -> None:
    out = embedded(photos, tmp_path / "run")
    assert request_for(out) == EvaluationRequest(trials=1)
    tp.cluster(out, 0.4)
    merges = tp.cluster(tp.Embeddings.load(out / "embeddings"), 0.4)
    cut = tp.select(out, tp.Cut(threshold=float(merges.height[24])))
    assert len(set(np.bincount(cut.labels[cut.kept_by_id]))) > 1  # type: ignore[index]
    asked = request_for(out, "--arms", "semantic")
    (row,) = evaluate(out, asked, SHORT).table.to_pylist()
    assert unpacked(row["kept"], 60).tolist() == cut.rows.tolist()
    tp.select_by(out, 0.7, strategy="kcenter")
    assert (request_for(out).keep, request_for(out).arms) == ((0.7,), ("full", "random", "kcenter"))
    assert request_for(out, "--find").keep == SEARCHED
    asked = request_for(out, "--keep", "0.4", "--arms", "random", "spread")
    assert (asked.keep, asked.arms) == ((0.4,), ("random", "spread"))
    assert request_for(out, "--arms", "full", "random", "mine=list.txt").keep == ()
    assert request_for(out, "--arms", "semantic", "mine=list.txt").keep == (0.7,)


def test_what_takes_no_part_is_said(photos: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    out = embedded(photos, tmp_path / "run")
    tp.cluster(out, 0.5)
    ids = tp.Embeddings.load(out / "embeddings").ids
    tp.select(out, tp.Cut(keep=0.5, keep_ids=tuple(ids[:2])))
    evaluate(out, EvaluationRequest((0.5,), ("full",), 1), SHORT)
    assert "2 images of --keep-ids ignored here" in caplog.text
    protocol_of(out, "article-fashion")
    assert "--preset article-fashion selects with --within all" in caplog.text
    assert "decisions" not in caplog.text
    DecisionLog(out).add(Kind.REMOVE, [ImageName(str(ids[0]))])
    evaluate(out, EvaluationRequest((0.5,), ("semantic", "kcenter"), 1), SHORT)
    assert "decisions about images do not apply to kcenter" in caplog.text
    caplog.clear()
    find(out, EvaluationRequest((0.5,), ("full", "kcenter"), 2), SHORT, margin=60.0)
    assert "decisions about images do not apply to kcenter" in caplog.text


def test_trainings_may_begin_from_the_weights_of_a_model(photos: Path, tmp_path: Path) -> None:
    weights = tmp_path / "weights.pt"
    import timm

    torch.save(timm.create_model("test_resnet", num_classes=7).state_dict(), weights)
    out = embedded(photos, tmp_path / "run")
    base = SHORT.override(network="test_resnet", precision="auto")
    tuned = base.fine_tuned(weights)
    asked = EvaluationRequest((0.5,), ("full", "semantic"), 1)
    found = evaluate(out, asked, tuned)
    assert [row["status"] for row in found.table.to_pylist()] == ["done", "done"]
    assert Protocol.from_json(tuned.as_json()).fingerprint == tuned.fingerprint
    moved = weights.rename(tmp_path / "moved.pt")
    again = evaluate(out, asked, base.fine_tuned(moved))
    assert again.table.equals(found.table)  # the same weights, wherever they lie
    scratch = evaluate(out, asked, base)
    assert len(scratch.table) == 4
    with pytest.raises(UsageError, match="name a model of timm with --network"):
        SHORT.fine_tuned(moved)
    with pytest.raises(UsageError, match="choose network, depth and side before"):
        tuned.override(depth=8)


# ---- what is refused ---------------------------------------------------------------------------------------------


def test_nothing_to_test_on_names_both_flags(photos: Path, tmp_path: Path) -> None:
    out = embedded(photos / "train", tmp_path / "run")
    with pytest.raises(
        UsageError, match=r"--test SOURCE, or .*: tenpercent run \S+ --out OTHER --holdout 0.1"
    ):
        evaluate(out, EvaluationRequest(), SHORT)
    found = evaluate(
        out, EvaluationRequest(keep=(0.5,), arms=("full",), trials=1, test=str(photos / "test")), SHORT
    )
    assert found.progress.done == 1
    with pytest.raises(UsageError, match="is the training set itself"):
        evaluate(out, EvaluationRequest(test=str(photos / "train")), SHORT)


def test_the_name_of_a_split_as_the_test_set_says_what_to_type(photos: Path) -> None:
    images = tp.open_source(photos)
    assert isinstance(images, ImageSource)
    with pytest.raises(
        UsageError, match=f"the name of a split; give the source too: --test {photos} --test-split val"
    ):
        given_set("val", tp.SourceOptions(), images)


def test_a_network_that_cannot_be_is_refused_before_images_are_read_and_trees_made(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = embedded(photos, tmp_path / "run")
    monkeypatch.setattr(pixels, "scan", lambda *_, **__: pytest.fail("images are read"))
    for search in (evaluate, find):
        with pytest.raises(UsageError, match="no network 'resnet188'; did you mean"):
            search(out, EvaluationRequest((0.5,), ("semantic",), 2), SHORT.override(network="resnet188"))
    assert RunFolder(out).stage(Stage.CLUSTER) is None


def test_test_images_that_do_not_fit(photos: Path, tmp_path: Path) -> None:
    out = embedded(photos / "train", tmp_path / "run")
    draw_images(tmp_path / "more", 2, 0, classes=4)
    with pytest.raises(UsageError, match="1 of 4 classes that the training images lack: class3; "):
        evaluate(out, EvaluationRequest(test=str(tmp_path / "more")), SHORT)
    (tmp_path / "flat").mkdir()
    Image.new("RGB", (20, 20)).save(tmp_path / "flat" / "a.png")
    with pytest.raises(UsageError, match="have no labels"):
        evaluate(out, EvaluationRequest(test=str(tmp_path / "flat")), SHORT)


def test_images_without_labels(tmp_path: Path) -> None:
    (tmp_path / "flat").mkdir()
    random = np.random.default_rng(0)
    for number in range(4):
        Image.fromarray(random.integers(0, 255, (8, 8, 3)).astype(np.uint8)).save(
            tmp_path / "flat" / f"{number}.png"
        )
    tp.embed(
        tmp_path / "flat",
        out=tmp_path / "run",
        embedder=lambda images: np.asarray(images, np.float32).reshape(len(images), -1)[:, :9],
    )
    with pytest.raises(UsageError, match="have no labels"):
        evaluate(tmp_path / "run", EvaluationRequest(), SHORT)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (EvaluationRequest(arms=("semantics",)), "did you mean semantic"),
        (EvaluationRequest(keep=(1.5,)), "--keep is 1.5"),
        (EvaluationRequest(trials=0), "--trials is 0"),
        (EvaluationRequest(arms=("=x.npy",)), "a list is NAME=FILE"),
        (EvaluationRequest(arms=("semantic=x.npy",)), "none that is an arm already"),
        (EvaluationRequest(test_options=SourceOptions(split="test")), "--split"),
    ],
)
def test_what_makes_no_sense(asked: EvaluationRequest, said: str, run: Path) -> None:
    with pytest.raises(UsageError, match=said):
        evaluate(run, asked, SHORT)


def test_a_loss_that_is_no_number_marks_the_trial(photos: Path, tmp_path: Path) -> None:
    out = embedded(photos, tmp_path / "run")
    wild = Protocol(tp.Supervised(depth=8, steps=8, batch=16, rate=1e30, precision="float32"), evaluations=2)
    found = evaluate(out, EvaluationRequest(keep=(0.5,), arms=("full", "random"), trials=1), wild)
    assert found.progress.done == 0 and len(found.progress.failed) == 2
    assert {row["status"] for row in found.table.to_pylist()} == {"failed"}
    with pytest.raises(
        TrainingFailedError, match=r"2 of 2 training runs failed .*delete its file, .*\.parquet"
    ):
        finish(out, found)


# ---- kills and several processes ---------------------------------------------------------------------------------


def evaluate_with_a_checkpoint_each_step(run: Path) -> None:
    loop.SAVE_AFTER = 0.0
    evaluate(run, EvaluationRequest(keep=(0.5,), trials=1), SHORT)


def test_a_kill_costs_nothing_that_shows(photos: Path, tmp_path: Path) -> None:
    runs = [embedded(photos, tmp_path / name) for name in ("killed", "fresh")]
    process = start(evaluate_with_a_checkpoint_each_step, runs[0])
    end = time.monotonic() + 120
    while not list((runs[0] / "trainings").glob("*/checkpoint.pt")) and time.monotonic() < end:
        assert not process.ended()
        time.sleep(0.002)
    process.kill()
    tables = [evaluate(run, EvaluationRequest(keep=(0.5,), trials=1), SHORT).table for run in runs]
    told = ["arm", "accuracy", "loss", "test_loss", "class_accuracy", "kept", "seed", "steps"]
    assert tables[0].select(told).equals(tables[1].select(told))
    assert not [path for path in (runs[0] / "trainings").iterdir() if path.is_dir()]


@pytest.mark.skipif(
    torch.cuda.is_available() or cpus() < 2, reason="several training runs at once need two CPUs and no GPU"
)
def test_processes_beside_a_killed_one_end_at_once(photos: Path, tmp_path: Path) -> None:
    out = embedded(photos, tmp_path / "run")
    process = start_command("evaluate", out, "--trials", "2", "--arms", "full", "--steps", "100000")
    try:
        end = time.monotonic() + 120
        while len(at := holders(out)) < 2 and time.monotonic() < end:
            assert not process.ended()
            time.sleep(0.05)
    finally:
        process.kill()
    (other,) = at - {process.process.pid}
    end = time.monotonic() + 20
    while not ended(other) and time.monotonic() < end:
        time.sleep(0.05)
    left = not ended(other)
    if left:
        os.kill(other, signal.SIGKILL)
    assert not left


def holders(run: Path) -> set[int]:
    """The processes that train; of a claim that is just being written nothing is known yet."""
    found = set()
    for claim in (run / "trainings").glob("*.claim"):
        with suppress(ValueError, FileNotFoundError):
            found.add(json.loads(claim.read_text())["pid"])
    return found


def ended(process: int) -> bool:
    """Whether a process runs no more; one that nobody has asked after yet has ended too."""
    try:
        return psutil.Process(process).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


@pytest.mark.skipif(cpus() < 2, reason="several training runs at once need two CPUs")
def test_tiny_images_are_trained_on_by_several_processes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stage, "LONG", 0.0)
    claimed: set[int] = set()
    run_trials = experiment.run_trials

    def with_the_other(trials: Any, arms: Any, results: Any, key: str, train: Any) -> None:
        """Leave the first trial to the other process."""
        end = time.monotonic() + 120
        while not claimed and time.monotonic() < end:
            claimed.update(holders(out))
            time.sleep(0.01)
        run_trials(trials, arms, results, key, train)

    monkeypatch.setattr(experiment, "run_trials", with_the_other)
    draw_images(tmp_path / "photos" / "train", 8, 0, side=8)
    draw_images(tmp_path / "photos" / "test", 2, 1, side=8)
    out = embedded(tmp_path / "photos", tmp_path / "run")
    found = evaluate(out, EvaluationRequest(keep=(0.5,), trials=2), SHORT)
    assert found.progress.done == 6 and not list((out / "trainings").glob("*.claim"))
    assert claimed - {os.getpid()}


# ---- images to test on that were trained on ------------------------------------------------------------------------


def test_the_training_folder_is_refused_as_the_test_set_and_a_part_of_it_is_counted(
    photos: Path, run: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(
        UsageError, match=r"all 60 images to test on \(.*train\) are images of the training set"
    ):
        evaluate(run, EvaluationRequest(keep=(0.5,), trials=1, test=str(photos / "train")), SHORT)
    shutil.copytree(photos / "test", tmp_path / "mixed")
    for file in sorted((photos / "train").rglob("*.png"))[:3]:
        shutil.copy(file, tmp_path / "mixed" / file.parent.name / f"again-{file.name}")
    request = EvaluationRequest(arms=("full",), keep=(), trials=1, test=str(tmp_path / "mixed"))
    Preparation.of(RunFolder.open(run), request).data(None)
    assert "3 of 18 images to test on" in caplog.text and "among the training images" in caplog.text


def test_a_run_that_was_not_trained_names_the_preset_to_type(photos: Path, tmp_path: Path) -> None:
    tp.embed(photos, out=tmp_path / "run", embedder="pretrained")
    with pytest.raises(UsageError, match=r"give --preset quick, or another of tenpercent presets"):
        protocol_of(tmp_path / "run", None)
    for name in ("a", "b"):
        (tmp_path / "large" / name).mkdir(parents=True)
        Image.new("RGB", (90, 80), (len(name), 9, 200)).save(tmp_path / "large" / name / "1.png")
    tp.embed(tmp_path / "large", out=tmp_path / "other", embedder="pretrained")
    with pytest.raises(UsageError, match=r"give --preset quick --side 32, or another"):
        protocol_of(tmp_path / "other", None)
