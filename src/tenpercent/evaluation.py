"""Evaluate a run: train from scratch on what it keeps, beside random subsets and the full set."""

from __future__ import annotations

import logging
import multiprocessing
import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Self

from .embed.settings import Supervised
from .errors import LockedError, StageError, TenpercentError, TrainingFailedError, UsageError, require
from .images.options import SourceOptions
from .images.source import ImageSource
from .pipeline import report
from .progress import quiet
from .store.embeddings import Embeddings, Ints
from .store.files import fingerprint
from .store.run import RunFolder, Stage
from .trees import Trees

if TYPE_CHECKING:
    import pyarrow as pa

    from .evaluate.arms import Arms
    from .evaluate.evaluation_set import EvaluationSet
    from .evaluate.experiment import Tally
    from .evaluate.find import Done
    from .evaluate.presets import Protocol
    from .evaluate.results import Results
    from .evaluate.training import TrainingData
    from .evaluate.trials import Plan

log = logging.getLogger("tenpercent")

LADDER = (0.95, 0.9, 0.8, 0.7, 0.5, 0.3)  # what a search tries where nothing is said


@dataclass(frozen=True)
class Asked:
    """What an evaluation is to compare.

    Attributes:
        keep: fractions kept, each above 0 and below 1.
        arms: ``full``, strategies (``random``, ``semantic``, …), or NAME=FILE with row numbers or ids.
        trials: trainings of each.
        layers: whose vectors the images are chosen by; none for the layer that the run was clustered by.
        embeddings: how many trainings of the embedding they are chosen by.
        test: a source of images to test on, None for the run's own.
        test_options: column names, split and the like of `test`.
    """

    keep: tuple[float, ...] = (0.9,)
    arms: tuple[str, ...] = ("full", "random", "semantic")
    trials: int = 10
    layers: tuple[str, ...] = ()
    embeddings: int = 1
    test: str | None = None
    test_options: SourceOptions = field(default_factory=SourceOptions)


@dataclass(frozen=True, eq=False)
class Evaluation:
    """What an evaluation came to.

    Attributes:
        table: one row a training of this run folder, whatever call they are from.
        tally: what became of the trials asked for.
        protocol: the fingerprint of how they were trained.
    """

    table: pa.Table = field(repr=False)
    tally: Tally
    protocol: str


def evaluate(what: str | Path, asked: Asked, protocol: Protocol) -> Evaluation:
    """Train once for each arm, fraction and trial, and store what comes out.

    Every training is the same but for its images and its seed. What is stored already is not trained again; a training
    that was interrupted goes on from its last checkpoint; several processes may share the folder.

    Args:
        what: a run folder, made of labelled images.
        asked: what to compare.
        protocol: how to train.

    Raises:
        UsageError: no labels, nothing to test on, an unknown arm, a fraction out of its range.
        StageError: results of other images or of a newer version are in the way.
    """
    from .evaluate.experiment import missing, run_trials, tally
    from .evaluate.trials import FULL

    ready = _Ready.of(RunFolder.open(what), asked)
    ready.results.rebuild()  # refuses what is in the way before anything is trained
    trials, key = ready.plan.all(), ready.key(protocol)
    left = missing(trials, ready.results, key)
    if left:
        require("torch", "images")
        from .evaluate.training import at_once, train_once

        ready.announce(left)
        blind = {FULL, *ready.arms.lists}
        ready.trees.make(sorted({(one.embedding, one.layer) for one in trials if one.arm not in blind}))
        data = ready.data()
        with _Beside(what, asked, protocol, min(at_once(data, protocol), left) - 1):
            run_trials(trials, ready.arms, ready.results, key, partial(train_once, data, protocol))
        # What a process beside this one left, whatever became of it.
        run_trials(trials, ready.arms, ready.results, key, partial(train_once, data, protocol))
    return Evaluation(ready.results.rebuild(), tally(trials, ready.results, key), key)


def protocol_of(what: str | Path, name: str | None) -> tuple[Protocol, int]:
    """Return how to train, and how often: a preset's, or as the run's own embedding was trained.

    A preset that differs from how the embedding was trained is warned of: in the paper both are the same.

    Args:
        what: a run folder.
        name: of a preset; None for the settings of the embedding.

    Raises:
        UsageError: no such preset; or none is named, and the embedding was not trained from scratch.
    """
    from .evaluate.presets import Protocol, preset

    run = RunFolder.open(what)
    embedder = run.require(Stage.EMBED)["settings"]["embedder"]
    own = Supervised.from_json(embedder) if embedder["embedder"] == "supervised" else None
    if name is not None:
        found = preset(name)
        settings = found.protocol.training
        if own is not None and replace(own, seed=settings.seed, devices=settings.devices) != settings:
            log.warning("the embedding was trained with other settings than --preset %s", name)
        return found.protocol, found.trials
    if own is None:
        raise UsageError(
            f"the embedding of {run.path} was not trained from scratch, so it does not say how to train; "
            "name settings with --preset (tenpercent presets lists them)"
        )
    return Protocol(own), Asked().trials


