"""Export of the clean test set: the test images without a near-duplicate in the training set."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
import pyarrow as pa

from ..errors import UsageError, nearest
from ..exporting import ExportFormat, ExportSummary, export
from ..exporting.targets import check_free
from .compared_set import ComparedSet
from .pairs import Bools

if TYPE_CHECKING:
    from ..selection.selection import Selection


@dataclass(frozen=True, eq=False)
class CleanTestSet:
    """What an export reads of a selection: its table, one row a test image, `kept` where it has no near-duplicate."""

    table: pa.Table


def check_export(format: ExportFormat | str, to: str | Path | None) -> ExportFormat:  # noqa: A002 – the flag's name
    """Return the format of an export, after checking that its target is free.

    Raises:
        UsageError: unknown format, no target, or a target that exists.
    """
    names = [str(known) for known in ExportFormat]
    if format not in names:
        raise UsageError(
            f"--export is {format!r}; it must be one of {', '.join(names)}{nearest(format, names)}"
        )
    if to is None:
        raise UsageError(f"--export {format} needs a place to write to; give --to PATH")
    check_free(Path(to))
    return ExportFormat(format)


def export_clean(test: ComparedSet, kept: Bools, format: ExportFormat | str, to: Path) -> ExportSummary:  # noqa: A002
    """Write the test images without a near-duplicate.

    Args:
        test: the test set.
        kept: bool[n], True where a test image has none.
        format: ``indices``, ``folder``, ``csv`` or ``hf``.
        to: the target.

    Raises:
        UsageError: see `check_export`; or images are requested of a test set that has none.
        TenpercentError: an image can no longer be read, the disk is full, or `to` can't be written.
    """
    format = check_export(format, to)  # noqa: A001
    if test.source is None and format.has_images:
        raise UsageError(
            f"{test.spec} has no images to write in the format {str(format)!r}; choose --export indices or csv"
        )
    embeddings, n = test.embeddings, len(test)
    labels = np.full(n, -1, dtype=np.int64) if embeddings.labels is None else embeddings.labels
    table = pa.table(
        {
            "id": pa.array(embeddings.ids, pa.string()),
            "row": pa.array(embeddings.rows, pa.int64()),
            "path": pa.array([None] * n if embeddings.paths is None else embeddings.paths, pa.string()),
            "label": pa.array(labels, pa.int64()),
            "class_name": pa.array(test.label_names, pa.string()),
            "kept": pa.array(kept),
        }
    )
    return export(cast("Selection", CleanTestSet(table)), test.source, format, to)
