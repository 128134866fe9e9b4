"""Rows of a table for which a condition holds, in the words of SQL."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ...errors import SourceError, UsageError, counted, nearest, one_line, require
from .arrow_types import can_be_image, plain
from .source import ImageSource

ROW = "__row__"  # the column of row numbers beside those of the condition


def rows_where(
    where: str, schema: pa.Schema, read: Callable[[list[str]], pa.Table], spec: str
) -> tuple[npt.NDArray[np.int64], str]:
    """Return the rows for which a condition is true, ascending, and what was taken, in words.

    Args:
        where: a condition on columns as DuckDB reads it: ``weather = 'night' and score > 0.5``; null is not true.
        schema: all columns of the table.
        read: names of columns -> these columns, whole.
        spec: name of the table in messages.

    Raises:
        UsageError: it can't be read, or names a column that is not there.
        SourceError: it holds for no row.
    """
    if not where.strip():
        raise UsageError("--where is empty; give a condition, e.g. \"weather = 'night'\", or leave it out")
    duckdb: Any = require("duckdb", "tables")
    fitting = [field.name for field in schema if _is_plain(field.type)]
    used = [name for name in fitting if name.lower() in where.lower()]
    table = read(used) if used else pa.table({fitting[0]: read(fitting[:1])[fitting[0]]} if fitting else {})
    table = table.append_column(ROW, pa.array(np.arange(len(table))))
    with duckdb.connect(config={"enable_external_access": "false", "lock_configuration": "true"}) as database:
        try:
            found = database.from_arrow(table).filter(where).project(ROW).fetchnumpy()[ROW]
        except duckdb.Error as error:
            raise UsageError(_refused(where, error, fitting, spec)) from None
    rows = np.sort(np.asarray(found, dtype=np.int64))
    if not len(rows):
        raise SourceError(
            f"--where {where!r} holds for none of the {len(table):,} rows of {spec}; give another condition"
        )
    return rows, f"of {counted(len(table), 'row')} those where {where}"


def part_where(source: ImageSource, rows: npt.NDArray[np.int64], said: str) -> ImageSource:
    """Return the images of a table at some rows as a source whose columns can be read whole."""
    columns = source.columns
    return replace(
        source.part(rows),
        columns=None if columns is None else lambda chosen: columns(rows[chosen]),
        taken={**source.taken, "where": said},
    )


def _is_plain(kind: pa.DataType) -> bool:
    """Return whether a column may be in a condition: neither pictures nor vectors."""
    kind = plain(kind)
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        return not pa.types.is_floating(kind.value_type) and _is_plain(kind.value_type)
    return not (can_be_image(kind) or pa.types.is_nested(kind))


def _refused(where: str, error: Exception, fitting: list[str], spec: str) -> str:
    """Return the line on a condition that DuckDB refuses."""
    text = str(error)
    reason = one_line(text.partition("\n")[0].partition(": ")[2] or text, 200).rstrip(".! ")
    unknown = text.split('"')[1] if "column" in text and text.count('"') > 1 else ""
    close = nearest(unknown, fitting) if unknown else ""
    return f"--where {where!r}: {reason}; columns of {spec}: {', '.join(fitting) or 'none'}{close}"
