"""Images in Parquet files, in the layout of Hugging Face: read a row group at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from ..errors import SourceError
from ..store.embeddings import Embeddings, row_ids
from .cells import bytes_of, ids_of
from .columns import NO_CLASSES, declared_classes, find_columns, labels_of
from .options import SourceOptions
from .row_groups import RowGroups
from .source import ImageSource, Raw
from .splits import choose_split, split_of_file
from .vectors import vectors_from_table

BATCH = 100  # rows read at a time where all columns are wanted: images are large


@dataclass(frozen=True)
class Files:
    """Parquet files, one after the other.

    Attributes:
        paths: absolute.
        metadata: their footers.
        starts: int64[g + 1], the first row of each row group over all files, and the number of rows.
        groups: for each row group its file and its number therein.
    """

    paths: tuple[Path, ...]
    metadata: tuple[pq.FileMetaData, ...]
    starts: np.ndarray[tuple[int], np.dtype[np.int64]]
    groups: tuple[tuple[int, int], ...]

    @classmethod
    def open(cls, paths: Sequence[Path]) -> Files:
        """Read the footers.

        Raises:
            SourceError: a file that is not Parquet or can't be read.
        """
        metadata = tuple(_footer(path) for path in paths)
        groups = tuple((f, g) for f, footer in enumerate(metadata) for g in range(footer.num_row_groups))
        sizes = [metadata[f].row_group(g).num_rows for f, g in groups]
        starts = np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)]).astype(np.int64)
        return cls(tuple(paths), metadata, starts, groups)

    @property
    def rows(self) -> int:
        """The number of rows of all files."""
        return int(self.starts[-1])

    def schema(self) -> pa.Schema:
        """Return the schema of the first file; `check` compares the others with it."""
        return pq.read_schema(self.paths[0])

    def check(self, names: Sequence[str], spec: str) -> None:
        """Compare the columns `names` of all files.

        Raises:
            SourceError: a file lacks one, or has it with another type or other class names.
        """
        first = self.schema()
        for path in self.paths[1:]:
            other = pq.read_schema(path)
            for name in names:
                if name not in other.names or other.field(name).type != first.field(name).type:
                    found = other.field(name).type if name in other.names else "missing"
                    raise SourceError(
                        f"{spec}: column {name} is {first.field(name).type} in {self.paths[0].name} and {found} "
                        f"in {path.name}; give files of one layout"
                    )
                if declared_classes(other, name, spec) != declared_classes(first, name, spec):
                    raise SourceError(
                        f"{spec}: column {name} has other class names in {path.name} than in {self.paths[0].name}; "
                        f"give files of one data set"
                    )

    def columns(self, names: Sequence[str]) -> pa.Table:
        """Read whole columns of all files (``"image.path"`` for a field of a struct).

        Raises:
            SourceError: a file is damaged.
        """
        tables = [_read(path, names) for path in self.paths]
        return pa.concat_tables([table.replace_schema_metadata(None) for table in tables])

    def reader(self, rows: npt.NDArray[np.int64]) -> pa.RecordBatchReader:
        """Return all columns of the given rows (ascending) a few at a time; a column that one file lacks is null."""
        schemas = [footer.schema.to_arrow_schema() for footer in self.metadata]
        schema = pa.unify_schemas(schemas, promote_options="permissive")
        return pa.RecordBatchReader.from_batches(schema, self._batches(rows, schema))

    def _batches(self, rows: npt.NDArray[np.int64], schema: pa.Schema) -> Iterator[pa.RecordBatch]:
        start = 0
        for path, footer in zip(self.paths, self.metadata, strict=True):
            with pq.ParquetFile(path, metadata=footer, memory_map=True) as opened:
                for batch in opened.iter_batches(batch_size=BATCH):
                    first, end = np.searchsorted(rows, [start, start + len(batch)])
                    start += len(batch)
                    if first < end:
                        found = pa.table(batch).take(pa.array(rows[first:end] - (start - len(batch))))
                        whole = pa.concat_tables([schema.empty_table(), found], promote_options="permissive")
                        yield from whole.to_batches()


def open_parquet(paths: Sequence[Path], spec: Path, options: SourceOptions) -> ImageSource | Embeddings:
    """Open Parquet files: images, or vectors where there are no images or `embedding_column` says so.

    Of a folder with a file of the split `train` the files of one split are taken (`splits.split_of_file`).
    Ids are the `path` beside each image where every row has one of its own, else the row numbers.

    Args:
        paths: the files, absolute.
        spec: the file or folder they were found in, absolute.
        options: split and columns.

    Raises:
        SourceError: not Parquet, no rows, no such split, unclear or wrong columns, labels out of range.
    """
    paths = sorted(paths)
    chosen, outside = "", 0
    splits: tuple[str, ...] = ()
    if spec.is_dir():
        split_of = {path: split_of_file(path.relative_to(spec).as_posix()) for path in paths}
        known = tuple(sorted({name for name in split_of.values() if name}))
        if "train" in known or options.split is not None:
            chosen, splits = choose_split(options.split, known, str(spec)), known
            outside = sum(name is None for name in split_of.values())
            paths = [path for path in paths if split_of[path] == chosen]
    elif options.split is not None:
        choose_split(options.split, (), str(spec))
    files = Files.open(paths)
    if files.rows == 0:
        raise SourceError(f"{spec} holds no rows; give a file with at least one image or vector")
    columns = find_columns(files.schema(), options, str(spec))
    wanted = [name for name in (columns.image, columns.vector, columns.label) if name is not None]
    if columns.vector is not None:
        wanted = list(dict.fromkeys([*wanted, *([columns.id] if columns.id else [])]))
        files.check(wanted, str(spec))
        return vectors_from_table(files.columns(wanted), columns, str(spec))
    files.check(wanted, str(spec))
    labels, names = None, NO_CLASSES
    if columns.label is not None:
        labels, names = labels_of(
            files.columns([columns.label])[columns.label], columns.class_names, str(spec)
        )
    image = columns.image or ""
    held = RowGroups(files, image)
    folder = spec if spec.is_dir() else spec.parent

    def read(row: int) -> Raw:
        return bytes_of(held[row], folder)

    return ImageSource(
        spec=str(spec),
        ids=_paths_as_ids(files, image, folder) or tuple(row_ids(files.rows).tolist()),
        paths=(None,) * files.rows,
        labels=labels,
        class_names=names,
        read=read,
        split=chosen,
        skipped={"Parquet files outside the splits": outside} if outside else {},
        splits=splits,
        columns=files.reader,
    )


def _paths_as_ids(files: Files, image: str, folder: Path) -> tuple[str, ...] | None:
    kind = files.schema().field(image).type
    if not pa.types.is_struct(kind) or all(field.name != "path" for field in kind):
        return None
    cells = files.columns([f"{image}.path"])[image]
    paths: list[str | None] = []
    for chunk in cells.chunks:
        paths.extend(chunk.field("path").to_pylist())
    return ids_of(paths, folder)


def _footer(path: Path) -> pq.FileMetaData:
    try:
        return pq.read_metadata(path)
    except (OSError, pa.ArrowException) as error:
        raise _damaged(path, error) from None


def _read(path: Path, names: Sequence[str]) -> pa.Table:
    try:
        return pq.ParquetFile(path).read(columns=list(names))
    except (OSError, pa.ArrowException) as error:
        raise _damaged(path, error) from None


def _damaged(path: Path, error: Exception) -> SourceError:
    reason = getattr(error, "strerror", None) or " ".join(str(error).split())
    return SourceError(f"{path} can't be read as Parquet ({reason}); give a whole Parquet file")
