"""Forecast of a clustering in pieces: its work, files and memory, from a sample; it never affects a result."""

from __future__ import annotations

from typing import NamedTuple, Self

import numpy as np

from ..data.store.embeddings import Vectors
from ..linkage.cells import choose_centres, drawn
from ..linkage.pairs import BYTES_IN_MEMORY, RECORD
from ..linkage.pieces.plan import BESIDE, PAIRS, Pieces
from ..linkage.points import Points, Singles
from ..linkage.radii import PAIR_SECONDS, PRODUCT_SECONDS, SCATTERED_SECONDS, first_radius
from ..linkage.sample import sample_pairs

# Measured by benchmarks/pieces.py, as those of `radii.py` on one thread of an ordinary CPU.
TEST_SECONDS = 2e-9  # beside the coordinates of a product: it is tested, and read and written for that
# Times that a point is compared with all centres: for its home, its group's guests, and its candidates.
CENTRES = 3
PROCESS = 80 << 20  # bytes of a process without any points
START = 2.0  # seconds of a process to load libraries and compiled code
DRIVER_POINT = 140  # bytes of a point in the process that gives out the tasks, at its peak
FILE_POINT = 40  # bytes of a point in files: hashes, home, the groups it goes to
COUNTED = 512  # points whose pairs are counted: a few points have most pairs, and 128 may miss all of those
FILE_PAIR = 2 * RECORD.itemsize  # by group, and by share


class NearPairs(NamedTuple):
    """Search for near pairs among n points.

    Attributes:
        pairs: number within the radius.
        left: share of all pairs that the tests of cells leave to compare.
        centres: number of cells.
    """

    pairs: float
    left: float
    centres: int

    @classmethod
    def of(cls, vectors: Vectors, merges: int) -> Self:
        """Estimate the search for so many merges, by comparing some vectors with all."""
        points = Points.of(vectors)
        n, radius = len(points), first_radius(sample_pairs(points), merges)
        middle, sample = points.take(drawn(n, 1024)).mean(axis=0), sample_pairs(points, rows=COUNTED)

        def some(size: int) -> Singles:
            return points.seen_from(middle, drawn(n, size)).singles

        chosen = choose_centres(some, n, points.width, n, radius)
        left, centres = (1.0, 1) if chosen is None else (chosen.left, len(chosen.centres))
        return cls(float(np.minimum(sample.pairs(radius), n * (n - 1) / 2)), left, centres)


class PiecesForecast(NamedTuple):
    """Approximate cost of a clustering in pieces whose first search finds enough.

    Attributes:
        products: number of pairs of points, or of a point and a centre, that are multiplied.
        seconds: of CPUs, all together.
        files: bytes in the run folder, vectors aside.
        driver: bytes of the process that gives out the tasks, ids and vectors aside.
        task: bytes of a process that does tasks, vectors aside.
    """

    products: float
    seconds: float
    files: int
    driver: int
    task: int

    @classmethod
    def of(cls, shape: tuple[int, int], itemsize: int, search: NearPairs, pieces: Pieces) -> Self:
        """Forecast for vectors of a shape, with `itemsize` bytes a value."""
        (n, width), own = shape, shape[0] / pieces.groups
        products = CENTRES * n * search.centres + search.left * n * n / 2
        seconds = products * (TEST_SECONDS + width * PRODUCT_SECONDS)
        seconds += search.pairs * (PAIR_SECONDS + width * SCATTERED_SECONDS)
        found = min(search.pairs / pieces.groups * BYTES_IN_MEMORY, PAIRS * pieces.memory)
        return cls(
            products,
            seconds + START * (1 + pieces.together),
            int(FILE_POINT * n + FILE_PAIR * search.pairs),
            PROCESS + DRIVER_POINT * n,
            PROCESS + pieces.beside + int(own * (itemsize * width + BESIDE) + found),
        )
