"""Training runs of an experiment, gathered by arm, layer and fraction, and the comparisons allowed among them.

Only training runs under one protocol are compared. The arms `full` and `random` use no embedding, so one run
of theirs serves every embedding and layer; it is counted once, by its seed.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

import numpy as np
import pyarrow as pa

from ...errors import UsageError
from .statistics import MARGIN, Comparison, Floats, Summary, compare, summary, variance_parts

FULL = "full"
RANDOM = "random"
SEMANTIC = "semantic"
BLIND = (FULL, RANDOM)  # arms that use no embedding
NEEDED = ("arm", "fraction", "trial", "seed", "embedding", "layer", "accuracy", "status", "protocol")


@dataclass(frozen=True, eq=False)
class Point:
    """All training runs of one arm, layer and fraction under one protocol.

    Attributes:
        arm: its name.
        layer: of the embedding; empty for arms that use no embedding.
        fraction: the fraction kept, in (0, 1].
        done: the training runs that have an accuracy, one row each, ordered by embedding and trial.
        failed: the others, likewise.
    """

    arm: str
    layer: str
    fraction: float
    done: tuple[dict[str, Any], ...]
    failed: tuple[dict[str, Any], ...]

    def values(self, column: str) -> Floats:
        """Return a column of the completed training runs, float64[trials]; nan where a run has no value."""
        found = [row.get(column) for row in self.done]
        return np.array([np.nan if value is None else value for value in found], dtype=np.float64)

    @property
    def embeddings(self) -> int:
        """Number of embeddings that the completed training runs are of."""
        return len({row["embedding"] for row in self.done})

    @property
    def units(self) -> Floats:
        """Accuracies that are independent of each other: one a trial, or one an embedding where there are several.

        Trials of one embedding share its errors. So with several embeddings the mean of each counts as one value;
        as many trials of a single one would make the interval too narrow.
        """
        return self.units_of("accuracy")

    def units_of(self, column: str) -> Floats:
        """Return `units` of another column, float64[units]; empty unless every completed training run has a value."""
        values = self.values(column)
        if not len(values) or not np.isfinite(values).all():
            return np.empty(0)
        if self.embeddings < 2 or self.arm in BLIND:
            return values
        of = np.array([row["embedding"] for row in self.done])
        return np.array([values[of == one].mean() for one in np.unique(of)])

    @property
    def accuracy(self) -> Summary | None:
        """Mean, spread and interval of the accuracy; None where no training run is complete."""
        return summary(self.units) if self.done else None

    @property
    def loss(self) -> Summary | None:
        """Mean, spread and interval of the cross-entropy on the test images; None where a training run has none."""
        found = self.units_of("test_loss")
        return summary(found) if len(found) else None

    @property
    def spread_of_embeddings(self) -> tuple[float, float] | None:
        """Standard deviations between embeddings and within one; None for a single embedding."""
        if self.arm in BLIND or self.embeddings < 2:
            return None
        return variance_parts(self.values("accuracy"), np.array([row["embedding"] for row in self.done]))

    @property
    def overlap_of_embeddings(self) -> tuple[float, float] | None:
        """Overlap of the choices of different embeddings; None for a single one, or rows that don't hold the choice.

        Returns:
            Of the images that one embedding keeps, the share that another keeps too, and the same of those removed:
            means over pairs of embeddings. By chance these are the fraction kept and the fraction removed.
        """
        if self.arm in BLIND or self.embeddings < 2:
            return None
        chosen = {row["embedding"]: row["kept"] for row in self.done if row.get("kept") is not None}
        if len(chosen) < self.embeddings:
            return None
        kept = [np.unpackbits(np.frombuffer(bits, np.uint8)).astype(bool) for bits in chosen.values()]
        both, neither = [], []
        for one, other in combinations(kept, 2):
            alike, size = int((one & other).sum()), (one.sum() + other.sum()) / 2
            removed = size / self.fraction - size
            both.append(alike / size)
            neither.append((removed - size + alike) / removed if removed > 0 else 1.0)
        return float(np.mean(both)), float(np.mean(neither))

    @property
    def counted(self) -> str:
        """Number of training runs behind the accuracy, in words."""
        n = len(self.done)
        if self.arm in BLIND or self.embeddings < 2:
            return f"{n} {'trial' if n == 1 else 'trials'}"
        return f"{self.embeddings} embeddings, {n} trials"

    def class_accuracies(self) -> Floats:
        """Return float64[trials, classes]; nan where the test set lacks a class. Empty where not measured."""
        rows = [row.get("class_accuracy") for row in self.done]
        if not rows or any(row is None for row in rows) or len({len(row) for row in rows if row}) != 1:
            return np.empty((len(rows), 0))
        return np.array([[np.nan if x is None else x for x in row] for row in rows if row], dtype=np.float64)


@dataclass(frozen=True, eq=False)
class Evidence:
    """The training runs under one protocol.

    Attributes:
        protocol: the fingerprint of the settings that all of them share.
        points: `full` and `semantic` first, `random` last, other arms by name; within an arm by layer, then from
            the largest fraction.
        margin: the loss in points that is still accepted.
    """

    protocol: str
    points: tuple[Point, ...]
    margin: float
    _known: dict[tuple[str, str, float], Point] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        known = {(point.arm, point.layer, point.fraction): point for point in self.points}
        object.__setattr__(self, "_known", known)

    def point(self, arm: str, fraction: float, layer: str = "") -> Point | None:
        """Return one point, or None where it has no training run."""
        return self._known.get((arm, layer, fraction))

    @property
    def full(self) -> Point | None:
        """The full set; None where no training run on it is complete."""
        found = self.point(FULL, 1.0)
        return found if found is not None and found.done else None

    @property
    def arms(self) -> tuple[str, ...]:
        """Arms in their order."""
        return tuple(dict.fromkeys(point.arm for point in self.points))

    @property
    def trials(self) -> int:
        """Number of completed training runs."""
        return sum(len(point.done) for point in self.points)

    @property
    def failures(self) -> tuple[str, ...]:
        """Failed training runs with their reasons, one line each."""
        return tuple(
            f"{point.arm} at {100 * point.fraction:g}%, trial {row['trial'] + 1}: {row.get('reason') or 'no accuracy'}"
            for point in self.points
            for row in point.failed
        )

    def layers(self, arm: str) -> tuple[str, ...]:
        """Return the layers of an arm in their order."""
        return tuple(dict.fromkeys(point.layer for point in self.points if point.arm == arm))

    def series(self, arm: str, layer: str) -> tuple[Point, ...]:
        """Return an arm's points of one layer that have a completed training run, from the largest fraction."""
        return tuple(p for p in self.points if (p.arm, p.layer) == (arm, layer) and p.done)

    def main_layer(self, arm: str) -> str:
        """Return the layer of an arm with the most completed training runs, of equals the last."""
        layers = self.layers(arm)
        counts = [sum(len(point.done) for point in self.series(arm, layer)) for layer in layers]
        return max(zip(counts, range(len(layers)), layers, strict=True))[2]

    def against_full(self, point: Point) -> Comparison | None:
        """Compare a point with the full set; None for the full set itself, and where either has no training run."""
        return None if point.arm == FULL else self._compared(point, self.full)

    def against_random(self, point: Point) -> Comparison | None:
        """Compare a point with random subsets of its size; None where either has no training run."""
        return None if point.arm in BLIND else self._compared(point, self.point(RANDOM, point.fraction))

    def _compared(self, point: Point, reference: Point | None) -> Comparison | None:
        if reference is None or not reference.done or not point.done:
            return None
        return compare(point.units, reference.units, self.margin)


