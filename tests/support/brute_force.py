"""Near pairs the slow way, and cells as bad as they can be made."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tenpercent.linkage.cells import Cells, divide, one_cell
from tenpercent.linkage.distances import dissimilarities
from tenpercent.linkage.neighbors import NeighborGraph
from tenpercent.linkage.points import Points

Found = tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.float64]]

CELLS = ("whole", "one", "some", "each", "twice", "far", "between", "anywhere", "beside")


def all_points(points: Points) -> npt.NDArray[np.float64]:
    """Return them as float64[n, d]."""
    return points.take(np.arange(len(points)))


def pairs_within(points: Points, radius: float = np.inf, above: float = -1.0) -> Found:
    """Return every pair of a set, in increasing (d, i, j)."""
    exact = all_points(points)
    i, j = np.triu_indices(len(exact), 1)
    return _in_order(i, j, dissimilarities(exact, i, j), radius, above)


def pairs_between(left: Points, right: Points, radius: float = np.inf) -> Found:
    """Return every pair of two sets, in increasing (d, i, j)."""
    i, j = (side.ravel() for side in np.indices((len(left), len(right))))
    return _in_order(i, j, dissimilarities(all_points(left), i, j, all_points(right)), radius, -1.0)


def _in_order(i, j, d, radius: float, above: float) -> Found:
    near = np.flatnonzero((d <= radius) & (d > above))
    order = near[np.lexsort((j[near], i[near], d[near]))]
    return i[order], j[order], d[order]


def assert_graph_is(graph: NeighborGraph, pairs: Found) -> None:
    """Compare bit by bit."""
    assert (graph.i.dtype, graph.j.dtype, graph.d.dtype) == (np.int32, np.int32, np.float64)
    assert np.array_equal(graph.i, pairs[0])
    assert np.array_equal(graph.j, pairs[1])
    assert graph.d.tobytes() == pairs[2].tobytes()


def cells_around(points: Points, centres: npt.ArrayLike, middle: npt.ArrayLike = 0.0) -> Cells:
    """Divide points by the nearest of any centres, as good as float32 sees them from any middle."""
    middle = np.broadcast_to(np.asarray(middle, dtype=np.float64), (points.width,)).copy()
    return divide(points, (np.asarray(centres) - middle).astype(np.float32), middle, left=1.0, threads=1)


def bad_cells(kind: str, points: Points, rng: np.random.Generator) -> Cells:
    """Divide points as no k-means would; `kind` is one of `CELLS`."""
    if kind == "whole" or len(points) == 0:
        return one_cell(points)
    exact = all_points(points)
    some = exact[rng.integers(0, len(exact), size=rng.integers(2, 12))]
    if kind == "one":
        return cells_around(points, some[:1])
    if kind == "each":
        return cells_around(points, exact)
    if kind == "twice":
        return cells_around(points, np.concatenate([some, some]))
    if kind == "far":  # all points in one cell, and most cells without any
        return cells_around(points, np.concatenate([some[:1], 1000.0 + 100.0 * rng.normal(size=some.shape)]))
    if kind == "between":  # points exactly on bisectors
        return cells_around(points, (some + exact[rng.integers(0, len(exact), size=len(some))]) / 2.0)
    if kind == "anywhere":
        return cells_around(points, 3.0 * rng.normal(size=some.shape))
    if kind == "beside":  # seen from so far away that float32 sees next to nothing
        return cells_around(points, some, middle=1e4)
    return cells_around(points, some)
