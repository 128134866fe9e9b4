"""Downloads of a cut's selection, written piece by piece."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import numpy.typing as npt
import pyarrow as pa
from pyarrow import csv
from starlette.responses import Response, StreamingResponse

from ..selection.selection import Selection

ROWS = 10_000  # of a piece


def as_csv(selection: Selection) -> Response:
    """Return a table of all images, one row each, as CSV in UTF-8."""
    return _download(_rows(selection.table), "text/csv", "selection.csv")


def as_lines(selection: Selection) -> Response:
    """Return the ids of the kept images, one a line."""
    return _download(_lines(selection.kept), "text/plain", "kept.txt")


def _download(pieces: Iterator[bytes], kind: str, name: str) -> Response:
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return StreamingResponse(pieces, media_type=kind, headers=headers)


def _rows(table: pa.Table) -> Iterator[bytes]:
    for start in range(0, max(len(table), 1), ROWS):
        piece = io.BytesIO()
        options = csv.WriteOptions(include_header=start == 0, quoting_style="needed")
        csv.write_csv(pa.table(table.slice(start, ROWS)), piece, options)
        yield piece.getvalue()


def _lines(ids: npt.NDArray[Any]) -> Iterator[bytes]:
    for start in range(0, len(ids), ROWS):
        yield "".join(f"{name}\n" for name in ids[start : start + ROWS]).encode("utf-8", "backslashreplace")
