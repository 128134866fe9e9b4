"""Images of a source that a run leaves out: unreadable ones, and those held out for evaluation."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from ...errors import StageError, UsageError
from .ids import numbers_row
from .run_folder import RunFolder
from .tables import Column, FormatOnly, Layout, check, read_checked, remedy

FORMAT = 1


REJECTED = Layout(
    (Column("id", pa.string()), Column("row", pa.int64(), lowest=0), Column("reason", pa.string())),
    FormatOnly,
    FORMAT,
)
HELD_OUT = Layout(
    (
        Column("id", pa.string()),
        Column("row", pa.int64(), lowest=0),
        Column("label", pa.int64(), lowest=-1),
        Column("hash", pa.string(), nullable=True, optional=True),
    ),
    FormatOnly,
    FORMAT,
)


def read_rejected(run: RunFolder) -> pa.Table | None:
    """Return the unreadable images: id, row, reason; None where the run has no such table.

    Raises:
        StageError: the file is damaged.
    """
    return _read(run, "rejected", REJECTED)


def read_held_out(run: RunFolder) -> pa.Table | None:
    """Return the images held out: id, row, label and, but for older runs, hash; None where there are none.

    Raises:
        StageError: the file is damaged.
    """
    return _read(run, "holdout", HELD_OUT)


def _read(run: RunFolder, name: str, layout: Layout) -> pa.Table | None:
    path = getattr(run, name)
    if not path.exists():
        if path.name in run.read().get("checksums", {}):
            raise StageError(f"{path} is gone; {remedy(path).removeprefix('delete it, then ')}")
        return None
    table, _ = read_checked(path, layout)
    source, rows = run.source, table["row"].to_numpy()
    n = None if source.has_vectors else source.n  # vectors that were set aside are not counted
    check(
        path,
        (len(np.unique(rows)) == len(rows), "a row of the source occurs twice"),
        (
            n is None or rows.max(initial=-1) < n,
            f"column row holds {rows.max(initial=-1)}, beyond the source's {n}",
        ),
    )
    return table


def check_takes_part(run: RunFolder, name: str) -> None:
    """Raise `UsageError` where an image was rejected or held out."""
    for found in _rows_named(read_rejected(run), name):
        raise UsageError(f"{name} took no part: it was rejected ({found['reason']}); repair or remove it")
    for _ in _rows_named(read_held_out(run), name):
        raise UsageError(
            f"{name} took no part: it is held out for evaluation (--holdout); ask for another image"
        )


def _rows_named(table: pa.Table | None, name: str) -> list[dict[str, Any]]:
    """Return the rows of a table for the image `name`, or for the row with that number."""
    return [
        one
        for one in ([] if table is None else table.to_pylist())
        if one["id"] == name or numbers_row(name, one["id"], one["row"])
    ]
