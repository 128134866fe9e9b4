"""Bursts of photos: at a threshold fixed on one set, the pairs of another set are found, all of them and no other."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import pytest

import tenpercent as tp
from tenpercent.cli.demo_photos import THRESHOLD, bundled, demo_photos, scenes, write_bursts


@pytest.mark.parametrize("name", ["fixed", "tested"])
def test_bursts_are_found_with_precision_and_recall_1(name: str, tmp_path: Path) -> None:
    pytest.importorskip("sklearn.datasets")
    photo = dict(bundled())
    if name == "fixed":
        found, seed = scenes(photo["flower"], 2, 3) + scenes(photo["hopper"], 4, 3), 0
    else:
        found, seed = scenes(photo["china"], 3, 4), 1
    photos = tmp_path / name
    photos.mkdir()
    write_bursts(photos, found, frames=3, seed=seed)
    selection = tp.run(photos, out=tmp_path / "run", cut=tp.Cut(threshold=THRESHOLD))
    pairs = {
        pair for group in selection.groups() for pair in combinations(sorted(group["id"].to_pylist()), 2)
    }
    names = sorted(path.name for path in photos.iterdir())
    expected = {pair for pair in combinations(names, 2) if pair[0][:2] == pair[1][:2]}
    assert len(found) >= 8 and pairs == expected


def test_the_photos_of_the_demo_are_written_once_and_are_most_of_them_pairs(tmp_path: Path) -> None:
    pytest.importorskip("sklearn.datasets")
    folder = demo_photos(tmp_path / "photos")
    names = sorted(path.name for path in folder.iterdir())
    before = [path.stat().st_mtime_ns for path in sorted(folder.iterdir())]
    assert 30 <= len(names) <= 60 and sum(name.endswith("-1.jpg") for name in names) > len(names) / 3
    (tmp_path / "photos.partial").mkdir()  # left by a kill
    assert demo_photos(folder) == folder
    assert [path.stat().st_mtime_ns for path in sorted(folder.iterdir())] == before
