"""How hard each image was to learn, as a training leaves it in its folder: one score an image for each name."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ..errors import StageError
from .embeddings import Ints
from .files import read_metadata, read_table, write_table

FILE = "difficulty.parquet"
FORMAT = 1

Floats = npt.NDArray[np.float64]


def write_scores(folder: Path, places: Ints, scores: Mapping[str, Floats]) -> None:
    """Write the scores, float64[k] each, of the images at `places` among the readable ones, in the source's order."""
    columns: dict[str, Any] = {"position": pa.array(places, pa.int64())}
    columns |= {name: pa.array(values, pa.float64()) for name, values in scores.items()}
    write_table(folder / FILE, pa.table(columns), {"format": FORMAT})


def read_scores(folder: Path, name: str, rows: Ints) -> Floats | None:
    """Return the scores that a training left.

    Args:
        folder: of the training.
        name: of the score.
        rows: int64[m], of the readable images in the source, in any order.

    Returns:
        float64[max(rows) + 1], one a row of the source, nan where an image took no part; None where it left none.

    Raises:
        StageError: the file is damaged, of a newer format, or of other images.
    """
    path = folder / FILE
    if not path.exists():
        return None
    version, table = read_metadata(path).get("format", FORMAT + 1), read_table(path)
    if version > FORMAT:
        raise StageError(f"{path} has format {version}, this version reads up to {FORMAT}; update tenpercent")
    if not {"position", name} <= set(table.column_names) or len(table) > len(rows):
        raise StageError(
            f"{path} has {len(table):,} rows of {', '.join(table.column_names)}, and {len(rows):,} images want "
            f"{name}; it is of another run: choose another --out and embed again"
        )
    scores = np.full(int(rows.max()) + 1, np.nan)
    scores[np.sort(rows)[table["position"].to_numpy()]] = table[name].to_numpy()
    return scores
