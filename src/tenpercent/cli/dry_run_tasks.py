"""Dry runs of work that is spread: its tasks, what they move, and how long they take together."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..data.sources.source import ImageSource
from ..data.store.embeddings import Embeddings, Ints, Vectors
from ..errors import bytes_text, counted, duration_text
from ..linkage.pieces.plan import Pieces
from ..linkage.threads import cpus
from ..tasks.task import Capacity
from ..tree.class_tasks import number_large
from ..tree.piece_forecast import NearPairs, PiecesForecast


class SpreadClustering(NamedTuple):
    """Clustering that is spread.

    Attributes:
        step: a line for the plan.
        seconds: approximate time.
        in_pieces: number of classes that are cut into pieces.
        files: bytes of the vectors in `scratch/`, which the tasks read.
    """

    step: str
    seconds: float
    in_pieces: int
    files: int


def spread_clustering(sizes: Ints, row_bytes: int, here: float, capacity: Capacity) -> SpreadClustering:
    """Estimate clustering by tasks.

    Args:
        sizes: int64[c], images of each class.
        row_bytes: bytes of a vector.
        here: seconds that this machine takes at most with all of its CPUs.
        capacity: the size of the place.
    """
    sizes = np.sort(sizes[sizes > 1])[::-1]
    pairs = sizes * (sizes - 1) / 2
    in_pieces, alone = number_large(sizes, capacity)
    work = here * cpus()  # of one CPU
    threads = np.full(len(sizes), capacity.each.threads)
    threads[: in_pieces + alone] = capacity.alone.threads
    threads[:in_pieces] = capacity.together * capacity.each.threads
    longest = float((pairs / max(pairs.sum(), 1) / threads).max(initial=0))
    seconds = work * max(longest, 1 / (capacity.together * capacity.each.threads))
    ways = ((in_pieces, "in pieces by all"), (alone, "with a machine for itself"))
    large = ", ".join(f"{count} {way}" for count, way in ways if count)
    each = f"a task each ({large})" if large else "a task each"
    files, memory = int(sizes.sum()) * row_bytes, bytes_text(capacity.alone.memory)
    classes = counted(len(sizes), "class")
    step = (
        f"tasks     {classes} to cluster, {each}, {capacity.together} at once: at most "
        f"{duration_text(seconds)}; {bytes_text(files)} through the run folder; up to {memory} a machine beside "
        "its vectors"
    )
    return SpreadClustering(step, seconds, in_pieces, files)


class SpreadPieces(NamedTuple):
    """Clustering in pieces.

    Attributes:
        step: a line for the plan.
        seconds: approximate time.
        memory: bytes that all processes of a machine take.
        files: bytes in `scratch/` beside the vectors.
    """

    step: str
    seconds: float
    memory: int
    files: int


def spread_pieces(vectors: Vectors, merges: int, capacity: Capacity) -> SpreadPieces:
    """Estimate the clustering of all vectors together in pieces, from a sample of them.

    Raises:
        MemoryBudgetError: a task's memory is not enough for anything.
    """
    together, each, alone, _ = capacity
    pieces = Pieces.of(vectors.shape, vectors.itemsize, together, each, alone)
    expected = PiecesForecast.of(vectors.shape, vectors.itemsize, NearPairs.of(vectors, merges), pieces)
    seconds = expected.seconds / (together * each.threads)
    step = (
        f"tasks     {counted(pieces.groups, 'group')} of cells: about {duration_text(seconds)}; "
        f"{bytes_text(expected.files)} of files beside the vectors; {bytes_text(expected.driver)} in this process, "
        f"{bytes_text(expected.task)} a task"
    )
    here = min(together, max(1, alone.threads // each.threads))
    return SpreadPieces(step, seconds, expected.driver + here * expected.task, expected.files)


def describe_training_tasks(count: int, capacity: Capacity) -> str:
    """Return in words how training runs are spread."""
    each = f"a GPU each, of {capacity.gpus:,}; timed here" if capacity.gpus else "one CPU each"
    return f"{counted(count, 'training run')}, a task each, {capacity.gpus or capacity.together:,} at once: {each}"


def class_sizes(opened: ImageSource | Embeddings, n: int, by_class: bool) -> Ints:
    """Return the sizes of the classes of n images, or n alone."""
    if not by_class or opened.labels is None:
        return np.array([n])
    return np.unique(opened.labels, return_counts=True)[1]
