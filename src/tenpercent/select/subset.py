"""The kept images as a subset of a PyTorch dataset, once its length and labels are known to agree."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import UsageError, require
from ..store.embeddings import Ints

if TYPE_CHECKING:
    from torch.utils.data import Dataset, Subset

    from .selection import Selection


def checked_subset(selection: Selection, dataset: Dataset[Any]) -> Subset[Any]:
    """Return the kept images of `dataset`, in the order of the source.

    The length must be the source's where that is known (`Selection.with_source`), else no less than the rows need.
    Where the dataset has ``targets`` or ``labels``, one whole number an image, they must agree: by class name where
    it has ``classes`` with the same names, else by code.

    Raises:
        UsageError: they do not; the message names the first row that differs.
    """
    data: Any = require("torch.utils.data", "images")
    _check_length(selection, len(dataset))  # type: ignore[arg-type]
    targets = _targets(dataset)
    if targets is not None and selection.labels is not None:
        _check_labels(selection, targets, getattr(dataset, "classes", None))
    subset: Subset[Any] = data.Subset(dataset, selection.rows.tolist())
    return subset


def _check_length(selection: Selection, length: int) -> None:
    known = None if selection.source is None else int(selection.source["length"])
    least = int(selection.source_rows.max()) + 1
    if length < least or (known is not None and length != known):
        wanted = f"{known:,}" if known is not None else f"at least {least:,}"
        raise UsageError(
            f"the dataset has {length:,} images, the source of this selection {wanted}; give the dataset of the same "
            "files (torchvision's ImageFolder takes hidden files, and passes over formats such as GIF)"
        )


def _targets(dataset: Any) -> Ints | None:
    """The dataset's labels, one whole number an image, or None where it says none."""
    for name in ("targets", "labels"):
        values = getattr(dataset, name, None)
        if values is None:
            continue
        array = np.asarray(values)
        if array.shape == (len(dataset),) and array.dtype.kind in "iu":
            return array.astype(np.int64)
    return None


def _check_labels(selection: Selection, targets: Ints, classes: Any) -> None:
    labels = np.asarray(selection.labels)
    theirs = targets[selection.source_rows]
    names = [str(name) for name in classes] if isinstance(classes, list | tuple) else []
    by_name = sorted(names) == sorted(selection.class_names)
    if by_name:
        code = {name: index for index, name in enumerate(selection.class_names)}
        in_range = (theirs >= 0) & (theirs < len(names))
        theirs = np.where(
            in_range, np.asarray([code[name] for name in names])[np.where(in_range, theirs, 0)], -1
        )
    wrong = np.flatnonzero((labels >= 0) & (labels != theirs))
    if len(wrong):
        first = wrong[np.argmin(selection.source_rows[wrong])]
        row = int(selection.source_rows[first])
        raise UsageError(
            f"row {row} ({selection.ids[first]}) has the label {_said(int(targets[row]), names)} in the dataset and "
            f"{_said(int(labels[first]), list(selection.class_names))} in the selection ({len(wrong):,} rows differ); "
            f"give the dataset it was made from, in the same order"
        )


def _said(code: int, names: list[str]) -> str:
    return repr(names[code]) if 0 <= code < len(names) else str(code)
