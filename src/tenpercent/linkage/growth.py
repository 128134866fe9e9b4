"""Growth of the tree: the radius of the search, when to widen it, when to finish densely, and what fits into memory.

Nothing here affects the result. A radius only sets which pairs are handled together; what a walk over them leaves
undecided is left to the next one or, where most pairs would be needed, to the dense end.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from .components import united
from .dense import dense_merges
from .distances import Doubles
from .farthest import farthest_bytes
from .memory import MemoryBudgetError, Resources
from .neighbors import PairSearch
from .pairs import BYTES_IN_MEMORY, RECORD, Pairs, without
from .points import Indices, Points
from .radii import LIVE, dense_pays, edges_of, first_radius, wider_radius
from .sample import sample_pairs
from .scratch import DistanceShell, Scratch, WalkCheckpoint
from .walk import BYTES_PER_EDGE, Clusters, PairCounts, counted, restored, walk

BYTES_PER_POINT = 160  # for points, cells and clusters
MOST_PIECE = 1 << 28  # pairs walked at once

EDGES = 0.75  # the fraction of the memory for counted pairs of clusters
BYTES_PER_THREAD = 12 << 20  # products, what the filter passes and what of it is near, candidates
ROWS_OF_TILE = 1024  # at most, and as many columns; candidates are searched for in blocks of as many
BYTES_PER_COORDINATE = 28  # of a row and a column in float32 and float64, and of a candidate
LEAST = 4 << 20  # below, pairs would come in too many small files

AT_ONCE = (
    1 << 30
)  # bytes: a search takes less memory, so larger matrices wait until it has merged what is near


@dataclass(frozen=True)
class GrowthTask:
    """Tree to grow.

    Attributes:
        points: no two of them equal, but for those apart.
        apart: int64[q, 2], pairs x < y that must never merge, sorted.
        merges: number of merges, or None for all up to …
        limit: … this height.
        resources: memory, threads and folder.
    """

    points: Points
    apart: Indices
    merges: int | None
    limit: float
    resources: Resources


class GrowthStart(NamedTuple):
    """State to resume from: clusters and counts after all pairs up to `reached`, and the merges so far.

    No pairs lie at 0, except those apart: so nothing is reached at 0.
    """

    clusters: Clusters
    reached: float
    i: Indices
    j: Indices
    d: Doubles


class GrowthResult(NamedTuple):
    """Merges of points, in increasing (d, i, j).

    Attributes:
        i, j: int64[m], the pair that closed each.
        d: float64[m], its dissimilarity.
        whole: whether there are no more.
        counted: the counts after all pairs up to the last d, and those reported at its height, or up to the limit; None
            where they are not known.
    """

    i: Indices
    j: Indices
    d: Doubles
    whole: bool
    counted: PairCounts | None


def grow(task: GrowthTask, start: GrowthStart) -> GrowthResult:
    """Walk shell by shell until there are enough merges.

    Raises:
        MemoryBudgetError: this depth does not fit into memory.
        ScratchError: pairs that outgrew the memory can't be written.
    """
    growth = _Growth(task, start)
    if growth.done >= growth.wanted or growth.whole():
        return growth.grown()
    radius = growth.begin()
    dense = growth.dense_pays(radius)
    while not dense and not growth.walk_to(radius):
        if not (dense := growth.dense_pays(growth.reached)):
            radius = growth.wider()
    if dense:
        growth.finish_densely()
    growth.scratch.clear()
    return growth.grown()


class _Growth:
    """State of the growth: clusters after all pairs up to `reached`, and the merges so far.

    A shell is the set of pairs handled together; `above` is where the current one begins.
    """

    def __init__(self, task: GrowthTask, start: GrowthStart) -> None:
        self.task = task
        self.n = len(task.points)
        self.wanted = self.n if task.merges is None else task.merges
        self.clusters = start.clusters
        self.dense = False
        self.above = self.reached = start.reached
        self.merges = [(start.i, start.j, start.d)]
        self.done = len(start.d)
        self.codes = task.apart[:, 0] * self.n + task.apart[:, 1]

    # ---- how far -------------------------------------------------------------------------------------------------

    def begin(self) -> float:
        """Return a radius, from a sample, that probably holds the merges wanted or, for a deep cut, the first half."""
        task = self.task
        self.sample = sample_pairs(task.points, task.resources.workers)
        self.budget = MemoryShares.of(task)
        self.scratch = Scratch(task.resources.scratch, task.points, task.apart)
        if (standing := self.scratch.standing()) is not None and self._take_up(standing):
            return standing.shell.radius if self.reached < standing.shell.radius else self.wider()
        radius = task.limit if task.merges is None else first_radius(self.sample, self.wanted)
        if radius <= self.reached and task.merges is not None:
            return self.wider()
        self._check(radius)
        return radius

    def _take_up(self, standing: WalkCheckpoint) -> bool:
        """Resume the state of an earlier process, if it is farther than here and not too far; return whether it was."""
        i, j, d = standing.i, standing.j, standing.d
        too_far = standing.shell.radius > self.task.limit or len(d) >= self.wanted
        if standing.reached <= self.reached or too_far:
            return False
        self.clusters = restored(self.n, i, j, standing.counted)
        self.above, self.reached = standing.shell.above, standing.reached
        self.merges, self.done = [(i, j, d)], len(d)
        return True

    def wider(self) -> float:
        """Return a wider radius; the next shell begins where this one ends."""
        heights = np.concatenate([d for _, _, d in self.merges])
        radius = wider_radius(self.sample, self.wanted, self.reached, heights)
        self._check(radius)
        self.above = self.reached
        return radius

    def dense_pays(self, radius: float) -> bool:
        """Return whether the dense end is the faster way to the remaining merges, and fits.

        Args:
            radius: of the search, so far or next.
        """
        if self.task.merges is None:
            return False
        begins, threads = not self.done, self.task.resources.workers
        left = max(self.n - self.done, 1)
        needed = farthest_bytes(left, self.n, self.task.points.width, threads=threads)
        fits = needed < min(self.budget.bytes, AT_ONCE if begins else math.inf)
        return fits and dense_pays(self.sample, self.wanted, self.done, radius, self.task.points.width)

    # ---- what fits -----------------------------------------------------------------------------------------------

    def _check(self, radius: float) -> None:
        """Raise with what a depth needs, and what would fit, before any pair is collected for it."""
        pairs = self.sample.pairs(radius)
        if edges_of(pairs, self.n) > self.budget.edges:
            fitting = self.sample.radius(self.budget.edges**2 / (LIVE**2 * self.n))
            raise self._too_deep(edges_of(pairs, self.n), self.sample.merges(fitting))
        beyond = (pairs - self.sample.pairs(self.reached) - self.budget.pairs) * RECORD.itemsize
        if beyond > 0:
            self.scratch.check(beyond)

    def _too_deep(self, edges: float, fits: int) -> MemoryBudgetError:
        task, budget = self.task, self.budget
        asked = f"height {task.limit:.6g}" if task.merges is None else f"{task.merges:,} merges"
        needed = budget.base + int(edges * BYTES_PER_EDGE / EDGES)
        return MemoryBudgetError(asked, needed=needed, allowed=budget.bytes, fits=fits, n=self.n)

    # ---- walking -------------------------------------------------------------------------------------------------

    def walk_to(self, radius: float) -> bool:
        """Walk all pairs up to a radius; return whether the work is complete."""
        task = self.task
        radius = self._level(radius)
        # Larger tiles may have what the walk over the pairs takes afterwards.
        room = self.budget.pairs * BYTES_IN_MEMORY
        join = PairSearch(task.points, None, radius, self.above, task.resources.workers, room=room)
        stop = math.inf
        with self.scratch.store(join, self.budget.pairs) as store:
            for pairs in store.pieces():
                rest = without(_between(pairs, self.reached, math.inf), self.codes, self.n)
                if math.isinf(stop) and self._walk(rest, task.merges):
                    self.reached = float(self.merges[-1][2][-1])
                    stop = self._level(self.reached)
                if not math.isinf(stop):
                    self._walk(_between(rest, self.reached, stop), None)
                elif len(pairs.d):
                    self.reached = max(self.reached, float(pairs.d[-1]))
                    self._keep(radius)
                if len(pairs.d) and pairs.d[-1] > stop:
                    break
        self.reached = min(stop, radius)
        if math.isinf(stop):
            self._keep(radius)
        return not math.isinf(stop) or task.merges is None or math.isinf(radius) or self.whole()

    def _keep(self, radius: float) -> None:
        """Save the state of the walk over the shell up to `radius`, now and then."""
        if self.scratch.keeps():
            shell = DistanceShell(self.above, radius)
            self.scratch.keep(WalkCheckpoint(shell, self.reached, *self._so_far(), counted(self.clusters)))

    def _level(self, d: float) -> float:
        """Return the largest dissimilarity reported as the same height as `d`."""
        return self.task.points.upto(float(self.task.points.heights(np.asarray(d))))

    def _walk(self, pairs: Pairs, merges: int | None) -> bool:
        """Walk pairs until there are enough merges in all; return whether there are."""
        wanted = None if merges is None else merges - self.done
        closing, self.clusters = walk(
            self.clusters, *pairs, until=wanted, threads=self.task.resources.workers
        )
        self._add(pairs.i[closing].astype(np.int64), pairs.j[closing].astype(np.int64), pairs.d[closing])
        if wanted is not None and len(closing) >= wanted:
            return True
        if len(self.clusters.a) > self.budget.edges:
            raise self._too_deep(2.0 * len(self.clusters.a), self.done * 9 // 10)
        return False

    def finish_densely(self) -> None:
        """Make the remaining merges from the matrix of all clusters."""
        task = self.task
        everything = task.points.take(np.arange(self.n, dtype=np.int32))
        i, j, d = dense_merges(
            everything, self.clusters.root, apart=task.apart, threads=task.resources.workers
        )
        more = self.wanted - self.done
        end = len(d) if more > len(d) else int(np.searchsorted(d, self._level(d[more - 1]), side="right"))
        self._add(i[:end], j[:end], d[:end])
        self.dense = True

    def _so_far(self) -> tuple[Indices, Indices, Doubles]:
        """Return i, j and d of all merges."""
        i, j, d = (np.concatenate(column) for column in zip(*self.merges, strict=True))
        return i, j, d

    def _add(self, i: Indices, j: Indices, d: Doubles) -> None:
        self.merges.append((i, j, d))
        self.done += len(d)

    def whole(self) -> bool:
        """Return whether no two clusters may merge: there is one, or any two hold a pair apart."""
        left = self.n - self.done
        if left * (left - 1) // 2 > len(self.codes):
            return False
        root = self.clusters.root
        if self.dense:
            root = united(root, self.merges[-1][0], self.merges[-1][1])
        a, b = root[self.task.apart.T]
        return (
            len(np.unique(np.minimum(a, b).astype(np.int64) * self.n + np.maximum(a, b)))
            == left * (left - 1) // 2
        )

    def grown(self) -> GrowthResult:
        """Return all merges."""
        return GrowthResult(*self._so_far(), self.whole(), None if self.dense else counted(self.clusters))


def _between(pairs: Pairs, above: float, upto: float) -> Pairs:
    """Return those of sorted pairs with above < d ≤ upto."""
    part = slice(*(int(np.searchsorted(pairs.d, end, side="right")) for end in (above, upto)))
    return Pairs(pairs.i[part], pairs.j[part], pairs.d[part])


# ---- resources ---------------------------------------------------------------------------------------------------


class MemoryShares(NamedTuple):
    """Division of the memory.

    Attributes:
        bytes: all of it.
        base: for points and clusters.
        pairs: number of pairs that may be in memory while they are found, and while they are walked.
        edges: number of counted pairs of clusters.
    """

    bytes: int
    base: int
    pairs: int
    edges: int

    @classmethod
    def of(cls, task: GrowthTask) -> MemoryShares:
        """Divide the available memory.

        Raises:
            MemoryBudgetError: it is not enough to begin.
        """
        n = len(task.points)
        rows = BYTES_PER_COORDINATE * min(n, ROWS_OF_TILE)
        tiles = task.resources.workers * (BYTES_PER_THREAD + rows * task.points.width)
        base = n * BYTES_PER_POINT + tiles
        rest = task.resources.bytes - base
        if rest < LEAST:
            raise MemoryBudgetError(
                "any clustering", needed=base + LEAST, allowed=task.resources.bytes, fits=0, n=n
            )
        pairs = min(int(rest * (1 - EDGES) / 2 / BYTES_IN_MEMORY), MOST_PIECE)
        return cls(task.resources.bytes, base, pairs, int(rest * EDGES / BYTES_PER_EDGE))
