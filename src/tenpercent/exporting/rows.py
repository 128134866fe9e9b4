"""Exports that need no images: row numbers for a sampler, and the selection's columns as CSV."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv

from ..errors import UsageError
from .kept import Kept
from .summary import ExportFormat, ExportSummary
from .targets import building, check_free, place

# Signs that start a formula in a spreadsheet, also after a tab or line break, and in the full width of East Asia.
BEGINNING = r"^[\t\r\n =+\-@＝＋－＠]*[=+\-@＝＋－＠]"
NUMBER = r"^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?$"  # read as the same number by any reader


def write_indices(kept: Kept, to: Path) -> ExportSummary:
    """Write the folder `to` with ``indices.npy`` (int64[k], increasing) and ``indices.txt`` (one a line).

    Raises:
        UsageError: `to` is not empty, or has the name of one of the two files.
    """
    if to.suffix in (".npy", ".txt"):
        raise UsageError(
            f"--to {to} names a file, but indices are two files in a folder, indices.npy and indices.txt; "
            f"choose --to {to.with_suffix('')}"
        )
    check_free(to)
    rows = kept.rows
    with building(to) as temporary:
        made = temporary / "kept"
        made.mkdir()
        np.save(made / "indices.npy", rows, allow_pickle=False)
        (made / "indices.txt").write_text("".join(f"{row}\n" for row in rows.tolist()), encoding="ascii")
        (folder,) = place({made: to})
    return ExportSummary(ExportFormat.INDICES, (folder / "indices.npy", folder / "indices.txt"), len(kept))


def write_csv(kept: Kept, to: Path) -> ExportSummary:
    """Write the file `to`: UTF-8, a header, every column of the selection, a row a kept image.

    A missing value is an empty field. Texts are written as they are, digits with leading zeros, ``NA`` and what a
    spreadsheet takes for a formula (which is reported) alike; docs/export.md shows how to read them with pandas.

    Raises:
        UsageError: `to` exists.
    """
    if to.is_dir():
        raise UsageError(f"--to {to} is a folder, but CSV is one file; choose --to {to / 'kept.csv'}")
    check_free(to)
    with building(to) as temporary:
        options = csv.WriteOptions(include_header=True, quoting_style="needed")
        csv.write_csv(kept.table, temporary / "table.csv", options)
        paths = place({temporary / "table.csv": to})
    return ExportSummary(ExportFormat.CSV, paths, len(kept), formula_notes(kept.table))


def formula_notes(table: pa.Table) -> tuple[str, ...]:
    """Return notes on the texts that a spreadsheet would compute, of a table written as CSV."""
    found = np.zeros(len(table), dtype=bool)
    for field, column in zip(table.schema, table.columns, strict=True):
        if pa.types.is_string(field.type):
            texts = column.fill_null("")
            formula = pc.match_substring_regex(texts, BEGINNING)
            found |= pc.and_not(formula, pc.match_substring_regex(texts, NUMBER)).to_numpy()
    count = int(found.sum())
    if not count:
        return ()
    rows = "1 row holds" if count == 1 else f"{count:,} rows hold"
    return (
        f"{rows} text that begins with =, +, - or @, written unchanged: a spreadsheet takes it for a formula, so "
        "import the columns as text there, or read the file with pandas",
    )