def find(
    what: str | Path, asked: Asked, protocol: Protocol, margin: float | None = None
) -> tuple[Evaluation, Done]:
    """Search the smallest fraction whose loss against the full set stays within a margin, with 95% confidence.

    Trainings are made one after the other, where they decide (`evaluate.find`); all of them are kept, and those that
    are there already count.

    Args:
        what: a run folder, made of labelled images.
        asked: `keep` are the fractions to try, `trials` the most of each side, and the one arm besides ``full`` is the
            one searched.
        protocol: how to train.
        margin: in points of accuracy, above 0; None for the usual one.

    Returns:
        All trainings, and what the search came to.

    Raises:
        UsageError: see `evaluate`; or not one arm to search.
    """
    from .evaluate.experiment import missing, run_trials, tally
    from .evaluate.find import Done, find_step
    from .evaluate.trials import FULL, Trial

    (arm, *others) = [arm for arm in asked.arms if arm not in (FULL, "random")] or [FULL]
    if arm == FULL or "=" in arm or others or len(asked.layers) > 1 or asked.embeddings > 1:
        raise UsageError(
            f"--find searches one arm, of one layer and embedding, against full; asked for are {', '.join(asked.arms)}"
        )
    margin = checked_margin(margin)
    require("torch", "images")
    from .evaluate.training import train_once

    ready = _Ready.of(RunFolder.open(what), asked)
    key, layer = ready.key(protocol), ready.plan.layers[0]
    data: TrainingData | None = None
    tried: list[Trial] = []
    while True:
        table = _searched(ready.results.rebuild(), key, arm, layer)
        step = find_step(table, margin, asked.keep, asked.trials, arm)
        if isinstance(step, Done):
            return Evaluation(ready.results.rebuild(), tally(tried, ready.results, key), key), step
        whole = step.arm == FULL
        trial = Trial(step.trial, 0, "end" if whole else layer, step.fraction, step.arm)
        if data is None:
            data = ready.data()
        run_trials([trial], ready.arms, ready.results, key, partial(train_once, data, protocol))
        if missing([trial], ready.results, key):
            raise LockedError(f"another process trains {trial} in {what}; wait for it, then search again")
        tried.append(trial)


def checked_margin(margin: float | None) -> float:
    """Return the margin in points of accuracy; the usual one for None.

    Raises:
        UsageError: it is not above 0.
    """
    from .evaluate.statistics import MARGIN

    if margin is None:
        return MARGIN
    if not margin > 0:
        raise UsageError(f"--margin is {margin:g}; it must be above 0, in points of accuracy, e.g. 0.3")
    return margin


def _searched(table: pa.Table, protocol: str, arm: str, layer: str) -> pa.Table:
    """Return the rows that a search looks at: of one protocol, layer and embedding."""
    import pyarrow.compute as pc

    one = (pc.field("protocol") == protocol) & (pc.field("embedding") == 0)
    return table.filter(one & ((pc.field("arm") != arm) | (pc.field("layer") == layer)))


@dataclass(frozen=True, eq=False)
class _Ready:
    """All that trainings take, opened and checked; no image is read yet."""

    images: ImageSource
    embeddings: Embeddings
    judged: EvaluationSet
    trees: Trees
    arms: Arms
    plan: Plan
    results: Results

    @classmethod
    def of(cls, run: RunFolder, asked: Asked) -> Self:
        from .evaluate.arms import Arms, check_arms
        from .evaluate.evaluation_set import evaluation_set
        from .evaluate.results import Results
        from .evaluate.trials import Plan
        from .select.stored import load_embeddings, open_images

        run.require(Stage.EMBED)
        images, embeddings = open_images(run), load_embeddings(run)
        if embeddings.labels is None or not (embeddings.labels >= 0).any():
            raise UsageError(
                f"the images of {run.path} have no labels, and every arm is judged by learning them; give a source "
                "that has labels"
            )
        judged = evaluation_set(run, images, asked.test, asked.test_options)
        names, lists = _split_arms(asked.arms, embeddings)
        check_arms(names)
        sizes = tuple((name, len(found) / len(embeddings)) for name, found in lists.items())
        trees = Trees(run, min(asked.keep, default=1.0))
        plan = Plan(names, asked.keep, asked.trials, asked.layers or (trees.layer,), asked.embeddings, sizes)
        about = f"{run.read()['source']['fingerprint']}-{embeddings.origin}"
        arms = Arms(embeddings, trees.tree, trees.budget, lists)
        return cls(images, embeddings, judged, trees, arms, plan, Results(run, about))

    def key(self, protocol: Protocol) -> str:
        """Return what results that may be compared have in common: how was trained, chosen and tested."""
        test = self.judged
        judged = [test.source.fingerprint, test.source.split, test.rows.tolist()]
        return fingerprint([protocol.fingerprint, judged, self.trees.within, self.trees.budget])

    def announce(self, count: int) -> None:
        """Say what is about to begin."""
        log.info(
            "%d trainings; testing on %s images (%s)", count, f"{len(self.judged.rows):,}", self.judged.name
        )

    def data(self) -> TrainingData:
        """Read all images."""
        from .embed.pixels import scan
        from .evaluate.training import TrainingData

        seen, test = scan(self.images, self.embeddings.rows), scan(self.judged.source, self.judged.rows)
        if seen.rejected:
            raise StageError(
                f"the image {seen.rejected[0].id!r} could be read when it was embedded, not now "
                f"({seen.rejected[0].reason}); bring it back, or begin a new run"
            )
        for lost in test.rejected:
            log.warning("not tested on %s: %s", lost.id, lost.reason)
        assert self.embeddings.labels is not None
        assert self.judged.source.labels is not None
        return TrainingData(
            pixels=seen.pixels,
            labels=self.embeddings.labels,
            test_pixels=test.pixels,
            test_labels=self.judged.source.labels[test.rows],
            n_classes=len(self.embeddings.class_names),
        )


