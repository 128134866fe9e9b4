"""Heads on frozen vectors: the minimum that scikit-learn finds, trials that are re-splits, intervals that cover."""

from __future__ import annotations

import logging
import math
import shutil
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

import tenpercent as tp
from tenpercent.cli.main import main
from tenpercent.data.store.results import read_results
from tenpercent.data.store.run_folder import RunFolder
from tenpercent.decisions.log import DecisionLog
from tenpercent.decisions.rows import ImageName, Kind
from tenpercent.errors import UsageError
from tenpercent.evaluation.heads.pool import Pool
from tenpercent.evaluation.heads.regression import Features, Heads, Start, fit
from tenpercent.evaluation.heads.stage import HeadEvaluation, evaluate_by_heads, find_by_heads
from tenpercent.evaluation.heads.trial import run_trial
from tenpercent.evaluation.preparation import EvaluationRequest
from tenpercent.evaluation.trials import Trial, plan_trials
from tenpercent.reporting.evidence.results import gather
from tenpercent.reporting.evidence.statistics import (
    Verdict,
    compare,
    needed_trials,
    summary,
    visible_difference,
)
from tenpercent.reporting.evidence.verdicts import finding

linear = pytest.importorskip("sklearn.linear_model")

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


def classes_of_points(n: int, d: int, c: int, seed: int = 0, apart: float = 0.6) -> tuple[Floats, Ints]:
    """Vectors around a centre for each class, some values much wider than others."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, c, n)
    centres = rng.normal(size=(c, d)) * apart
    return (centres[labels] + rng.normal(size=(n, d))) * rng.uniform(0.1, 5, d), labels


def pool(n: int = 300, tested: int = 20, c: int = 3) -> Pool:
    vectors, labels = classes_of_points(n, 8, c)
    embeddings = tp.Embeddings.from_numpy(vectors.astype(np.float32), labels=labels)
    return Pool(embeddings, np.full(c, tested), "test", "about")


@pytest.fixture
def vectors_run(tmp_path: Path) -> Path:
    vectors, labels = classes_of_points(400, 6, 3)
    np.save(tmp_path / "v.npy", vectors.astype(np.float32))
    np.save(tmp_path / "l.npy", labels)
    tp.run(str(tmp_path / "v.npy"), out=tmp_path / "run", options=tp.SourceOptions(labels=tmp_path / "l.npy"))
    return tmp_path / "run"


def request(**more: Any) -> EvaluationRequest:
    return EvaluationRequest(**{"keep": (0.5,), "trials": 3, **more})


def probabilities(features: Features, heads: Heads, at: int) -> Floats:
    """Of the images, by one head; weights are compared by them, since a bias more for all classes changes nothing."""
    logits = (features.values @ heads.weights[:, at]).astype(np.float64)
    found = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(found / found.sum(axis=1, keepdims=True))


def difference(features: Features, heads: Heads, others: Heads) -> float:
    """Return by how much the probabilities of an image differ at most."""
    numbers = range(heads.weights.shape[1])
    return max(
        float(np.abs(probabilities(features, heads, at) - probabilities(features, others, at)).max())
        for at in numbers
    )


# --- the minimum -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("started", [False, True])
@pytest.mark.parametrize("weight_decay", [1e-1, 1e-3, 1e-5])
def test_heads_are_the_minimum_that_scikit_learn_finds(weight_decay: float, started: bool) -> None:
    vectors, labels = classes_of_points(600, 12, 4)
    chosen = np.random.default_rng(1).random((3, 600)) < np.array([[1.1], [0.5], [0.2]])
    features = Features.of(vectors, 1e-3)
    start = Start.of_all(features, labels, 4, weight_decay) if started else None
    heads = fit(features, labels, 4, chosen, [weight_decay] * 3, start)
    scaled = (vectors - vectors.mean(axis=0)) / vectors.std(axis=0)
    for at, own in enumerate(chosen):
        theirs = linear.LogisticRegression(C=1 / (weight_decay * own.sum()), max_iter=10_000, tol=1e-10)
        theirs.fit(scaled[own], labels[own])
        found = probabilities(features, heads, at)
        assert np.abs(found - theirs.predict_proba(scaled)).max() < 2e-3


def test_a_head_is_the_same_alone_and_among_others_and_by_any_number_of_threads(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    vectors, labels = classes_of_points(500, 10, 3)
    chosen = np.random.default_rng(1).random((2, 500)) < 0.5
    features = Features.of(vectors, 1e-3)
    both = fit(features, labels, 3, chosen, [1e-3, 1e-3])
    alone = fit(features, labels, 3, chosen[1:], [1e-3])
    assert np.abs(both.weights[:, 1] - alone.weights[:, 0]).max() < 1e-3
    start = Start.at(features, both.weights[:, 0], 1e-3)
    again = fit(features, labels, 3, chosen, [1e-3, 1e-3], start)
    assert np.abs(both.weights - again.weights).max() < 1e-2
    assert again.steps[0] < both.steps[0] / 2
    for module in ("regression", "curvature"):
        monkeypatch.setattr(f"tenpercent.evaluation.heads.{module}.cpus", lambda: 1)
    assert np.array_equal(fit(features, labels, 3, chosen, [1e-3, 1e-3]).weights, both.weights)
    start = Start.at(features, both.weights[:, 0], 1e-3)
    assert np.array_equal(fit(features, labels, 3, chosen, [1e-3, 1e-3], start).weights, again.weights)


def test_knowing_the_curvature_saves_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors, labels = classes_of_points(2000, 40, 5, apart=0.2)
    features, chosen = Features.of(vectors, 1e-3), np.random.default_rng(1).random((4, 2000)) < 0.5
    known = Start.of_all(features, labels, 5, 1e-3)
    monkeypatch.setattr("tenpercent.evaluation.heads.curvature.MOST_BYTES", 0)
    unknown = Start.at(features, known.weights, 1e-3)
    assert unknown.curvature.inverse is None
    with_it, without = (fit(features, labels, 5, chosen, [1e-3] * 4, one) for one in (known, unknown))
    assert difference(features, with_it, without) < 2e-3
    assert with_it.steps.mean() < 0.75 * without.steps.mean()


def test_a_curvature_has_a_class_that_no_image_is_of_and_more_images_than_it_counts_whole(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("tenpercent.evaluation.heads.curvature.UNSURE", 20)
    vectors, labels = classes_of_points(500, 10, 3)
    features = Features.of(vectors, 1e-3)
    start = Start.of_all(features, labels, 4, 1e-3)
    assert start.curvature.inverse is not None and np.isfinite(start.curvature.inverse).all()
    chosen = np.ones((1, 500), dtype=bool)
    heads = fit(features, labels, 4, chosen, [1e-3], start)
    assert difference(features, heads, fit(features, labels, 4, chosen, [1e-3])) < 2e-3


def test_equal_values_and_separable_classes_have_heads() -> None:
    labels = np.arange(40) % 2
    vectors = np.column_stack([labels, np.ones(40)]).astype(np.float64)
    heads = fit(Features.of(vectors, 1e-3), labels, 2, np.ones((1, 40), dtype=bool), [1e-3])
    assert np.isfinite(heads.weights).all()
    assert heads.loss[0] < 0.1


# --- trials ----------------------------------------------------------------------------------------------------


def test_a_trial_tests_as_many_of_each_class_and_its_number_alone_decides_which() -> None:
    one = pool()
    train, test = one.split(4)
    assert np.array_equal(np.sort(np.concatenate([train, test])), np.arange(300))
    assert np.bincount(one.labels[test]).tolist() == [20, 20, 20]
    assert np.array_equal(pool().split(4)[1], test)
    assert not np.array_equal(one.split(5)[1], test)


def test_a_part_of_images_has_their_files() -> None:
    whole = pool(n=20)
    names = np.array([f"{number}.jpg" for number in range(20)], dtype=object)
    found = replace(whole, embeddings=replace(whole.embeddings, paths=names, hashes=names)).part(
        np.array([2, 7])
    )
    assert found.paths is not None and found.paths.tolist() == ["2.jpg", "7.jpg"]
    assert found.hashes is not None and found.hashes.tolist() == ["2.jpg", "7.jpg"]


def test_all_arms_of_a_trial_share_its_split_and_take_what_they_should() -> None:
    trials = plan_trials(("full", "semantic", "random", "spread", "kcenter"), (0.9, 0.3), 1)
    rows = run_trial(pool(), trials, 1e-3, ({"budget": "class", "min_per_class": 1}, "class"))
    assert {row["split"] for _, row in rows} == {"about-0"}
    assert {(row["tested"], row["pool"]) for _, row in rows} == {(60, 240)}
    sizes = {(one.arm, one.fraction): row["n"] for one, row in rows}
    assert sizes[("full", 1.0)] == 240
    for fraction in (0.9, 0.3):
        assert {sizes[(arm, fraction)] for arm in ("semantic", "random", "spread", "kcenter")} == {
            round(fraction * 240)
        }
    assert all(0.5 < row["accuracy"] <= 1 for _, row in rows)


def test_a_head_of_all_images_is_the_arm_full() -> None:
    trials = [Trial(0, 0, "end", 1.0, "full"), Trial(0, 0, "end", 0.999999, "random")]
    (_, full), (_, all_of_them) = run_trial(pool(), trials, 1e-3, ({"budget": "class"}, "class"))
    assert (full["accuracy"], full["n"]) == (all_of_them["accuracy"], all_of_them["n"])


def test_a_trial_that_fails_closes_its_bar(vectors_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    closed = []

    def full(*given: Any) -> None:
        raise OSError("no space left on device")

    class Shown(nullcontext[None]):
        def __exit__(self, *error: object) -> None:
            closed.append(True)

        def close(self) -> None:
            closed.append(True)

    monkeypatch.setattr("tenpercent.evaluation.heads.stage.bar", lambda *given: Shown())
    monkeypatch.setattr("tenpercent.evaluation.heads.stage.run_trial", full)
    with pytest.raises(OSError, match="no space"):
        evaluate_by_heads(vectors_run, request())
    assert closed


# --- statistics ------------------------------------------------------------------------------------------------


def test_a_paired_comparison_by_hand() -> None:
    arm, full = [0.90, 0.92, 0.91], [0.89, 0.90, 0.91]
    found = compare(arm, full, 0.5, 0.25)
    spread = 1.0  # of the differences 1, 2, 0 points
    half = 4.302652729911275 * spread * math.sqrt(1 / 3 + 0.25)
    assert (found.difference, found.half, found.spread) == (
        pytest.approx(1.0),
        pytest.approx(half),
        pytest.approx(spread),
    )
    assert summary([0.9, 0.92, 0.94], 0.25).high == pytest.approx(
        0.92 + 4.302652729911275 * 0.02 * math.sqrt(1 / 3 + 0.25)
    )


def test_more_splits_cannot_overcome_the_sampling_of_the_images() -> None:
    assert needed_trials(1.0, 0.5, overlap=0.2) == 1001  # 1.0 · √0.2 · 2.5 is above 0.5 for any number
    few = needed_trials(1.0, 2.0, overlap=0.2)
    assert visible_difference(1.0, few, 0.2) > 2.0 > 0  # at half the level, so a little more
    assert 2 < few < 20


def test_too_few_images_are_not_called_too_few_trials() -> None:
    found = compare([0.90, 0.91, 0.89, 0.90], [0.90, 0.90, 0.90, 0.91], 0.2, 0.2)
    said = finding(found, "Keeping 90%")
    assert said == (
        "Keeping 90%: too few images to rule out a 0.2-point loss; more splits of these would not decide"
    )
    clear = compare([0.90, 0.91, 0.90], [0.90, 0.905, 0.90], 2.0, 0.01)
    assert "too few" not in finding(clear, "Keeping 90%")


def test_equal_differences_have_no_interval() -> None:
    found = compare([0.9, 0.8], [0.8, 0.7], 0.2, 0.2)
    assert (found.verdict, found.half) == (Verdict.UNKNOWN, None)


def _drawn(rng: np.random.Generator, n: int) -> tuple[Floats, Ints]:
    labels = rng.integers(0, 2, n)
    return rng.normal(size=(n, 2)) + 1.2 * labels[:, None], labels


def _accuracy(points: Floats, labels: Ints, own: Ints, test: Ints) -> float:
    """Accuracy of the nearest of two means."""
    means = np.array([points[own][labels[own] == c].mean(axis=0) for c in (0, 1)])
    guess = ((points[test][:, None] - means) ** 2).sum(axis=2).argmin(axis=1)
    return float((guess == labels[test]).mean())


def test_intervals_of_re_splits_cover_what_other_data_would_show() -> None:
    """Of 300 data sets, each split ten times; the interval without the overlap covers too little."""
    rng, ends = np.random.default_rng(0), []
    for _ in range(300):
        points, labels = _drawn(rng, 120)
        arm, full = [], []
        for _ in range(10):
            order = rng.permutation(120)
            train, test = order[:96], order[96:]
            full.append(_accuracy(points, labels, train, test))
            arm.append(_accuracy(points, labels, train[:16], test))
        ends.append((compare(arm, full, 1.0, 0.25), summary(full, 0.25), summary(full)))
    differences, means, narrow = zip(*ends, strict=True)
    assert _covered([(one.low, one.difference, one.high) for one in differences]) >= 0.93
    assert _covered([(one.low, one.mean, one.high) for one in means]) >= 0.93
    assert _covered([(one.low, one.mean, one.high) for one in narrow]) < 0.8


def _covered(found: list[tuple[float, float, float]]) -> float:
    """Share of the intervals that hold the mean over all data sets."""
    truth = np.mean([middle for _, middle, _ in found])
    return float(np.mean([low <= truth <= high for low, _, high in found]))


# --- a run -----------------------------------------------------------------------------------------------------


def test_a_run_of_vectors_is_evaluated_by_heads_and_added_to(
    vectors_run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ["evaluate", str(vectors_run), "--keep", "0.8", "0.5", "--trials"]
    assert main([*flags, "3"]) == 0
    first = read_results(RunFolder.open(vectors_run))
    assert first is not None
    assert first.num_rows == 3 * 5
    said = capsys.readouterr().out
    assert "3 splits" in said or "splits would decide" in said
    assert main([*flags, "4"]) == 0
    more = read_results(RunFolder.open(vectors_run))
    assert more is not None
    assert more.num_rows == 4 * 5
    assert more.filter(more["trial"].to_numpy() < 3)["accuracy"].to_pylist() == first["accuracy"].to_pylist()
    page = (vectors_run / "report.html").read_text(encoding="utf-8")
    assert "head on frozen vectors" in page
    assert "trained from scratch for this" not in page


def test_trials_of_one_split_count_once(vectors_run: Path) -> None:
    table = evaluate_by_heads(vectors_run, request()).own
    same = table.set_column(table.schema.get_field_index("split"), "split", [["one split"] * len(table)])
    assert {len(one.done) for one in gather(same)[0].results} == {1}


def test_heads_say_what_of_the_selection_they_ignore(
    vectors_run: Path, caplog: pytest.LogCaptureFixture
) -> None:
    evaluate_by_heads(vectors_run, request())
    assert "ignored" not in caplog.text
    DecisionLog(vectors_run).add(Kind.REMOVE, [ImageName("000")])
    evaluate_by_heads(vectors_run, request())
    assert "decisions about images are ignored by heads" in caplog.text


def test_a_search_by_heads_ends_and_says_where(vectors_run: Path) -> None:
    evaluation, ended = find_by_heads(
        vectors_run, request(keep=(0.9, 0.5), arms=("full", "semantic"), trials=6), margin=20.0
    )
    assert ended.fraction == 0.5
    assert set(evaluation.own["arm"].to_pylist()) == {"full", "semantic"}


def test_images_without_a_label_and_classes_of_one_are_left_to_training(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    vectors, labels = classes_of_points(60, 4, 2)
    labels[:5] = -1
    labels[5] = 2
    np.save(tmp_path / "v.npy", vectors.astype(np.float32))
    np.save(tmp_path / "l.npy", labels)
    tp.run(str(tmp_path / "v.npy"), out=tmp_path / "run", options=tp.SourceOptions(labels=tmp_path / "l.npy"))
    with caplog.at_level(logging.INFO, "tenpercent"):
        evaluate_by_heads(tmp_path / "run", request())
    assert "5 of 60 images without a label left out" in caplog.text
    assert "1 class too small to test" in caplog.text


def test_a_run_of_photos_is_tested_on_its_held_out_images(
    photos: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pytest.importorskip("onnxruntime")
    run = tmp_path / "run"
    tp.run(str(photos), out=run, embedder=tp.Pretrained(), holdout=0.25)
    with caplog.at_level(logging.INFO, "tenpercent"):
        found = evaluate_by_heads(run, request())
        evaluate_by_heads(run, request(trials=4))
    assert set(zip(*(found.own[name].to_pylist() for name in ("tested", "pool")), strict=True)) == {(12, 36)}
    assert "as many of each class as in: held out" in caplog.text
    assert caplog.text.count("by the network of") == 1  # the second call finds their vectors


def test_heads_take_the_layer_that_the_run_was_clustered_by(photos: Path, tmp_path: Path) -> None:
    embedder = tp.SelfSupervised(depth=8, steps=1, batch=16, dim=8, precision="float32")
    run = tmp_path / "run"
    tp.run(str(photos), out=run, embedder=embedder, holdout=0.25, cut=tp.Cut(0.5, layer="middle"))
    ready = HeadEvaluation.of(run, request())
    assert (ready.trees.layer, ready.pool.embeddings.layer) == ("middle", "middle")
    middle = tp.Embeddings.load(run, "middle")
    assert ready.pool.embeddings.width == middle.width != tp.Embeddings.load(run).width
    assert set(evaluate_by_heads(run, request()).own["layer"].to_pylist()) == {"middle", "end"}


def test_test_images_that_equal_training_images_are_counted(
    tmp_path: Path, photos: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pytest.importorskip("onnxruntime")
    (photos / "cat" / "broken.jpg").unlink()
    tested = tmp_path / "tested"
    shutil.copytree(photos, tested)
    run = tmp_path / "run"
    tp.run(str(photos), out=run, embedder=tp.Pretrained())
    with pytest.raises(UsageError, match="all 48 images to test on"):
        evaluate_by_heads(run, request(test=str(tested)))
    for number in range(20):
        (tested / "dog" / f"{number:02d}.png").unlink()
    with Image.open(photos / "cat" / "00.png") as shown:
        shown.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(tested / "cat" / "new.png")
    evaluate_by_heads(run, request(test=str(tested)))
    assert "28 of 29 images to test on" in caplog.text


def test_vectors_that_know_the_labels_prove_nothing(photos: Path, tmp_path: Path) -> None:
    embedder = tp.Supervised(depth=8, steps=1, batch=16, precision="float32")
    tp.run(str(photos), out=tmp_path / "run", embedder=embedder, holdout=0.25)
    with pytest.raises(UsageError, match="trained on its labels, so a head on them proves nothing"):
        evaluate_by_heads(tmp_path / "run", request())


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"arms": ("full", "mine=list.txt")}, "splits all of them again"),
        ({"layers": ("middle",)}, "--layer and --embeddings"),
        ({"embeddings": 2}, "--layer and --embeddings"),
        ({"arms": ("full", "semantc")}, "semantic"),
        ({"test": "other"}, "made of ready vectors"),
    ],
)
def test_what_heads_do_not_compare_is_refused(vectors_run: Path, more: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        evaluate_by_heads(vectors_run, request(**more))


def test_one_class_is_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "v.npy", np.random.default_rng(0).normal(size=(20, 4)).astype(np.float32))
    np.save(tmp_path / "l.npy", np.zeros(20, dtype=np.int64))
    tp.run(str(tmp_path / "v.npy"), out=tmp_path / "run", options=tp.SourceOptions(labels=tmp_path / "l.npy"))
    with pytest.raises(UsageError, match=r"at least 2.* have 1"):
        evaluate_by_heads(tmp_path / "run", request())


def test_heads_take_no_settings_of_networks(vectors_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", str(vectors_run), "--network", "head", "--epochs", "3"]) != 0
    assert "--epochs has no meaning for --network head" in capsys.readouterr().err


def test_a_dry_run_of_heads_writes_nothing(vectors_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = sorted(path.name for path in vectors_run.rglob("*"))
    assert main(["evaluate", str(vectors_run), "--dry-run", "--find"]) == 0
    assert "heads" in capsys.readouterr().out
    assert sorted(path.name for path in vectors_run.rglob("*")) == before
