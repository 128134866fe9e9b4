"""Evaluation stage of a run: train from scratch on its kept images, on random subsets and on the full set."""

from __future__ import annotations

import logging
import multiprocessing
import os
import threading
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from ..data.sources.pictures import picture_options
from ..data.store.run_folder import RunFolder, Stage
from ..embedding.settings import Supervised, Timm
from ..errors import LockedError, TenpercentError, TrainingFailedError, UsageError
from ..pipeline import report
from ..progress import quiet
from .other_trees import Trees
from .preparation import Asked as Asked
from .preparation import Ready

if TYPE_CHECKING:
    import pyarrow as pa

    from .experiment import Tally, Train
    from .find import SearchResult
    from .presets import Protocol
    from .trials import Trial

log = logging.getLogger("tenpercent")

LADDER = (0.95, 0.9, 0.8, 0.7, 0.5, 0.3)  # the fractions that a search tries by default


@dataclass(frozen=True, eq=False)
class Evaluation:
    """The outcome of an evaluation.

    Attributes:
        table: one row a training run of this run folder, from any call.
        tally: the progress of the trials asked for.
        protocol: the fingerprint of their settings.
    """

    table: pa.Table = field(repr=False)
    tally: Tally
    protocol: str

    @property
    def own(self) -> pa.Table:
        """The training runs of these settings."""
        import pyarrow.compute as pc

        return self.table.filter(pc.field("protocol") == self.protocol)


def evaluate(what: str | Path, asked: Asked, protocol: Protocol) -> Evaluation:
    """Train once for each arm, fraction and trial, and store the results.

    Training runs differ only in their images and seeds. Stored ones are not repeated; an interrupted one resumes from
    its last checkpoint; several processes may share the folder.

    Args:
        what: a run folder of labelled images.
        asked: the comparison.
        protocol: the training settings.

    Raises:
        UsageError: no labels, nothing to test on, an unknown arm or network, or a fraction out of its range.
        MissingExtraError: torch is not installed.
        StageError: the folder holds results of other images or of a newer version.
    """
    from .experiment import missing, run_trials, tally

    run = RunFolder.open(what)
    ready = Ready.of(run, asked)
    ready.stored()  # raises before anything is trained
    trials, key = ready.plan.all(), ready.key(protocol)
    left = missing(trials, ready.results, key)
    if left:
        ready.check(protocol)
        from ..embedding.loop import threads

        ready.announce(left)
        ready.tell_of_decisions()
        _warn(run, protocol)
        ready.make_trees(trials)
        train, most = ready.trainer(protocol)
        # By the trials asked for, not those left: the last bits of the weights depend on it.
        own, together = threads_of_each(min(most, len(trials))), min(most, left)
        if together > 1:
            log.info("%d trainings at once; the lines below are of one of them", together)
        with threads(own):
            with _Beside(what, asked, protocol, own, together - 1):
                run_trials(trials, ready.arms, ready.results, key, train)
            # Results left by a process beside this one, however it ended.
            run_trials(trials, ready.arms, ready.results, key, train)
    return Evaluation(ready.results.rebuild(), tally(trials, ready.results, key), key)


def protocol_of(what: str | Path, name: str | None) -> tuple[Protocol, int]:
    """Return the protocol and the number of trials: a preset's, or those of the run's own embedding.

    Args:
        what: the run folder.
        name: of a preset; None for the settings of the embedding.

    Raises:
        UsageError: the run has no images or no labels to train on; there is no such preset; or none is named, and the
            embedding was not trained from scratch.
    """
    from .presets import Protocol, preset

    run = RunFolder.open(what)
    _check_learnable(run)
    if name is not None:
        found = preset(name)
        if run.stage(Stage.CLUSTER) is not None and Trees(run).within != found.within:
            log.warning(
                "--preset %s chooses with --within %s, and the run was clustered with --within %s",
                name,
                found.within,
                Trees(run).within,
            )
        return found.protocol, found.trials
    own = _own_settings(run)
    if own is None:
        raise UsageError(
            f"the embedding of {run.path} was not trained from scratch, so it does not say how to train; "
            "name settings with --preset (tenpercent presets lists them)"
        )
    return Protocol(own), Asked().trials


