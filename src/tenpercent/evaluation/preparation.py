"""Preparation of an evaluation: images, test set, trees, arms, trials and the results so far, opened and checked."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np

from ..data.sources.options import SourceOptions
from ..data.sources.pictures import picture_options
from ..data.sources.source import SETS, ImageSource
from ..data.store.embeddings import Embeddings, Ints
from ..data.store.files import fingerprint
from ..data.store.run_folder import RunFolder, Stage
from ..embedding.settings import Supervised
from ..errors import StageError, UsageError, quoted, require
from .trials import FULL, RANDOM, SEMANTIC, Trial, plan_trials

if TYPE_CHECKING:
    from .arms import Arms
    from .evaluation_set import EvaluationSet
    from .experiment import Trainer
    from .presets import Protocol
    from .results import Results
    from .training import TrainingData

log = logging.getLogger("tenpercent")


@dataclass(frozen=True)
class EvaluationRequest:
    """The comparison that a caller asks for.

    Attributes:
        keep: fractions kept, each above 0 and below 1.
        arms: ``full``, strategies (``random``, ``semantic``, …), or NAME=FILE with row numbers or ids.
        trials: training runs of each.
        layers: layers whose vectors the images are chosen by; none for the layer that the run was clustered by.
        embeddings: number of embeddings, each trained with its own seed, that they are chosen by.
        test: a source of images to test on, None for the run's own.
        test_options: column names, split and the like of `test`.
        ignore_decisions: choose images as if no decisions had been made.
    """

    keep: tuple[float, ...] = (0.9,)
    arms: tuple[str, ...] = ("full", "random", "semantic")
    trials: int = 10
    layers: tuple[str, ...] = ()
    embeddings: int = 1
    test: str | None = None
    test_options: SourceOptions = field(default_factory=SourceOptions)
    ignore_decisions: bool = False


def sized_by_lists(arms: Sequence[str]) -> bool:
    """Return whether arms are lists and random draws take the size of each, so that fractions need not be given."""
    names = {arm for arm in arms if "=" not in arm}
    return len(names) < len(arms) and names <= {FULL, RANDOM}


def check_labelled_images(run: RunFolder) -> None:
    """Raise for a run without images or labels to train on.

    Raises:
        StageError: nothing has been embedded yet.
        UsageError: the run was made of vectors, or its images have no labels.
    """
    run.require(Stage.EMBED)
    source = run.source
    if picture_options(source) is None:
        raise UsageError(
            f"{run.path} was made of vectors ({source.spec}) and has no images to train on; take heads on its vectors "
            "(--network head), or evaluate a run of images"
        )
    if not source.class_names:
        raise no_labels(f"the {source.noun}s of {run.path}")
    check_classes(run)


def check_classes(run: RunFolder) -> None:
    """Raise `UsageError` where the classes of a run are values that its images are grouped by (``--by``)."""
    if "by" in run.source.taken:
        raise UsageError(
            f"the images of {run.path} are grouped by {run.source.options['by']}, whose values are no classes to "
            "train on; train networks on its selection as a list, in a run of the same images by class: "
            f"tenpercent export {quoted(run.path)} --format indices --to kept; "
            "tenpercent evaluate OTHER --preset NAME --arms full random by=kept/indices.npy"
        )
    if SETS in run.source.taken:
        raise UsageError(
            f"the labels of {run.path} are sets of classes, not classes to train on; evaluate a run of its objects "
            "(tenpercent run --unit object)"
        )


def warn_of_boxes(run: RunFolder) -> None:
    """Warn of what training runs on objects don't prove."""
    if run.source.noun == "object":
        log.warning(
            "training runs classify the boxes, they do not find them: this is no proof for a detector"
        )


def no_labels(images: str) -> UsageError:
    """Return the error for images without labels."""
    return UsageError(
        f"{images} have no labels, and evaluation trains classifiers; start a run of labelled images, e.g. a folder "
        "with a subfolder per class"
    )


