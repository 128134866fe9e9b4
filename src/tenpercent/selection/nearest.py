"""Nearest images, exactly: outside a group, or among those that are kept; and the diameters of the resulting groups."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

import numpy as np
import numpy.typing as npt

from ..data.store.embeddings import Ints, Vectors, in_batches
from ..linkage.distances import Doubles, dissimilarities, unit_vectors
from ..linkage.filters import relative_margin
from ..linkage.kernels import kernel
from ..linkage.points import rows_at_a_time
from ..linkage.threads import cpus, in_threads, one_blas_thread
from ..tree.steps import Bools, Floats

QUERIES = 512  # images searched from at a time
TILE = 4096  # images compared with at a time
SLACK = 1e-9  # bound on the rounding error of a sum of two chords, with plenty to spare

Tile = tuple[Ints, npt.NDArray[np.float32], Floats, int]


def nearest_outside(vectors: Vectors, group: Ints, positions: Ints) -> tuple[Ints, Floats]:
    """Find for each of the given images the nearest image that is not in the same group.

    Exact, as `nearest_kept` is. Ties go to the smallest id.

    Args:
        vectors: [n, d] in id order.
        group: int64[n], the group of each image.
        positions: int64[k], the images to search from.

    Returns:
        The position of the nearest image, int64[k], −1 where all images are in one group, and its dissimilarity,
        float64[k], inf there.
    """
    n, width = vectors.shape
    positions = np.asarray(positions, dtype=np.int64)
    nearest, distance = np.empty(len(positions), dtype=np.int64), np.empty(len(positions))

    def tiles() -> Iterable[Tile]:
        for tile in in_batches(n, rows_at_a_time(width, TILE)):
            units = unit_vectors(vectors[tile])
            yield np.arange(tile.start, tile.stop), units.astype(np.float32), units, tile.start

    for part in in_batches(len(positions), rows_at_a_time(width, QUERIES)):
        own = group[positions[part]]
        nearest[part], distance[part] = _nearest(
            unit_vectors(vectors[positions[part]]),
            tiles(),
            lambda others, own=own: own[:, None] == group[others][None, :],  # type: ignore[misc]
        )
    return nearest, distance


def nearest_among(vectors: Vectors, positions: Ints, among: Ints) -> tuple[Ints, Floats]:
    """Find for each of the given images the nearest of some others.

    Exact, as `nearest_kept` is. Ties go to the smallest id.

    Args:
        vectors: [n, d] in id order.
        positions: int64[k], the images to search from.
        among: int64[m], at least one, ascending.

    Returns:
        The position of the nearest, int64[k], and its dissimilarity, float64[k].
    """
    width = vectors.shape[1]
    nearest, distance = np.empty(len(positions), dtype=np.int64), np.empty(len(positions))

    def tiles() -> Iterable[Tile]:
        for tile in in_batches(len(among), rows_at_a_time(width, TILE)):
            units = unit_vectors(vectors[among[tile]])
            yield np.arange(tile.start, tile.stop), units.astype(np.float32), units, tile.start

    def find(part: slice) -> tuple[Ints, Floats]:
        return _nearest(unit_vectors(vectors[positions[part]]), tiles())

    parts = list(in_batches(len(positions), rows_at_a_time(width, QUERIES)))
    with one_blas_thread():
        for part, (row, far) in zip(parts, in_threads(find, parts, cpus()), strict=True):
            nearest[part], distance[part] = among[row], far
    return nearest, distance


def nearest_kept(units: Floats, kept: Bools) -> tuple[Ints, Floats, Floats]:
    """Find the nearest kept image of each removed one, which represents it, and the diameter of each group.

    Exact: a float32 product drops what is farther than its rounding could explain, the canonical dissimilarity decides
    among the rest. Ties go to the smallest position. A kept image represents itself, even where another is equal.

    Args:
        units: float64[n, d], unit vectors in id order.
        kept: bool[n], at least one.

    Returns:
        The position of the representative, int64[n], the dissimilarity to it, float64[n], and the largest dissimilarity
        of two images with the same representative, float64[n].
    """
    representative, dissimilarity = np.arange(len(units)), np.zeros(len(units))
    among, removed = np.flatnonzero(kept), np.flatnonzero(~kept)
    tiles: list[Tile] = [
        (among[tile], units[among[tile]].astype(np.float32), units, 0)
        for tile in in_batches(len(among), TILE)
    ]

    def find(part: slice) -> tuple[Ints, Floats]:
        return _nearest(units[removed[part]], tiles)

    parts = list(in_batches(len(removed), QUERIES))
    with one_blas_thread():
        for part, found in zip(parts, in_threads(find, parts, cpus()), strict=True):
            representative[removed[part]], dissimilarity[removed[part]] = found
    return representative, dissimilarity, diameters(units, representative, dissimilarity)


def _nearest(
    queries: Floats,
    tiles: Iterable[Tile],
    excluded: Callable[[Ints], Bools] | None = None,
) -> tuple[Ints, Floats]:
    """Return the nearest of the images in `tiles` for each query, −1 where all are excluded, and its dissimilarity.

    Args:
        queries: float64[q, d], unit vectors.
        tiles: ascending positions p, int64[t], their unit vectors in single precision, and double ones in which that
            of position p is row p − first; and that first position.
        excluded: returns for positions, int64[t], which are left out for which query, bool[q, t].
    """
    singles = queries.astype(np.float32)
    margin = np.float32(2 * relative_margin(queries.shape[1]))  # two products, each off by that much at most
    nearest, distance = np.full(len(queries), -1, dtype=np.int64), np.full(len(queries), np.inf)
    closest = np.full(len(queries), -np.inf, dtype=np.float32)
    for positions, others, units, first_row in tiles:
        product: npt.NDArray[np.float32] = singles @ others.T
        if excluded is not None:
            product[excluded(positions)] = -np.inf
        closest = np.maximum(closest, product.max(axis=1))
        query, column = np.nonzero((product >= (closest - margin)[:, None]) & (product > -np.inf))
        if not len(query):
            continue
        exact = dissimilarities(queries, query, positions[column] - first_row, units)
        first = np.lexsort((column, exact, query))
        first = first[np.append(True, np.diff(query[first]) != 0)]
        query, column, exact = query[first], column[first], exact[first]
        nearer = exact < distance[query]  # a later tile wins only when nearer: positions ascend
        nearest[query[nearer]] = positions[column[nearer]]
        distance[query[nearer]] = exact[nearer]
    return nearest, distance


def diameters(units: Floats, representative: Ints, dissimilarity: Floats) -> Floats:
    """Return for each image the largest dissimilarity of two images of its group; float64[n].

    Two images are no farther apart than both are from their representative together, in the length of chords. So
    pairs are looked at from the farthest images inwards, until no pair that is left can be farther apart than the
    farthest found.

    Args:
        units: float64[n, d], unit vectors.
        representative: int64[n], that of each image.
        dissimilarity: float64[n], to it.
    """
    order = np.lexsort((-dissimilarity, representative))
    _, of, sizes = np.unique(representative[order], return_inverse=True, return_counts=True)
    edges = np.append(0, np.cumsum(sizes))
    chords = np.sqrt(2.0 * dissimilarity[order])
    widest = np.zeros(len(sizes))

    def measure(part: Ints) -> None:
        _widest(units, order, chords, edges, part, widest)

    list(in_threads(measure, np.array_split(np.flatnonzero(sizes > 1), 8 * cpus()), cpus()))
    diameter = np.empty(len(order))
    diameter[order] = widest[of]
    return diameter


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
