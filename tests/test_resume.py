"""What an earlier command, a kill or another process left in a run folder never mixes with what comes next."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import tenpercent as tp
from tenpercent.data.store.run_folder import RunFolder, Stage
from tenpercent.embedding import extract
from tenpercent.errors import LockedError, SourceError, StageError
from tenpercent.linkage import memory
from tenpercent.linkage.linkage import Linkage, first_merges
from tenpercent.tree import clustering, merges
from tenpercent.tree.cut import Cut


@pytest.fixture
def labelled(vectors: Path) -> tp.SourceOptions:
    return tp.SourceOptions(labels=vectors.with_name("labels.npy"))


def test_grouping_over_all_is_not_taken_over_by_the_next_run(
    vectors: Path, labelled: tp.SourceOptions, tmp_path: Path
) -> None:
    tp.run(vectors, out=tmp_path / "run", options=labelled, cut=Cut(keep=0.8, within="all"))
    tp.run(vectors, out=tmp_path / "run", options=labelled, keep=0.8)
    tp.run(vectors, out=tmp_path / "fresh", options=labelled, keep=0.8)
    for name in ("merges.parquet", "selection.parquet"):
        assert (tmp_path / "run" / name).read_bytes() == (tmp_path / "fresh" / name).read_bytes()


def test_a_kill_while_a_tree_is_deepened_leaves_one_that_serves(
    vectors: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    tp.run(vectors, out=run, keep=0.9)

    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(RunFolder, "record", killed)
        with pytest.raises(KeyboardInterrupt):
            tp.select(run, Cut(keep=0.3))
    with pytest.raises(StageError, match="tenpercent select"):
        tp.report(run)
    assert len(tp.select(run, Cut(keep=0.3)).kept) == 18


def test_an_interrupted_clustering_goes_on_class_by_class(
    vectors: Path, labelled: tp.SourceOptions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, calls = tmp_path / "run", []

    def interrupted(rows: Any, **asked: Any) -> Linkage:
        calls.append(len(rows))
        if len(calls) == 2:
            raise KeyboardInterrupt
        return first_merges(rows, **asked)

    tp.run(vectors, out=tmp_path / "fresh", options=labelled, keep=0.3)
    monkeypatch.setattr(clustering, "first_merges", interrupted)
    monkeypatch.setattr(memory, "cpus", lambda: 1)
    with pytest.raises(KeyboardInterrupt):
        tp.run(vectors, out=run, options=labelled, keep=0.3)
    assert len(list(run.glob("scratch/cluster-*/part-00000.parquet"))) == 1
    tp.run(vectors, out=run, options=labelled, keep=0.3)
    assert len(calls) == 4  # the one interrupted, and the one that had not begun
    assert not (run / "scratch").exists()
    for name in ("merges.parquet", "selection.parquet"):
        assert (run / name).read_bytes() == (tmp_path / "fresh" / name).read_bytes()


@pytest.mark.parametrize(
    ("place", "name"), [(merges, "save_counts"), (merges, "write_table"), (RunFolder, "record")]
)
@pytest.mark.parametrize("command", [tp.cluster, tp.select])
def test_a_kill_while_a_deeper_tree_is_stored_costs_nothing(
    place: object,
    name: str,
    command: Callable[..., object],
    vectors: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run, fresh = tmp_path / "run", tmp_path / "fresh"
    for out in (run, fresh):
        tp.embed(vectors, out=out)
        tp.cluster(out, keep=0.85)
        tp.select(out, Cut(keep=0.9))

    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(place, name, killed)
        with pytest.raises(KeyboardInterrupt):
            command(run, keep=0.7)
    for out in (run, fresh):
        command(out, keep=0.7)
    assert not (run / "scratch").exists()
    for stored in ("merges.parquet", "merges.counted.parquet", "selection.parquet"):
        assert (run / stored).read_bytes() == (fresh / stored).read_bytes()


def test_what_a_kill_left_when_all_was_stored_is_cleared(vectors: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    tp.run(vectors, out=run)
    (run / "scratch" / "cluster-0").mkdir(parents=True)
    tp.run(vectors, out=run)
    assert not (run / "scratch").exists()


def test_what_is_made_from_a_stage_is_held_while_that_is_made_anew(vectors: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    tp.run(vectors, out=run)
    with RunFolder.open(run).lock(Stage.REPORT):
        with pytest.raises(LockedError, match=f"report stage is held by process {os.getpid()}"):
            tp.select(run)
        with pytest.raises(LockedError, match="report stage"):
            tp.cluster(run, keep=0.2)
    assert len(tp.select(run).kept) == 54


def test_a_selection_of_other_embeddings_is_not_reported(vectors: Path, tmp_path: Path) -> None:
    run, other = tmp_path / "run", tmp_path / "other"
    tp.run(vectors, out=run)
    (tmp_path / "ids.txt").write_text("\n".join(f"image-{row:02d}" for row in range(60)))
    tp.run(vectors, out=other, options=tp.SourceOptions(ids=tmp_path / "ids.txt"))
    (run / "selection.parquet").write_bytes((other / "selection.parquet").read_bytes())
    with pytest.raises(StageError, match="another checksum"):
        tp.report(run)
    alone = tmp_path / "alone.parquet"  # beside no run.json that knows it
    alone.write_bytes((other / "selection.parquet").read_bytes())
    with pytest.raises(StageError, match="made from other embeddings"):
        tp.Selection.load(alone, tp.cluster(run).embeddings)


def test_a_damaged_tree_is_named_and_can_be_made_anew(vectors: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    tp.run(vectors, out=run)
    whole = (run / "merges.parquet").read_bytes()
    (run / "merges.parquet").write_bytes(whole[:-20])
    for command in (tp.cluster, tp.select):
        with pytest.raises(StageError, match=r"merges\.parquet is damaged"):
            command(run)
    (run / "merges.parquet").unlink()
    tp.run(vectors, out=run)
    assert (run / "merges.parquet").read_bytes() == whole


def test_a_lost_part_is_missed_and_made_again(photos: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    quick = tp.Supervised(depth=8, epochs=1, batch=16, precision="float32")
    tp.run(photos, out=run, embedder=quick)
    part = run / "embeddings" / "part-00000.parquet"
    before = part.read_bytes()
    part.unlink()
    with pytest.raises(StageError, match="tenpercent embed"):
        tp.select(run)
    tp.embed(photos, out=run, embedder=quick)
    assert part.read_bytes() == before
    with pytest.raises(StageError, match="tenpercent select"):
        tp.export(run, "csv", tmp_path / "kept.csv")


def colours(images: Any) -> np.ndarray:
    return np.asarray(images, dtype=np.float32).reshape(len(images), -1)[:, :12]


def embedded(photos: Path, out: Path) -> Path:
    """Embeddings of `photos` in part files of 16 images."""
    tp.embed(photos, out=out, embedder=colours)
    return out


def test_embeddings_that_were_deleted_are_made_anew(photos: Path, tmp_path: Path) -> None:
    run = embedded(photos, tmp_path / "run")
    before = {path.name: path.read_bytes() for path in (run / "embeddings").iterdir()}
    shutil.rmtree(run / "embeddings")
    embedded(photos, run)
    assert {path.name: path.read_bytes() for path in (run / "embeddings").iterdir()} == before


def test_parts_made_anew_do_not_vouch_for_a_damaged_one(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(extract, "PART", 16)
    run = embedded(photos, tmp_path / "run")
    parts = sorted((run / "embeddings").glob("part-*.parquet"))
    assert len(parts) == 3
    parts[0].unlink()
    table = pq.read_table(parts[1])
    vectors = table["end"].combine_chunks()
    values = vectors.flatten().to_numpy().copy()
    values[0] += 1
    changed = pa.FixedSizeListArray.from_arrays(pa.array(values), vectors.type.list_size)
    pq.write_table(table.set_column(table.column_names.index("end"), "end", changed), parts[1])
    with pytest.raises(StageError, match=r"part-00001.parquet is damaged"):
        embedded(photos, run)


def test_a_source_that_was_moved_is_followed(photos: Path, tmp_path: Path) -> None:
    run, moved = embedded(photos, tmp_path / "run"), tmp_path / "elsewhere"
    tp.cluster(run)
    tp.select(run, keep=0.5)
    photos.rename(moved)
    with pytest.raises(SourceError, match=r"is not there; .* tenpercent run PLACE --out"):
        tp.export(run, "folder", tmp_path / "kept")
    embedded(moved, run)
    tp.export(run, "folder", tmp_path / "kept")
    assert len(list((tmp_path / "kept").rglob("*.png"))) == 24


def test_the_labels_beside_vectors_that_were_moved_are_followed(vectors: Path, tmp_path: Path) -> None:
    run, moved = tmp_path / "run", tmp_path / "elsewhere"
    tp.run(vectors, out=run, options=tp.SourceOptions(labels=vectors.with_name("labels.npy")))
    moved.mkdir()
    for name in ("vectors.npy", "labels.npy"):
        (tmp_path / name).rename(moved / name)
    with pytest.raises(SourceError, match="name the new place once"):
        tp.report(run)
    options = tp.SourceOptions(labels=moved / "labels.npy")
    tp.run(moved / "vectors.npy", out=run, options=options)
    tp.report(run)
