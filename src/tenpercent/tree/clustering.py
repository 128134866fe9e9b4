"""Clustering of classes side by side within one memory budget, resumable after an interruption."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from tqdm.auto import tqdm

from ..data.store.embeddings import Ints, Vectors
from ..errors import RunFolderError, cant_write
from ..linkage.linkage import Linkage, first_merges
from ..linkage.memory import MemoryBudgetError, Resources
from ..linkage.pairs import BYTES_IN_MEMORY
from ..linkage.threads import one_blas_thread
from ..progress import bar, is_quiet, quiet
from .cut import Cut
from .finished_classes import ClassDepth, FinishedClasses
from .forecast import forecast
from .memory_limit import too_deep

MAY_SPILL = (
    0.1  # the fraction of the memory that all pairs of a class without a folder to resume from may take
)
ALONE = 10_000  # a class of more images keeps all threads busy by itself, and stops sooner on ctrl-C that way


@dataclass(frozen=True, eq=False)
class ClassJob:
    """Class to cluster.

    Attributes:
        depth: its code and how deep.
        members: int64[k], the positions of its images in id order, ascending.
        after: a known result to resume from; its positions count within the class, as do all results.
        apart: int64[q, 2], pairs that never share a group; None for none.
    """

    depth: ClassDepth
    members: Ints
    after: Linkage | None = None
    apart: Ints | None = None

    @property
    def pairs(self) -> int:
        """Number of pairs of its images."""
        return len(self.members) * (len(self.members) - 1) // 2


def cluster_classes(
    vectors: Vectors,
    jobs: Sequence[ClassJob],
    cut: Cut,
    resources: Resources,
    finished: FinishedClasses | None,
) -> list[Linkage]:
    """Cluster classes, each to the requested depth.

    Small classes are done side by side, with a thread and an equal part of the memory each; a large one, or one that
    needs more than its part, is done alone with all threads and all of the memory. This does not affect the result.

    Args:
        vectors: [n, d] in id order; rows are read when a class has its turn, so a memory map stays one.
        jobs: the classes.
        cut: the cut they are clustered for, to say what would fit where this does not.
        resources: for all of them together; spilled files go to `finished`.
        finished: classes finished by an interrupted run, to which those finished now are added; None to store nothing.

    Returns:
        The result of each class, in the order of `jobs`.

    Raises:
        MemoryBudgetError: one class alone needs more than the whole budget.
        RunFolderError: the disk is full; finished classes are stored.
    """
    found: dict[ClassDepth, Linkage] = {}
    if finished is not None:
        found = {job.depth: linkage for job in jobs if (linkage := finished.find(job.depth)) is not None}
    left = sorted((job for job in jobs if job.depth not in found), key=lambda job: -len(job.members))
    try:
        with shown(left) as progress, one_blas_thread():
            for job, linkage in _clustered(vectors, left, cut, resources, finished):
                found[job.depth] = linkage
                if finished is not None:
                    finished.add(job.depth, linkage)
                progress.update(job.pairs)
    except BaseException:
        if finished is not None:
            with suppress(RunFolderError):  # the full disk may be the cause
                finished.write()
        raise
    return [found[job.depth] for job in jobs]


def shown(jobs: Sequence[ClassJob]) -> tqdm[Any]:
    """Return one progress bar for several classes; a single class draws its own."""
    with quiet(len(jobs) < 2 or is_quiet()):
        return bar(sum(job.pairs for job in jobs), "Clustering", "pairs")


def _clustered(
    vectors: Vectors,
    jobs: Sequence[ClassJob],
    cut: Cut,
    resources: Resources,
    finished: FinishedClasses | None,
) -> Iterator[tuple[ClassJob, Linkage]]:
    """Yield each class with its result, as they finish; `jobs` come largest first."""
    large = number_of_large(jobs, resources.workers)
    alone, queue = deque(jobs[:large]), deque(jobs[large:])
    workers = min(resources.workers, len(queue))
    whole = replace(resources, memory=resources.bytes)
    share = replace(whole, memory=whole.bytes // max(workers, 1), threads=1)
    running: dict[Future[Linkage], ClassJob] = {}
    pool = ThreadPoolExecutor(max(workers, 1))
    try:
        while alone or queue or running:
            if alone and not running:
                job = alone.popleft()
                try:
                    linkage = cluster_alone(vectors, job, whole, finished)
                except MemoryBudgetError as error:
                    raise for_the_cut(error, vectors, [job, *alone, *queue], cut, whole) from None
                yield job, linkage
                continue
            while queue and not alone and len(running) < workers:
                job = queue.popleft()
                running[pool.submit(_quietly, vectors, job, share, finished)] = job
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                job = running.pop(future)
                try:
                    linkage = future.result()
                except MemoryBudgetError:
                    alone.append(job)  # once the others have finished it may use all of the memory
                    alone = deque(sorted(alone, key=lambda job: (-len(job.members), job.depth.code)))
                else:
                    yield job, linkage
    finally:
        pool.shutdown(cancel_futures=True)


def number_of_large(jobs: Sequence[ClassJob], threads: int) -> int:
    """Return how many of `jobs`, largest first, are better done alone: too large, or more than a thread's part."""
    if min(len(jobs), threads) < 2:
        return len(jobs)
    left = sum(job.pairs for job in jobs)
    for count, job in enumerate(jobs):
        if len(job.members) <= ALONE and job.pairs * threads <= left:
            return count
        left -= job.pairs
    return len(jobs)


