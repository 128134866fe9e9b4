"""Difficulty scores of a training run, in its folder: one score per image for each name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from ...errors import StageError
from .embeddings import Ints
from .files import write_table
from .tables import Column, Layout, check, count_rows, read_about, read_checked, whole

FILE = "difficulty.parquet"
FORMAT = 1

Floats = npt.NDArray[np.float64]


class About(TypedDict):
    """Metadata stored beside the columns."""

    format: int


def write_scores(folder: Path, places: Ints, scores: Mapping[str, Floats]) -> None:
    """Write the scores, float64[k] each, of the images at `places` among the readable ones, in source order."""
    columns: dict[str, Any] = {"position": pa.array(places, pa.int64())}
    columns |= {name: pa.array(values, pa.float64()) for name, values in scores.items()}
    write_table(folder / FILE, pa.table(columns), {"format": FORMAT})


def read_scores(folder: Path, name: str, rows: Ints) -> Floats | None:
    """Return the scores of a training run.

    Args:
        folder: the folder of the training run.
        name: the name of the score.
        rows: int64[m], rows in the source of the readable images, in any order.

    Returns:
        float64[max(rows) + 1], one per row of the source, nan for images left out; None where there are no scores.

    Raises:
        StageError: the file is damaged, of a newer format, or of other images.
    """
    path = folder / FILE
    if not path.exists():
        return None
    about = Layout((), About, FORMAT)
    read_about(path, about)
    with whole(path):
        names, n = pq.read_schema(path).names, count_rows(path)
    if not {"position", name} <= set(names) or n > len(rows):
        raise StageError(
            f"{path} has {n:,} rows of {', '.join(names)}, and {len(rows):,} images need {name}; it belongs to another "
            "run: choose another --out and embed again"
        )
    position = Column("position", pa.int64(), lowest=0, highest=len(rows) - 1)
    table, _ = read_checked(path, replace(about, columns=(position, Column(name, pa.float64()))))
    places = table["position"].to_numpy()
    check(path, (len(np.unique(places)) == len(places), "a position occurs twice"))
    scores = np.full(int(rows.max()) + 1, np.nan)
    scores[np.sort(rows)[places]] = table[name].to_numpy()
    return scores
