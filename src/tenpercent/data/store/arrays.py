"""Arrays that a caller passes: converted to NumPy or refused in one line, and never writable from outside."""

from __future__ import annotations

import mmap
from collections.abc import Iterable, Sequence
from numbers import Number
from typing import Any

import numpy as np
import numpy.typing as npt

from ...errors import UsageError, counted, one_line

Array = npt.NDArray[Any]
Vectors = npt.NDArray[np.float32] | npt.NDArray[np.float64]

_PLAIN = frozenset((str, bytes, int, float, bool, type(None)))
_REMEDIES = {  # by the package that a type comes from
    "tensorflow": "tensor.numpy()",
    "pandas": "frame.to_numpy(dtype='float32')",
    "polars": "frame.to_numpy()",
    "scipy": "matrix.toarray()",
    "datasets": "numpy.asarray(dataset['COLUMN'])",
}


def as_array(values: object, name: str) -> Array:
    """Return what a caller passed as an array, sharing its memory where possible.

    Args:
        values: an array, a sequence, or anything that converts itself to an array (a tensor, a frame, a column).
        name: what it is, for the message: ``vectors``.

    Raises:
        UsageError: it is none of these, can't be made an array, or is masked.
    """
    refuse_masked(values, name)
    if isinstance(values, str | bytes) or not (hasattr(values, "__array__") or isinstance(values, Sequence)):
        raise _no_array(values, name, "")
    if isinstance(values, np.memmap):
        return values
    try:
        return np.asarray(_readable(values))
    except Exception as error:  # other libraries' conversions raise nearly anything
        reason = one_line(error).partition(". ")[0]
        raise _no_array(values, name, f" ({reason})") from error


def _readable(values: Any) -> Any:
    """Return tensors as NumPy can read them: without gradient, on the CPU, and short floats as float32."""
    if isinstance(values, list | tuple) and values and hasattr(values[0], "detach"):
        return [_readable(value) for value in values]
    if not hasattr(values, "detach"):
        return values
    tensor = values.detach().cpu()
    return tensor.float() if tensor.is_floating_point() and tensor.element_size() < 4 else tensor


def refuse_masked(values: object, name: str) -> None:
    """Raise `UsageError` for a masked array: NumPy's conversions take masked entries for values."""
    if isinstance(values, np.ma.MaskedArray):
        raise UsageError(
            f"{name}: a masked array, whose masked entries would count as values; give the rows without any as a "
            "plain array, or array.filled(value)"
        )


def _no_array(values: object, name: str, reason: str) -> UsageError:
    kind = type(values)
    package = kind.__module__.partition(".")[0]
    remedy = _REMEDIES.get(package, "numpy.asarray(...)")
    said = (
        f"a string, {values!r:.80}"
        if isinstance(values, str | bytes)
        else f"{package}.{kind.__qualname__}".removeprefix("builtins.")
    )
    return UsageError(f"{name} can't be made from {said}{reason}; give a NumPy array, e.g. {remedy}")


def one_a_row(values: object, name: str, n: int) -> Array:
    """Return labels or ids as an array of shape (n,); entries of a list stay the objects they are.

    Raises:
        UsageError: no array or sequence, or another shape or length.
    """
    if isinstance(values, range):
        array: Array = np.arange(values.start, values.stop, values.step)
    elif isinstance(values, Sequence) and not isinstance(values, str | bytes | np.ndarray):
        # NumPy itself would turn ["cat", nan] into the texts 'cat' and 'nan'.
        array = np.fromiter(values, dtype=object, count=len(values))
    else:
        array = as_array(values, name)
    if array.ndim == 1 and array.dtype.kind == "O" and not _PLAIN.issuperset(map(type, array)):
        array = np.fromiter((python_value(value) for value in array), dtype=object, count=len(array))
        nested = next((value for value in array if _is_nested(value)), None)
        if nested is not None:
            raise UsageError(
                f"{name} hold {type(nested).__name__}s ({nested!r:.60}); give one value per vector, shape ({n},)"
            )
    if array.ndim == 1 and len(array) != n:
        raise UsageError(
            f"{counted(len(array), name.removesuffix('s'))} for {counted(n, 'vector')}; give one per vector"
        )
    if array.shape != (n,):
        raise UsageError(
            f"{name} have shape {array.shape} for {n} vectors; give one per vector, shape ({n},)"
        )
    return array


