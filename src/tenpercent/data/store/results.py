"""Results of training runs in a run folder: one file per training run, and one table of all of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypedDict

import pyarrow as pa

from ...errors import StageError
from .run_folder import RunFolder
from .tables import Column, Layout, check, damaged, read_checked

FORMAT = 1
DONE, FAILED = "done", "failed"
NEEDED = ("arm", "fraction", "trial", "seed", "embedding", "layer", "accuracy", "status", "protocol")
MAY_BE_NULL = ("layer", "accuracy")  # the other columns may all be null

CURVE = pa.struct(
    [
        ("step", pa.int64()),
        ("epoch", pa.float64()),
        ("loss", pa.float64()),
        ("test_accuracy", pa.float64()),
        ("test_loss", pa.float64()),
        ("seconds", pa.float64()),
    ]
)
SCHEMA = pa.schema(
    [
        ("arm", pa.string()),
        ("fraction", pa.float64()),
        ("trial", pa.int64()),
        ("embedding", pa.int64()),
        ("layer", pa.string()),
        ("seed", pa.int64()),
        ("n", pa.int64()),
        ("accuracy", pa.float64()),
        ("top5", pa.float64()),
        ("best_accuracy", pa.float64()),
        ("loss", pa.float64()),
        ("test_loss", pa.float64()),
        ("class_accuracy", pa.list_(pa.float64())),
        ("removed_accuracy", pa.float64()),
        ("curve", pa.list_(CURVE)),
        ("steps", pa.int64()),
        ("epochs", pa.float64()),
        ("seconds", pa.float64()),
        ("status", pa.string()),
        ("reason", pa.string()),
        ("protocol", pa.string()),
        ("kept", pa.binary()),  # packed bits, one per row of the source
        (
            "split",
            pa.string(),
        ),  # of a head on frozen vectors: the re-split of all images that it is a trial of
        ("tested", pa.int64()),  # number of test images of that re-split
        ("pool", pa.int64()),  # number of its training images, of which the arm took `n`
        ("versions", pa.string()),
        ("machine", pa.string()),
    ]
)
RANGES: dict[str, tuple[float, float | None]] = {
    "fraction": (0, 1),
    "trial": (0, None),
    "embedding": (0, None),
    "n": (1, None),
    "tested": (1, None),
    "pool": (1, None),
    "accuracy": (0, 100),
    "top5": (0, 100),
    "best_accuracy": (0, 100),
    "removed_accuracy": (0, 100),
    "steps": (0, None),
    "epochs": (0, None),
    "seconds": (0, None),
}


class ResultsMetadata(TypedDict):
    """Metadata stored beside the columns."""

    format: int
    images: str


def _column(field: pa.Field) -> Column:
    lowest, highest = RANGES.get(field.name, (None, None))
    needed = field.name in NEEDED
    nullable = not needed or field.name in MAY_BE_NULL
    return Column(field.name, field.type, nullable, lowest, highest, optional=not needed)


LAYOUT = Layout(tuple(_column(field) for field in SCHEMA), ResultsMetadata, FORMAT, bare=True)


def read_trainings(path: Path, images: str | None = None) -> pa.Table:
    """Return a table of training runs, one row each, with those columns of `SCHEMA` that it has.

    Args:
        path: a file of one training run, or of all.
        images: the fingerprint of the images; results for other images are refused. None accepts any.

    Raises:
        StageError: the file is damaged, of a newer format, or of other images.
    """
    table, about = read_checked(path, LAYOUT)
    keys = table.select(["protocol", "arm", "layer", "embedding", "fraction", "trial"])
    check(
        path,
        (
            set(table["status"].to_pylist()) <= {DONE, FAILED},
            "column status holds other words than done and failed",
        ),
        (len(keys.group_by(keys.column_names).aggregate([])) == len(keys), "a training occurs twice"),
    )
    if images is not None and about.get("images") != images:
        raise StageError(
            f"{path} is of other images ({about.get('images')}) than this run ({images}); move it out of {path.parent}"
        )
    return table


def read_training(path: Path, images: str | None = None) -> dict[str, Any]:
    """Return the one training run in a file.

    Raises:
        StageError: see `read_trainings`.
    """
    rows: list[dict[str, Any]] = read_trainings(path, images).to_pylist()
    if len(rows) != 1:
        raise damaged(path, f"it holds {len(rows):,} trainings, not one")
    return rows[0]


def read_results(run: RunFolder) -> pa.Table | None:
    """Return all training runs of a run, or None where there are none.

    Raises:
        StageError: see `read_trainings`.
    """
    return read_trainings(run.results) if run.results.exists() else None
