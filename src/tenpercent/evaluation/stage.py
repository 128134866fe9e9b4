"""Evaluation stage of a run: train from scratch on its kept images, on random subsets and on the full set."""

from __future__ import annotations

import logging
import multiprocessing
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ..data.store.run_folder import RunFolder, Stage
from ..embedding.choice import SIDE
from ..embedding.settings import SMALL, Supervised, Timm
from ..errors import LockedError, TenpercentError, TrainingFailedError, UsageError, counted, quoted
from ..pipeline import report
from ..progress import quiet
from .preparation import EvaluationRequest as EvaluationRequest
from .preparation import Preparation, check_labelled_images
from .presets import Protocol, preset
from .trials import FULL, RANDOM, SEMANTIC, Trial

if TYPE_CHECKING:
    from ..tasks.task import Engine
    from .experiment import Trainer, TrialProgress
    from .find import SearchResult

log = logging.getLogger("tenpercent")

LONG = 2.0  # seconds after which the other processes start: each takes 3 s of CPU to load torch
SEARCHED = (0.95, 0.9, 0.8, 0.7, 0.5, 0.3)  # the fractions that a search tries by default


@dataclass(frozen=True, eq=False)
class Evaluation:
    """The outcome of an evaluation.

    Attributes:
        table: one row a training run of this run folder, from any call.
        progress: the progress of the trials asked for.
        protocol: the fingerprint of their settings.
    """

    table: pa.Table = field(repr=False)
    progress: TrialProgress
    protocol: str

    @property
    def own(self) -> pa.Table:
        """The training runs of these settings."""
        return self.table.filter(pc.field("protocol") == self.protocol)


def evaluate(
    what: str | Path, request: EvaluationRequest, protocol: Protocol, engine: Engine | None = None
) -> Evaluation:
    """Train once for each arm, fraction and trial, and store the results.

    Training runs differ only in their images and seeds. Stored ones are not repeated; an interrupted one resumes from
    its last checkpoint; several processes may share the folder.

    Args:
        what: a run folder of labelled images.
        request: the comparison.
        protocol: the training settings.
        engine: the place for training runs: `Ray`, `Processes`; each then takes one CPU, or a GPU where there are
            some. None for this process and others of this machine.

    Raises:
        UsageError: no labels, nothing to test on, an unknown arm or network, or a fraction out of its range.
        MissingExtraError: torch is not installed.
        StageError: the folder holds results of other images or of a newer version.
    """
    from .experiment import missing, progress_of

    run = RunFolder.open(what)
    ready = Preparation.of(run, request)
    trials, results, key = ready.trials, ready.results, ready.key(protocol)
    left = missing(trials, results, key)
    if left:
        ready.check(protocol)
        test = ready.test_set
        log.info(
            "%s; testing on %s (%s)",
            counted(left, "training run"),
            counted(len(test.rows), test.source.noun),
            test.name,
        )
        ready.report_decisions()
        _warn(run, protocol)
        ready.make_trees()
        if engine is None:
            _train_here(what, ready, protocol, left)
        else:
            from .trial_tasks import train_by_tasks

            with engine.opened(run.path) as runner:
                train_by_tasks(ready, protocol, runner)
    return Evaluation(results.rebuild(), progress_of(trials, results, key), key)


def _train_here(what: str | Path, ready: Preparation, protocol: Protocol, left: int) -> None:
    """Train what is missing in this process, and in others of this machine where that is quicker."""
    from ..embedding.loop import threads
    from .experiment import run_trials

    trials, arms, results, key = ready.trials, ready.arms, ready.results, ready.key(protocol)
    train, most = ready.trainer(protocol)
    # By the trials asked for, not those left: the last bits of the weights depend on it.
    own, together = threads_of_each(min(most, len(trials))), min(most, left)
    if together > 1:
        log.info("%d training runs at once; the lines below are of one of them", together)
    with threads(own):
        with _other_processes((what, ready.request, protocol, own), together - 1):
            run_trials(trials, arms, results, key, train)
        # Results left by another process, however it ended.
        run_trials(trials, arms, results, key, train)