@dataclass(frozen=True, eq=False)
class Preparation:
    """The input of training runs, opened and checked; no image is read yet.

    Attributes:
        request: the comparison asked for.
        images: of the run.
        embeddings: the run's own.
        test_set: the images tested on.
        arms: the images of each arm.
        trials: the training runs asked for.
        results: the training runs that are done.
        decisions: a fingerprint of the decisions about images, "" where there are none.
    """

    request: EvaluationRequest
    images: ImageSource
    embeddings: Embeddings
    test_set: EvaluationSet
    arms: Arms
    trials: list[Trial]
    results: Results
    decisions: str

    @classmethod
    def of(cls, run: RunFolder, request: EvaluationRequest) -> Self:
        """Open a run folder and check the comparison asked for.

        Raises:
            UsageError: no labels, nothing to test on, an unknown arm, a fraction out of its range, or a list that is
                not the one that earlier training runs of its name used.
            StageError: the folder holds results of other images or of a newer version.
        """
        from ..selection.stored import constraints_for, load_embeddings, open_images
        from .arms import Arms, check_arms
        from .evaluation_set import evaluation_set
        from .other_trees import Trees
        from .results import Results

        check_labelled_images(run)
        warn_of_boxes(run)
        images, embeddings = open_images(run), load_embeddings(run)
        if embeddings.labels is None or not (embeddings.labels >= 0).any():
            raise no_labels(f"the embedded {images.noun}s of {run.path}")
        names, lists = _split_arms(request.arms, embeddings)
        check_arms(names)
        test_set = evaluation_set(run, images, request.test, request.test_options)
        trees = Trees(run, ignore_decisions=request.ignore_decisions)
        trials = plan_trials(
            names,
            request.keep,
            request.trials,
            request.layers or (trees.layer,),
            request.embeddings,
            [(name, len(found) / len(embeddings)) for name, found in lists.items()],
        )
        least = min((trial.fraction for trial in trials if trial.arm not in lists), default=1.0)
        arms = Arms(embeddings, trees, least, lists)
        results = Results(run, f"{run.source.fingerprint}-{embeddings.origin}")
        arms.check_lists(results.read())
        decisions = constraints_for(run, embeddings, ignore=request.ignore_decisions).fingerprint
        return cls(request, images, embeddings, test_set, arms, trials, results, decisions)

    def key(self, protocol: Protocol) -> str:
        """Return the key shared by results that may be compared: how images were chosen, trained and tested."""
        trees, source = self.arms.trees, self.test_set.source
        test = [source.fingerprint, source.split, self.test_set.rows.tolist()]
        decided = [self.decisions] if self.decisions else []
        return fingerprint([protocol.fingerprint, test, trees.within, trees.cut, *decided])

    def check(self, protocol: Protocol) -> None:
        """Check that training is possible, before trees are made and images read; call it before `trainer`.

        Raises:
            UsageError: there is no such network, or its weights can't be used.
            MissingExtraError: torch is not installed.
        """
        require("torch", "images")
        from ..embedding.extract import check_embedder

        check_embedder(protocol.training)

    def report_decisions(self) -> None:
        """Report the arms that follow the decisions about images, and those that ignore them."""
        if not self.decisions:
            return
        log.info(
            "decisions about %ss apply to %s; %s draws as many of each class",
            self.images.noun,
            SEMANTIC,
            RANDOM,
        )
        others = {trial.arm for trial in self.trials} - {FULL, RANDOM, SEMANTIC} - set(self.arms.lists)
        if others:
            log.warning("decisions about %ss do not apply to %s", self.images.noun, ", ".join(sorted(others)))

    def make_trees(self) -> None:
        """Make the trees that trials are chosen by: embeddings take long, and one process alone makes them."""
        for embedding, layer in sorted(
            {found for one in self.trials if (found := self.arms.chosen_by(one)) is not None}
        ):
            self.arms.merges(embedding, layer)

    def trainer(self, protocol: Protocol) -> tuple[Trainer, int]:
        """Read all images; return the function that trains on some of them, and the number of runs to make at once."""
        from .training import at_once, settled, train_once

        data = self.data(protocol.training.side if isinstance(protocol.training, Supervised) else None)
        most = at_once(data.pixels.size, len(data.pixels), protocol)
        return partial(train_once, data, settled(data, protocol, self.precision_path(protocol))), most

    def precision_path(self, protocol: Protocol) -> Path:
        """Return the file that stores the precision which was measured for training runs of a protocol."""
        return self.results.folder / f"precision-{self.key(protocol)}.json"

    def data(self, side: int | None) -> TrainingData:
        """Read all images, those above 64 pixels resized to a shorter side of `side`; None for the default.

        The test images get the size of the training images.
        """
        from ..embedding.pixels import scan
        from .evaluation_set import check_apart
        from .training import TrainingData

        seen = scan(self.images, self.embeddings.rows, side=side)
        test = scan(self.test_set.source, self.test_set.rows, size=seen.pixels.size)
        if seen.rejected:
            raise StageError(
                f"the image {seen.rejected[0].id!r} was readable when it was embedded and is not now "
                f"({seen.rejected[0].reason}); restore it, or start a new run"
            )
        check_apart(np.asarray(seen.hashes), np.asarray(test.hashes), self.test_set.name, self.images.noun)
        for rejected in test.rejected:
            log.warning("not tested on %s: %s", rejected.id, rejected.reason)
        assert self.embeddings.labels is not None
        assert self.test_set.source.labels is not None
        return TrainingData(
            pixels=seen.pixels,
            labels=self.embeddings.labels,
            test_pixels=test.pixels,
            test_labels=self.test_set.source.labels[test.rows],
            n_classes=len(self.embeddings.class_names),
        )


def _split_arms(arms: Sequence[str], embeddings: Embeddings) -> tuple[tuple[str, ...], dict[str, Ints]]:
    """Return the arms known by name, and those given as lists, with their positions."""
    from .arms import is_known, read_list

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
