"""The kept images as a subset of a PyTorch dataset, once its length, files and labels are known to agree."""

from __future__ import annotations

import logging
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

import numpy as np

from ..data.sources.dataset_rows import DatasetLabels, DatasetRows, dataset_rows
from ..data.store.embeddings import Ints, Strings
from ..errors import UsageError, counted, require
from .arrays import SelectionArrays

if TYPE_CHECKING:
    from torch.utils.data import Dataset, Subset


log = logging.getLogger("tenpercent")

REMEDY = "give the data set that it was made from, in the same order"


def checked_subset(selection: SelectionArrays, dataset: Dataset[Any]) -> Subset[Any]:
    """Return the kept images of `dataset`, in the order of the source, with ``targets`` and ``classes`` where known.

    The length must be the source's. Where the data set names files (see `dataset_rows`), they
    must be those of the selection, as far as both paths go. Where it has labels, they must be the same class: by name
    where both have the name, else by code. Where neither could be compared, a warning says so.

    Raises:
        UsageError: they are not the same; the message names the first row that differs.
    """
    data: Any = require("torch.utils.data", "images")
    check_length(selection, _length(dataset))
    found = check_rows(selection, dataset)
    subset: Any = data.Subset(dataset, selection.rows.tolist())
    if found.labels:  # as torchvision's data sets have them, for samplers and code that counts classes
        subset.targets = found.labels[0].codes[selection.rows].tolist()
        if found.labels[0].names is not None:
            subset.classes = list(found.labels[0].names)
    made: Subset[Any] = subset
    return made


def check_rows(selection: SelectionArrays, dataset: Any) -> DatasetRows:
    """Return a data set's description of its rows, once it agrees with the selection.

    Raises:
        UsageError: see `checked_subset`.
    """
    found = dataset_rows(dataset)
    compared = [
        _check_files(selection, found.files),
        _check_labels(selection, found.labels),
    ]
    if not any(compared):
        log.warning(
            "the data set (%s) has no files or labels to compare with the selection: only its length was checked",
            type(dataset).__name__,
        )
    return found


def _length(dataset: Any) -> int:
    kind = type(dataset).__name__
    if hasattr(dataset, "iloc"):
        raise UsageError(f"subset takes a data set, not a {kind}; for a frame use selection.apply(frame)")
    if isinstance(dataset, dict):
        raise UsageError(
            f"subset takes one data set, not a {kind} of {', '.join(map(str, dataset))}; give one of them"
        )
    if hasattr(dataset, "batch_sampler"):
        raise UsageError(f"subset takes a data set, not a {kind}; give loader.dataset")
    try:
        return len(dataset)
    except TypeError:
        raise UsageError(
            f"subset takes a data set with a length, not {kind}; select its rows by number (selection.rows)"
        ) from None


def check_length(selection: SelectionArrays, length: int) -> None:
    """Raise `UsageError` where what is to be cut has another number of rows than the source."""
    where = ((selection.source or {}).get("options") or {}).get("where")
    if where is not None and length != selection.length:
        raise UsageError(
            f"the dataset has {counted(length, 'image')}, this selection was made of the {selection.length:,} rows "
            f"where {where}; give those rows"
        )
    least = int(selection.source_rows.max()) + 1
    if length < least or (selection.length is not None and length != selection.length):
        wanted = f"at least {least:,}" if selection.length is None else f"{selection.length:,}"
        raise UsageError(
            f"the dataset has {counted(length, 'image')}, the source of this selection {wanted}; give the dataset of "
            "the same images (torchvision's ImageFolder takes hidden files, and passes over formats such as GIF)"
        )


# ---- files -------------------------------------------------------------------------------------------------------


def _check_files(selection: SelectionArrays, files: Strings | None) -> bool:
    """Compare the files; return whether that was possible.

    Raises:
        UsageError: they differ.
    """
    if files is None:
        return False
    theirs = files[selection.source_rows]
    ours = selection.ids if selection.paths is None else selection.paths
    both = [row for row, file in enumerate(theirs) if file and ours[row]]
    if selection.paths is None and {_last(ours[row]) for row in both}.isdisjoint(
        _last(theirs[row]) for row in both
    ):
        return False  # ids that are not paths
    wrong = np.asarray([row for row in both if not _same_file(ours[row], theirs[row])], dtype=np.int64)
    if len(wrong):
        first = int(wrong[np.argmin(selection.source_rows[wrong])])
        raise UsageError(
            f"row {selection.source_rows[first]} is {theirs[first]} in the dataset and {ours[first]} in the selection "
            f"({len(wrong):,} rows differ); {REMEDY}"
        )
    return bool(both)


def _last(path: str) -> str:
    return path.rpartition("/")[2]


def _same_file(one: str, other: str) -> bool:
    """Return whether two paths end alike, as far as the shorter goes."""
    if one == other or other.endswith(f"/{one}"):
        return True
    parts, others = PurePosixPath(one).parts, PurePosixPath(other).parts
    short = min(len(parts), len(others))
    return parts[-short:] == others[-short:]


# ---- labels ------------------------------------------------------------------------------------------------------


def _check_labels(selection: SelectionArrays, all_labels: tuple[DatasetLabels, ...]) -> bool:
    """Compare the labels, of which the data set may have several; return whether that was possible.

    Raises:
        UsageError: the selection's labels match none of the data set's.
    """
    labels = selection.labels
    if labels is None or not all_labels or not (labels >= 0).any():
        return False
    first: tuple[DatasetLabels, Ints] | None = None
    for theirs in all_labels:
        for expected in _as_ours(theirs, selection.class_names):
            wrong = np.flatnonzero((labels >= 0) & (expected[selection.source_rows] != labels))
            if not len(wrong):
                return True
            if first is None or len(wrong) < len(first[1]):
                first = (theirs, wrong)
    assert first is not None
    theirs, wrong = first
    place = int(wrong[np.argmin(selection.source_rows[wrong])])
    row = int(selection.source_rows[place])
    raise UsageError(
        f"row {row} ({selection.ids[place]}) has the label {_said(int(theirs.codes[row]), theirs.names)} in the "
        f"dataset and {_said(int(labels[place]), selection.class_names)} in the selection ({len(wrong):,} rows "
        f"differ); {REMEDY}"
    )


def _as_ours(theirs: DatasetLabels, ours: tuple[str, ...]) -> list[Ints]:
    """Return the labels of a data set as codes of the selection, in each way that they can be read; −2 for no class.

    Classes are the same by name, and by code where neither name is among the other's. Numbers without names are names
    of their own, or codes.
    """
    codes, names = theirs.codes, theirs.names
    place = {name: code for code, name in enumerate(ours)}
    found: list[Ints] = []
    if names is not None:
        others = set(names)
        table = [
            place.get(name, code if code < len(ours) and ours[code] not in others else -2)
            for code, name in enumerate(names)
        ]
        found.append(np.asarray([*table, -1], dtype=np.int64)[codes])
    if names is None or place.keys().isdisjoint(names):
        known, inverse = np.unique(codes, return_inverse=True)
        by_number = np.asarray([place.get(str(number), -2) for number in known.tolist()], dtype=np.int64)
        found += [by_number[inverse], codes]
    return found


def _said(code: int, names: tuple[str, ...] | None) -> str:
    if code < 0:
        return "none"
    return repr(names[code]) if names is not None and code < len(names) else str(code)
