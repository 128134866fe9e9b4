"""Ids that a caller passes: text inside and in files, and numbers again where they were given as numbers."""

from __future__ import annotations

import datetime
import os
import uuid
from collections.abc import Iterable, Sequence
from numbers import Number
from typing import Any
from unicodedata import normalize

import numpy as np
import numpy.typing as npt

from ...errors import UsageError, nearest
from .arrays import is_missing, one_a_row, python_value
from .checks import check_kind

Strings = npt.NDArray[np.object_]  # Python strings: ids differ in length too much for a fixed width

AT_ONCE = 1 << 17  # ids made or hashed at a time: of many, what that takes beside them counts
NEAREST_AMONG = 20_000  # ids searched for a suggestion; beyond, those nearest in order
_SAID_AS_TEXT = (uuid.UUID, datetime.date, datetime.datetime, np.datetime64)


def row_ids(n: int) -> Strings:
    """Return the row numbers 0 … n−1 as strings, zero-padded so that string order is row order."""
    width, names = len(str(max(n - 1, 0))), np.empty(n, dtype=object)
    for start in range(0, n, AT_ONCE):
        rest = np.arange(start, min(start + AT_ONCE, n))
        codes = np.empty((len(rest), width), dtype=np.uint32)
        # Digit by digit: formatting each number takes five times as long.
        for place in reversed(range(width)):
            rest, digit = np.divmod(rest, 10)
            codes[:, place] = digit + ord("0")
        names[start : start + AT_ONCE] = codes.view(f"U{width}")[:, 0]
    return names


def as_ids(ids: object, n: int) -> tuple[Strings, bool]:
    """Return ids as an object array of Python strings, and whether all were whole numbers.

    Args:
        ids: [n] text, bytes that are text, paths, or whole numbers.
        n: the required number of ids.

    Raises:
        UsageError: another shape or length, or an invalid id: None, nan, a list.
    """
    values = one_a_row(ids, "ids", n)
    if values.dtype.kind in "iu":
        return np.asarray(list(map(str, values.tolist())), dtype=object), True
    entries = values if values.dtype.kind == "M" else values.tolist()
    numbers = 0
    names = np.empty(n, dtype=object)
    for row, value in enumerate(entries):
        if type(value) is str:
            names[row] = value
            continue
        names[row] = as_text(value, f"the id of row {row}")
        numbers += isinstance(value, Number)
    if not names.all():
        row = int(np.flatnonzero(names == "")[0])
        raise UsageError(f"the id of row {row} is empty; every image needs an id of its own")
    _check_storable(names)
    return names, numbers == n > 0


def _check_storable(names: Strings) -> None:
    """Raise `UsageError` for the first id that is not valid UTF-8; `os.listdir` returns such file names."""
    try:
        "".join(names).encode()
    except UnicodeEncodeError as error:
        ends = np.cumsum([len(name) for name in names.tolist()])
        row = int(np.searchsorted(ends, error.start, side="right"))
        raise UsageError(
            f"the id of row {row} is {names[row]!r:.60}, which can't be stored as UTF-8; give "
            "os.fsencode(name).decode('utf-8', 'backslashreplace')"
        ) from None


def as_text(value: object, what: str = "the id") -> str:
    """Return one id as text.

    Raises:
        UsageError: it is missing, or can't be an id.
    """
    value = python_value(value)
    if isinstance(value, str):
        return str(value)
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
        raise UsageError(f"{what} is {value!r:.60}, bytes that are not UTF-8; decode them first") from None


def _digits(value: Any, what: str) -> str:
    try:
        whole = int(value)
    except OverflowError:  # infinite
        whole = None
    if whole is None or whole != value:
        raise UsageError(f"{what} is {value}, not a whole number; ids are text or whole numbers")
    return str(whole)


def as_given(ids: Strings, numbers: bool) -> npt.NDArray[Any]:
    """Return ids as their caller gave them: whole numbers (int64[k] where they fit) or text."""
    if not numbers:
        return ids
    found = [int(name) for name in ids.tolist()]
    fits = all(-(2**63) <= number < 2**63 for number in found)
    return np.asarray(found, dtype=np.int64 if fits else object)


