"""Every pair of vectors within a radius, none missed: a float32 filter with a proven margin, then float64."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cache
from threading import local
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit
from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped]

from ..progress import bar
from .distances import Doubles, Positions, dissimilarities
from .memory import MemoryBudgetError, in_words

Singles = npt.NDArray[np.float32]
Found = tuple[Positions, Positions, Doubles]

TILE = 512  # a tile of products is 1 MiB: it stays in the cache of a core
WIDEST = 1 << 20  # the margin's derivation wants (d + 4)·2⁻²⁴ well below 1


@dataclass(frozen=True, eq=False)
class NeighborGraph:
    """All pairs of points with dissimilarity in (`above`, `radius`], in increasing (d, i, j).

    Attributes:
        i: int32[k], the smaller position of each pair.
        j: int32[k], the larger position.
        d: float64[k], the dissimilarity.
        radius: every pair up to it is here …
        above: … from this one on, which is left out; −1 where nothing is left out.
    """

    i: Positions
    j: Positions
    d: Doubles
    radius: float
    above: float = -1.0

    def __post_init__(self) -> None:
        for array in (self.i, self.j, self.d):
            array.flags.writeable = False

    def __len__(self) -> int:
        return len(self.d)


def filter_margin(width: int) -> float:
    """Return how far 1 − p can be from the canonical dissimilarity, p being a float32 dot product.

    With u = 2⁻²⁴ and γₖ = ku/(1 − ku) (Higham, Accuracy and Stability of Numerical Algorithms, section 3.1):
    rounding both vectors to float32 changes each product by a factor in (1 ± u)², and multiplying and adding d of
    them, in any order and with or without fused multiply-add, by a further factor within 1 ± γ_d. Together that is
    within 1 ± γ_(d+2). As Σ|uₖvₖ| ≤ |u||v|, which is 1 but for float64's rounding, the error of p is at most
    γ_(d+2), plus what float64 adds: less than (d + 6)·2⁻⁵⁰ in all. That, and what is lost below float32's smallest
    number, is far less than γ_(d+4) − γ_(d+2) ≥ 2⁻²³ for d ≤ 2²⁰. Hence γ_(d+4). The whole of it: docs/clustering.md.
    """
    if width > WIDEST:
        raise ValueError(f"vectors have {width} values; the float32 filter is proven for up to {WIDEST}")
    k = (width + 4) * 2.0**-24
    return k / (1.0 - k)


def neighbor_graph(
    units: Doubles,
    radius: float,
    *,
    above: float = -1.0,
    tile: int = TILE,
    threads: int | None = None,
    most: int | None = None,
) -> NeighborGraph:
    """Find every pair with `above` < dissimilarity ≤ `radius`.

    Tiles of the upper triangle are multiplied in float32; what lies within radius + margin is computed again by
    `dissimilarities`, which decides. So neither `tile` nor `threads` changes a bit of the result.

    Args:
        units: float64[n, d], from `unit_vectors`.
        radius: the largest dissimilarity that is wanted; infinity for all pairs.
        above: leave out pairs up to this one (those of a smaller radius, found before).
        tile: rows and columns of a tile.
        threads: how many to use; None for as many as this process may.
        most: how many pairs may come; None for any number.

    Returns:
        The pairs in increasing (d, i, j).

    Raises:
        MemoryBudgetError: there are more than `most`.
    """
    n, width = units.shape
    lowest = _round_down(1.0 - radius - filter_margin(width))
    singles = units.astype(np.float32)
    space = local()

    def compare(rows: int) -> Found:
        """Compare one band of rows with itself and all later rows."""
        if not hasattr(space, "product"):
            space.product = np.empty((tile, tile), dtype=np.float32)
            space.i, space.j = np.empty(tile * tile, dtype=np.int32), np.empty(tile * tile, dtype=np.int32)
        left = singles[rows : rows + tile]
        band = []
        for columns in range(rows, n, tile):
            right = singles[columns : columns + tile]
            product = np.matmul(left, right.T, out=space.product[: len(left), : len(right)])
            count = _at_least(product, lowest, rows, columns, space.i, space.j)
            i, j = space.i[:count], space.j[:count]
            d = dissimilarities(units, i, j)
            keep = (d > above) & (d <= radius)
            band.append((i[keep], j[keep], d[keep]))
        return _joined(band)

    found: list[Found] = []
    total = 0
    with bar(n * (n - 1) // 2, "Comparing", "pairs") as shown, one_blas_thread():
        for rows, pairs in zip(
            range(0, n, tile), _in_order(compare, range(0, n, tile), threads), strict=True
        ):
            found.append(pairs)
            total += len(pairs[0])
            if most is not None and total > most:
                raise MemoryBudgetError(
                    f"there are more than {most:,} pairs within {radius:.6g} ({in_words(most)} of memory), more than a "
                    "sample said; ask for fewer merges, or give more memory"
                )
            high = min(tile, n - rows)
            shown.update(high * (high - 1) // 2 + high * (n - rows - high))
    i, j, d = _joined(found)
    found.clear()
    order = _by_key(i, j, d)
    return NeighborGraph(i[order], j[order], d[order], radius, above)


def one_blas_thread() -> AbstractContextManager[Any]:
    """Keep BLAS to one thread: the threads here are our own, a tile each."""
    context: AbstractContextManager[Any] = _blas().limit(limits=1, user_api="blas")
    return context


@cache
def _blas() -> ThreadpoolController:
    return ThreadpoolController()  # looks through all loaded libraries, too slow for once a class


def cpus() -> int:
    """Return how many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _in_order(work: Callable[[int], Found], starts: range, threads: int | None) -> Iterator[Found]:
    """Yield work(start) for each start, in order, computed by several threads."""
    workers = min(threads or cpus(), len(starts))
    if workers <= 1:
        yield from map(work, starts)
        return
    pool = ThreadPoolExecutor(workers)
    try:
        yield from pool.map(work, starts)
    finally:
        pool.shutdown(cancel_futures=True)  # on ctrl-C the bands not yet begun are dropped


