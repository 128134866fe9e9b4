"""Forest of a run's merges as nodes over its images, made once: every cut is then a choice of nodes.

Merge t makes node t of the images below it. A cut takes some merges; its groups of two or more are the nodes taken
whose next merge is not. So little of a cut depends on the number of images, and its groups are ordered by filtering
what was ordered before.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ..data.store.embeddings import Ints
from ..linkage.kernels import kernel
from .memo import Memo

if TYPE_CHECKING:
    from ..tree.merges import Merges

ORDERS = 8  # of nodes, cached at a time

Small = npt.NDArray[np.int32]
Bools = npt.NDArray[np.bool_]


class Forest:
    """The nodes of one or several trees.

    Attributes:
        n: number of images.
        m: number of merges, that is of nodes.
        by_class: True where no node holds images of two classes.
        height: float64[m], of each merge, ascending: also the diameter of its node.
        labels: int64[n], −1 for none; zeros where there are no labels.
        parent: int32[n + m], the merge that joins an image, or node n + t, to another; m where none does.
        size: int32[m], images of a node.
        smallest: int32[m], the smallest position of a node.
        leaves: int32[n], positions, those of a node adjacent.
        start: int32[m], where the leaves of a node begin.
        lowest, least, highest: int32[m], the smallest label of a node, the smallest that is no −1, the largest.
    """

    def __init__(self, merges: Merges, by_class: bool) -> None:
        """Make the nodes of the merges."""
        labels = merges.embeddings.labels
        self.n, self.m, self.by_class, self.a = len(merges.embeddings), len(merges), by_class, merges.a
        self.height, self.b = merges.height, merges.b
        self.labels: Ints = np.zeros(self.n, dtype=np.int64) if labels is None else labels
        self.parent = np.full(self.n + self.m, self.m, dtype=np.int32)
        self.size, self.smallest, self.start = (np.empty(self.m, dtype=np.int32) for _ in range(3))
        self.lowest, self.least, self.highest = (np.empty(self.m, dtype=np.int32) for _ in range(3))
        self.leaves = np.arange(self.n, dtype=np.int32)
        below = np.empty((self.m, 2), dtype=np.int32)
        labelled = (self.lowest, self.least, self.highest)
        _grow(self.n, self.a, self.b, self.labels, below, self.parent, self.size, self.smallest, *labelled)
        _line_up(self.n, below, self.parent, self.size, self.start, self.leaves)
        self._orders: Memo[Ints] = Memo(ORDERS)

    @cached_property
    def conflict(self) -> Bools:
        """Mask of the nodes with images of more than one label, bool[m]; those without a label don't count."""
        return np.asarray(self.least < self.highest)

    @cached_property
    def mixed(self) -> Bools:
        """Mask of the nodes with images of more than one class, bool[m]; those without a label count as one."""
        return np.asarray(self.lowest < self.highest)

    def order(self, name: str, keys: Any) -> Ints:
        """Return all nodes in an order, made once; `keys` gives what `np.lexsort` takes."""
        return self._orders.get(name, lambda: np.lexsort(keys(np.arange(self.m))))

    def tops(self, taken: Bools, positions: Ints) -> Ints:
        """Return the highest node taken above each image; m + position where it is alone."""
        found = np.empty(len(positions), dtype=np.int64)
        _climb(self.n, self.m, self.parent, taken, positions, found)
        return found


@kernel
def _grow(
    n: int,
    a: Ints,
    b: Ints,
    labels: Ints,
    below: Small,
    parent: Small,
    size: Small,
    smallest: Small,
    lowest: Small,
    least: Small,
    highest: Small,
) -> None:
    """Join node by node: union-find over nodes, as in `selection.dendrogram`, with the properties of each node."""
    m = len(a)
    none = 2147483647
    root = np.arange(n + m)
    for t in range(m):
        size[t], smallest[t], lowest[t], least[t], highest[t] = 0, none, none, none, -1
        for side in range(2):
            x = a[t] if side == 0 else b[t]
            while root[x] != x:
                root[x] = root[root[x]]
                x = root[x]
            below[t, side] = x
            parent[x] = t
            root[x] = n + t
            if x < n:
                label = labels[x]
                size[t] += 1
                smallest[t] = min(smallest[t], x)
                lowest[t] = min(lowest[t], label)
                highest[t] = max(highest[t], label)
                if label >= 0:
                    least[t] = min(least[t], label)
            else:
                size[t] += size[x - n]
                smallest[t] = min(smallest[t], smallest[x - n])
                lowest[t] = min(lowest[t], lowest[x - n])
                highest[t] = max(highest[t], highest[x - n])
                least[t] = min(least[t], least[x - n])


@kernel
def _line_up(n: int, below: Small, parent: Small, size: Small, start: Small, leaves: Small) -> None:
    """Give each node a range of places, its two parts one after the other, and each image a place in it."""
    m = len(below)
    free = 0
    for t in range(m - 1, -1, -1):
        if parent[n + t] == m:
            start[t] = free
            free += size[t]
        place = start[t]
        for side in range(2):
            x = below[t, side]
            if x < n:
                leaves[place] = x
                place += 1
            else:
                start[x - n] = place
                place += size[x - n]


@kernel
def _climb(n: int, m: int, parent: Small, taken: Bools, positions: Ints, found: Ints) -> None:
    for k in range(len(positions)):
        top = m + positions[k]
        up = parent[positions[k]]
        while up < m and taken[up]:
            top = up
            up = parent[n + up]
        found[k] = top
