"""Clustering of classes as tasks, each from a file of the class's vectors to a part file of finished classes."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ..data.store.embeddings import Ints, Vectors
from ..data.store.files import fingerprint, replacing
from ..linkage.linkage import Linkage
from ..linkage.memory import MemoryBudgetError, Resources
from ..linkage.pieces.plan import Pieces
from ..linkage.threads import one_blas_thread
from ..tasks.task import Capacity, Runner, Share, Task
from .clustering import ALONE, ClassJob, cluster_alone, for_the_cut, number_of_large, rows_of, shown
from .cut import Cut
from .finished_classes import ClassDepth, FinishedClasses, read_part, write_part
from .steps import ALL
from .together import AllTogether, first_merges_by_tasks


def cluster_by_tasks(
    vectors: Vectors,
    jobs: Sequence[ClassJob],
    cut: Cut,
    memory: int | None,
    finished: FinishedClasses,
    runner: Runner,
) -> list[Linkage]:
    """Cluster classes, one task each, to the requested depth.

    A class of more than `ALONE` images is done in pieces, by all tasks together (`together.py`), where it is more than
    the part of one of them, or does not fit into a machine's memory. Another large class takes a machine for itself, as
    does one that needs more memory than its share; others are done side by side. This does not affect the result: its
    bytes are those of `clustering.cluster_classes`.

    Args:
        vectors, jobs, cut: see there.
        memory: bytes that may be used on each machine; None for half of what is free.
        finished: classes finished by an interrupted run. Its folder also holds the files of the tasks.
        runner: the place where they are done.

    Returns:
        The result of each class, in the order of `jobs`.

    Raises:
        MemoryBudgetError: one class alone needs more than the memory of a machine, in pieces too.
        TenpercentError: see `Runner.run`; finished classes stay.
    """
    capacity = runner.capacity(memory)
    left = sorted(
        (job for job in jobs if finished.find(job.depth) is None), key=lambda job: -len(job.members)
    )
    whole = number_of_pieces(left, capacity.together)
    in_pieces, left = left[:whole], left[whole:]
    large = number_of_large(left, capacity.together)
    tasks = {_task(vectors, job, finished, capacity, alone=at < large): job for at, job in enumerate(left)}
    with shown(left) as progress:
        while tasks:
            too_large = []
            for task, error in runner.run(list(tasks)):
                job = tasks[task]
                if error is None:
                    finished.take(task.output)
                    progress.update(job.pairs)
                elif not isinstance(error, MemoryBudgetError):
                    raise error
                elif not task.alone:
                    too_large.append(job)
                elif len(job.members) > ALONE:
                    in_pieces.append(job)
                else:
                    raise _of_the_cut(error, vectors, job, left, cut, finished, capacity) from None
            tasks = {_task(vectors, job, finished, capacity, alone=True): job for job in too_large}
    for job in in_pieces:
        try:
            _cluster_in_pieces(vectors, job, finished, runner, capacity)
        except MemoryBudgetError as error:
            error.needed = error.needed * capacity.alone.memory // capacity.each.memory
            error.allowed = capacity.alone.memory
            raise _of_the_cut(error, vectors, job, in_pieces, cut, finished, capacity) from None
    return [linkage for job in jobs if (linkage := finished.find(job.depth)) is not None]


def number_large(sizes: Sequence[int] | Ints, capacity: Capacity) -> tuple[int, int]:
    """Return how many of some classes, largest first, are done in pieces, and how many then get a machine each."""
    jobs = [ClassJob(ClassDepth(0, None, None), np.broadcast_to(np.int64(0), int(size))) for size in sizes]
    in_pieces = number_of_pieces(jobs, capacity.together)
    return in_pieces, number_of_large(jobs[in_pieces:], capacity.together)


def number_of_pieces(jobs: Sequence[ClassJob], together: int) -> int:
    """Return how many of `jobs`, largest first, are each more than the part of one of the tasks done together."""
    left = sum(job.pairs for job in jobs)
    for count, job in enumerate(jobs):
        if len(job.members) <= ALONE or job.pairs * together <= left:
            return count
        left -= job.pairs
    return len(jobs)


def _of_the_cut(
    error: MemoryBudgetError,
    vectors: Vectors,
    job: ClassJob,
    among: Sequence[ClassJob],
    cut: Cut,
    finished: FinishedClasses,
    capacity: Capacity,
) -> MemoryBudgetError:
    """Convert the error of one class to that of the cut."""
    others = [one for one in among if one is not job and finished.find(one.depth) is None]
    return for_the_cut(error, vectors, [job, *others], cut, Resources(memory=capacity.alone.memory))


def _cluster_in_pieces(
    vectors: Vectors, job: ClassJob, finished: FinishedClasses, runner: Runner, capacity: Capacity
) -> None:
    """Cluster one class by many tasks, and add it to those finished."""
    rows, depth = _rows_of(vectors, job, finished), job.depth
    found = np.load(rows, mmap_mode="r")
    pieces = Pieces.of(found.shape, found.itemsize, capacity.together, capacity.each, capacity.alone)
    whole = AllTogether(rows, depth.merges, depth.height, job.apart, _known(job, finished))
    folder = finished.scratch(depth.code)
    linkage = first_merges_by_tasks(whole, pieces, folder, runner)
    write_part(_made(job, finished), [(depth, linkage)])
    finished.take(_made(job, finished))
    shutil.rmtree(folder, ignore_errors=True)


def _rows_of(vectors: Vectors, job: ClassJob, finished: FinishedClasses) -> Path:
    """Return the file of a class's vectors."""
    rows = finished.folder.absolute() / f"class-{job.depth.code}.npy"
    _save(rows, lambda: rows_of(vectors, job))
    return rows


