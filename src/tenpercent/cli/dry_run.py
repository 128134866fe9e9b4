"""Dry runs of `run` and `embed`: the plan and its estimated cost. Nothing is written."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..data.sources.changes import Change
from ..data.sources.first_line import account, describe_taken
from ..data.sources.holdout import split_holdout
from ..data.sources.options import SourceOptions
from ..data.sources.run_name import run_folder_of
from ..data.sources.run_source import open_for_run
from ..data.sources.source import ImageSource
from ..data.store.embeddings import Embeddings, Ints
from ..data.store.run_folder import RunFolder, Stage
from ..embedding.choice import check_vectors_alone, default_embedder, settled
from ..embedding.one_by_one import MEMORY
from ..embedding.settings import Pretrained
from ..embedding.stage import describe, update_of
from ..embedding.timing import IdleTimer, fastest
from ..embedding.update import check_update
from ..errors import bytes_text, counted, duration_text, require, without_secrets
from ..linkage.threads import cpus
from ..selection.stage import keep_beyond
from ..tree.cut import Cut, check_cut, scoped
from ..tree.memory_limit import checked_memory
from .dry_run_tasks import class_sizes, spread_clustering, spread_pieces
from .quicker_ways import quicker

if TYPE_CHECKING:
    from ..embedding.by_labels import ByLabels
    from ..embedding.encoders import Embedder
    from ..tasks.task import Capacity, Engine


# Seconds on a machine that adds up a million numbers in `REFERENCE`; others take longer in proportion.
START = 2.0  # to load libraries and compiled code
TORCH = 3.0  # more, to load torch
REPORT = 1.2  # for a report without its pictures
REFERENCE = 0.012
LIBRARIES = 300 * 2**20  # bytes that a process takes without images, vectors or a network
PICTURES = 100  # about as many are in a report, two for each removed image in a small one


@dataclass(frozen=True)
class DryRun:
    """The plan of a command and its cost.

    Attributes:
        steps: one line a step, in order.
        seconds: expected on an idle machine, of the steps that are not done yet.
        memory_bytes: expected at the peak.
        disk_bytes: expected in the run folder.
        notes: quicker ways, and how busy the machine is.
        start: seconds until the first image, of `seconds`.
        image: seconds to read an image, where images are still to be embedded.
    """

    steps: tuple[str, ...]
    seconds: float = 0.0
    memory_bytes: int = 0
    disk_bytes: int = 0
    notes: tuple[str, ...] = ()
    start: float = 0.0
    image: float = 0.0

    def __str__(self) -> str:
        memory, disk = bytes_text(self.memory_bytes), bytes_text(self.disk_bytes)
        starting = f"start     about {duration_text(self.start)}: libraries and compiled code"
        total = f"Total: about {duration_text(self.seconds)}, {memory} of memory, {disk} of disk. Nothing was written."
        return "\n".join([*self.steps[:1], starting, *self.steps[1:], *self.notes, total])


def plan(
    source: str | Path,
    *,
    out: str | Path | None = None,
    embedder: Embedder | ByLabels | None = None,
    holdout: float = 0.0,
    options: SourceOptions = SourceOptions(),  # noqa: B008 – frozen
    cut: Cut | None = None,
    memory: int | str | None = None,
    reread: bool = False,
    engine: Engine | None = None,
) -> DryRun:
    """Estimate a run from a short sample of its source; the arguments are those of `pipeline.run`.

    Raises:
        UsageError: the run would not accept these arguments.
        RunFolderError: the run folder can't be used for this source.
    """
    cut, allowed, place = cut or Cut(), checked_memory(memory), run_folder_of(source, out)
    options, opened = open_for_run(source, options, place, reread=reread)
    cut = scoped(cut, opened.taken)
    check_cut(cut, opened)
    folder = RunFolder.at(place)
    size = None if engine is None else engine.size(allowed)
    asked = (embedder, holdout, options, size)
    embedding = _embedding(source, opened, folder, *asked, reread=reread, layer=cut.layer)
    first, n, width = embedding
    cut = cut.among(n)
    by_class = opened.labels is not None and str(cut.within) != "all"
    classes = max(len(opened.class_names), 1) if by_class else 1
    clustering = clustering_seconds(n, width, classes)
    where = f"in {counted(classes, 'class')}" if by_class else "all together"
    steps = [
        *first.steps,
        f"cluster   {n:,} × {width} values {where}: at most {duration_text(clustering)}",
    ]
    in_pieces, scratch = False, 0
    if size is not None:
        of_classes = class_sizes(opened, n, by_class)
        value = opened.vectors.itemsize if isinstance(opened, Embeddings) else 4
        spread = spread_clustering(of_classes, value * width, clustering, size)
        steps, clustering, scratch = [*steps, spread.step], spread.seconds, spread.files
        in_pieces = not by_class and spread.in_pieces > 0
    if size is not None and cut.keep is not None and in_pieces and isinstance(opened, Embeddings):
        expected = spread_pieces(opened.vectors, n - round(keep_beyond(cut.keep) * n), size)
        steps, clustering, needed = [*steps, expected.step], expected.seconds, expected.memory
        scratch += expected.files
    elif isinstance(opened, Embeddings):
        needed, note = clustering_memory(opened, cut, allowed)
        steps.append(f"cluster   {note}")
    else:
        needed = n * width * 4 + n * 1024  # the vectors, and the clusters and counts of a shallow cut
    reporting = slowness() * REPORT + min(2 * n, PICTURES) * first.image
    steps.append(f"select    {describe_cut(cut, by_class)}")
    steps.append(f"report    about {duration_text(reporting)}: {folder.report}")
    return replace(
        first,
        steps=tuple(steps),
        seconds=first.seconds + clustering + reporting,
        memory_bytes=max(first.memory_bytes, LIBRARIES + needed),
        disk_bytes=first.disk_bytes + n * 100 + scratch,
    )


def plan_embedding(
    source: str | Path,
    *,
    out: str | Path | None = None,
    embedder: Embedder | ByLabels | None = None,
    holdout: float = 0.0,
    options: SourceOptions = SourceOptions(),  # noqa: B008 – frozen
    reread: bool = False,
    engine: Engine | None = None,
) -> DryRun:
    """Estimate the first stage alone; arguments and errors are those of `plan`."""
    place = run_folder_of(source, out)
    options, opened = open_for_run(source, options, place, reread=reread)
    size = None if engine is None else engine.size(None)
    asked = (embedder, holdout, options, size)
    return _embedding(source, opened, RunFolder.at(place), *asked, reread=reread)[0]


def _embedding(
    source: str | Path,
    opened: ImageSource | Embeddings,
    folder: RunFolder,
    embedder: Embedder | ByLabels | None,
    holdout: float,
    options: SourceOptions,
    size: Capacity | None,
    *,
    reread: bool,
    layer: str | None = None,
) -> tuple[DryRun, int, int]:
    """Estimate the embedding of an open source; return also the number of vectors and their width."""
    taken, begin = describe_taken(account(opened)), slowness() * START
    done = None
    if folder.json_path.exists() and not reread:
        needed = update_of(folder, opened)
        if needed is not None and isinstance(opened, ImageSource):
            check_update(folder, opened, describe(source, opened, options, holdout))
            return _update(folder, needed.change, len(opened), taken, layer)
        if not folder.nothing_finished:
            folder.check_source(describe(source, opened, options, holdout))
        done = folder.stage(Stage.EMBED)
    if isinstance(opened, Embeddings):
        check_vectors_alone(source, embedder, holdout)
        steps = (f"source    {without_secrets(str(source))}: {taken}; nothing to embed",)
        found = DryRun(steps, begin, memory_bytes=opened.vectors.nbytes, start=begin)
        return found, len(opened), opened.width
    timer = IdleTimer()
    chosen = settled(default_embedder(opened, embedder), folder.path)
    rows, held_out = split_holdout(opened, holdout)
    first = f"source    {opened.spec}: {taken}" + (f"; {len(held_out):,} held out" if len(held_out) else "")
    if done is not None:
        return (
            DryRun((first, "embed     done"), begin, start=begin),
            done.n,
            done.layers.get(layer or "end", done.layers["end"]),
        )
    if isinstance(chosen, Pretrained):
        return _one_by_one(opened, rows, first, timer, size)
    require("torch", "images")
    from ..embedding.estimate import Sample, estimate

    begin += slowness() * TORCH
    sample = Sample.of(opened, chosen, rows)
    expected = estimate(sample, chosen)
    notes = [
        f"quicker   {way.flags}: about {duration_text(way.seconds)} to embed ({way.but})"
        for way in quicker(sample, chosen, expected)
    ]
    embedding = DryRun(
        steps=(
            first,
            *(f"embed     {note}" for note in expected.notes),
            f"embed     about {duration_text(expected.seconds)}",
        ),
        seconds=begin + expected.seconds,
        memory_bytes=expected.memory_bytes,
        disk_bytes=expected.disk_bytes,
        notes=(*notes, *timer.busy()),
        start=begin,
        image=sample.read,
    )
    return embedding, len(rows), expected.width


def _update(
    folder: RunFolder, change: Change, n: int, taken: str, layer: str | None
) -> tuple[DryRun, int, int]:
    """Estimate an update at the rate of the run's own embedding; see `_embedding`."""
    done, facts = folder.require(Stage.EMBED), folder.read()["stages"][Stage.EMBED]
    fresh = n - len(change.content)
    seconds = fresh / float(facts.get("images_per_second") or done.n / max(done.seconds, 1e-9))
    steps = (
        f"source    {folder.source.spec}: {taken}; since it was embedded: {change}",
        f"embed     {counted(fresh, folder.source.noun)} by the run's own network, about {duration_text(seconds)}",
    )
    disk, begin = n * 4 * sum(done.layers.values()), slowness() * START
    update = DryRun(steps, begin + seconds, memory_bytes=MEMORY + disk, disk_bytes=disk, start=begin)
    return update, n, done.layers.get(layer or "end", done.layers["end"])