def protocol_of(what: str | Path, name: str | None) -> tuple[Protocol, int]:
    """Return the protocol and the number of trials: a preset's, or those of the run's own embedding.

    Args:
        what: the run folder.
        name: of a preset; None for the settings of the embedding.

    Raises:
        UsageError: the run has no images or no labels to train on; there is no such preset; or none is named, and the
            embedding was not trained from scratch.
    """
    from ..selection.stored import load_embeddings
    from .other_trees import Trees

    run = RunFolder.open(what)
    check_labelled_images(run)
    if name is not None:
        found, within = preset(name), Trees(run).within
        if run.stage(Stage.CLUSTER) is not None and within != found.within:
            log.warning(
                "--preset %s selects with --within %s, but the run was clustered with --within %s",
                name,
                found.within,
                within,
            )
        return found.protocol, found.trials
    own = _own_settings(run)
    if own is None:
        sizes = load_embeddings(run).sizes
        small = sizes is None or np.median(sizes[:, :2].max(axis=1)) <= SMALL
        raise UsageError(
            f"the embedding of {run.path} was not trained from scratch, so it does not say how to train; give "
            f"--preset quick{'' if small else f' --side {SIDE}'}, or another of tenpercent presets"
        )
    return Protocol(own), EvaluationRequest().trials


def own_choice(what: str | Path) -> tuple[float, str]:
    """Return the fraction and the strategy of a run's own selection; the defaults where it has none, or keeps all."""
    usual, found = EvaluationRequest().keep[0], RunFolder.open(what).stage(Stage.SELECT)
    if found is None:
        return usual, SEMANTIC
    keep = found.settings.keep or found.kept / (found.kept + found.removed)
    return keep if keep < 1 else usual, found.settings.strategy


def _own_settings(run: RunFolder) -> Supervised | None:
    """Return the settings by which the run's embedding was trained from scratch, or None where it was not."""
    embedder = run.require(Stage.EMBED).settings.made_by
    return Supervised.from_json(embedder) if embedder["embedder"] == "supervised" else None


def _warn(run: RunFolder, protocol: Protocol) -> None:
    """Warn of differences from the paper, where the embedding and all training runs share their settings."""
    own, settings = _own_settings(run), protocol.training
    if own is not None and replace(own, seed=settings.seed, devices=settings.devices) != settings:
        log.warning("the embedding was trained with other settings than these training runs")
    side = run.require(Stage.EMBED).settings.made_by.get("side")
    if side is not None and not isinstance(settings, Timm) and settings.side != side:
        log.warning("the embedding saw photos at %d pixels; train on the same with --side %d", side, side)
    warn_of_ignored(run)


def warn_of_ignored(run: RunFolder) -> None:
    """Warn of images that the run's own selection keeps and an evaluation does not."""
    selected = run.stage(Stage.SELECT)
    if selected is None:
        return
    noun, ignored = run.source.noun, "ignored here: the tree alone selects"
    if count := selected.settings.keep_ids:
        log.warning("%s of --keep-ids %s", counted(count, noun), ignored)
    if count := selected.settings.locked:
        log.warning("%s %s", counted(count, f"locked {noun}"), ignored)


def find(
    what: str | Path, request: EvaluationRequest, protocol: Protocol, margin: float | None = None
) -> tuple[Evaluation, SearchResult]:
    """Search for the smallest fraction whose loss against the full set stays within a margin, with 95% confidence.

    Training runs are made one after the other, as the search needs them (`evaluation.find`); all are stored, and
    stored ones count.

    Args:
        what: a run folder of labelled images.
        request: `keep` are the fractions to try, `trials` the most of each arm, and the one arm besides ``full`` is
            the one searched.
        protocol: the training settings.
        margin: in points of accuracy, above 0; None for the default.

    Returns:
        All training runs, and the end of the search.

    Raises:
        UsageError: see `evaluate`; or not one arm to search.
    """
    from .experiment import missing, progress_of, run_trials
    from .find import SearchResult, find_step

    arm, margin, run = searched_arm(request), checked_margin(margin), RunFolder.open(what)
    ready = Preparation.of(run, request)
    ready.report_decisions()
    _warn(run, protocol)
    results, key = ready.results, ready.key(protocol)
    layer = request.layers[0] if request.layers else ready.arms.trees.layer
    train: Trainer | None = None
    tried: list[Trial] = []
    while True:
        table = results.rebuild()
        one = (pc.field("protocol") == key) & (pc.field("embedding") == 0)
        searched = table.filter(one & ((pc.field("arm") != arm) | (pc.field("layer") == layer)))
        step = find_step(searched, margin, request.keep, request.trials, arm)
        if isinstance(step, SearchResult):
            return Evaluation(table, progress_of(tried, results, key), key), step
        trial = Trial(step.trial, 0, "end" if step.arm == FULL else layer, step.fraction, step.arm)
        if train is None:
            ready.check(protocol)
            train, _ = ready.trainer(protocol)
        run_trials([trial], ready.arms, results, key, train)
        if missing([trial], results, key):
            raise LockedError(
                f"another process is training {trial} in {what}; wait for it, then search again"
            )
        tried.append(trial)


