"""Texts that a spreadsheet takes for formulas: written unchanged, counted and reported."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

# Signs that start a formula in a spreadsheet, also after a tab or line break, and in the full width of East Asia.
BEGINNING = r"^[\t\r\n =+\-@＝＋－＠]*[=+\-@＝＋－＠]"
NUMBER = r"^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?$"  # read as the same number by any reader


def count_formulas(table: pa.Table) -> int:
    """Return the number of rows with a text that a spreadsheet would compute."""
    found = pa.array([False] * len(table), pa.bool_())
    for name, column in zip(table.column_names, table.columns, strict=True):
        if not pa.types.is_string(table.schema.field(name).type):
            continue
        texts = column.combine_chunks()
        formula = pc.and_not(
            pc.match_substring_regex(texts, BEGINNING), pc.match_substring_regex(texts, NUMBER)
        )
        found = pc.or_(found, pc.fill_null(formula, False))
    return int(pc.sum(found).as_py() or 0)


def formula_notes(table: pa.Table) -> tuple[str, ...]:
    """Return notes on what a spreadsheet would do with a table written as CSV."""
    count = count_formulas(table)
    if not count:
        return ()
    rows = "1 row holds" if count == 1 else f"{count:,} rows hold"
    return (
        f"{rows} text that begins with =, +, - or @, written unchanged: a spreadsheet takes it for a formula, so "
        "import the columns as text there, or read the file with pandas",
    )
