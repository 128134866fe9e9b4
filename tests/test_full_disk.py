"""A full disk costs one line and nothing else: with more room the same command ends with the bytes of any other run."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

STORED = ("selection.parquet", "merges.parquet", "rejected.parquet", "embeddings/part-00000.parquet")
QUICK = ["--keep", "0.75", "--depth", "8", "--epochs", "2", "--batch", "16", "--precision", "float32"]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own that `resize` sets the size of."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if (
        os.geteuid() != 0
        or subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=8k", "tmpfs", str(folder)], capture_output=True
        ).returncode
    ):
        pytest.skip("mounting a small file system takes root")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def resize(folder: Path, size: str) -> None:
    subprocess.run(["mount", "-o", f"remount,size={size}", str(folder)], check=True)


def run(source: Path, out: Path, *more: str) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, "-m", "tenpercent", "run", str(source), "--out", str(out), *more]
    return subprocess.run(words, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("kind", "sizes", "stored"),
    [
        (
            "photos",
            ("12k", "64k", "1000k"),
            STORED,
        ),  # full at the first files, the checkpoint, the next checkpoint
        ("vectors", ("8k", "16k", "48k"), STORED[:2]),  # full at the merges, the selection, the report
    ],
)
def test_a_full_disk(
    kind: str,
    sizes: tuple[str, ...],
    stored: tuple[str, ...],
    tmp_path: Path,
    small_disk: Path,
    request: pytest.FixtureRequest,
) -> None:
    source, more = request.getfixturevalue(kind), QUICK if kind == "photos" else ["--keep", "0.75"]
    out = small_disk / "run"
    full = set()
    for size in sizes:
        resize(small_disk, size)
        done = run(source, out, *more)
        errors = [line for line in done.stderr.splitlines() if "error" in line.lower()]
        assert done.returncode == 1, (size, done.stderr)
        assert len(errors) == 1
        assert "No space left" in errors[0]
        assert "Traceback" not in done.stderr
        assert list(out.rglob("*.partial")) == []
        full.add(errors[0])
    assert len(full) > 1  # not always at the same file
    resize(small_disk, "64m")
    assert run(source, out, *more).returncode == 0
    assert run(source, tmp_path / "roomy", *more).returncode == 0
    for name in stored:
        assert (out / name).read_bytes() == (tmp_path / "roomy" / name).read_bytes()
