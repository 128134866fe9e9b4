"""Tree under pairs that must not share a group: walked again only where they matter.

Merges up to height h are decided by the pairs with d ≤ h, and connected components of the graph of these pairs never
interact (docs/clustering.md). So only the component that contains a constraint is walked again, to the height that the
class's merges are complete to. There a pair apart is a pair at infinite dissimilarity, and an image alone is left out.
A pair that no merge has brought together changes nothing: the walk would take every merge as before.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TypeVar

import numpy as np

from ..data.store.embeddings import Ints, Vectors
from ..decisions.constraints import Constraints
from ..linkage.cells import one_cell
from ..linkage.linkage import Linkage, first_merges
from ..linkage.memory import Resources
from ..linkage.neighbors import near_pairs
from ..linkage.points import Points
from .merge_table import MergeTable
from .representatives import groups_of
from .steps import Bools, Floats

Table = TypeVar("Table", bound=MergeTable)

WHOLE = 20_000  # a class of no more images is walked again whole, which is faster than to search for the component
LARGE = 0.25  # and so is a class of which the component is more than this fraction


def rewalked(merges: Table, constraints: Constraints, resources: Resources) -> Table:
    """Return the merges of the same depth under constraints.

    Args:
        merges: made without constraints that change the tree.
        constraints: the new constraints.
        resources: for walking again.

    Raises:
        MemoryBudgetError: the pairs don't fit into memory.
    """
    group = groups_of(len(merges.embeddings), merges.a, merges.b)
    size = np.bincount(group)
    x, y = constraints.apart.T
    parted = constraints.apart[group[x] == group[y]]
    single = constraints.alone[size[group[constraints.alone]] > 1]
    seeds = np.union1d(parted.ravel(), single)
    complete_to = merges.complete_to.copy()
    stay = np.ones(len(merges), dtype=np.bool_)
    pieces: list[tuple[Ints, Ints, Floats]] = []
    counts = dict(merges.counts)
    for index in np.unique(merges.class_index[_linked(constraints)]).tolist():
        counts.pop(int(merges.classes[index]), None)  # they count pairs that are excluded now
        members = np.flatnonzero(merges.class_index == index)
        free = np.setdiff1d(members, constraints.alone, assume_unique=True)
        if len(free) < 2:
            complete_to[index] = np.inf
        own = seeds[merges.class_index[seeds] == index]
        if not len(own):
            continue
        height = float(merges.complete_to[index])
        inside = members[
            _component(merges.embeddings.vectors[members], np.searchsorted(members, own), height)
        ]
        changed = np.zeros(len(merges.embeddings), dtype=np.bool_)
        changed[inside] = True
        stay &= ~changed[merges.a]
        walked = np.intersect1d(inside, free, assume_unique=True)
        found = _walked(merges.embeddings.vectors, walked, constraints.apart, height, resources)
        pieces.append((walked[found.a], walked[found.b], found.height))
    pieces.append((merges.a[stay], merges.b[stay], merges.height[stay]))
    a, b, heights = (np.concatenate(column) for column in zip(*pieces, strict=True))
    order = np.lexsort((b, a, heights))
    return replace(
        merges,
        a=a[order],
        b=b[order],
        height=heights[order],
        complete_to=complete_to,
        counts=counts,
        constraints=constraints,
    )


def under(merges: Table, constraints: Constraints, resources: Resources) -> Table:
    """Return the tree under other constraints, to the same depth; it is walked again only where they matter.

    Args:
        merges: under no constraints that change the tree, or under those that the new ones repeat.
        constraints: the new constraints.
        resources: for walking again.

    Raises:
        ValueError: these merges are already under constraints that changed the tree; use those without.
        MemoryBudgetError: the pairs don't fit into memory.
    """
    if constraints.links == merges.constraints.links:
        return replace(merges, constraints=constraints)
    if merges.constraints.links:
        raise ValueError("these merges are under other constraints; begin with those under none")
    return replace(rewalked(merges, constraints, resources), bare=merges)


def inside(pairs: Ints, members: Ints) -> Ints:
    """Return the pairs that lie within a set of images, as positions in it; int64[k, 2].

    Args:
        pairs: int64[q, 2], positions in id order.
        members: int64[m], positions in id order, ascending.
    """
    among = np.isin(pairs, members).all(axis=1)
    return np.searchsorted(members, pairs[among]).astype(np.int64)


def _linked(constraints: Constraints) -> Ints:
    return np.union1d(constraints.apart.ravel(), constraints.alone)


def _walked(vectors: Vectors, members: Ints, apart: Ints, height: float, resources: Resources) -> Linkage:
    """Return the merges within a set of images up to a height; infinity for all."""
    depth = {"merges": max(len(members) - 1, 0)} if np.isinf(height) else {"height": height}
    return first_merges(vectors[members], cannot_link=inside(apart, members), resources=resources, **depth)


def _component(vectors: Vectors, seeds: Ints, radius: float) -> Bools | slice:
    """Return which images are connected to the seeds by pairs within a radius; all of them where that is quicker."""
    n = len(vectors)
    if n <= WHOLE or np.isinf(radius):
        return slice(None)
    points = Points.of(vectors)
    reached = np.zeros(n, dtype=np.bool_)
    reached[seeds] = True
    rest = np.flatnonzero(~reached)
    newest = seeds
    radius = points.upto(radius)
    while len(newest) and len(rest):
        if n - len(rest) > LARGE * n:
            return slice(None)
        others = points.subset(rest)
        found = near_pairs(points.subset(newest), others, radius, cells=one_cell(others))
        newest = rest[np.unique(found.j)]
        reached[newest] = True
        rest = np.flatnonzero(~reached)
    return reached
