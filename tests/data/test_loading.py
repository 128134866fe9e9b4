"""What a run folder holds is loaded by the name of the folder as well as of the file."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

import tenpercent as tp
from stored_runs import unpack
from tenpercent.data.store.run_folder import RunFolder
from tenpercent.errors import StageError, TenpercentError


def test_a_run_folder_is_as_good_as_its_files(tmp_path: Path) -> None:
    run = unpack(tmp_path) / "runs" / "photos"
    by_run, by_file = tp.Embeddings.load(run), tp.Embeddings.load(run / "embeddings")
    assert by_run.origin == by_file.origin
    assert tp.Embeddings.load(str(run), "middle").layer == "middle"  # type: ignore[arg-type]
    assert tp.Selection.load(run).table.equals(tp.Selection.load(run / "selection.parquet").table)


def test_what_is_not_there_is_said_with_its_remedy(vectors: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    tp.embed(vectors, out=run)
    with pytest.raises(StageError, match=r"tp.cluster\(RUN\).embeddings"):
        tp.Embeddings.load(run)
    with pytest.raises(
        StageError, match=r"run/selection.parquet does not exist; make it with: tenpercent select .*/run"
    ):
        tp.Selection.load(run)
    with pytest.raises(StageError, match="nowhere does not exist"):
        tp.Selection.load(tmp_path / "nowhere")


def others(folder: Path, vectors: Path) -> list[Path]:
    """Return files of a user that are none of a run folder's, some under the names of such files."""
    folder.mkdir()
    pq.write_table(pa.table({"x": [1.0], "label": ["cat"]}), folder / "data.parquet")
    for name in ("merges.parquet", "selection.parquet", "part-00000.parquet"):
        shutil.copy(folder / "data.parquet", folder / name)
    (folder / "notes.txt").write_text("thesis")
    (folder / "empty").touch()
    Image.new("RGB", (4, 4)).save(folder / "photo.jpg")
    return [*folder.iterdir(), vectors]


def test_a_file_of_something_else_is_named_as_such_and_never_to_be_deleted(
    vectors: Path, tmp_path: Path
) -> None:
    run = unpack(tmp_path) / "runs" / "photos"
    embeddings = tp.Embeddings.load(run)
    foreign = others(tmp_path / "mine", vectors)
    wrong: list[tuple[Callable[[], object], str]] = []
    for path in (*foreign, run / "merges.parquet", run / "run.json", run / "embeddings/part-00000.parquet"):
        wrong.append(
            (partial(tp.Selection.load, path), r"is not a selection.*pass a run folder, or the selection")
        )
    for path in (*foreign, run / "selection.parquet", run / "run.json"):
        wrong.append(
            (partial(tp.Merges.load, path, embeddings), r"is not a tree of merges.*the merges\.parquet")
        )
    for path in (*foreign, run / "selection.parquet"):
        wrong.append((partial(tp.Embeddings.load, path), "is a file, not a run folder; pass"))
    wrong.append(
        (partial(tp.Embeddings.load, tmp_path / "mine"), "is not a part of embeddings.*pass a run folder")
    )
    for path in foreign:
        wrong.append((partial(RunFolder.open, path), "is a file, not a run folder; make a run folder"))
    wrong.append(
        (partial(RunFolder.open, run / "selection.parquet"), "is a file, not a run folder; pass .*photos$")
    )
    for load, said in wrong:
        with pytest.raises(TenpercentError, match=said) as refused:
            load()
        assert "delete" not in str(refused.value) and "damaged" not in str(refused.value)


def test_a_path_that_is_nowhere_is_said_as_it_was_given(
    vectors: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    embeddings = tp.Embeddings.from_numpy(np.eye(3))
    for load in (tp.Selection.load, partial(tp.Merges.load, embeddings=embeddings), tp.Embeddings.load):
        with pytest.raises(StageError, match=r"^nowhere does not exist; .*--out (nowhere|RUN)"):
            load("nowhere")  # type: ignore[operator]
    Path("mine").mkdir()
    with pytest.raises(StageError, match=r"^mine is not a run folder \(no run.json\)"):
        tp.Selection.load("mine")


def test_a_copy_of_a_selection_that_is_cut_short_is_not_to_be_deleted(tmp_path: Path) -> None:
    content = (unpack(tmp_path) / "runs/photos/selection.parquet").read_bytes()
    (tmp_path / "copy.parquet").write_bytes(content)
    assert len(tp.Selection.load(tmp_path / "copy.parquet"))
    (tmp_path / "copy.parquet").write_bytes(content[:-20])
    with pytest.raises(StageError, match=r"copy.parquet is damaged .*; move it away"):
        tp.Selection.load(tmp_path / "copy.parquet")
