"""Vectors as points for comparison: float64, made of the rows when needed, never all at once."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, NamedTuple, Self

import numpy as np
import numpy.typing as npt

from ..errors import UsageError
from .distances import SMALLEST, Doubles, as_rows, direction_of_rows, lengths, make_points, scale_of_rows
from .kernels import kernel

Singles = npt.NDArray[np.float32]
Positions = npt.NDArray[np.int32]
Indices = npt.NDArray[np.int64]
Hashes = npt.NDArray[np.uint64]

BLOCK, BLOCK_BYTES = 4096, 128 << 20  # rows, and bytes of them, made at a time where all are needed once


class Metric(StrEnum):
    """Metric of the comparison: directions (1 − cos) or positions in space."""

    COSINE = "cosine"
    EUCLIDEAN = "euclidean"


class PointMemory:
    """Reusable memory for points relative to a centre: fresh pages cost more than writing to them."""

    def __init__(self) -> None:
        self._singles = np.empty(0, dtype=np.float32)

    def fit(self, count: int, width: int) -> Singles:
        """Return float32[count, width], which the next call reuses."""
        size = count * width
        if len(self._singles) < size:
            self._singles = np.empty(size, dtype=np.float32)
        return self._singles[:size].reshape(count, width)


class CentredPoints(NamedTuple):
    """Points relative to a centre.

    Attributes:
        singles: float32[k, d], their difference to the centre.
        halves: float32[k], half the squared length of each difference, approximately.
    """

    singles: Singles
    halves: Singles


@dataclass(frozen=True, eq=False)
class Points:
    """n points of d coordinates. Cosine: unit vectors. Euclidean: the rows, scaled by one power of two.

    A point is made of its row when it is needed: row · 2^−e / norm. So a memory map of vectors stays one.

    Attributes:
        rows: float32 or float64 [N, d], as given.
        at: int64[n], the row of each point.
        divisors: float64[N, 3]: two powers of two whose product brings the row into range, and its norm then.
        metric: the metric of the comparison.
    """

    rows: npt.NDArray[Any]
    at: Indices
    divisors: Doubles
    metric: Metric

    @classmethod
    def of(cls, vectors: npt.ArrayLike, metric: Metric | str = Metric.COSINE) -> Self:
        """Read every row once.

        Args:
            vectors: [n, d] of real numbers; float64 is taken as it is, every other type as float32.
            metric: ``cosine`` or ``euclidean``.

        Raises:
            UsageError: not a matrix of numbers; nan or infinity; with cosine, a row that is zero.
        """
        if metric not in list(Metric):
            raise UsageError(f"metric is {metric!r}; it can be {' or '.join(Metric)}")
        rows = as_rows(vectors)
        divisors = direction_of_rows(rows) if metric == Metric.COSINE else scale_of_rows(rows)
        return cls(rows, np.arange(len(rows), dtype=np.int64), divisors, Metric(metric))

    def __len__(self) -> int:
        return len(self.at)

    @property
    def width(self) -> int:
        """Number of coordinates of a point, d."""
        return int(self.rows.shape[1])

    @property
    def scale(self) -> float:
        """Power of two that all rows were multiplied by; 1 with cosine, where each has its own factor."""
        return 1.0 if self.metric is Metric.COSINE or not len(self.divisors) else float(self.divisors[0, 0])

    def heights(self, d: Doubles) -> Doubles:
        """Return dissimilarities as reported heights: cosine d itself, Euclidean |x − y| of the original rows."""
        return d if self.metric is Metric.COSINE else lengths(d, self.scale)

    def upto(self, height: float) -> float:
        """Return the largest dissimilarity whose reported height is at most a given one."""
        if self.metric is Metric.COSINE or math.isinf(height):
            return height
        # Non-negative doubles are ordered as their bits are; reported heights grow with them.
        low, high = 0, int(np.float64(np.inf).view(np.int64))
        while high - low > 1:
            middle = (low + high) // 2
            d = np.int64(middle).view(np.float64)
            low, high = (middle, high) if self.heights(np.asarray(d)) <= height else (low, middle)
        return float(np.int64(low).view(np.float64))

    def subset(self, positions: npt.NDArray[Any]) -> Points:
        """Return some of the points, renumbered."""
        return replace(self, at=self.at[positions])

    def take(self, positions: npt.NDArray[Any]) -> Doubles:
        """Return points as float64[k, d], always with the same bits.

        Args:
            positions: integer[k].
        """
        found = np.empty((len(positions), self.width), dtype=np.float64)
        make_points(self.rows, self.at[positions], self.divisors, found)
        return found

    def seen_from(
        self, centre: Doubles, positions: npt.NDArray[Any], space: PointMemory | None = None
    ) -> CentredPoints:
        """Return the difference of points to a centre, in float32.

        Args:
            centre: float64[d].
            positions: integer[k].
            space: memory for the result, until its next use; None for new memory.
        """
        singles = (space or PointMemory()).fit(len(positions), self.width)
        halves = np.empty(len(positions), dtype=np.float32)
        _seen_from(self.rows, self.at[positions], self.divisors, centre, singles, halves)
        return CentredPoints(singles, halves)

    def hashes(self) -> Hashes:
        """Return a hash of each point's bits: uint64[n], equal for equal points."""
        codes = np.empty(len(self), dtype=np.uint64)
        size = rows_at_a_time(self.width)
        for start in range(0, len(self), size):
            block = self.take(np.arange(start, min(start + size, len(self))))
            _hash_rows(block.view(np.uint64), codes[start : start + size])
        return codes

    def first_equals(self) -> Indices:
        """Return for each point the first position that holds an equal point: int64[n]."""
        return first_equals(self.hashes(), self.take, rows_at_a_time(self.width))


