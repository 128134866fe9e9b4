"""Linkage matrices of one group or one class, as SciPy's `dendrogram` draws them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from ..data.store.embeddings import Ints, Strings
from ..data.store.ids import positions_of
from ..errors import UsageError, nearest, require
from ..linkage.kernels import kernel
from ..tree.merges import Merges
from ..tree.representatives import groups_of
from ..tree.steps import Bools, Floats

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def group_linkage(merges: Merges, group: str | int | Iterable[str | int]) -> tuple[Floats, Strings]:
    """Return the tree of one group.

    Args:
        merges: the tree that the group was cut from.
        group: the ids of its members, in any order; or one id, for the largest group in `merges` that holds it.

    Returns:
        A linkage matrix as SciPy defines it, float64[k − 1, 4]: the two nodes that each merge joins (leaf p is
        the p-th id, merge t makes node k + t), its height, and how many images it makes one group; and the k ids,
        in id order, which are the labels of the leaves.

    Raises:
        UsageError: an unknown id, an image that is alone in its group, or ids that are not one group of `merges`.
    """
    embeddings = merges.embeddings
    if isinstance(group, str | int):
        all_groups = groups_of(len(merges.embeddings), merges.a, merges.b)
        positions = np.flatnonzero(
            all_groups == all_groups[positions_of(embeddings.ids, [group], "group", embeddings.rows)]
        )
    else:
        positions = positions_of(embeddings.ids, group, "group", embeddings.rows)
    ids = embeddings.ids[positions]
    if len(positions) < 2:
        what = f"{ids[0]!r} is alone in its group" if len(positions) else "group names no image"
        raise UsageError(f"{what}; a dendrogram needs two images or more")
    inside, crossing = _touching(merges, positions)
    steps = np.flatnonzero(inside)
    if len(steps) < len(positions) - 1:
        raise UsageError(
            f"the {len(positions):,} images make {len(positions) - len(steps):,} groups as far as these merges go; "
            f"deepen them (merges.deepened), or give the ids of one group"
        )
    early = np.flatnonzero(crossing[: steps[-1]])
    if len(early):
        a, b = (str(merges.embeddings.ids[side[early[0]]]) for side in (merges.a, merges.b))
        raise UsageError(
            f"the {len(positions):,} images are only a part of their group: {a!r} joins {b!r} at height "
            f"{merges.height[early[0]]:.6g}, before they are one; give the ids of the whole group"
        )
    return _matrix(merges, positions, steps), ids


def class_linkage(merges: Merges, class_name: str | None) -> tuple[Floats, Strings]:
    """Return the tree of a whole class.

    Args:
        merges: the tree, complete up to the class's last merge, as ``merges.deepened(tp.Cut(threshold=2))`` does.
        class_name: None for the images without a label, and for all images where they were clustered together.

    Returns:
        A linkage matrix and the ids of the leaves, as `group_linkage` returns them.

    Raises:
        UsageError: an unknown class, a class of one image, or an incomplete tree.
    """
    named = {None if code < 0 else merges.embeddings.class_names[code]: int(code) for code in merges.classes}
    if class_name not in named:
        known = [name for name in named if name is not None]
        what = (
            f"{len(known)} classes{nearest(str(class_name), known)}"
            if known
            else "one tree of all images: None"
        )
        raise UsageError(f"class_name is {class_name!r}, which these merges don't have; they have {what}")
    labels, code = merges.embeddings.labels, named[class_name]
    together = labels is None or len(merges.classes) == 1
    positions = np.arange(len(merges.embeddings)) if together else np.flatnonzero(labels == code)
    what = "the tree" if class_name is None else f"the tree of class {class_name!r}"
    if len(positions) < 2:
        raise UsageError(
            f"{what} is one image, {merges.embeddings.ids[positions][0]!r}; a dendrogram needs two"
        )
    steps = np.flatnonzero(_touching(merges, positions)[0])
    if len(steps) < len(positions) - 1:
        raise UsageError(
            f"{what} has {len(steps):,} of its {len(positions) - 1:,} merges so far, and a dendrogram needs all; "
            f"give merges.deepened(tp.Cut(threshold=2))"
        )
    return _matrix(merges, positions, steps), merges.embeddings.ids[positions]


def plot_linkage(Z: Floats, ids: Strings, ax: Axes | None = None, **options: Any) -> dict[str, Any]:
    """Draw a linkage matrix with SciPy: the leaves named by their ids, the heights from 0.

    Args:
        Z: from `group_linkage` or `class_linkage`.
        ids: the names of the leaves.
        ax: where to draw; None for pyplot's current axes.
        options: passed on to `scipy.cluster.hierarchy.dendrogram`, as ``orientation`` or ``truncate_mode``.

    Returns:
        What SciPy returns: the positions and the order of the leaves.

    Raises:
        MissingExtraError: SciPy is not installed.
    """
    hierarchy = require("scipy.cluster.hierarchy", "sklearn")
    if ax is None:
        import matplotlib.pyplot as plt

        ax = plt.gca()
    sideways = options.get("orientation") in ("left", "right")
    drawn: dict[str, Any] = hierarchy.dendrogram(Z, labels=ids, ax=ax, **options)
    (ax.set_xlabel if sideways else ax.set_ylabel)("height (1 − cosine)")
    return drawn


def children(n: int, a: Ints, b: Ints) -> tuple[Ints, Ints]:
    """Return the two nodes that each merge joins, the smaller first, and the size of the resulting node.

    Leaves are the nodes 0 to n − 1 and merge t makes node n + t, as in SciPy and scikit-learn.

    Args:
        n: the number of leaves.
        a, b: int64[m], a leaf of each of the two clusters that a merge joins, the merges in order.

    Returns:
        int64[m, 2] and int64[m].
    """
    nodes, sizes = np.empty((len(a), 2), dtype=np.int64), np.empty(len(a), dtype=np.int64)
    _children(n, a, b, nodes, sizes)
    return nodes, sizes


def _touching(merges: Merges, positions: Ints) -> tuple[Bools, Bools]:
    """Find the merges with both ends among `positions`, and those with one; bool[m] each.

    Merges are a forest over the images, so k images are connected among themselves where k − 1 merges have both ends
    among them. They are a group of the tree if until then no merge has joined one of them with another image.
    """
    member = np.zeros(len(merges.embeddings), dtype=bool)
    member[positions] = True
    return member[merges.a] & member[merges.b], member[merges.a] != member[merges.b]


def _matrix(merges: Merges, positions: Ints, steps: Ints) -> Floats:
    a, b = (np.searchsorted(positions, side[steps]) for side in (merges.a, merges.b))
    nodes, sizes = children(len(positions), a, b)
    return np.column_stack([nodes, merges.height[steps], sizes]).astype(np.float64)


@kernel
def _children(n: int, a: Ints, b: Ints, nodes: Ints, sizes: Ints) -> None:
    """Union-find over nodes: parents have larger numbers, and the root is the last node of its cluster."""
    parent = np.arange(n + len(a))
    size = np.ones(n + len(a), dtype=np.int64)
    for t in range(len(a)):
        x, y = a[t], b[t]
        while parent[x] != x:
            parent[x] = parent[parent[x]]
            x = parent[x]
        while parent[y] != y:
            parent[y] = parent[parent[y]]
            y = parent[y]
        parent[x] = parent[y] = n + t
        size[n + t] = sizes[t] = size[x] + size[y]
        nodes[t, 0], nodes[t, 1] = min(x, y), max(x, y)
