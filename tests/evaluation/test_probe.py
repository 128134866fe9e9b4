"""A probe measures what it says, on images that the embedding has not used, and says what it can't do."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import tenpercent as tp
from tenpercent.cli.main import main
from tenpercent.embedding import of_run as network
from tenpercent.errors import StageError, UsageError
from tenpercent.evaluation.probing import measure
from tenpercent.evaluation.probing.candidates import of_vectors
from tenpercent.evaluation.probing.measure import linear_accuracy, neighbours_accuracy

SUPERVISED = tp.Supervised(depth=8, steps=4, batch=16, precision="float32")
UNLABELLED = tp.SelfSupervised(depth=8, steps=2, batch=16, dim=8, precision="float32")


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """30 training and 12 test images: dark and light ones."""
    random = np.random.default_rng(0)
    for split, count in (("train", 15), ("test", 6)):
        for label, name in enumerate(("dark", "light")):
            place = tmp_path / "pictures" / split / name
            place.mkdir(parents=True)
            for number in range(count):
                pixels = random.integers(128 * label, 128 * label + 128, (8, 8, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(place / f"{number:02d}.png")
    return tmp_path / "pictures"


def table(folder: Path) -> list[dict[str, str]]:
    with (folder / "probe.csv").open() as file:
        return list(csv.DictReader(file))


# ---- the measures --------------------------------------------------------------------------------------------------


@given(st.integers(2, 25), st.integers(1, 9), st.integers(1, 25), st.integers(0, 10**6))
@settings(deadline=None, max_examples=60)
def test_neighbours_vote_as_defined(n: int, m: int, k: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    train, test = random.standard_normal((n, 3)), random.standard_normal((m, 3))
    labels, expected = random.integers(0, 3, n), random.integers(0, 3, m)
    labels[:2] = (0, 2)
    k = min(k, n)
    right = 0
    for vector, label in zip(test, expected, strict=True):
        cosine = train @ vector / np.linalg.norm(train, axis=1) / np.linalg.norm(vector)
        nearest = np.argsort(-cosine)[:k]
        votes = [np.exp(cosine[nearest][labels[nearest] == code] / 0.07).sum() for code in range(3)]
        right += int(np.argmax(votes) == label)
    assert neighbours_accuracy(train, labels, test, expected, k) == right / m


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(0)
    four = (
        random.standard_normal((50, 4)),
        random.integers(0, 3, 50),
        random.standard_normal((33, 4)),
        random.integers(0, 3, 33),
    )
    whole = neighbours_accuracy(*four)
    monkeypatch.setattr(measure, "BLOCK_BYTES", 4 * 50 * 7)
    assert neighbours_accuracy(*four) == whole
    assert 0 < whole < 1


def test_a_linear_classifier_separates_what_a_line_separates_whatever_the_units() -> None:
    random = np.random.default_rng(0)
    vectors = random.standard_normal((300, 3)) * (1e-4, 1, 1e4) + (0, 5, 1e5)
    labels = (vectors[:, 0] > 0).astype(np.int64)
    accuracy, converged = linear_accuracy(vectors[:200], labels[:200], vectors[200:], labels[200:])
    assert accuracy > 0.97 and converged
    guessed, _ = linear_accuracy(vectors[:200], random.integers(0, 2, 200), vectors[200:], labels[200:])
    assert guessed < 0.75


def test_what_does_not_converge_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(0)
    monkeypatch.setattr(measure, "ITERATIONS", 1)
    vectors, labels = random.standard_normal((60, 9)), random.integers(0, 3, 60)
    assert not linear_accuracy(vectors, labels, vectors, labels)[1]


# ---- runs, vectors and models side by side -------------------------------------------------------------------------


def test_runs_are_tested_on_the_test_split_embedded_by_their_own_network(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tp.embed(pictures, out=tmp_path / "a", embedder=SUPERVISED)
    tp.embed(pictures, out=tmp_path / "b", embedder=UNLABELLED)
    runs, out = [tmp_path / "a", tmp_path / "b"], tmp_path / "probe"
    found = tp.probe(runs, layers=("start", "end"), out=out)
    shown = [
        (row.embedding, row.layer, row.width, row.images, row.tested, row.test_set) for row in found.rows
    ]
    assert shown == [
        ("a", "start", 16, 30, 12, "test"),
        ("a", "end", 64, 30, 12, "test"),
        ("b", "start", 16, 30, 12, "test"),
        ("b", "end", 8, 30, 12, "test"),
    ]
    start = found.rows[0]
    assert start.knn == start.linear == 1.0  # dark and light: any convolution tells them apart
    assert start.knn_low < 1.0
    assert [row["embedding"] for row in table(out)] == ["a", "a", "b", "b"]
    record = json.loads((out / "probe.json").read_text())
    assert record["rows"][1]["width"] == 64 and "scikit-learn" in record["versions"]
    monkeypatch.delattr(network, "extract_into")  # nothing is embedded twice
    assert tp.probe(runs, layers=("start", "end"), out=out) == found


def test_a_run_is_tested_on_what_it_holds_out(pictures: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    own = tp.embed(pictures / "train", out=run, embedder=UNLABELLED, holdout=0.2)
    (row,) = tp.probe(run, out=tmp_path / "probe").rows
    assert (row.test_set, row.images, row.tested) == ("held out", 24, 6)
    (folder,) = (tmp_path / "probe").glob("run-*")
    asked = tp.Embeddings.load(folder / "embeddings")
    assert len(asked) == 6 and not set(asked.ids) & set(own.ids)


def test_test_vectors_of_another_limit_of_pixels_are_not_taken_for_these(
    pictures: Path, tmp_path: Path
) -> None:
    large = pictures / "test/dark/05.png"
    Image.open(large).resize((10, 10)).save(large)
    run = tmp_path / "run"
    tested = []
    for limit in (64, None):  # one run after the other, under one name and with equal weights
        shutil.rmtree(run, ignore_errors=True)
        options = tp.SourceOptions(max_pixels=limit)
        tp.embed(pictures, out=run, embedder=SUPERVISED, options=options)
        tested += [row.tested for row in tp.probe([run], out=tmp_path / "probe").rows]
    assert tested == [11, 12]


def test_vectors_are_tested_on_a_fifth_of_each_class_whatever_their_order(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    labels = np.repeat([0, 1, 2], [50, 25, 5])
    vectors = random.standard_normal((80, 4)) + 4 * np.eye(4)[labels]
    ids = [f"{number:03d}" for number in random.permutation(80)]
    one = of_vectors("a", tp.Embeddings.from_numpy(vectors, labels=labels, ids=ids))
    mixed = random.permutation(80)
    other = of_vectors(
        "a", tp.Embeddings.from_numpy(vectors[mixed], labels=labels[mixed], ids=[ids[at] for at in mixed])
    )
    np.testing.assert_array_equal(one.test, other.test)
    assert np.bincount(one.test_labels).tolist() == [10, 5, 1]
    assert len(one.train) + len(one.test) == 80
    together = np.concatenate([one.train, one.test])
    assert len(np.unique(together, axis=0)) == 80


def test_the_command_prints_a_table_and_says_what_to_doubt(
    vectors: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "probe"
    labels = vectors.with_name("labels.npy")
    assert main(["probe", "--vectors", str(vectors), "--labels", str(labels), "--out", str(out)]) == 0
    said = capsys.readouterr().out
    assert "kNN" in said and "vectors    end" in said
    assert "the embedding may have been trained on its test images" in said
    (row,) = table(out)
    assert (row["images"], row["tested"], row["classes"]) == ("48", "12", "3")


def test_a_model_of_timm_embeds_the_images_of_the_first_run(pictures: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = timm.create_model("test_resnet", pretrained=False)
    torch.save(model.state_dict(), tmp_path / "weights.pt")
    tp.embed(pictures, out=tmp_path / "run", embedder=UNLABELLED)
    wanted = tp.Timm("test_resnet", tmp_path / "weights.pt", precision="float32")
    rows = tp.probe([tmp_path / "run", wanted], out=tmp_path / "probe").rows
    assert [(row.test_set, row.tested) for row in rows] == [("test", 12), ("test", 12)]
    assert rows[1].embedding.startswith("timm-test_resnet")


def test_another_source_may_be_the_test_set(pictures: Path, tmp_path: Path) -> None:
    tp.embed(pictures / "train", out=tmp_path / "run", embedder=UNLABELLED)
    (row,) = tp.probe([tmp_path / "run"], test=str(pictures / "test"), out=tmp_path / "probe").rows
    assert row.tested == 12


def test_an_embedder_that_no_folder_keeps_is_tested_on_its_own_vectors(
    pictures: Path, tmp_path: Path
) -> None:
    def colours(images: np.ndarray) -> np.ndarray:
        return np.asarray(images).mean((1, 2)) - 128

    tp.embed(pictures, out=tmp_path / "run", embedder=colours)
    (row,) = tp.probe([tmp_path / "run"], out=tmp_path / "probe").rows
    assert (row.test_set, row.tested, row.knn) == ("a fifth of the vectors", 6, 1.0)
    assert "can't be stored" in row.note


def test_few_images_vote_together_and_that_is_said(tmp_path: Path) -> None:
    vectors = tp.Embeddings.from_numpy(np.eye(10), labels=np.arange(10) % 2)
    (row,) = tp.probe([vectors], out=tmp_path / "probe").rows
    assert row.neighbours == 8 and "8 neighbours vote" in row.note


# ---- bad input -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        (None, "has no labels"),
        (np.zeros(9, np.int64), "at least 2 classes, got 1"),
        (np.full(9, -1), "has no labels"),
        (np.arange(9), "too few to test on"),
    ],
)
def test_vectors_that_can_not_be_probed(tmp_path: Path, labels: np.ndarray | None, said: str) -> None:
    vectors = tp.Embeddings.from_numpy(np.eye(9), labels=labels)
    with pytest.raises(UsageError, match=said):
        tp.probe([vectors], out=tmp_path / "probe")


def test_runs_that_can_not_be_probed(pictures: Path, tmp_path: Path) -> None:
    tp.embed(pictures / "train" / "dark", out=tmp_path / "flat", embedder=UNLABELLED)
    with pytest.raises(UsageError, match="has no labels"):
        tp.probe([tmp_path / "flat"], out=tmp_path / "probe")
    tp.embed(pictures / "train", out=tmp_path / "run", embedder=UNLABELLED)
    with pytest.raises(UsageError, match=r"no test or validation split; .*--holdout"):
        tp.probe([tmp_path / "run"], out=tmp_path / "probe")
    with pytest.raises(UsageError, match="must be one of start, middle, end"):
        tp.probe([tmp_path / "run"], layers=("last",), test=str(pictures / "test"), out=tmp_path / "probe")
    (tmp_path / "run" / "training" / "weights.safetensors").unlink()
    with pytest.raises(StageError, match="is gone"):
        tp.probe([tmp_path / "run"], test=str(pictures / "test"), out=tmp_path / "probe")


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ([], "there is nothing to probe"),
        (["--timm", "test_resnet"], "--images SOURCE"),
        (["--labels", "l.npy"], "--labels l.npy belong to --vectors"),
        (["nowhere"], "not a run folder"),
    ],
)
def test_calls_that_make_no_sense_are_one_line(
    flags: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["probe", *flags, "--out", str(tmp_path / "probe")]) != 0
    error = capsys.readouterr().err.strip()
    assert said in error and "\n" not in error


def test_a_folder_of_something_else_is_left_alone(vectors: Path, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "mine.txt").write_text("mine")
    with pytest.raises(UsageError, match="holds no probe"):
        tp.probe([tp.Embeddings.from_numpy(np.eye(4), labels=[0, 0, 1, 1])], out=tmp_path / "other")
    assert [path.name for path in (tmp_path / "other").iterdir()] == ["mine.txt"]
