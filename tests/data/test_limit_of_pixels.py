"""The limit of pixels that a run was made with holds when it is resumed; another one is refused, not ignored."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from tenpercent.cli.main import main
from tenpercent.data.decoding.decode import decode
from tenpercent.data.sources.options import Decoding
from tenpercent.data.sources.source import Unreadable
from tenpercent.exporting.encoded import encoded


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Twelve images of 64 pixels, and one of 128."""
    rng = np.random.default_rng(0)
    for number in range(13):
        file = tmp_path / "photos" / "ab"[number % 2] / f"{number}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        size = (8, 16, 3) if number == 12 else (8, 8, 3)
        Image.fromarray(rng.integers(0, 255, size, dtype=np.uint8)).save(file)
    return tmp_path / "photos"


def rejected(run: Path) -> list[str]:
    return [str(name) for name in pq.read_table(run / "rejected.parquet")["id"].to_pylist()]


def test_a_run_keeps_its_limit_and_refuses_another(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    training = ("--embedder", "selfsupervised", "--steps", "1", "--depth", "8", "--quiet")
    command = ["embed", str(photos), "--out", str(run), *training]
    assert main([*command, "--max-pixels", "100"]) == 0
    assert rejected(run) == ["a/12.png"]
    assert main(command) == 0  # resumed, with its own limit
    capsys.readouterr()
    assert main([*command, "--max-pixels", "200"]) == 1
    said = capsys.readouterr().err
    assert "--max-pixels was 100, now 200; choose another --out" in said
    assert said.count("\n") == 1
    assert rejected(run) == ["a/12.png"]
    assert main([*command, "--max-pixels", "200", "--reread"]) == 0
    assert not (run / "rejected.parquet").exists() or rejected(run) == []


def test_arrays_are_rejected_like_files_and_exported_whatever_the_limit() -> None:
    pixels = np.zeros((10, 11, 1), np.uint8)
    assert decode(pixels, Decoding(max_pixels=110)).shape == (10, 11, 3)
    with pytest.raises(
        Unreadable, match="11 × 10 is above the limit of 109; --max-pixels 110 --reread takes it"
    ):
        decode(pixels, Decoding(max_pixels=109))
    assert encoded(np.broadcast_to(np.False_, (9_500, 9_500))).startswith(b"\x89PNG")
