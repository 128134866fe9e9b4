"""A suite: every data set with every embedder, once, from one file."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tenpercent.cli import main
from tenpercent.errors import UsageError
from tenpercent.suite import bench, read_suite

SUITE = """
out = "suite"
keep = [0.5]
arms = ["full", "random", "semantic"]
trials = 1
steps = 4

[[data]]
name = "photos"
source = "photos"

[[data]]
name = "again"
source = "photos"
holdout = 0.25

[[embedder]]
name = "supervised"
depth = 8
steps = 4
batch = 8
precision = "float32"
"""


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    random = np.random.default_rng(0)
    for split, each in (("train", 8), ("test", 2)):
        for code in range(2):
            folder = tmp_path / "photos" / split / f"class{code}"
            folder.mkdir(parents=True)
            for number in range(each):
                pixels = random.integers(0, 200, (18, 18, 3)).astype(np.uint8) + np.uint8(50 * code)
                Image.fromarray(pixels).save(folder / f"{number}.png")
    (tmp_path / "suite.toml").write_text(SUITE)
    return tmp_path / "suite.toml"


def test_a_suite_has_one_table_and_is_done_once(suite: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", str(suite)]) == 0
    said = capsys.readouterr().out
    rows = list(csv.DictReader((suite.parent / "suite" / "table.csv").read_text().splitlines()))
    assert [(row["data"], row["arm"], row["fraction"], row["n"]) for row in rows] == [
        (data, arm, fraction, str(n))
        for data, whole in (("photos", 16), ("again", 12))
        for arm, fraction, n in (
            ("full", "1.0", whole),
            ("semantic", "0.5", whole // 2),
            ("random", "0.5", whole // 2),
        )
    ]
    assert all(line in said for line in ("photos  supervised  full", "Table and figure:"))
    assert (suite.parent / "suite" / "figure.svg").read_text().count("<svg") == 1
    trained = sorted(suite.parent.glob("suite/*/trainings/*.parquet"))
    assert len(trained) == 6
    times = [path.stat().st_mtime_ns for path in trained]
    assert bench(suite) == suite.parent / "suite"
    assert [path.stat().st_mtime_ns for path in trained] == times


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("trials = 1", "trial = 1", "has the key 'trial'; known are .*did you mean trials"),
        ('name = "supervised"', 'name = "superb"', "--embedder is 'superb'"),
        ("depth = 8", "deep = 8", "has the key 'deep'"),
        ('source = "photos"\n\n', "\n", "has no source"),
        ("keep = [0.5]", "keep = [0.5", "can't read"),
        ("holdout = 0.25", "hold = 0.25", "has the key 'hold'"),
    ],
)
def test_what_a_file_must_not_say(old: str, new: str, said: str, suite: Path) -> None:
    suite.write_text(suite.read_text().replace(old, new))
    with pytest.raises(UsageError, match=said):
        read_suite(suite)


def test_a_file_without_data_or_none_at_all(suite: Path) -> None:
    with pytest.raises(UsageError, match="can't read"):
        read_suite(suite.parent / "none.toml")
    suite.write_text("trials = 2\n")
    with pytest.raises(UsageError, match="names no data set"):
        read_suite(suite)
