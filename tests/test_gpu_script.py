"""The script for a GPU runs through on the CPU with tiny sizes, writes what is done at once and ends in time."""

from __future__ import annotations

import io
import json
import signal
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

sys.path.append(str(Path(__file__).resolve().parent.parent / "experiments"))

import gpu


def images(n: int, seed: int) -> pa.Table:
    """Noise of 16 × 16 pixels in two classes, told apart by a channel."""
    random = np.random.default_rng(seed)
    rows = []
    for number in range(n):
        pixels = random.integers(0, 160, (16, 16, 3), dtype=np.uint8)
        pixels[:, :, number % 2] += 90
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, "PNG")
        rows.append({"bytes": file.getvalue(), "path": None})
    return pa.table({"img": rows, "label": [number % 2 for number in range(n)]})


@pytest.fixture
def words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    (tmp_path / "data").mkdir()
    pq.write_table(images(24, 0), tmp_path / "data" / "train.parquet")
    pq.write_table(images(8, 1), tmp_path / "data" / "test.parquet")
    whole = gpu.plan

    def less(name: str, steps: int | None) -> gpu.Plan:
        found = whole(name, steps)
        return replace(found, trials=1, arms=[found.arms[at] for at in (0, 4, 7)])

    monkeypatch.setattr(gpu, "plan", less)
    monkeypatch.setattr(gpu, "DEVICE", "cpu")
    places = {"--data": "data", "--out": "runs", "--to": "results"}
    return [*(word for flag, name in places.items() for word in (flag, str(tmp_path / name))), "--steps", "2"]


def test_arms_are_trained_once_and_again_resumes(
    tmp_path: Path, words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["gpu.py", "cifar10", *words, "--sizes", "400x8"])
    gpu.main()
    found = json.loads((tmp_path / "results" / "filters.json").read_text())["400x8"]
    assert found["same"] and found["bf16"]["pairs"] > 400
    table = pq.read_table(tmp_path / "results" / "cifar10.parquet")
    done = {(row["arm"], row["fraction"], row["status"], row["n"]) for row in table.to_pylist()}
    assert done == {("full", 1.0, "done", 24), ("random", 0.7, "done", 17), ("spread", 0.3, "done", 7)}
    assert capsys.readouterr().out.count("trial 1:") == 3
    gpu.main()
    assert "trial 1:" not in capsys.readouterr().out


def test_the_other_call_is_the_article_s_protocol() -> None:
    plan = gpu.plan("fashion", None)
    training = plan.protocol.training
    assert (training.epochs, training.batch, training.network) == (100, 128, "resnet34")
    assert (plan.within, plan.embedder.dim, len(plan.arms)) == ("all", 64, 3)


def test_time_is_up(
    words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(gpu, "compare_filters", lambda *_: signal.pause())
    monkeypatch.setattr(sys, "argv", ["gpu.py", "cifar10", *words, "--minutes", "0.0005"])
    gpu.main()
    assert "ended after 0.0005 minutes" in capsys.readouterr().out