def python_value(value: Any) -> Any:
    """Return the Python value of a scalar of NumPy or Arrow or a tensor of one value; anything else as it is."""
    if hasattr(value, "as_py"):
        return value.as_py()
    if isinstance(value, np.datetime64):
        return value
    return value.item() if getattr(value, "ndim", None) == 0 and hasattr(value, "item") else value


def _is_nested(value: object) -> bool:
    return isinstance(value, Iterable) and not isinstance(value, str | bytes)


def is_missing(value: object) -> bool:
    """Return whether a value is missing: None, nan, or pandas' NA and NaT."""
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return True
    if isinstance(value, np.datetime64):
        return bool(np.isnat(value))
    return isinstance(value, Number) and bool(value != value)  # true of nan alone


def checked_vectors(values: object) -> tuple[Vectors, bool]:
    """Return vectors [n, d] in native byte order, float64 if they are, else float32; and whether they were copied.

    Raises:
        UsageError: not a matrix of real numbers, or an empty one.
    """
    given = _stacked(as_array(values, "vectors"))
    if given.ndim != 2:
        raise UsageError(f"vectors have shape {given.shape}; they must be a matrix [n, d], one row per image")
    if given.dtype.kind not in "fiu":
        raise UsageError(f"vectors have dtype {given.dtype}; they must be real numbers, such as float32")
    if given.shape[0] == 0 or given.shape[1] == 0:
        raise UsageError(f"vectors have shape {given.shape}; there must be at least one row and one column")
    double = given.dtype.kind == "f" and given.dtype.itemsize >= 8
    array: Any = given.astype(np.float64 if double else np.float32, copy=False)
    return array, isinstance(values, list | tuple) or not np.may_share_memory(array, given)


def _stacked(column: Array) -> Array:
    """Return a column of vectors as a matrix, a missing vector as nan; anything else as it is.

    Raises:
        UsageError: they have different lengths.
    """
    if column.ndim != 1 or column.dtype.kind != "O" or not any(map(_is_nested, column)):
        return column
    rows = [None if is_missing(value) else as_array(value, "vectors") for value in column]
    first, known = next((row, value) for row, value in enumerate(rows) if value is not None)
    missing = np.full(known.shape, np.nan, np.float32)
    for row, value in enumerate(rows):
        if value is not None and value.shape != missing.shape:
            raise UsageError(
                f"the vector of row {row} has shape {value.shape}, that of row {first} {missing.shape}; all vectors "
                "must have the same length"
            )
    return np.stack([missing if value is None else value for value in rows])


def unshared(array: Vectors) -> tuple[Vectors, bool]:
    """Return vectors that their caller can't overwrite by mistake, and whether they still share memory.

    A memory map stays one, and an array that is read-only down to its memory is used as it is; others are copied.
    """
    return (array, True) if _is_lasting(array) else (array.copy(), False)


def _is_lasting(array: Array) -> bool:
    """Return whether memory is a file's, or nobody can write to it: no array down to its owner is writable."""
    owner: Any = array
    writable = False
    while isinstance(owner, np.ndarray):
        writable |= owner.flags.writeable
        owner = owner.base
    if isinstance(owner, memoryview):
        writable, owner = writable or not owner.readonly, owner.obj
    if isinstance(owner, mmap.mmap):
        return True
    return not writable and (owner is None or _gives_for_reading(owner))


def _gives_for_reading(owner: object) -> bool:
    """Return whether the owner of an array's memory exposes it as read-only."""
    try:
        with memoryview(owner) as view:  # type: ignore[arg-type]
            return view.readonly
    except TypeError:
        return False
