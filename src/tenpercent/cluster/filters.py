"""The filter: which pairs of two blocks may lie within a radius, decided in few bits with a margin that is proven.

Seen from a centre c, with x' = x − c and y' = y − c, the dissimilarity is ½|x'|² + ½|y'|² − x'·y'. The filter computes
the product p of the rounded differences and passes every pair with

    p − ½|y'|² ≥ ½|x'|² − r − margin,        margin = γ · ½(|x'| + |y'|)².

**Why none is lost.** Write u for the unit roundoff of float32, 2⁻²⁴, and γₖ = ku/(1 − ku) (Higham, Accuracy and
Stability of Numerical Algorithms, section 3.1). A product format rounds its inputs by at most v each, adds with at
most w a step and rounds what comes out by at most z. Then p differs from x'·y' by at most
(2v + v² + γ'_d(w) + z)(1 + small) · |x'||y'|, by Cauchy–Schwarz; the halves, kept in float32, by γ_(d+2) of
themselves; the subtraction rounds by u of its terms. All of it is at most γ · (|x'||y'| + ½|x'|² + ½|y'|²), and the
bracket is ½(|x'| + |y'|)². Float64's own rounding and numbers lost below float32's range are in the slack of γ and in
TINY. docs/clustering.md has every step. Since only the differences count, a centre among the points makes the margin
small: this is what lets eight bits (bfloat16) tell near from far, and what keeps a tight ball of points apart.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from threading import local
from typing import Protocol

import numpy as np
from numba import njit

from .distances import Positions
from .points import Centred, Singles

WIDEST = 1 << 20  # beyond, γ is no longer small
TINY = 2.0**-120  # more than what products below float32's smallest number can lose, for up to WIDEST columns


@dataclass(frozen=True)
class Format:
    """How a device multiplies.

    Attributes:
        name: for people.
        inputs: the unit roundoff v of what is multiplied.
        sums: the unit roundoff w of the additions. Tensor cores may cut off instead of rounding: twice as much.
        output: the unit roundoff z of what comes out.
    """

    name: str
    inputs: float
    sums: float
    output: float


SINGLE = Format("float32", 2.0**-24, 2.0**-24, 0.0)
TF32 = Format("tf32", 2.0**-11, 2.0**-22, 0.0)
BF16 = Format("bfloat16", 2.0**-8, 2.0**-22, 2.0**-8)  # comes out in bfloat16 too


def relative_margin(width: int, product: Format = SINGLE) -> float:
    """Return γ of the module's docstring, for vectors of `width` values.

    Raises:
        ValueError: more than 2²⁰ values, for which the proof does not hold.
    """
    if width > WIDEST:
        raise ValueError(f"vectors have {width} values; the filter is proven for up to {WIDEST}")
    steps = (width + 8) * product.sums
    sums = steps / (1.0 - steps)
    once = 2.0 * product.inputs + product.inputs**2 + product.output
    # The second factor covers products of errors, and |x'| and |y'| being known to within γ only.
    return (sums + once) * (1.0 + 4.0 * (sums + once))


class Filter(Protocol):
    """Finds the pairs that may lie within a radius; never loses one."""

    rows: int
    columns: int
    product: Format

    def near(self, left: Centred, right: Centred, radius: float, first: int) -> tuple[Positions, Positions]:
        """Return positions in `left` and `right`, int32[k] each, of every pair with dissimilarity ≤ `radius`, and more.

        Args:
            left: at most `rows` points …
            right: … and at most `columns`, seen from the same centre.
            radius: not negative; may be infinity.
            first: row r is paired with the columns > r − first only (the rows from `first` on are the columns
                themselves); the number of rows, or more, where they are others.
        """
        ...


class SinglesFilter:
    """float32 with the BLAS of numpy, in tiles that stay in a core's cache."""

    rows = 256
    columns = 1024
    product = SINGLE

    def __init__(self) -> None:
        self._space = local()

    def near(self, left: Centred, right: Centred, radius: float, first: int) -> tuple[Positions, Positions]:
        """See `Filter`. The arrays are the thread's own and valid until its next call."""
        space = self._space
        if not hasattr(space, "product"):
            space.product = np.empty((self.rows, self.columns), dtype=np.float32)
            space.found = np.empty((2, self.rows * self.columns), dtype=np.int32)
        height, width = len(left.halves), len(right.halves)
        product = space.product.ravel()[: height * width].reshape(height, width)
        np.matmul(left.singles, right.singles.T, out=product)
        lowest = lowest_products(left, right, radius, self.product)
        count = _at_least(product, right.halves, lowest, first, space.found[0], space.found[1])
        return space.found[0, :count], space.found[1, :count]


def lowest_products(left: Centred, right: Centred, radius: float, product: Format) -> Singles:
    """Return, for each point of `left`, what p − ½|y'|² is at least for a pair within `radius`: float32, rounded down."""
    lowest = np.empty(len(left.halves), dtype=np.float32)
    margin = relative_margin(left.singles.shape[1], product)
    _lowest(left.halves, right.halves, radius, margin, lowest)
    return lowest


@njit(cache=True, nogil=True)
def _lowest(halves: Singles, others: Singles, radius: float, margin: float, lowest: Singles) -> None:
    farthest = 0.0
    for c in range(len(others)):
        farthest = max(farthest, np.float64(others[c]))
    for r in range(len(halves)):
        half = np.float64(halves[r])
        # ½(|x'| + |y'|)² with ½|x'|² and ½|y'|² at hand
        bound = half - radius - margin * (math.sqrt(half) + math.sqrt(farthest)) ** 2 - TINY
        single = np.float32(bound)
        lowest[r] = np.nextafter(single, np.float32(-np.inf)) if single > bound else single


@njit(cache=True, nogil=True)
def _at_least(
    product: Singles, halves: Singles, lowest: Singles, first: int, found_i: Positions, found_j: Positions
) -> int:
    """List the entries with product − halves ≥ lowest, right of the diagonal that begins in row `first`."""
    count = 0
    height, width = product.shape
    for r in range(height):
        row = product[r]
        limit = lowest[r]
        hits = np.int32(0)
        for c in range(width):  # branch-free, so it becomes vector instructions; most rows end here
            hits += np.int32(1) if row[c] - halves[c] >= limit else np.int32(0)
        if hits == 0:
            continue
        for c in range(max(0, r - first + 1), width):
            if row[c] - halves[c] >= limit:
                found_i[count] = r
                found_j[count] = c
                count += 1
    return count


def best_filter() -> Filter:
    """Return the filter of this machine."""
    return SinglesFilter()
