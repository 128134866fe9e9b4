"""One training of an experiment, from scratch, judged by images that it does not see."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..embed.augment import Ints, PixelSource
from ..embed.loop import CURVE
from ..embed.measure import Answers, Exam, ask
from ..embed.training import TINY, Length, Trained, batches_of, length, train
from ..errors import UsageError
from .presets import Length as Same
from .presets import Protocol

MOST_REMOVED = 10_000  # of the images left out so many are asked about, evenly spaced


@dataclass(frozen=True, eq=False)
class TrainingData:
    """All images of an experiment.

    Attributes:
        pixels: n images to train on.
        labels: int64[n], −1 for none.
        test_pixels: m images to be judged by.
        test_labels: int64[m], from 0 to n_classes − 1.
        n_classes: how many classes there are.
    """

    pixels: PixelSource
    labels: Ints
    test_pixels: PixelSource
    test_labels: Ints
    n_classes: int


@dataclass(frozen=True, eq=False)
class Outcome:
    """What a training came to; the columns of the results.

    Attributes:
        accuracy: of the end, on the test images, 0 to 1.
        top5: share of test images whose class is among the five best guesses; None up to ten classes.
        best_accuracy: the highest of all evaluations, which is optimistic.
        loss: of the training images since the evaluation before the last.
        test_loss: mean cross-entropy of the test images at the end.
        class_accuracy: of each class; nan where no test image is of it.
        removed_accuracy: on training images that this one did not get, 10,000 of them where there are more, evenly
            spaced; None where it got all.
        curve: one entry an evaluation: step, epoch, loss, test_accuracy, test_loss, seconds (of training, summed up).
        steps: batches trained.
        epochs: passes over its images.
        seconds: of training alone.
    """

    accuracy: float
    top5: float | None
    best_accuracy: float
    loss: float
    test_loss: float
    class_accuracy: list[float]
    removed_accuracy: float | None
    curve: list[dict[str, float]]
    steps: int
    epochs: float
    seconds: float


def train_once(data: TrainingData, protocol: Protocol, positions: Ints, seed: int, folder: Path) -> Outcome:
    """Train from scratch on some images, or go on with that, and judge the network.

    Weights, order and augmentation follow from the seed: the same call gives the same weights on the same machine and
    number of threads, interrupted or not.

    Args:
        data: all images.
        protocol: how.
        positions: int64[k], which to train on, each with a label.
        seed: in [0, 2³¹).
        folder: for checkpoints; a call that was interrupted goes on from there.

    Raises:
        UsageError: the test images are of another size, fewer than two classes, a network that does not fit.
        TrainingFailedError: the loss became nan or infinite.
    """
    if data.test_pixels.size != data.pixels.size:
        (a, b), (c, d) = data.test_pixels.size, data.pixels.size
        raise UsageError(
            f"the images to test on are {a} × {b} pixels, those to train on {c} × {d}; give images of the same size"
        )
    labels = np.full(len(data.labels), -1, dtype=np.int64)
    labels[positions] = data.labels[positions]
    planned = plan(protocol, len(positions), int((data.labels >= 0).sum()))
    everything = np.arange(len(data.test_labels), dtype=np.int64)
    exam = Exam(data.test_pixels, data.test_labels, everything, protocol.mirrored)
    settings = replace(protocol.settings, seed=seed)
    trained = train(data.pixels, labels, data.n_classes, settings, folder, planned=planned, exam=exam)
    curve = json.loads((folder / CURVE).read_text(encoding="utf-8"))
    return _outcome(trained, data, exam, labels, planned, curve)


def plan(protocol: Protocol, n: int, full: int) -> Length:
    """Return how long a training on `n` of `full` images is, and when the test set is looked at."""
    whole, batches = length(full, protocol.settings), batches_of(n, protocol.settings.batch)
    steps = whole.steps
    if protocol.length is Same.EPOCHS:
        steps = max(1, round(whole.steps / whole.batches * batches))
    marks = {max(1, round(steps * k / protocol.evaluations)) for k in range(1, protocol.evaluations + 1)}
    return Length(-(-steps // batches), batches, steps, tuple(sorted(marks)))


def at_once(data: TrainingData, protocol: Protocol) -> int:
    """Return how many trainings at once are faster than one after the other.

    Up to 16 × 16 pixels a training takes one thread (`embed.training.threads_for`), so there is one for each
    processor; larger images keep all threads busy.
    """
    small = data.pixels.size[0] * data.pixels.size[1] <= TINY and protocol.settings.devices in (None, 1)
    return len(os.sched_getaffinity(0)) if small and hasattr(os, "sched_getaffinity") else 1


def _outcome(
    trained: Trained,
    data: TrainingData,
    exam: Exam,
    labels: Ints,
    planned: Length,
    stored: list[dict[str, Any]],
) -> Outcome:
    found = _asked(trained, exam)
    stored[-1] |= {"test_accuracy": found.accuracy, "test_loss": found.loss}
    curve, seconds = [], 0.0
    for entry in stored:
        seconds += entry["seconds"]
        names = ("step", "epoch", "loss", "test_accuracy", "test_loss")
        curve.append({**{name: entry[name] for name in names}, "seconds": round(seconds, 3)})
    counts = np.bincount(data.test_labels, minlength=data.n_classes)
    right = np.bincount(data.test_labels[found.right], minlength=data.n_classes)
    left_out = np.flatnonzero((labels < 0) & (data.labels >= 0))
    removed = None
    if len(left_out):
        few = left_out[
            np.linspace(0, len(left_out) - 1, min(len(left_out), MOST_REMOVED)).round().astype(np.int64)
        ]
        removed = _asked(trained, Exam(data.pixels, data.labels, few, exam.mirrored)).accuracy
    return Outcome(
        accuracy=found.accuracy,
        top5=None if found.among is None else float(found.among.mean()),
        best_accuracy=max(entry["test_accuracy"] for entry in curve),
        loss=curve[-1]["loss"],
        test_loss=found.loss,
        class_accuracy=np.divide(right, counts, out=np.full(len(counts), np.nan), where=counts > 0).tolist(),
        removed_accuracy=removed,
        curve=curve,
        steps=planned.steps,
        epochs=planned.steps / planned.batches,
        seconds=round(seconds, 3),
    )


def _asked(trained: Trained, exam: Exam) -> Answers:
    return ask(trained.network, trained.view, trained.choice, trained.device, exam)
