"""Clusters that can ever meet: the connected components of a graph of pairs, and their distribution to threads."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from .distances import Positions, fixed
from .kernels import inner, kernel

Shares = npt.NDArray[np.uint16]

MOSTLY = 0.9  # a component with more than this fraction of the pairs leaves nothing for other threads
LARGE = 1000  # so many of the largest components are dealt to the threads one by one, the others in turn


def united(root: Positions, *pairs: npt.NDArray[Any]) -> Positions:
    """Return a root of each point's component, when a[k] and b[k] are in one for every k.

    Args:
        root: int32[n], from an earlier call, or each point itself; it is not changed. Roots that are the smallest
            points of their components remain so.
        pairs: a, b and perhaps another a, b: integer[k] each.
    """
    component = root.copy()
    for a, b in zip(pairs[::2], pairs[1::2], strict=True):
        _unite(component, fixed(a), fixed(b))
    flatten(component)
    return component


def shares(component: Positions, i: Positions, threads: int) -> Shares | None:
    """Distribute components to threads, with about as many pairs for each.

    Args:
        component: int32[n], a root of each point's component.
        i: int32[k], a point of each pair.
        threads: number of threads.

    Returns:
        uint16[n], the thread of each point; None where one component has nearly all pairs.
    """
    work = np.bincount(component[i], minlength=len(component))
    return None if work.max() > MOSTLY * len(i) else dealt(work, threads)[component]


def dealt(work: npt.NDArray[np.int64], threads: int) -> Shares:
    """Distribute components by the number of their pairs.

    Args:
        work: int64[n], the number of pairs of each component, at its root.
        threads: number of shares, at most 2¹⁶.

    Returns:
        uint16[n], the share of each component at its root; 0 for those without pairs.
    """
    some = np.flatnonzero(work)
    order = some[np.argsort(-work[some], kind="stable")]
    own = np.arange(len(order)) % threads
    load = np.bincount(own[LARGE:], weights=work[order[LARGE:]], minlength=threads)
    for c, pairs in enumerate(work[order[:LARGE]]):
        own[c] = load.argmin()
        load[own[c]] += pairs
    share = np.zeros(len(work), dtype=np.uint16)
    share[order] = own
    return share


@kernel
def flatten(root: Positions) -> None:
    """Make each point's path to its root one step long."""
    for point in range(len(root)):
        root[point] = find(root, np.int32(point))


@kernel
def _unite(root: Positions, a: Positions, b: Positions) -> None:
    for k in range(len(a)):
        one, other = find(root, a[k]), find(root, b[k])
        if one < other:
            root[other] = one
        else:
            root[one] = other


@inner
def find(root: Positions, point: int) -> int:
    """Return the root of a point's component, halving the path to it."""
    while root[point] != point:
        root[point] = root[root[point]]
        point = root[point]
    return point
