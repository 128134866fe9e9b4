"""Leaks: every near-duplicate is found, none made up; one network embeds both sets; the page and the status say so."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import timm
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import nn

import tenpercent as tp
from examples import some
from tenpercent.cli.main import main
from tenpercent.data.sources.source import ImageSource
from tenpercent.errors import RunFolderError, SourceError, StageError, TenpercentError, UsageError
from tenpercent.leakage import find, join, page
from tenpercent.leakage.compared_set import ComparedSet
from tenpercent.leakage.find import compare
from tenpercent.linkage.distances import dissimilarities, unit_vectors

QUICK = tp.Supervised(depth=8, steps=4, batch=16, precision="float32")
FLAGS = ["--depth", "8", "--steps", "4", "--batch", "16", "--precision", "float32"]
VOID = {"meta", "img", "br", "wbr"}


def pixels(images: Any) -> Any:
    """An embedder of a few lines: each image minus its own mean."""
    flat = np.stack([np.asarray(image, dtype=np.float32).reshape(-1) for image in images])
    return flat - flat.mean(axis=1, keepdims=True) + 1e-3


def mean_colours(images: Any) -> Any:
    return np.stack([image.mean((0, 1)) + 1 for image in images])


def noise(seed: int, side: int = 16) -> np.ndarray:
    """Noise in large blotches, which survives JPEG."""
    small = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(small).resize((side, side), Image.Resampling.BICUBIC))


def encoded(array: np.ndarray, kind: str = "PNG", **options: Any) -> bytes:
    file = io.BytesIO()
    Image.fromarray(array).save(file, format=kind, **options)
    return file.getvalue()


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """24 training and 10 test images: in `test` cat/0 is a file of `train`, dog/1 one of its images as JPEG."""
    folder = tmp_path / "photos"
    for split, start, count in (("train", 0, 12), ("test", 100, 5)):
        for label, name in enumerate(("cat", "dog")):
            place = folder / split / name
            place.mkdir(parents=True)
            for number in range(count):
                seed = start + 1000 * label + number
                (place / f"{number}.png").write_bytes(encoded(noise(seed)))
    shutil.copy(folder / "train/cat/7.png", folder / "test/cat/0.png")
    (folder / "test/dog/1.png").unlink()
    (folder / "test/dog/1.jpg").write_bytes(encoded(noise(1003), "JPEG", quality=97, subsampling=0))
    return folder


def sides(train: np.ndarray, test: np.ndarray, **given: Any) -> tuple[ComparedSet, ComparedSet]:
    return ComparedSet("train", tp.Embeddings.from_numpy(train, **given)), ComparedSet(
        "test", tp.Embeddings.from_numpy(test)
    )


def by_definition(train: np.ndarray, test: np.ndarray) -> np.ndarray:
    """All dissimilarities, float64[test, train]."""
    units = unit_vectors(np.concatenate([test, train]))
    i, j = np.indices((len(test), len(train))).reshape(2, -1)
    return dissimilarities(units, i, j + len(test)).reshape(len(test), len(train))


def grid(count: int, seed: int, width: int = 3) -> np.ndarray:
    """Vectors full of ties and equals."""
    made = np.random.default_rng(seed).integers(-1, 2, (count, width)).astype(np.float32)
    made[~made.any(axis=1)] = 1
    return made


# ---- the join -----------------------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=some(30))
@given(n=st.integers(1, 40), m=st.integers(1, 30), seed=st.integers(0, 10**6), at=st.floats(0, 1))
def test_every_pair_within_the_threshold_and_no_other(n: int, m: int, seed: int, at: float) -> None:
    train, test = grid(n, seed), grid(m, seed + 1)
    d = by_definition(train, test)
    threshold = float(np.sort(d.reshape(-1))[int(at * (d.size - 1))])
    found = compare(*sides(train, test), threshold)
    i, j = np.nonzero(d <= threshold)
    order = np.lexsort((j, i, d[i, j]))
    assert found.pairs.i.tolist() == i[order].tolist()
    assert found.pairs.j.tolist() == j[order].tolist()
    assert found.pairs.dissimilarity.tolist() == d[i, j][order].tolist()
    nearest = d.min(axis=1)
    leaking = np.flatnonzero(nearest <= threshold)
    assert (
        found.ids.tolist()
        == found.test.embeddings.ids[leaking[np.lexsort((leaking, nearest[leaking]))]].tolist()
    )
    assert found.clean.tolist() == found.test.embeddings.ids[nearest > threshold].tolist()
    assert found.share == len(leaking) / m


def test_the_default_threshold_is_that_of_the_nearest_hundredth_of_the_different_training_images() -> None:
    train = np.random.default_rng(0).standard_normal((430, 6))
    train[400:] = train[0]  # thirty equal ones say nothing of how near different ones are
    found = compare(*sides(train, train[:50] + 1e-9), None)
    d = by_definition(train[:400], train[:400])
    np.fill_diagonal(d, np.inf)
    assert found.threshold == np.sort(d.min(axis=1))[3]
    assert not found.chosen
    assert len(found) == 50


@pytest.mark.parametrize("train", [[[1.0, 2.0]], [[1.0, 2.0], [2.0, 4.0]]])
def test_a_training_set_without_two_different_images_has_the_threshold_0(train: list[list[float]]) -> None:
    found = compare(*sides(np.array(train), np.array([[1.0, 2.0], [2.0, 1.0]])), None)
    assert found.threshold == 0
    assert found.ids.tolist() == ["0"]


def test_pairs_that_are_too_many_at_once_are_taken_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    train, test = grid(60, 1, 4), grid(50, 2, 4)
    whole = compare(*sides(train, test), None)
    monkeypatch.setattr(join, "AT_ONCE", 7)
    assert 0 < compare(*sides(train, test), None).threshold == whole.threshold


@settings(deadline=None, max_examples=40)
@given(n=st.integers(2, 40), seed=st.integers(0, 10**6), share=st.floats(0, 1))
def test_the_nearest_others_are_those_of_the_definition(n: int, seed: int, share: float) -> None:
    made = grid(n, seed, 4)
    vectors = join.DistinctVectors.among(made)
    made = made[np.unique(vectors.of, return_index=True)[1]]
    d = by_definition(made, made)
    np.fill_diagonal(d, np.inf)
    found = join.nearest_other(vectors, np.arange(len(vectors)), share)
    known = np.isfinite(found)
    assert found[known].tolist() == d.min(axis=1)[known].tolist()
    assert known.sum() >= join.rank(share, len(vectors)) or len(vectors) == 1
    assert not known.any() or found[known].max() <= d.min(axis=1)[~known].min(initial=np.inf)


def test_more_near_duplicates_than_fit_are_an_error_not_a_shorter_list() -> None:
    left, right = join.DistinctVectors.among(grid(40, 3)), join.DistinctVectors.among(grid(40, 4))
    pairs = len(join.near_duplicates(left, right, 0.1)[0])
    assert len(join.near_duplicates(left, right, 0.1, most=pairs)[0]) == pairs
    with pytest.raises(UsageError, match="give a smaller --threshold"):
        join.near_duplicates(left, right, 0.1, most=pairs - 1)
    assert len(join.near_duplicates(left, right, 0.1, memory=pairs * join.BYTES_PER_PAIR)[0]) == pairs
    with pytest.raises(UsageError, match="or more --memory"):
        join.near_duplicates(left, right, 0.1, memory=pairs * join.BYTES_PER_PAIR - 1)


def test_a_large_training_set_is_sampled_for_the_default_threshold_and_that_is_said(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    train, test = np.random.default_rng(5).standard_normal((2, 80, 4))
    monkeypatch.setattr(find, "SAMPLE", 20)
    found = compare(*sides(train, test), None)
    sample = np.linspace(0, 79, 20).round().astype(int)
    d = by_definition(train, train)
    np.fill_diagonal(d, np.inf)
    assert found.threshold == d[sample].min()
    assert any("20 of 80" in note for note in found.notes)
    assert not any("20 of 80" in note for note in compare(*sides(train, test), 0.1).notes)


def test_the_order_of_the_rows_changes_nothing_but_row_numbers(tmp_path: Path) -> None:
    train, test = grid(50, 6), grid(40, 7)
    names = np.array([f"image-{number}" for number in range(50)])
    tables = []
    for seed in (0, 1):
        a, b = np.random.default_rng(seed).permutation(50), np.random.default_rng(seed + 9).permutation(40)
        found = tp.leaks(
            tp.Embeddings.from_numpy(train[a], ids=names[a]), tp.Embeddings.from_numpy(test[b], ids=names[b])
        )
        tables.append(found.table.drop_columns(["test_row", "train_row"]))
    assert tables[0].equals(tables[1])
    assert len(tables[0]) > 0


# ---- equal files and labels ---------------------------------------------------------------------------------------


def test_equal_files_are_near_duplicates_at_any_threshold() -> None:
    train, test = sides(np.eye(4), -np.eye(4)[:3])
    hashed = [
        replace(side, embeddings=replace(side.embeddings, hashes=np.array(codes, dtype=object)))
        for side, codes in ((train, ["a", "b", "b", "c"]), (test, ["b", "x", "c"]))
    ]
    found = compare(hashed[0], hashed[1], 0.0)
    assert found.ids.tolist() == ["0", "2"]
    assert list(zip(found.pairs.i.tolist(), found.pairs.j.tolist(), strict=True)) == [(0, 1), (0, 2), (2, 3)]
    assert found.pairs.dissimilarity.tolist() == [1.0, 1.0, 1.0]
    assert found.pairs.equal is not None
    assert found.pairs.equal.tolist() == [True] * 3
    assert found.equal_files == len(found) == 2
    assert compare(train, test, 0.0).equal_files is None
    wide = compare(hashed[0], hashed[1], 1.0)
    assert len(wide.pairs.i) == 9  # each pair once, whether it is there for its vectors, its file or both
    assert wide.equal_files == 2


def test_labels_are_compared_by_the_names_of_the_classes() -> None:
    vectors = np.eye(3)
    train = tp.Embeddings.from_numpy(vectors, labels=["cat", "dog", "fish"])
    test = tp.Embeddings.from_numpy(vectors, labels=[1, 1, -1], class_names=["dog", "cat"])
    found = tp.leaks(train, test, threshold=0.0)
    assert found.same_label.tolist() == [True, False, None]
    assert found.other_label == 1
    assert found.table["test_label"].to_pylist() == ["cat", "cat", None]
    codes = tp.Embeddings.from_numpy(vectors, labels=[0, 1, 2])
    apart = tp.leaks(train, codes, threshold=0.0)
    assert apart.same_label.tolist() == [None] * 3
    assert apart.other_label is None
    assert any("no class is in both: TEST has " in note for note in apart.notes)


# ---- images -------------------------------------------------------------------------------------------------------


def test_a_copied_file_and_a_re_encoded_image_are_found(photos: Path, tmp_path: Path) -> None:
    found = tp.leaks(photos, embedder=pixels, threshold=0.05, out=tmp_path / "out")
    rows = found.table.to_pylist()
    pairs = {(row["test_id"], row["train_id"], row["equal_file"], row["same_label"]) for row in rows}
    assert pairs == {
        ("test/cat/0.png", "train/cat/7.png", True, True),
        ("test/dog/1.jpg", "train/dog/3.png", False, True),
    }
    assert found.equal_files == 1
    assert pq.read_table(tmp_path / "out/leaks.parquet").equals(found.table)
    assert json.loads((tmp_path / "out/leaks.json").read_text())["found"]["leaking"] == 2


def test_the_splits_may_be_named_and_the_test_set_left_out(photos: Path, tmp_path: Path) -> None:
    default = tp.leaks(photos, embedder=pixels, threshold=0.05, out=tmp_path / "a")
    named = tp.leaks(
        photos,
        photos,
        embedder=pixels,
        threshold=0.05,
        out=tmp_path / "b",
        train_options=tp.SourceOptions(split="train"),
        test_options=tp.SourceOptions(split="test"),
    )
    of_test = tp.leaks(photos / "train", photos, embedder=pixels, threshold=0.05, out=tmp_path / "c")
    assert default.ids.tolist() == named.ids.tolist() == of_test.ids.tolist()
    assert tp.leaks(
        tmp_path / "a/train", embedder=pixels, threshold=0.05, out=tmp_path / "d"
    ).ids.tolist() == (default.ids.tolist())
    with pytest.raises(SourceError, match=r"has no split 'test'.*--test-split"):
        tp.leaks(photos / "train", embedder=pixels, out=tmp_path / "e")
    (photos / "test").rename(photos / "val")
    with pytest.raises(SourceError, match="only train, val; choose one with --test-split"):
        tp.leaks(photos / "train", photos, embedder=pixels, out=tmp_path / "e")


def test_a_set_is_not_compared_with_itself(photos: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="its own near-duplicate"):
        tp.leaks(photos / "train", photos / "train", embedder=pixels, out=tmp_path / "out")
    with pytest.raises(UsageError, match="is TRAIN itself"):
        tp.leaks(photos, test_options=tp.SourceOptions(split="train"), embedder=pixels, out=tmp_path / "out")


class Means(nn.Module):
    """A module whose vectors depend on the size of what it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.linspace(0.5, 1.5, 3))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        rows = (images * self.weight.view(1, 3, 1, 1)).mean(3)
        return torch.cat([rows.flatten(1)[:, :20], rows.mean(2)], dim=1)


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    torch.save(timm.create_model("test_resnet", pretrained=False).state_dict(), tmp_path / "model.pt")
    return tmp_path / "model.pt"


