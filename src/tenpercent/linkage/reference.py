"""Complete linkage by its definition: slow, one page long, and the reference in tests of the engine."""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt

from .distances import dissimilarities, lengths, scaled_rows, unit_vectors
from .equal_rows import forbidden_pairs
from .linkage import Linkage


def complete_linkage(
    vectors: npt.ArrayLike,
    *,
    metric: Literal["cosine", "euclidean"] = "cosine",
    cannot_link: npt.ArrayLike | None = None,
) -> Linkage:
    """Return the whole tree, in O(n³) steps.

    The dissimilarity of two clusters is the largest (d, smaller position, larger position) over their cross pairs,
    compared in this order, d being ½|x − y|² of the unit vectors or, for "euclidean", of the rows. Each step merges
    the two clusters where it is smallest. A pair in `cannot_link` has d = ∞, and no merge is at ∞.

    Args:
        vectors: [n, d] of real numbers; for "cosine" no row zero.
        metric: what heights are: d itself ("cosine"), or |x − y| ("euclidean").
        cannot_link: int[k, 2], positions that must not share a cluster.
    """
    rows, scale = (unit_vectors(vectors), 1.0) if metric == "cosine" else scaled_rows(vectors)
    n = len(rows)
    i, j = np.triu_indices(n, 1)
    d = dissimilarities(rows, i, j)
    forbidden = forbidden_pairs(cannot_link, n)

    # Keys are compared, never added up, so the rank of a key among all of them is as good as the key.
    order = np.lexsort((j, i, d))
    rank = np.full((n, n), np.inf)
    rank[i[order], j[order]] = np.arange(len(order))
    rank[forbidden[:, 0], forbidden[:, 1]] = np.inf
    rank = np.minimum(rank, rank.T)

    # A cluster's row and column are those of one of its members; its other members' are at infinity.
    merges = []
    for _ in range(n - 1):
        x, y = divmod(int(np.argmin(rank)), n)
        if rank[x, y] == np.inf:
            break
        merges.append(order[int(rank[x, y])])
        farther = np.maximum(rank[x], rank[y])  # the largest key of x ∪ y and each other cluster
        rank[y], rank[:, y] = np.inf, np.inf
        rank[x], rank[:, x] = farther, farther
        rank[[x, y], x] = np.inf

    closing = np.asarray(merges, dtype=np.int64)
    height = d[closing] if metric == "cosine" else lengths(d[closing], scale)
    return Linkage(i[closing].astype(np.int64), j[closing].astype(np.int64), height, complete_to=np.inf)
