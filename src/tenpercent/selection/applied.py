"""What a caller has one row an image of, without the rows that a selection removed: the same kind of object."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

from ..errors import UsageError
from .arrays import SelectionArrays
from .subset import check_length, check_rows, checked_subset


def applied(selection: SelectionArrays, data: Any) -> Any:
    """Return the kept rows of an object, in its own order.

    Args:
        selection: of the images that are its rows.
        data: a frame of pandas or Polars, an Arrow table or column, a `datasets.Dataset`, a torch data set or tensor,
            an array, a sparse matrix, a tuple, or another sequence, which becomes a list.

    Raises:
        UsageError: it has another number of rows; it is none of these; or, where it has files or labels, they are not
            those of the selection.
    """
    if _is_dataset(data):
        return checked_subset(selection, data)
    rows = selection.rows
    check_length(selection, _length(data))
    if isinstance(data, Sequence):
        kept = [data[row] for row in rows]
        return tuple(kept) if isinstance(data, tuple) else kept
    if hasattr(data, "features") and hasattr(data, "select"):  # of `datasets`
        check_rows(selection, data)
        return data.select(rows)
    if type(data).__module__.partition(".")[0] == "pyarrow":
        return data.take(rows)
    try:
        return data.iloc[rows] if hasattr(data, "iloc") else data[rows]
    except TypeError:
        raise _no_rows(data) from None


def _is_dataset(data: Any) -> bool:
    torch: Any = sys.modules.get("torch.utils.data")
    return torch is not None and isinstance(data, torch.Dataset)


def _length(data: Any) -> int:
    if isinstance(data, Mapping):
        raise UsageError(
            f"{type(data).__name__} holds several sets ({', '.join(map(str, data)) or 'none'}); apply the selection to "
            "the one that it was made from"
        )
    try:
        if isinstance(data, str | bytes) or not hasattr(data, "__getitem__"):
            raise _no_rows(data)
        return int(data.shape[0]) if getattr(data, "shape", ()) else len(data)
    except TypeError:  # of what has no length
        raise _no_rows(data) from None


def _no_rows(data: Any) -> UsageError:
    return UsageError(
        f"a selection is applied to what has one row an image (a frame, array, list or data set), not to "
        f"{type(data).__name__}; its rows are selection.rows"
    )