@pytest.mark.parametrize("kind", ["supervised", "timm", "finetune", "module", "function"])
def test_other_images_get_the_vectors_that_the_network_gives_its_own(
    kind: str, photos: Path, tmp_path: Path, weights: Path
) -> None:
    torch.manual_seed(0)
    embedders: dict[str, Any] = {
        "supervised": QUICK,
        "timm": tp.Timm("test_resnet", weights, precision="float32"),
        "finetune": tp.Timm("test_resnet", weights, finetune=True, steps=2, batch=8, precision="float32"),
        "module": Means(),
        "function": mean_colours,
    }
    copies = tmp_path / "copies"
    shutil.copytree(photos / "train", copies)
    # Most images are of another size: by themselves they would all be brought to that, not to the run's.
    for number in range(30):
        (copies / "cat" / f"large-{number}.png").write_bytes(encoded(noise(5000 + number, 24)))
    run = tmp_path / "run"
    own = tp.embed(photos, out=run, embedder=embedders[kind])
    given = None if kind in ("supervised", "timm", "finetune") else embedders[kind]
    found = tp.leaks(run, copies, embedder=given, threshold=1e-6, out=tmp_path / "out")
    assert found.equal_files == 24
    theirs = {name: at for at, name in enumerate(found.test.embeddings.ids)}
    same = [theirs[name.removeprefix("train/")] for name in own.ids]
    np.testing.assert_allclose(found.test.embeddings.vectors[same], own.vectors, rtol=2e-4, atol=2e-5)
    assert found.test.network == found.train.network


