"""What stores said of a run's images when their content was known: an image with the same stamp need not be read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pyarrow as pa

from .files import write_table
from .tables import Column, FormatOnly, Layout, read_checked

FORMAT = 1
_LAYOUT = Layout((Column("id", pa.string()), Column("stamp", pa.string())), FormatOnly, FORMAT)


def write_stamps(path: Path, ids: Sequence[str], stamps: Sequence[str] | None) -> None:
    """Write the stamp of each image; nothing for images on disk, whose stamps are None."""
    if stamps is not None:
        table = pa.table({"id": pa.array(ids, pa.string()), "stamp": pa.array(stamps, pa.string())})
        write_table(path, table, {"format": FORMAT}, checksums=True)


def read_stamps(path: Path) -> Mapping[str, str]:
    """Return the stamps by id; none where there is no such file.

    Raises:
        StageError: the file is damaged.
    """
    if not path.is_file():
        return {}
    table, _ = read_checked(path, _LAYOUT)
    return dict(zip(table["id"].to_pylist(), table["stamp"].to_pylist(), strict=True))
