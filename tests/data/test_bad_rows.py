"""Vectors that are zero or not finite, and pictures that lead to them: counted, named, set aside."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

import tenpercent as tp
from tenpercent.cli.main import main
from tenpercent.data.sources.opening import open_source
from tenpercent.data.sources.options import SourceOptions
from tenpercent.data.store.embeddings import Embeddings
from tenpercent.data.store.part_files import Part, without_flaws
from tenpercent.embedding import extract
from tenpercent.errors import StageError, TenpercentError, UsageError
from tenpercent.flaws import Flaw, all_flaws, describe_flaws, flaws_of

N = 40
BAD: dict[int, tuple[float, ...]] = {  # like run-llama/llama_index#23050, HKUDS/LightRAG#3553
    3: (0.0, 0.0, -0.0, 0.0),
    17: (0.0, 0.0, 0.0, 0.0),
    20: (1.0, np.nan, 0.0, np.inf),
    21: (1.0, -np.inf, 0.0, 0.0),
    39: (np.nan, np.nan, np.nan, np.nan),
}
REASONS = {
    3: "is zero and has no direction",
    17: "is zero and has no direction",
    20: "holds nan",
    21: "holds infinity",
    39: "is null or nan throughout",
}
SAID = (
    "2 of 40 vectors are zero and have no direction (rows 3, 17), 1 holds nan (row 20), 1 holds infinity (row 21), "
    "1 is null or nan throughout (row 39)"
)


def vectors(dtype: str = "float32") -> npt.NDArray[Any]:
    """Twenty pairs of near vectors, some of them bad."""
    rng = np.random.default_rng(0)
    found = np.repeat(rng.standard_normal((N // 2, 4)), 2, axis=0) + 1e-3 * rng.standard_normal((N, 4))
    for row, values in BAD.items():
        found[row] = values
    return found.astype(dtype)


def good() -> npt.NDArray[np.int64]:
    return np.asarray([row for row in range(N) if row not in BAD])


# ---- one function --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_each_flaw_is_known(dtype: str) -> None:
    codes = flaws_of(vectors(dtype))
    assert {row: Flaw(codes[row]).reason for row in np.flatnonzero(codes).tolist()} == REASONS
    assert describe_flaws(codes) == SAID
    assert np.array_equal(all_flaws(vectors(dtype)), codes)
    assert set(np.flatnonzero(flaws_of(vectors(dtype), zero=False)).tolist()) == {20, 21, 39}


def test_hundreds_of_zeros_are_counted_as_in_a_known_set() -> None:
    """Like erikbern/ann-benchmarks#73: hundreds of zero vectors in a set of 290,000."""
    found = np.ones((290_000, 2), dtype=np.float32)
    found[1000:1300] = 0
    with pytest.raises(UsageError, match=r"^300 of 290,000 vectors are zero .*\(rows 1000, 1001, .*, …\);"):
        Embeddings.from_numpy(found)
    assert len(Embeddings.from_numpy(found, drop_bad_rows=True)) == 289_700


def test_many_are_counted_and_some_named() -> None:
    codes = np.zeros(12_345, dtype=np.uint8)
    codes[::2] = Flaw.ZERO
    assert describe_flaws(codes) == (
        "6,173 of 12,345 vectors are zero and have no direction (rows 0, 2, 4, 6, 8, …)"
    )
    names = [f"n{row}" for row in range(len(codes))]
    assert "('n0' in row 0, 'n2' in row 2, " in describe_flaws(codes, names.__getitem__)


@pytest.mark.parametrize("value", [5e-324, 1e-45, 1e38])
def test_what_is_nearly_zero_or_infinite_has_a_direction(value: float) -> None:
    assert not flaws_of(np.array([[value, 0.0]])).any()


# ---- from Python ---------------------------------------------------------------------------------------------------


def test_all_are_counted_and_the_remedy_is_named() -> None:
    with pytest.raises(UsageError) as caught:
        Embeddings.from_numpy(vectors())
    assert str(caught.value) == (
        f"{SAID}; embed the images again, or set these aside: --drop-bad-rows, from Python drop_bad_rows=True"
    )


def test_rows_are_those_of_the_caller_whatever_the_order_of_ids() -> None:
    ids = [f"im{N - row:02d}" for row in range(N)]
    with pytest.raises(UsageError, match=r"\('im37' in row 3, 'im23' in row 17\)"):
        Embeddings.from_numpy(vectors(), ids=ids)
    found = Embeddings.from_numpy(vectors(), ids=ids, labels=np.arange(N) % 3, drop_bad_rows=True)
    assert sorted(found.rows.tolist()) == good().tolist()
    assert found.length == N and len(found) == N - len(BAD)
    for at, row in enumerate(found.rows.tolist()):
        assert found.ids[at] == ids[row] and np.array_equal(found.vectors[at], vectors()[row])
        assert found.labels is not None and found.labels[at] == row % 3
    assert {one.row: (one.id, one.reason) for one in found.rejected} == {
        row: (ids[row], f"the vector {reason}") for row, reason in REASONS.items()
    }


