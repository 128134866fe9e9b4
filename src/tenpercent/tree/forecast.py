"""Forecast of the memory for clustering a class, from a sample of its pairs; it never affects a result."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from ..data.store.embeddings import Vectors
from ..linkage.growth import EDGES, LEAST, GrowthTask, MemoryShares
from ..linkage.memory import Resources
from ..linkage.points import Points
from ..linkage.radii import LIVE, edges_of, first_radius
from ..linkage.sample import sample_pairs
from ..linkage.walk import BYTES_PER_EDGE


class Forecast(NamedTuple):
    """Approximate needs of a number of merges of a class.

    Attributes:
        needed: bytes.
        fits: number of merges that should fit into the available memory.
    """

    needed: int
    fits: int


def forecast(vectors: Vectors, merges: int, resources: Resources) -> Forecast:
    """Forecast by comparing some vectors of a class with all of it.

    Args:
        vectors: [n, d], n ≥ 2.
        merges: number of merges.
        resources: the available memory, and the threads, each of which needs some of it.

    Raises:
        MemoryBudgetError: the memory is not enough for any clustering of so many vectors.
    """
    points = Points.of(vectors)
    n = len(points)
    none = np.empty((0, 2), dtype=np.int64)
    task = GrowthTask(points=points, apart=none, merges=merges, limit=math.inf, resources=resources)
    budget, sample = MemoryShares.of(task), sample_pairs(points)
    edges = edges_of(sample.pairs(first_radius(sample, merges)), n)
    reachable = sample.radius(budget.edges**2 / (LIVE**2 * n))
    fits = n - 1 if math.isinf(reachable) else sample.merges(reachable)
    return Forecast(budget.base + max(int(edges * BYTES_PER_EDGE / EDGES), LEAST), fits)
