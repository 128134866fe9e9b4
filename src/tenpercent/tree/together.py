"""Complete linkage of more vectors than fit into memory, as tasks: the first merges of all of them together.

The same tree as that of `linkage.first_merges`, which this follows step by step. What that does in arrays is done in
files here, by the functions of `linkage/pieces/`; this process does only what takes a few bytes a vector.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..data.store.embeddings import Ints
from ..linkage.accelerators import worth_accelerating
from ..linkage.cells import choose_centres, drawn, k_means
from ..linkage.components import MOSTLY, Shares, united
from ..linkage.equal_rows import EqualRows
from ..linkage.farthest import farthest_bytes
from ..linkage.growth import AT_ONCE
from ..linkage.linkage import Linkage, check_depth
from ..linkage.memory import MemoryBudgetError
from ..linkage.pairs import RECORD, Pairs, joined
from ..linkage.pieces.arrays import load
from ..linkage.pieces.homes import GroupedCells, homes, route
from ..linkage.pieces.join import join
from ..linkage.pieces.plan import EDGES, Pieces
from ..linkage.pieces.rows import look
from ..linkage.pieces.shares import (
    NOBODY,
    Standing,
    connected,
    finish_densely,
    put_together,
    shared,
    split,
    walk_share,
    work_of,
)
from ..linkage.points import Points, Singles
from ..linkage.radii import LIVE, dense_pays, edges_of, first_radius, wider_radius
from ..linkage.sample import Look, PairSample, drawn_rows, gathered
from ..linkage.scratch import check_disk
from ..linkage.walk import BYTES_PER_EDGE, Counts, PairCounts
from ..tasks.task import Runner, Task
from .task_place import TaskPlace

MIDDLE = 1024  # points of which the middle of all is taken


@dataclass(frozen=True, eq=False)
class AllTogether:
    """Vectors to cluster.

    Attributes:
        vectors: a .npy file of float32 or float64 [n, d].
        merges, height, cannot_link, after: see `linkage.first_merges`.
    """

    vectors: Path
    merges: int | None = None
    height: float | None = None
    cannot_link: Ints | None = None
    after: Linkage | None = None


def first_merges_by_tasks(job: AllTogether, pieces: Pieces, folder: Path, runner: Runner) -> Linkage:
    """Return the first merges of complete linkage under cosine dissimilarity.

    Args:
        job: the vectors, and how deep.
        pieces: into how many pieces all is cut.
        folder: for the files of the tasks with these vectors and `cannot_link`; those there are not made again.
        runner: where the tasks are done.

    Raises:
        UsageError: see `linkage.first_merges`.
        MemoryBudgetError: the counts of one component don't fit into the memory of a task.
        ScratchError: the pairs would not fit on the disk.
    """
    n = len(np.load(job.vectors, mmap_mode="r"))
    check_depth(n, job.merges, job.height)
    place = TaskPlace(job.vectors, folder / f"cut-{pieces.shard}-{pieces.groups}", pieces, runner, n)
    equal = place.collapsed(job.cannot_link)
    more = None if job.merges is None else max(job.merges - len(equal.a), 0)
    limit = math.inf if job.height is None else job.height
    growth = _Growth(place, equal, more, limit, _begun(job, equal))
    growth.grow()
    (i, j, d), counts = growth.standing
    heights = np.concatenate([np.zeros(len(equal.a)), d])
    whole = growth.whole()
    complete_to = (float(heights[-1]) if len(heights) else 0.0) if job.height is None else job.height
    return Linkage(
        np.concatenate([equal.a, i]),
        np.concatenate([equal.b, j]),
        heights,
        math.inf if whole else complete_to,
        None if whole or growth.dense else counts,
    )


class _Begun(NamedTuple):
    """State to resume from: all pairs up to `reached` are walked."""

    standing: Standing
    reached: float


def _begun(job: AllTogether, equal: EqualRows) -> _Begun:
    """Return the end of an earlier result, if it can be resumed, else the very start; see `linkage._start`."""
    none, after = np.empty(0, dtype=np.int32), job.after
    beyond = (
        after is None
        or after.counted is None
        or (len(after) >= job.merges if job.merges is not None else after.complete_to > (job.height or 0.0))
    )
    if beyond or after is None or after.counted is None:
        counts = PairCounts(none, none, none.astype(np.int64))
        return _Begun(Standing(Pairs(none, none, np.empty(0)), counts), 0.0)
    own = slice(len(equal.a), None)
    merges = Pairs(after.a[own].astype(np.int32), after.b[own].astype(np.int32), after.height[own])
    return _Begun(Standing(merges, after.counted), after.complete_to)


class _Growth:
    """State of the growth, as in `linkage/growth.py`: merges and counts after all pairs up to `reached`."""

    def __init__(
        self, place: TaskPlace, equal: EqualRows, merges: int | None, limit: float, begun: _Begun
    ) -> None:
        self.place, self.merges, self.limit = place, merges, limit
        self.standing, self.reached = begun
        self.apart = equal.apart
        self.points = np.delete(np.arange(place.n, dtype=np.int32), equal.a)
        self.wanted = len(self.points) if merges is None else merges
        self.dense = False
        known, counts = self.standing
        self.component = united(np.arange(place.n, dtype=np.int32), *known[:2], *counts[:2])
        self.equal = equal

    @property
    def done(self) -> int:
        """Number of merges so far."""
        return len(self.standing.merges.d)

    def grow(self) -> None:
        """Walk shell by shell until there are enough merges."""
        if self.done >= self.wanted or self.whole():
            return
        place = self.place
        self.dropped = place.write("dropped", np.sort(self.equal.a))
        self.codes = place.write("apart", self.apart[:, 0] * place.n + self.apart[:, 1])
        self.sample = self._sampled()
        radius = self.limit if self.merges is None else first_radius(self.sample, self.wanted)
        if radius <= self.reached and self.merges is not None:
            radius = self._wider()
        dense = self._dense_pays(radius)
        while not dense and not self.walk_to(radius):
            if not (dense := self._dense_pays(self.reached)):
                radius = self._wider()
        if dense:
            self._finish_densely()

    def _sampled(self) -> PairSample:
        """Compare some points with all."""
        place = self.place
        some = place.write("sample", self.points[drawn_rows(len(self.points))])
        found = place.shards("looks", "sampling", look, place.vectors, self.dropped, some)
        return gathered(len(self.points), [Look(*load(path)) for path in found])

    def _wider(self) -> float:
        return wider_radius(self.sample, self.wanted, self.reached, self.standing.merges.d)

    def walk_to(self, radius: float) -> bool:
        """Walk all pairs up to a radius; return whether the work is complete."""
        shell = f"shell-{self.reached.hex()}-to-{radius.hex()}"
        check_disk(
            self.place.folder,
            2 * RECORD.itemsize * (self.sample.pairs(radius) - self.sample.pairs(self.reached)),
        )
        pairs = self._pairs(shell, radius)
        self.component = connected(self.component, pairs)
        walked, stopped = self._walked(shell, pairs, radius)
        d = walked.merges.d
        enough = self.merges is not None and len(d) >= self.merges
        if enough:
            radius = float(d[self.wanted - 1])
            if not stopped:  # the merges up to here are right whatever came later, but the counts went on
                walked, _ = self._walked(shell, pairs, radius)
        self.standing, self.reached = walked, radius
        return enough or self.merges is None or math.isinf(radius) or self.whole()

    def _pairs(self, shell: str, radius: float) -> list[Path]:
        """Find the pairs of a shell: return a file for each group of cells."""
        place = self.place
        middle = self._some(MIDDLE).take(np.arange(min(MIDDLE, len(self.points)))).mean(axis=0)

        def sample(size: int) -> Singles:
            some = self._some(size)
            return some.seen_from(middle, np.arange(len(some))).singles

        groups, n = place.pieces.groups, len(self.points)
        chosen = choose_centres(sample, n, place.rows.shape[1], n, radius)
        centres = k_means(sample(8 * groups), min(groups, n)) if chosen is None else chosen.centres
        file = place.write(f"{shell}/centres", centres, middle)
        shard, threads = (place.vectors, self.dropped), place.pieces.threads
        at_home = place.shards(f"{shell}/homes", "finding cells of", homes, *shard, file, threads=threads)
        grouped = GroupedCells.of(centres, middle, at_home, groups)
        cells = place.write(f"{shell}/cells", *grouped)
        routes = place.shards(
            f"{shell}/routes", "routing", route, *shard, cells, at_home, radius=radius, threads=threads
        )
        own = [{"group": group} for group in np.unique(grouped.group).tolist()]
        left = 1.0 if chosen is None else chosen.left
        return place.each(
            f"{shell}/pairs",
            "comparing group",
            join,
            [(place.vectors, cells, self.codes, *routes)] * len(own),
            own,
            gpu=worth_accelerating(place.rows.shape[1], left * n * n / 2 / len(own)),
            above=self.reached,
            radius=radius,
            memory=place.pieces.memory,
            left=left,
            threads=threads,
        )

    def _some(self, size: int) -> Points:
        """Return some points, drawn with a fixed seed."""
        return Points.of(self.place.rows[self.points[drawn(len(self.points), size)]])

    def _walked(self, shell: str, pairs: list[Path], upto: float) -> tuple[Standing, bool]:
        """Walk the pairs of a shell up to a dissimilarity, component by component.

        Returns:
            The state after them, and whether it is that after the merges wanted: where one component has nearly all
            pairs, one walk takes everything and stops by itself.
        """
        place, total = self.place, int((work := work_of(self.component, pairs)).sum())
        alone = int(work.max()) > MOSTLY * total
        edges = edges_of(total, len(self.points)) + len(self.standing.counts.a)
        count = 1 if alone else place.pieces.shares(edges, total)
        share = shared(self.component, work, count)
        until = self.wanted - self.done if alone and self.merges is not None else None
        if until is None:  # else it ends before its pairs do, and checks its memory on the way
            self._check(share, work, count)
        files = (
            place.write(f"{shell}/shares-{count}", share),
            place.write(f"{shell}/before", *self.standing.merges, *self.standing.counts),
        )
        parts = place.each(
            f"{shell}/parts-{count}",
            "sorting pairs of group",
            split,
            [(path, files[0]) for path in pairs],
            [{"count": count}] * len(pairs),
        )
        walks = place.each(
            f"{shell}/walks-{upto.hex()}-{count}-{until}",
            "merging share",
            walk_share,
            [(*files, *parts)] * count,
            [{"mine": mine} for mine in range(count)],
            upto=upto,
            memory=place.pieces.memory,
            beside=place.pieces.beside,
            until=until,
        )
        untouched = Standing(self.standing.merges, self.standing.part(share, NOBODY).counts)
        return put_together([untouched, *map(Standing.load, walks)]), alone

    def _check(self, share: Shares, work: Counts, count: int) -> None:
        """Raise with what a share needs, and what would fit, where one component has too many pairs."""
        pieces, n = self.place.pieces, len(self.points)
        pairs = np.bincount(share[work > 0], weights=work[work > 0], minlength=count)
        points = np.bincount(share[share != NOBODY], minlength=count)
        needed = max(map(edges_of, pairs.tolist(), points.tolist())) * BYTES_PER_EDGE / EDGES
        if needed > pieces.memory:
            fitting = self.sample.radius((EDGES * pieces.memory / BYTES_PER_EDGE) ** 2 / (LIVE**2 * n))
            raise MemoryBudgetError(
                f"height {self.limit:.6g}" if self.merges is None else f"{self.merges:,} merges",
                needed=pieces.beside + int(needed),
                allowed=pieces.beside + pieces.memory,
                fits=self.sample.merges(fitting),
                n=n,
            )

    def _dense_pays(self, radius: float) -> bool:
        """Return whether the dense end is the faster way, and fits into one machine; see `linkage/growth.py`."""
        if self.merges is None:
            return False
        n, width, (threads, memory) = len(self.points), self.place.rows.shape[1], self.place.pieces.alone
        needed = farthest_bytes(max(n - self.done, 1), n, width, threads=threads)
        fits = needed < min(memory, math.inf if self.done else AT_ONCE)
        return fits and dense_pays(self.sample, self.wanted, self.done, radius, width)

    def _finish_densely(self) -> None:
        """Make the remaining merges from the matrix of all clusters."""
        place, (threads, _) = self.place, self.place.pieces.alone
        before = place.write(
            f"dense/before-{self.reached.hex()}", *self.standing.merges, *self.standing.counts
        )
        apart = place.write("dense/apart", self.apart)
        end = place.folder / f"dense/end-{self.reached.hex()}"
        called = partial(finish_densely, threads=threads)
        inputs = (place.vectors, self.dropped, before, apart)
        (found,) = place.do("finishing densely", [Task("finishing densely", called, inputs, end, alone=True)])
        i, j, d = load(found)
        more = self.wanted - self.done
        last = len(d) if more > len(d) else int(np.searchsorted(d, d[more - 1], side="right"))
        merges = joined([self.standing.merges, Pairs(i[:last], j[:last], d[:last])])
        self.standing, self.dense = self.standing._replace(merges=merges), True

    def whole(self) -> bool:
        """Return whether no two clusters may merge: there is one, or any two hold a pair apart."""
        left = len(self.points) - self.done
        pairs = left * (left - 1) // 2
        if pairs > len(self.apart):
            return False
        root = united(np.arange(self.place.n, dtype=np.int32), *self.standing.merges[:2])
        a, b = root[self.apart.T]
        return len(np.unique(np.minimum(a, b).astype(np.int64) * self.place.n + np.maximum(a, b))) == pairs
