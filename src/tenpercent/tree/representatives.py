"""Groups that merges make, and the representative of each group."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from ..data.store.embeddings import Ints, Vectors
from ..linkage.components import united
from ..linkage.distances import Positions, dissimilarities, unit_vectors
from ..linkage.kernels import kernel
from .steps import Bools, Floats

Values = Callable[[Ints], Floats]

TIE = 1e-12  # closeness to the centre that counts as equal
LARGER = 1.1  # times the size of another file: a smaller difference says nothing of which is the original
BLOCK_BYTES = 64 * 2**20  # unit vectors held at a time, unless one group alone has more


def groups_of(n: int, a: Ints, b: Ints) -> Ints:
    """Return the group of each of `n` images after the merges (a, b), numbered by smallest member; int64[n]."""
    return _numbered(united(np.arange(n, dtype=np.int32), a, b))


def representatives(
    vectors: Vectors, group: Ints, rank: Ints | None = None, preference: Values | None = None
) -> tuple[Ints, Floats]:
    """Find the representative of each group, and the dissimilarity of each image to it.

    The representative is the member with the largest u·s, where s is the sum of the group's unit vectors in id
    order: the member nearest to the centre by cosine. Values within 1e-12 of the largest are ties, as both members
    of a group of two are, and go to the image with the most pixels; then to the largest file, if it is more than a
    tenth larger; then to the first by name.

    Args:
        vectors: [n, d] in id order; float32, or float64 as given.
        group: int64[n], numbered from 0 without gaps.
        rank: int64[n, 3], see `Embeddings.rank`; None for the smallest id.
        preference: values of images: only those with the largest of their group may represent it (`highest`).

    Returns:
        The position of each image's representative, int64[n], and the dissimilarity to it, float64[n].
    """
    n = len(group)
    representative = np.arange(n, dtype=np.int64)
    dissimilarity = np.zeros(n, dtype=np.float64)
    sizes = np.bincount(group)
    several = sizes >= 2
    members = np.argsort(group, kind="stable")[np.repeat(several, sizes)]
    sizes = sizes[several]
    starts = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    for first, last in _blocks(starts, BLOCK_BYTES // (8 * vectors.shape[1])):
        positions = members[starts[first] : starts[last]]
        units = unit_vectors(vectors[positions])
        edges = starts[first : last + 1] - starts[first]
        may = highest(preference, positions, edges, np.ones(len(units), dtype=np.bool_))
        rows = central(units, edges, may, None if rank is None else rank[positions])
        chosen = np.repeat(rows, sizes[first:last])
        representative[positions] = positions[chosen]
        dissimilarity[positions] = dissimilarities(units, np.arange(len(positions)), chosen)
    return representative, dissimilarity


def highest(preference: Values | None, members: Ints, starts: Ints, allowed: Bools) -> Bools:
    """Return which allowed members have the largest value of their group; all of them where none has one.

    Args:
        preference: positions, int64[k] -> float64[k], nan for none; None where all are alike.
        members: int64[m], positions, group after group.
        starts: int64[k + 1], the start of each group.
        allowed: bool[m].
    """
    if preference is None or not len(members):
        return allowed
    values = preference(members)
    known = np.where(allowed & ~np.isnan(values), values, -np.inf)
    largest = np.repeat(np.maximum.reduceat(known, starts[:-1]), np.diff(starts))
    return np.asarray(allowed & (known == largest))


def central(units: Floats, starts: Ints, allowed: Bools, rank: Ints | None = None) -> Ints:
    """Return the row of the member of each group that is nearest to its centre.

    Args:
        units: float64[m, d], unit vectors, group after group, each in id order.
        starts: int64[k + 1], the start of each group.
        allowed: bool[m], members that may represent their group; the centre is that of all members.
        rank: int64[m, 3], which decides among equally near ones (`Embeddings.rank`); None for the first.

    Returns:
        int64[k], −1 where no member is allowed.
    """
    chosen = np.empty(len(starts) - 1, dtype=np.int64)
    largest = int(np.diff(starts).max(initial=0))
    ranked = np.outer(np.arange(len(units)), (0, 0, 1)) if rank is None else rank
    _central(units, starts, allowed, ranked, np.empty(units.shape[1]), np.empty(largest), chosen)
    return chosen


def _blocks(starts: Ints, rows: int) -> Iterator[tuple[int, int]]:
    """Yield runs [first, last) of groups with at most `rows` members together, but at least one group."""
    first, count = 0, len(starts) - 1
    while first < count:
        last = int(np.searchsorted(starts, starts[first] + rows, side="right")) - 1
        last = min(max(last, first + 1), count)
        yield first, last
        first = last


def _numbered(roots: Positions) -> Ints:
    """Number the groups by their root, the smallest member."""
    is_root = roots == np.arange(len(roots))
    return np.asarray((np.cumsum(is_root) - 1)[roots], dtype=np.int64)


@kernel
def _central(
    units: Floats, starts: Ints, allowed: Bools, rank: Ints, total: Floats, closeness: Floats, chosen: Ints
) -> None:
    """Fill in the row of each group's representative; rows starts[g] … starts[g+1] are group g, in id order.

    Every sum runs in one fixed order, without fused multiply-add, so it gives the same bits everywhere.
    """
    width = units.shape[1]
    for g in range(len(chosen)):
        start, end = starts[g], starts[g + 1]
        for k in range(width):
            total[k] = 0.0
        for row in range(start, end):
            for k in range(width):
                total[k] += units[row, k]
        largest = -np.inf
        for row in range(start, end):
            value = 0.0
            if not allowed[row]:
                closeness[row - start] = -np.inf
                continue
            for k in range(width):
                value += units[row, k] * total[k]
            closeness[row - start] = value
            largest = value if value > largest else largest
        if largest == -np.inf:
            chosen[g] = -1
            continue
        pixels, size = -1, -1
        for row in range(start, end):
            if closeness[row - start] >= largest - TIE and rank[row, 0] >= pixels:
                size = rank[row, 1] if rank[row, 0] > pixels or rank[row, 1] > size else size
                pixels = rank[row, 0]
        best = -1
        for row in range(start, end):
            if closeness[row - start] < largest - TIE or rank[row, 0] < pixels:
                continue
            if rank[row, 1] * LARGER >= size and (best < 0 or rank[row, 2] < rank[best, 2]):
                best = row
        chosen[g] = best
