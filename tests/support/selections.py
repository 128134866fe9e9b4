"""What an export needs of a selection, made by hand."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa

from tenpercent.data.sources.source import ImageSource


def selection_of(source: ImageSource, kept: set[int]) -> Any:
    """What an export needs of a selection: its table, one row an image in id order."""
    order = sorted(range(len(source)), key=lambda row: source.ids[row])
    codes = [-1 if source.labels is None else int(source.labels[row]) for row in order]
    representative = source.ids[min(kept)]
    columns = {
        "id": pa.array([source.ids[row] for row in order], pa.string()),
        "row": pa.array(order, pa.int64()),
        "path": pa.array([source.paths[row] for row in order], pa.string()),
        "label": pa.array([None if code < 0 else code for code in codes], pa.int64()),
        "class_name": pa.array(
            [None if code < 0 else source.class_names[code] for code in codes], pa.string()
        ),
        "kept": pa.array([row in kept for row in order]),
        "group": pa.array(range(len(order)), pa.int64()),
        "group_size": pa.array([1] * len(order), pa.int64()),
        "representative": pa.array(
            [source.ids[row] if row in kept else representative for row in order], pa.string()
        ),
        "dissimilarity": pa.array(np.linspace(0, 0.1, len(order))),
        "group_diameter": pa.array(np.zeros(len(order))),
    }
    ids = np.array([source.ids[row] for row in order], dtype=object)
    return SimpleNamespace(table=pa.table(columns), ids=ids, kept_by_id=columns["kept"].to_numpy(False))
