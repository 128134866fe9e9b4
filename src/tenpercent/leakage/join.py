"""Join of two sets of vectors, and nearest neighbours: arrays in, arrays out, nothing left out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..data.store.embeddings import Ints, Vectors, in_batches
from ..errors import UsageError
from ..linkage.distances import dissimilarities
from ..linkage.memory import Resources
from ..linkage.neighbors import TooManyPairsError, near_pairs, neighbor_graph
from ..linkage.points import Points

Floats = npt.NDArray[np.float64]
Singles = npt.NDArray[np.float32]

BYTES_PER_PAIR = 240  # an upper bound at the peak: found, sorted and written with both ids and labels
AT_ONCE = 1 << 24  # pairs held in memory while only the nearest of them counts
PROBE = 256  # points used to guess the first radius
ROOM = 1.5  # times the share wanted, so that the guess seldom falls short
BLOCK = 8192  # points that these are compared with at a time
SMALLEST = 1e-6  # lower bound of the first radius: a float32 product can't resolve less
LARGEST = 2.5  # no dissimilarity is larger


@dataclass(frozen=True, eq=False)
class DistinctVectors:
    """The distinct vectors of a set, so that a thousand equal images are one point.

    Attributes:
        points: the p distinct vectors, in order of their first image.
        of: int64[n], the point of each image.
        count: int64[p], how many images are equal to it.
    """

    points: Points
    of: Ints
    count: Ints

    @classmethod
    def among(cls, vectors: Vectors) -> DistinctVectors:
        """Return the distinct vectors among `vectors`.

        Args:
            vectors: [n, d], n ≥ 1.
        """
        points = Points.of(vectors)
        first, of, count = np.unique(points.first_equals(), return_inverse=True, return_counts=True)
        return cls(points.subset(first), of.reshape(-1).astype(np.int64), count.astype(np.int64))

    def __len__(self) -> int:
        return len(self.count)


def near_duplicates(
    left: DistinctVectors,
    right: DistinctVectors,
    radius: float,
    most: int | None = None,
    memory: int | None = None,
) -> tuple[Ints, Ints, Floats]:
    """Return every pair of an image of `left` and one of `right` within `radius`, equal ones included.

    Args:
        left, right: the two sets.
        radius: the largest dissimilarity.
        most: limit of the number of pairs; None for as many as fit into the memory …
        memory: … of this many bytes; None for half of the free memory.

    Returns:
        Positions in the left set, positions in the right one, dissimilarities; sorted by these, then by position.

    Raises:
        UsageError: there are more.
    """
    if most is None:
        most = Resources(memory=memory).bytes // BYTES_PER_PAIR
    try:
        found = near_pairs(left.points, right.points, radius, most=most)
    except TooManyPairsError:
        raise _too_many(radius, most) from None
    a, b, d = found.i.astype(np.int64), found.j.astype(np.int64), found.d
    if int((left.count[a] * right.count[b]).sum()) > most:
        raise _too_many(radius, most)
    at, i = _spread(left.of, left.count, a)
    back, j = _spread(right.of, right.count, b[at])
    i, d = i[back], d[at][back]
    order = np.lexsort((j, i, d))
    return i[order], j[order], d[order]


def _too_many(radius: float, most: int) -> UsageError:
    return UsageError(
        f"more than {most:,} pairs of a test and a training image are within the threshold {radius:.6g}, and no more "
        "fit into the memory that may be used; give a smaller --threshold, or more --memory"
    )


def _spread(of: Ints, count: Ints, groups: Ints) -> tuple[Ints, Ints]:
    """Replace each of some groups of equal images by its members.

    Args:
        of: int64[n], the group of each member.
        count: int64[p], how many members each group has.
        groups: int64[k].

    Returns:
        The place in `groups` that each member comes from, and the members, in order.
    """
    members = np.argsort(of, kind="stable").astype(np.int64)
    start = np.cumsum(count) - count
    counts = count[groups]
    at = np.repeat(np.arange(len(groups), dtype=np.int64), counts)
    within = np.arange(len(at), dtype=np.int64) - np.repeat(np.cumsum(counts) - counts, counts)
    return at, members[start[groups[at]] + within]


def nearest_other(vectors: DistinctVectors, points: Ints, share: float) -> Floats:
    """Find the nearest other point of some points of a set, within a radius that covers a share of them.

    Args:
        vectors: the set.
        points: int64[k], some of its points.
        share: at least this share of them gets its nearest other point, where there are others.

    Returns:
        float64[k], the dissimilarity to the nearest other point; inf where that lies beyond the radius.
    """
    nearest = np.full(len(points), np.inf)
    for radius in _radii(vectors.points.subset(points), vectors.points, share):
        left = np.flatnonzero(np.isinf(nearest))
        nearest[left] = nearest_within(
            vectors.points.subset(points[left]), vectors.points, radius, points[left]
        )
        if np.count_nonzero(nearest <= radius) >= rank(share, len(points)):
            break
    return nearest


def rank(share: float, count: int) -> int:
    """Return a `share` of `count` as the nearest whole number, at least 1."""
    return min(max(1, round(share * count)), count)


def nearest_within(left: Points, right: Points, radius: float, own: Ints | None = None) -> Floats:
    """Return the dissimilarity of each point of `left` to the nearest of `right`: float64[k], inf beyond `radius`.

    Where the pairs are too many to hold at once, the points are taken in halves.

    Args:
        left, right: the points.
        radius: the largest dissimilarity.
        own: int64[k], the place of each left point in `right`, to be excluded; None where it has none.
    """
    nearest = np.full(len(left), np.inf)
    most = AT_ONCE if len(left) > 1 else None
    try:
        if own is not None and len(own) == len(right):  # a set against itself: each pair once
            found = neighbor_graph(right, radius, most=most)
            np.minimum.at(nearest, found.i, found.d)
            np.minimum.at(nearest, found.j, found.d)
            return nearest
        found = near_pairs(left, right, radius, most=most)
    except TooManyPairsError:
        half = len(left) // 2
        for part in (slice(0, half), slice(half, len(left))):
            places = np.arange(len(left), dtype=np.int64)[part]
            nearest[part] = nearest_within(
                left.subset(places), right, radius, None if own is None else own[part]
            )
        return nearest
    keep = slice(None) if own is None else found.j != own[found.i]
    np.minimum.at(nearest, found.i[keep], found.d[keep])
    return nearest


def _radii(left: Points, right: Points, share: float) -> list[float]:
    """Return radii to try in turn, doubling: a point with a neighbour within one is not compared again.

    Each step compares all that is left again, so the first is the one within which, by a sample of points, `share` of
    the left points have another, unless the sample predicts too many pairs within it. Then it is the first that finds
    anything, and the pairs stay few.
    """
    few = np.unique(np.linspace(0, len(left) - 1, min(len(left), PROBE)).round().astype(np.int64))
    probe = left.take(few).astype(np.float32)
    closest = np.full(len(few), np.inf, dtype=np.float32)
    for d in _against(probe, right):
        closest = np.minimum(
            closest, np.where(d < SMALLEST, np.inf, d).min(axis=1)
        )  # neither itself nor its equals
    closest.sort()
    wanted = float(closest[min(int(ROOM * share * len(few)), len(few) - 1)])
    pairs = sum(np.count_nonzero(d <= wanted) for d in _against(probe, right)) * len(left) / len(few)
    first = wanted if pairs <= AT_ONCE else float(closest[0])
    radii = [float(np.clip(first, SMALLEST, LARGEST))]
    while radii[-1] < LARGEST:
        radii.append(min(2 * radii[-1], LARGEST))
    return radii


def _against(probe: Singles, right: Points) -> Iterator[Singles]:
    """Yield approximate dissimilarities of some points to all others, some columns at a time."""
    for cut in in_batches(len(right), BLOCK):
        block = right.take(np.arange(cut.start, cut.stop))
        yield np.float32(1) - probe @ block.astype(np.float32).T


def most_similar(left: DistinctVectors, right: DistinctVectors) -> tuple[Ints, Ints]:
    """Return each image of `left` with its nearest of `right`, computed in float32: near ties may go either way.

    Returns:
        Positions in the left set, all of them in order, and positions in the right one; of equal images the first.
    """
    best = np.zeros(len(left), dtype=np.int64)
    for rows in in_batches(len(left), AT_ONCE // BLOCK):
        probe = left.points.take(np.arange(rows.start, rows.stop)).astype(np.float32)
        least = np.full(len(probe), np.inf, dtype=np.float32)
        for number, d in enumerate(_against(probe, right.points)):
            at = d.argmin(axis=1)
            nearer = d[np.arange(len(probe)), at] < least
            least[nearer] = d[np.arange(len(probe)), at][nearer]
            best[rows][nearer] = at[nearer] + number * BLOCK
    first = np.unique(right.of, return_index=True)[1]
    return np.arange(len(left.of), dtype=np.int64), first[best][left.of]


def equal_codes(left: Ints, right: Ints) -> tuple[Ints, Ints]:
    """Return the positions of every two equal codes, one of each side."""
    codes, of, count = np.unique(right, return_inverse=True, return_counts=True)
    place = np.minimum(np.searchsorted(codes, left), len(codes) - 1)
    i = np.flatnonzero(codes[place] == left).astype(np.int64)
    at, j = _spread(of.reshape(-1).astype(np.int64), count.astype(np.int64), place[i])
    return i[at], j


def dissimilarities_of(left: Vectors, right: Vectors, i: Ints, j: Ints) -> Floats:
    """Return the dissimilarity of ``left[i[k]]`` and ``right[j[k]]``: float64[k]."""
    if not len(i):
        return np.empty(0)
    points = np.arange(len(i), dtype=np.int64)
    return dissimilarities(Points.of(left[i]).take(points), points, points, Points.of(right[j]).take(points))