def _check_learnable(run: RunFolder) -> None:
    """Raise for a run without images or labels, whatever the settings."""
    run.require(Stage.EMBED)
    source = run.source
    if picture_options(source) is None:
        raise UsageError(
            f"{run.path} was made of vectors ({source.spec}) and has no images to train on; evaluate a run of images"
        )
    if not source.class_names:
        raise UsageError(
            f"the images of {run.path} have no labels, and trainings learn them; begin a run of images that have "
            "labels, e.g. a folder with a subfolder a class"
        )


def own_choice(what: str | Path) -> tuple[float, str]:
    """Return the fraction and the strategy of a run's own selection; the defaults where it has none, or keeps all."""
    found = RunFolder.open(what).stage(Stage.SELECT)
    if found is None:
        return Asked().keep[0], "semantic"
    keep = found.settings.keep or found.kept / (found.kept + found.removed)
    return keep if keep < 1 else Asked().keep[0], found.settings.strategy


def _own_settings(run: RunFolder) -> Supervised | None:
    """Return the settings by which the run's embedding was trained from scratch, or None where it was not."""
    embedder = run.require(Stage.EMBED).settings.made_by
    return Supervised.from_json(embedder) if embedder["embedder"] == "supervised" else None


def _warn(run: RunFolder, protocol: Protocol) -> None:
    """Warn of differences from the paper, where the embedding and all training runs share their settings."""
    own, settings = _own_settings(run), protocol.training
    if own is not None and replace(own, seed=settings.seed, devices=settings.devices) != settings:
        log.warning("the embedding was trained with other settings than these trainings")
    embedder = run.require(Stage.EMBED).settings.made_by
    side = embedder.get("side")
    if side is not None and not isinstance(settings, Timm) and settings.side != side:
        log.warning("the embedding saw photos at %d pixels; --side %d trains on the same", side, side)
    selected = run.stage(Stage.SELECT)
    if selected is not None and selected.settings.keep_ids:
        stay = selected.settings.keep_ids
        log.warning("the %d images that --keep-ids made stay take no part: the tree alone chooses", stay)


def find(
    what: str | Path, asked: Asked, protocol: Protocol, margin: float | None = None
) -> tuple[Evaluation, SearchResult]:
    """Search for the smallest fraction whose loss against the full set stays within a margin, with 95% confidence.

    Training runs are made one after the other, as the search needs them (`evaluation.find`); all are stored, and
    stored ones count.

    Args:
        what: a run folder of labelled images.
        asked: `keep` are the fractions to try, `trials` the most of each side, and the one arm besides ``full`` is the
            one searched.
        protocol: the training settings.
        margin: in points of accuracy, above 0; None for the default.

    Returns:
        All training runs, and the end of the search.

    Raises:
        UsageError: see `evaluate`; or not one arm to search.
    """
    from .experiment import missing, run_trials, tally
    from .find import SearchResult, find_step
    from .trials import FULL, Trial

    arm = searched_arm(asked)
    margin = checked_margin(margin)
    run = RunFolder.open(what)
    ready = Ready.of(run, asked)
    ready.stored()
    ready.tell_of_decisions()
    _warn(run, protocol)
    key, layer = ready.key(protocol), ready.plan.layers[0]
    train: Train | None = None
    tried: list[Trial] = []
    while True:
        table = _searched(ready.results.rebuild(), key, arm, layer)
        step = find_step(table, margin, asked.keep, asked.trials, arm)
        if isinstance(step, SearchResult):
            return Evaluation(ready.results.rebuild(), tally(tried, ready.results, key), key), step
        whole = step.arm == FULL
        trial = Trial(step.trial, 0, "end" if whole else layer, step.fraction, step.arm)
        if train is None:
            ready.check(protocol)
            train, _ = ready.trainer(protocol)
        run_trials([trial], ready.arms, ready.results, key, train)
        if missing([trial], ready.results, key):
            raise LockedError(f"another process trains {trial} in {what}; wait for it, then search again")
        tried.append(trial)