def searched_arm(request: EvaluationRequest) -> str:
    """Return the one arm besides ``full`` that a search is for.

    Raises:
        UsageError: there is none, or more than one arm, layer or embedding.
    """
    arms = [arm for arm in request.arms if arm not in (FULL, RANDOM)]
    if len(arms) != 1 or "=" in arms[0] or len(request.layers) > 1 or request.embeddings > 1:
        raise UsageError(
            f"--find compares one strategy, of one layer and one embedding, with full; --arms is "
            f"{' '.join(request.arms)}, so give e.g. --arms full semantic"
        )
    return arms[0]


def checked_margin(margin: float | None) -> float:
    """Return the margin in points of accuracy; the default for None.

    Raises:
        UsageError: it is not above 0.
    """
    from ..reporting.evidence.statistics import MARGIN

    if margin is None:
        return MARGIN
    if not 0 < margin <= 100:
        raise UsageError(
            f"--margin is {margin:g}; it must be above 0 and at most 100, in points of accuracy, e.g. 0.3"
        )
    return margin


def finish(what: str | Path, evaluation: Evaluation, margin: float | None = None) -> str:
    """Rewrite the report where there can be one, and the tables and figures; return the findings in words.

    Args:
        what: the run folder.
        evaluation: the outcome.
        margin: the loss in points that is still accepted; None for the default.

    Raises:
        TrainingFailedError: training runs failed; the message says which. Everything is written by then.
    """
    from ..reporting.evidence.section import describe_evidence, write_evidence
    from .results import Results

    run = RunFolder.open(what)
    content, key, progress = run.read(), evaluation.protocol, evaluation.progress
    names = run.source.class_names
    lines = [describe_evidence(evaluation.own, margin, names, content)]
    lines += [f"{trial}: {who} is training it." for trial, who in progress.elsewhere]
    if run.stage(Stage.SELECT) is None:
        write_evidence(run.evidence, evaluation.table, names, margin, key, run.source.noun)
        lines.append(f"Tables and figures: {run.evidence}")
    else:
        try:
            lines.append(f"Report: {report(run.path, margin, protocol=key)}")
        except LockedError as held:
            lines.append(
                f"The report was not rewritten ({held}); rewrite it with: tenpercent report {quoted(run.path)}"
            )
    if progress.failed:
        log.info("%s", "\n".join(lines))
        failed, (trial, reason) = len(progress.failed), progress.failed[0]
        raise TrainingFailedError(
            f"{failed} of {failed + progress.done} training runs failed (the first: {trial}: {reason}); to repeat one, "
            f"delete its file, {Results(run, '').path(trial, key)}"
        )
    return "\n".join(lines)


# ---- several training runs at once -----------------------------------------------------------------------------------


@contextmanager
def _other_processes(
    arguments: tuple[str | Path, EvaluationRequest, Protocol, int], count: int
) -> Iterator[None]:
    """Let `count` processes run trials of the same folder while this context lasts, if it lasts long."""
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_share, args=arguments, daemon=True) for _ in range(count)]
    done = threading.Event()

    def start() -> None:
        if done.wait(LONG):
            return
        for process in processes:
            process.start()

    starting = threading.Thread(target=start)
    starting.start()
    failed = True
    try:
        yield
        failed = False
    finally:
        done.set()
        starting.join()
        for process in processes:
            if process.pid is not None:
                if failed:
                    process.terminate()
                process.join()


def threads_of_each(count: int) -> int:
    """Return how many threads each of `count` concurrent processes may use."""
    import torch

    return max(1, torch.get_num_threads() // count)


def _share(what: str | Path, request: EvaluationRequest, protocol: Protocol, own: int) -> None:
    """Run the unclaimed trials, with `own` threads, until all are done or the parent process is gone."""
    from ..embedding.loop import threads
    from .experiment import run_trials

    threading.Thread(target=_end_with_parent, daemon=True).start()
    log.setLevel(logging.ERROR)  # the first process has told the rest
    # The first process runs what is left, and meets and reports the error.
    with quiet(True), threads(own), suppress(KeyboardInterrupt, TenpercentError):
        ready = Preparation.of(RunFolder.open(what), request)
        train, _ = ready.trainer(protocol)
        run_trials(ready.trials, ready.arms, ready.results, ready.key(protocol), train)


def _end_with_parent() -> None:
    """End this process as soon as its parent is gone, killed or not; its trial can resume from its checkpoint."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
