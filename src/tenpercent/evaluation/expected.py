"""Forecast of an experiment's training run, timed on a few steps with a few of its images."""

from __future__ import annotations

from dataclasses import dataclass

import psutil

from ..embedding.estimate import BUDGET, Sample, time_step
from ..embedding.recipe import shown_share
from ..embedding.timing import shared
from ..linkage.threads import cpus
from .presets import Protocol
from .training import course

FORWARD = 3  # forward passes that a training step costs: the backward pass is twice the forward one
ROW_BYTES = 12_000  # of a training run's file beside a bit an image and an entry of the curve
ENTRY_BYTES = 48


@dataclass(frozen=True)
class Expected:
    """The forecast of training runs.

    Attributes:
        read: seconds to read the images, once per process.
        seconds: of a training run, by the fraction it trains on.
        memory_bytes: of one process.
        checkpoint_bytes: during a training run.
        row_bytes: of its file.
        words: network, steps, rate and precision.
    """

    read: float
    seconds: dict[float, float]
    memory_bytes: int
    checkpoint_bytes: int
    row_bytes: int
    words: str


def expected(
    sample: Sample,
    protocol: Protocol,
    tests: int,
    fractions: list[float],
    count: int,
    budget: float = BUDGET,
) -> Expected:
    """Time some steps and forecast a training run on each fraction.

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
    read = shared(sample.read, cpus())
    again = 0.0 if sample.fits(training) else read
    forward = step.seconds / shown_share(training.recipe) / FORWARD + again
    seconds = {}
    for fraction in fractions:
        k = max(2, round(fraction * n))
        planned = course(protocol, k, n)
        asked = (1 + protocol.mirrored) * (len(planned.marks) * tests + n - k)
        shown = planned.steps * k / planned.batches
        seconds[fraction] = shown * (step.seconds + again) + asked * forward
    full = course(protocol, n, n)
    pixels = (sample.n + tests) * (sample.bytes // sample.n)
    return Expected(
        read=(sample.n + tests) * read,
        seconds=seconds,
        memory_bytes=psutil.Process().memory_info().rss
        + (0 if again else pixels)
        + step.held * training.batch
        + 3 * step.weights,
        checkpoint_bytes=3 * step.weights,
        row_bytes=ROW_BYTES + sample.n // 8 + ENTRY_BYTES * protocol.evaluations,
        words=f"{step.name}: {full.steps:,} steps of {training.batch} images, at {1 / step.seconds:,.0f} images/s in "
        f"{step.trained.choice.precision}",
    )
