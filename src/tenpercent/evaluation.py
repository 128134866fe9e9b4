"""Evaluate a run: train from scratch on what it keeps, beside random subsets and the full set."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .errors import StageError, UsageError, require
from .images.options import SourceOptions
from .images.source import ImageSource
from .pipeline import cluster
from .store.embeddings import Embeddings, Ints
from .store.run import RunFolder, Stage

if TYPE_CHECKING:
    import pyarrow as pa

    from .evaluate.evaluation_set import EvaluationSet
    from .evaluate.experiment import Tally, Train
    from .evaluate.presets import Protocol
    from .select.merges import Merges

log = logging.getLogger("tenpercent")


@dataclass(frozen=True)
class Asked:
    """What an evaluation is to compare.

    Attributes:
        keep: fractions kept, each above 0 and below 1.
        arms: ``full``, ``random``, ``semantic``, or NAME=FILE with row numbers or ids.
        trials: trainings of each.
        layers: whose vectors the images are chosen by.
        test: a source of images to test on, None for the run's own.
        test_options: column names, split and the like of `test`.
    """

    keep: tuple[float, ...] = (0.9,)
    arms: tuple[str, ...] = ("full", "random", "semantic")
    trials: int = 10
    layers: tuple[str, ...] = ("end",)
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
    from .evaluate.arms import Arms, check_arms
    from .evaluate.evaluation_set import evaluation_set
    from .evaluate.experiment import run_trials
    from .evaluate.results import Results
    from .evaluate.trials import Plan
    from .select.stored import load_embeddings, open_images

    run = RunFolder.open(what)
    run.require(Stage.EMBED)
    images = open_images(run)
    embeddings = load_embeddings(run)
    _check_labels(run, embeddings)
    judged = evaluation_set(run, images, asked.test, asked.test_options)
    names, lists = _split_arms(asked.arms, embeddings)
    check_arms(names, tuple(lists))
    plan = Plan(
        names,
        asked.keep,
        asked.trials,
        asked.layers,
        lists=tuple((name, len(found) / len(embeddings)) for name, found in lists.items()),
    )
    trees = _Trees(run, min(asked.keep, default=1.0))
    arms = Arms(embeddings, trees.tree, trees.budget, lists)
    about = f"{run.read()['source']['fingerprint']}-{embeddings.origin}"
    results = Results(run, about)
    results.rebuild()  # refuses what is in the way before anything is trained
    log.info("testing on %s images (%s)", f"{len(judged.rows):,}", judged.name)
    train = _trainer(images, embeddings, judged, protocol)
    key = protocol.fingerprint
    tally = run_trials(plan.all(), arms, results, key, train)
    return Evaluation(results.rebuild(), tally, key)


def _check_labels(run: RunFolder, embeddings: Embeddings) -> None:
    if embeddings.labels is None or not (embeddings.labels >= 0).any():
        raise UsageError(
            f"the images of {run.path} have no labels, and every arm is judged by learning them; give a source that "
            "has labels"
        )


def _split_arms(arms: Sequence[str], embeddings: Embeddings) -> tuple[tuple[str, ...], dict[str, Ints]]:
    """Return the arms that are known by name, and those that are lists, with their positions."""
    from .evaluate.arms import read_list

    names, lists = [], {}
    for arm in arms:
        name, is_list, path = arm.partition("=")
        if not is_list:
            names.append(name)
        elif not name or not path or name in lists:
            raise UsageError(f"--arms is given {arm!r}; a list is NAME=FILE, each name once")
        else:
            lists[name] = read_list(Path(path), embeddings)
    return tuple(names), lists


class _Trees:
    """The trees that selections are cut from: the stored one for its layer, others made when they are needed."""

    def __init__(self, run: RunFolder, least: float) -> None:
        self.run, self.least = run, least
        settings = (run.stage(Stage.CLUSTER) or {"settings": {}})["settings"]
        self.within = settings.get("within")
        self.layer = settings.get("layer", "end")
        self.budget = ((run.stage(Stage.SELECT) or {"settings": {}})["settings"].get("budget")) or "class"
        self.known: dict[tuple[int, str], Merges] = {}

    def tree(self, embedding: int, layer: str) -> Merges:
        """Return the tree of an embedding and a layer, as deep as the smallest fraction asked for."""
        key = (embedding, layer)
        if key not in self.known:
            self.known[key] = self._made(layer)
        return self.known[key]

    def _made(self, layer: str) -> Merges:
        from .select.stored import load_embeddings

        if layer == self.layer:  # deepened where it must be, and stored
            return cluster(self.run.path, self.least, within=self.within, layer=layer)
        return cluster(load_embeddings(self.run, layer), self.least, within=self.within)


def _trainer(images: ImageSource, embeddings: Embeddings, judged: EvaluationSet, protocol: Protocol) -> Train:
    """Read the images once, and return what trains on some of them; nothing is read before it is first called."""
    require("torch", "images")
    from .embed.pixels import scan
    from .evaluate.training import TrainingData, train_once

    assert embeddings.labels is not None
    loaded: list[TrainingData] = []

    def data() -> TrainingData:
        if not loaded:
            seen, test = scan(images, embeddings.rows), scan(judged.source, judged.rows)
            if seen.rejected:
                raise StageError(
                    f"the image {seen.rejected[0].id!r} could be read when it was embedded, not now "
                    f"({seen.rejected[0].reason}); bring it back, or begin a new run"
                )
            for lost in test.rejected:
                log.warning("not tested on %s: %s", lost.id, lost.reason)
            assert judged.source.labels is not None and embeddings.labels is not None
            loaded.append(
                TrainingData(
                    pixels=seen.pixels,
                    labels=embeddings.labels,
                    test_pixels=test.pixels,
                    test_labels=judged.source.labels[test.rows],
                    n_classes=len(embeddings.class_names),
                )
            )
        return loaded[0]

    def train(positions: Ints, seed: int, folder: Path) -> Any:
        return train_once(data(), np.asarray(positions), protocol, seed, folder)

    return train
