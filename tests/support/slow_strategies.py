"""Every strategy the slow way, by its definition, from the matrix of all dissimilarities."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from tenpercent.linkage.distances import dissimilarities, unit_vectors

Floats = npt.NDArray[np.float64]


def plain_matrix(units: Floats) -> Floats:
    """Return the dissimilarity of every two points."""
    n = len(units)
    return dissimilarities(units, np.repeat(np.arange(n), n), np.tile(np.arange(n), n)).reshape(n, n)


def plain_kcenter(units: Floats, first: int | list[int], count: int, threshold: float) -> list[int]:
    """Add the image farthest from its nearest chosen one, up to a number of images with the first ones."""
    matrix, chosen = plain_matrix(units), [first] if isinstance(first, int) else list(first)
    while len(chosen) < count:
        nearest = matrix[:, chosen].min(axis=1)
        left = [x for x in range(len(units)) if x not in chosen]
        far = max(left, key=lambda x: (nearest[x], -x))
        if nearest[far] <= threshold:
            break
        chosen.append(far)
    return chosen


def plain_graph_remove(units: Floats, count: int, threshold: float) -> list[int]:
    """Look at all pairs that are left again for each image that goes."""
    matrix, left = plain_matrix(units), list(range(len(units)))
    while len(left) > count:
        d, _, j = min((matrix[i, j], i, j) for i in left for j in left if i < j)
        if d > threshold:
            break
        left.remove(j)
    return left


def plain_graph_add(units: Floats, count: int, first: list[int] | None = None) -> list[int]:
    """Compute what every image would add, each time anew; images that are there first do not count."""
    matrix, chosen = plain_matrix(units), list(first or [])
    nearest = matrix[:, chosen].min(axis=1, initial=2.0)
    for _ in range(count):
        added = {
            x: _eightfold(np.maximum(0.0, nearest - matrix[x])) for x in range(len(units)) if x not in chosen
        }
        best = max(added, key=lambda x: (added[x], -x))
        chosen.append(best)
        nearest = np.minimum(nearest, matrix[best])
    return chosen[len(first or []) :]


def _eightfold(terms: Floats) -> float:
    """Add every eighth term, then the eight sums: rounded sums depend on the order, and ties on the last bit."""
    lanes = [0.0] * 8
    for at, term in enumerate(terms.tolist()):
        lanes[at % 8] += term
    total = 0.0
    for lane in lanes:
        total += lane
    return total


def plain_kmeans(units: Floats, start: Floats) -> tuple[list[int], Floats]:
    """Return the cluster of each image and the centroids; one whose images add up to nothing stays where it is."""
    centroids, before = np.array(start), [-1] * len(units)

    def nearest() -> npt.NDArray[np.int64]:
        both = np.concatenate([centroids, units])
        return plain_matrix(both)[len(centroids) :, : len(centroids)].argmin(axis=1)

    for _ in range(100):
        of = nearest()
        if of.tolist() == before:
            break
        before = of.tolist()
        for cluster in range(len(centroids)):
            total = np.zeros(units.shape[1])
            for unit in units[of == cluster]:
                total = total + unit
            if total.any():
                centroids[cluster] = unit_vectors(total[None])[0]
    return (
        nearest().tolist(),
        centroids,
    )  # of the centroids that come out, also where it went round in circles


def plain_semdedup(units: Floats, start: Floats, count: int) -> list[int]:
    """Raise ε until `count` are left: an image goes where one before it in its cluster is nearer than ε.

    Of images with the same clearance, those of the smallest positions stay.
    """
    of, centroids = plain_kmeans(units, start)
    matrix = plain_matrix(units)
    clearance = np.full(len(units), math.inf)
    for cluster, centroid in enumerate(centroids):
        members = [x for x in range(len(units)) if of[x] == cluster]
        away = plain_matrix(np.concatenate([centroid[None], units[members]]))[0, 1:]
        order = sorted(range(len(members)), key=lambda m: (-away[m], members[m]))
        for at, m in enumerate(order):
            before = [matrix[members[m], members[other]] for other in order[:at]]
            clearance[members[m]] = min(before, default=math.inf)
    for epsilon in sorted(set(clearance.tolist()), reverse=True):
        surely = np.flatnonzero(clearance > epsilon).tolist()
        there = np.flatnonzero(clearance >= epsilon).tolist()
        if len(there) >= count:
            tied = [x for x in there if x not in surely]
            return sorted(surely + tied[: count - len(surely)])
    raise AssertionError("there are fewer images than are to stay")


def plain_stratified(scores: Floats, count: int, pruned: float, strata: int) -> tuple[list[int], list[int]]:
    """Return which images are not pruned, and how many of each stratum stay."""
    n = len(scores)
    order = sorted(range(n), key=lambda x: (scores[x], x))
    left = order[: n - min(int(pruned * n), n - count)]
    low, high = min(scores[left]), max(scores[left])
    sizes = [0] * strata
    for x in left:
        width = high / 2 - low / 2
        place = (scores[x] / 2 - low / 2) / width if width > 0 else 0.0
        sizes[min(int(place * strata), strata - 1)] += 1
    shares, budget, waiting = [0] * strata, count, list(range(strata))
    while waiting:
        smallest = min(waiting, key=lambda s: (sizes[s], s))
        shares[smallest] = min(sizes[smallest], budget // len(waiting))
        budget -= shares[smallest]
        waiting.remove(smallest)
    return left, shares


def plain_representatives(units: Floats, kept: npt.NDArray[np.bool_]) -> tuple[list[int], list[float]]:
    """Compare each removed image with all that are kept."""
    matrix, among = plain_matrix(units), np.flatnonzero(kept).tolist()
    found = [x if kept[x] else min(among, key=lambda k: (matrix[x, k], k)) for x in range(len(units))]
    return found, [float(matrix[x, k]) for x, k in enumerate(found)]


def plain_diameters(units: Floats, representative: list[int]) -> list[float]:
    """Return the largest dissimilarity of each image's group."""
    matrix, array = plain_matrix(units), np.asarray(representative)
    return [float(matrix[np.ix_(array == k, array == k)].max()) for k in representative]
