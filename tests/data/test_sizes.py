"""Sources larger than what Arrow's arrays hold, than the memory, or than one image."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tenpercent.cli.main import main
from tenpercent.data.decoding.decode import Unreadable
from tenpercent.data.sources import parquet_files, row_groups, vectors
from tenpercent.data.sources.opening import open_source
from tenpercent.data.sources.parquet_files import ParquetFiles
from tenpercent.data.sources.row_groups import RowGroups
from tenpercent.data.store.embeddings import Embeddings
from tenpercent.errors import SourceError
from tenpercent.linkage import points
from tenpercent.linkage.filters import WIDEST
from tenpercent.linkage.linkage import first_merges
from tenpercent.linkage.memory import MemoryBudgetError, Resources
from tenpercent.linkage.points import Points
from tenpercent.linkage.reference import complete_linkage
from tenpercent.reviewing.nearby import OutsideSearch

CELL = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def write(path: Path, sizes: list[int], group: int, **how: Any) -> Path:
    """Write cells of so many bytes, each with its number in its path."""
    rng = np.random.default_rng(0)
    cells = [{"bytes": rng.bytes(size), "path": str(row)} for row, size in enumerate(sizes)]
    pq.write_table(pa.table({"image": pa.array(cells, CELL)}), path, row_group_size=group, **how)
    return path


def column(path: Path, capacity: int = row_groups.CACHE_BYTES) -> RowGroups:
    return RowGroups(ParquetFiles.open([path]), "image", capacity)


def number(cell: object) -> int:
    assert isinstance(cell, dict)
    return int(cell["path"])


# ---- row groups ----------------------------------------------------------------------------------------------------


def test_a_row_group_of_more_than_2_gib_is_read(tmp_path: Path) -> None:
    """Like apache/arrow#32723 and Eventual-Inc/Daft#4746: a small file, one image for 716 rows, is 2.1 GiB decoded."""
    image = np.random.default_rng(0).bytes(3 << 20)
    cell = pa.DictionaryArray.from_arrays(pa.array([0] * 716, pa.int32()), pa.array([image]))
    cells = pa.StructArray.from_arrays([cell, pa.array(map(str, range(716)))], ["bytes", "path"])
    path = tmp_path / "x.parquet"
    pq.write_table(pa.table({"image": cells}), path, store_schema=False)
    assert pq.read_metadata(path).num_row_groups == 1 and path.stat().st_size < 4 << 20
    images = column(path, capacity=100 << 20)
    for row in (0, 715, 10):
        found = images[row]
        assert isinstance(found, dict) and found["bytes"] == image and number(found) == row


@pytest.mark.parametrize("capacity", [1, 3000, 20_000, 1 << 20])
@pytest.mark.parametrize("group", [1000, 90, 7])
def test_rows_in_any_order_whatever_fits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capacity: int, group: int
) -> None:
    monkeypatch.setattr(row_groups, "BLOCK_BYTES", 1000)
    sizes = np.random.default_rng(1).integers(0, 300, 200).tolist()
    images = column(write(tmp_path / "x.parquet", sizes, group), capacity)
    orders = np.random.default_rng(0).permuted(np.tile(np.arange(200), (3, 1)), axis=1)
    for order in (range(200), reversed(range(200)), *orders.tolist()):
        for row in order:
            found = images[row]
            assert isinstance(found, dict) and (number(found), len(found["bytes"])) == (row, sizes[row])
    with ThreadPoolExecutor(4) as pool:
        assert list(map(number, pool.map(images.__getitem__, range(200)))) == list(range(200))


def test_a_large_row_group_is_decoded_twice_at_most(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Like uber/petastorm#398 and huggingface/dataset-viewer#1519: all images in one row group."""
    monkeypatch.setattr(row_groups, "BLOCK_BYTES", 1000)
    path = write(tmp_path / "x.parquet", [100] * 500, 1000)
    decoded = 0
    blocks = row_groups._blocks

    def counted(*args: Any) -> Any:
        nonlocal decoded
        for block in blocks(*args):
            decoded += len(block)
            yield block

    monkeypatch.setattr(row_groups, "_blocks", counted)
    images = column(path, capacity=5000)
    for row in range(500):
        assert number(images[row]) == row
    assert decoded == 500 and images._bytes <= 5000
    for row in np.random.default_rng(0).permutation(500).tolist() * 3:
        assert number(images[row]) == row
    assert decoded == 1000 and images._bytes == 0


def test_rows_before_the_damage_are_read_and_the_others_fail_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Like apache/parquet-java#1700: a page in the middle is damaged."""
    monkeypatch.setattr(row_groups, "BLOCK_BYTES", 1000)
    how: dict[str, Any] = {"compression": "zstd", "use_dictionary": False, "data_page_size": 2000}
    path = write(tmp_path / "x.parquet", [100] * 500, 500, write_batch_size=10, **how)
    raw = bytearray(path.read_bytes())
    first = pq.read_metadata(path).row_group(0).column(0)
    middle = first.data_page_offset + first.total_compressed_size // 2
    raw[middle : middle + 4000] = bytes(4000)
    path.write_bytes(bytes(raw))
    tries = 0
    blocks = row_groups._blocks

    def counted(*args: Any) -> Any:
        nonlocal tries
        tries += 1
        return blocks(*args)

    monkeypatch.setattr(row_groups, "_blocks", counted)
    images = column(path)
    reasons = set()
    for row in range(500):
        try:
            assert number(images[row]) == row and row < 270
        except Unreadable as error:
            reasons.add(str(error))
            assert row > 200
    assert len(reasons) == 1 and "row group 0 of x.parquet can't be read" in reasons.pop()
    assert tries == 1
    assert number(images[100]) == 100


def test_a_failed_row_group_is_remembered_when_it_is_let_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "x.parquet", [100] * 40, 10)
    blocks, tries = row_groups._blocks, [0] * 4

    def broken(path: Path, footer: Any, number: int, column: str) -> Any:
        tries[number] += 1
        for block in blocks(path, footer, number, column):
            yield block.slice(0, 5)
            if number == 1:
                raise OSError(5, "Input/output error")
            yield block.slice(5)

    monkeypatch.setattr(row_groups, "_blocks", broken)
    images = column(path, capacity=1)
    for row in [*range(40), *range(15, 20)]:
        if 15 <= row < 20:
            with pytest.raises(Unreadable, match="Input/output error"):
                images[row]
        else:
            assert number(images[row]) == row
    assert tries[1] == 1


