"""Which clusters can ever meet: the connected components of a graph of pairs, and how they are dealt to threads."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

from .distances import Positions

Shares = npt.NDArray[np.uint16]

MOSTLY = 0.9  # a component with more than this share of the pairs leaves nothing for other threads
LARGE = 1000  # so many components are dealt to the threads one by one, the others in turn


def fixed(array: npt.NDArray[Any], dtype: npt.DTypeLike = np.int32) -> npt.NDArray[Any]:
    """Return a read-only view in C order: kernels are compiled for one type of array, whatever the caller has."""
    view: npt.NDArray[Any] = np.ascontiguousarray(array, dtype=dtype).view()
    view.flags.writeable = False
    return view


def united(root: Positions, *pairs: npt.NDArray[Any]) -> Positions:
    """Return a root of each point's component, when a[k] and b[k] are in one for every k.

    Args:
        root: int32[n], from an earlier call, or each point itself; it is not changed.
        pairs: a, b and perhaps another a, b: integer[k] each.
    """
    component = root.copy()
    for a, b in zip(pairs[::2], pairs[1::2], strict=True):
        _unite(component, fixed(a), fixed(b))
    flatten(component)
    return component


def shares(component: Positions, i: Positions, threads: int) -> Shares | None:
    """Deal components to threads, with about as many pairs for each.

    Args:
        component: int32[n], a root of each point's component.
        i: int32[k], a point of each pair.
        threads: how many.

    Returns:
        uint16[n], the thread that each point goes to; None where one component has nearly all pairs.
    """
    work = np.bincount(component[i], minlength=len(component))
    if work.max() > MOSTLY * len(i):
        return None
    order = np.argsort(-work, kind="stable")[: np.count_nonzero(work)]
    dealt = np.arange(len(order)) % threads
    load = np.bincount(dealt[LARGE:], weights=work[order[LARGE:]], minlength=threads)
    for c, pairs in enumerate(work[order[:LARGE]]):
        dealt[c] = load.argmin()
        load[dealt[c]] += pairs
    share = np.zeros(len(component), dtype=np.uint16)
    share[order] = dealt
    return share[component]


@njit(cache=True, nogil=True)
def flatten(root: Positions) -> None:
    """Make each point's way to its root one step."""
    for point in range(len(root)):
        root[point] = _find(root, point)


@njit(cache=True, nogil=True)
def _unite(root: Positions, a: Positions, b: Positions) -> None:
    for k in range(len(a)):
        one, other = _find(root, a[k]), _find(root, b[k])
        root[max(one, other)] = min(one, other)


@njit(cache=True, nogil=True)
def _find(root: Positions, point: int) -> int:
    """Return the root, halving the path to it."""
    while root[point] != point:
        root[point] = root[root[point]]
        point = root[point]
    return point
