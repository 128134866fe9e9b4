"""Exports that need no images: row numbers for a sampler, and the selection's columns as CSV."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from pyarrow import csv

from ..errors import UsageError
from .formulas import formula_notes
from .kept import Kept
from .summary import ExportSummary, Format
from .targets import building, check_free, place


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
    return ExportSummary(Format.INDICES, (folder / "indices.npy", folder / "indices.txt"), len(kept))


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
    return ExportSummary(Format.CSV, paths, len(kept), formula_notes(kept.table))
