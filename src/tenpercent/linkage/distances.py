"""The one dissimilarity that decides everything: float64, a fixed order of summation, the same bits everywhere."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import UsageError
from ..flaws import BLOCK_BYTES, all_flaws, describe_flaws
from .kernels import inner, kernel

Doubles = npt.NDArray[np.float64]
Positions = npt.NDArray[np.int32]

# Coordinates of a unit vector below this become 0. The difference of two unequal coordinates is then at least
# 1e-116, its square can't underflow, and so the dissimilarity of two rows is 0 exactly where the rows are equal.
SMALLEST = 1e-100


def fixed(array: npt.NDArray[Any], dtype: npt.DTypeLike = np.int32) -> npt.NDArray[Any]:
    """Return a read-only view in C order: kernels are compiled for one type of array, whatever the caller passes."""
    view: npt.NDArray[Any] = np.ascontiguousarray(array, dtype=dtype).view()
    view.flags.writeable = False
    return view


def as_rows(vectors: npt.ArrayLike) -> npt.NDArray[Any]:
    """Return a matrix of numbers as float64 where it is float64, else as float32; mapped from a file, it stays there.

    It can't be written to.

    Raises:
        UsageError: not a matrix of real numbers with at least one column.
    """
    array = np.asarray(vectors)
    if array.ndim != 2 or array.shape[1] == 0 or array.dtype.kind not in "fiu":
        raise UsageError(
            f"vectors have shape {array.shape} and dtype {array.dtype}; they must be a matrix [n, d] of real numbers"
        )
    is_double = array.dtype.kind == "f" and array.dtype.itemsize >= 8
    return fixed(array, np.float64 if is_double else np.float32)


def direction_of_rows(rows: npt.NDArray[Any]) -> Doubles:
    """Return the divisors that make each row a unit vector: float64[n, 3], two powers of two and the scaled norm.

    The row is first scaled by the power of two that brings its largest magnitude into [½, 1), so that no square
    overflows or loses bits; the norm is the square root of the sum of squares in the order of the columns.

    Raises:
        UsageError: a row without a direction (zero, nan, infinite).
    """
    divisors = np.empty((len(rows), 3), dtype=np.float64)
    if _directions(rows, divisors) >= 0:
        raise UsageError(f"{describe_flaws(all_flaws(rows))}; remove these rows or embed them again")
    return divisors


def scale_of_rows(rows: npt.NDArray[Any]) -> Doubles:
    """Return the power of two that brings the largest magnitude of all rows into [½, 1), as in `direction_of_rows`.

    Raises:
        UsageError: a row holds nan or infinity.
    """
    largest = 0.0
    size = max(1, min(4096, BLOCK_BYTES // max(rows[:1].nbytes, 1)))
    for start in range(0, len(rows), size):
        block = rows[start : start + size]
        if not np.isfinite(block).all():
            said = describe_flaws(all_flaws(rows, zero=False))
            raise UsageError(f"{said}; remove these rows or embed them again")
        largest = max(largest, float(np.abs(block).max()))
    exponent = max(
        math.frexp(largest)[1], -1022
    )  # beyond, the scale would overflow; so far it is large enough
    return np.tile(np.asarray([math.ldexp(1.0, -exponent), 1.0, 1.0]), (len(rows), 1))


def unit_vectors(vectors: npt.ArrayLike) -> Doubles:
    """Divide each row by its norm, in float64. Rows that are a power of two apart have the same unit vector.

    Args:
        vectors: [n, d] of real numbers; float64 is taken as it is, every other type as float32.

    Returns:
        float64[n, d], read-only, C order, without −0.

    Raises:
        UsageError: not a matrix of numbers, or a row without a direction (zero, nan, infinite).
    """
    rows = as_rows(vectors)
    return _divided(rows, direction_of_rows(rows))


def scaled_rows(vectors: npt.ArrayLike) -> tuple[Doubles, float]:
    """Scale all rows by one power of two, in float64, for the Euclidean metric.

    Args:
        vectors: [n, d] of real numbers; float64 is taken as it is, every other type as float32.

    Returns:
        float64[n, d], read-only, C order, without −0, magnitudes below 1; and the scale.

    Raises:
        UsageError: not a matrix of numbers, or nan or infinity in it.
    """
    rows = as_rows(vectors)
    divisors = scale_of_rows(rows)
    return _divided(rows, divisors), float(divisors[0, 0]) if len(rows) else 1.0


def lengths(d: Doubles, scale: float) -> Doubles:
    """Return |x − y| of the original rows from ½|x − y|² of rows multiplied by a scale.

    Args:
        d: float64[k], or one number.
        scale: a power of two, as `scaled_rows` returns it.
    """
    with np.errstate(over="ignore"):  # a length beyond the largest double is infinite
        found: Doubles = np.sqrt(2.0 * d) / scale
    return found


def _divided(rows: npt.NDArray[Any], divisors: Doubles) -> Doubles:
    found = np.empty(rows.shape, dtype=np.float64)
    make_points(rows, np.arange(len(rows)), divisors, found)
    found.flags.writeable = False
    return found


def dissimilarities(
    units: Doubles, i: npt.NDArray[Any], j: npt.NDArray[Any], others: Doubles | None = None
) -> Doubles:
    """Return ½|u − v|² of pairs of points: of unit vectors 1 − cos. It is 0 for equal rows, symmetric, never negative.

    Args:
        units: float64[n, d], from `unit_vectors` or `scaled_rows`.
        i: integer[k], one row of each pair.
        j: integer[k], the other row …
        others: … of this matrix, where it is not `units` as well.

    Returns:
        float64[k].
    """
    found = np.empty(len(i), dtype=np.float64)
    left = fixed(units, np.float64)
    half_squares(left, left if others is None else fixed(others, np.float64), fixed(i), fixed(j), found)
    return found


# ---- kernels: no fastmath, so neither reordered nor fused --------------------------------------------------------


@kernel
def _directions(rows: npt.NDArray[Any], divisors: Doubles) -> int:
    """Fill `divisors`; return the first row without a direction, or −1."""
    n, width = rows.shape
    for r in range(n):
        largest = 0.0
        for k in range(width):
            magnitude = abs(np.float64(rows[r, k]))
            if not magnitude < np.inf:
                return r
            largest = magnitude if magnitude > largest else largest
        if largest == 0.0:
            return r
        # 2^-exponent itself may overflow where the row is subnormal; its two halves can't.
        exponent = math.frexp(largest)[1]
        half = -exponent // 2
        one, other = math.ldexp(1.0, half), math.ldexp(1.0, -exponent - half)
        square = 0.0
        for k in range(width):
            scaled = np.float64(rows[r, k]) * one * other
            square += scaled * scaled
        divisors[r, 0], divisors[r, 1], divisors[r, 2] = one, other, math.sqrt(square)
    return -1


@kernel
def make_points(
    rows: npt.NDArray[Any], which: npt.NDArray[np.int64], divisors: Doubles, found: Doubles
) -> None:
    """Fill `found` with rows as points, always with the same bits."""
    for p in range(len(which)):
        make_point(rows, which[p], divisors, found, p)


@inner
def make_point(rows: npt.NDArray[Any], row: int, divisors: Doubles, found: Doubles, p: int) -> None:
    """Fill found[p] with a row as a point."""
    one, other, norm = divisors[row, 0], divisors[row, 1], divisors[row, 2]
    for k in range(rows.shape[1]):
        value = np.float64(rows[row, k]) * one * other / norm
        found[p, k] = value if abs(value) >= SMALLEST else 0.0


@kernel
def half_squares(
    left: Doubles, right: Doubles, i: npt.NDArray[Any], j: npt.NDArray[Any], found: Doubles
) -> None:
    """Fill `found`; four pairs side by side, each summed in the order of the columns."""
    width = left.shape[1]
    even = len(i) - len(i) % 4
    for p in range(0, even, 4):
        a, b, c, d = i[p], i[p + 1], i[p + 2], i[p + 3]
        s, t, u, v = j[p], j[p + 1], j[p + 2], j[p + 3]
        one, two, three, four = 0.0, 0.0, 0.0, 0.0
        for k in range(width):
            w, x, y, z = left[a, k], left[b, k], left[c, k], left[d, k]
            w, x, y, z = w - right[s, k], x - right[t, k], y - right[u, k], z - right[v, k]
            one += w * w
            two += x * x
            three += y * y
            four += z * z
        found[p], found[p + 1], found[p + 2], found[p + 3] = 0.5 * one, 0.5 * two, 0.5 * three, 0.5 * four
    for p in range(even, len(i)):
        total = 0.0
        for k in range(width):
            w = left[i[p], k] - right[j[p], k]
            total += w * w
        found[p] = 0.5 * total
