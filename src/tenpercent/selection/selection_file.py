"""Content of `selection.parquet`, and the conditions that every selection meets."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NotRequired, TypedDict

import numpy as np
import pyarrow as pa

from ..data.store.records import CutSettings
from ..data.store.run_folder import RunFolder
from ..data.store.tables import Column, Layout
from ..tree.stage_files import StageAbout
from ..tree.steps import ALL
from .arrays import SelectionArrays

FORMAT = 1


class StoredClassCut(TypedDict):
    """A stored `ClassCut`."""

    code: int
    name: str | None
    images: int
    groups: int
    kept: int
    height: float


class SelectionAbout(StageAbout):
    """The metadata stored beside the rows."""

    settings: CutSettings
    notes: list[str]
    labelled: bool
    class_names: list[str]
    classes: list[StoredClassCut]
    length: NotRequired[int]
    number_ids: NotRequired[bool]


LAYOUT = Layout(
    (
        Column("id", pa.string()),
        Column("row", pa.int64(), lowest=0),
        Column("path", pa.string(), nullable=True),
        Column("label", pa.int64(), lowest=-1),
        Column("kept", pa.bool_()),
        Column("group", pa.int64(), lowest=0),
        Column("group_size", pa.int64(), lowest=1),
        Column("representative", pa.string(), nullable=True),
        Column("dissimilarity", pa.float64(), nullable=True, lowest=0),
        Column("group_diameter", pa.float64(), lowest=0),
        Column("locked", pa.bool_(), optional=True),
    ),
    SelectionAbout,
    FORMAT,
    what="selection",
)


def length_beside(path: Path) -> int | None:
    """Return the number of rows of the source where the file lies in a run folder, whose ``run.json`` says it."""
    folder = RunFolder(path.parent)
    return folder.source.n if folder.json_path.is_file() else None


def claims(selection: SelectionArrays) -> Iterator[tuple[Any, str]]:
    """Yield the conditions that every selection meets, each with the message for one that does not."""
    yield np.all(selection.ids[1:] > selection.ids[:-1]), "its ids are not in ascending order"
    yield len(np.unique(selection.source_rows)) == len(selection), "a row of the source occurs twice"
    beyond = selection.source_rows.max(initial=-1)
    yield (
        selection.length is None or beyond < selection.length,
        f"column row holds {beyond}, beyond the source's end",
    )
    labels = selection.codes
    yield (
        labels.max() < len(selection.class_names) or selection.labels is None,
        "column label holds an unknown class",
    )
    first = np.unique(selection.group, return_index=True)
    yield np.array_equal(first[0], np.arange(len(first[0]))), "its groups are not numbered without gaps"
    yield bool(np.all(np.diff(first[1]) > 0)), "its groups are not numbered by their smallest member"
    yield (
        np.array_equal(np.bincount(selection.group)[selection.group], selection.group_size),
        "column group_size is wrong",
    )
    represented = selection.represented
    locked = selection.locked
    yield locked is None or bool(np.all(selection.kept_by_id[locked])), "a locked image is removed"
    yield (
        np.array_equal(np.isnan(selection.dissimilarity), ~represented),
        "column dissimilarity has other nulls",
    )
    yield (
        np.array_equal(selection.group[selection.representative[represented]], selection.group[represented]),
        "an image is represented by one of another group",
    )
    codes = [cut.code for cut in selection.classes]
    index = np.zeros(len(selection), dtype=np.int64) if codes == [ALL] else np.searchsorted(codes, labels)
    yield codes == [ALL] or codes == np.unique(labels).tolist(), "its classes are not those of the images"
    for of_class, counts in ((index, "images"), (index[selection.kept_by_id], "kept")):
        said = [getattr(cut, counts) for cut in selection.classes]
        yield (
            np.bincount(of_class, minlength=len(codes)).tolist() == said,
            f"it has other numbers of {counts}",
        )
