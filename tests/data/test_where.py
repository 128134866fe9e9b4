"""Rows of a table by a condition (``--where``), and groups by the values of a column (``--by``)."""

from __future__ import annotations

import datetime
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

import tenpercent as tp
from tenpercent.cli.main import main
from tenpercent.data.sources.source import ImageSource
from tenpercent.errors import MissingExtraError, SourceError, UsageError

N = 24
WEATHER = [("night", "day", None)[row % 3] for row in range(N)]
SCORE = [row / N for row in range(N)]
TAGS = [(["a"], ["b", "a"], ["a", "b", "a"], [], None)[row % 5] for row in range(N)]
CHOSEN = [row for row in range(N) if WEATHER[row] == "night" and SCORE[row] > 0.5]
WHERE = "weather = 'night' and score > 0.5"


def picture(row: int) -> bytes:
    made = io.BytesIO()
    Image.fromarray(np.full((8, 8, 3), 9 * row, np.uint8)).save(made, "png")
    return made.getvalue()


@pytest.fixture
def table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    columns = {
        "image": [{"bytes": picture(row), "path": f"{row:02d}.png"} for row in range(N)],
        "weather": WEATHER,
        "score": SCORE,
        "camera": [row % 2 + 10 for row in range(N)],
        "day": [datetime.date(2026, 1, 1 + row % 4) for row in range(N)],
        "tags": pa.array(TAGS, pa.list_(pa.string())),
        "vec": pa.array(np.random.default_rng(0).normal(size=(N, 5)).tolist()),
    }
    pq.write_table(pa.table(columns), "cars.parquet", row_group_size=7)
    return Path("cars.parquet")


def opened(where: str | None = None, **more: Any) -> Any:
    return tp.open_source("cars.parquet", tp.SourceOptions(where=where, **more))


# ---- where -----------------------------------------------------------------------------------------------------------


def test_the_rows_are_those_where_the_condition_is_true(table: Path) -> None:
    pytest.importorskip("duckdb")
    found = opened(WHERE)
    assert isinstance(found, ImageSource) and list(found.ids) == [f"{row:02d}.png" for row in CHOSEN]
    assert [found.read(at) for at in range(len(found))] == [picture(row) for row in CHOSEN]
    assert found.columns is not None
    assert found.columns(np.array([0, 2])).read_all()["score"].to_pylist() == [
        SCORE[CHOSEN[at]] for at in (0, 2)
    ]
    vectors = opened(WHERE, embedding_column="vec", id_column="none")
    assert vectors.ids.tolist() == [f"{row:02d}" for row in CHOSEN]  # by their numbers in the table
    assert np.array_equal(vectors.vectors, opened(embedding_column="vec").vectors[CHOSEN])
    for where, rows in (
        ("weather is null", range(2, N, 3)),
        (
            "SCORE >= 0.5 or weather IN ('day')",
            [row for row in range(N) if SCORE[row] >= 0.5 or WEATHER[row] == "day"],
        ),
        ("day > '2026-01-03'", range(3, N, 4)),
        ("list_contains(tags, 'b')", [row for row in range(N) if "b" in (TAGS[row] or [])]),
        ("true", range(N)),
    ):
        assert list(opened(where).ids) == [f"{row:02d}.png" for row in rows], where


