"""Runs whose labels are no classes of images: grouped by a column, objects; and folders, by re-splits."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

import tenpercent as tp
from reviewing import flat
from tenpercent.cli.main import main
from tenpercent.cli.parser import parse
from tenpercent.evaluation.arms import read_list


def test_the_selection_within_a_columns_values_is_evaluated_as_the_message_says(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    random = np.random.default_rng(0)
    vectors = random.normal(size=(60, 6)).astype(np.float32) + np.arange(60)[:, None] % 3
    columns = {"vector": vectors.tolist(), "label": np.arange(60) % 3, "camera": np.arange(60) // 30}
    monkeypatch.chdir(tmp_path)
    pq.write_table(pa.table(columns), "set.parquet")
    tp.run("set.parquet", out="by", keep=0.8, options=tp.SourceOptions(by="camera"))
    tp.run("set.parquet", out="other", keep=0.8)
    assert main(["evaluate", "by", "--network", "head"]) == 2
    said = capsys.readouterr().err
    assert "the images of by are grouped by camera, whose values are no classes" in said
    export, evaluate = (shlex.split(one) for one in re.findall(r"tenpercent ([^;\n]+)", said)[-2:])
    assert main(export) == 0
    parse([*evaluate[:1], "other", *evaluate[2:]])
    listed = read_list(Path(evaluate[-1].removeprefix("by=")), tp.cluster("other").embeddings)
    assert (
        listed.tolist() == np.flatnonzero(tp.Selection.load(Path("by/selection.parquet")).kept_by_id).tolist()
    )


def test_a_folder_of_images_is_split_again_and_again(tmp_path: Path) -> None:
    for number in range(20):
        pixels = np.random.default_rng(number).integers(0, 256, (8, 8, 3), np.uint8)
        (tmp_path / "photos" / "ab"[number % 2]).mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(tmp_path / "photos" / "ab"[number % 2] / f"{number}.png")
    tp.run(tmp_path / "photos", out=tmp_path / "run", embedder=flat)
    assert main(["evaluate", str(tmp_path / "run"), "--network", "head", "--trials", "2"]) == 0
