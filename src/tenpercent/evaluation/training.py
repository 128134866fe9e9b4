"""One training run on some of the images, and the test of the resulting network."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from filelock import FileLock
from torch import nn

from ..data.store.environment import machine
from ..data.store.files import write_text
from ..data.store.tables import damaged
from ..data.store.typed import parsed
from ..embedding.augment import Ints, PixelSource, View
from ..embedding.loop import TrainingLength, threads
from ..embedding.networks import Size, build
from ..embedding.precision import choose
from ..embedding.predictions import EvaluationPixels, Predictions, predict
from ..embedding.processes import devices_for
from ..embedding.settings import ChoiceRecord, Precision, Supervised, Timm, batch_of
from ..embedding.training import Trained, batches_of, default_epochs, seeded, threads_for, train
from ..embedding.training_files import read_curve
from ..embedding.weights import model_view, timm_model
from ..errors import UsageError, counted
from .presets import Protocol, SharedLength

PROCESS_BYTES = 2 << 30  # memory assumed for one of several training runs, beside the images
SMALL_ENOUGH = 32 * 32  # up to this many pixels several training runs go at once: see `at_once`


@dataclass(frozen=True, eq=False)
class TrainingData:
    """The images of an experiment.

    Attributes:
        pixels: m images, whose subsets are trained on.
        labels: int64[m], codes below `n_classes`; images with −1 are never trained on, and not tested either.
        test_pixels: the test images, of the same size.
        test_labels: int64[t], the same codes.
        n_classes: of both.
    """

    pixels: PixelSource
    labels: Ints
    test_pixels: PixelSource
    test_labels: Ints
    n_classes: int

    def __post_init__(self) -> None:
        if tuple(self.test_pixels.size) != tuple(self.pixels.size):
            test, ours = _by(self.test_pixels), _by(self.pixels)
            raise UsageError(
                f"the test images are {test} pixels and the training images {ours}; bring them to one size first"
            )
        for name, pixels, labels in (
            ("training", self.pixels, self.labels),
            ("test", self.test_pixels, self.test_labels),
        ):
            if len(pixels) != len(labels):
                raise UsageError(
                    f"there are {len(pixels)} {name} images and {len(labels)} labels; give one for each"
                )
        if len(self.test_labels) == 0:
            raise UsageError("there are no test images; name a test set that has some")
        most = max(int(self.labels.max(initial=-1)), int(self.test_labels.max()))
        if most >= self.n_classes:
            where = "test" if int(self.test_labels.max()) == most else "training"
            raise UsageError(
                f"the {where} set has class code {most} and the training data {self.n_classes} classes (up to code "
                f"{self.n_classes - 1}); leave out images of other classes"
            )
        if int(self.test_labels.min()) < 0:
            unknown = int((self.test_labels < 0).sum())
            raise UsageError(f"{unknown} test images have no label; leave them out of the test set")


@dataclass(frozen=True)
class TrainingResult:
    """The result of one training run.

    Attributes:
        accuracy: the final test accuracy, 0 to 1.
        top5: the share of test images whose class is among the five best guesses; None up to ten classes.
        best_accuracy: the best accuracy over the evaluations: optimistic, since the test images choose it.
        loss: of the training images, as trained (varied, smoothed, weighted), mean since the evaluation before.
        test_loss: the mean cross-entropy of the test images.
        class_accuracy: by class code; nan for a class without test images.
        removed_accuracy: accuracy on the labelled images that were not trained on; None where there are none.
        curve: one entry an evaluation: step, epoch, loss (as above), test_accuracy, test_loss, and the seconds of
            training since the entry before.
        steps: of training.
        epochs: passes over the images trained on.
        seconds: of training alone, without the evaluations.
    """

    accuracy: float
    top5: float | None
    best_accuracy: float
    loss: float
    test_loss: float
    class_accuracy: tuple[float, ...]
    removed_accuracy: float | None
    curve: tuple[dict[str, float], ...]
    steps: int
    epochs: float
    seconds: float


def train_once(
    data: TrainingData, protocol: Protocol, places: Ints, seed: int, folder: Path
) -> TrainingResult:
    """Train a network on some of the images, from random weights or a model's own, and test it; or resume that.

    Weights, order and augmentation follow from `seed` alone. A killed run resumes from its last
    checkpoint in `folder` and ends with the same weights on the same machine with the same number of threads; a
    finished one is only tested again. The folder can be removed once the result is stored.

    Args:
        data: the images.
        protocol: the settings of the experiment.
        places: int64[k], positions of the images trained on, each once, in any order.
        seed: 0 to 2^32 − 1.
        folder: of this run alone.

    Raises:
        UsageError: a position is not of a labelled image, or is there twice; the images have one class only; the
            network doesn't fit them.
        StageError: the folder holds another training run.
        TrainingFailedError: the loss became nan or infinite.
    """
    labels = _labels_of(data, places)
    settings = replace(protocol.training, seed=seed)
    length = course(protocol, len(places), int((data.labels >= 0).sum()))
    evaluation = EvaluationPixels(
        data.test_pixels, data.test_labels, np.arange(len(data.test_labels)), protocol.mirrored
    )
    start = _start(data, settings)
    trained = train(data.pixels, labels, data.n_classes, settings, folder, start, length, evaluation)
    found = _predictions(trained, evaluation)
    left_out = np.flatnonzero((data.labels >= 0) & (labels < 0))
    removed = None
    if len(left_out):
        removed = _predictions(
            trained, EvaluationPixels(data.pixels, data.labels, left_out, protocol.mirrored)
        ).accuracy
    curve = _curve(folder, found)
    return TrainingResult(
        accuracy=found.accuracy,
        top5=None if found.among_top is None else float(found.among_top.mean()),
        best_accuracy=max(entry["test_accuracy"] for entry in curve),
        loss=curve[-1]["loss"],
        test_loss=found.loss,
        class_accuracy=_by_class(found, data.test_labels, data.n_classes),
        removed_accuracy=removed,
        curve=curve,
        steps=length.steps,
        epochs=length.steps / length.batches,
        seconds=round(sum(entry["seconds"] for entry in curve), 3),
    )


def course(protocol: Protocol, n: int, n_full: int) -> TrainingLength:
    """Return the length of training on `n` of `n_full` images, and the steps after which to test.

    The batches of an epoch are of nearly the same size, at most the protocol's. Steps that the protocol gives in epochs
    are those of the full set, and so are epochs that it gives in steps.
    """
    training = protocol.training
    own, full = batches_of(n, batch_of(training)), batches_of(n_full, batch_of(training))
    steps = training.steps
    if steps is None:
        steps = full * (training.epochs or default_epochs(n_full, batch_of(training)))
    if protocol.length is SharedLength.EPOCHS:
        steps = max(1, round(steps * own / full))
    looks = protocol.evaluations
    marks = sorted({-(-steps * look // looks) for look in range(1, looks + 1)})
    return TrainingLength(-(-steps // own), own, steps, tuple(marks))


def settled(data: TrainingData, protocol: Protocol, path: Path) -> Protocol:
    """Return the protocol with a precision: ``auto`` is measured once, so that training runs are alike.

    Args:
        data: all images.
        protocol: the settings.
        path: the file that stores the choice, for later calls and other processes.
    """
    training = protocol.training
    if training.precision != Precision.AUTO:
        return protocol
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_suffix(".lock")):
        if not path.exists():
            start = _start(data, training)
            view = View.of(data.pixels, training.recipe) if start is None else start[1]
            seen, devices = view.resize or view.crop, devices_for(training.devices)
            with seeded(0), threads(threads_for(seen, devices)):
                if isinstance(training, Timm):
                    network = timm_model(training, data.n_classes)
                else:
                    network = build(training.network, training.depth, data.n_classes, data.pixels.size)
                choice = choose(network, seen, devices.first, Precision.AUTO)
            write_text(path, json.dumps(choice.as_json() | {"machine": machine()}, indent=2) + "\n")
    return as_recorded(protocol, path)


def as_recorded(protocol: Protocol, path: Path) -> Protocol:
    """Return the protocol with the precision that `settled` has stored; as it is where there is none."""
    if protocol.training.precision != Precision.AUTO or not path.exists():
        return protocol
    return protocol.override(precision=_chosen(path)["precision"])


def _chosen(path: Path) -> dict[str, Any]:
    try:
        return dict(parsed(path.read_bytes(), ChoiceRecord))
    except (OSError, ValueError) as error:
        raise damaged(path, error) from None


def at_once(size: Size, count: int, protocol: Protocol) -> int:
    """Return how many training runs to make at once, with one thread each, rather than one after the other.

    Up to 32 × 32 pixels one per CPU: threads of one run wait for each other after every layer, which
    costs at most a little where the machine is free and half of it where it is not (docs/speed.md). Larger images keep
    all threads busy. Never more than the machine's memory holds.

    Args:
        size: height and width of the images.
        count: of the images that are trained on.
        protocol: the settings.
    """
    height, width = size
    where = devices_for(protocol.training.devices)
    small = height * width <= SMALL_ENOUGH and (where.kind, where.count) == ("cpu", 1)
    if not (small and hasattr(os, "sched_getaffinity")):
        return 1
    fit = psutil.virtual_memory().total // (PROCESS_BYTES + 3 * height * width * count)
    return max(1, min(len(os.sched_getaffinity(0)), fit))


def _start(data: TrainingData, settings: Supervised | Timm) -> tuple[nn.Module, View] | None:
    """Return the network to fine-tune and its input view, its classifier's weights by the seed; None from scratch."""
    if isinstance(settings, Supervised):
        return None
    model = timm_model(settings, data.n_classes)
    return model, model_view(model, data.pixels)


