"""Images and vectors of a source that are left out, with the reason: `rejected.parquet`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from .files import write_table

FORMAT = 1
REJECTED = "rejected"  # in the metadata of a part: its images without a usable vector


@dataclass(frozen=True)
class Rejected:
    """Image or vector that is left out: its id, its row in the source, and the reason."""

    id: str
    row: int
    reason: str


def rejected_table(rejected: Iterable[Rejected]) -> pa.Table:
    """Return a table of the rejected, in id order: id, row, reason."""
    ordered = sorted(rejected, key=lambda one: one.id)
    columns: dict[str, pa.Array] = {
        "id": pa.array([one.id for one in ordered], pa.string()),
        "row": pa.array([one.row for one in ordered], pa.int64()),
        "reason": pa.array([one.reason for one in ordered], pa.string()),
    }
    return pa.table(columns)


def write_rejected(path: Path, rejected: Iterable[Rejected]) -> None:
    """Write `rejected_table`, an empty one where there is nothing."""
    write_table(path, rejected_table(rejected), {"format": FORMAT})