def test_a_run_records_the_condition_and_says_it(table: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("duckdb")
    words = ["run", "cars.parquet", "--embedding-column", "vec", "--out", "run"]
    assert main([*words, "--where", WHERE, "--keep", "0.75"]) == 0
    assert f"of 24 rows those where {WHERE}" in capsys.readouterr().err
    assert json.loads(Path("run/run.json").read_text())["source"]["options"]["where"] == WHERE
    assert main(words) == 0  # the run's own condition holds
    assert len(tp.select("run", keep=2).kept) == 2
    assert main([*words, "--where", "score > 0.5"]) == 1
    assert f"the number of vectors was {len(CHOSEN)}, now 11" in capsys.readouterr().err
    assert main(["export", "run", "--format", "indices", "--to", "kept"]) == 2
    assert "whose numbers are not those of the whole table; export csv" in capsys.readouterr().err
    selection = tp.select("run", keep=0.5)
    with pytest.raises(
        UsageError, match=f"24 images, this selection was made of the {len(CHOSEN)} rows where"
    ):
        selection.apply(list(range(N)))
    assert len(selection.apply(CHOSEN)) == len(selection.kept)


def test_data_sets_of_hf_take_conditions_too(table: Path) -> None:
    pytest.importorskip("duckdb")
    datasets = pytest.importorskip("datasets")
    datasets.Dataset.from_parquet("cars.parquet", cache_dir="cache").save_to_disk("saved")
    found = tp.open_source("hf:saved", tp.SourceOptions(where=WHERE))
    assert len(found) == len(CHOSEN) and isinstance(found, ImageSource)
    assert found.read(1) == picture(CHOSEN[1])


@pytest.mark.parametrize(
    ("where", "said"),
    [
        (
            "wether = 'night'",
            "Referenced column .wether. not found.*; columns of .*weather, score, .*did you mean weather",
        ),
        ("weather = 'nigth'", "holds for none of the 24 rows"),
        ("score > 'abc'", "Could not convert string 'abc' to DOUBLE"),
        ("weather = 'night' or", "syntax error"),
        ("weather", "Could not convert string 'night' to BOOL"),
        ("true; drop table x", "--where 'true; drop table x': "),
        ("score > (select count(*) from read_csv('cars.csv'))", "file system operations are disabled"),
        ("vec = 1", "Referenced column .vec. not found"),
        (" ", "--where is empty; give a condition"),
    ],
)
def test_what_is_no_condition_is_one_line(table: Path, where: str, said: str) -> None:
    pytest.importorskip("duckdb")
    with pytest.raises((UsageError, SourceError), match=said) as error:
        opened(where)
    assert "\n" not in str(error.value) and len(str(error.value)) < 400


def test_a_condition_is_for_tables(table: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("photos").mkdir()
    Path("photos/a.png").write_bytes(picture(1))
    for source in ("photos", "digits"):
        with pytest.raises(UsageError, match="--where score > 1 does not apply to"):
            tp.open_source(source, tp.SourceOptions(where="score > 1"))
    monkeypatch.setitem(__import__("sys").modules, "duckdb", None)
    with pytest.raises(MissingExtraError, match=r"tenpercent\[tables\]"):
        opened("score > 1")


# ---- by --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("by", "names", "without"),
    [
        ("camera", ("10", "11"), 0),
        ("weather", ("day", "night"), N // 3),
        ("day", tuple(f"2026-01-0{day}" for day in range(1, 5)), 0),
        ("tags", ("a", "a + b"), sum(not tags for tags in TAGS)),
    ],
)
def test_images_are_clustered_within_the_values_of_a_column(
    table: Path, by: str, names: tuple[str, ...], without: int, capsys: pytest.CaptureFixture[str]
) -> None:
    found = opened(by=by, embedding_column="vec", id_column="none")
    assert found.class_names == names and int((found.labels < 0).sum()) == without
    words = ["run", "cars.parquet", "--embedding-column", "vec", "--out", "run", "--keep", "0.5", "--by", by]
    assert main(words) == 0
    said = f"column {by} takes the place of the class (--by)"
    assert said in capsys.readouterr().err
    selection = tp.Selection.load("run")
    of = selection.by_row(selection.codes, -2)
    assert np.array_equal(of, of[selection.representative_rows])
    assert json.loads(Path("run/run.json").read_text())["source"]["options"]["by"] == by
    assert main(["info", "run"]) == 0 and said in capsys.readouterr().out


def test_values_to_group_by_are_no_classes_to_train_on(
    table: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("torch")
    with pytest.raises(UsageError, match=r"no labels to train on \(they are groups\)"):
        tp.embed("cars.parquet", out="x", embedder="supervised", options=tp.SourceOptions(by="camera"))
    options = tp.SourceOptions(by="camera", embedding_column="vec")
    tp.run("cars.parquet", out="run", options=options)
    assert main(["evaluate", "run", "--network", "head"]) == 2
    assert "grouped by camera, whose values are no classes to train on" in capsys.readouterr().err


def test_several_labels_an_image_are_no_class_and_the_ways_out_are_named(table: Path) -> None:
    columns = pq.read_table("cars.parquet")
    pq.write_table(
        columns.rename_columns([{"tags": "labels"}.get(name, name) for name in columns.column_names]),
        "t.parquet",
    )
    with pytest.raises(
        SourceError, match="--label-column none: all are clustered together then; --by labels clusters"
    ):
        tp.open_source("t.parquet")
    assert tp.open_source("t.parquet", tp.SourceOptions(by="labels")).class_names == ("a", "a + b")
    assert tp.open_source("t.parquet", tp.SourceOptions(label_column="none")).labels is None


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (
            {"by": "score"},
            r"column score holds double.* not a whole number; group by another column \(--by\)",
        ),
        ({"by": "vec"}, "--by vec: this column .* columns of groups: weather, score, camera, day, tags"),
        ({"by": "camra"}, "did you mean camera"),
        ({"by": "camera", "label_column": "weather"}, "by is 'camera' and takes the place of the classes"),
        ({"by": 3}, "by is 3; give a name"),
    ],
)
def test_what_can_be_no_group_is_one_line(table: Path, options: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said) as error:
        opened(**options)
    assert "\n" not in str(error.value)


def test_a_frame_is_grouped_by_a_column_too() -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"vec": np.eye(6).tolist(), "site": list("aabbcc")})
    assert tp.run(frame, options=tp.SourceOptions(by="site"), keep=1.0).class_names == ("a", "b", "c")
