"""What clustering a class will take, from a sample of its pairs; nothing here decides a result."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from ..cluster.growth import EDGES, LIVE, SHALLOW, Budget, Task
from ..cluster.memory import Resources
from ..cluster.points import Points
from ..cluster.sample import sample_pairs
from ..cluster.walk import BYTES_PER_EDGE
from ..store.embeddings import Vectors


class Forecast(NamedTuple):
    """What so many merges of a class need, about.

    Attributes:
        needed: bytes.
        fits: merges that should fit into the memory there is.
    """

    needed: int
    fits: int


def forecast(vectors: Vectors, merges: int, resources: Resources) -> Forecast:
    """Compare some vectors of a class with all of it.

    Args:
        vectors: [n, d], n ≥ 2.
        merges: how many are wanted.
        resources: the memory there is, and the threads that each need some of it.

    Raises:
        MemoryBudgetError: the memory is not enough for any clustering of so many vectors.
    """
    points = Points.of(vectors)
    n = len(points)
    budget = Budget.of(Task(points, np.empty((0, 2), dtype=np.int64), merges, math.inf, resources))
    sample = sample_pairs(points)
    pairs = sample.pairs(sample.radius_of(min(merges / n, SHALLOW)))
    edges = min(pairs, LIVE * math.sqrt(pairs * n))
    reachable = sample.radius(budget.edges**2 / (LIVE**2 * n))
    fits = n - 1 if math.isinf(reachable) else sample.merges(reachable)
    return Forecast(budget.base + int(edges * BYTES_PER_EDGE / EDGES), fits)
