"""Growing the tree: how far to look for pairs, when to look farther, and what fits into memory.

Nothing here decides what comes out. A radius only says which pairs are looked at together; what a walk over them leaves
undecided the next one goes on with.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from .distances import Doubles
from .memory import BYTES_PER_PAIR, MOST_PAIRS, MemoryBudgetError, Resources
from .neighbors import NeighborGraph, TooManyPairsError, neighbor_graph
from .points import Indices, Points
from .sample import PairSample, sample_pairs
from .walk import Clusters, Counted, counted, walk


@dataclass(frozen=True)
class Task:
    """What to grow.

    Attributes:
        points: no two of them equal, but for those apart.
        apart: int64[q], x·n + y of the pairs x < y that must never merge, increasing.
        merges: how many from nothing, or None for all up to …
        limit: … this height.
        resources: what may be used.
    """

    points: Points
    apart: Indices
    merges: int | None
    limit: float
    resources: Resources


class Start(NamedTuple):
    """Where to go on from: clusters and counts after all pairs up to `reached`, and the merges that led there."""

    clusters: Clusters
    reached: float
    i: Indices
    j: Indices
    d: Doubles


class Grown(NamedTuple):
    """Merges of points, in increasing (d, i, j).

    Attributes:
        i, j: int64[m], the pair that closed each.
        d: float64[m], its dissimilarity.
        complete_to: every merge up to this height is here; infinity where there are no more.
        counted: the counts after all pairs up to there; None where they are not known.
    """

    i: Indices
    j: Indices
    d: Doubles
    complete_to: float
    counted: Counted | None


def grow(task: Task, start: Start) -> Grown:
    """Walk shell by shell until there are enough merges.

    Raises:
        MemoryBudgetError: the pairs that this depth needs don't fit into memory.
    """
    n = len(task.points)
    affordable = min(task.resources.bytes // BYTES_PER_PAIR, MOST_PAIRS)
    sample = sample_pairs(task.points)
    radius = task.limit if task.merges is None else max(sample.first_radius(task.merges / n), start.reached)
    _check_fits(task, sample, radius, affordable)

    clusters, reached = start.clusters, start.reached
    merges = [(start.i, start.j, start.d)]
    done = len(start.d)
    while True:
        graph = _pairs(task, radius, reached, affordable - len(clusters.a), done)
        wanted = None if task.merges is None else task.merges - done
        closing, clusters = walk(
            clusters, graph.i, graph.j, graph.d, until=wanted, threads=task.resources.workers
        )
        shell = (graph.i[closing].astype(np.int64), graph.j[closing].astype(np.int64), graph.d[closing])
        del graph
        merges.append(shell)
        done += len(closing)
        enough = wanted is None or len(closing) >= wanted
        reached = float(shell[2][-1]) if wanted is not None and enough else radius
        if enough or math.isinf(radius) or done == n - 1:
            break
        radius = _wider(sample, reached, affordable - len(clusters.a))
        if radius <= reached:
            raise _too_deep(task, BYTES_PER_PAIR * affordable * 2, done * 9 // 10)
    i, j, d = (np.concatenate(column) for column in zip(*merges, strict=True))
    return Grown(i, j, d, reached, counted(clusters))


def _pairs(task: Task, radius: float, above: float, most: int, done: int) -> NeighborGraph:
    """Return the pairs of a shell that may merge."""
    try:
        graph = neighbor_graph(task.points, radius, above=above, most=most, threads=task.resources.workers)
    except TooManyPairsError as error:
        raise _too_deep(task, error.found * BYTES_PER_PAIR, done) from None
    if not len(task.apart):
        return graph
    code = graph.i.astype(np.int64) * len(task.points) + graph.j
    at = np.minimum(np.searchsorted(task.apart, code), len(task.apart) - 1)
    free = task.apart[at] != code
    return NeighborGraph(graph.i[free], graph.j[free], graph.d[free], radius, above)


def _check_fits(task: Task, sample: PairSample, radius: float, affordable: int) -> None:
    """Say what a cut needs and what would fit before any pair is collected."""
    pairs = sample.pairs(radius)
    if pairs > affordable:
        fitting = sample.radius(0.9 * affordable)
        mutual = int(np.searchsorted(sample.nearest, fitting)) * sample.points // (2 * len(sample.nearest))
        raise _too_deep(task, int(pairs * BYTES_PER_PAIR), mutual)  # two points a merge


def _too_deep(task: Task, needed: int, fits: int) -> MemoryBudgetError:
    asked = f"height {task.limit:.6g}" if task.merges is None else f"{task.merges:,} merges"
    return MemoryBudgetError(
        asked, needed=needed, allowed=task.resources.bytes, fits=fits, n=len(task.points)
    )


def _wider(sample: PairSample, radius: float, affordable: int) -> float:
    """Return a radius with about four times the pairs, or with as many as fit; `radius` itself where none do."""
    pairs = max(sample.pairs(radius), sample.points / 4)
    wider = max(sample.radius(4 * pairs), 1.5 * radius)
    if sample.pairs(wider) - sample.pairs(radius) > affordable:
        wider = max(sample.radius(sample.pairs(radius) + 0.8 * affordable), radius)
        if sample.pairs(wider) < 1.1 * pairs:
            return radius
    return wider
