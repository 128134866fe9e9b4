"""Results of training runs, gathered by arm, layer and fraction, and the comparisons allowed among them.

Only training runs under one protocol are compared. Trials of heads on frozen vectors are re-splits of the same images,
and two arms are compared re-split by re-split (see `statistics`). The baselines `full` and `random` use no embedding,
so one run of theirs serves every embedding and layer; it is counted once, by its seed.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa

from ...errors import UsageError
from .statistics import ALPHA, MARGIN, Comparison, Floats, Summary, compare, summary

FULL = "full"
RANDOM = "random"
SEMANTIC = "semantic"
BASELINES = (FULL, RANDOM)  # arms that use no embedding
LAYERS = ("end", "middle", "start")  # the last one of the network first
NEEDED = ("arm", "fraction", "trial", "seed", "embedding", "layer", "accuracy", "status", "protocol")


@dataclass(frozen=True, eq=False)
class ArmResult:
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

    @property
    def name(self) -> str:
        """Name of the arm, with the layer where it is not the last."""
        return self.arm if self.layer in ("", "end") else f"{self.arm} ({self.layer})"

    def run_name(self, row: dict[str, Any]) -> str:
        """Return the words for one of the training runs."""
        return f"{self.name} at {100 * self.fraction:g}%, trial {row['trial'] + 1}"

    @property
    def overlap(self) -> float | None:
        """Of re-splits, test images per training image; None for independent training runs."""
        return max((row["tested"] / row["pool"] for row in self.done if row.get("split")), default=None)

    def values(self, column: str) -> Floats:
        """Return a column of the completed training runs, float64[trials]; nan where a run has no value."""
        found = [row.get(column) for row in self.done]
        return np.array([np.nan if value is None else value for value in found], dtype=np.float64)

    @property
    def embeddings(self) -> int:
        """Number of embeddings that the images were chosen by; 1 for a baseline, which uses none."""
        return 1 if self.arm in BASELINES else len({row["embedding"] for row in self.done})

    def independent(self, column: str) -> Floats:
        """Return the independent values of a column: one a trial, or one an embedding where there are several.

        Trials of one embedding share its errors. So with several embeddings the mean of each counts as one value;
        as many trials of a single one would make the interval too narrow.

        Returns:
            float64[k]; empty unless every completed training run has a value.
        """
        values = self.values(column)
        if not len(values) or not np.isfinite(values).all():
            return np.empty(0)
        if self.embeddings < 2:
            return values
        of = np.array([row["embedding"] for row in self.done])
        return np.array([values[of == one].mean() for one in np.unique(of)])

    def summary(self, column: str) -> Summary | None:
        """Return mean, spread and interval of a column; None unless every completed training run has a value."""
        values = self.independent(column)
        return summary(values, self.overlap or 0.0) if len(values) else None

    def beside(self, other: ArmResult, count: int | None = None) -> tuple[ArmResult, ArmResult]:
        """Return this result and another one, of re-splits only those that both have, in the same order.

        Args:
            other: of the same protocol.
            count: use the first training runs of each, so many; None for all.
        """
        mine, theirs = self.done, other.done
        if self.overlap is not None and other.overlap is not None:
            both = {row["split"] for row in mine} & {row["split"] for row in theirs}
            mine, theirs = (tuple(row for row in rows if row["split"] in both) for rows in (mine, theirs))
        return replace(self, done=mine[:count]), replace(other, done=theirs[:count])

    def compared(self, reference: ArmResult, margin: float, count: int | None = None) -> Comparison | None:
        """Compare the accuracies with those of a reference; None where there is nothing to compare."""
        mine, theirs = self.beside(reference, count)
        if not mine.done or not theirs.done:
            return None
        accuracies = mine.independent("accuracy"), theirs.independent("accuracy")
        return compare(*accuracies, margin, mine.overlap)

    def class_accuracies(self) -> Floats:
        """Return float64[trials, classes]; nan where the test set lacks a class. Empty where not measured."""
        rows = [row.get("class_accuracy") or [] for row in self.done]
        if len({len(row) for row in rows}) != 1:
            return np.empty((len(rows), 0))
        return np.array([[np.nan if x is None else x for x in row] for row in rows], dtype=np.float64)


@dataclass(frozen=True)
class ClassLoss:
    """The class that loses most against the full set: a mean can hide a ruined class.

    Attributes:
        code: of the class.
        comparison: its accuracy, arm against full set.
        classes: the number of classes compared.
    """

    code: int
    comparison: Comparison
    classes: int

    @property
    def p(self) -> float | None:
        """P-value of a loss this large in any class; None without an interval.

        One-sided, times the number of classes (Bonferroni), since the worst of many looks bad by chance.
        """
        zero_p = self.comparison.zero_p
        return None if zero_p is None else min(1.0, self.classes * zero_p)

    @property
    def beyond_chance(self) -> bool:
        """True where the loss is more than the worst of as many classes would show by chance."""
        return self.p is not None and self.p < ALPHA


@dataclass(frozen=True, eq=False)
class Evidence:
    """The training runs under one protocol.

    Attributes:
        protocol: the fingerprint of the settings that all of them share.
        results: by fraction, the largest first; within a fraction `full` and `semantic` first, `random` last.
        margin: the loss in points that is still accepted.
        noun: what one of the images is called.
    """

    protocol: str
    results: tuple[ArmResult, ...]
    margin: float
    noun: str = "image"

    @cached_property
    def _known(self) -> dict[tuple[str, str, float], ArmResult]:
        return {(result.arm, result.layer, result.fraction): result for result in self.results}

    def result(self, arm: str, fraction: float, layer: str = "") -> ArmResult | None:
        """Return the result of one arm, fraction and layer, or None where it has no training run."""
        return self._known.get((arm, layer, fraction))

    @property
    def full(self) -> ArmResult | None:
        """The full set; None where no training run on it is complete."""
        found = self.result(FULL, 1.0)
        return found if found is not None and found.done else None

    @property
    def heads(self) -> bool:
        """True where the training runs are heads on frozen vectors, whose trials are re-splits."""
        return any(result.overlap is not None for result in self.results)

    @property
    def arms(self) -> tuple[str, ...]:
        """Arms in their order."""
        return tuple(sorted({result.arm for result in self.results}, key=_place))

    @property
    def trials(self) -> int:
        """Number of completed training runs."""
        return sum(len(result.done) for result in self.results)

    @property
    def failures(self) -> tuple[str, ...]:
        """Failed training runs with their reasons, one line each."""
        return tuple(
            f"{result.run_name(row)}: {row.get('reason') or 'no accuracy'}"
            for result in self.results
            for row in result.failed
        )

    @property
    def unlearned(self) -> tuple[str, ...]:
        """Completed training runs that gave all test images one class; they count in the means."""
        return tuple(
            result.run_name(row) for result in self.results for row in result.done if _gives_one_class(row)
        )

    @property
    def curves(self) -> dict[str, tuple[ArmResult, ...]]:
        """Results with a completed training run, from the largest fraction, by the name of the arm; without `full`."""
        done = [result for result in self.results if result.done and result.arm != FULL]
        names = {one.name: None for one in sorted(done, key=lambda one: (_place(one.arm), _depth(one.layer)))}
        return {name: tuple(result for result in done if result.name == name) for name in names}

    def against_full(self, result: ArmResult) -> Comparison | None:
        """Compare a result with the full set; None for the full set itself, and where either has no training run."""
        return None if result.arm == FULL else self._compared(result, self.full)

    def against_random(self, result: ArmResult) -> Comparison | None:
        """Compare a result with random subsets of its size; None where either has no training run."""
        return (
            None if result.arm in BASELINES else self._compared(result, self.result(RANDOM, result.fraction))
        )

    def worst_class(self, result: ArmResult) -> ClassLoss | None:
        """Return the class that loses most against the full set; None where classes were not measured."""
        if self.full is None or result.arm == FULL:
            return None
        ours, full = result.beside(self.full)
        mine, reference = ours.class_accuracies(), full.class_accuracies()
        if not len(mine) or mine.shape[1] != reference.shape[1]:
            return None
        measured = np.flatnonzero(np.isfinite(mine).all(axis=0) & np.isfinite(reference).all(axis=0)).tolist()
        found = [
            (code, compare(mine[:, code], reference[:, code], self.margin, ours.overlap)) for code in measured
        ]
        code, comparison = min(found, key=lambda one: (one[1].difference, one[0]), default=(0, None))
        return None if comparison is None else ClassLoss(code, comparison, len(found))

    def _compared(self, result: ArmResult, reference: ArmResult | None) -> Comparison | None:
        return None if reference is None else result.compared(reference, self.margin)


def gather(table: pa.Table, margin: float = MARGIN, noun: str = "image") -> tuple[Evidence, ...]:
    """Gather the training runs of a table of results by protocol, arm, layer and fraction.

    Args:
        table: one row a training run, with the columns of ``results.parquet``.
        margin: the loss in points that is still accepted.
        noun: what one of the images is called.

    Returns:
        One a protocol, the one with the most completed training runs first.

    Raises:
        UsageError: a column is missing.
    """
    absent = [name for name in NEEDED if name not in table.column_names]
    if absent:
        raise UsageError(
            f"the results lack the column {', '.join(absent)}; repeat the training runs with this version, or "
            "delete their results"
        )
    gathered: dict[str, dict[tuple[str, str, float], list[dict[str, Any]]]] = {}
    for row in table.to_pylist():
        arm, fraction = str(row["arm"]), round(float(row["fraction"]), 9)
        key = (arm, "" if arm in BASELINES else str(row["layer"] or ""), fraction)
        gathered.setdefault(str(row["protocol"]), {}).setdefault(key, []).append(row)
    found = [
        Evidence(protocol, tuple(_result(*key, rows[key]) for key in sorted(rows, key=_order)), margin, noun)
        for protocol, rows in gathered.items()
    ]
    return tuple(sorted(found, key=lambda evidence: (-evidence.trials, evidence.protocol)))


def _order(key: tuple[str, str, float]) -> tuple[Any, ...]:
    arm, layer, fraction = key
    return -fraction, _place(arm), _depth(layer)


def _place(arm: str) -> tuple[int, str]:
    return {FULL: 0, SEMANTIC: 1, RANDOM: 3}.get(arm, 2), arm


def _depth(layer: str) -> tuple[int, str]:
    return LAYERS.index(layer) if layer in LAYERS else len(LAYERS), layer


def _result(arm: str, layer: str, fraction: float, rows: list[dict[str, Any]]) -> ArmResult:
    if arm in BASELINES or any(row.get("split") for row in rows):
        # A head has no seed: trials of one re-split are one trial.
        rows = list({row.get("split") or row["seed"]: row for row in sorted(rows, key=_is_done)}.values())
    ordered = sorted(rows, key=lambda row: (row["embedding"], row["trial"]))
    done = tuple(row for row in ordered if _is_done(row))
    return ArmResult(arm, layer, fraction, done, tuple(row for row in ordered if not _is_done(row)))


def _is_done(row: dict[str, Any]) -> bool:
    return str(row["status"]) == "done" and row["accuracy"] is not None and bool(np.isfinite(row["accuracy"]))


def _gives_one_class(row: dict[str, Any]) -> bool:
    """Return whether the network gave all test images one class: right for all of it, and for no other image."""
    found = sorted(
        value for value in row.get("class_accuracy") or [] if value is not None and np.isfinite(value)
    )
    return len(found) > 1 and found[-1] == 1 and found[-2] == 0
