"""Forecast of an experiment's training runs, timed on a few steps and a few predictions with a few of its images."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import psutil

from ..embedding.estimate import BUDGET, Sample, time_step
from ..embedding.predictions import EvaluationPixels, predict
from ..embedding.settings import batch_of
from ..embedding.timing import fastest, on_threads, shared
from ..errors import counted
from ..linkage.threads import cpus
from .presets import Protocol
from .training import course

ROW_BYTES = 12_000  # of a training run's file beside a bit an image and an entry of the curve
ENTRY_BYTES = 48
PREDICTED = 64  # images of a measured prediction


@dataclass(frozen=True)
class TrainingForecast:
    """The forecast of training runs.

    Attributes:
        read: seconds to read the images, once per process.
        seconds: of a training run with its tests, by the fraction it trains on.
        memory_bytes: of one process.
        checkpoint_bytes: during a training run.
        row_bytes: of its file.
        words: network, steps, tests, rates and precision.
    """

    read: float
    seconds: dict[float, float]
    memory_bytes: int
    checkpoint_bytes: int
    row_bytes: int
    words: str


def forecast(
    sample: Sample,
    protocol: Protocol,
    tests: int,
    fractions: list[float],
    count: int,
    budget: float = BUDGET,
) -> TrainingForecast:
    """Time some steps and predictions, and forecast a training run on each fraction.

    Args:
        sample: some of the images trained on.
        protocol: the settings.
        tests: number of test images.
        fractions: of the labelled images.
        count: threads of a training run.
        budget: seconds to spend on timing.
    """
    training, n = protocol.training, sample.labelled
    step = time_step(training, sample, budget, count)
    trained, images = step.trained, sample.found.pixels
    places = np.arange(min(PREDICTED, len(images)))
    test = EvaluationPixels(images, np.zeros(len(images), dtype=np.int64), places, protocol.mirrored)

    def work() -> object:
        return predict(trained.network, trained.view, trained.choice, trained.device, test)

    timed = fastest(work, budget / 2) if trained.device.type != "cpu" else on_threads(work, count, budget / 2)
    read = shared(sample.read, cpus())
    again = 0.0 if sample.fits(training) else read
    image, prediction = step.seconds + again, timed / len(places) + again
    full = course(protocol, n, n)
    pixels = (sample.n + tests) * (sample.bytes // sample.n)
    mirrored = " and mirror images" if protocol.mirrored else ""
    return TrainingForecast(
        read=(sample.n + tests) * read,
        seconds={
            fraction: seconds_of(protocol, n, tests, fraction, (image, prediction)) for fraction in fractions
        },
        memory_bytes=psutil.Process().memory_info().rss
        + (0 if again else pixels)
        + step.held * batch_of(training)
        + 3 * step.weights,
        checkpoint_bytes=3 * step.weights,
        row_bytes=ROW_BYTES + sample.n // 8 + ENTRY_BYTES * protocol.evaluations,
        words=f"{step.name}: {counted(full.steps, 'step')} of {batch_of(training)} images at "
        f"{1 / image:,.0f} images/s; {counted(len(full.marks), 'test')} on {counted(tests, 'image')}{mirrored} at "
        f"{1 / prediction:,.0f} images/s; {trained.choice.precision}",
    )


def seconds_of(protocol: Protocol, n: int, tests: int, fraction: float, each: tuple[float, float]) -> float:
    """Return the seconds of a training run: of its steps, of each test, and of the last test on the removed images.

    Args:
        protocol: the settings.
        n: number of labelled images.
        tests: number of test images.
        fraction: of the labelled images, trained on.
        each: seconds to train on an image, and to predict one, with its mirror image where the protocol asks for it.
    """
    k = max(2, round(fraction * n))
    planned = course(protocol, k, n)
    return planned.steps * k / planned.batches * each[0] + (len(planned.marks) * tests + n - k) * each[1]