def gather(table: pa.Table, margin: float = MARGIN) -> tuple[Evidence, ...]:
    """Gather the training runs of a table of results by protocol, arm, layer and fraction.

    Args:
        table: one row a training run, with the columns of ``results.parquet``.
        margin: the loss in points that is still accepted.

    Returns:
        One a protocol, the one with the most completed training runs first.

    Raises:
        UsageError: a column is missing.
    """
    absent = [name for name in NEEDED if name not in table.column_names]
    if absent:
        raise UsageError(
            f"results without the column {', '.join(absent)}; repeat the trainings with this version, or delete them"
        )
    gathered: dict[str, dict[tuple[str, str, float], list[dict[str, Any]]]] = {}
    for row in table.to_pylist():
        arm, fraction = str(row["arm"]), round(float(row["fraction"]), 9)
        key = (arm, "" if arm in BLIND else str(row["layer"] or ""), fraction)
        gathered.setdefault(str(row["protocol"]), {}).setdefault(key, []).append(row)
    found = [
        Evidence(protocol, tuple(_point(*key, points[key]) for key in sorted(points, key=_order)), margin)
        for protocol, points in gathered.items()
    ]
    return tuple(sorted(found, key=lambda evidence: (-evidence.trials, evidence.protocol)))


def _order(key: tuple[str, str, float]) -> tuple[int, str, int, str, float]:
    arm, layer, fraction = key
    place = {FULL: 0, SEMANTIC: 1, RANDOM: 3}.get(arm, 2)
    layers = ("start", "middle", "end")
    depth = layers.index(layer) if layer in layers else len(layers)
    return place, arm, depth, layer, -fraction


def _point(arm: str, layer: str, fraction: float, rows: list[dict[str, Any]]) -> Point:
    if arm in BLIND:
        rows = list({row["seed"]: row for row in sorted(rows, key=_is_done)}.values())
    ordered = sorted(rows, key=lambda row: (row["embedding"], row["trial"]))
    done = tuple(row for row in ordered if _is_done(row))
    return Point(arm, layer, fraction, done, tuple(row for row in ordered if not _is_done(row)))


def _is_done(row: dict[str, Any]) -> bool:
    return str(row["status"]) == "done" and row["accuracy"] is not None and bool(np.isfinite(row["accuracy"]))
