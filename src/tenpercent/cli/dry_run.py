"""Plan of a run and its estimated cost: ``--dry-run`` of `run`, `embed` and `evaluate`. Nothing is written."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..data.sources.first_line import account, describe_taken
from ..data.sources.holdout import split_holdout
from ..data.sources.options import SourceOptions
from ..data.sources.run_name import run_folder_of
from ..data.sources.source import ImageSource
from ..data.store.embeddings import Embeddings
from ..data.store.run_folder import RunFolder, Stage
from ..embedding.stage import check_vectors_alone, default_embedder, open_for_run, refuse_changed, settled
from ..errors import RunFolderError, counted, require
from ..evaluation.preparation import Asked, Ready
from ..evaluation.presets import preset
from ..tree.cut import Cut, check_cut
from ..tree.memory_limit import checked_memory
from .quicker_ways import LONG, PRESET, WORTH, quicker, suits

if TYPE_CHECKING:
    from ..embedding.by_labels import ByLabels
    from ..embedding.encoders import Embedder
    from ..embedding.estimate import Sample
    from ..evaluation.expected import Expected
    from ..evaluation.presets import Protocol
    from ..evaluation.trials import Trial


@dataclass(frozen=True)
class Plan:
    """The plan of a run.

    Attributes:
        stages: one line a stage, in order.
        seconds: expected on a free machine, of the stages not done yet.
        memory_bytes: expected at the peak.
        disk_bytes: expected in the run folder.
        notes: quicker ways, and how busy the machine is.
    """

    stages: tuple[str, ...]
    seconds: float
    memory_bytes: int
    disk_bytes: int
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        memory, disk = size(self.memory_bytes), size(self.disk_bytes)
        total = (
            f"In all about {duration(self.seconds)}, {memory} of memory, {disk} of disk. Nothing was written."
        )
        return "\n".join([*self.stages, *self.notes, total])


@dataclass(frozen=True)
class _Embedding:
    """The forecast of the vectors: their number and width, lines, seconds, bytes, notes."""

    n: int
    width: int
    lines: tuple[str, ...]
    seconds: float = 0.0
    memory: int = 0
    disk: int = 0
    notes: tuple[str, ...] = ()


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
) -> Plan:
    """Estimate a run from a short sample of its source; the arguments are those of `pipeline.run`.

    Raises:
        UsageError: the run would not accept these arguments.
        RunFolderError: the run folder can't be used for this source.
    """
    cut, allowed = cut or Cut(), checked_memory(memory)
    place = run_folder_of(source, out)
    options, opened = open_for_run(source, options, place, reread=reread)
    check_cut(cut, opened)
    folder = RunFolder.at(place)
    first = _embedding(source, opened, folder, embedder, holdout, cut.layer, reread=reread)
    n, width = first.n, first.width
    classes = 1 if opened.labels is None or str(cut.within) == "all" else max(len(opened.class_names), 1)
    clustering = clustering_seconds(n, width, classes)
    by_class = opened.labels is not None and str(cut.within) != "all"
    within = f"in {counted(classes, 'class')}" if by_class else "all together"
    lines = [
        *first.lines,
        f"cluster  {n:,} images × {width} values {within}, at most {duration(clustering)}",
    ]
    if isinstance(opened, Embeddings):
        needed, note = clustering_memory(opened, cut, allowed)
        lines.append(f"cluster  {note}")
    else:
        needed = n * width * 4 + n * 1024  # the vectors, and the clusters and counts of a shallow cut
    lines.append(f"select   {describe_cut(cut, by_class)}; the report goes to {folder.report}")
    total, most = first.seconds + clustering, max(first.memory, needed)
    return Plan(tuple(lines), total, most, first.disk + n * 100, first.notes)


def plan_embedding(
    source: str | Path,
    *,
    out: str | Path | None = None,
    embedder: Embedder | ByLabels | None = None,
    holdout: float = 0.0,
    options: SourceOptions = SourceOptions(),  # noqa: B008 – frozen
    reread: bool = False,
) -> Plan:
    """Estimate the first stage alone; arguments and errors are those of `plan`."""
    place = run_folder_of(source, out)
    options, opened = open_for_run(source, options, place, reread=reread)
    found = _embedding(source, opened, RunFolder.at(place), embedder, holdout, None, reread=reread)
    return Plan(found.lines, found.seconds, found.memory, found.disk, found.notes)


def plan_evaluation(what: str | Path, asked: Asked, protocol: Protocol, *, searched: bool = False) -> Plan:
    """Estimate the training runs of an evaluation; nothing is trained, made or written.

    Args:
        what, asked, protocol: as for `evaluation.evaluate`, with its errors.
        searched: plan for `evaluation.find`, which runs those of two arms, and fewer than all.
    """
    require("torch", "images")
    from ..embedding.estimate import Sample
    from ..embedding.timing import Watch
    from ..evaluation.stage import searched_arm
    from ..evaluation.trials import FULL

    watch, run = Watch(), RunFolder.open(what)
    arms = {FULL, searched_arm(asked)} if searched else set(asked.arms)
    ready = Ready.of(run, asked)
    ready.arms.check_lists(ready.results.read())
    ready.check(protocol)
    trials = [one for one in ready.plan.all() if not searched or one.arm in arms]
    left = [one for one in trials if not ready.results.done(one, ready.key(protocol))]
    sample = Sample.of(ready.images, protocol.training, ready.embeddings.rows)
    seconds, together, found = _trainings(ready, protocol, sample, left, searched)
    at_once = f", {together} trainings at once" if together > 1 else ""
    lines = [
        f"source    {ready.images.spec}: {counted(len(ready.embeddings), 'image')}, tested on "
        f"{len(ready.judged.rows):,} ({ready.judged.name})",
        f"evaluate  {counted(len(trials), 'training')}: {len(trials) - len(left):,} there already, "
        f"{len(left):,} to make" + (" at most, as a search ends where it is decided" if searched else ""),
        f"evaluate  {found.words}{at_once}",
    ]
    for one in dict.fromkeys(replace(one, trial=0) for one in left):
        ours = sum(replace(each, trial=0) == one for each in left)
        name = str(one).partition(",")[0]
        lines.append(f"evaluate  {name}: {ours:,} of about {duration(found.seconds[one.fraction])}")
    notes = watch.busy()
    if left and seconds > LONG:
        notes = [*_quicker_trainings(ready, protocol, sample, left, seconds), *notes]
    seconds += _before_trainings(run, ready, lines) if left else 0.0
    return Plan(
        stages=tuple(lines),
        seconds=seconds,
        memory_bytes=together * found.memory_bytes if left else 0,
        disk_bytes=len(left) * found.row_bytes + (together * found.checkpoint_bytes if left else 0),
        notes=tuple(notes),
    )


def _trainings(
    ready: Ready, protocol: Protocol, sample: Sample, left: Sequence[Trial], searched: bool
) -> tuple[float, int, Expected]:
    """Return the seconds of all training runs left, the number made at once, and the forecast of one."""
    from ..evaluation.expected import expected
    from ..evaluation.stage import threads_of_each
    from ..evaluation.training import at_once

    most = 1 if searched else at_once(sample.found.pixels.size, sample.n, protocol)
    together = max(1, min(most, len(left)))
    fractions = sorted({one.fraction for one in left} | {1.0})
    threads = threads_of_each(min(most, len(ready.plan.all())))
    found = expected(sample, protocol, len(ready.judged.rows), fractions, threads)
    trained = sum(found.seconds[one.fraction] for one in left) / together
    return trained + (together * found.read if left else 0.0), together, found


def _quicker_trainings(
    ready: Ready, protocol: Protocol, sample: Sample, left: Sequence[Trial], seconds: float
) -> list[str]:
    """Return lines on quicker ways: the quick preset where the images are of its size, and half as many trials."""
    found = []
    quick = preset(PRESET)
    other_network = getattr(protocol.training, "network", None) != quick.training.network
    if other_network and suits(sample.found.pixels.size):
        other = _trainings(ready, quick.protocol, sample, ready.plan.all(), False)[0]
        found.append(
            (f"--preset {PRESET}", other, "a narrow network, few epochs; trained anew, lower accuracy")
        )
    half = ready.plan.trials // 2
    fewer = [one for one in left if one.trial < half]
    if fewer:
        found.append(
            (f"--trials {half}", seconds * len(fewer) / len(left), "wider intervals; more can be added later")
        )
    return [
        f"quicker   {flags}: about {duration(time)} ({but})"
        for flags, time, but in found
        if time < WORTH * seconds
    ]


def _before_trainings(run: RunFolder, ready: Ready, lines: list[str]) -> float:
    """Return the seconds of the missing trees and embeddings that training runs need, and add lines on them."""
    seconds = 0.0
    if run.stage(Stage.CLUSTER) is None:
        classes = len(ready.embeddings.class_names) if ready.trees.within == "class" else 1
        seconds = clustering_seconds(len(ready.embeddings), ready.embeddings.width, classes)
        lines.append(f"cluster   {counted(classes, 'class')}, at most {duration(seconds)}")
    again = ready.plan.embeddings - 1
    if again:
        each = float(run.require(Stage.EMBED)["seconds"])
        lines.append(f"embed     {again:,} more, about {duration(each)} each as the first took")
        seconds += again * each
    return seconds


def _embedding(
    source: str | Path,
    opened: ImageSource | Embeddings,
    folder: RunFolder,
    embedder: Embedder | ByLabels | None,
    holdout: float,
    layer: str | None,
    *,
    reread: bool,
) -> _Embedding:
    """Estimate the embedding of an open source."""
    done: dict[str, Any] = {}
    taken = describe_taken(account(opened))
    if folder.json_path.exists() and not reread:
        known = folder.read()
        refuse_changed(folder, opened)
        same = opened.origin if isinstance(opened, Embeddings) else opened.fingerprint
        if known["source"]["fingerprint"] != same:
            raise RunFolderError(
                f"{folder.path} holds a run of {known['source']['spec']}; choose another --out"
            )
        done = known["stages"]
    if isinstance(opened, Embeddings):
        check_vectors_alone(source, embedder, holdout)
        line = f"source   {source}: {taken}; nothing to embed"
        return _Embedding(len(opened), opened.width, (line,), memory=opened.vectors.nbytes)
    require("torch", "images")
    from ..embedding.estimate import Sample, estimate_from
    from ..embedding.extract import check_labels
    from ..embedding.timing import Watch

    watch = Watch()
    chosen = settled(default_embedder(opened, embedder), folder.path)
    rows, held_out = split_holdout(opened, holdout)
    apart = f"; {len(held_out):,} held out" if len(held_out) else ""
    line = f"source   {opened.spec}: {taken}{apart}"
    if Stage.EMBED in done:
        embedded = done[Stage.EMBED]
        widths = embedded["layers"]
        width = widths.get(layer, widths["end"])
        return _Embedding(embedded["n"], width, (line, "embed    done already"))
    check_labels(opened, chosen, rows)
    sample = Sample.of(opened, chosen, rows)
    expected = estimate_from(sample, chosen)
    ways = [
        f"quicker  {way.flags}: about {duration(way.seconds)} to embed ({way.but})"
        for way in quicker(sample, chosen, expected)
    ]
    lines = (
        line,
        *(f"embed    {note}" for note in expected.notes),
        f"embed    about {duration(expected.seconds)}",
    )
    return _Embedding(
        n=len(rows),
        width=expected.width,
        lines=lines,
        seconds=expected.seconds,
        memory=expected.memory_bytes,
        disk=expected.disk_bytes,
        notes=(*ways, *watch.busy()),
    )


def clustering_memory(embeddings: Embeddings, cut: Cut, memory: int | None) -> tuple[int, str]:
    """Return the bytes that clustering takes with the vectors, and a note; the largest class decides."""
    from ..linkage.memory import MemoryBudgetError, Resources
    from ..tree.forecast import forecast
    from ..tree.merges import uncut

    tree = uncut(embeddings, cut.within)
    largest = int(tree.sizes.argmax())
    members = np.flatnonzero(tree.class_index == largest)
    merges = 0 if cut.keep is None else len(members) - cut.wanted(len(members))
    resources = Resources(memory=memory)
    one = replace(resources, threads=1)  # clustering falls back to this where more would not fit
    may = f"{size(resources.bytes)} may be used"
    if not merges:
        return embeddings.vectors.nbytes, f"{may} beside the vectors"
    rows = embeddings.vectors if len(members) == len(embeddings) else embeddings.vectors[members]
    try:
        try:
            expected = forecast(rows, merges, resources)
        except MemoryBudgetError:
            expected = forecast(rows, merges, one)
    except MemoryBudgetError as error:
        return embeddings.vectors.nbytes + error.needed, str(error)
    fits = f"; keep {1 - expected.fits / len(members):.2f} should fit" if expected.fits < merges else ""
    note = f"the largest class takes about {size(expected.needed)} beside the vectors, and {may}{fits}"
    return embeddings.vectors.nbytes + expected.needed, note


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


def duration(seconds: float) -> str:
    """Return seconds in words."""
    if seconds < 90:
        return f"{max(seconds, 1):.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def size(count: int) -> str:
    """Return bytes in words."""
    return f"{count / 2**20:,.0f} MiB" if count < 2**30 else f"{count / 2**30:.1f} GiB"
