"""Close images with different labels, and the near-identical ones among them: where to look for mistakes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..data.sources.perceptual import SURE, bits_apart
from ..data.sources.small_pictures import small_pictures
from ..data.sources.source import ImageSource
from ..data.store.embeddings import Vectors
from ..linkage.neighbors import neighbor_graph
from ..linkage.points import Points
from ..linkage.sample import PairSample, sample_pairs
from ..linkage.threads import cpus
from .tables import Bools, Floats, Ints

MOST_IMAGES = 120_000  # beyond this all pairs take longer than a reader of a report should wait
MOST_PAIRS = 4_000_000  # pairs of any labels that the search may gather
MOST_LOOKED_AT = 300  # nearest pairs, whose images a report reads and compares


@dataclass(frozen=True, eq=False)
class UnlikePairs:
    """Pairs of images with two labels, nearest first.

    Attributes:
        i, j: int64[p], the positions of the images of each pair.
        d: float64[p], their dissimilarity.
        radius: every such pair up to it is here.
        asked: the radius that was asked for; larger than `radius` where that would have been too many pairs.
    """

    i: Ints
    j: Ints
    d: Floats
    radius: float
    asked: float


def find_unlike_pairs(vectors: Vectors, labels: Ints, radius: float) -> UnlikePairs | str:
    """Find all pairs of images with different labels within `radius`.

    Args:
        vectors: [n, d], as embedded.
        labels: int64[n], the code of each image's class, −1 for none.
        radius: the largest dissimilarity that counts as near.

    Returns:
        The pairs, or the reason in words why they were not searched for.
    """
    n = len(labels)
    if n > MOST_IMAGES:
        return f"Not searched for: comparing all pairs of {n:,} images takes too long (the limit is {MOST_IMAGES:,})."
    points = Points.of(vectors)
    affordable = affordable_radius(sample_pairs(points, cpus()), radius, MOST_PAIRS)
    if affordable is None:
        return (
            f"Not searched for: so many images are equal that there are more than {MOST_PAIRS:,} equal pairs."
        )
    graph = neighbor_graph(points, affordable)
    i, j = graph.i.astype(np.int64), graph.j.astype(np.int64)
    return UnlikePairs(*unlike_pairs(i, j, graph.d, labels), radius=affordable, asked=radius)


def near_identical(
    found: UnlikePairs, threshold: float | None, source: ImageSource | None, rows: Ints
) -> tuple[Bools, int]:
    """Separate the pairs that are near-identical from those that are merely close for the network.

    Args:
        found: the pairs, nearest first.
        threshold: the dissimilarity up to which the gap in the heights says that images are copies; None without a gap.
        source: the images; None where there are none.
        rows: int64[n], the row of each image in the source.

    Returns:
        bool[p], and how many pairs were compared by their perceptual hashes.
    """
    near = found.d <= (threshold or 0.0)  # equal vectors are near-identical in any case
    looked_at = np.flatnonzero(~near)[:MOST_LOOKED_AT]
    if source is None or not len(looked_at):
        return near, 0
    images, at = np.unique([found.i[looked_at], found.j[looked_at]], return_inverse=True)
    pictures, _ = small_pictures(source, rows[images])
    one, other = at.reshape(2, -1)
    near[looked_at] = bits_apart(pictures.take(one), pictures.take(other)) <= SURE
    return near, len(looked_at)


def affordable_radius(sample: PairSample, radius: float, pairs: int) -> float | None:
    """Return the largest radius up to `radius` within which a sample expects no more than `pairs` pairs.

    Args:
        sample: of all pairs.
        radius: the radius wanted.
        pairs: how many pairs may be expected.

    Returns:
        The radius, or None where equal vectors alone make more than that.
    """
    if sample.pairs(radius) <= pairs:
        return radius
    below = int(np.searchsorted(sample.cumulative, pairs, side="right"))
    fits = float(sample.edges[below - 1]) if below else 0.0
    return fits if fits > 1e-12 else None


def unlike_pairs(i: Ints, j: Ints, d: Floats, labels: Ints) -> tuple[Ints, Ints, Floats]:
    """Of pairs of near images keep those with two different labels, nearest first.

    Args:
        i, j: int64[p], positions of the two images of each pair, i < j.
        d: float64[p], their dissimilarity.
        labels: int64[n]; −1 (no label) never counts as different.

    Returns:
        The pairs left, sorted by (d, i, j).
    """
    differ = (labels[i] != labels[j]) & (labels[i] >= 0) & (labels[j] >= 0)
    i, j, d = i[differ], j[differ], d[differ]
    order = np.lexsort((j, i, d))
    return i[order], j[order], d[order]


def each_once(i: Ints, j: Ints, limit: int) -> list[int]:
    """Return the numbers of the first pairs, `limit` at most, without those that repeat an image of an earlier one."""
    seen: set[int] = set()
    chosen: list[int] = []
    for at, (one, other) in enumerate(zip(i.tolist(), j.tolist(), strict=True)):
        if len(chosen) == limit:
            break
        if one not in seen and other not in seen:
            seen.update((one, other))
            chosen.append(at)
    return chosen
