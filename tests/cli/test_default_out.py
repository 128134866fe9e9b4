"""Where a run folder goes when nobody says: ``runs/`` and the name of its source."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import tenpercent as tp
from tenpercent.cli.main import main
from tenpercent.data.sources.run_name import run_folder_of
from tenpercent.data.store.run_folder import RunFolder
from tenpercent.errors import RunFolderError, UsageError


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory called ``work``."""
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path / "work"


def images(folder: Path, shade: int = 0) -> Path:
    folder.mkdir(parents=True)
    for place in range(4):
        pixels = np.full((8, 8, 3), 40 * place + shade, dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{place}.png")
    return folder


def flat(pictures: np.ndarray) -> np.ndarray:
    return pictures.reshape(len(pictures), -1).astype(np.float32) + 1


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("photos", "photos"),
        ("photos/", "photos"),
        ("/data/photos//", "photos"),
        ("./photos/.", "photos"),
        (Path("data/photos"), "photos"),
        ("data/photos 2024.v1", "photos 2024.v1"),
        (".", "work"),
        ("./", "work"),
        ("cats/..", "work"),
        ("data/vectors.npy", "vectors"),
        ("train.parquet", "train"),
        ("TRAIN.PQ", "TRAIN"),
        ("C:\\photos\\cats", "cats"),
        ("C:\\photos\\", "photos"),
        ("runs/photos", "photos"),
        ("digits", "digits"),
        (Path("digits"), "digits"),
        ("hf:uoft-cs/cifar10", "cifar10"),
        ("hf:uoft-cs/cifar10:test", "cifar10"),
        ("hf:uoft-cs/cifar10:plain_text:test", "cifar10"),
        ("HF:mnist", "mnist"),
        ("hf:/data/sets/saved/", "saved"),
        ("torchvision:CIFAR10", "CIFAR10"),
    ],
)
def test_a_run_is_called_by_its_source(source: str | Path, name: str, here: Path) -> None:
    assert run_folder_of(source) == Path("runs", name)
    assert run_folder_of(source, "elsewhere/run") == Path("elsewhere/run")


def test_the_folder_above_has_a_name_too(here: Path) -> None:
    assert run_folder_of("..") == Path("runs", here.parent.name)


def test_a_source_without_a_name_asks_for_one() -> None:
    with pytest.raises(UsageError, match=r"the source / has no name .* --out"):
        run_folder_of("/")


@pytest.mark.parametrize("source", [None, 3])
def test_what_is_no_source_is_said_of_the_source(source: object) -> None:
    with pytest.raises(UsageError, match="a source must be a path"):
        tp.run(source)  # type: ignore[arg-type]


def test_commands_and_functions_agree_and_say_where(
    here: Path, vectors: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", str(vectors), "--dry-run"]) == 0
    assert f"runs/{vectors.stem}/report.html" in capsys.readouterr().out and not (here / "runs").exists()
    assert main(["embed", str(vectors)]) == 0
    assert f"runs/{vectors.stem}" in capsys.readouterr().out
    assert main(["run", str(vectors)]) == 0
    said = capsys.readouterr()
    assert f"writing to runs/{vectors.stem}\n" in said.err
    assert f"runs/{vectors.stem}/report.html" in said.out
    before = (here / "runs" / vectors.stem / "selection.parquet").read_bytes()
    tp.run(vectors)
    assert (here / "runs" / vectors.stem / "selection.parquet").read_bytes() == before
    assert [path.name for path in (here / "runs").iterdir()] == [vectors.stem]


def test_a_folder_that_is_named_is_not_announced(
    here: Path, vectors: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["embed", str(vectors), "--out", "mine"]) == 0
    assert "writing to" not in capsys.readouterr().err


def test_another_source_of_the_same_name_is_refused(
    here: Path, vectors: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", str(vectors)]) == 0
    np.save(here / vectors.name, np.load(vectors)[::-1])
    capsys.readouterr()
    for command in (["run", vectors.name], ["embed", vectors.name], ["run", vectors.name, "--dry-run"]):
        assert main(command) == 1
        error = capsys.readouterr().err
        assert f"runs/{vectors.stem} holds a run of {vectors}" in error and "choose another --out" in error


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(lambda base: images(base / "b" / "photos", shade=9), id="other pixels, same names"),
        pytest.param(lambda base: images(base / "b" / "photos" / "cat"), id="other names"),
    ],
)
def test_another_folder_of_the_same_name_is_refused(here: Path, other: Callable[[Path], Path]) -> None:
    images(here / "a" / "photos")
    other(here)
    tp.embed("a/photos", embedder=flat)
    with pytest.raises(RunFolderError, match=r"runs/photos .*--out"):
        tp.embed("b/photos", embedder=flat)
    assert RunFolder.open("runs/photos").read()["source"]["spec"] == str(here / "a" / "photos")


def test_a_folder_that_is_its_own_place_is_a_source_like_others(here: Path) -> None:
    images(here / "cat")
    images(here / "dog", shade=9)
    first = tp.embed(".", embedder=flat)
    assert len(first) == 8 and (here / "runs" / "work" / "run.json").exists()
    again = tp.embed(".", embedder=flat)
    assert again.ids.tolist() == first.ids.tolist()


def test_images_in_the_place_of_their_run_are_left_alone(here: Path) -> None:
    images(here / "runs" / "photos")
    with pytest.raises(RunFolderError, match="not empty and holds no run; choose another --out"):
        tp.embed("runs/photos", embedder=flat)
    assert len(list((here / "runs" / "photos").iterdir())) == 4


def test_a_run_folder_as_the_source_is_no_source(here: Path, vectors: Path) -> None:
    tp.embed(vectors)
    with pytest.raises(UsageError, match=str(Path("runs") / vectors.stem)):
        tp.embed(Path("runs") / vectors.stem)


def test_a_run_folder_is_no_source_and_holds_no_other(here: Path, vectors: Path) -> None:
    photos = images(here / "photos")
    tp.run(photos, out="photos/run", keep=0.5, embedder=flat)
    assert (
        tp.run(photos, out="photos/run", keep=0.5, embedder=flat).table.num_rows == 4
    )  # its thumbnails are not taken
    with pytest.raises(
        UsageError, match=r"run is a run folder, not a source; .*: tenpercent run .*photos --out"
    ):
        tp.run("photos/run", out="other")
    with pytest.raises(
        UsageError, match=r"^photos/run/inner lies in the run folder .*photos/run, whose files"
    ):
        tp.run(vectors, out="photos/run/inner")
    shutil.rmtree(here / "photos" / "run" / "locks")  # as a copy without empty folders lacks it
    assert tp.run(photos, out="more", keep=0.5, embedder=flat).table.num_rows == 4
    assert RunFolder(Path("more")).source.skipped == {"run folders": 1}