def _labels_of(data: TrainingData, places: Ints) -> Ints:
    """Return the labels with −1 for the images that are not trained on."""
    m = len(data.labels)
    if len(places) and (int(places.min()) < 0 or int(places.max()) >= m):
        raise UsageError(
            f"a position is {int(places.max())} or below 0 and there are {m} images; give 0 to {m - 1}"
        )
    if len(np.unique(places)) < len(places):
        raise UsageError(f"{len(places) - len(np.unique(places))} positions are there twice; give each once")
    unlabelled = int((data.labels[places] < 0).sum())
    if unlabelled:
        raise UsageError(f"{unlabelled} of the images to train on have no label; leave them out")
    labels = np.full(m, -1, dtype=np.int64)
    labels[places] = data.labels[places]
    classes = len(np.unique(data.labels[places]))
    if classes < 2:
        raise UsageError(
            f"the {len(places)} images to train on have {counted(classes, 'class')}; keep two or more"
        )
    return labels


def _predictions(trained: Trained, evaluation: EvaluationPixels) -> Predictions:
    return predict(trained.network, trained.view, trained.choice, trained.device, evaluation)


def _curve(folder: Path, last: Predictions) -> tuple[dict[str, float], ...]:
    """Return the stored training curve, its last entry with the final test results."""
    entries = read_curve(folder)
    entries[-1] |= {"test_accuracy": last.accuracy, "test_loss": last.loss}
    names = ("step", "epoch", "loss", "test_accuracy", "test_loss", "seconds")
    curve: list[dict[str, Any]] = [{name: entry.get(name) for name in names} for entry in entries]
    return tuple(curve)


def _by_class(found: Predictions, labels: Ints, n_classes: int) -> tuple[float, ...]:
    counts = np.bincount(labels, minlength=n_classes)
    right = np.bincount(labels[found.correct], minlength=n_classes)
    return tuple(np.divide(right, counts, out=np.full(n_classes, np.nan), where=counts > 0).tolist())


def _by(pixels: PixelSource) -> str:
    return f"{pixels.size[0]} × {pixels.size[1]}"