def test_a_module_or_function_must_be_given_again(photos: Path, tmp_path: Path) -> None:
    tp.embed(photos, out=tmp_path / "run", embedder=mean_colours)
    with pytest.raises(UsageError, match="which a run folder can't store; give it again"):
        tp.leaks(tmp_path / "run", out=tmp_path / "out")
    with pytest.raises(
        UsageError, match=r"was embedded with other settings: function was .*mean_colours, now .*pixels"
    ):
        tp.leaks(tmp_path / "run", out=tmp_path / "out", embedder=pixels)


def test_weights_that_are_gone_or_changed_are_named(photos: Path, tmp_path: Path, weights: Path) -> None:
    tp.embed(photos, out=tmp_path / "timm", embedder=tp.Timm("test_resnet", weights, precision="float32"))
    weights.write_bytes(weights.read_bytes() + b"more")
    with pytest.raises(StageError, match="has changed since"):
        tp.leaks(tmp_path / "timm", out=tmp_path / "a")
    tp.embed(photos, out=tmp_path / "own", embedder=QUICK)
    (tmp_path / "own/training/settings.json").write_text("{}")
    with pytest.raises(StageError, match="can't be loaded"):
        tp.leaks(tmp_path / "own", out=tmp_path / "b")
    (tmp_path / "own/training/weights.safetensors").unlink()
    with pytest.raises(StageError, match="is gone"):
        tp.leaks(tmp_path / "own", out=tmp_path / "c")