def test_rows_that_are_too_much_for_one_array_are_read_in_smaller_steps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "x.parquet", [100] * 200, 200)
    whole, steps = pq.ParquetFile.iter_batches, []

    def limited(self: pq.ParquetFile, rows: int, **how: Any) -> Any:
        steps.append(rows)
        for at, block in enumerate(whole(self, rows, **how)):
            if rows > 4 and at == 2:
                raise pa.ArrowNotImplementedError("Nested data conversions not implemented")
            yield block

    monkeypatch.setattr(pq.ParquetFile, "iter_batches", limited)
    images = column(path)
    assert [number(images[row]) for row in range(200)] == list(range(200))
    assert steps == [64, 4]


def test_no_space_for_the_rows_of_a_large_row_group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(row_groups, "BLOCK_BYTES", 1000)
    images = column(write(tmp_path / "x.parquet", [100] * 500, 500), capacity=1000)
    assert number(images[499]) == 499
    with Path("/dev/full").open("wb", buffering=0) as full:
        monkeypatch.setattr(row_groups.tempfile, "TemporaryFile", lambda: full)
        with pytest.raises(SourceError, match=r"can't be written to .* \(No space left on .*set TMPDIR"):
            images[0]


def test_a_lack_of_memory_is_no_fault_of_the_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "x.parquet", [100], 1)

    def starved(*_: Any) -> Any:
        yield from ()
        raise pa.ArrowMemoryError("malloc of size 1 failed")

    monkeypatch.setattr(row_groups, "_blocks", starved)
    with pytest.raises(MemoryError):
        column(path)[0]


# ---- columns of vectors --------------------------------------------------------------------------------------------


class _Sink:
    """A matrix that takes no memory: it counts the rows that are written."""

    def __init__(self, n: int, width: int) -> None:
        self.shape, self.rows = (n, width), 0
        self.flags = SimpleNamespace(writeable=True)

    def __getitem__(self, at: slice) -> _Sink:
        return self

    def __setitem__(self, at: object, values: Any) -> None:
        if isinstance(values, np.ndarray):
            self.rows += len(values)
            assert values.shape[1] == self.shape[1]


@pytest.mark.parametrize("kind", ["list", "fixed", "large"])
def test_more_than_2_31_values_are_taken_piece_by_piece(monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    """Like duckdb/duckdb#9314, with 2.6 billion values: here many pieces that share one memory."""
    width, rows = 2048, 1 << 13
    values = pa.array(np.zeros(rows * width, dtype=np.float32))
    offsets = np.arange(0, rows * width + 1, width)
    piece = {
        "list": lambda: pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), values),
        "large": lambda: pa.LargeListArray.from_arrays(pa.array(offsets, pa.int64()), values),
        "fixed": lambda: pa.FixedSizeListArray.from_arrays(values, width),
    }[kind]()
    times = 2_600_000_000 // (rows * width) + 1
    monkeypatch.setattr(vectors, "_room", lambda n, width, _: _Sink(n, width))
    found: Any = vectors.matrix_of(pa.chunked_array([piece] * times).chunks, rows * times, "emb", "x")
    assert found.rows == rows * times and rows * times * width > 2**31
    last = pa.array([[1.0]], piece.type) if kind != "fixed" else None
    if last is not None:
        with pytest.raises(
            SourceError, match=f"row {rows * times} of column emb has 1 values, row 0 has 2,048"
        ):
            vectors.matrix_of([*([piece] * times), last], rows * times + 1, "emb", "x")


