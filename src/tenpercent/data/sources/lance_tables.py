"""Lance data sets as sources: tables in folders called `NAME.lance`, read row by row."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ...errors import SourceError, UsageError, one_line, require
from ..store.embeddings import Embeddings, row_ids
from .columns import find_columns
from .options import SourceOptions
from .source import ImageSource, Raw, Unreadable
from .tables import bytes_of, has_path, ids_of, read_rows
from .vectors import vectors_from_table
from .where import part_where, rows_where

ENDING, EXTRA = ".lance", "lance"
BATCH = 100  # rows taken at a time where all columns are wanted: images are large
_FAILS = (OSError, ValueError, RuntimeError, pa.ArrowException)


def open_lance(folder: Path, options: SourceOptions) -> ImageSource | Embeddings:
    """Open the latest version of a Lance data set: images, or vectors where there are no images or options say so.

    Raises:
        SourceError: it can't be read, has no rows, or unclear columns.
        MissingExtraError: pylance is not installed.
    """
    spec, lance = str(folder), require("lance", EXTRA)
    try:
        return _opened(lance.dataset(spec), folder, options)
    except UsageError:
        raise
    except _FAILS as error:
        raise SourceError(
            f"{spec} can't be read as Lance ({_reason(error)}); give a whole data set"
        ) from None


def _opened(data: Any, folder: Path, options: SourceOptions) -> ImageSource | Embeddings:
    spec, schema, n = str(folder), data.schema, data.count_rows()
    if n == 0:
        raise SourceError(f"{spec} holds no rows; give a data set with at least one image or vector")
    columns = find_columns(schema, options, spec)
    image, paths = columns.image, None

    def table(names: list[str]) -> pa.Table:
        return data.to_table(columns=names)

    if image is not None and has_path(schema.field(image).type):
        paths = ids_of(table([f"{image}.path"]).column(0).to_pylist(), folder)
    rows = read_rows(columns, table, spec, options.rules, paths)
    where = None if options.where is None else rows_where(options.where, schema, table, spec)
    if columns.vector is not None:
        pieces = (batch.column(0) for batch in data.to_batches(columns=[columns.vector]))
        drop = options.drop_bad_rows
        return vectors_from_table(rows, columns.vector, pieces, n, spec, drop_bad_rows=drop, where=where)

    def read(row: int) -> Raw:
        try:
            cell = data.take([row], columns=[image]).column(0)[0].as_py()
        except _FAILS as error:
            raise Unreadable(f"its row can't be read: {_reason(error)}") from None
        return bytes_of(cell, folder)

    source = ImageSource(
        spec=spec,
        ids=rows.ids or tuple(row_ids(n).tolist()),
        paths=(None,) * n,
        labels=rows.labels,
        class_names=rows.class_names,
        read=read,
        columns=lambda rows: pa.RecordBatchReader.from_batches(schema, _batches(data, rows)),
        image_column=image,
        taken=rows.taken,
    )
    return source if where is None else part_where(source, *where)


def _batches(data: Any, rows: npt.NDArray[np.int64]) -> Iterator[pa.RecordBatch]:
    """Yield all columns of the given rows, some at a time."""
    for start in range(0, len(rows), BATCH):
        yield from data.take(rows[start : start + BATCH].tolist()).to_batches()


def _reason(error: Exception) -> str:
    return one_line(error).partition(", /")[0]  # behind it are places in the library's own source
