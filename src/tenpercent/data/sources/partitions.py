"""Columns written as folders, `label=cat/part-0.parquet`, as Hive, Spark, pandas and Polars do."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePosixPath
from urllib.parse import unquote

import pyarrow as pa

NOTHING = ("", "__HIVE_DEFAULT_PARTITION__")  # values that mean null


def partition_of(path: str) -> dict[str, str | None]:
    """Return the columns in the folder names of a file, and its values; None for null.

    ``label=sea%20lion/year=2020/part-0.parquet`` gives ``{"label": "sea lion", "year": "2020"}``.
    """
    named = (part.split("=", 1) for part in PurePosixPath(path).parts[:-1] if is_partition(part))
    return {unquote(name): None if value in NOTHING else unquote(value) for name, value in named}


def is_partition(folder: str) -> bool:
    """Return whether the name of a folder gives a column and its value."""
    return "=" in folder[1:]


def partition_columns(paths: Sequence[str]) -> dict[str, pa.Array]:
    """Return the columns in folder names: one value per file, whole numbers where all are, else text."""
    found = [partition_of(path) for path in paths]
    names = sorted({name for each in found for name in each})
    return {name: _typed([each.get(name) for each in found]) for name in names}


def _typed(values: list[str | None]) -> pa.Array:
    try:
        numbers = [None if value is None else int(value) for value in values]
        whole = all(
            value is None or str(number) == value for value, number in zip(values, numbers, strict=True)
        )
        return pa.array(numbers if whole else values, pa.int64() if whole else pa.string())
    except (ValueError, OverflowError):
        return pa.array(values, pa.string())
