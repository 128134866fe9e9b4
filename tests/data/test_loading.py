"""What a run folder holds is loaded by the name of the folder as well as of the file."""

from __future__ import annotations

from pathlib import Path

import pytest

import tenpercent as tp
from stored_runs import unpack
from tenpercent.errors import StageError


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
