"""Forest of a run's merges as nodes over its images, made once: every cut is then a choice of nodes.

Node x < n is image x; node n + t holds the images that merge t joins. A cut takes some merges; its groups are the
nodes whose next merge is not taken. So little of a cut depends on the number of images, and its groups are ordered by
filtering what was ordered before.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ..data.store.embeddings import Ints
from ..linkage.kernels import kernel
from ..selection.dendrogram import children
from .cache import Cache

if TYPE_CHECKING:
    from ..tree.merges import Merges

ORDERS = 8  # of nodes, cached at a time
NO_LABEL = np.iinfo(np.int32).max  # above every label

Small = npt.NDArray[np.int32]
Bools = npt.NDArray[np.bool_]


class MergeForest:
    """The nodes of one or several trees.

    Attributes:
        n: number of images.
        m: number of merges.
        by_class: True where no node holds images of two classes.
        labels: int64[n], −1 for none; zeros where there are no labels.
        diameter: float64[n + m], the height of a node's merge; 0 for an image.
        parent: int32[n + m], the merge that joins a node to another; m where none does.
        size: int32[n + m], images of a node.
        smallest: int32[n + m], the smallest position of a node.
        leaves: int64[n], positions, those of a node adjacent.
        start: int32[n + m], where the leaves of a node begin.
        lowest, least, highest: int32[n + m], the smallest label of a node, the smallest other than −1, the largest.
    """

    def __init__(self, merges: Merges, by_class: bool) -> None:
        """Make the nodes of the merges."""
        labels = merges.embeddings.labels
        self.n, self.m, self.by_class = len(merges.embeddings), len(merges), by_class
        self.a, self.b = merges.a, merges.b
        self.labels: Ints = np.zeros(self.n, dtype=np.int64) if labels is None else labels
        self.diameter = np.concatenate([np.zeros(self.n), merges.height])
        nodes, sizes = children(self.n, self.a, self.b)
        below = nodes.astype(np.int32)
        self.size = np.concatenate([np.ones(self.n), sizes]).astype(np.int32)
        self.parent = np.full(self.n + self.m, self.m, dtype=np.int32)
        self.smallest = self._nodes(np.arange(self.n))
        self.lowest, self.highest = self._nodes(self.labels), self._nodes(self.labels)
        self.least = self._nodes(np.where(self.labels < 0, NO_LABEL, self.labels))
        _grow(below, self.parent, self.smallest, self.lowest, self.least, self.highest)
        self.start = np.empty(self.n + self.m, dtype=np.int32)
        _line_up(below, self.parent, self.size, self.start)
        self.leaves = np.empty(self.n, dtype=np.int64)
        self.leaves[self.start[: self.n]] = np.arange(self.n)
        self._orders: Cache[Ints] = Cache(ORDERS)

    def _nodes(self, of_images: npt.NDArray[Any]) -> Small:
        """Return the values of images with room for those of merges."""
        return np.concatenate([of_images, np.zeros(self.m)]).astype(np.int32)

    @cached_property
    def conflict(self) -> Bools:
        """Mask of the nodes with images of more than one label, bool[n + m]; those without a label don't count."""
        return np.asarray(self.least < self.highest)

    @cached_property
    def mixed(self) -> Bools:
        """Mask of the nodes with images of more than one class, bool[n + m]; those without a label count as one."""
        return np.asarray(self.lowest < self.highest)

    def order(self, name: str, keys: Any) -> Ints:
        """Return all merges in an order of their nodes, made once; `keys` gives what `np.lexsort` takes."""
        return self._orders.get(name, lambda: np.lexsort(keys(self.n + np.arange(self.m))))

    def tops(self, taken: Bools, positions: Ints) -> Ints:
        """Return the highest node taken above each image, the image itself where it is alone."""
        found = np.empty(len(positions), dtype=np.int64)
        _climb(self.n, self.m, self.parent, taken, positions, found)
        return found


@kernel
def _grow(below: Small, parent: Small, smallest: Small, lowest: Small, least: Small, highest: Small) -> None:
    """Give each merge's node its parent and the properties of its two parts."""
    n = len(parent) - len(below)
    for t in range(len(below)):
        top, x, y = n + t, below[t, 0], below[t, 1]
        parent[x] = parent[y] = t
        smallest[top] = min(smallest[x], smallest[y])
        lowest[top] = min(lowest[x], lowest[y])
        least[top] = min(least[x], least[y])
        highest[top] = max(highest[x], highest[y])


@kernel
def _line_up(below: Small, parent: Small, size: Small, start: Small) -> None:
    """Give each node a range of places, its two parts one after the other."""
    m = len(below)
    n = len(parent) - m
    free = 0
    for x in range(n + m - 1, -1, -1):
        if parent[x] == m:
            start[x] = free
            free += size[x]
        if x >= n:
            one, other = below[x - n, 0], below[x - n, 1]
            start[one], start[other] = start[x], start[x] + size[one]


@kernel
def _climb(n: int, m: int, parent: Small, taken: Bools, positions: Ints, found: Ints) -> None:
    for k in range(len(positions)):
        top = positions[k]
        while parent[top] < m and taken[parent[top]]:
            top = n + parent[top]
        found[k] = top
