"""Lists of the files in remote tar files, kept in the user's cache: making one reads the whole file through."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, TypedDict

import pyarrow as pa

from ...errors import StageError, reason_of
from ..store.files import write_table
from ..store.tables import Column, Layout, read_checked
from .remote.fetched import cache_folder, code_of
from .remote.place import RemotePath

FORMAT = 1

log = logging.getLogger("tenpercent")


class Member(NamedTuple):
    """A file in a tar file: its path there, the place and number of its bytes, and for labels their text."""

    name: str
    start: int
    size: int
    content: bytes | None = None


class _About(TypedDict):
    format: int
    remark: str


_LAYOUT = Layout(
    (
        Column("name", pa.string()),
        Column("start", pa.int64(), lowest=0),
        Column("size", pa.int64(), lowest=0),
        Column("content", pa.binary(), nullable=True),
    ),
    _About,
    FORMAT,
)


def read_members(path: RemotePath) -> tuple[list[Member], str] | None:
    """Return the list of a tar file, and what is wrong with it; None where it is not known, or the file has changed."""
    kept = _kept(path)
    if kept is None or not kept.is_file():
        return None
    try:
        table, about = read_checked(kept, _LAYOUT)
    except (OSError, StageError) as damaged:
        log.debug("%s is listed again: %s", path, damaged)
        return None
    return [Member(**one) for one in table.to_pylist()], about["remark"]


def write_members(path: RemotePath, members: Sequence[Member], remark: str) -> None:
    """Keep the list of a tar file; where that is not possible, a warning says that it will be made again."""
    kept = _kept(path)
    if kept is None:
        return
    columns = {name: [getattr(one, name) for one in members] for name in Member._fields}
    table = pa.table(columns, pa.schema([(one.name, one.type) for one in _LAYOUT.columns]))
    try:
        kept.parent.mkdir(parents=True, exist_ok=True)
        write_table(kept, table, {"format": FORMAT, "remark": remark}, checksums=True)
    except OSError as error:
        log.warning(
            "the list of %s can't be kept in %s (%s): every command reads it through again; make that folder writable, "
            "or set XDG_CACHE_HOME",
            path,
            kept.parent,
            reason_of(error),
        )


def _kept(path: RemotePath) -> Path | None:
    """Return the file in the cache; None where the store does not tell whether its object has changed."""
    stamp = path.stat().stamp
    if not stamp:
        return None
    return cache_folder() / "tar" / f"{code_of(str(path), stamp)}.parquet"