def test_nothing_changes_where_no_row_is_bad() -> None:
    whole = vectors()[good()]
    plain, dropped = (Embeddings.from_numpy(whole, drop_bad_rows=drop) for drop in (False, True))
    assert plain.origin == dropped.origin and not dropped.rejected
    few = Embeddings.from_numpy(vectors(), drop_bad_rows=True)
    assert few.vectors.tobytes() == whole.tobytes()


@pytest.mark.parametrize("value", [0.0, np.nan])
def test_none_left_is_an_error_with_the_flag_too(value: float) -> None:
    with pytest.raises(UsageError, match=r"^3 of 3 vectors are .*; embed the images again$"):
        Embeddings.from_numpy(np.full((3, 2), value), drop_bad_rows=True)


def test_a_selection_without_bad_rows_keeps_the_callers_rows() -> None:
    embeddings = Embeddings.from_numpy(vectors(), drop_bad_rows=True)
    selection = tp.select(tp.cluster(embeddings, keep=0.6), keep=0.6)
    assert set(selection.rows.tolist()) <= set(good().tolist())
    assert len(selection.rows) == round(0.6 * len(good()))


# ---- from files ----------------------------------------------------------------------------------------------------


def table(kind: pa.DataType) -> pa.Table:
    values: list[Any] = [None if row == 39 else vectors("float64")[row].tolist() for row in range(N)]
    if not pa.types.is_fixed_size_list(kind):
        values[17] = []
    return pa.table({"id": [f"im{row:02d}" for row in range(N)], "emb": pa.array(values, kind)})


KINDS = [
    pa.list_(pa.float32()),
    pa.large_list(pa.float64()),
    pa.list_(pa.float16()),
    pa.list_(pa.float32(), 4),
]


@pytest.mark.parametrize("kind", KINDS)
def test_null_and_empty_lists_are_bad_rows(tmp_path: Path, kind: pa.DataType) -> None:
    path = tmp_path / "x.parquet"
    pq.write_table(table(kind), path, row_group_size=7)
    with pytest.raises(
        UsageError, match=r"vectors .*null or nan throughout \(.*'im39' in row 39\).*--drop-bad-rows"
    ):
        open_source(path)
    found = open_source(path, SourceOptions(drop_bad_rows=True))
    assert isinstance(found, Embeddings)
    assert found.rows.tolist() == good().tolist() and found.ids.tolist() == [f"im{row:02d}" for row in good()]
    kept = vectors("float64").astype(kind.value_type.to_pandas_dtype())[good()]
    assert np.array_equal(found.vectors, kept)


def test_a_column_of_nulls_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    pq.write_table(pa.table({"emb": pa.array([None, []], pa.list_(pa.float32()))}), path)
    with pytest.raises(UsageError, match="all 2 rows of column emb are null or empty"):
        open_source(path, SourceOptions(drop_bad_rows=True))