def positions_of(
    ids: Strings, wanted: Iterable[Any], name: str, rows: npt.NDArray[np.int64] | None = None
) -> npt.NDArray[np.int64]:
    """Return the positions in id order of `wanted`, each once and ascending; int64[k].

    Args:
        ids: str[n], ascending.
        wanted: ids, as text, in any Unicode normal form, or as they were given; where ids are row numbers, rows without
            zero padding too.
        name: what they are, for the message.
        rows: int64[n], the row of each id; None to accept no rows.

    Raises:
        UsageError: one text instead of several, or unknown ids; the message suggests the nearest.
    """
    if isinstance(wanted, str | bytes):
        raise UsageError(f"{name} is a string, {wanted!r}; give a list of ids")
    check_kind(wanted, Iterable, name, "a list of ids")
    asked = sorted({as_text(image, name) for image in wanted})
    found = np.minimum(np.searchsorted(ids, np.asarray(asked, dtype=object)), len(ids) - 1).astype(np.int64)
    unknown = []
    missing = np.flatnonzero(ids[found] != np.asarray(asked, dtype=object)).tolist()
    alike = _alike(ids, [asked[at] for at in missing])
    for at in missing:
        place = find_id(ids, asked[at], rows)
        place = alike.get(asked[at]) if place is None else place
        if place is None:
            unknown.append(asked[at])
        else:
            found[at] = place
    if unknown:
        place = int(np.searchsorted(ids, np.asarray([unknown[0]], dtype=object))[0])
        near = (
            ids
            if len(ids) <= NEAREST_AMONG
            else ids[max(0, place - NEAREST_AMONG // 2) : place + NEAREST_AMONG // 2]
        )
        meant = nearest(unknown[0], near.tolist()) or (f"; ids look like {ids[0]!r}" if len(ids) else "")
        raise UsageError(f"{name} {first_of(unknown)}: no such id among {len(ids):,}{meant}")
    return np.unique(found)


def _alike(ids: Strings, names: Sequence[str]) -> dict[str, int]:
    """Return the position of the one id that each name is in another Unicode normal form: "é" is one letter or two."""
    composed = {name: normalize("NFC", name) for name in names if not name.isascii()}
    wanted, places = set(composed.values()), dict[str, list[int]]()
    for place, name in enumerate(ids.tolist()) if wanted else ():
        if not name.isascii() and (text := normalize("NFC", name)) in wanted:
            places.setdefault(text, []).append(place)
    return {name: places[text][0] for name, text in composed.items() if len(places.get(text, ())) == 1}


def first_of(names: Sequence[str]) -> str:
    """Return the first three of some names, and how many more there are."""
    more = f" and {len(names) - 3:,} more" if len(names) > 3 else ""
    return f"{', '.join(map(repr, names[:3]))}{more}"


def find_id(ids: Strings, text: str, rows: npt.NDArray[np.int64] | None = None) -> int | None:
    """Return the position of an id, or of the row `text` where ids are row numbers; None where there is neither.

    Args:
        ids: str[n], ascending.
        text: the id or row to find.
        rows: int64[n], the row of each id; None to accept no rows.
    """
    if not len(ids):
        return None
    for name in (text, text.zfill(len(ids[0]))):
        place = int(np.searchsorted(ids, np.asarray([name], dtype=object))[0])
        if place == len(ids) or ids[place] != name:
            continue
        if name == text or (rows is not None and numbers_row(text, name, int(rows[place]))):
            return place
    return None


def numbers_row(text: str, name: str, row: int) -> bool:
    """Return whether `text` is the number of a row whose id is its zero-padded number."""
    return text.isascii() and text.isdigit() and int(text) == row and name == text.zfill(len(name))


def check_unique(sorted_ids: Strings) -> None:
    """Raise `UsageError` naming the first id that occurs twice in `sorted_ids`."""
    twice = np.flatnonzero(sorted_ids[1:] == sorted_ids[:-1])
    if len(twice):
        raise UsageError(
            f"the id {sorted_ids[twice[0]]!r} occurs more than once ({len(twice)} such); "
            "every image needs an id of its own"
        )


def paired(old: Iterable[str], new: Iterable[str]) -> dict[str, str]:
    """Pair names of equal images, each at most once: those whose paths are most alike first.

    Names that end alike come first (``2025/a/1.jpg`` and ``a/1.jpg``), then those in one folder; ties go in order.
    """
    waiting, free = sorted(old), sorted(new)
    parts = {name: name.split("/") for name in (*waiting, *free)}
    deepest = max(map(len, parts.values()), default=0)
    ends = [slice(-depth, None) for depth in range(deepest, 0, -1)]
    folders = [slice(0, depth) for depth in range(deepest - 1, -1, -1)]
    pairs: dict[str, str] = {}
    for part in (*ends, *folders):
        if not waiting or not free:
            break
        alike: dict[tuple[str, ...], list[str]] = {}
        for name in reversed(free):
            alike.setdefault(tuple(parts[name][part]), []).append(name)
        for name in waiting:
            if found := alike.get(tuple(parts[name][part])):
                pairs[name] = found.pop()
        waiting, taken = [name for name in waiting if name not in pairs], set(pairs.values())
        free = [name for name in free if name not in taken]
    return pairs
