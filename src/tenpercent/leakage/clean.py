"""The clean test set, without the images that leak, written with the exports of a selection."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
import pyarrow as pa

from ..errors import UsageError, nearest
from ..exporting import ExportSummary, Format, export
from ..exporting.targets import check_free

if TYPE_CHECKING:
    from ..selection.selection import Selection
    from .result import Leaks


@dataclass(frozen=True, eq=False)
class Clean:
    """The part of a selection that an export reads: its table, one row a test image, `kept` where it has no copy."""

    table: pa.Table


def check_export(format: Format | str, to: str | Path | None) -> Format:  # noqa: A002 – the flag's name
    """Return the format of an export, after checking that its target is free.

    Raises:
        UsageError: unknown format, no target, or a target that exists.
    """
    names = [str(known) for known in Format]
    if format not in names:
        raise UsageError(
            f"--export is {format!r}; it must be one of {', '.join(names)}{nearest(format, names)}"
        )
    if to is None:
        raise UsageError(f"--export {format} needs a place to write to; give --to PATH")
    check_free(Path(to))
    return Format(format)


def export_clean(leaks: Leaks, format: Format | str, to: Path) -> ExportSummary:  # noqa: A002
    """Write the test images without a near-duplicate.

    Args:
        leaks: the leaks found.
        format: ``indices``, ``folder``, ``csv`` or ``hf``.
        to: the target.

    Raises:
        UsageError: see `check_export`; or images are asked for of a test set that has none.
        TenpercentError: an image can no longer be read, the disk is full, or `to` can't be written.
    """
    format = check_export(format, to)  # noqa: A001
    if leaks.test.source is None and format in (Format.FOLDER, Format.HF):
        raise UsageError(
            f"{leaks.test.spec} has no images to write in the format {str(format)!r}; choose --export indices or csv"
        )
    embeddings = leaks.test.embeddings
    n = len(embeddings)
    table = pa.table(
        {
            "id": pa.array(embeddings.ids, pa.string()),
            "row": pa.array(embeddings.rows, pa.int64()),
            "path": pa.nulls(n, pa.string())
            if embeddings.paths is None
            else pa.array(embeddings.paths, pa.string()),
            "label": pa.array(
                np.full(n, -1, dtype=np.int64) if embeddings.labels is None else embeddings.labels, pa.int64()
            ),
            "class_name": pa.array(leaks.test.label_names, pa.string()),
            "kept": pa.array(leaks.clean_mask),
        }
    )
    return export(cast("Selection", Clean(table)), leaks.test.source, format, to)
