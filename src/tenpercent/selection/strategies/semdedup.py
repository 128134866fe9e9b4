"""SemDeDup: k-means, then drop what is near to another image of its cluster (Abbas et al., 2023, arXiv 2303.09540).

As published: images are clustered by spherical k-means; within a cluster they are put in order of their dissimilarity
to the centroid, the farthest first; an image is dropped where one before it in that order is more similar than 1 − ε.
The publication tunes ε until a wanted share is left. Here ε follows from the share: the nearest that any image before
it comes, an image's *clearance*, is compared with ε, so keeping the `count` largest clearances is that ε exactly.

Pairs in different clusters are never compared, so near-duplicates there both stay: the result depends on the clusters,
whose number the publication gives for its own data only (50,000 for 440 million images). Ours is √n by default.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from ...data.store.embeddings import Ints
from ...linkage.distances import Doubles, unit_vectors
from ...linkage.farthest import COLUMNS, ROWS
from ...linkage.kernels import kernel
from ...linkage.rows import fill_rows, grid_of
from ...tree.steps import Floats
from .draw import draw

ITERATIONS = 100  # of k-means at most, unless nothing changes before


def semdedup(units: Floats, count: int, rng: np.random.Generator, clusters: int | None = None) -> Ints:
    """Choose the images with the largest clearance; ties go to the smallest position.

    Args:
        units: float64[n, d], unit vectors in id order.
        count: how many to choose, from 1 to n.
        rng: draws the images that k-means starts from.
        clusters: how many; None for √n, rounded. Never more than `count`, so that each keeps its first image.

    Returns:
        int64[count], positions, ascending.
    """
    n = len(units)
    wanted = round(math.sqrt(n)) if clusters is None else clusters
    start = units[draw(n, max(1, min(wanted, count)), rng)]
    of, to_centroid = spherical_kmeans(units, start)
    order = np.lexsort((np.arange(n), -to_centroid, of))
    edges = np.append(0, np.cumsum(np.bincount(of)))
    clearance = np.empty(n)
    clearance[order] = _clearance(np.ascontiguousarray(units[order]), edges)
    return np.sort(np.lexsort((np.arange(n), -clearance))[:count])


def spherical_kmeans(units: Floats, start: Floats) -> tuple[Ints, Floats]:
    """Divide images by their nearest centroid, which is the direction of the sum of its images.

    A centroid that has no images, or whose images sum to zero, stays where it is. Ties go to the first centroid.

    Args:
        units: float64[n, d], unit vectors.
        start: float64[k, d], the initial centroids, unit vectors.

    Returns:
        The cluster of each image, int64[n], and its dissimilarity to the centroid, float64[n].
    """
    grid = grid_of(units)
    centroids = np.array(start)
    of = np.full(len(units), -1, dtype=np.int64)
    for _ in range(ITERATIONS):
        found, _ = _nearest(centroids, grid.panels, len(units))
        if np.array_equal(found, of):
            break
        of = found
        sums = _sums(grid.units, of, len(centroids))
        there = sums.any(axis=1)
        centroids[there] = unit_vectors(sums[there])
    of, to_centroid = _nearest(centroids, grid.panels, len(units))
    return of, to_centroid


@kernel
def _nearest(centroids: Doubles, panels: Doubles, n: int) -> tuple[npt.NDArray[np.int64], Doubles]:
    of, nearest = np.zeros(n, dtype=np.int64), np.full(n, np.inf)
    sums, block = np.empty((ROWS, COLUMNS)), np.empty((ROWS, n))
    for top in range(0, len(centroids), ROWS):
        rows = np.arange(top, min(top + ROWS, len(centroids))).astype(np.int32)
        fill_rows(centroids, rows, panels, n, sums, block)
        for r in range(len(rows)):
            for x in range(n):
                if block[r, x] < nearest[x]:
                    nearest[x], of[x] = block[r, x], top + r
    return of, nearest


@kernel
def _sums(units: Doubles, of: npt.NDArray[np.int64], clusters: int) -> Doubles:
    sums = np.zeros((clusters, units.shape[1]))
    for x in range(len(of)):
        for k in range(units.shape[1]):
            sums[of[x], k] += units[x, k]
    return sums


@kernel
def _clearance(units: Doubles, edges: npt.NDArray[np.int64]) -> Doubles:
    """Return for each image the dissimilarity to the nearest before it in its cluster; infinity for the first."""
    found = np.full(len(units), np.inf)
    for g in range(len(edges) - 1):
        for x in range(edges[g], edges[g + 1]):
            for y in range(edges[g], x):
                total = 0.0
                for k in range(units.shape[1]):
                    total += (units[x, k] - units[y, k]) * (units[x, k] - units[y, k])
                found[x] = min(found[x], 0.5 * total)
    return found
