"""Images that the last update of a run added, and the ids now of those that it found moved."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NotRequired, TypedDict

import pyarrow as pa

from .files import write_table
from .tables import Column, Layout, read_checked


class _About(TypedDict):
    format: int
    moved: NotRequired[dict[str, str]]


_LAYOUT = Layout((Column("id", pa.string()),), _About, 1)


def write_added(path: Path, new: Iterable[str], moved: Mapping[str, str]) -> None:
    """Write the ids of new images, and of moved ones the id before and now."""
    write_table(path, pa.table({"id": pa.array(new, pa.string())}), {"format": 1, "moved": dict(moved)})


def read_added(path: Path) -> tuple[list[str], dict[str, str]]:
    """Return the ids of new images and, by the id before, of moved ones; none where there was no update.

    Raises:
        StageError: the file is damaged.
    """
    if not path.is_file():
        return [], {}
    table, about = read_checked(path, _LAYOUT)
    return table["id"].to_pylist(), about.get("moved", {})


def moved_twice(before: Mapping[str, str], now: Mapping[str, str]) -> dict[str, str]:
    """Return where images that were moved by one update are after the next one."""
    between = {*before.values()}
    again = {old: now.get(new, new) for old, new in before.items()}
    return {**{old: new for old, new in now.items() if old not in between}, **again}