@cache
def slowness() -> float:
    """Return how many times as long as the machine of the constants above this one takes."""
    return fastest(partial(sum, range(1_000_000)), 0.1) / REFERENCE


def _one_by_one(
    source: ImageSource, rows: Ints, first: str, timer: IdleTimer, size: Capacity | None
) -> tuple[DryRun, int, int]:
    """Estimate the embedding of images by the pretrained network; see `_embedding`."""
    from ..embedding.one_by_one import PART, ROW_BYTES, seconds_each
    from ..embedding.pretrained import PretrainedNetwork

    network, threads, n = PretrainedNetwork(), cpus(), len(rows)
    tasks = -(-n // PART)
    spread: tuple[str, ...] = ()
    if size is not None:
        threads = size.each.threads * min(size.together, tasks)
        spread = (
            f"tasks     {counted(tasks, 'task')}, one a part file of {PART:,} images; {size.together} at once",
        )
    each = seconds_each(source, network, rows)
    seconds = n * each / threads
    embedding = DryRun(
        steps=(
            first,
            f"embed     pretrained (EfficientNet-Lite0, ImageNet), {network.width:,} values, {counted(threads, 'CPU')}",
            *spread,
            f"embed     about {duration_text(seconds)}",
        ),
        seconds=slowness() * START + seconds,
        memory_bytes=MEMORY,
        disk_bytes=n * (4 * network.width + ROW_BYTES),
        notes=tuple(timer.busy()),
        start=slowness() * START,
        image=each,
    )
    return embedding, n, network.width


def clustering_memory(embeddings: Embeddings, cut: Cut, memory: int | None) -> tuple[int, str]:
    """Return the bytes that clustering takes with the vectors, and a note; the largest class decides."""
    from ..linkage.memory import MemoryBudgetError, Resources
    from ..tree.forecast import forecast
    from ..tree.merges import uncut

    vectors, tree = embeddings.vectors, uncut(embeddings, cut.within)
    members = np.flatnonzero(tree.class_index == int(tree.sizes.argmax()))
    merges = 0 if cut.keep is None else len(members) - cut.wanted(len(members))
    resources = Resources(memory=memory)
    may = f"{bytes_text(resources.bytes)} may be used"
    if not merges:
        return vectors.nbytes, f"{may} beside the vectors"
    rows = vectors if len(members) == len(vectors) else vectors[members]
    for threads in (resources.threads, 1):  # clustering falls back to one where more would not fit
        try:
            expected = forecast(rows, merges, replace(resources, threads=threads))
        except MemoryBudgetError as error:
            needed, note = error.needed, str(error)
        else:
            fits = (
                f"; keep {1 - expected.fits / len(members):.2f} should fit" if expected.fits < merges else ""
            )
            needed = expected.needed
            note = f"the largest class takes about {bytes_text(needed)} beside the vectors, and {may}{fits}"
            break
    return vectors.nbytes + needed, note


def clustering_seconds(n: int, width: int, classes: int) -> float:
    """Return how long clustering n vectors takes at most: the products of all pairs, timed on one tile.

    Where many vectors are near, most pairs are never multiplied, so it may take a small part of that.
    """
    side, timed = 1024, min(width, 8192)  # of wide vectors a part of the values is timed
    tile = np.random.default_rng(0).standard_normal((side, timed), dtype=np.float32)
    tile @ tile.T  # the first product starts the threads
    spent = []
    for _ in range(5):  # the fastest: other processes may use the CPU meanwhile
        started = time.perf_counter()
        np.count_nonzero(tile @ tile.T > 2 * timed)
        spent.append(time.perf_counter() - started)
    a_pair = min(spent) / side**2 * width / timed
    return n * (n / classes) * a_pair


def describe_cut(cut: Cut, by_class: bool) -> str:
    """Return a cut in words; `by_class` says whether classes are clustered each by itself."""
    if cut.threshold is not None:
        return f"every merge up to height {cut.threshold:g}"
    if cut.budget == "global":
        return f"keep {cut.keep:g} of all images, lowest merges first"
    return f"keep {cut.keep:g} of {'each class' if by_class else 'the images'}"
