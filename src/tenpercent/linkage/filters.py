"""Filter of pairs of two blocks that may lie within a radius: few bits, with a proven margin.

Seen from a centre c, with x' = x − c and y' = y − c, the dissimilarity is ½|x'|² + ½|y'|² − x'·y'. The filter computes
the product p of the rounded differences and passes every pair with

    p − ½|y'|² ≥ ½|x'|² − r − margin,        margin = γ |x'||y'| + γ₁ (½|x'|² + ½|y'|²) + TINY.

**Why none is lost.** The product is wrong by a multiple of |x'||y'| (Cauchy–Schwarz), each half by a multiple of
itself, and what the subtraction and float64 round is a multiple of these as well. What is lost below float32's range,
flushed to zero or not, is in TINY. With d values, and for a `NumberFormat` w the roundoff of the additions, v of
what is multiplied beyond float32 and z of what comes out,

    γ = T (1 + 4T),        T = (d + 8)w / (1 − (d + 8)w) + 2v + v² + z,

where the second factor pays for products of errors and for |x'| and |y'| being known only about; γ₁ is γ for float32,
in which the halves are summed. docs/clustering.md has every step. Only differences count: a centre among the points
makes the margin small. This is what lets eight bits (bfloat16) tell near from far, and what keeps a tight ball of
points apart.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from threading import local
from typing import Protocol

import numpy as np

from .distances import Positions
from .kernels import kernel
from .points import CentredPoints, Singles

WIDEST = 1 << 20  # beyond, γ is no longer small
# Whatever has a result below float32's range loses 2⁻¹²⁶ at most, in all less than 5 · 2²⁰ · 2⁻¹²⁶ for WIDEST values.
TINY = 2.0**-100
# Multiplications. Below the one, a CPU takes less than about a minute, and to import torch takes seconds;
# below the other, it is not worth looking even where torch is there already.


@dataclass(frozen=True)
class NumberFormat:
    """Number format of a device's products.

    Attributes:
        name: name for messages.
        inputs: the unit roundoff v of what is multiplied, where it is shorter than float32.
        sums: the unit roundoff w of the additions, 2⁻²⁴ where each is rounded to the nearest float32. The units for
            matrices align what they add with the largest of it and cut off the rest: 2⁻²² covers that.
        output: the unit roundoff z of what comes out.
    """

    name: str
    inputs: float
    sums: float
    output: float


SINGLE = NumberFormat("float32", 0.0, 2.0**-24, 0.0)
TF32 = NumberFormat("tf32", 2.0**-10, 2.0**-22, 0.0)  # 11 bits, cut off rather than rounded on some devices
BF16 = NumberFormat("bfloat16", 2.0**-8, 2.0**-22, 2.0**-8)  # 8 bits; comes out in bfloat16 too


def relative_margin(width: int, product: NumberFormat = SINGLE) -> float:
    """Return γ: a product of vectors of `width` values has an error of at most this fraction of |x||y|.

    It is infinite beyond 2²⁰ values, for which there is no proof: then every pair passes, and float64 decides alone.
    """
    if width > WIDEST:
        return math.inf
    steps = (width + 8) * product.sums
    first_order = steps / (1.0 - steps) + 2.0 * product.inputs + product.inputs**2 + product.output
    return first_order * (1.0 + 4.0 * first_order)


class PairFilter(Protocol):
    """Search for the pairs that may lie within a radius; never loses one."""

    rows: int
    columns: int
    product: NumberFormat

    def near(
        self, left: CentredPoints, right: CentredPoints, radius: float, first: int
    ) -> tuple[Positions, Positions]:
        """Return positions in `left` and `right`, int32[k] each, of every pair with dissimilarity ≤ `radius`, and more.

        The arrays may belong to the thread: they are valid until its next call.

        Args:
            left: some points …
            right: … and at most `columns` others, seen from the same centre; in all no more than a tile has products.
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

    def near(
        self, left: CentredPoints, right: CentredPoints, radius: float, first: int
    ) -> tuple[Positions, Positions]:
        """See `PairFilter`. The arrays belong to the thread and are valid until its next call."""
        space = self._space
        if not hasattr(space, "product"):
            space.product = np.empty((self.rows, self.columns), dtype=np.float32)
            space.lowest = np.empty(self.rows * self.columns, dtype=np.float32)
            space.found = np.empty((2, self.rows * self.columns), dtype=np.int32)
        height, width = len(left.halves), len(right.halves)
        product = space.product.ravel()[: height * width].reshape(height, width)
        np.matmul(left.singles, right.singles.T, out=product)
        margin, lowest = relative_margin(left.singles.shape[1]), space.lowest[:height]
        found = space.found[0], space.found[1]
        count = _near(product, left.halves, right.halves, radius, margin, first, lowest, *found)
        return space.found[0, :count], space.found[1, :count]


def lowest_products(
    left: CentredPoints, right: CentredPoints, radius: float, product: NumberFormat
) -> Singles:
    """Return for each point of `left` the least p − ½|y'|² within `radius`: float32[k], rounded down."""
    lowest = np.empty(len(left.halves), dtype=np.float32)
    width = left.singles.shape[1]
    _lowest(
        left.halves, right.halves, radius, relative_margin(width, product), relative_margin(width), lowest
    )
    return lowest


@kernel
def _lowest(
    halves: Singles, others: Singles, radius: float, margin: float, of_halves: float, lowest: Singles
) -> None:
    farthest = TINY
    for c in range(len(others)):
        far = np.float64(others[c]) + TINY
        farthest = far if far > farthest else farthest
    for r in range(len(halves)):
        half = np.float64(halves[r]) + TINY
        wrong = margin * 2.0 * math.sqrt(half * farthest) + of_halves * (half + farthest) + 2.0 * TINY
        bound = half - radius - wrong
        single = np.float32(bound)
        lowest[r] = np.nextafter(single, np.float32(-np.inf)) if single > bound else single


@kernel
def _near(
    product: Singles,
    own: Singles,
    halves: Singles,
    radius: float,
    margin: float,
    first: int,
    lowest: Singles,
    found_i: Positions,
    found_j: Positions,
) -> int:
    """List the entries with product − halves ≥ lowest, right of the diagonal that begins in row `first`."""
    _lowest(own, halves, radius, margin, margin, lowest)
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
        for c in range(r - first + 1 if r >= first else 0, width):
            if row[c] - halves[c] >= limit:
                found_i[count] = r
                found_j[count] = c
                count += 1
    return count
