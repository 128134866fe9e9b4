"""Layout of `merges.parquet`, and checks that all merges pass."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, NotRequired

import numpy as np
import pyarrow as pa

from ..data.store.tables import Column, Layout, ascending, check, read_checked
from .cut import Within
from .merge_table import MergeTable
from .representatives import groups_of
from .stage_files import StageAbout
from .steps import ALL, Floats

FORMAT = 1
HIGHEST = 2.0 + 1e-9  # 1 − cos is at most 2, except for rounding


class MergesAbout(StageAbout):
    """Metadata stored beside the merges; a class that is complete has null for a height."""

    within: Literal["class", "all"]
    classes: list[int]
    complete_to: list[float | None]
    decisions: NotRequired[str]


def merges_layout(n: int) -> Layout:
    """Return the layout of a file of merges of n images."""
    columns = (
        Column("a", pa.int64(), lowest=0, highest=n - 1),
        Column("b", pa.int64(), lowest=0, highest=n - 1),
        Column("height", pa.float64(), lowest=0, highest=HIGHEST),
    )
    return Layout(columns, MergesAbout, FORMAT, what="tree of merges")


def read_heights(path: Path) -> Floats:
    """Return the heights of stored merges up to the height at which a class lacks merges, ascending, float64[m].

    Raises:
        StageError: the file is damaged.
    """
    layout = Layout((Column("height", pa.float64(), lowest=0, highest=HIGHEST),), MergesAbout, FORMAT)
    table, about = read_checked(path, layout)
    ends = [np.inf if height is None else height for height in about["complete_to"]]
    return complete_heights(table["height"].to_numpy(), np.asarray(ends, dtype=np.float64))


def complete_heights(height: Floats, complete_to: Floats) -> Floats:
    """Return those heights, ascending, up to which every class has all of its merges."""
    return height[: int(np.searchsorted(height, complete_to.min(initial=np.inf), side="right"))]


def check_merges(merges: MergeTable, path: Path) -> None:
    """Raise `StageError` unless merges read from `path` are those of a forest of these images."""
    labels = merges.embeddings.labels
    expected = np.asarray([ALL]) if merges.within is Within.ALL or labels is None else np.unique(labels)
    check(
        path,
        (
            merges.within is Within.ALL or labels is not None,
            "it is within 'class', and there are no labels",
        ),
        (np.array_equal(merges.classes, expected), "its classes are not those of the embeddings"),
        (len(merges.complete_to) == len(expected), "it does not say how far each class is complete"),
        (np.all((merges.complete_to >= 0) | (merges.complete_to == -1)), "complete_to is below 0"),
        (np.all(merges.a < merges.b), "column a is not below column b"),
        (ascending(merges.height, merges.a, merges.b), "its rows are not in ascending order"),
    )
    index = merges.class_index
    groups = int(groups_of(len(merges.embeddings), merges.a, merges.b).max()) + 1
    check(
        path,
        (np.array_equal(index[merges.a], index[merges.b]), "it joins images of two classes"),
        (groups == len(merges.embeddings) - len(merges), "it joins images that were joined before"),
    )