def test_lists_of_other_lengths_are_refused_with_the_flag_too(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    pq.write_table(pa.table({"emb": pa.array([None, [1.0, 2.0], [1.0]], pa.list_(pa.float32()))}), path)
    with pytest.raises(UsageError, match="row 2 of column emb has 1 values, row 1 has 2"):
        open_source(path, SourceOptions(drop_bad_rows=True))


def test_a_run_sets_bad_rows_aside(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, run = tmp_path / "x.npy", tmp_path / "run"
    np.save(path, vectors())
    assert main(["run", str(path), "--out", str(run)]) == 2
    assert SAID in capsys.readouterr().err and not run.exists()
    assert main(["run", str(path), "--out", str(run), "--keep", "0.6", "--drop-bad-rows"]) == 0
    said = capsys.readouterr()
    assert "\n5 images rejected:\n  " in said.out
    assert len([line for line in said.out.splitlines() if line.startswith("  ") and ": " in line]) == 5
    assert "40 vectors of 4 values (5 set aside: zero or not finite)" in said.err
    content = json.loads((run / "run.json").read_text())
    assert content["source"]["n"] == N and content["source"]["options"]["drop_bad_rows"] is True
    assert (content["stages"]["embed"]["n"], content["stages"]["embed"]["rejected"]) == (35, 5)
    rejected = pq.read_table(run / "rejected.parquet").to_pylist()
    assert [(one["row"], one["reason"]) for one in rejected] == [
        (row, f"the vector {reason}") for row, reason in REASONS.items()
    ]
    page = (run / "report.html").read_text()
    assert "the vector holds infinity" in page and "Nothing was rejected" not in page
    assert main(["explain", str(run), "17"]) == 2
    assert "took no part: it was rejected (the vector is zero" in capsys.readouterr().err
    assert main(["info", str(run)]) == 0
    told = capsys.readouterr().out
    assert "5 rejected" in told and "(5 set aside: zero or not finite)" in told
    assert main(["export", str(run), "--format", "indices", "--to", str(tmp_path / "kept")]) == 0
    kept = np.load(tmp_path / "kept" / "indices.npy")
    assert len(kept) == 21 and set(kept.tolist()) <= set(good().tolist())
    assert main(["select", str(run), "--keep", "0.5"]) == 0
    assert not (set(pq.read_table(run / "selection.parquet")["row"].to_pylist()) & set(BAD))


def test_bad_rows_that_come_later_are_a_change_of_the_source(tmp_path: Path) -> None:
    path, run = tmp_path / "x.npy", tmp_path / "run"
    np.save(path, vectors())
    tp.run(path, out=run, keep=0.6, options=SourceOptions(drop_bad_rows=True))
    again = vectors()
    again[0] = 0
    np.save(path, again)
    with pytest.raises(StageError, match="has changed since"):
        tp.select(run, keep=0.5)


def test_the_forecast_counts_as_the_run_does(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "x.npy"
    np.save(path, vectors())
    assert main(["run", str(path), "--out", str(tmp_path / "run"), "--dry-run", "--drop-bad-rows"]) == 0
    assert "35 × 4 values" in capsys.readouterr().out


# ---- flat pictures -------------------------------------------------------------------------------------------------


def pictures(folder: Path, n: int = 12, black: tuple[int, ...] = (4,)) -> Path:
    for row in range(n):
        pixels = np.random.default_rng(row).integers(1, 255, (8, 8, 3), dtype=np.uint8)
        folder.mkdir(exist_ok=True)
        Image.fromarray(pixels * (row not in black)).save(folder / f"{row:02d}.png")
    return folder


def mean(images: Any) -> npt.NDArray[Any]:
    """Zero for a black picture."""
    return np.stack([np.asarray(image).mean((0, 1)) for image in images])


def divided(images: Any) -> npt.NDArray[Any]:
    """Divide by the brightness, which a black picture has none of: nan."""
    with np.errstate(invalid="ignore"):
        return np.stack([np.asarray(image).mean((0, 1)) / np.asarray(image).mean() for image in images])


@pytest.mark.parametrize(("embedder", "reason"), [(mean, "is zero"), (divided, "is null or nan throughout")])
def test_a_flat_picture_is_rejected_and_the_run_goes_on(tmp_path: Path, embedder: Any, reason: str) -> None:
    source, run = pictures(tmp_path / "photos"), tmp_path / "run"
    (source / "05.png").write_bytes(b"no picture")
    selection = tp.run(source, out=run, keep=0.8, embedder=embedder)
    assert len(selection.ids) == 10
    rejected = pq.read_table(run / "rejected.parquet").to_pylist()
    assert [one["id"] for one in rejected] == ["04.png", "05.png"]
    assert reason in rejected[0]["reason"] and rejected[0]["row"] == 4
    embedded = json.loads((run / "run.json").read_text())["stages"]["embed"]
    assert (embedded["n"], embedded["rejected"]) == (10, 2)
    again = tp.run(source, out=run, keep=0.8, embedder=embedder)
    assert again.ids.tolist() == selection.ids.tolist()


def test_resuming_knows_what_was_rejected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extract, "PART", 3)
    source = pictures(tmp_path / "photos", black=(3, 4, 5, 7))
    tp.embed(source, out=tmp_path / "whole", embedder=mean)
    calls = 0

    def killed(*args: Any) -> None:
        nonlocal calls
        calls += 1
        if calls == 4:
            raise KeyboardInterrupt
        write_part(*args)

    write_part = extract.write_part
    monkeypatch.setattr(extract, "write_part", killed)
    with pytest.raises(KeyboardInterrupt):
        tp.embed(source, out=tmp_path / "run", embedder=mean)
    found = tp.embed(source, out=tmp_path / "run", embedder=mean)
    assert len(found) == 8
    for path in sorted((tmp_path / "whole").rglob("*.parquet")):
        assert (tmp_path / "run" / path.relative_to(tmp_path / "whole")).read_bytes() == path.read_bytes()
    assert pq.read_table(tmp_path / "run/rejected.parquet")["row"].to_pylist() == [3, 4, 5, 7]


def test_an_embedder_that_is_flat_for_most_is_refused(tmp_path: Path) -> None:
    source = pictures(tmp_path / "photos", black=tuple(range(7)))
    with pytest.raises(
        TenpercentError, match=r"7 of 12 images .* no usable vector, more than half .*'00.png'"
    ):
        tp.embed(source, out=tmp_path / "run", embedder=mean)


def test_a_layer_without_direction_is_named() -> None:
    part = Part(
        ids=["a", "b"],
        rows=np.array([5, 6]),
        paths=[None, None],
        labels=np.array([-1, -1]),
        hashes=["x", "y"],
        layers={"start": np.ones((2, 2), np.float32), "end": np.array([[1, 1], [0, 0]], np.float32)},
    )
    left, (gone,) = without_flaws(part)
    assert (left.ids, left.hashes, left.rows.tolist()) == (["a"], ["x"], [5])
    assert {layer: len(found) for layer, found in left.layers.items()} == {"start": 1, "end": 1}
    assert (gone.id, gone.row, gone.reason) == (
        "b",
        6,
        "its vector of layer end is zero and has no direction",
    )
