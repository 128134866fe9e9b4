"""A full disk costs one line and nothing else: with more room the same command ends with the bytes of any other run."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from forked import command, start_command
from selections import selection_of
from tenpercent.data.sources.opening import open_source
from tenpercent.data.sources.source import ImageSource
from tenpercent.decisions.log import DecisionLog, ImageName, Kind
from tenpercent.errors import RunFolderError, TenpercentError
from tenpercent.exporting import export

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


@pytest.mark.parametrize(
    ("kind", "sizes", "stored"),
    [
        (
            "photos",
            ("12k", "1000k"),
            STORED,
        ),  # full at the first files, and at a checkpoint
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
        done = command("run", source, "--out", out, *more)
        errors = [line for line in done.stderr.splitlines() if "error" in line.lower()]
        assert done.returncode == 1, (size, done.stderr)
        assert len(errors) == 1
        assert "No space left" in errors[0]
        assert "Traceback" not in done.stderr
        assert list(out.rglob("*.partial")) == []
        full.add(errors[0])
    assert len(full) > 1  # not always at the same file
    resize(small_disk, "64m")
    assert command("run", source, "--out", out, *more).returncode == 0
    assert command("run", source, "--out", tmp_path / "roomy", *more).returncode == 0
    for name in stored:
        assert (out / name).read_bytes() == (tmp_path / "roomy" / name).read_bytes()


def test_trainings_on_a_full_disk(photos: Path, small_disk: Path) -> None:
    out = small_disk / "run"
    resize(small_disk, "64m")
    assert command("run", photos, "--out", out, "--holdout", "0.2", *QUICK).returncode == 0
    words = ("evaluate", out, "--arms", "full", "semantic", "--trials", "1")
    resize(small_disk, f"{shutil.disk_usage(small_disk).used // 1024 + 12}k")
    done = command(*words)
    (error,) = [line for line in done.stderr.splitlines() if "error" in line.lower()]
    assert (
        done.returncode == 1
        and "No space left" in error
        and error.endswith("free some space there, or choose another folder")
    )
    assert "Traceback" not in done.stderr
    resize(small_disk, "64m")
    assert command(*words).returncode == 0
    # From memory: a thread of the Parquet reader may keep a file open after it was read, and the disk busy.
    results = pq.read_table(pa.BufferReader((out / "results.parquet").read_bytes()))
    assert results["status"].to_pylist() == ["done"] * 2


@pytest.mark.parametrize("form", ["webdataset", "cvat", "hf", "labelstudio", "fiftyone"])
def test_an_export_on_a_full_disk(form: str, tmp_path: Path, small_disk: Path) -> None:
    (tmp_path / "photos").mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (8, 64, 64, 3), dtype=np.uint8)
    for number, image in enumerate(pixels):  # 12 KB each
        Image.fromarray(image).save(tmp_path / "photos" / f"{number}.png")
    source = open_source(tmp_path / "photos")
    assert isinstance(source, ImageSource)
    selection = selection_of(source, set(range(8)))
    resize(small_disk, "64k")
    with pytest.raises(TenpercentError, match=r"No space left on device .*; free some space"):
        export(selection, source, form, small_disk / "kept")
    assert list(small_disk.iterdir()) == []
    resize(small_disk, "8m")
    assert export(selection, source, form, small_disk / "kept").images == 8


@pytest.fixture
def spilling(tmp_path: Path) -> tuple[Path, list[str]]:
    """20,000 vectors, and arguments with which their pairs outgrow the memory."""
    rows = np.random.default_rng(0).standard_normal((20_000, 16)).astype(np.float32)
    np.save(tmp_path / "many.npy", rows)
    return tmp_path / "many.npy", ["--keep", "0.5", "--memory", "45MiB"]


@pytest.mark.parametrize("size", ["200k", "1200k"])
def test_a_disk_too_small_for_the_pairs(
    size: str, spilling: tuple[Path, list[str]], small_disk: Path
) -> None:
    source, more = spilling
    resize(small_disk, size)
    assert command("embed", source, "--out", small_disk / "run").returncode == 0
    done = command("cluster", small_disk / "run", *more)
    assert done.returncode == 1
    errors = done.stderr.splitlines()[1:]  # after what is begun
    assert len(errors) == 1 and "run/scratch/" in errors[0]
    assert re.search(
        r"No space left on device \(.* free\); free some|MiB of pairs .*; free space there", errors[0]
    )


def test_a_disk_that_fills_up_while_pairs_spill(
    spilling: tuple[Path, list[str]], tmp_path: Path, small_disk: Path
) -> None:
    source, more = spilling
    resize(small_disk, "64m")
    for out in (small_disk / "run", tmp_path / "roomy"):
        assert command("embed", source, "--out", out).returncode == 0
    process = start_command("cluster", small_disk / "run", *more)
    while not process.ended() and not any(small_disk.glob("run/scratch/**/pairs-*.npy")):
        time.sleep(0.005)
    with (small_disk / "filler").open("wb", buffering=0) as filler, suppress(OSError):
        while True:
            filler.write(bytes(4096))
    done = process.wait()
    said = done.stderr
    assert done.returncode == 1, said
    errors = [line for line in said.splitlines() if "error" in line.lower()]
    assert len(errors) == 1 and "Traceback" not in said
    # The write of the run or of pairs that failed says so, or the look at the disk before the next shell.
    assert re.search(
        r"No space left on device \(.* free\); free|MiB of pairs can't be written to .*: No space left on device; free "
        r"space there|pairs outgrow the memory, and .* free; free space",
        errors[0],
    )
    (small_disk / "filler").unlink()
    for out in (small_disk / "run", tmp_path / "roomy"):
        assert command("cluster", out, *more).returncode == 0
    for name in ("merges.parquet", "merges.counted.parquet"):
        assert (small_disk / "run" / name).read_bytes() == (tmp_path / "roomy" / name).read_bytes()
    assert not (small_disk / "run" / "scratch").exists()


def test_a_decision_on_a_full_disk(small_disk: Path) -> None:
    names = [ImageName(f"image-{place:04}.png", "0" * 64) for place in range(40)]
    resize(small_disk, "96k")
    decisions = DecisionLog(small_disk)
    with pytest.raises(RunFolderError, match=r"decisions\.sqlite: .*full.* free some space"):
        for _ in range(1000):
            made = decisions.add(Kind.ACCEPT, names, note="n" * 1000).number
    assert made > 2
    for _ in range(3):
        assert len(DecisionLog(small_disk).active()) == made  # none lost, none half there
        with pytest.raises(RunFolderError, match="full"):
            decisions.add(Kind.ACCEPT, names, note="n" * 1000)
    resize(small_disk, "1m")
    assert decisions.add(Kind.ACCEPT, names).number == made + 1
    assert len(DecisionLog(small_disk).active()) == made + 1
