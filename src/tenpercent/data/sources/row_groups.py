"""One column of Parquet files by row number, whatever the size of the row groups."""

from __future__ import annotations

import mmap
import tempfile
from bisect import bisect_right
from collections import OrderedDict, deque
from collections.abc import Iterator
from threading import Lock

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ...errors import SourceError, one_line
from .parquet_files import ParquetFiles, leaves, parquet_file
from .remote.place import Place
from .source import Unreadable

CACHE_BYTES = 512 * 2**20  # decoded rows kept for random access: a set of this size is read from disk once
# A row group is decoded in blocks of about so many bytes, and at most so many rows: its footer is not a guide where
# one large value is stored once for many rows.
BLOCK_BYTES, BLOCK_ROWS = 16 * 2**20, 64
BEGIN = 8  # the part of the memory that is filled at once, so that few groups are half decoded with their files open


class RowGroups:
    """One column of Parquet files, row by row; the row groups used last stay in memory. Thread-safe.

    A row group is decoded block by block, up to the requested row. Of one larger than `capacity` only the latest
    blocks stay in memory. If an earlier row is requested again, it is decoded a second time, into a temporary file, and
    never again. A group that can't be decoded further is not retried.
    """

    def __init__(self, files: ParquetFiles, column: str, capacity: int = CACHE_BYTES) -> None:
        self._files = files
        self._column = column
        self._capacity = capacity
        self._held: OrderedDict[int, _Group] = OrderedDict()
        self._bytes = 0
        self._failed: dict[
            int, tuple[int, str]
        ] = {}  # of a group: the first row that can't be decoded, and why
        self._lock = Lock()

    def __getitem__(self, row: int) -> object:
        """Return the value of a row as a Python object.

        Raises:
            Unreadable: the row group is damaged in this row or before it.
            SourceError: the temporary file can't be written.
        """
        number = int(np.searchsorted(self._files.starts, row, side="right")) - 1
        within = row - int(self._files.starts[number])
        with self._lock:  # one thread decodes a group, the others wait for it
            failed = self._failed.get(number)
            if failed is not None and within >= failed[0]:
                raise Unreadable(failed[1])
            group = self._held.get(number)
            if group is None:
                group = self._held[number] = self._group(number)
            self._held.move_to_end(number)
            before = group.bytes
            try:
                block, at = group.find(within, self._capacity)
            except Unreadable as error:
                self._failed[number] = group.decoded, str(error)
                raise
            except SourceError:  # a store is out of reach: the next call begins anew
                self._bytes -= self._held.pop(number).bytes
                raise
            finally:
                self._bytes += group.bytes - before
            if group.bytes > before:
                self._let_go()
        return block.column(0)[at].as_py()

    def _group(self, number: int) -> _Group:
        file, within = self._files.groups[number]
        return _Group(self._files.paths[file], self._files.metadata[file], within, self._column)

    def _let_go(self) -> None:
        """Free the row groups used least recently while all together are too large; files stay."""
        if self._bytes <= self._capacity:
            return
        in_memory = [number for number, group in self._held.items() if group.bytes]
        for number in in_memory[:-2]:
            if self._bytes > self._capacity:
                self._bytes -= self._held.pop(number).bytes