@pytest.mark.parametrize(
    "kind", [pa.list_(pa.float16()), pa.large_list(pa.float64()), pa.list_(pa.float32(), 3)]
)
@pytest.mark.parametrize("group", [7, 100])
def test_vectors_in_pieces_are_the_vectors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: pa.DataType, group: int
) -> None:
    monkeypatch.setattr(parquet_files, "PIECE_BYTES", 8 * 3 * 5)
    rng = np.random.default_rng(0)
    matrix = rng.integers(1, 9, (40, 3)).astype(kind.value_type.to_pandas_dtype())
    for number, part in enumerate((matrix[:25], matrix[25:])):
        table = pa.table({"emb": pa.array(part.tolist(), kind), "label": [number] * len(part)})
        pq.write_table(table, tmp_path / f"{number}.parquet", row_group_size=group)
    found = open_source(tmp_path)
    assert isinstance(found, Embeddings) and np.array_equal(found.vectors, matrix)
    assert found.vectors.dtype == (np.float64 if kind.value_type == pa.float64() else np.float32)
    assert found.labels is not None and found.labels.tolist() == [0] * 25 + [1] * 15


def test_a_page_that_differs_from_its_checksum_is_no_vector(tmp_path: Path) -> None:
    """Like Lychee-Technology/forma#347: damage that decodes to other values without an error."""
    how: dict[str, Any] = {"compression": "none", "use_dictionary": False, "write_page_checksum": True}
    path = tmp_path / "x.parquet"
    pq.write_table(pa.table({"emb": pa.array([[1.5, 2.5]] * 50, pa.list_(pa.float32()))}), path, **how)
    assert len(open_source(path)) == 50
    raw = bytearray(path.read_bytes())
    raw[raw.rindex(np.float32(2.5).tobytes(), 0, len(raw) // 2) + 1] ^= 1
    path.write_bytes(bytes(raw))
    with pytest.raises(SourceError, match="CRC"):
        open_source(path)


def test_a_slice_of_a_column_is_its_own_rows() -> None:
    whole = pa.array([[float(row), 1.0] for row in range(10)], pa.list_(pa.float32(), 2))
    assert vectors.matrix_of([whole.slice(3, 4)], 4, "emb", "x")[:, 0].tolist() == [3, 4, 5, 6]


# ---- wide vectors --------------------------------------------------------------------------------------------------


def few_values(n: int, width: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Rows with ties and duplicates: a common part, and a few places that differ by whole numbers."""
    found = np.ones((n, width), dtype=np.float32)
    found[:, -3:] = np.random.default_rng(0).integers(0, 3, (n, min(3, width)))
    return found


@pytest.mark.parametrize(
    ("n", "width"), [(10, 150_528), (3, 2_000_000), (12, WIDEST + 1), (1, 3_000_000), (40, 1)]
)
@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_wide_vectors_need_little_memory_and_give_the_tree_by_definition(
    n: int, width: int, metric: str
) -> None:
    rows = few_values(n, width) + (width == 1)
    resources = Resources(memory=(1 << 30) if width > WIDEST else (200 << 20), threads=2)
    found = first_merges(rows, merges=n - 1, metric=metric, resources=resources)
    expected = complete_linkage(rows, metric=metric)
    assert np.array_equal(found.a, expected.a) and np.array_equal(found.b, expected.b)
    assert np.array_equal(found.height, expected.height)


def test_wide_vectors_within_less_than_they_need() -> None:
    with pytest.raises(MemoryBudgetError, match=r"of [0-9]+ vectors needs about .*50 MiB may be used"):
        first_merges(few_values(30, 150_528), merges=29, resources=Resources(memory=50 << 20, threads=1))


def test_a_memory_of_a_few_bytes_is_named_as_it_was_given() -> None:
    with pytest.raises(MemoryBudgetError, match="and 4 B may be used"):
        first_merges(np.eye(5), merges=3, resources=Resources(memory=4))


def test_points_are_made_within_a_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = np.repeat(few_values(30, 7), 2, axis=0) + 1
    whole = Points.of(rows)
    hashes, first = whole.hashes(), whole.first_equals()
    monkeypatch.setattr(points, "BLOCK_BYTES", 3 * 8 * 7)
    assert points.rows_at_a_time(7) == 3 and points.rows_at_a_time(10**9) == 1
    assert np.array_equal(whole.hashes(), hashes) and np.array_equal(whole.first_equals(), first)


def test_a_run_and_its_forecast_on_wide_vectors(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, run = tmp_path / "x.npy", tmp_path / "run"
    np.save(path, few_values(10, 150_528))
    asked = ["run", str(path), "--out", str(run), "--keep", "0.5", "--memory", "200m"]
    assert main([*asked, "--dry-run"]) == 0
    assert "200 MiB may be used" in capsys.readouterr().out
    assert main(asked) == 0
    less = ["run", str(path), "--out", str(tmp_path / "less"), "--keep", "0.5", "--memory", "20m"]
    assert main(less) == 1
    assert "give --memory" in capsys.readouterr().err


def test_the_nearest_outside_a_group_of_wide_vectors_is_no_member() -> None:
    rows = np.ones((4, WIDEST + 1), dtype=np.float32)
    rows[2, 0], rows[3, 0] = 3e3, -3e3
    nearby = OutsideSearch(Embeddings.from_numpy(rows))
    found = nearby.outside(np.array([0, 1]), 0)
    assert found is not None and found[0] == 2