def _joined(parts: list[Found]) -> Found:
    if not parts:
        return np.empty(0, np.int32), np.empty(0, np.int32), np.empty(0, np.float64)
    i, j, d = zip(*parts, strict=True)
    return np.concatenate(i), np.concatenate(j), np.concatenate(d)


def _by_key(i: Positions, j: Positions, d: Doubles) -> npt.NDArray[np.int64]:
    """Return the order by (d, i, j): numpy's quick sort by d, then the runs of equal d put right."""
    order = np.argsort(d)
    equal = np.diff(d[order]) == 0.0
    tied = np.zeros(len(d), dtype=np.bool_)
    tied[1:] |= equal
    tied[:-1] |= equal
    run = order[tied]
    order[tied] = run[np.lexsort((j[run], i[run], d[run]))]
    return order


def _round_down(value: float) -> np.float32:
    """Return the largest float32 that is not above `value`."""
    single = np.float32(value)
    return single if float(single) <= value else np.nextafter(single, np.float32(-np.inf))


@njit(cache=True, nogil=True)
def _at_least(
    product: Singles, lowest: np.float32, rows: int, columns: int, found_i: Positions, found_j: Positions
) -> int:
    """List the entries ≥ `lowest` above the diagonal; return how many."""
    count = 0
    height, width = product.shape
    for r in range(height):
        row = product[r]
        hits = np.int32(0)
        for c in range(width):  # branch-free, so it becomes vector instructions; most rows end here
            hits += np.int32(1) if row[c] >= lowest else np.int32(0)
        if hits == 0:
            continue
        for c in range(r + 1 if rows == columns else 0, width):
            if row[c] >= lowest:
                found_i[count] = rows + r
                found_j[count] = columns + c
                count += 1
    return count
