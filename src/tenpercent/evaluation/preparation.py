"""Preparation of an evaluation: images, test set, trees, arms, plan and the results so far, opened and checked."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Self

from ..data.sources.options import SourceOptions
from ..data.sources.source import ImageSource
from ..data.store.embeddings import Embeddings, Ints
from ..data.store.files import fingerprint
from ..data.store.run_folder import RunFolder, Stage
from ..embedding.settings import Supervised
from ..errors import StageError, UsageError, require
from .other_trees import Trees

if TYPE_CHECKING:
    import pyarrow as pa

    from .arms import Arms
    from .evaluation_set import EvaluationSet
    from .experiment import Train
    from .presets import Protocol
    from .results import Results
    from .training import TrainingData
    from .trials import Plan, Trial

log = logging.getLogger("tenpercent")


@dataclass(frozen=True)
class Asked:
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
    from .trials import FULL, RANDOM

    names = {arm for arm in arms if "=" not in arm}
    return len(names) < len(arms) and names <= {FULL, RANDOM}


@dataclass(frozen=True, eq=False)
class Ready:
    """The input of training runs, opened and checked; no image is read yet.

    Attributes:
        images: of the run.
        embeddings: the run's own.
        judged: the evaluation set.
        trees: those that images are chosen by.
        arms: the images of each arm.
        plan: the training runs asked for.
        results: the training runs that are done.
        decisions: a fingerprint of the decisions about images, "" where there are none.
    """

    images: ImageSource
    embeddings: Embeddings
    judged: EvaluationSet
    trees: Trees
    arms: Arms
    plan: Plan
    results: Results
    decisions: str

    @classmethod
    def of(cls, run: RunFolder, asked: Asked) -> Self:
        """Open a run folder and the comparison asked for, and check both.

        Raises:
            UsageError: no labels, nothing to test on, an unknown arm, a fraction out of its range.
        """
        from ..selection.stored import constraints_for, load_embeddings, open_images
        from .arms import Arms, check_arms
        from .evaluation_set import evaluation_set
        from .results import Results
        from .trials import Plan

        run.require(Stage.EMBED)
        images, embeddings = open_images(run), load_embeddings(run)
        if embeddings.labels is None or not (embeddings.labels >= 0).any():
            raise UsageError(
                f"the images of {run.path} have no labels, and every arm is judged by learning them; give a source "
                "that has labels"
            )
        names, lists = _split_arms(asked.arms, embeddings)
        check_arms(names)
        judged = evaluation_set(run, images, asked.test, asked.test_options)
        sizes = tuple((name, len(found) / len(embeddings)) for name, found in lists.items())
        trees = Trees(run, ignore_decisions=asked.ignore_decisions)
        decisions = constraints_for(run, embeddings, ignore=asked.ignore_decisions).fingerprint
        plan = Plan(names, asked.keep, asked.trials, asked.layers or (trees.layer,), asked.embeddings, sizes)
        about = f"{run.source.fingerprint}-{embeddings.origin}"
        least = min((trial.fraction for trial in plan.all() if trial.arm not in lists), default=1.0)
        arms = Arms(embeddings, partial(trees.tree, least), trees.layer, trees.cut, lists)
        return cls(images, embeddings, judged, trees, arms, plan, Results(run, about), decisions)

    def stored(self) -> pa.Table:
        """Return the stored training runs, a row each.

        Raises:
            StageError: the folder holds results of other images or of a newer version.
            UsageError: a list is not the one that earlier training runs of its name used.
        """
        table = self.results.rebuild()
        self.arms.check_lists(table)
        return table

    def key(self, protocol: Protocol) -> str:
        """Return the key shared by results that may be compared: how images were chosen, trained and tested."""
        test = self.judged
        judged = [test.source.fingerprint, test.source.split, test.rows.tolist()]
        decided = [self.decisions] if self.decisions else []
        return fingerprint([protocol.fingerprint, judged, self.trees.within, self.trees.cut, *decided])

    def check(self, protocol: Protocol) -> None:
        """Check that training is possible, before trees are made and images read; call it before `trainer`.

        Raises:
            UsageError: there is no such network, or its weights can't be used.
            MissingExtraError: torch is not installed.
        """
        require("torch", "images")
        from ..embedding.extract import check_embedder

        check_embedder(protocol.training)

    def announce(self, count: int) -> None:
        """Report what is about to start."""
        log.info(
            "%d %s; testing on %s images (%s)",
            count,
            "training" if count == 1 else "trainings",
            f"{len(self.judged.rows):,}",
            self.judged.name,
        )

    def tell_of_decisions(self) -> None:
        """Report the arms that follow the decisions about images, and those that ignore them."""
        from .trials import FULL, RANDOM, SEMANTIC

        if not self.decisions:
            return
        others = [arm for arm in self.plan.arms if arm not in (FULL, RANDOM, SEMANTIC)]
        log.info("what was decided about images holds in %s, and %s draws its shares", SEMANTIC, RANDOM)
        if others:
            log.warning("decisions about images take no part in %s: they know none", ", ".join(others))

    def make_trees(self, trials: Sequence[Trial]) -> None:
        """Make the trees that trials are chosen by: embeddings take long, and one process alone makes them."""
        for embedding, layer in sorted(
            {found for one in trials if (found := self.arms.chosen_by(one)) is not None}
        ):
            self.arms.merges(embedding, layer)

    def trainer(self, protocol: Protocol) -> tuple[Train, int]:
        """Read all images; return the function that trains on some of them, and the number of runs to make at once."""
        from .training import at_once, settled, train_once

        data = self.data(protocol.training.side if isinstance(protocol.training, Supervised) else None)
        most = at_once(data.pixels.size, len(data.pixels), protocol)
        choice = self.results.folder / f"precision-{self.key(protocol)}.json"
        return partial(train_once, data, settled(data, protocol, choice)), most

    def data(self, side: int | None) -> TrainingData:
        """Read all images, those above 64 pixels resized to a shorter side of `side`; None for the default.

        The test images get the size of the training images.
        """
        from ..embedding.pixels import scan
        from .training import TrainingData

        seen = scan(self.images, self.embeddings.rows, side=side)
        test = scan(self.judged.source, self.judged.rows, size=seen.pixels.size)
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
