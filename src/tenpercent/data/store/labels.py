"""Labels that a caller passes or a table holds, as codes with the name of each code."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Number
from typing import Any

import numpy as np
import numpy.typing as npt

from ...errors import UsageError, counted, nearest
from .arrays import as_array, is_missing, one_a_row

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

HIGHEST = np.iinfo(np.int64).max

TWO_CLASSES = "-1 and 1 are two classes"

log = logging.getLogger("tenpercent")


@dataclass(frozen=True, eq=False)
class Labels:
    """Labels of n rows.

    Attributes:
        codes: int64[n], the code of the class, −1 for none; None where no row has a label.
        class_names: the name of each code.
        remark: how ambiguous values were read, in words; "" for none.
    """

    codes: Ints | None
    class_names: tuple[str, ...]
    remark: str = ""


def label_codes(labels: object, class_names: object, n: int) -> tuple[Ints | None, tuple[str, ...]]:
    """Return labels as codes, int64[n] with −1 for none, and the name of each code; None and () where there are none.

    Without class names each number is its own class, named by it, in the order of the numbers; −1 means no label,
    unless only −1 and 1 occur, which are then two classes. Text becomes codes in the order of the text. With class
    names, numbers are positions in them, and text is one of them.

    Args:
        labels: [n] text (or bytes that are text), bool or whole numbers, of any dtype; None, nan and "" for none.
        class_names: the name of each code; None where there are none.
        n: the required number of labels.

    Raises:
        UsageError: another length or shape, an invalid label, a code without a name, or an unknown name.
    """
    names = None if class_names is None else checked_names(class_names)
    if labels is None:
        if names is not None:
            raise UsageError(
                f"class_names names {len(names)} classes, but there are no labels; give labels too"
            )
        return None, ()
    values = one_a_row(labels, "labels", n)
    kind, found, missing = plain(values)
    if kind == "text" and "" not in (names or ()):
        missing = missing | (found == "")
    if missing.all():
        return None, ()
    if kind == "text":
        return _by_name(found, missing, names)
    coded = number_labels(found.astype(np.int64), missing, names, truth=kind == "bool")
    if coded.remark and names is None:  # with names, the numbers are declared to be codes
        log.log(logging.WARNING if TWO_CLASSES in coded.remark else logging.INFO, "labels: %s", coded.remark)
    return coded.codes, coded.class_names


def plain(values: npt.NDArray[Any]) -> tuple[str, npt.NDArray[Any], Bools]:
    """Return the kind of labels (``text``, ``bool`` or ``number``), their values and which are missing.

    Args:
        values: shape (n,).

    Returns:
        The kind, the values (int64 for numbers and bool, else Python strings) and bool[n], true where missing.

    Raises:
        UsageError: a value that can't be a label, or text beside numbers.
    """
    if values.dtype.kind in "biu" and (values.dtype.kind != "u" or values.max(initial=0) <= HIGHEST):
        kind = "bool" if values.dtype.kind == "b" else "number"
        return kind, values.astype(np.int64), np.zeros(len(values), dtype=bool)
    if values.dtype.kind == "f":
        missing = np.isnan(values)
        wide = values.astype(np.float64)  # HIGHEST exceeds float16
        whole = missing | ((wide == np.floor(wide)) & (np.abs(wide) < float(HIGHEST)))
        if whole.all():
            return "number", np.where(missing, -1, values).astype(np.int64), missing
    elif values.dtype.kind == "U":
        return "text", values.astype(object), np.zeros(len(values), dtype=bool)
    elif values.dtype.kind not in "uOSTV":
        raise UsageError(f"labels have dtype {values.dtype}; they must be names or whole numbers")
    return _from_objects(values)


def _from_objects(values: npt.NDArray[Any]) -> tuple[str, npt.NDArray[Any], Bools]:
    found = np.empty(len(values), dtype=object)
    missing = np.zeros(len(values), dtype=bool)
    first: dict[str, tuple[int, object]] = {}
    for row, value in enumerate(values.tolist()):
        if type(value) is str:
            kind, found[row] = "text", value
        elif is_missing(value):
            missing[row] = True
            continue
        else:
            kind, found[row] = _one(value, row, values.dtype)
        if kind not in first:
            first[kind] = (row, value)
    if len(first) > 1:
        (one, (row, value)), (other, (second, beside)) = list(first.items())[:2]
        raise UsageError(
            f"labels mix {one} (row {row}, {value!r:.60}) and {other} (row {second}, {beside!r:.60}); give "
            "names only, or codes only"
        )
    kind = next(iter(first), "text")
    if kind != "text":
        found[missing] = -1
        return kind, found.astype(np.int64), missing
    return kind, found, missing


def _one(value: object, row: int, dtype: np.dtype[Any]) -> tuple[str, str | int]:
    """Return the kind of one label and its plain value."""
    if isinstance(value, str):
        return "text", value
    if isinstance(value, bytes):
        try:
            return "text", value.decode("utf-8")
        except UnicodeDecodeError:
            raise UsageError(
                f"the label {value!r:.60} (row {row}) is bytes that are not UTF-8; decode them first"
            ) from None
    if isinstance(value, bool):
        return "bool", int(value)
    if type(value) is int and -HIGHEST <= value <= HIGHEST:
        return "number", value
    if isinstance(value, Number) and not isinstance(value, complex):
        return "number", _whole(value, row)
    raise UsageError(
        f"the label {value!r:.60} (row {row}) is {type(value).__name__} (labels of dtype {dtype}); they must be "
        "names or whole numbers"
    )


def _whole(value: Any, row: int) -> int:
    """Return a whole number as an int."""
    try:
        number = int(value)
    except OverflowError:
        number = None
    if number is None or number != value:
        raise UsageError(
            f"the label {value} (row {row}, {type(value).__name__}) is not a whole number; labels are names or whole "
            "numbers"
        )
    if abs(number) > HIGHEST:
        raise UsageError(
            f"the label {number} (row {row}) is beyond {HIGHEST}; number the classes from 0, or give names as labels"
        )
    return number


def checked_names(class_names: object) -> tuple[str, ...]:
    """Return class names as text.

    Raises:
        UsageError: one text, a mapping or no sequence, or an invalid name.
    """
    if isinstance(class_names, str | bytes | Mapping):
        raise UsageError(f"class_names is {class_names!r:.60}; give a list of names, one per code")
    array = (
        class_names if isinstance(class_names, Sequence) else as_array(class_names, "class_names").tolist()
    )
    names: list[str] = []
    for code, name in enumerate(array):
        if is_missing(name) or (isinstance(name, Sequence) and not isinstance(name, str | bytes)):
            raise UsageError(f"class_names[{code}] is {name!r:.60}; give each class a name")
        names.append(name.decode("utf-8", "backslashreplace") if isinstance(name, bytes) else str(name))
    return tuple(names)


def _by_name(
    values: npt.NDArray[Any], missing: Bools, class_names: tuple[str, ...] | None
) -> tuple[Ints, tuple[str, ...]]:
    names = tuple(sorted(set(values[~missing].tolist()))) if class_names is None else class_names
    code = {name: place for place, name in reversed(list(enumerate(names)))}
    if class_names is not None and len(code) < len(names):
        twice = next(name for place, name in enumerate(names) if code[name] != place)
        raise UsageError(
            f"class_names has {twice!r} twice, and labels are names; give each class a name of its own"
        )
    codes = np.fromiter((code.get(name, -1) for name in values.tolist()), dtype=np.int64, count=len(values))
    strange = np.flatnonzero((codes < 0) & ~missing)
    if len(strange):
        row = int(strange[0])
        raise UsageError(
            f"the label {values[row]!r} (row {row}) is not among the {len(names)} class names"
            f"{nearest(values[row], names)}; add it to class_names, or leave these rows out"
        )
    return codes, names


def number_labels(
    numbers: Ints, missing: Bools, class_names: tuple[str, ...] | None, truth: bool = False
) -> Labels:
    """Return whole numbers as labels.

    With class names the numbers are codes of these and −1 means none. Without, each number is its own class, named by
    it, in their order; −1 means none, unless only −1 and 1 occur, which are then two classes.

    Args:
        numbers: int64[n].
        missing: bool[n], rows without a label, whatever their number.
        class_names: the name of each code, or None.
        truth: the numbers are 0 and 1 for the classes False and True.

    Raises:
        UsageError: a number below −1 or beyond the names.
    """
    known = np.unique(numbers[~missing])
    if len(known) and known[0] < -1:
        raise _below(int(known[0]))
    two = class_names is None and known.tolist() == [-1, 1]
    minus = np.zeros(len(numbers), dtype=bool) if two else ~missing & (numbers == -1)
    said = [TWO_CLASSES] if two else []
    remark = "; ".join([*said, *none_words({"-1": int(minus.sum()), "null": int(missing.sum())})])
    none = missing | minus
    if none.all():
        return Labels(None, (), remark)
    if class_names is not None:
        if known[-1] >= len(class_names):
            raise UsageError(
                f"the label {known[-1]} has no name among those of {len(class_names)} classes; give each class one"
            )
        return Labels(np.where(none, -1, numbers), class_names, remark)
    known = known if two else known[known >= 0]
    codes = np.where(none, -1, np.searchsorted(known, numbers)).astype(np.int64)
    return Labels(codes, tuple(str(bool(each)) if truth else str(each) for each in known.tolist()), remark)


def none_words(counts: Mapping[str, int]) -> list[str]:
    """Return ``["-1 means no label (13 images)"]`` from the count of each value that means no label."""
    return [f"{value} means no label ({counted(n, 'image')})" for value, n in counts.items() if n]


def _below(lowest: int) -> UsageError:
    return UsageError(f"the label {lowest} is below -1, which means no label; number the classes from 0")
