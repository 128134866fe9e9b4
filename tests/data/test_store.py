"""The run folder, whole files, and embeddings on disk and off it."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tenpercent.data.store import embeddings as embeddings_module
from tenpercent.data.store import files
from tenpercent.data.store import ids as ids_module
from tenpercent.data.store.embeddings import Embeddings, row_ids
from tenpercent.data.store.files import replacing
from tenpercent.data.store.part_files import Part, part_files, write_part
from tenpercent.data.store.records import SourceRecord
from tenpercent.data.store.run_folder import RunFolder, Stage
from tenpercent.errors import LockedError, RunFolderError, StageError, UsageError

SOURCE = SourceRecord("photos", "0123")


def test_a_file_is_whole_or_absent(tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    path.write_text("old")
    with pytest.raises(ZeroDivisionError), replacing(path) as temporary:
        temporary.write_text("half")
        raise ZeroDivisionError
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_errors_of_the_disk_name_the_file(tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match=r"file\.txt.*No space left"), replacing(tmp_path / "file.txt"):
        raise OSError(28, os.strerror(28))


def test_what_a_killed_process_left_is_cleared_and_nothing_else(tmp_path: Path) -> None:
    run = RunFolder.create(tmp_path / "run", SOURCE)
    run.embeddings.mkdir()
    half = [run.embeddings / "part-00001.parquet.12.partial", run.path / "rejected.parquet.12.partial"]
    whole = [run.embeddings / "part-00000.parquet", run.path / "selection.parquet.13.partial"]
    for path in half + whole:
        path.write_bytes(b"x")
    with run.lock(Stage.EMBED):
        assert not any(path.exists() for path in half)
        assert all(path.exists() for path in whole)


def test_a_kill_while_the_folder_is_made_leaves_one_that_serves(tmp_path: Path) -> None:
    (tmp_path / "run" / "locks").mkdir(parents=True)
    (tmp_path / "run" / "run.json.12.partial").write_text('{"form')
    (tmp_path / "run" / "locks" / "embed.holder.json.12.partial").write_text("{")
    run = RunFolder.create(tmp_path / "run", SOURCE)
    with run.lock(Stage.EMBED):
        pass
    assert run.source == SOURCE
    assert not list(run.path.rglob("*.partial"))


def test_a_damaged_part_is_named(tmp_path: Path) -> None:
    (tmp_path / "part-00000.parquet").write_bytes(b"PAR1 half a file")
    with pytest.raises(StageError, match=r"part-00000\.parquet is damaged .*; move it away"):
        Embeddings.load(tmp_path)


def test_one_lock_a_stage(tmp_path: Path) -> None:
    run = RunFolder.create(tmp_path / "run", SOURCE)
    with run.lock(Stage.SELECT):
        with run.lock(Stage.REPORT):
            pass
        with pytest.raises(LockedError, match=str(os.getpid())), RunFolder.open(run.path).lock(Stage.SELECT):
            pass
    with run.lock(Stage.SELECT):
        pass


def test_forgetting_a_stage_forgets_the_later_ones(tmp_path: Path) -> None:
    run = RunFolder.create(tmp_path / "run", SOURCE)
    for stage in Stage:
        run.record(stage, {"of": str(stage)}, 1.0)
    run.forget(Stage.SELECT)
    assert list(run.read()["stages"]) == ["embed", "cluster"]
    with pytest.raises(StageError, match="tenpercent select"):
        run.require(Stage.SELECT)


def test_broken_run_json(tmp_path: Path) -> None:
    run = RunFolder.create(tmp_path / "run", SOURCE)
    run.json_path.write_text('{"format": ')
    with pytest.raises(RunFolderError, match=r"run\.json can't be read"):
        RunFolder.open(run.path)
    run.json_path.write_text(json.dumps({"format": 99}))
    with pytest.raises(RunFolderError, match="format 99"):
        RunFolder.open(run.path)


def test_parts_come_back_in_id_order(tmp_path: Path) -> None:
    vectors = np.arange(12, dtype=np.float32).reshape(4, 3) + 1
    about = {"origin": "abc", "class_names": ["cat", "dog"], "labelled": True}
    names = ["d", "b", "a", "c"]
    for number in range(2):
        rows = np.arange(2) + 2 * number
        part = Part(
            ids=[names[row] for row in rows],
            rows=rows,
            paths=[None, None],
            labels=rows % 2,
            hashes=["", ""],
            layers={"start": vectors[rows, :2], "end": vectors[rows]},
        )
        write_part(tmp_path, number, part, about)
    found = Embeddings.load(tmp_path)
    assert found.ids.tolist() == ["a", "b", "c", "d"]
    assert found.rows.tolist() == [2, 1, 3, 0]
    assert found.class_names == ("cat", "dog")
    np.testing.assert_array_equal(found.vectors, vectors[[2, 1, 3, 0]])
    np.testing.assert_array_equal(Embeddings.load(tmp_path, "start").vectors, vectors[[2, 1, 3, 0], :2])
    assert Embeddings.load(tmp_path, "start").origin != found.origin
    with pytest.raises(UsageError, match="start, end"):
        Embeddings.load(tmp_path, "middle")
    assert pq.read_schema(part_files(tmp_path)[0]).names == [
        "id",
        "row",
        "path",
        "label",
        "hash",
        "start",
        "end",
    ]


@pytest.mark.parametrize("dtype", ["float16", ">f4", "<f8", "int32", "uint8"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_vectors_of_any_kind(dtype: str, order: str) -> None:
    rows = np.array([[1, 2], [3, 4], [5, 6]]).astype(dtype, order=order)
    rows.setflags(write=False)
    found = Embeddings.from_numpy(rows)
    assert found.vectors.dtype == (np.float64 if dtype == "<f8" else np.float32)
    np.testing.assert_array_equal(found.vectors, [[1, 2], [3, 4], [5, 6]])


def test_rows_are_sorted_by_id() -> None:
    found = Embeddings.from_numpy(np.eye(3), ids=["b", "c", "a"], labels=["x", "y", "x"])
    assert found.rows.tolist() == [2, 0, 1]
    assert found.labels is not None
    assert [found.class_names[code] for code in found.labels] == ["x", "x", "y"]


def test_ready_vectors_stay_where_they_lie(tmp_path: Path) -> None:
    np.save(tmp_path / "v.npy", np.eye(5, dtype=np.float32))
    mapped = np.load(tmp_path / "v.npy", mmap_mode="r")
    assert np.shares_memory(Embeddings.from_numpy(mapped).vectors, mapped)


def test_row_ids_sort_as_rows() -> None:
    ids = row_ids(1001).tolist()
    assert ids == sorted(ids)
    assert ids[:2] == ["0000", "0001"]
    assert row_ids(1).tolist() == ["0"]


def test_ids_are_made_and_hashed_alike_however_many_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = np.random.default_rng(0).normal(size=(25, 3))
    found = Embeddings.from_numpy(vectors)
    for size in (1, 7, 25):
        monkeypatch.setattr(ids_module, "AT_ONCE", size)
        monkeypatch.setattr(embeddings_module, "AT_ONCE", size)
        again = Embeddings.from_numpy(vectors)
        assert again.ids.tolist() == found.ids.tolist() == [f"{row:02}" for row in range(25)]
        assert again.origin == found.origin


@pytest.mark.parametrize("rows", [1, 6, 12, 13])
def test_a_table_written_in_parts_has_the_same_bytes(
    rows: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "ROW_GROUP", 6)
    table = pa.table({"id": [str(n % 4) for n in range(rows)], "a": [None, *range(1, rows)]})
    files.write_table(tmp_path / "whole.parquet", table, {"format": 1})
    files.write_parts(
        tmp_path / "parts.parquet", (table.slice(at, 6) for at in range(0, rows, 6)), {"format": 1}
    )
    assert (tmp_path / "parts.parquet").read_bytes() == (tmp_path / "whole.parquet").read_bytes()
    assert pq.read_table(tmp_path / "parts.parquet").equals(table)
    assert pq.read_metadata(tmp_path / "parts.parquet").num_row_groups == -(-rows // 6)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"labels": [0, 1]}, "2 labels for 3 vectors"),
        ({"labels": [0, -2, 1]}, "below -1"),
        ({"labels": [0, 1, 2], "class_names": ["a", "b"]}, "has no name"),
        ({"labels": [0.5, 1.0, 2.0]}, r"label 0\.5 \(row 0, float\) is not a whole number"),
        ({"ids": ["a", "b"]}, "2 ids for 3 vectors"),
        ({"ids": ["a", "b", "a"]}, "'a' occurs more than once"),
    ],
)
def test_what_does_not_fit_is_refused(arguments: dict[str, list[object]], expected: str) -> None:
    with pytest.raises(UsageError, match=expected):
        Embeddings.from_numpy(np.eye(3), **arguments)  # type: ignore[arg-type]


def test_labels_of_none_only_are_no_labels() -> None:
    assert Embeddings.from_numpy(np.eye(2), labels=[-1, -1]).labels is None
