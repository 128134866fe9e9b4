"""Exports of videos: times of the kept frames, the frames as files, and a cut that ffmpeg's own reader plays."""

from __future__ import annotations

import csv
import os
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

import tenpercent as tp
from films import film, scene_of
from tenpercent.data.decoding.frames import stamp, stamped
from tenpercent.data.sources.opening import open_source
from tenpercent.data.sources.source import ImageSource
from tenpercent.errors import TenpercentError, UsageError
from tenpercent.exporting import ExportFormat
from tenpercent.exporting.kept import Kept
from tenpercent.exporting.times import _check, write_cut

SCENES = "ABCBAD"  # 2 s each


def run_of(clips: Path, keep: int) -> Path:
    run = clips.parent / "run"
    tp.run(clips, out=run, keep=keep)
    return run


def test_times_frames_and_cut(tmp_path: Path) -> None:
    (
        film(tmp_path / "clips" / "it's one.mp4", SCENES, each=2, keys=10),
        film(tmp_path / "clips" / "two.mkv", "BE", each=2, keys=10),
    )
    run = run_of(tmp_path / "clips", 5)
    tp.export(run, "times", tmp_path / "kept.csv")
    with (tmp_path / "kept.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    kept = [name for name, stays in zip(*columns(run), strict=True) if stays]
    assert [f"{row['video']}#{row['time']}" for row in rows] == kept and len(rows) == 5
    assert [stamp(round(1000 * float(row["seconds"]))) for row in rows] == [row["time"] for row in rows]

    tp.export(run, "folder", tmp_path / "frames")
    files = sorted((tmp_path / "frames").iterdir())
    assert {file.suffix for file in files} == {".png"}
    assert sorted(scene_of(np.asarray(Image.open(file)), "ABCDE") for file in files) == list("ABCDE")

    said = str(tp.export(run, "cut", tmp_path / "kept.ffconcat"))
    assert f"ffmpeg -f concat -safe 0 -i {tmp_path / 'kept.ffconcat'} OUT.mp4" in said
    expected = "".join(stretch(run))
    assert played(tmp_path / "kept.ffconcat") == expected and len(expected) == 50


def columns(run: Path) -> tuple[list[str], list[bool]]:
    table = tp.Selection.load(run / "selection.parquet").table.sort_by("row")
    return table["id"].to_pylist(), table["kept"].to_pylist()


def stretch(run: Path) -> list[str]:
    """Return the scene of each frame of a cut: ten a kept second."""
    scenes = {"it's one.mp4": SCENES, "two.mkv": "BE"}
    found = [(stamped(name), stays) for name, stays in zip(*columns(run), strict=True)]
    return [scenes[video][at // 2000] for (video, at), stays in found if stays for _ in range(10)]


def played(path: Path) -> str:
    with av.open(str(path), format="concat", options={"safe": "0"}) as container:
        shown = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    return "".join(scene_of(pixels, "ABCDE") for pixels in shown)


def test_a_cut_of_a_video_whose_name_is_not_utf_8(tmp_path: Path) -> None:
    clips = tmp_path / "clips"
    (clips / os.fsdecode(b"caf\xe9")).mkdir(parents=True)
    film(tmp_path / "plain.mp4", "ABA", each=2, keys=10).rename(clips / os.fsdecode(b"caf\xe9/cl\xe9.mp4"))
    run = run_of(clips, 2)
    tp.export(run, "times", tmp_path / "kept.csv")
    assert "caf\\xe9/cl\\xe9.mp4" in (tmp_path / "kept.csv").read_text()
    tp.export(run, "cut", tmp_path / "kept.ffconcat")
    assert set(played(tmp_path / "kept.ffconcat")) == {"A", "B"}


def test_a_video_that_has_shrunk(tmp_path: Path) -> None:
    clip = film(tmp_path / "clips" / "one.mp4", "ABCD", each=2, keys=10)
    run = run_of(tmp_path / "clips", 4)
    film(clip, "A", each=2, keys=10)
    with pytest.raises(
        TenpercentError,
        match=r"one\.mp4 can't be read: it has changed: it ends at 00:00:02.000, before its frame at",
    ):
        write_cut(Kept.of(tp.Selection.load(run / "selection.parquet")), whole_source(run), tmp_path / "kept")


def whole_source(run: Path) -> ImageSource:
    """Return what the source of a run was, as one opened before a change still says."""
    names, _ = columns(run)
    source = open_source(run.parent / "clips")
    assert isinstance(source, ImageSource)
    return replace(source, ids=tuple(names))


def test_refusals(tmp_path: Path) -> None:
    film(tmp_path / "clips" / "one.ts", "AB", each=2)
    run = run_of(tmp_path / "clips", 2)
    with pytest.raises(
        UsageError, match=r"one\.ts can't be cut at a time; convert it first, ffmpeg -i one\.ts"
    ):
        tp.export(run, "cut", tmp_path / "kept")
    with pytest.raises(UsageError, match=r"is a folder, but times is one file"):
        tp.export(run, "times", tmp_path)
    with pytest.raises(
        UsageError, match=r"--format cut is for videos, and digits holds none; choose csv or folder"
    ):
        _check(open_source("digits"), ExportFormat.CUT, tmp_path / "kept")


def test_stamps_are_read_back() -> None:
    assert stamped("a#1.png") is None and stamped("a#00:01:02.003") == ("a", 62003)
    assert [stamp(at) for at in (0, 62003, 363600000)] == ["00:00:00.000", "00:01:02.003", "101:00:00.000"]
    assert stamped("a#b#101:00:00.000") == ("a#b", 363600000)
