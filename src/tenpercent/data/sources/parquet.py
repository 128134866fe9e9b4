"""Images in Parquet files, in the layout of Hugging Face, read one row group at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ...errors import SourceError, one_line
from ..store.embeddings import Embeddings, row_ids
from .arrow_types import can_be_id, plain_column, same_kind, without_views
from .cells import bytes_of, has_path, ids_of, paths_of
from .columns import SPLIT_NAMES, find_columns
from .features import declared_classes
from .options import SourceOptions
from .partitions import partition_columns
from .row_groups import CHECKED, RowGroups
from .source import ImageSource, Raw
from .splits import choose_split, split_of_file, splits_of_folders
from .tables import read_rows
from .vectors import vectors_from_table

BATCH = 100  # rows read at a time where all columns are wanted: images are large
PIECE_BYTES, PIECE_ROWS = 16 * 2**20, 4096  # of a column of numbers read at a time


@dataclass(frozen=True)
class Files:
    """Parquet files, one after the other.

    Attributes:
        paths: absolute.
        metadata: their footers.
        starts: int64[g + 1], the first row of each row group over all files, and the number of rows.
        groups: for each row group, its file and its number in the file.
        partitions: columns from the names of folders, one value per file.
    """

    paths: tuple[Path, ...]
    metadata: tuple[pq.FileMetaData, ...]
    starts: np.ndarray[tuple[int], np.dtype[np.int64]]
    groups: tuple[tuple[int, int], ...]
    partitions: Mapping[str, pa.Array] = field(default_factory=dict)

    @classmethod
    def open(cls, paths: Sequence[Path], root: Path | None = None) -> Files:
        """Read the footers; folders below `root` named ``NAME=VALUE`` are columns.

        Raises:
            SourceError: a file that is not Parquet or can't be read.
        """
        metadata = tuple(_footer(path) for path in paths)
        groups = tuple((f, g) for f, footer in enumerate(metadata) for g in range(footer.num_row_groups))
        sizes = [metadata[f].row_group(g).num_rows for f, g in groups]
        starts = np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)]).astype(np.int64)
        named = [] if root is None else [path.relative_to(root).as_posix() for path in paths]
        own = {name for footer in metadata for name in footer.schema.to_arrow_schema().names}
        partitions = {name: held for name, held in partition_columns(named).items() if name not in own}
        return cls(tuple(paths), metadata, starts, groups, partitions)

    @property
    def rows(self) -> int:
        """Number of rows of all files."""
        return int(self.starts[-1])

    def schema(self, file: int = 0) -> pa.Schema:
        """Return the schema of a file with the columns of its folders; `check` compares the files."""
        schema = self.metadata[file].schema.to_arrow_schema()
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
                        f"{found or 'missing'} in {path.name}; give files of one layout"
                    )
                if declared_classes(other, name, spec) != declared_classes(first, name, spec):
                    raise SourceError(
                        f"{spec}: column {name} has other class names in {path.name} than in {self.paths[0].name}; "
                        f"give files of one data set"
                    )

    def columns(self, names: Sequence[str]) -> pa.Table:
        """Read whole columns of all files (``"image.path"`` for a field of a struct), with dictionaries decoded.

        Raises:
            SourceError: a file is damaged, or the columns of two files can't be combined.
        """
        tables = [self._columns(file, names) for file in range(len(self.paths))]
        try:
            return pa.concat_tables(tables, promote_options="permissive")
        except pa.ArrowException as error:
            raise SourceError(
                f"{self.paths[0]} and the files beside it don't fit together ({one_line(error)}); give files of one "
                "layout"
            ) from None

    def _columns(self, file: int, names: Sequence[str]) -> pa.Table:
        own = [name for name in names if name not in self.partitions]
        table = _read(self.paths[file], own).replace_schema_metadata(None)
        read = {name: plain_column(table[name]) for name in table.column_names}
        rows = self.metadata[file].num_rows
        return pa.table(read | {name: self._partition(name, file, rows) for name in names if name not in own})

    def _partition(self, name: str, file: int, rows: int) -> pa.ChunkedArray:
        held = self.partitions[name]
        return pa.chunked_array([held.take(pa.array(np.full(rows, file)))], held.type)

    def pieces(self, name: str) -> Iterator[pa.Array]:
        """Yield one column of all files in pieces: the whole column may exceed the size of Arrow's arrays.

        Raises:
            SourceError: a file is damaged.
        """
        for path, footer in zip(self.paths, self.metadata, strict=True):
            try:
                with pq.ParquetFile(path, **CHECKED, metadata=footer) as opened:
                    for batch in opened.iter_batches(_rows_at_a_time(footer, name), columns=[name]):
                        yield batch.column(0)
            except (OSError, pa.ArrowException) as error:
                raise _damaged(path, error) from None

    def reader(self, rows: npt.NDArray[np.int64]) -> pa.RecordBatchReader:
        """Return all columns of the given rows (ascending) in batches; a column that a file lacks is null."""
        own = [without_views(footer.schema.to_arrow_schema()) for footer in self.metadata]
        schema = pa.unify_schemas(own, promote_options="permissive")
        for name, held in self.partitions.items():
            schema = schema.append(pa.field(name, held.type))
        return pa.RecordBatchReader.from_batches(schema, self._batches(rows, schema))

    def _batches(self, rows: npt.NDArray[np.int64], schema: pa.Schema) -> Iterator[pa.RecordBatch]:
        start = 0
        for file, (path, footer) in enumerate(zip(self.paths, self.metadata, strict=True)):
            with pq.ParquetFile(path, metadata=footer, memory_map=True) as opened:
                for batch in opened.iter_batches(batch_size=BATCH):
                    first, end = np.searchsorted(rows, [start, start + len(batch)])
                    start += len(batch)
                    if first < end:
                        found = pa.table(batch).cast(without_views(batch.schema))  # views do not support take
                        found = found.take(pa.array(rows[first:end] - (start - len(batch))))
                        for name in self.partitions:
                            found = found.append_column(name, self._partition(name, file, len(found)))
                        whole = pa.concat_tables([schema.empty_table(), found], promote_options="permissive")
                        yield from whole.to_batches()


def open_parquet(paths: Sequence[Path], spec: Path, options: SourceOptions) -> ImageSource | Embeddings:
    """Open Parquet files: images, or vectors where there are no images or `embedding_column` says so.

    If a folder has a file of the split `train`, the files of one split are taken (`splits.split_of_file`).
    Folders named ``NAME=VALUE`` are columns. Ids are those of `tables.read_rows`.

    Args:
        paths: the files, absolute.
        spec: the file or folder they were found in, absolute.
        options: split and columns.

    Raises:
        SourceError: not Parquet, no rows, no such split, ambiguous or wrong columns, labels out of range.
    """
    paths = sorted(paths)
    chosen, outside = "", 0
    splits: tuple[str, ...] = ()
    if spec.is_dir():
        split_of = {path: split_of_file(path.relative_to(spec).as_posix(), options.rules) for path in paths}
        known = tuple(sorted({name for name in split_of.values() if name}))
        if "train" in known or options.split is not None:
            chosen, splits = choose_split(options.split, known, str(spec)), known
            outside = sum(name is None for name in split_of.values())
            paths = [path for path in paths if split_of[path] == chosen]
    elif options.split is not None:
        choose_split(options.split, (), str(spec))
    folder = spec if spec.is_dir() else spec.parent
    files = Files.open(paths, folder if options.rules > 1 and spec.is_dir() else None)
    if files.rows == 0:
        raise SourceError(f"{spec} holds no rows; give a file with at least one image or vector")
    schema = files.schema() if options.rules == 1 else files.whole_schema()
    columns = find_columns(schema, options, str(spec))
    if options.rules > 1:
        columns = replace(columns, remarks={**columns.remarks, **_undivided(files, schema)})
    held_by = (columns.image, columns.vector, columns.label, columns.id)
    files.check([name for name in dict.fromkeys(held_by) if name is not None], str(spec))
    inside = None if columns.image is None else _paths_as_ids(files, columns.image, folder)
    rows = read_rows(columns, files.columns, str(spec), options.rules, inside)
    if columns.vector is not None:
        pieces, drop = files.pieces(columns.vector), options.drop_bad_rows
        return vectors_from_table(rows, columns.vector, pieces, files.rows, str(spec), drop_bad_rows=drop)
    held = RowGroups(files, columns.image or "")

    def read(row: int) -> Raw:
        return bytes_of(held[row], folder)

    return ImageSource(
        spec=str(spec),
        ids=rows.ids or tuple(row_ids(files.rows).tolist()),
        paths=(None,) * files.rows,
        labels=rows.labels,
        class_names=rows.class_names,
        read=read,
        split=chosen,
        skipped={"Parquet files outside the splits": outside} if outside else {},
        splits=splits,
        columns=files.reader,
        taken=rows.taken,
    )


def _undivided(files: Files, schema: pa.Schema) -> dict[str, str]:
    """Return a remark on a column that names splits within the files: the rows of all splits are taken."""
    for name in schema.names:
        if name.lower() not in SPLIT_NAMES or not can_be_id(schema.field(name).type):
            continue
        values = [
            str(value) for value in pc.unique(files.columns([name])[name]).to_pylist() if value is not None
        ]
        found = splits_of_folders(values)
        if len(set(found.values())) > 1:
            names = ", ".join(found)
            return {
                "splits": f"rows of {names} alike (column {name} divides none; give each split its own file)"
            }
    return {}


def _paths_as_ids(files: Files, image: str, folder: Path) -> tuple[str, ...] | None:
    if not has_path(files.schema().field(image).type):
        return None
    return ids_of(paths_of(files.columns([f"{image}.path"])[image]), folder)


def _type_in(schema: pa.Schema, name: str) -> pa.DataType | None:
    return schema.field(name).type if schema.names.count(name) == 1 else None


def _footer(path: Path) -> pq.FileMetaData:
    try:
        return pq.read_metadata(path)
    except (OSError, pa.ArrowException) as error:
        raise _damaged(path, error) from None


def _read(path: Path, names: Sequence[str]) -> pa.Table:
    try:
        return pq.ParquetFile(path, page_checksum_verification=True).read(columns=list(names))
    except (OSError, pa.ArrowException) as error:
        raise _damaged(path, error) from None


def _rows_at_a_time(footer: pq.FileMetaData, name: str) -> int:
    """Return the number of rows of numbers that take about 16 MiB when decoded."""
    most = 0.0
    for group in map(footer.row_group, range(footer.num_row_groups)):
        leaves = [group.column(at) for at in range(group.num_columns)]
        values = sum(leaf.num_values for leaf in leaves if leaf.path_in_schema.split(".")[0] == name)
        most = max(most, values / max(group.num_rows, 1))
    return int(min(max(PIECE_BYTES // (8 * max(most, 1.0)), 1), PIECE_ROWS))


def _damaged(path: Path, error: Exception) -> SourceError:
    reason = getattr(error, "strerror", None) or one_line(error)
    return SourceError(f"{path} can't be read as Parquet ({reason}); give a whole Parquet file")
