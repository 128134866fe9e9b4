"""The one dissimilarity that decides everything: float64, a fixed order of summation, the same bits everywhere."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

from ..errors import UsageError

Doubles = npt.NDArray[np.float64]
Positions = npt.NDArray[np.int32]

# Coordinates of a unit vector below this become 0. The difference of two unequal coordinates is then at least
# 1e-116, its square can't underflow, and so the dissimilarity of two rows is 0 exactly where the rows are equal.
SMALLEST = 1e-100


def unit_vectors(vectors: npt.ArrayLike) -> Doubles:
    """Divide each row by its norm, in float64.

    The row is first scaled by the power of two that brings its largest magnitude into [½, 1), so that no square
    overflows or loses bits; the norm is the square root of the sum of squares in the order of the columns.
    Rows that are a power of two apart have the same unit vector.

    Args:
        vectors: [n, d] of real numbers; float64 is taken as it is, every other type as float32.

    Returns:
        float64[n, d], read-only, C order, without −0.

    Raises:
        UsageError: not a matrix of numbers, or a row without a direction (zero, nan, infinite).
    """
    array = np.asarray(vectors)
    if array.ndim != 2 or array.shape[1] == 0 or array.dtype.kind not in "fiu":
        raise UsageError(
            f"vectors have shape {array.shape} and dtype {array.dtype}; they must be a matrix [n, d] of real numbers"
        )
    is_double = array.dtype.kind == "f" and array.dtype.itemsize >= 8
    rows = np.ascontiguousarray(array, dtype=np.float64 if is_double else np.float32)
    units = np.empty(rows.shape, dtype=np.float64)
    broken = _unit_rows(rows, units)
    if broken >= 0:
        what = "holds nan or infinity" if rows[broken].any() else "is zero and has no direction"
        raise UsageError(f"the vector in row {broken} {what}; remove that row or embed it again")
    units.flags.writeable = False
    return units


def dissimilarities(units: Doubles, i: npt.NDArray[Any], j: npt.NDArray[Any]) -> Doubles:
    """Return ½|u − v|² of pairs of unit vectors, which is 1 − cos: 0 for equal rows, symmetric, never negative.

    Args:
        units: float64[n, d], from `unit_vectors`.
        i: integer[k], one row of each pair.
        j: integer[k], the other row.

    Returns:
        float64[k].
    """
    found = np.empty(len(i), dtype=np.float64)
    _half_squares(units, i, j, found)
    return found


def distinct_rows(units: Doubles) -> npt.NDArray[np.int64]:
    """Return for each row the first position that holds an equal row: int64[n].

    Args:
        units: float64[n, d] without nan and without −0, so that equal means equal bits.
    """
    slots = np.full(1 << max(4, (2 * len(units) - 1).bit_length()), -1, dtype=np.int64)
    first = np.empty(len(units), dtype=np.int64)
    _first_equal(units.view(np.uint64), slots, first)
    return first


# ---- kernels: no fastmath, so neither reordered nor fused --------------------------------------------------------


@njit(cache=True, nogil=True)
def _unit_rows(rows: npt.NDArray[Any], units: Doubles) -> int:
    """Fill `units`; return the first row without a direction, or −1."""
    n, width = rows.shape
    for r in range(n):
        largest = 0.0
        for k in range(width):
            magnitude = abs(np.float64(rows[r, k]))
            if not magnitude < np.inf:
                return r
            largest = max(largest, magnitude)
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
            units[r, k] = scaled
        norm = math.sqrt(square)
        for k in range(width):
            value = units[r, k] / norm
            units[r, k] = value if abs(value) >= SMALLEST else 0.0
    return -1


@njit(cache=True, nogil=True)
def _half_squares(units: Doubles, i: npt.NDArray[Any], j: npt.NDArray[Any], found: Doubles) -> None:
    width = units.shape[1]
    for p in range(len(i)):
        a, b = i[p], j[p]
        total = 0.0
        for k in range(width):
            difference = units[a, k] - units[b, k]
            total += difference * difference
        found[p] = 0.5 * total


@njit(cache=True, nogil=True)
def _first_equal(
    bits: npt.NDArray[np.uint64], slots: npt.NDArray[np.int64], first: npt.NDArray[np.int64]
) -> None:
    """Put each row into a hash table of rows (open addressing); a slot holds the first of its equals."""
    n, width = bits.shape
    mask = np.uint64(len(slots) - 1)
    for r in range(n):
        code = np.uint64(14695981039346656037)
        for k in range(width):
            code = (code ^ bits[r, k]) * np.uint64(1099511628211)
            code ^= code >> np.uint64(29)
        slot = np.int64(code & mask)
        while True:
            other = slots[slot]
            if other < 0:
                slots[slot] = r
                first[r] = r
                break
            if np.array_equal(bits[other], bits[r]):
                first[r] = other
                break
            slot = (slot + 1) % len(slots)
