"""Complete linkage by its definition: slow, a page long, and what the engine is tested against."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import numpy.typing as npt

from .distances import dissimilarities, unit_vectors
from .linkage import Linkage

Key = tuple[float, int, int]


def complete_linkage(vectors: npt.ArrayLike) -> Linkage:
    """Return the whole tree, in O(n³) steps.

    The dissimilarity of two clusters is the largest (d, smaller position, larger position) over their cross pairs,
    compared in this order; each step merges the two clusters where it is smallest.

    Args:
        vectors: [n, d] of real numbers, no row zero.
    """
    units = unit_vectors(vectors)
    n = len(units)
    pairs = list(combinations(range(n), 2))
    i, j = np.asarray(pairs, dtype=np.int64).reshape(-1, 2).T
    key = dict(
        zip(
            pairs,
            zip(dissimilarities(units, i, j).tolist(), i.tolist(), j.tolist(), strict=True),
            strict=True,
        )
    )

    clusters = [{point} for point in range(n)]
    merges: list[Key] = []
    while len(clusters) > 1:
        farthest = {
            (x, y): max(key[min(p, q), max(p, q)] for p in clusters[x] for q in clusters[y])
            for x, y in combinations(range(len(clusters)), 2)
        }
        x, y = min(farthest, key=farthest.__getitem__)
        merges.append(farthest[x, y])
        clusters[x] |= clusters[y]
        del clusters[y]

    return Linkage(
        a=np.asarray([a for _, a, _ in merges], dtype=np.int64),
        b=np.asarray([b for _, _, b in merges], dtype=np.int64),
        height=np.asarray([height for height, _, _ in merges], dtype=np.float64),
        complete_to=np.inf,
    )
