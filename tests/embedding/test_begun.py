"""A run that has finished nothing may start again with other settings or another source; it locks no folder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import tenpercent as tp
from tenpercent.cli.main import main
from tenpercent.data.store.run_folder import RunFolder, Stage


def means(images: list[np.ndarray]) -> np.ndarray:
    return np.stack([image.reshape(-1, 3).mean(axis=0) for image in images])


def broken(images: list[np.ndarray]) -> np.ndarray:
    raise KeyboardInterrupt


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    draw = np.random.default_rng(0)
    (tmp_path / "photos").mkdir()
    for number in range(12):
        pixels = draw.integers(0, 256, (10, 10, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "photos" / f"{number:02d}.png")
    return tmp_path / "photos"


@pytest.fixture
def begun(folder: Path, tmp_path: Path) -> Path:
    """A run that was stopped before it had a vector."""
    with pytest.raises(KeyboardInterrupt):
        tp.embed(folder, out=tmp_path / "run", embedder=broken)
    assert RunFolder.open(tmp_path / "run").nothing_finished
    return tmp_path / "run"


def parts(run: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(run.glob("embeddings/*"))}


def test_other_settings_begin_it_again(
    folder: Path, begun: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tp.embed(folder, out=begun, embedder=means)
    (said,) = [one.getMessage() for one in caplog.records if one.levelname == "WARNING"]
    assert f"{begun} was not finished, and starts again, since function was " in said
    assert said.endswith(f"means; what it had made moved to {begun / 'earlier' / '1'}")
    tp.embed(folder, out=tmp_path / "other", embedder=means)
    assert parts(begun) == parts(tmp_path / "other")
    assert not (begun / "scratch" / "images.json").exists()


def test_an_image_that_is_gone_is_named_and_the_others_are_embedded(
    folder: Path, begun: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (folder / "03.png").unlink()
    assert len(tp.embed(folder, out=begun, embedder=means)) == 11
    assert "since the number of images was 12, now 11; 1 image gone (03.png)" in caplog.text
    (folder / "04.png").unlink()
    assert (
        len(tp.embed(folder, out=begun, embedder=means)) == 10
    )  # this one is finished, and is brought up to date


def test_another_source_takes_the_folder_of_a_run_that_made_nothing(
    folder: Path, begun: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    np.save(tmp_path / "vectors.npy", np.random.default_rng(0).standard_normal((9, 3)))
    tp.embed(tmp_path / "vectors.npy", out=begun)
    assert (
        f"the source was {folder}, now {tmp_path / 'vectors.npy'}; the kind was images, now vectors"
        in caplog.text
    )
    assert RunFolder.open(begun).source.n == 9


def test_a_folder_in_which_nothing_was_made_sets_nothing_aside(folder: Path, tmp_path: Path) -> None:
    from tenpercent.data.store.records import SourceRecord

    RunFolder.create(tmp_path / "run", SourceRecord("elsewhere", "0"))
    tp.embed(folder, out=tmp_path / "run", embedder=means)
    assert not (tmp_path / "run" / "earlier").exists()


def test_what_has_finished_is_refused_in_words(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, run = tmp_path / "vectors.npy", str(tmp_path / "run")
    np.save(file, np.random.default_rng(0).standard_normal((9, 3)))
    assert main(["embed", str(file), "--out", run]) == 0
    for rows, differ in (
        (np.ones((9, 4)), "the width of a vector was 3, now 4"),
        (np.ones((8, 3)), "the number of vectors was 9, now 8"),
        (np.ones((9, 3)), "its vectors, their names or their labels differ"),
    ):
        np.save(file, rows)
        for dry in ((), ("--dry-run",)):
            assert main(["embed", str(file), "--out", run, *dry]) == 1
            said = capsys.readouterr().err.splitlines()[-1]
            assert (
                f"{run} holds a run of {file}, made from other input: {differ}; choose another --out" in said
            )
            assert said.endswith("or start over with --reread; decisions hold by row number")
    assert RunFolder.open(run).stage(Stage.EMBED) is not None
    (tmp_path / "ids.txt").write_text("\n".join("abcdefghi"))
    named = ["embed", str(file), "--ids", str(tmp_path / "ids.txt"), "--out", str(tmp_path / "named")]
    assert main(named) == 0
    np.save(file, np.ones((9, 3)) + np.eye(9, 3))
    assert main(named) == 1
    assert capsys.readouterr().err.endswith("decisions hold by id\n")
    assert main([*named, "--reread"]) == 0
    assert f"{file} is read again; decisions hold by id" in capsys.readouterr().err
    assert main(["cluster", str(tmp_path / "named")]) == 0
    np.save(file, np.ones((9, 3)) + 2 * np.eye(9, 3))
    assert main([*named, "--reread"]) == 0
    assert "named/earlier/1; decisions hold by id" in capsys.readouterr().err


def test_a_dry_run_of_an_unfinished_run_refuses_nothing(folder: Path, begun: Path) -> None:
    (folder / "03.png").unlink()
    assert main(["embed", str(folder), "--out", str(begun), "--embedder", "pretrained", "--dry-run"]) == 0