def test_without_a_test_split_the_validation_split_is_taken(
    photos: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (photos / "test").rename(photos / "val")
    with caplog.at_level("INFO", "tenpercent"):
        found = tp.leaks(photos, embedder=pixels, out=tmp_path / "out")
    assert f"TEST: the split val of {photos}" in caplog.text
    assert found.test.spec.endswith("split val")
    (photos / "val").rename(photos / "holidays")
    with pytest.raises(SourceError, match=r"no split 'test' or 'validation'; give the test set, or"):
        tp.leaks(photos / "train", embedder=pixels, out=tmp_path / "none")


def test_two_networks_are_told_apart_in_one_line(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, split, seed in (("a", "train", "0"), ("b", "test", "1")):
        words = [str(photos), "--out", str(tmp_path / name), "--split", split, "--seed", seed]
        assert main(["embed", *words, *FLAGS]) == 0
    capsys.readouterr()
    assert main(["leaks", str(tmp_path / "a"), str(tmp_path / "b"), "--out", str(tmp_path / "out")]) == 1
    said = capsys.readouterr().err.strip()
    assert said.count("\n") == 0
    assert "vectors of two networks can't be compared; give TEST as a source" in said
    # What `leaks` embedded by the network of a run may be compared with that run again, as a run folder.
    assert main(["leaks", str(tmp_path / "a"), "--out", str(tmp_path / "out")]) == 0
    assert (
        tp.leaks(tmp_path / "a", tmp_path / "out/test").ids.tolist()
        == tp.leaks(tmp_path / "a", out=tmp_path / "out").ids.tolist()
    )


def test_the_second_time_nothing_is_embedded(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tenpercent.embedding import of_run as network

    first = tp.leaks(photos, embedder=pixels, threshold=0.05, out=tmp_path / "out")
    page_then = (tmp_path / "out/leaks.html").read_text()
    monkeypatch.setattr(network, "embed_like", None)
    again = tp.leaks(photos, threshold=0.05, out=tmp_path / "out")
    assert again.table.equals(first.table)
    assert (tmp_path / "out/leaks.html").read_text() == page_then
    with pytest.raises(RunFolderError, match="holds a run of"):
        tp.leaks(photos / "test", photos / "train", embedder=pixels, out=tmp_path / "out")


def test_images_that_can_not_be_read_are_counted(photos: Path, tmp_path: Path) -> None:
    (photos / "test/dog/broken.png").write_bytes(b"\x89PNG no picture")
    found = tp.leaks(photos, embedder=pixels, threshold=0.05, out=tmp_path / "out")
    assert found.notes[0] == "1 test image was rejected and not compared."
    assert "test/dog/broken.png" in (tmp_path / "out/leaks.html").read_text()
    assert "test/dog/broken.png" not in found.clean


# ---- what is refused ----------------------------------------------------------------------------------------------


def refused(words: list[Any], capsys: pytest.CaptureFixture[str]) -> str:
    """Run the command and return its one line of error."""
    assert main(["leaks", *map(str, words)]) == 2
    said = capsys.readouterr().err.strip().splitlines()
    errors = [line for line in said if line.startswith("tenpercent: error: ")]
    assert len(errors) == 1
    assert "Traceback" not in "".join(said)
    return errors[0]


@pytest.fixture
def arrays(tmp_path: Path) -> tuple[Path, Path]:
    """60 training and 20 test vectors; the first three test vectors are training vectors."""
    train, test = np.random.default_rng(0).standard_normal((2, 60, 8)).astype(np.float32)
    test[:3] = train[[5, 17, 30]]
    np.save(tmp_path / "train.npy", train)
    np.save(tmp_path / "test.npy", test[:20])
    return tmp_path / "train.npy", tmp_path / "test.npy"


def test_what_can_not_be_compared_is_refused_in_one_line(
    arrays: tuple[Path, Path], photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train, test = arrays
    out = ["--out", tmp_path / "out"]
    np.save(tmp_path / "wide.npy", np.ones((4, 9)))
    np.save(tmp_path / "none.npy", np.ones((0, 8)))
    (tmp_path / "empty").mkdir()
    assert "8 values, those of TEST 9" in refused([train, tmp_path / "wide.npy", *out], capsys)
    assert "at least one row" in refused([train, tmp_path / "none.npy", *out], capsys)
    assert "holds no images" in refused([photos, tmp_path / "empty", *out], capsys)
    assert "TEST holds images and TRAIN ready vectors" in refused([train, photos, *out], capsys)
    assert "leave out the embedder" in refused([train, test, *out, "--epochs", 3], capsys)
    assert "it must be a dissimilarity" in refused([train, test, *out, "--threshold", 3], capsys)
    assert "it must be a dissimilarity" in refused([train, test, *out, "--threshold", "nan"], capsys)
    assert "without layers" in refused([train, test, *out, "--layer", "start"], capsys)
    assert "0 or more" in refused([train, test, *out, "--fail-above", -1], capsys)
    assert ".csv or .parquet" in refused([train, test, *out, "--table", "leaks.txt"], capsys)
    assert "give --to PATH" in refused([train, test, *out, "--export", "csv"], capsys)
    assert "did you mean csv" in refused([train, test, *out, "--export", "csw", "--to", "x"], capsys)
    assert "give --export FORMAT" in refused([train, test, *out, "--to", "x"], capsys)
    assert "never overwrites" in refused([train, test, *out, "--export", "csv", "--to", test], capsys)
    assert "holds no leaks; choose another --out" in refused([train, test, "--out", photos], capsys)
    assert "choose --export indices or csv" in refused(
        [train, test, *out, "--export", "folder", "--to", tmp_path / "x"], capsys
    )
    with pytest.raises(UsageError, match="out=FOLDER"):
        tp.leaks(photos, embedder=pixels)


# ---- what comes out -----------------------------------------------------------------------------------------------


def test_the_exit_status_is_for_a_build_machine(
    arrays: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["leaks", *map(str, arrays), "--threshold", "0", "--out", str(tmp_path / "out")]
    table = tmp_path / "pairs.csv"
    assert main([*words, "--fail-above", "3"]) == 0
    assert (
        "3 of 20 test images (15.00%) have a near-duplicate among 60 training images"
        in capsys.readouterr().out
    )
    assert main([*words, "--fail-above", "2", "--table", str(table), "--quiet"]) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("tenpercent: error: 3 test images have a near-duplicate")
    assert "more than --fail-above 2" in said.err
    read = pd.read_csv(table, dtype={"test_id": str, "train_id": str})  # written before the status is said
    assert read["train_id"].tolist() == ["05", "17", "30"]
    assert read["dissimilarity"].tolist() == [0, 0, 0]


def test_none_leak(arrays: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train, test = arrays
    np.save(test, np.load(test)[3:])
    words = ["leaks", str(train), str(test), "--threshold", "1e-9", "--out", str(tmp_path / "out")]
    assert main([*words, "--fail-above", "0"]) == 0
    assert "0 of 17 test images (0.00%)" in capsys.readouterr().out
    text = checked((tmp_path / "out/leaks.html").read_text())
    assert "No test image has a near-duplicate in the training set" in text
    assert len(pq.read_table(tmp_path / "out/leaks.parquet")) == 0


def test_all_leak(photos: Path, tmp_path: Path) -> None:
    shutil.copytree(photos / "train", tmp_path / "copies")
    found = tp.leaks(
        photos / "train", tmp_path / "copies", embedder=pixels, threshold=0.0, out=tmp_path / "out"
    )
    assert found.share == 1.0
    assert found.equal_files == 24
    assert len(found.clean) == 0
    assert found.export("indices", tmp_path / "clean").images == 0
    assert np.load(tmp_path / "clean/indices.npy").tolist() == []


@pytest.mark.parametrize("format_", ["indices", "folder", "csv", "hf"])
def test_the_clean_test_set_is_exported(format_: str, photos: Path, tmp_path: Path) -> None:
    to = tmp_path / "clean"
    tp.embed(photos, out=tmp_path / "run", embedder=QUICK)
    words = ["leaks", str(tmp_path / "run"), "--threshold", "0", "--out", str(tmp_path / "out")]
    assert main([*words, "--export", format_, "--to", str(to)]) == 0
    read: dict[str, Callable[[], list[str]]] = {
        "indices": lambda: [f"{row}" for row in np.load(to / "indices.npy")],
        "folder": lambda: sorted(path.relative_to(to).as_posix() for path in to.rglob("*.*")),
        "csv": lambda: pd.read_csv(to)["id"].tolist(),
        "hf": lambda: pq.read_table(to / "data")["id"].to_pylist(),
    }
    ids = [
        f"test/{path}"
        for path in sorted(p.relative_to(photos / "test").as_posix() for p in photos.glob("test/*/*"))
    ]
    assert ids[0] == "test/cat/0.png"  # the copied file
    left = ids[1:]
    if format_ == "indices":
        assert read[format_]() == [str(row) for row in range(1, 10)]
    elif format_ == "folder":
        assert read[format_]() == [name.removeprefix("test/") for name in left]
    else:
        assert read[format_]() == left


# ---- the page -----------------------------------------------------------------------------------------------------


class Reader(HTMLParser):
    """The elements and the text of a page; every element must be closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.open: list[str] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] != ["style"]:
            self.words.append(data)


def checked(text: str) -> str:
    """Hold a page against what each must be, and return its words."""
    read = Reader(text)
    ids = [str(attributes["id"]) for _, attributes in read.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    for tag, attributes in read.elements:
        assert tag not in {"script", "link", "iframe"}
        for name in ("src", "href"):
            address = attributes.get(name)
            assert address is None or address.startswith("data:image/") or address.removeprefix("#") in ids
    assert all(len(attributes["alt"] or "") > 10 for tag, attributes in read.elements if tag == "img")
    assert "url(http" not in text
    return " ".join(" ".join(read.words).split())


def test_the_page_shows_each_test_image_beside_its_near_duplicates(photos: Path, tmp_path: Path) -> None:
    for number in range(20, 28):
        shutil.copy(photos / "train/cat/7.png", photos / f"train/dog/{number}.png")
    tp.leaks(photos, embedder=pixels, threshold=0.05, out=tmp_path / "out")
    text = (tmp_path / "out/leaks.html").read_text()
    words = checked(text)
    assert "2 of 10 test images have a near-duplicate in the training set" in words
    assert "9 near-duplicates, showing the surest 5" in words
    cards = text.split('<article class="card">')[1:]
    assert len(cards) == 2  # the second has one near-duplicate; in the first all are equally near, so by id
    assert cards[0].count("<img") == 6
    assert cards[1].count("<img") == 2
    assert "same file" in cards[0]
    assert "same file" not in cards[1]
    assert 'alt="Test image test/cat/0.png, cat"' in cards[0]
    assert "dissimilarity 0 to the test image, the same file" in cards[0]


def test_a_near_duplicate_with_another_label_is_marked(photos: Path, tmp_path: Path) -> None:
    (photos / "train/cat/7.png").rename(photos / "train/dog/70.png")
    found = tp.leaks(photos, embedder=pixels, threshold=0.05, out=tmp_path / "out")
    assert found.other_label == 1
    words = checked((tmp_path / "out/leaks.html").read_text())
    assert "1 test image has a different label than its surest near-duplicate" in words
    assert words.count("different label") > 2


def test_what_ids_hold_is_shown_and_never_run(tmp_path: Path) -> None:
    nasty = "<script>alert(1)</script>\u202e\x07"
    vectors = np.eye(2)
    train = tp.Embeddings.from_numpy(vectors, ids=[nasty, "b"], labels=["<b>", "x"])
    test = tp.Embeddings.from_numpy(vectors, ids=["'\"><img src=x>", "c"], labels=["<b>", "x"])
    tp.leaks(train, test, threshold=0.0, out=tmp_path / "out")
    text = (tmp_path / "out/leaks.html").read_text()
    assert "<script" not in text
    assert "<img" not in text
    assert "&lt;script&gt;" in text
    assert "\u202e" not in text
    assert "<b>" not in text.replace("<b>test</b>", "").replace("<b>0</b>", "").replace("<b>1</b>", "")
    checked(text)


def test_what_file_names_hold_is_shown_and_never_run(photos: Path, tmp_path: Path) -> None:
    (photos / "test/cat/0.png").rename(photos / "test/cat/<script>alert(1).png")
    (photos / "train/cat/7.png").rename(photos / "train/cat/'\"><iframe>.png")
    (photos / "train/dog").rename(photos / "train/<b>dog")
    tp.leaks(photos, embedder=pixels, threshold=0.05, out=tmp_path / "out")
    text = (tmp_path / "out/leaks.html").read_text()
    words = checked(text)  # which refuses scripts and frames
    assert "<b>dog" not in text
    assert "alert(1).png" in words


def test_pictures_beyond_the_budget_are_counted(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page, "PICTURES", {"test": 10_000_000, "train": 10})
    tp.leaks(photos, embedder=pixels, threshold=0.05, out=tmp_path / "out")
    words = checked((tmp_path / "out/leaks.html").read_text())
    assert "2 pictures are left out" in words


def test_images_that_are_gone_leave_the_numbers(photos: Path, tmp_path: Path) -> None:
    tp.leaks(photos, embedder=pixels, threshold=0.05, out=tmp_path / "out")
    photos.rename(tmp_path / "elsewhere")
    found = tp.leaks(tmp_path / "out/train", tmp_path / "out/test", threshold=0.05, out=tmp_path / "again")
    assert len(found) == 2
    words = checked((tmp_path / "again/leaks.html").read_text())
    assert "No pictures of" in words
    with pytest.raises(TenpercentError, match="no images"):
        found.export("folder", tmp_path / "clean")


def test_more_leaks_than_are_shown_are_said_to_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = np.random.default_rng(0).standard_normal((30, 4))
    monkeypatch.setattr(page, "SHOWN", 8)
    tp.leaks(
        tp.Embeddings.from_numpy(vectors),
        tp.Embeddings.from_numpy(vectors),
        threshold=0.0,
        out=tmp_path / "out",
    )
    assert "Showing 8 of 30 test images" in checked((tmp_path / "out/leaks.html").read_text())


def test_digits_leak_nothing_into_their_test_split_byte_by_byte(tmp_path: Path) -> None:
    source = tp.open_source("digits")
    assert isinstance(source, ImageSource)
    found = tp.leaks("digits", embedder=pixels, out=tmp_path / "out")
    assert found.equal_files == 0
    assert len(found.train) == len(source)
    assert found.similar is not None
    assert 0.3 < found.similar.images / len(found.test) / find.CLOSEST < 3
    assert len(found) == 0


def test_columns_are_named_for_the_set_that_is_a_source(photos: Path, tmp_path: Path) -> None:
    """A run folder beside a table: `--image-column` speaks of the table."""
    cells = [{"bytes": path.read_bytes(), "path": None} for path in sorted(photos.glob("test/*/*"))]
    table = {"picture": cells, "other": cells, "kind": ["cat"] * 5 + ["dog"] * 5}
    pq.write_table(pa.table(table), tmp_path / "test.parquet")
    assert main(["embed", str(photos), "--out", str(tmp_path / "run"), *FLAGS]) == 0
    words = ["leaks", str(tmp_path / "run"), str(tmp_path / "test.parquet"), "--out", str(tmp_path / "out")]
    assert main([*words, "--threshold", "0"]) == 2
    assert main([*words, "--threshold", "0", "--image-column", "picture", "--label-column", "kind"]) == 0
    assert pq.read_table(tmp_path / "out/leaks.parquet")["train_id"].to_pylist() == ["train/cat/7.png"]
    assert (
        main(["leaks", str(tmp_path / "run"), "--image-column", "picture", "--out", str(tmp_path / "x")]) == 2
    )


def test_a_test_set_that_has_changed_is_embedded_anew_on_request(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tp.run(photos / "train", out=tmp_path / "run", embedder=pixels)
    asked = {"embedder": pixels, "threshold": 0.05, "out": tmp_path / "out"}
    before = tp.leaks(tmp_path / "run", photos / "test", **asked)
    (photos / "test/dog/new.png").write_bytes(encoded(noise(77)))
    with pytest.raises(RunFolderError, match=r"the number of images was .*start over with --reread"):
        tp.leaks(tmp_path / "run", photos / "test", **asked)
    found = tp.leaks(tmp_path / "run", photos / "test", **asked, reread=True)
    assert len(found.test) == len(before.test) + 1
    assert (tmp_path / "out/test/earlier/1").is_dir()
    assert len(tp.leaks(tmp_path / "run", photos / "test", **asked, reread=True).test) == len(found.test)
    assert not (tmp_path / "out/test/earlier/2").exists()
