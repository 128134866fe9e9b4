"""The selection of a cut as a file to take away, written piece by piece."""

from __future__ import annotations

import io
from collections.abc import Iterator

import pyarrow as pa
from pyarrow import csv

from ..select.selection import Selection

ROWS = 10_000  # of a piece


def as_csv(selection: Selection) -> Iterator[bytes]:
    """Yield a table of all images, one row each, as CSV in UTF-8."""
    table = selection.table
    for start in range(0, max(len(table), 1), ROWS):
        piece = io.BytesIO()
        options = csv.WriteOptions(include_header=start == 0, quoting_style="needed")
        csv.write_csv(pa.table(table.slice(start, ROWS)), piece, options)
        yield piece.getvalue()


def as_lines(selection: Selection) -> Iterator[bytes]:
    """Yield the ids of the images that stay, one a line."""
    kept = selection.kept
    for start in range(0, len(kept), ROWS):
        yield "".join(f"{name}\n" for name in kept[start : start + ROWS]).encode("utf-8", "backslashreplace")