class _Group:
    """One column of one row group: its decoded blocks, and the reader of further ones.

    Attributes:
        decoded: number of rows so far.
        bytes: size of the blocks in memory.
    """

    def __init__(self, path: Place, footer: pq.FileMetaData, number: int, column: str) -> None:
        self._path, self._footer, self._number, self._column = path, footer, number, column
        self._copy: _Copy | None = None
        self._failed = ""
        self._begin()

    def _begin(self) -> None:
        self._coming: Iterator[pa.RecordBatch] | None
        self._coming = _blocks(self._path, self._footer, self._number, self._column)
        self._starts: list[int] = []  # the first row of each block
        self._latest: deque[pa.RecordBatch] = deque()
        self._oldest = 0  # the first row still in memory
        self.decoded, self.bytes = 0, 0

    def find(self, row: int, capacity: int) -> tuple[pa.RecordBatch, int]:
        """Return the block that holds a row, and the position of the row in it."""
        if row < self._oldest:
            self._copy = _Copy()
            self._failed = ""
            self._begin()
        while self.decoded <= row:
            if not self._decode(capacity):
                raise Unreadable(self._failed)
        at = bisect_right(self._starts, row) - 1
        block = self._copy[at] if self._copy is not None else self._latest[at - len(self._starts)]
        while self._coming is not None and 0 < self.bytes < capacity // BEGIN:
            self._decode(capacity)
        return block, row - self._starts[at]

    def _decode(self, capacity: int) -> bool:
        """Decode the next block; return whether there was one."""
        try:
            block = next(self._coming or iter(()), None)
        except MemoryError:
            raise  # not an error of the file
        except (OSError, pa.ArrowException) as error:
            self._failed = f"row group {self._number} of {self._path.name} can't be read: {one_line(error)}"
            block = None
        if block is None:
            self._coming = None
            return False
        self._starts.append(self.decoded)
        self.decoded += len(block)
        if self._copy is not None:
            self._copy.add(block)
            return True
        self._latest.append(block)
        self.bytes += block.nbytes
        while self.bytes > capacity and len(self._latest) > 1:
            dropped = self._latest.popleft()
            self.bytes -= dropped.nbytes
            self._oldest += len(dropped)
        return True


def _blocks(path: Place, footer: pq.FileMetaData, number: int, column: str) -> Iterator[pa.RecordBatch]:
    """Yield one column of a row group in blocks.

    Raises:
        pyarrow.ArrowException, OSError: it is damaged; the blocks before are whole.
    """
    total = footer.row_group(number).num_rows
    rows, done = _rows_at_a_time(footer.row_group(number), column), 0
    while done < total:
        try:
            with parquet_file(path, footer) as opened:
                passed = 0
                for block in opened.iter_batches(rows, row_groups=[number], columns=[column]):
                    fresh = block.slice(max(done - passed, 0))
                    passed += len(block)
                    if len(fresh):
                        done += len(fresh)
                        yield fresh
            if done < total:
                raise pa.ArrowInvalid(f"it ends after {done:,} of {total:,} rows")
        except pa.ArrowNotImplementedError:  # these rows exceed 2 GiB, the limit of a nested array
            if rows == 1:
                raise
            rows = max(1, rows // 16)


def _rows_at_a_time(group: pq.RowGroupMetaData, column: str) -> int:
    size = sum(leaf.total_uncompressed_size for leaf in leaves(group, column))
    return int(min(max(BLOCK_BYTES * group.num_rows // max(size, 1), 1), BLOCK_ROWS))


class _Copy:
    """Blocks in a temporary file, which is removed with this object."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 – as long as this
        self._places: list[slice] = []
        self._schema: pa.Schema | None = None
        self._map = mmap.mmap(-1, 1)

    def add(self, block: pa.RecordBatch) -> None:
        """Append a block.

        Raises:
            SourceError: it can't be written.
        """
        content = block.serialize()
        start = self._places[-1].stop if self._places else 0
        start += -start % 64  # alignment at which Arrow reads without a copy
        try:
            self._file.seek(start)
            self._file.write(content)
            self._file.flush()
        except OSError as error:
            raise SourceError(
                f"a copy of a large row group, for quick access, can't be written to {tempfile.gettempdir()} "
                f"({error.strerror}); free space there, set TMPDIR, or write the file with smaller row groups"
            ) from None
        self._places.append(slice(start, start + content.size))
        self._schema = block.schema

    def __getitem__(self, at: int) -> pa.RecordBatch:
        """Return a block, memory-mapped from the file."""
        if self._places[at].stop > len(self._map):
            self._map = mmap.mmap(self._file.fileno(), self._places[-1].stop, access=mmap.ACCESS_READ)
        return pa.ipc.read_record_batch(pa.py_buffer(memoryview(self._map)[self._places[at]]), self._schema)