def first_equals(codes: Hashes, take: Callable[[Indices], Doubles], size: int) -> Indices:
    """Return for each point the first position that holds an equal point: int64[n].

    Args:
        codes: uint64[n], a hash of each point.
        take: returns the points at some positions, float64[k, d].
        size: number of points to take at a time.
    """
    order = np.argsort(codes, kind="stable")
    first = np.arange(len(codes), dtype=np.int64)
    head = np.append(True, np.diff(codes[order]) != 0)[: len(order)]
    # Each point of a run with one hash is compared with the first of its run.
    others, heads = order[~head], order[head][np.cumsum(head) - 1][~head]
    while len(others):  # once, but where different points have one hash
        same = np.concatenate(
            [
                (take(others[k : k + size]) == take(heads[k : k + size])).all(axis=1)
                for k in range(0, len(others), size)
            ]
        )
        first[others[same]] = heads[same]
        others, heads = others[~same], heads[~same]
        # What is left of a run has another first: the earliest of it.
        if len(others):
            fresh = np.append(True, heads[1:] != heads[:-1])
            heads = others[fresh][np.cumsum(fresh) - 1]
            others, heads = others[~fresh], heads[~fresh]
    return first


def rows_at_a_time(width: int, most: int = BLOCK) -> int:
    """Return the number of points of `width` coordinates to make at a time, at most `most`."""
    return max(1, min(most, BLOCK_BYTES // (8 * width)))


# ---- kernels: no fastmath, so neither reordered nor fused --------------------------------------------------------


@kernel
def _seen_from(
    rows: npt.NDArray[Any],
    which: Indices,
    divisors: Doubles,
    centre: Doubles,
    singles: Singles,
    halves: Singles,
) -> None:
    width = rows.shape[1]
    fours = width - width % 4
    for p in range(len(which)):
        row = which[p]
        one, other, norm = divisors[row, 0], divisors[row, 1], divisors[row, 2]
        for k in range(width):
            value = np.float64(rows[row, k]) * one * other / norm
            value = value if abs(value) >= SMALLEST else 0.0
            singles[p, k] = np.float32(value - centre[k])
        s, t, u, v = np.float32(0.0), np.float32(0.0), np.float32(0.0), np.float32(0.0)
        for k in range(0, fours, 4):
            s += singles[p, k] * singles[p, k]
            t += singles[p, k + 1] * singles[p, k + 1]
            u += singles[p, k + 2] * singles[p, k + 2]
            v += singles[p, k + 3] * singles[p, k + 3]
        for k in range(fours, width):
            s += singles[p, k] * singles[p, k]
        halves[p] = np.float32(0.5) * ((s + t) + (u + v))


@kernel
def _hash_rows(bits: npt.NDArray[np.uint64], codes: npt.NDArray[np.uint64]) -> None:
    for r in range(bits.shape[0]):
        code = np.uint64(14695981039346656037)
        for k in range(bits.shape[1]):
            code = (code ^ bits[r, k]) * np.uint64(1099511628211)
            code ^= code >> np.uint64(29)
        codes[r] = code
