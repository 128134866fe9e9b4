"""The whole flow on small real folders: what is written, what is resumed, what never leaks."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

import tenpercent as tp
from conftest import write_photos
from tenpercent.cli.main import main
from tenpercent.data.sources.holdout import split_holdout
from tenpercent.data.sources.opening import open_source
from tenpercent.errors import StageError, UsageError
from tenpercent.tree.cut import Cut

QUICK = tp.Supervised(depth=8, epochs=2, batch=16, precision="float32")
STORED = ("selection.parquet", "merges.parquet", "rejected.parquet", "embeddings/part-00000.parquet")


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_photos(tmp_path_factory.mktemp("made") / "photos")


@pytest.fixture(scope="module")
def made(photos: Path) -> Path:
    """A run of them; not to be changed."""
    tp.run(photos, out=photos.parent / "run", keep=0.75, embedder=QUICK)
    return photos.parent / "run"


@pytest.fixture
def run(made: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return Path(shutil.copytree(made, tmp_path / "run"))


def test_a_run_writes_what_it_says(run: Path) -> None:
    content = json.loads((run / "run.json").read_text())
    assert list(content["stages"]) == ["embed", "cluster", "select", "report"]
    assert content["source"]["skipped"] == {"files that are not images": 1}
    selection = tp.Selection.load(run / "selection.parquet")
    assert len(selection) == 48
    assert len(selection.kept) == 36
    rejected = pq.read_table(run / "rejected.parquet").to_pylist()
    assert [row["id"] for row in rejected] == ["cat/broken.jpg"]
    assert "cat/broken.jpg" in (run / "report.html").read_text()
    assert {"weights.safetensors", "settings.json", "curve.json"} <= {
        p.name for p in (run / "training").iterdir()
    }


def test_a_second_run_repeats_nothing_and_changes_no_byte(run: Path, photos: Path) -> None:
    before = {name: (run / name).read_bytes() for name in STORED}
    times = {name: (run / name).stat().st_mtime_ns for name in STORED[1:]}
    tp.run(photos, out=run, keep=0.75, embedder=QUICK)
    assert {name: (run / name).read_bytes() for name in STORED} == before
    assert {name: (run / name).stat().st_mtime_ns for name in STORED[1:]} == times


def test_other_settings_are_refused_and_named(run: Path, photos: Path) -> None:
    with pytest.raises(StageError, match="epochs was 2, now 3"):
        tp.embed(photos, out=run, embedder=tp.Supervised(depth=8, epochs=3, batch=16, precision="float32"))


def test_embeddings_and_training_that_were_deleted_are_made_anew(run: Path, photos: Path) -> None:
    before = {name: (run / name).read_bytes() for name in STORED}
    shutil.rmtree(run / "embeddings")
    with pytest.raises(StageError, match=r"delete .*embeddings and .*training to embed again"):
        tp.run(photos, out=run, keep=0.75, embedder=QUICK)
    shutil.rmtree(run / "training")  # as the message says
    tp.run(photos, out=run, keep=0.75, embedder=QUICK)
    assert {name: (run / name).read_bytes() for name in STORED} == before


def test_layers_come_from_one_training(run: Path) -> None:
    widths = {
        layer: tp.Embeddings.load(run / "embeddings", layer).width for layer in ("start", "middle", "end")
    }
    assert widths == {"start": 16, "middle": 32, "end": 64}
    assert main(["cluster", str(run), "--layer", "start", "--keep", "0.5"]) == 0
    assert main(["select", str(run), "--keep", "0.5"]) == 0
    assert pq.read_metadata(run / "selection.parquet").num_rows == 48
    assert main(["select", str(run), "--keep", "0.2"]) == 0  # deepens on the layer it was clustered on
    assert json.loads((run / "run.json").read_text())["stages"]["cluster"]["settings"]["layer"] == "start"


def test_every_image_may_be_explained(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    selection = tp.Selection.load(run / "selection.parquet")
    for name in (selection.removed[0], selection.kept[0]):
        assert main(["explain", str(run), str(name)]) == 0
    said = capsys.readouterr().out
    assert "is removed" in said
    assert "is kept" in said


def test_an_image_that_took_no_part_is_explained(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", str(run), "cat/broken.jpg"]) == 2
    assert "took no part: it was rejected" in capsys.readouterr().err


def test_the_same_bytes_for_shuffled_vectors(tmp_path: Path) -> None:
    generator = np.random.default_rng(3)
    rows = np.repeat(generator.standard_normal((30, 6)).astype(np.float32), 2, axis=0)
    labels, ids = np.arange(60) % 4, np.array([f"image-{i}" for i in range(60)])
    order = generator.permutation(60)
    tables = []
    for name, take in (("plain", np.arange(60)), ("shuffled", order)):
        folder = tmp_path / name
        folder.mkdir()
        np.save(folder / "v.npy", rows[take])
        np.save(folder / "l.npy", labels[take])
        (folder / "ids.txt").write_text("\n".join(ids[take]))
        options = tp.SourceOptions(labels=folder / "l.npy", ids=folder / "ids.txt")
        tables.append(tp.run(folder / "v.npy", out=folder / "run", keep=0.6, options=options).table)
    assert (tmp_path / "plain/run/merges.parquet").read_bytes() == (
        tmp_path / "shuffled/run/merges.parquet"
    ).read_bytes()
    assert tables[0].drop_columns("row").equals(tables[1].drop_columns("row"))


def test_a_deeper_cut_deepens_the_stored_tree(vectors: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    tp.embed(vectors, out=run)
    tp.cluster(run, keep=0.85)
    shallow = pq.read_metadata(run / "merges.parquet").num_rows
    assert len(tp.select(run, Cut(keep=0.3)).kept) == 18
    assert pq.read_metadata(run / "merges.parquet").num_rows > shallow
    tp.run(vectors, out=tmp_path / "direct", keep=0.3)
    assert (run / "selection.parquet").read_bytes() == (tmp_path / "direct/selection.parquet").read_bytes()


def test_held_out_images_never_leak(photos: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    selection = tp.run(photos, out=run, keep=0.75, embedder=QUICK, holdout=0.25)
    held = pq.read_table(run / "holdout.parquet").to_pylist()
    assert [row["label"] for row in held].count(1) == 6  # a quarter of each class: 24 dogs, 25 cats
    assert [row["label"] for row in held].count(0) == 6
    embedded = set(selection.ids) | {row["id"] for row in pq.read_table(run / "rejected.parquet").to_pylist()}
    assert not embedded & {row["id"] for row in held}
    assert len(embedded) + len(held) == 49
    with pytest.raises(StageError, match="held out"):
        tp.run(photos, out=run, keep=0.75, embedder=QUICK)


def test_a_holdout_depends_on_ids_alone() -> None:
    source = open_source("digits")
    assert not isinstance(source, tp.Embeddings)
    used, held = split_holdout(source, 0.2)
    assert len(used) + len(held) == len(source) == 1437
    assert source.labels is not None
    shares = np.bincount(source.labels[held]) / np.bincount(source.labels)
    assert np.all(np.abs(shares - 0.2) < 0.01)
    with pytest.raises(UsageError, match=r"holdout is 1\.5"):
        split_holdout(source, 1.5)


def test_a_dry_run_writes_nothing(photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", str(photos), "--out", str(tmp_path / "run"), "--dry-run", "--depth", "8"]) == 0
    said = capsys.readouterr().out
    assert "Nothing was written" in said
    assert "49 images" in said
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("command", ["run", "cluster", "select"])
def test_too_little_memory_is_one_line(
    command: str, vectors: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = str(tmp_path / "run")
    if command == "run":
        words = ["run", str(vectors), "--out", run]
    else:
        tp.embed(vectors, out=run)
        tp.cluster(run, keep=0.85)
        words = [command, run]
    assert main([*words, "--keep", "0.5", "--memory", "lots"]) == 2
    assert "memory is 'lots'; it must be" in capsys.readouterr().err
    assert main([*words, "--keep", "0.5", "--memory", "1MiB"]) == 1
    said = capsys.readouterr().err.splitlines()[-1]
    assert said.startswith("tenpercent: error: --keep 0.5 needs about ")
    give = said.split("give --memory ")[1].removesuffix(" or more")
    assert main([*words, "--keep", "0.5", "--memory", give]) == 0


def test_a_dry_run_of_vectors_says_what_clustering_takes(
    vectors: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", str(vectors), "--out", str(tmp_path / "run"), "--dry-run", "--memory", "100MiB"]) == 0
    assert "beside the vectors, and 100 MiB may be used" in capsys.readouterr().out
    assert main(["run", str(vectors), "--out", str(tmp_path / "run"), "--dry-run", "--memory", "1MiB"]) == 0
    assert "needs about" in capsys.readouterr().out
    assert not (tmp_path / "run").exists()


def test_quiet_prints_nothing(vectors: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", str(vectors), "--out", str(tmp_path / "run"), "--quiet"]) == 0
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == ""
