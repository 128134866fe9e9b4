"""Representatives where images were not chosen by merges: the nearest kept image of each removed one, exactly."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ..data.store.embeddings import Ints, in_batches
from ..linkage.distances import Doubles, dissimilarities
from ..linkage.filters import relative_margin
from ..linkage.kernels import kernel
from ..linkage.threads import cpus, in_threads, one_blas_thread
from ..tree.steps import Bools, Floats

QUERIES = 512  # removed images at a time
TILE = 4096  # kept images at a time
SLACK = 1e-9  # bound on the rounding error of a sum of two chords, with plenty to spare


class Keepers(NamedTuple):
    """The representative of each image.

    Attributes:
        keeper: int64[n], the position of the nearest kept image; of a kept image its own.
        dissimilarity: float64[n], to it.
        diameter: float64[n], the largest dissimilarity of two images with the same representative.
    """

    keeper: Ints
    dissimilarity: Floats
    diameter: Floats


def keepers_of(units: Floats, kept: Bools) -> Keepers:
    """Find the nearest kept image of each removed one, and the diameter of each group.

    Exact: a float32 product drops what is farther than its rounding could explain, the canonical dissimilarity decides
    among the rest. Ties go to the smallest position. A kept image represents itself, even where another is equal.

    Args:
        units: float64[n, d], unit vectors in id order.
        kept: bool[n], at least one.
    """
    keeper, dissimilarity = np.arange(len(units)), np.zeros(len(units))
    among, asked = np.flatnonzero(kept), np.flatnonzero(~kept)
    shown, names = units[among].astype(np.float32), among

    def find(part: slice) -> tuple[Ints, Floats]:
        return _nearest(units, asked[part], names, shown)

    parts = list(in_batches(len(asked), QUERIES))
    with one_blas_thread():
        for part, found in zip(parts, in_threads(find, parts, cpus()), strict=True):
            keeper[asked[part]], dissimilarity[asked[part]] = found
    return Keepers(keeper, dissimilarity, diameters(units, keeper, dissimilarity))


def diameters(units: Floats, keeper: Ints, dissimilarity: Floats) -> Floats:
    """Return for each image the largest dissimilarity of two images of its group; float64[n].

    Two images are no farther apart than both are from their representative together, in the length of chords. So
    pairs are looked at from the farthest images inwards, until no pair that is left can be farther apart than the
    farthest found.

    Args:
        units: float64[n, d], unit vectors.
        keeper: int64[n], what stands for each image.
        dissimilarity: float64[n], to it.
    """
    order = np.lexsort((-dissimilarity, keeper))
    _, of, sizes = np.unique(keeper[order], return_inverse=True, return_counts=True)
    edges = np.append(0, np.cumsum(sizes))
    chords = np.sqrt(2.0 * dissimilarity[order])
    widest = np.zeros(len(sizes))
    several = np.flatnonzero(sizes > 1)

    def measure(part: npt.NDArray[np.int64]) -> None:
        _widest(units, order, chords, edges, part, widest)

    for _ in in_threads(measure, np.array_split(several, 8 * cpus()), cpus()):
        pass
    diameter = np.empty(len(order))
    diameter[order] = widest[of]
    return diameter


def _nearest(units: Floats, asked: Ints, names: Ints, shown: npt.NDArray[np.float32]) -> tuple[Ints, Floats]:
    """Return the nearest of the points `names`, which `shown` holds in float32, for each of the points `asked`."""
    queries = units[asked].astype(np.float32)
    margin = 2 * relative_margin(units.shape[1])  # two products, each off by that much at most
    nearest, distance = np.full(len(asked), -1, dtype=np.int64), np.full(len(asked), np.inf)
    closest = np.full(len(asked), -np.inf, dtype=np.float32)
    for tile in in_batches(len(names), TILE):
        product: npt.NDArray[np.float32] = queries @ shown[tile].T
        closest = np.maximum(closest, product.max(axis=1))
        query, column = np.nonzero(product >= (closest - np.float32(margin))[:, None])
        exact = dissimilarities(units, asked[query], names[tile][column])
        first = np.lexsort((column, exact, query))
        first = first[np.append(True, np.diff(query[first]) != 0)[: len(first)]]
        query, column, exact = query[first], column[first], exact[first]
        nearer = exact < distance[query]  # a later tile wins only when nearer: positions ascend
        nearest[query[nearer]] = names[tile][column[nearer]]
        distance[query[nearer]] = exact[nearer]
    return nearest, distance


@kernel
def _widest(units: Doubles, order: Ints, chords: Floats, edges: Ints, groups: Ints, widest: Floats) -> None:
    """Fill `widest` for some groups, whose images come in order of falling dissimilarity to the representative."""
    width = units.shape[1]
    for g in groups:
        start, end = edges[g], edges[g + 1]
        most, reach = 0.0, 0.0  # the largest dissimilarity so far, and its chord
        for x in range(start + 1, end):
            if (chords[x] + chords[start]) * (1.0 + SLACK) + SLACK < reach:
                break
            one = units[order[x]]
            for y in range(start, x):
                if (chords[x] + chords[y]) * (1.0 + SLACK) + SLACK < reach:
                    break
                other = units[order[y]]
                total = 0.0
                for k in range(width):
                    total += (one[k] - other[k]) * (one[k] - other[k])
                if 0.5 * total > most:
                    most = 0.5 * total
                    reach = math.sqrt(2.0 * most)
        widest[g] = most