def _split_arms(arms: Sequence[str], embeddings: Embeddings) -> tuple[tuple[str, ...], dict[str, Ints]]:
    """Return the arms that are known by name, and those that are lists, with their positions."""
    from .evaluate.arms import is_known, read_list

    names, lists = [], {}
    for arm in arms:
        name, is_list, path = arm.partition("=")
        if not is_list:
            names.append(name)
        elif not name or not path or name in lists or is_known(name):
            raise UsageError(
                f"--arms is given {arm!r}; a list is NAME=FILE, each name once, and none that is an arm already"
            )
        else:
            lists[name] = read_list(Path(path), embeddings)
    return tuple(names), lists


def finish(what: str | Path, evaluation: Evaluation, margin: float | None = None) -> str:
    """Write the report anew where there is one to be had, and the tables and figures; return what is known, in words.

    Args:
        what: the run folder.
        evaluation: what came out.
        margin: the loss in points that is still accepted; None for the usual one.

    Raises:
        TrainingFailedError: trainings failed: says which, once everything is written.
    """
    import pyarrow.compute as pc

    from .show.evidence import describe_evidence, write_evidence

    run = RunFolder.open(what)
    mine = evaluation.table.filter(pc.field("protocol") == evaluation.protocol)
    lines = [describe_evidence(mine, margin)]
    for trial, who in evaluation.tally.elsewhere:
        lines.append(f"{trial}: {who} is at it.")
    if run.stage(Stage.SELECT) is not None:
        try:
            lines.append(f"See it: {report(run.path, margin)}")
        except LockedError as held:
            lines.append(
                f"The report is not written anew ({held}); make it with: tenpercent report {run.path}"
            )
    else:
        names = tuple(run.read()["source"]["class_names"])
        write_evidence(run.evidence, evaluation.table, names, margin)
        lines.append(f"Tables and figures: {run.evidence}")
    if evaluation.tally.failed:
        log.info("%s", "\n".join(lines))
        trial, reason = evaluation.tally.failed[0]
        raise TrainingFailedError(
            f"{len(evaluation.tally.failed)} trainings failed, {evaluation.tally.done} did not (the first: {trial}: "
            f"{reason}); all are in {run.results}"
        )
    return "\n".join(lines)


# ---- several trainings at once -----------------------------------------------------------------------------------


class _Beside:
    """Processes that take trials of the same folder, for as long as this context lasts."""

    def __init__(self, what: str | Path, asked: Asked, protocol: Protocol, count: int) -> None:
        context = multiprocessing.get_context("spawn")
        arguments = (what, asked, protocol, os.getpid())
        self.processes = [context.Process(target=_share, args=arguments, daemon=True) for _ in range(count)]

    def __enter__(self) -> None:
        for process in self.processes:
            process.start()

    def __exit__(self, kind: object, *_: object) -> None:
        for process in self.processes:
            if kind is not None:
                process.terminate()
            process.join()


def _share(what: str | Path, asked: Asked, protocol: Protocol, parent: int) -> None:
    """Train what nobody is at, until all is done or the process that began this one is gone."""
    from .evaluate.experiment import run_trials
    from .evaluate.training import train_once

    with (
        quiet(True),
        suppress(KeyboardInterrupt, TenpercentError),
    ):  # the first process meets the same and says so
        ready = _Ready.of(RunFolder.open(what), asked)
        train = partial(train_once, ready.data(), protocol)
        goes_on = lambda: os.getppid() == parent  # noqa: E731
        run_trials(ready.plan.all(), ready.arms, ready.results, ready.key(protocol), train, goes_on)