def searched_arm(asked: Asked) -> str:
    """Return the one arm besides ``full`` that a search is for.

    Raises:
        UsageError: there is none, or more than one arm, layer or embedding.
    """
    from .trials import FULL

    (arm, *others) = [arm for arm in asked.arms if arm not in (FULL, "random")] or [FULL]
    if arm == FULL or "=" in arm or others or len(asked.layers) > 1 or asked.embeddings > 1:
        raise UsageError(
            f"--find searches one arm, of one layer and embedding, against full; asked for are {', '.join(asked.arms)}"
        )
    return arm


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


def _searched(table: pa.Table, protocol: str, arm: str, layer: str) -> pa.Table:
    """Return the rows that a search uses: of one protocol, layer and embedding."""
    import pyarrow.compute as pc

    one = (pc.field("protocol") == protocol) & (pc.field("embedding") == 0)
    return table.filter(one & ((pc.field("arm") != arm) | (pc.field("layer") == layer)))


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
    content, key = run.read(), evaluation.protocol
    names = run.source.class_names
    lines = [describe_evidence(evaluation.own, margin, names, content)]
    for trial, who in evaluation.tally.elsewhere:
        lines.append(f"{trial}: {who} is at it.")
    if run.stage(Stage.SELECT) is not None:
        try:
            lines.append(f"See it: {report(run.path, margin, protocol=key)}")
        except LockedError as held:
            lines.append(
                f"The report is not written anew ({held}); make it with: tenpercent report {run.path}"
            )
    else:
        write_evidence(run.evidence, evaluation.table, names, margin, key)
        lines.append(f"Tables and figures: {run.evidence}")
    if evaluation.tally.failed:
        log.info("%s", "\n".join(lines))
        failed, (trial, reason) = len(evaluation.tally.failed), evaluation.tally.failed[0]
        raise TrainingFailedError(
            f"{failed} of {failed + evaluation.tally.done} trainings failed (the first: {trial}: {reason}); to repeat "
            f"one delete its file, {Results(run, '').path(trial, key)}"
        )
    return "\n".join(lines)


# ---- several training runs at once -----------------------------------------------------------------------------------


class _Beside:
    """Processes that run trials of the same folder while this context lasts."""

    def __init__(self, what: str | Path, asked: Asked, protocol: Protocol, own: int, count: int) -> None:
        context = multiprocessing.get_context("spawn")
        arguments = (what, asked, protocol, own)
        self.processes = [context.Process(target=_share, args=arguments, daemon=True) for _ in range(count)]

    def __enter__(self) -> None:
        for process in self.processes:
            process.start()

    def __exit__(self, kind: object, *_: object) -> None:
        for process in self.processes:
            if kind is not None:
                process.terminate()
            process.join()


def threads_of_each(count: int) -> int:
    """Return how many threads each of `count` concurrent processes may use."""
    import torch

    return max(1, torch.get_num_threads() // count)


def _share(what: str | Path, asked: Asked, protocol: Protocol, own: int) -> None:
    """Run the unclaimed trials, with `own` threads, until all are done or the parent process is gone."""
    from ..embedding.loop import threads
    from .experiment import run_trials

    threading.Thread(target=_end_with_parent, daemon=True).start()
    # The first process runs what is left, and meets and reports the error.
    with quiet(True), threads(own), suppress(KeyboardInterrupt, TenpercentError):
        ready = Ready.of(RunFolder.open(what), asked)
        train, _ = ready.trainer(protocol)
        run_trials(ready.plan.all(), ready.arms, ready.results, ready.key(protocol), train)


def _end_with_parent() -> None:
    """End this process as soon as its parent is gone, killed or not; its trial can resume from its checkpoint."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
