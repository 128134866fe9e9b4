"""Dry runs of `evaluate`: the networks or heads still to train, and their estimated cost. Nothing is written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ..data.store.run_folder import RunFolder, Stage
from ..embedding.timing import IdleTimer
from ..errors import counted, duration_text, require
from ..evaluation.preparation import EvaluationRequest, Preparation
from ..evaluation.presets import preset
from .dry_run import LIBRARIES, REPORT, START, TORCH, DryRun, clustering_seconds, slowness
from .dry_run_tasks import describe_training_tasks
from .quicker_ways import LONG, PRESET, WORTH, suits

if TYPE_CHECKING:
    from ..embedding.estimate import Sample
    from ..evaluation.forecast import TrainingForecast
    from ..evaluation.presets import Protocol
    from ..evaluation.trials import Trial
    from ..tasks.task import Capacity, Engine

HEAD_FILE = 12_000  # bytes of the results of a head


def plan_evaluation(
    what: str | Path,
    request: EvaluationRequest,
    protocol: Protocol,
    engine: Engine | None = None,
    *,
    searched: bool = False,
) -> DryRun:
    """Estimate the training runs of an evaluation; nothing is trained or written.

    Args:
        what, request, protocol, engine: as for `evaluation.evaluate`, with its errors.
        searched: plan for `evaluation.find`, which needs those of two arms, and fewer than all.
    """
    require("torch", "images")
    from ..embedding.estimate import Sample
    from ..evaluation.stage import searched_arm
    from ..evaluation.trials import FULL

    timer, run = IdleTimer(), RunFolder.open(what)
    arms = {FULL, searched_arm(request)} if searched else set(request.arms)
    ready = Preparation.of(run, request)
    ready.check(protocol)
    trials = [one for one in ready.trials if not searched or one.arm in arms]
    left = [one for one in trials if not ready.results.done(one, ready.key(protocol))]
    sample = Sample.of(ready.images, protocol.training, ready.embeddings.rows)
    size = None if engine is None else engine.size(None)
    seconds, together, found = _training_runs(ready, protocol, sample, left, searched, size)
    here = together if size is None else min(together, size.alone.threads)  # on one machine
    most = " at most, as a search ends once it is decided" if searched else ""
    steps = [
        f"source    {ready.images.spec}: {counted(len(ready.embeddings), ready.images.noun)}, tested on "
        f"{len(ready.test_set.rows):,} ({ready.test_set.name})",
        f"evaluate  {counted(len(trials), 'training run')}: {len(trials) - len(left):,} done, "
        f"{len(left):,} to do{most}",
        f"evaluate  {found.words}" + (f", {together} training runs at once" if together > 1 else ""),
    ]
    if size is not None and left:
        steps.append(f"tasks     {describe_training_tasks(len(left), size)}")
    for one in dict.fromkeys(replace(one, trial=0) for one in left):
        count = sum(replace(each, trial=0) == one for each in left)
        name = str(one).partition(",")[0]
        steps.append(f"evaluate  {name}: {count:,} of about {duration_text(found.seconds[one.fraction])}")
    notes = timer.busy()
    if left and seconds > LONG:
        notes = [*_quicker_evaluations(ready, protocol, sample, left, seconds, size), *notes]
    more = _preparation(run, ready, steps) if left else 0.0
    start, reporting = slowness() * (START + TORCH), slowness() * REPORT
    steps.append(f"report    about {duration_text(reporting)}: {run.report}")
    return DryRun(
        seconds=start + seconds + more + reporting,
        steps=tuple(steps),
        start=start,
        memory_bytes=here * found.memory_bytes if left else 0,
        disk_bytes=len(left) * found.row_bytes + (together * found.checkpoint_bytes if left else 0),
        notes=tuple(notes),
    )


def plan_heads(what: str | Path, request: EvaluationRequest, *, searched: bool = False) -> DryRun:
    """Estimate an evaluation by heads on frozen vectors; nothing is written.

    Args:
        what, request: as for `heads.stage.evaluate_by_heads`, with its errors.
        searched: plan for `heads.stage.find_by_heads`.
    """
    from ..evaluation.heads.pool import PART, test_set
    from ..evaluation.heads.regression import seconds_of
    from ..evaluation.heads.stage import check_heads
    from ..evaluation.heads.trial import GRID, memory_of
    from ..evaluation.stage import searched_arm
    from ..evaluation.trials import FULL, plan_trials
    from ..selection.stored import load_embeddings

    timer, run = IdleTimer(), RunFolder.open(what)
    check_heads(run, request)
    embeddings, tested = load_embeddings(run), test_set(run, request)
    arms = (FULL, searched_arm(request)) if searched else request.arms
    heads, n = len(plan_trials(arms, request.keep, 1)), len(embeddings)
    n_tested = round(PART * n) if tested is None else len(tested.rows)
    trained = n - n_tested if tested is None else n
    classes, width = len(embeddings.class_names), embeddings.width
    tree = clustering_seconds(trained, width, classes)
    fitted = seconds_of(trained, width, heads * classes)
    seconds = request.trials * (tree + fitted) + seconds_of(trained, width, len(GRID) * classes)
    begin, reporting = slowness() * START, slowness() * REPORT
    steps = [
        f"source    {run.source.spec}: {counted(n, embeddings.noun)}; a trial tests {n_tested:,} "
        f"({'a fifth of them' if tested is None else f'as many as in: {tested.name}'})",
        f"evaluate  {counted(heads * request.trials, 'head')}, {counted(request.trials, 'trial')} of "
        f"{heads:,}{' at most, as a search ends once it is decided' if searched else ''}: a trial takes about "
        f"{duration_text(tree + fitted)}",
        f"report    about {duration_text(reporting)}: {run.report}",
    ]
    embedded = 0.0
    if tested is not None:
        embedded = n_tested * run.require(Stage.EMBED).seconds / n
        steps.insert(
            1,
            f"embed     the {counted(n_tested, f'test {embeddings.noun}')}, unless that is done: about "
            f"{duration_text(embedded)}",
        )
    return DryRun(
        seconds=begin + embedded + seconds + reporting,
        steps=tuple(steps),
        start=begin,
        memory_bytes=LIBRARIES
        + embeddings.vectors.nbytes
        + memory_of(trained, width, heads * classes, classes),
        disk_bytes=request.trials * heads * HEAD_FILE,
        notes=tuple(timer.busy()),
    )


def _training_runs(
    ready: Preparation,
    protocol: Protocol,
    sample: Sample,
    left: Sequence[Trial],
    searched: bool,
    size: Capacity | None,
) -> tuple[float, int, TrainingForecast]:
    """Return the seconds of all training runs left, the number made at once, and the forecast of one."""
    from ..evaluation.forecast import forecast
    from ..evaluation.stage import threads_of_each
    from ..evaluation.training import as_recorded, at_once

    protocol = as_recorded(protocol, ready.precision_path(protocol))
    most = 1 if searched else at_once(sample.found.pixels.size, sample.n, protocol)
    threads = threads_of_each(min(most, len(ready.trials)))
    if size is not None:
        most, threads = size.gpus or size.together, 1
    together = max(1, min(most, len(left)))
    fractions = sorted({one.fraction for one in left} | {1.0})
    found = forecast(sample, protocol, len(ready.test_set.rows), fractions, threads)
    trained = sum(found.seconds[one.fraction] for one in left) / together
    return trained + (together * found.read if left else 0.0), together, found


def _quicker_evaluations(
    ready: Preparation,
    protocol: Protocol,
    sample: Sample,
    left: Sequence[Trial],
    seconds: float,
    size: Capacity | None,
) -> list[str]:
    """Return lines on quicker ways: the quick preset where the images are of its size, and half as many trials."""
    found, quick = [], preset(PRESET)
    other_network = getattr(protocol.training, "network", None) != quick.training.network
    if other_network and suits(sample.found.pixels.size):
        other = _training_runs(ready, quick.protocol, sample, ready.trials, False, size)[0]
        found.append((f"--preset {PRESET}", other, "narrow network, few epochs: lower accuracy"))
    half = ready.request.trials // 2
    share = sum(one.trial < half for one in left) / len(left)
    if share:
        found.append((f"--trials {half}", seconds * share, "wider intervals; more can be added later"))
    return [
        f"quicker   {flags}: about {duration_text(time)} ({but})"
        for flags, time, but in found
        if time < WORTH * seconds
    ]


def _preparation(run: RunFolder, ready: Preparation, steps: list[str]) -> float:
    """Return the seconds of the trees and embeddings that training runs still need, and add lines on them."""
    seconds = 0.0
    if run.stage(Stage.CLUSTER) is None:
        classes = len(ready.embeddings.class_names) if ready.arms.trees.within == "class" else 1
        seconds = clustering_seconds(len(ready.embeddings), ready.embeddings.width, classes)
        steps.append(f"cluster   {counted(classes, 'class')}: at most {duration_text(seconds)}")
    more = ready.request.embeddings - 1
    if more:
        each = run.require(Stage.EMBED).seconds
        steps.append(f"embed     {more:,} more, about {duration_text(each)} each, as long as the first took")
    return seconds + more * each if more else seconds
