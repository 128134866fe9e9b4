"""Every run begins with one line: what was taken from the source, and what was skipped."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

import tenpercent as tp
from tenpercent.cli.main import main
from tenpercent.data.sources.first_line import MANY, account, describe_taken
from tenpercent.data.sources.listing import LINKS_OUT, NOT_IN_ANNEX, POINTERS
from tenpercent.data.sources.opening import open_source
from tenpercent.data.store.records import SourceRecord


def line(spec: Path | str, **options: object) -> str:
    return describe_taken(account(open_source(spec, tp.SourceOptions(**options))))  # type: ignore[arg-type]


def about(**changes: object) -> SourceRecord:
    known: dict[str, object] = {"kind": "images", "n": 1437, "class_names": ["a", "b"], **changes}
    return SourceRecord("photos", "0123", **known)  # type: ignore[arg-type]


def test_images_classes_and_split() -> None:
    assert line("digits") == "1,437 images, 10 classes; split train"
    assert line("digits", split="test") == "360 images, 10 classes; split test"


def test_columns_and_remarks_are_named() -> None:
    taken = {"labels": "column label", "ids": "column name", "none": "-1 means no label"}
    said = describe_taken(about(taken=taken, unlabelled=13))
    assert said == (
        "1,437 images, 2 classes from column label (13 images without a label); ids from column name; "
        "-1 means no label"
    )


def test_a_class_that_no_image_has_is_counted_apart() -> None:
    assert describe_taken(about(classes_used=1)) == "1,437 images, 1 of 2 classes"
    assert describe_taken(about(class_names=["a"])) == "1,437 images, 1 class"
    assert describe_taken(about(class_names=[])) == "1,437 images, no labels"


def test_what_was_skipped_comes_last_the_most_first() -> None:
    assert describe_taken(about(skipped={"links": 2, "hidden files": 12})).endswith(
        "; skipped: 12 hidden files, 2 links"
    )
    many = {f"kind {number}": 1000 + number for number in range(MANY + 2)}
    assert describe_taken(about(skipped=many)).endswith(", 2,001 others of 2 kinds")


@pytest.mark.parametrize(
    ("plural", "said"),
    [
        ("files that are not images", "1 file that is not an image"),
        (".heic images that can't be read here", "1 .heic image that can't be read here"),
        ("links that lead out of the folder", "1 link that leads out of the folder"),
        ("@eaDir folders", "1 @eaDir folder"),
        (LINKS_OUT, "1 link that leads out of the folder (--follow-links follows it)"),
        (POINTERS, "1 file in DVC that is not here (dvc pull fetches it)"),
        (NOT_IN_ANNEX, "1 link to git-annex content that is not here (git annex get fetches it)"),
    ],
)
def test_one_is_said_in_the_singular(plural: str, said: str) -> None:
    assert describe_taken(about(n=1, skipped={plural: 1})) == f"1 image, 2 classes; skipped: {said}"


def test_run_folders_of_before_are_described_as_far_as_they_say() -> None:
    assert describe_taken(about(kind="vectors")) == "1,437 vectors, 2 classes"


def test_vectors(vectors: Path) -> None:
    assert line(vectors) == "60 vectors of 8 values, no labels"
    assert line(vectors, labels=vectors.with_name("labels.npy")).startswith(
        "60 vectors of 8 values, 3 classes"
    )


def test_run_dry_run_and_info_say_the_same(
    vectors: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = [
        "run",
        str(vectors),
        "--labels",
        str(vectors.with_name("labels.npy")),
        "--out",
        str(tmp_path / "run"),
    ]
    assert main([*command, "--dry-run"]) == 0
    planned = capsys.readouterr().out
    assert main(command) == 0
    first = capsys.readouterr().err.splitlines()[0]
    assert first.startswith("60 vectors of 8 values, 3 classes")
    assert first in planned
    assert main(["info", str(tmp_path / "run")]) == 0
    assert first in capsys.readouterr().out


def test_quiet_says_nothing(vectors: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", str(vectors), "--out", str(tmp_path / "run"), "--quiet"]) == 0
    assert capsys.readouterr() == ("", "")


def test_leaks_says_what_it_takes_of_both(
    vectors: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "test.npy"
    np.save(other, np.load(vectors)[:20] + 0.001)
    assert main(["leaks", str(vectors), str(other), "--out", str(tmp_path / "leaks")]) == 0
    said = capsys.readouterr().err
    assert "TRAIN: 60 vectors of 8 values" in said
    assert "TEST: 20 vectors of 8 values" in said


def test_a_table_says_its_columns(tmp_path: Path) -> None:
    file = io.BytesIO()
    Image.new("RGB", (4, 4)).save(file, "PNG")
    rows = [{"image": {"bytes": file.getvalue(), "path": None}, "label": name} for name in "abab"]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "table.parquet")
    assert "2 classes" in line(tmp_path / "table.parquet")


def test_a_column_that_names_splits_is_said_not_to_divide_the_rows(tmp_path: Path) -> None:
    file = io.BytesIO()
    Image.new("RGB", (4, 4)).save(file, "PNG")
    rows = [
        {"image": {"bytes": file.getvalue(), "path": None}, "split": name}
        for name in ("train", "test", "train")
    ]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "table.parquet")
    assert "rows of train, test together (column split selects none" in line(tmp_path / "table.parquet")
    pq.write_table(pa.Table.from_pylist(rows[:1]), tmp_path / "train.parquet")
    assert "together" not in line(tmp_path / "train.parquet")
    for name in ("train", "test"):
        (tmp_path / "hive" / f"split={name}").mkdir(parents=True)
        pq.write_table(
            pa.Table.from_pylist([{"image": rows[0]["image"]}]),
            tmp_path / "hive" / f"split={name}" / "a.parquet",
        )
    assert "together" not in line(tmp_path / "hive"), "folders that name a split are read as splits"
