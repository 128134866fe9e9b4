"""Exact decision on the pairs that a filter passed: in float64, on points that are made when first needed.

Most candidates have no partner. So a tile is multiplied in float32, and only the points of pairs that pass are made in
float64, once each.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from .distances import Doubles, Positions, fixed, half_squares, make_point
from .kernels import inner, kernel
from .pairs import Pairs
from .points import Points


class Side(NamedTuple):
    """Points that are made when first needed.

    Attributes:
        rows: [n, d], the rows that they are made of.
        which: int64[k], positions of these rows.
        divisors: float64[n], divisors of the rows.
        positions: int32[k], positions in the set.
        made: bool[k], which of them are made.
        written: float64[k, d], the points made so far.
        exact: the same, read-only.
    """

    rows: npt.NDArray[Any]
    which: npt.NDArray[np.int64]
    divisors: Doubles
    positions: Positions
    made: npt.NDArray[np.bool_]
    written: Doubles
    exact: Doubles


class UnitMemory:
    """Reusable memory for points in float64: fresh pages cost more than writing to them."""

    def __init__(self) -> None:
        self._points = np.empty(0)
        self._made = np.empty(0, dtype=np.bool_)

    def of(self, points: Points, positions: Positions) -> Side:
        """Return memory for points, none of them made; the next call reuses it.

        Args:
            points: the set that they belong to.
            positions: int32[k].
        """
        count, size = len(positions), len(positions) * points.width
        if len(self._points) < size or len(self._made) < count:
            self._points, self._made = np.empty(size), np.empty(count, dtype=np.bool_)
        made = self._made[:count]
        made[:] = False
        exact = self._points[:size].reshape(count, points.width)
        which = points.at[positions]
        return Side(points.rows, which, points.divisors, positions, made, exact, fixed(exact, np.float64))


def pairs_within(
    left: Side, right: Side, near: tuple[Positions, Positions], above: float, radius: float, *, within: bool
) -> Pairs:
    """Select the pairs within a radius, by `dissimilarities` and by nothing else.

    Args:
        left: points.
        right: other points.
        near: int32[k] each, positions in `left` and in `right`.
        above: pairs up to this dissimilarity are left out, …
        radius: … and those beyond this one.
        within: whether both are of one set: the smaller position then comes first.
    """
    n = len(near[0])
    found = Pairs(np.empty(n, dtype=np.int32), np.empty(n, dtype=np.int32), np.empty(n))
    if not n:
        return found
    count = _pairs_within(left, right, (fixed(near[0]), fixed(near[1])), above, radius, within, found)
    # What the filter passed may be much more.
    return Pairs(found.i[:count].copy(), found.j[:count].copy(), found.d[:count].copy())


@kernel
def _pairs_within(
    left: Side,
    right: Side,
    near: tuple[Positions, Positions],
    above: float,
    radius: float,
    within: bool,
    into: Pairs,
) -> int:
    """Fill `into`; return the number of pairs selected."""
    (r, c), (i, j, d) = near, into
    _make(left, r)
    _make(right, c)
    half_squares(left.exact, right.exact, r, c, d)
    count = 0
    for p in range(len(r)):
        found = d[p]
        if above < found and found <= radius:
            x, y = left.positions[r[p]], right.positions[c[p]]
            if within and x > y:
                x, y = y, x
            i[count], j[count], d[count] = x, y, found
            count += 1
    return count


@inner
def _make(side: Side, wanted: Positions) -> None:
    """Make the wanted points that are missing."""
    for k in range(len(wanted)):
        p = np.int64(wanted[k])
        if not side.made[p]:
            side.made[p] = True
            make_point(side.rows, side.which[p], side.divisors, side.written, p)