def cluster_alone(
    vectors: Vectors, job: ClassJob, resources: Resources, finished: FinishedClasses | None
) -> Linkage:
    """Cluster one class with all resources, but with fewer threads where their own memory is too much."""
    while True:
        try:
            return _merges_of(vectors, job, resources, finished)
        except MemoryBudgetError as error:
            if error.fits or resources.workers == 1:
                raise
            resources = replace(resources, threads=resources.workers // 2)


def _quietly(
    vectors: Vectors, job: ClassJob, resources: Resources, finished: FinishedClasses | None
) -> Linkage:
    """Cluster one class of several that share a progress bar."""
    with quiet():
        return _merges_of(vectors, job, resources, finished)


def _merges_of(
    vectors: Vectors, job: ClassJob, resources: Resources, finished: FinishedClasses | None
) -> Linkage:
    """Cluster one class, resuming from its deepest known result."""
    known = [] if job.after is None else [job.after]
    scratch = None
    if finished is not None:
        known += finished.shallower(job.depth)
        if job.pairs * BYTES_IN_MEMORY > resources.bytes * MAY_SPILL:
            scratch = finished.scratch(job.depth.code)
    try:
        return first_merges(
            rows_of(vectors, job),
            merges=job.depth.merges,
            height=job.depth.height,
            cannot_link=job.apart,
            after=max(known, key=len, default=None),
            resources=replace(resources, scratch=scratch),
        )
    except OSError as error:
        if scratch is None:
            raise
        raise RunFolderError(f"{cant_write(scratch, error)}, and the same command resumes") from error


def rows_of(vectors: Vectors, job: ClassJob) -> Vectors:
    return vectors if len(job.members) == len(vectors) else vectors[job.members]


def for_the_cut(
    error: MemoryBudgetError,
    vectors: Vectors,
    jobs: Sequence[ClassJob],
    cut: Cut,
    resources: Resources,
) -> MemoryBudgetError:
    """Convert the error of one class to that of the cut: no class may need more, each must be able to do what fits."""
    needed, left = error.needed, (error.n - error.fits + 1) / len(jobs[0].members)
    for job in jobs[1:] if error.fits else ():
        if job.depth.merges:
            expected = forecast(rows_of(vectors, job), job.depth.merges, replace(resources, threads=1))
            needed = max(needed, expected.needed)
            if expected.fits < job.depth.merges:
                left = max(left, 1 - (expected.fits - 1) / len(job.members))
    return too_deep(error, needed, left, cut)
