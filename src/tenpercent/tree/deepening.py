"""Clustering of the classes whose stored merges don't reach a cut, resumed from what is known of them."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TypeVar, cast

import numpy as np

from ..data.store.embeddings import Ints
from ..linkage.linkage import Linkage
from ..linkage.memory import MemoryBudgetError, Resources
from ..linkage.walk import PairCounts
from ..tasks.task import current_runner
from .class_tasks import cluster_by_tasks
from .clustering import ClassJob, cluster_classes
from .cut import Cut
from .finished_classes import ClassDepth, FinishedClasses
from .merge_table import MergeTable
from .rewalk import inside, under
from .steps import DeeperClass

Table = TypeVar("Table", bound=MergeTable)

log = logging.getLogger("tenpercent")

SMALL = 50_000_000  # pairs within classes, as of 10,000 images together: clustering them takes seconds to any depth
COPIES = 0.3  # the fraction kept where two images in three are copies, with a margin


def beyond_copies(merges: Table, resources: Resources) -> Table | None:
    """Return the merges of a small set, deep enough to include the gap between copies and the rest.

    Every class is clustered as deep as keeping `COPIES` of it needs, and at least as high as half of the classes then
    reach: a gap is visible only up to the height at which no class lacks a merge.

    Returns:
        The merges, or None where the set is larger, or they do not fit into memory.
    """
    if int((merges.sizes * (merges.sizes - 1) // 2).sum()) > SMALL:
        return None
    try:
        deep = deepened(merges, Cut(keep=COPIES), resources)
        ends = deep.complete_to[np.isfinite(deep.complete_to)]
        height = max(float(np.median(ends)), 0.0) if len(ends) else 0.0
        return deepened(deep, Cut(threshold=height), resources)
    except MemoryBudgetError:
        log.info("the tree ends not far beyond the cut: deeper would not fit into memory")
        return None


def deepened(merges: Table, cut: Cut, resources: Resources) -> Table:
    """Return merges of the same trees that reach `cut`; `merges` itself where they do already.

    Args:
        merges: the known merges.
        cut: the cut to reach.
        resources: for clustering; with a folder `scratch` finished classes and pairs that exceed the memory are stored
            there, so that an interrupted call resumes. The caller deletes it.

    Raises:
        MemoryBudgetError: the cut needs more memory: says what fits.
        RunFolderError: the disk is full.
    """
    if cut.holds_height and merges.bare is not None:
        bare = deepened(merges.bare, cut, resources)
        return merges if bare is merges.bare else cast("Table", under(bare, merges.constraints, resources))
    finished: FinishedClasses | None = None
    while requests := merges.missing(cut):
        if finished is None and resources.scratch is not None:
            what = {
                "origin": merges.embeddings.origin,
                "within": str(merges.within),
                "decisions": merges.constraints.links,
            }
            finished = FinishedClasses(resources.scratch, what)
        jobs = _jobs(merges, requests)
        vectors, runner = merges.embeddings.vectors, current_runner()
        if finished is None or runner is None:
            found = cluster_classes(vectors, jobs, cut, resources, finished)
        else:
            found = cluster_by_tasks(vectors, jobs, cut, resources.memory, finished, runner)
        merges = _joined(merges, jobs, found)
    return merges


def _jobs(merges: MergeTable, requests: list[DeeperClass]) -> list[ClassJob]:
    """Return the classes to cluster, each with its known merges."""
    members = _split(merges.class_index, merges.sizes)
    apart, alone = merges.constraints.apart, merges.constraints.alone
    of_class = merges.class_index[merges.a]
    steps = _split(of_class, np.bincount(of_class, minlength=len(merges.sizes)))
    jobs = []
    for request in requests:
        code, own = int(merges.classes[request.index]), members[request.index]
        own = np.setdiff1d(own, alone, assume_unique=True)
        depth = None if request.merges is None else min(request.merges, len(own) - 1)
        reached = float(merges.complete_to[request.index])
        after = None if reached < 0 else _known(merges, code, own, steps[request.index], reached)
        jobs.append(ClassJob(ClassDepth(code, depth, request.height), own, after, inside(apart, own)))
    return jobs


def _known(merges: MergeTable, code: int, own: Ints, steps: Ints, reached: float) -> Linkage:
    """Return the known merges of one class, in positions within it."""
    counts = merges.counts.get(code)
    if counts is not None:
        first, second = (np.searchsorted(own, column).astype(np.int32) for column in (counts.a, counts.b))
        counts = PairCounts(first, second, counts.seen)
    a, b = (np.searchsorted(own, column[steps]).astype(np.int64) for column in (merges.a, merges.b))
    return Linkage(a, b, merges.height[steps], reached, counts)


def _joined(merges: Table, jobs: list[ClassJob], found: list[Linkage]) -> Table:
    """Replace the known merges of some classes by their new results, which begin with them."""
    index = np.searchsorted(merges.classes, [job.depth.code for job in jobs])
    replaced = np.zeros(len(merges.classes), dtype=bool)
    replaced[index] = True
    others = ~replaced[merges.class_index[merges.a]]
    pieces = [(merges.a[others], merges.b[others], merges.height[others])]
    complete_to = merges.complete_to.copy()
    complete_to[index] = [linkage.complete_to for linkage in found]
    codes = {job.depth.code for job in jobs}
    counts = {code: counted for code, counted in merges.counts.items() if code not in codes}
    for job, linkage in zip(jobs, found, strict=True):
        own = job.members
        pieces.append((own[linkage.a], own[linkage.b], linkage.height))
        if linkage.counted is not None:
            first, second, seen = linkage.counted
            counts[job.depth.code] = PairCounts(
                own[first].astype(np.int32), own[second].astype(np.int32), seen
            )
    a, b, height = (np.concatenate(column) for column in zip(*pieces, strict=True))
    order = np.lexsort((b, a, height))
    return replace(
        merges, a=a[order], b=b[order], height=height[order], complete_to=complete_to, counts=counts
    )


def _split(of_class: Ints, sizes: Ints) -> list[Ints]:
    """Return the positions of each class in `of_class`, ascending."""
    return np.split(np.argsort(of_class, kind="stable"), np.cumsum(sizes)[:-1])
