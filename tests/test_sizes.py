"""Sources larger than what Arrow's arrays hold, than the memory, or than one image."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tenpercent.errors import SourceError
from tenpercent.images import row_groups
from tenpercent.images.decode import Unreadable
from tenpercent.images.parquet import Files
from tenpercent.images.row_groups import RowGroups

CELL = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def write(path: Path, sizes: list[int], group: int, **how: Any) -> Path:
    """Write cells of so many bytes, each with its number in its path."""
    rng = np.random.default_rng(0)
    cells = [{"bytes": rng.bytes(size), "path": str(row)} for row, size in enumerate(sizes)]
    pq.write_table(pa.table({"image": pa.array(cells, CELL)}), path, row_group_size=group, **how)
    return path


def column(path: Path, capacity: int = row_groups.CACHE_BYTES) -> RowGroups:
    return RowGroups(Files.open([path]), "image", capacity)


def number(cell: object) -> int:
    assert isinstance(cell, dict)
    return int(cell["path"])


# ---- row groups ----------------------------------------------------------------------------------------------------


def test_a_row_group_of_more_than_2_gib_is_read(tmp_path: Path) -> None:
    """One image of 3 MB for 716 rows: the file is small, the decoded column 2.1 GiB."""
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
    """Like huggingface/datasets#5707: all images in one row group."""
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
    """Like apache/arrow#31678: a page in the middle is damaged."""
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
        if number == 1:
            raise OSError(5, "Input/output error")
        yield from blocks(path, footer, number, column)

    monkeypatch.setattr(row_groups, "_blocks", broken)
    images = column(path, capacity=1)
    for _ in range(2):
        for row in range(40):
            if row // 10 == 1:
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
        raise pa.ArrowMemoryError("malloc of size 1 failed")

    monkeypatch.setattr(row_groups, "_blocks", starved)
    with pytest.raises(MemoryError):
        column(path)[0]
