"""Ids that a caller passes: text inside and in files, and numbers again where they were given as numbers."""

from __future__ import annotations

import datetime
import os
import uuid
from numbers import Number
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import UsageError
from .arrays import is_missing, one_a_row

Strings = npt.NDArray[np.object_]  # Python strings: ids differ in length too much for a fixed width

_SAID_AS_TEXT = (uuid.UUID, datetime.date, datetime.datetime, np.datetime64)


def row_ids(n: int) -> Strings:
    """Return the row numbers 0 … n−1 as strings, zero-padded so that string order is row order."""
    width = len(str(max(n - 1, 0)))
    codes, rest = np.empty((n, width), dtype=np.uint32), np.arange(n)
    for place in reversed(range(width)):  # digit by digit: formatting each number takes five times as long
        rest, digit = np.divmod(rest, 10)
        codes[:, place] = digit + ord("0")
    return np.asarray(codes.view(f"U{width}")[:, 0], dtype=object)


def as_ids(ids: object, n: int) -> tuple[Strings, bool]:
    """Return ids as an object array of Python strings, and whether all were whole numbers.

    Args:
        ids: [n] text, bytes that are text, paths, or whole numbers.
        n: how many there must be.

    Raises:
        UsageError: another shape or length, or what can't be an id: None, nan, a list.
    """
    values = one_a_row(ids, "ids", n)
    if values.dtype.kind in "iu":
        return np.asarray(list(map(str, values.tolist())), dtype=object), True
    entries = values if values.dtype.kind == "M" else values.tolist()
    numbers = 0
    names = np.empty(n, dtype=object)
    for row, value in enumerate(entries):
        names[row] = as_text(value, f"the id of row {row}")
        numbers += isinstance(value, Number)
    return names, numbers == n > 0


def as_text(value: object, what: str = "the id") -> str:
    """Return one id as the text that stands for it.

    Raises:
        UsageError: it is none, or can't be an id.
    """
    if isinstance(value, str):
        return value
    if is_missing(value):
        raise UsageError(f"{what} is {value}; every image needs an id of its own")
    if isinstance(value, bytes):
        return _decoded(value, what)
    if isinstance(value, Number) and not isinstance(value, bool | complex | np.bool_):
        return _digits(value, what)
    if isinstance(value, os.PathLike):
        path = os.fspath(value)
        return _decoded(path, what) if isinstance(path, bytes) else path
    if isinstance(value, _SAID_AS_TEXT):
        return str(value)
    raise UsageError(f"{what} is {value!r:.60} ({type(value).__name__}); ids are text or whole numbers")


def _decoded(value: bytes, what: str) -> str:
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        raise UsageError(
            f"{what} is {value!r:.60}, bytes that are no UTF-8 text; decode them first"
        ) from None


def _digits(value: Any, what: str) -> str:
    try:
        whole = int(value)
    except OverflowError:  # infinite
        whole = None
    if whole is None or whole != value:
        raise UsageError(f"{what} is {value}, no whole number; ids are text or whole numbers")
    return str(whole)


def as_given(ids: Strings, numbers: bool) -> npt.NDArray[Any]:
    """Return ids as their caller gave them: whole numbers (int64[k] where they fit) or text."""
    if not numbers:
        return ids
    found = [int(name) for name in ids.tolist()]
    fits = all(-(2**63) <= number < 2**63 for number in found)
    return np.asarray(found, dtype=np.int64 if fits else object)


def check_unique(sorted_ids: Strings) -> None:
    """Raise `UsageError` naming the first id that occurs twice in `sorted_ids`."""
    twice = np.flatnonzero(sorted_ids[1:] == sorted_ids[:-1])
    if len(twice):
        raise UsageError(
            f"the id {sorted_ids[twice[0]]!r} occurs more than once ({len(twice)} such); "
            "every image needs an id of its own"
        )
