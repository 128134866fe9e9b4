"""Exact, truncated complete linkage: arrays in, arrays out. Begin with `linkage.py`."""

from .distances import dissimilarities, unit_vectors
from .linkage import Linkage, first_merges
from .memory import MemoryBudgetError
from .neighbors import NeighborGraph, neighbor_graph

__all__ = [
    "Linkage",
    "MemoryBudgetError",
    "NeighborGraph",
    "dissimilarities",
    "first_merges",
    "neighbor_graph",
    "unit_vectors",
]
