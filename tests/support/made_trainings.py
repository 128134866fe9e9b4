"""Trainings that never were: a table of results with known truths, for what reads such tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
STEP = pa.struct(
    dict.fromkeys(("step",), pa.int64())
    | dict.fromkeys(("epoch", "loss", "test_accuracy", "test_loss", "seconds"), pa.float64())
)
SCHEMA = pa.schema(
    {
        "arm": pa.string(),
        "fraction": pa.float64(),
        "trial": pa.int64(),
        "seed": pa.int64(),
        "embedding": pa.int64(),
        "layer": pa.string(),
        "n": pa.int64(),
        "accuracy": pa.float64(),
        "top5": pa.float64(),
        "best_accuracy": pa.float64(),
        "loss": pa.float64(),
        "test_loss": pa.float64(),
        "class_accuracy": pa.list_(pa.float64()),
        "removed_accuracy": pa.float64(),
        "curve": pa.list_(STEP),
        "steps": pa.int64(),
        "epochs": pa.float64(),
        "seconds": pa.float64(),
        "status": pa.string(),
        "reason": pa.string(),
        "protocol": pa.string(),
        "kept": pa.binary(),
        "versions": pa.string(),
        "machine": pa.string(),
    }
)
LOST = {0.95: 0.0, 0.9: 0.05, 0.8: 0.35, 0.7: 1.0, 0.5: 3.0, 0.3: 8.0}  # points that semantic truly loses
RANDOM = {0.95: 0.3, 0.9: 0.6, 0.8: 1.3, 0.7: 2.1, 0.5: 4.0, 0.3: 7.0}


def table(rows: Sequence[Mapping[str, Any]]) -> pa.Table:
    """Return rows as a table of results."""
    return pa.Table.from_pylist([dict(row) for row in rows], schema=SCHEMA)


def training(
    arm: str,
    fraction: float,
    trial: int,
    accuracy: float,
    generator: np.random.Generator,
    length: str = "epochs",
    **changes: Any,
) -> dict[str, Any]:
    """Return one training with a curve, classes and seconds that fit its accuracy."""
    n = round(50_000 * fraction)
    steps = 39_000 if length == "steps" else int(39_000 * fraction)
    epochs = steps * 128 / n
    at = np.linspace(0.05, 1, 20)
    reached = accuracy - 0.4 * (1 - at) ** 2.5 + generator.normal(0, 0.004 * (1.02 - at))
    curve = [
        {
            "step": int(steps * part),
            "epoch": epochs * part,
            "loss": float(2.2 * np.exp(-4 * part) + 0.03 * generator.random()),
            "test_accuracy": float(value),
            "test_loss": float(1 - value),
            "seconds": 0.171 * steps * part,
        }
        for part, value in zip(at.tolist(), reached.tolist(), strict=True)
    ]
    offset = np.array([0.02, 0.04, -0.03, -0.09, 0.0, -0.05, 0.03, 0.02, 0.03, 0.03])
    classes = accuracy + offset + generator.normal(0, 0.005, 10)
    classes[3] -= 0.03 * (1 - fraction) * (arm == "semantic")  # the cats pay for it
    return {
        "arm": arm,
        "fraction": fraction,
        "trial": trial,
        "seed": int(generator.integers(2**62)),
        "embedding": 0,
        "layer": "end",
        "n": n,
        "accuracy": accuracy,
        "top5": None,
        "best_accuracy": max(accuracy, float(reached.max())),
        "loss": curve[-1]["loss"],
        "test_loss": 1 - accuracy,
        "class_accuracy": classes.tolist(),
        "removed_accuracy": None if arm == "full" else accuracy + 0.05 * (arm == "semantic"),
        "curve": curve,
        "steps": steps,
        "epochs": epochs,
        "seconds": 0.171 * steps * (1 + 0.01 * float(generator.normal())),
        "status": "done",
        "reason": None,
        "protocol": "5f2c9a7e01b3d486",
        "versions": "{}",
        "machine": '{"processor": "Abacus 2", "cores": 2}',
    } | changes


def failed(arm: str, fraction: float, trial: int, reason: str = "loss is nan at step 1200") -> dict[str, Any]:
    """Return a training that failed."""
    generator = np.random.default_rng(trial)
    gone = dict.fromkeys(("best_accuracy", "loss", "test_loss", "class_accuracy", "removed_accuracy"), None)
    made = training(arm, fraction, trial, 0.5, generator)
    return made | gone | {"accuracy": None, "curve": [], "status": "failed", "reason": reason}


def experiment(
    seed: int = 0,
    trials: int = 10,
    fractions: Sequence[float] = (0.95, 0.9, 0.8, 0.7, 0.5),
    arms: Sequence[str] = ("full", "random", "semantic"),
    spread: float = 0.13,
    length: str = "epochs",
) -> list[dict[str, Any]]:
    """Return the rows of an experiment around 92.6%, whose true losses are `LOST` and `RANDOM`.

    Args:
        seed: of everything drawn.
        trials: a point.
        fractions: of `LOST`.
        arms: others than full, random and semantic lie between the last two.
        spread: the standard deviation of a trial, in points.
        length: ``epochs`` or ``steps``, what all sizes share.
    """
    generator = np.random.default_rng(seed)
    rows = []
    for arm in arms:
        for fraction in (1.0,) if arm == "full" else fractions:
            part = {"full": 0.0, "semantic": 0.0, "random": 1.0}.get(arm, 0.5)
            lost = 0.0 if arm == "full" else (1 - part) * LOST[fraction] + part * RANDOM[fraction]
            for trial in range(trials):
                accuracy = round(0.926 - lost / 100 + generator.normal(0, spread / 100), 4)
                rows.append(training(arm, fraction, trial, accuracy, generator, length))
    return rows