def _known(job: ClassJob, finished: FinishedClasses) -> Linkage | None:
    """Return the deepest known result that a class can resume from."""
    known = [*finished.shallower(job.depth), *([job.after] if job.after else [])]
    return max(known, key=len, default=None)


def _made(job: ClassJob, finished: FinishedClasses) -> Path:
    """Return the part file of a finished class."""
    code = fingerprint(list(map(str, job.depth)))
    return finished.folder.absolute() / f"part-{job.depth.code}-{code}.parquet"


def _task(
    vectors: Vectors, job: ClassJob, finished: FinishedClasses, capacity: Capacity, *, alone: bool
) -> Task:
    """Return the task of a class, its inputs written. The folder's name tells what the vectors and decisions are."""
    depth, folder = job.depth, finished.folder.absolute()
    inputs = [_rows_of(vectors, job, finished)]
    if job.apart is not None and len(job.apart):
        inputs.append(folder / f"apart-{depth.code}.npy")
        _save(inputs[-1], lambda: job.apart)
    known = _known(job, finished)
    if known is not None:
        inputs.append(folder / f"known-{depth.code}-{len(known)}.parquet")
        write_part(inputs[-1], [(depth, known)])
    function = partial(_cluster_class, depth, capacity.alone if alone else capacity.each)
    name = "all images" if depth.code == ALL else f"class {depth.code}"
    return Task(name, function, tuple(inputs), _made(job, finished), alone)


def _save(path: Path, made: Callable[[], Any]) -> None:
    """Write an array unless its file is there."""
    if not path.exists():
        with replacing(path) as temporary, temporary.open("wb") as file:
            np.save(file, made())


def _cluster_class(depth: ClassDepth, share: Share, inputs: Sequence[Path], output: Path) -> None:
    """Cluster the class whose vectors are in the first file; those that follow hold pairs and a known result."""
    vectors = np.load(inputs[0], mmap_mode="r")
    apart = next((np.load(path) for path in inputs[1:] if path.suffix == ".npy"), None)
    found = [one for path in inputs[1:] if path.suffix == ".parquet" for one in read_part(path).values()]
    job = ClassJob(depth, np.arange(len(vectors)), found[0] if found else None, apart)
    with tempfile.TemporaryDirectory(dir=output.parent) as place, one_blas_thread():
        spilled = FinishedClasses(Path(place), {})  # its own: another machine may do the same task
        linkage = cluster_alone(vectors, job, Resources(share.memory, share.threads), spilled)
    write_part(output, [(depth, linkage)])
