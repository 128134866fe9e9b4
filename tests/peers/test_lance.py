"""Lance data sets as sources, where pylance is installed."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

import tenpercent as tp
from tenpercent.data.sources.opening import open_source
from tenpercent.data.sources.run_name import run_folder_of
from tenpercent.data.sources.source import ImageSource, Unreadable
from tenpercent.data.store.embeddings import Embeddings
from tenpercent.errors import SourceError

lance = pytest.importorskip("lance")


def png(number: int) -> bytes:
    file = io.BytesIO()
    coarse = np.random.default_rng(number // 2).integers(0, 256, (5, 7, 3)).astype(np.uint8)
    Image.fromarray(coarse).resize((56, 40)).save(file, "PNG")
    return file.getvalue()


@pytest.fixture
def table() -> pa.Table:
    rows = range(12)
    return pa.table(
        {
            "image": [{"bytes": png(row), "path": f"{row:02d}.png"} for row in rows],
            "label": [["cat", "dog"][row // 6] for row in rows],
            "score": [row / 10 for row in rows],
            "vec": pa.array([[row // 2, 1.0, row % 5] for row in rows], pa.list_(pa.float32(), 3)),
        }
    )


def images(path: Path, **options: object) -> ImageSource:
    source = open_source(path, tp.SourceOptions(**options))  # type: ignore[arg-type]
    assert isinstance(source, ImageSource)
    return source


def test_a_table_is_read_as_from_parquet(table: pa.Table, tmp_path: Path) -> None:
    pq.write_table(table, tmp_path / "set.parquet")
    lance.write_dataset(table, tmp_path / "set.lance", max_rows_per_file=5)
    one, other = images(tmp_path / "set.lance"), images(tmp_path / "set.parquet")
    assert (one.ids, one.class_names, one.taken) == (other.ids, other.class_names, other.taken)
    assert [one.read(row) for row in range(12)] == [other.read(row) for row in range(12)]
    assert one.labels is not None and one.labels.tolist() == [0] * 6 + [1] * 6 and one.columns is not None
    assert one.columns(np.asarray([1, 7])).read_all().to_pylist() == table.take([1, 7]).to_pylist()
    part = images(tmp_path / "set.lance", where="score > 0.55")
    assert part.ids == tuple(f"{row:02d}.png" for row in range(6, 12)) and part.read(0) == png(6)
    vectors = open_source(tmp_path / "set.lance", tp.SourceOptions(embedding_column="vec"))
    assert isinstance(vectors, Embeddings) and len(vectors) == 12 and vectors.ids[3] == "03.png"


def test_a_run_its_export_and_rows_that_change(
    table: pa.Table, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run_folder_of("set.lance") == Path("runs/set")
    lance.write_dataset(table, "set.lance")
    assert len(tp.run(Path("set.lance"), out="run", keep=0.5).rows) == 6
    tp.export("run", "hf", "kept")
    assert pq.read_table("kept/data").column_names == table.column_names
    lance.dataset("set.lance").delete("score < 0.15")
    assert images(Path("set.lance")).ids == tuple(f"{row:02d}.png" for row in range(2, 12))
    assert images(Path("set.lance")).read(0) == png(2)
    assert len(tp.run(Path("set.lance"), out="run", keep=0.5).rows) == 5  # brought up to date


def test_damage_is_one_line(table: pa.Table, tmp_path: Path) -> None:
    lance.write_dataset(table, tmp_path / "set.lance", max_rows_per_file=6)
    source = images(tmp_path / "set.lance")
    for file in (tmp_path / "set.lance" / "data").iterdir():
        file.write_bytes(file.read_bytes()[:1000])
    with pytest.raises(Unreadable, match=r"^its row can't be read: [^/]*$"):
        source.read(3)
    with pytest.raises(
        SourceError, match=r"set\.lance can't be read as Lance \([^/]*\); give a whole data set$"
    ):
        images(tmp_path / "set.lance")
