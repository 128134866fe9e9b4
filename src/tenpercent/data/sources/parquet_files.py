"""Parquet files read as one table: their footers, whole columns, and batches of rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from ...errors import SourceError, one_line
from .arrow_types import plain_column, same_kind, without_views
from .columns import declared_classes
from .remote.place import Place, RemotePath, inside, opened
from .splits import partition_of

BATCH = 100  # rows read at a time where all columns are wanted: images are large
PIECE_BYTES, PIECE_ROWS = 16 * 2**20, 4096  # of a column of numbers read at a time
BUFFER = 2**20  # of a remote file read at a time; whole chunks of columns may be large
THREADS = 8  # files of which footers and columns of labels are read at a time


@dataclass(frozen=True)
class ParquetFiles:
    """Parquet files, one after the other.

    Attributes:
        paths: absolute.
        metadata: their footers.
        starts: int64[g + 1], the first row of each row group over all files, and the number of rows.
        groups: for each row group, its file and its number in the file.
        partitions: columns from the names of folders, one value per file.
    """

    paths: tuple[Place, ...]
    metadata: tuple[pq.FileMetaData, ...]
    starts: npt.NDArray[np.int64]
    groups: tuple[tuple[int, int], ...]
    partitions: Mapping[str, pa.Array] = field(default_factory=dict)

    @classmethod
    def open(cls, paths: Sequence[Place], root: Place | None = None) -> ParquetFiles:
        """Read the footers; folders below `root` named ``NAME=VALUE`` are columns.

        Raises:
            SourceError: a file that is not Parquet or can't be read.
        """
        with ThreadPoolExecutor(THREADS) as pool:
            metadata = tuple(pool.map(_footer, paths))
        groups = tuple((f, g) for f, footer in enumerate(metadata) for g in range(footer.num_row_groups))
        sizes = [metadata[f].row_group(g).num_rows for f, g in groups]
        named = [] if root is None else [inside(path, root) for path in paths]
        own = {name for footer in metadata for name in footer.schema.to_arrow_schema().names}
        partitions = {name: held for name, held in _partitions(named).items() if name not in own}
        return cls(tuple(paths), metadata, np.cumsum([0, *sizes], dtype=np.int64), groups, partitions)

    @property
    def rows(self) -> int:
        """Number of rows of all files."""
        return int(self.starts[-1])

    def schema(self, file: int = 0) -> pa.Schema:
        """Return the schema of a file with the columns of its folders; `check` compares the files."""
        return self._with_partitions(self.metadata[file].schema.to_arrow_schema())

    def _with_partitions(self, schema: pa.Schema) -> pa.Schema:
        for name, held in self.partitions.items():
            schema = schema.append(pa.field(name, held.type))
        return schema

    def whole_schema(self) -> pa.Schema:
        """Return the schema of the first file with the columns that only others have."""
        schema = self.schema()
        for file in range(1, len(self.paths)):
            for column in self.schema(file):
                if column.name not in schema.names:
                    schema = schema.append(column)
        return schema

    def check(self, names: Sequence[str], spec: str) -> None:
        """Compare the columns `names` of all files.

        Raises:
            SourceError: a file lacks one, or has it with another kind of values or other class names.
        """
        first = self.schema()
        for file, path in enumerate(self.paths[1:], 1):
            other = self.schema(file)
            for name in names:
                one, found = (_type_in(schema, name) for schema in (first, other))
                if one is None or found is None or not same_kind(found, one):
                    raise SourceError(
                        f"{spec}: column {name} is {one or 'missing'} in {self.paths[0].name} and "
                        f"{found or 'missing'} in {path.name}; give files with the same columns"
                    )
                if declared_classes(other, name, spec) != declared_classes(first, name, spec):
                    raise SourceError(
                        f"{spec}: column {name} has other class names in {path.name} than in {self.paths[0].name}; "
                        "give files of one data set"
                    )

    def columns(self, names: Sequence[str]) -> pa.Table:
        """Read whole columns of all files (``"image.path"`` for a field of a struct), with dictionaries decoded.

        Raises:
            SourceError: a file is damaged, or the columns of two files can't be combined.
        """
        with ThreadPoolExecutor(THREADS) as pool:
            tables = list(pool.map(lambda file: self._columns(file, names), range(len(self.paths))))
        try:
            return pa.concat_tables(tables, promote_options="permissive")
        except pa.ArrowException as error:
            raise SourceError(
                f"the columns of {self.paths[0]} and of the files beside it can't be combined ({one_line(error)}); "
                "give files with the same columns"
            ) from None

    def _columns(self, file: int, names: Sequence[str]) -> pa.Table:
        own = [name for name in names if name not in self.partitions]
        path, rows = self.paths[file], self.metadata[file].num_rows
        try:
            table = pq.ParquetFile(opened(path), page_checksum_verification=True).read(columns=own)
        except (OSError, pa.ArrowException) as error:
            raise _damaged(path, error) from None
        read = {name: plain_column(table[name]) for name in table.column_names}
        return pa.table(read | {name: self._partition(name, file, rows) for name in names if name not in own})

    def _partition(self, name: str, file: int, rows: int) -> pa.Array:
        return self.partitions[name].take(pa.array(np.full(rows, file)))

    def pieces(self, name: str) -> Iterator[pa.Array]:
        """Yield one column of all files in pieces: the whole column may exceed the size of Arrow's arrays.

        Raises:
            SourceError: a file is damaged.
        """
        for path, footer in zip(self.paths, self.metadata, strict=True):
            try:
                with parquet_file(path, footer) as file:
                    for batch in file.iter_batches(_rows_at_a_time(footer, name), columns=[name]):
                        yield batch.column(0)
            except (OSError, pa.ArrowException) as error:
                raise _damaged(path, error) from None

    def reader(self, rows: npt.NDArray[np.int64]) -> pa.RecordBatchReader:
        """Return all columns of the given rows (ascending) in batches; a column that a file lacks is null.

        The scanner of `pyarrow.dataset` was tried: it takes half as much memory again, since it holds whole row groups.
        """
        own = [without_views(footer.schema.to_arrow_schema()) for footer in self.metadata]
        schema = self._with_partitions(pa.unify_schemas(own, promote_options="permissive"))
        return pa.RecordBatchReader.from_batches(schema, self._batches(rows, schema))

    def _batches(self, rows: npt.NDArray[np.int64], schema: pa.Schema) -> Iterator[pa.RecordBatch]:
        start = 0
        for file, (path, footer) in enumerate(zip(self.paths, self.metadata, strict=True)):
            with parquet_file(path, footer, checked=False) as held:
                for batch in held.iter_batches(batch_size=BATCH):
                    first, end = np.searchsorted(rows, [start, start + len(batch)])
                    if first < end:
                        found = pa.table(batch).cast(without_views(batch.schema))  # views do not support take
                        found = found.take(pa.array(rows[first:end] - start))
                        for name in self.partitions:
                            found = found.append_column(name, self._partition(name, file, len(found)))
                        whole = pa.concat_tables([schema.empty_table(), found], promote_options="permissive")
                        yield from whole.to_batches()
                    start += len(batch)


def parquet_file(path: Place, footer: pq.FileMetaData, *, checked: bool = True) -> pq.ParquetFile:
    """Open a Parquet file for reading in order; a remote one is not read in whole chunks."""
    how: dict[str, Any] = {"buffer_size": BUFFER} if isinstance(path, RemotePath) else {"memory_map": True}
    return pq.ParquetFile(opened(path), metadata=footer, page_checksum_verification=checked, **how)


def _type_in(schema: pa.Schema, name: str) -> pa.DataType | None:
    return schema.field(name).type if schema.names.count(name) == 1 else None


def _footer(path: Place) -> pq.FileMetaData:
    try:
        return pq.read_metadata(opened(path))
    except (OSError, pa.ArrowException) as error:
        raise _damaged(path, error) from None


def _damaged(path: Place, error: Exception) -> SourceError:
    reason = getattr(error, "strerror", None) or one_line(error)
    return SourceError(f"{path} can't be read as Parquet ({reason}); give a whole Parquet file")


def _rows_at_a_time(footer: pq.FileMetaData, name: str) -> int:
    """Return the number of rows of numbers that take about 16 MiB when decoded."""
    most = 1.0
    for group in map(footer.row_group, range(footer.num_row_groups)):
        values = sum(leaf.num_values for leaf in leaves(group, name))
        most = max(most, values / max(group.num_rows, 1))
    return int(min(max(PIECE_BYTES // (8 * most), 1), PIECE_ROWS))


def leaves(group: pq.RowGroupMetaData, column: str) -> list[pq.ColumnChunkMetaData]:
    """Return the footer's entries on a column, one for each field of a struct."""
    every = [group.column(at) for at in range(group.num_columns)]
    return [leaf for leaf in every if leaf.path_in_schema.split(".")[0] == column]


# ---- columns written as folders, `label=cat/part-0.parquet`, as Hive, Spark, pandas and Polars do ------------------


def _partitions(paths: Sequence[str]) -> dict[str, pa.Array]:
    """Return the columns in folder names: one value per file, whole numbers where all are, else text."""
    found = [partition_of(path) for path in paths]
    names = sorted({name for each in found for name in each})
    return {name: _typed([each.get(name) for each in found]) for name in names}


def _typed(values: list[str | None]) -> pa.Array:
    try:
        numbers = pa.array([None if value is None else int(value) for value in values], pa.int64())
    except (ValueError, OverflowError):
        return pa.array(values, pa.string())
    texts = pa.array(values, pa.string())
    return numbers if numbers.cast(pa.string()).equals(texts) else texts
