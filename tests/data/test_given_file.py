"""Vectors that a program passes for a run folder: stored in it, resumed, and beside a folder of images."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import tenpercent as tp
from tenpercent.cli.main import main
from tenpercent.data.store.run_folder import RunFolder
from tenpercent.errors import RunFolderError, UsageError

N = 60
RNG = np.random.default_rng(8)
V = np.tile(RNG.normal(size=(N // 2, 5)), (2, 1)) + RNG.normal(scale=0.01, size=(N, 5))
LABELS = [10, 9] * (N // 2)  # by their order as numbers, which is not that as text
IDS = RNG.permutation(N)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    tp.run(V, out=tmp_path / "run", keep=0.7, labels=LABELS, ids=IDS)
    return tmp_path / "run"


def test_a_run_of_given_vectors_is_that_of_memory(run: Path) -> None:
    memory = tp.run(V, keep=0.7, labels=LABELS, ids=IDS)
    stored = tp.Selection.load(run)
    assert stored.origin == memory.origin and stored.class_names == memory.class_names == ("9", "10")
    assert stored.removed.tolist() == memory.removed.tolist()  # numbers, as they were given
    assert np.array_equal(stored.row_mask, memory.row_mask) and (run / "report.html").exists()
    deeper = tp.select(run, keep=0.2)  # clusters further, from the stored vectors
    assert deeper.kept.dtype == np.int64 and len(deeper.kept) == 12


def test_it_resumes_and_refuses_other_vectors(run: Path) -> None:
    before = (run / "given.parquet").read_bytes()
    tp.run(V, out=run, keep=0.6, labels=LABELS, ids=IDS)
    for other in ({"source": V + 0.1}, {"labels": LABELS[::-1]}, {"ids": IDS[::-1]}):
        given: dict[str, Any] = {"source": V, "labels": LABELS, "ids": IDS, **other}
        with pytest.raises(RunFolderError, match="a run of other vectors; choose another out, or"):
            tp.run(**given, out=run)
    assert (run / "given.parquet").read_bytes() == before
    again = tp.run(V + 0.1, out=run, labels=LABELS, ids=IDS, reread=True, keep=0.5)
    assert (run / "earlier/1/merges.parquet").exists() and len(again.kept) == N // 2
    np.save(run.parent / "v.npy", V)
    tp.run(run.parent / "v.npy", out=run.parent / "file")
    with pytest.raises(RunFolderError, match=r"holds a run of .*v\.npy"):
        tp.run(V, out=run.parent / "file")


def test_it_moves_with_its_folder(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.move(run, moved := run.with_name("moved"))
    assert len(tp.select(moved, keep=0.1).kept) == 6
    assert main(["run", str(moved / "given.parquet"), "--out", str(moved), "--keep", "0.5"]) == 0
    assert RunFolder(moved).source.spec == str(moved / "given.parquet")


def test_rows_without_a_direction_keep_their_number(tmp_path: Path) -> None:
    bad = V.copy()
    bad[4] = np.nan
    with pytest.raises(UsageError, match="row 4"):
        tp.run(bad, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()
    found = tp.run(bad, out=tmp_path / "run", options=tp.SourceOptions(drop_bad_rows=True), keep=0.5)
    assert len(found.row_mask) == N and not found.row_mask[4] and len(found) == N - 1


def test_embeddings_are_stored_in_the_order_of_their_rows(tmp_path: Path) -> None:
    taken = tp.Embeddings.from_numpy(V, labels=LABELS, ids=IDS)
    found = tp.run(taken, out=tmp_path / "run", keep=0.7)
    assert np.array_equal(found.row_mask, tp.run(V, keep=0.7, labels=LABELS, ids=IDS).row_mask)
    dropped = tp.Embeddings.from_numpy(np.vstack([V, np.zeros((1, 5))]), drop_bad_rows=True)
    with pytest.raises(UsageError, match="lack 1 of 61 rows"):
        tp.run(dropped, out=tmp_path / "other")


# ---- beside images -----------------------------------------------------------------------------------------------


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    for row in range(N):
        place = tmp_path / "photos" / ("ant", "bee")[row % 2]
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((8, 8, 3), 4 * row, np.uint8)).save(place / f"{row:02d}.png")
    return tmp_path / "photos"


def test_own_vectors_beside_a_folder_of_images(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    ids = tp.open_source(photos).ids
    found = tp.run("photos/", embeddings=V, keep=0.7)
    assert "the first is of ant/00.png, the last of bee/59.png" in caplog.text
    assert found.class_names == ("ant", "bee") and set(found.kept) <= set(ids)
    assert "data:image" in Path("runs/photos/report.html").read_text(encoding="utf-8")
    order = RNG.permutation(N)
    np.save("v.npy", V)
    others: list[dict[str, Any]] = [
        {"embeddings": V[order], "ids": [ids[row] for row in order]},
        {"embeddings": tp.Embeddings.from_numpy(V, ids=ids)},
        {"embeddings": tmp_path / "v.npy"},
    ]
    for place, other in enumerate(others):
        again = tp.run(photos, out=f"other-{place}", keep=0.7, **other)
        assert again.removed.tolist() == found.removed.tolist()
        assert np.array_equal(again.row_mask, found.row_mask)
    assert main(["export", "runs/photos", "--format", "folder", "--to", "kept"]) == 0
    assert sorted(path.relative_to("kept").as_posix() for path in Path("kept").rglob("*.png")) == sorted(
        found.kept
    )
    own = tp.run(photos, out="own", embeddings=V, labels=["x"] * N)
    assert own.class_names == ("x",)


def test_vectors_that_do_not_fit_the_images_are_refused(photos: Path, tmp_path: Path) -> None:
    ids = list(tp.open_source(photos).ids)
    cases: list[tuple[dict[str, Any], str]] = [
        ({"embeddings": V[1:]}, "59 vectors for 60 images of .* or ids="),
        ({"embeddings": V[1:], "ids": ids[1:]}, "ant/00.png has no vector"),
        (
            {"embeddings": V, "ids": ["ant/00.pgn", *ids[1:]]},
            "ant/00.pgn is no image of .*did you mean ant/00.png",
        ),
        ({"embeddings": V, "ids": [ids[1], *ids[1:]]}, "occurs more than once"),
        ({"labels": LABELS}, "labels given beside"),
        ({"embeddings": V, "embedder": "pretrained"}, "leave out --holdout, --embedder"),
        ({"embeddings": V, "holdout": 0.5}, "leave out --holdout"),
        ({"embeddings": "vec"}, "--embedding-column vec does not apply to a folder"),
        ({"source": "digits", "embeddings": V}, "no folder of image files"),
    ]
    for given, said in cases:
        with pytest.raises(UsageError, match=said) as error:
            tp.run(**{"source": photos, **given}, out=tmp_path / "run")
        assert "\n" not in str(error.value)
    assert not (tmp_path / "run").exists()


# ---- images ------------------------------------------------------------------------------------------------------


def test_a_torch_data_set_of_image_files_is_a_source(photos: Path, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    vision = pytest.importorskip("torchvision.datasets")
    folder = vision.ImageFolder(photos, transform=lambda picture: 1 / 0)  # its items are never asked for
    found = tp.run(folder, out=tmp_path / "run", keep=0.5, embedder=as_vectors)
    assert found.class_names == ("ant", "bee") and set(found.kept) <= set(tp.open_source(photos).ids)
    assert "data:image" in (tmp_path / "run/report.html").read_text(encoding="utf-8")
    subset = found.apply(folder)
    assert subset.targets == [folder.targets[row] for row in found.rows]
    tp.run(folder, out=tmp_path / "run", keep=0.6, embedder=as_vectors)
    other = vision.ImageFolder(photos, target_transform=None)
    other.samples = other.imgs = other.samples[::-1]
    other.targets = other.targets[::-1]
    with pytest.raises(RunFolderError, match="a run of another data set"):
        tp.run(other, out=tmp_path / "run", embedder=as_vectors)
    for given, said in (({"labels": LABELS}, "labels given beside a data set of images"), ({}, "out=RUN")):
        with pytest.raises(UsageError, match=said):
            tp.run(vision.ImageFolder(photos), out=tmp_path / "other" if given else None, **given)


def test_a_dataset_of_images_is_a_source_with_all_its_columns(photos: Path, tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    files = sorted(map(str, photos.rglob("*.png")))
    made = datasets.Dataset.from_dict({"image": files, "label": [0, 1] * (N // 2), "note": files})
    made = made.cast_column("image", datasets.Image())
    made = made.cast_column("label", datasets.ClassLabel(names=["x", "y"]))
    found = tp.run(made, out=tmp_path / "run", keep=0.5, embedder=as_vectors)
    assert found.class_names == ("x", "y") and len(found.kept) == N // 2
    assert found.apply(made)["note"] == [files[row] for row in found.rows]
    tp.run(made, out=tmp_path / "run", keep=0.6, embedder=as_vectors)
    with pytest.raises(RunFolderError, match="a run of another data set"):
        tp.run(made.select(range(9)), out=tmp_path / "run", embedder=as_vectors)
    assert main(["export", str(tmp_path / "run"), "--format", "hf", "--to", str(tmp_path / "kept")]) == 0
    assert (
        "note"
        in datasets.load_dataset(str(tmp_path / "kept"), split="train", cache_dir=str(tmp_path)).features
    )
    with pytest.raises(UsageError, match=r"embed the images by tp\.run\(dataset, out=RUN\)"):
        tp.run(made)


def as_vectors(images: Any) -> Any:
    return images.reshape(len(images), -1).astype(np.float32) + np.arange(1, 1 + images[0].size)
