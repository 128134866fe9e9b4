"""The image nearest to a given one outside its group, whatever its class."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ..data.store.embeddings import Ints, Vectors, in_batches
from ..linkage.distances import dissimilarities, unit_vectors
from ..linkage.filters import relative_margin
from ..linkage.points import rows_at_a_time
from ..tree.steps import Floats

QUERIES = 256  # images asked about at a time
TILE = 8192  # images compared with at a time


def nearest_outside(vectors: Vectors, group: Ints, positions: Ints) -> tuple[Ints, Floats]:
    """Find for each of the given images the nearest image that is not in the same group.

    Exact: a float32 product drops what is farther than its rounding could explain, the canonical dissimilarity
    decides among the rest. Ties go to the smallest id.

    Args:
        vectors: [n, d] in id order.
        group: int64[n], the group of each image.
        positions: int64[k], the images to ask about.

    Returns:
        The position of the nearest image, int64[k], −1 where all images are in one group, and its dissimilarity,
        float64[k], inf there.
    """
    positions = np.asarray(positions, dtype=np.int64)
    nearest = np.full(len(positions), -1, dtype=np.int64)
    distance = np.full(len(positions), np.inf)
    for part in in_batches(len(positions), rows_at_a_time(vectors.shape[1], QUERIES)):
        nearest[part], distance[part] = _batch(vectors, group, positions[part])
    return nearest, distance


def _batch(vectors: Vectors, group: Ints, asked: Ints) -> tuple[Ints, Floats]:
    units = unit_vectors(vectors[asked])
    asked32 = units.astype(np.float32)
    margin = 2 * relative_margin(vectors.shape[1])  # two products, each off by that much at most
    nearest = np.full(len(asked), -1, dtype=np.int64)
    distance = np.full(len(asked), np.inf)
    closest = np.full(len(asked), -np.inf, dtype=np.float32)
    for tile in in_batches(len(vectors), rows_at_a_time(vectors.shape[1], TILE)):
        others = unit_vectors(vectors[tile])
        product: npt.NDArray[np.float32] = asked32 @ others.astype(np.float32).T
        product[group[asked][:, None] == group[tile][None, :]] = -np.inf
        closest = np.maximum(closest, product.max(axis=1))
        query, column = np.nonzero((product >= closest[:, None] - margin) & (product > -np.inf))
        if not len(query):
            continue
        exact = dissimilarities(np.concatenate([units, others]), query, column + len(asked))
        first = np.lexsort((column, exact, query))
        first = first[np.concatenate([[True], query[first][1:] != query[first][:-1]])]
        query, column, exact = query[first], column[first], exact[first]
        nearer = exact < distance[query]  # a later tile wins only when nearer: ids ascend
        nearest[query[nearer]] = column[nearer] + tile.start
        distance[query[nearer]] = exact[nearer]
    return nearest, distance
