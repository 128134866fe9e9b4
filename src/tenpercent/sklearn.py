"""Complete linkage as a scikit-learn estimator: exact, one tree whatever the ties, built only as deep as it is cut."""

from __future__ import annotations

import math
from numbers import Integral, Real
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt

from .data.store.arrays import refuse_masked
from .errors import MissingExtraError, UsageError, require
from .linkage.distances import as_rows, scale_of_rows
from .linkage.kernels import kernel
from .linkage.linkage import Linkage, first_merges
from .selection.dendrogram import children
from .tree.representatives import groups_of, representatives

require("sklearn", "sklearn")  # before the imports below, to name the command where it is missing
try:
    from sklearn.base import BaseEstimator, ClusterMixin
    from sklearn.utils._param_validation import Interval, StrOptions
    from sklearn.utils.validation import validate_data
except ImportError as error:
    raise MissingExtraError(
        f"scikit-learn is older than 1.6 ({error}); install a newer one with: pip install 'tenpercent[sklearn]'"
    ) from None

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Rows = npt.NDArray[np.float32] | npt.NDArray[np.float64]

TIE = 1e-12  # of a cluster's largest distance to its mean: distances that differ by no more count as equal


class CompleteLinkage(ClusterMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """Agglomerative clustering by complete linkage, in place of ``AgglomerativeClustering(linkage="complete")``.

    The dissimilarity of two clusters is the largest (d, smaller row, larger row) over their pairs, and each step merges
    the two where it is smallest. So ties are settled by the numbers of the rows and there is exactly one tree; where
    heights differ it is scikit-learn's. Only the pairs that the cut needs are found: no matrix of all distances.

    Args:
        n_clusters: number of clusters to find, from 1 to the number of rows; None where `distance_threshold` is given.
        distance_threshold: instead, merge while the height is below this; clusters at it or above stay apart.
        metric: ``cosine`` (1 − cos, for which no row may be zero) or ``euclidean``.
        linkage: ``complete``, so that code written for ``AgglomerativeClustering`` need not change.

    Attributes:
        labels_: int64[n], the cluster of each row, numbered in the order in which they first appear.
        n_clusters_: number of clusters.
        children_: int64[n − n_clusters_, 2], the two nodes that each merge joins; nodes below n are rows, and merge t
            makes node n + t. Only the merges of the cut: ``n_clusters=1`` builds the whole tree.
        distances_: float64[n − n_clusters_], the height of each merge, ascending.
        n_leaves_: n.
        representative_indices_: int64[n_clusters_], the row that represents each cluster. ``cosine``: the member whose
            unit vector has the largest product with their sum. ``euclidean``: the member nearest to the mean. Values
            that differ by 1e-12 or less (``euclidean``: times the cluster's largest distance to the mean) are ties and
            go to the smallest row, so a cluster of two is represented by its first.
        group_sizes_: int64[n_clusters_], the number of rows of each cluster: weights for the representatives.
        n_features_in_, feature_names_in_: as everywhere in scikit-learn.

    Examples:
        >>> from tenpercent.sklearn import CompleteLinkage
        >>> found = CompleteLinkage(n_clusters=2).fit([[1.0, 0.0], [2.0, 0.1], [0.0, 3.0]])
        >>> found.labels_, found.representative_indices_, found.group_sizes_
        (array([0, 0, 1]), array([0, 2]), array([2, 1]))
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "n_clusters": [Interval(Integral, 1, None, closed="left"), None],
        "distance_threshold": [Interval(Real, 0, None, closed="left"), None],
        "metric": [StrOptions({"cosine", "euclidean"})],
        "linkage": [StrOptions({"complete"})],
    }

    labels_: Ints
    n_clusters_: int
    children_: Ints
    distances_: Floats
    n_leaves_: int
    representative_indices_: Ints
    group_sizes_: Ints

    def __init__(
        self,
        n_clusters: int | None = 2,
        *,
        distance_threshold: float | None = None,
        metric: str = "cosine",
        linkage: str = "complete",
    ) -> None:
        self.n_clusters = n_clusters
        self.distance_threshold = distance_threshold
        self.metric = metric
        self.linkage = linkage

    def fit(self, X: npt.ArrayLike, y: object = None) -> Self:
        """Cluster the rows of X.

        Args:
            X: [n, d] of real numbers, an array or a data frame; float32 and float64 are taken as they are.
            y: ignored.

        Raises:
            ValueError: parameters out of their range, X masked, with nan or infinity, or (``cosine``) with a zero row.
            MemoryBudgetError: the pairs that the cut needs don't fit into memory: says what fits.
        """
        self._validate_params()
        refuse_masked(X, "X")
        rows: Rows = validate_data(self, X, dtype=[np.float64, np.float32])
        n = self.n_leaves_ = len(rows)
        merges, count = self._first_merges(rows)
        self.children_, _ = children(n, merges.a[:count], merges.b[:count])
        self.distances_ = merges.height[:count].copy()
        self.n_clusters_ = n - count
        self.labels_ = groups_of(n, merges.a[:count], merges.b[:count])
        self.group_sizes_ = np.bincount(self.labels_)
        self.representative_indices_ = _representatives(rows, self.labels_, self.metric)
        return self

    def _first_merges(self, rows: Rows) -> tuple[Linkage, int]:
        """Return the merges that the parameters request, and the number of them to take."""
        if (self.n_clusters is None) == (self.distance_threshold is None):
            raise UsageError(
                "Exactly one of n_clusters and distance_threshold has to be set, and the other needs to be None: "
                f"n_clusters={self.n_clusters}, distance_threshold={self.distance_threshold}."
            )
        count = 0
        if self.n_clusters is not None:
            count = len(rows) - int(self.n_clusters)
            if count < 0:
                raise UsageError(
                    "Cannot extract more clusters than samples: "
                    f"n_clusters={self.n_clusters}, n_samples={len(rows)}."
                )
        elif self.distance_threshold:
            # In double precision whatever the input: the largest number below it makes "≤" mean "<".
            below = math.nextafter(float(self.distance_threshold), -math.inf)
            found = first_merges(rows, height=below, metric=self.metric)
            return found, len(found)
        return first_merges(rows, merges=count, metric=self.metric), count  # others may tie with the last


def _representatives(rows: Rows, labels: Ints, metric: str) -> Ints:
    """Return the representative row of each cluster, int64[k]."""
    members = np.argsort(labels, kind="stable")
    starts = np.concatenate([[0], np.cumsum(np.bincount(labels))])
    if metric == "cosine":
        chosen: Ints = representatives(rows, labels)[0][members[starts[:-1]]]
    else:
        one, other, _ = scale_of_rows(rows)[0].tolist()
        chosen = _nearest_to_mean(as_rows(rows), one, other, members, starts)
    return chosen


@kernel
def _nearest_to_mean(rows: npt.NDArray[Any], one: float, other: float, members: Ints, starts: Ints) -> Ints:
    """Return the member nearest to the mean; members[starts[g]] … members[starts[g + 1] − 1] are cluster g, ascending.

    Rows are scaled by a power of two, one · other, so that no square overflows, and taken relative to the cluster's
    first: the mean of near rows far from the origin keeps its digits.
    """
    width = rows.shape[1]
    chosen = np.empty(len(starts) - 1, dtype=np.int64)
    first, mean = np.empty(width), np.empty(width)
    distance = np.empty(0)
    for g in range(len(chosen)):
        own = members[starts[g] : starts[g + 1]]
        chosen[g] = own[0]
        if len(own) <= 2:
            continue
        if len(own) > len(distance):
            distance = np.empty(len(own))
        for k in range(width):
            first[k] = np.float64(rows[own[0], k]) * one * other
        mean[:] = 0.0
        for row in own:
            for k in range(width):
                mean[k] += np.float64(rows[row, k]) * one * other - first[k]
        mean /= len(own)
        for p, row in enumerate(own):
            square = 0.0
            for k in range(width):
                apart = np.float64(rows[row, k]) * one * other - first[k] - mean[k]
                square += apart * apart
            distance[p] = math.sqrt(square)
        least, most = distance[: len(own)].min(), distance[: len(own)].max()
        for p, row in enumerate(own):
            if distance[p] <= least + TIE * most:
                chosen[g] = row
                break
    return chosen
