"""A trial: all arms of one re-split, each by a head on the vectors of the images that it keeps."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...data.store.embeddings import Ints, in_batches
from ...data.store.results import DONE
from ...errors import counted
from ...selection.by_strategy import depth_for
from ...selection.strategies.strategy import CheckedStrategy
from ...tree.cut import Cut
from ...tree.merges import Merges, cluster
from ..arms import Arms
from ..trials import FULL, RANDOM, Trial
from .curvature import curvature_bytes
from .pool import Pool
from .regression import MOST_STEPS, ROWS, Bools, Doubles, Features, Floats, Heads, Start, fit

log = logging.getLogger("tenpercent")

GRID = tuple(10.0 ** (-power / 2) for power in range(1, 12))  # of weight decays: 0.3, 0.1, … 3e-6
VALIDATED = 0.2  # of each class of the first trial's training images, to choose the weight decay by
BATCH_BYTES = 3 << 30  # of heads that are fitted together
HEAD_BYTES = 30 * 8  # of a weight, with the history of its steps
FEW = 0.2  # of the images: a product of all images for these heads would be mostly in vain
TOP = 5  # guesses, where there are more than `MANY` classes
MANY = 10


@dataclass(frozen=True, eq=False)
class SplitTree:
    """The tree of a trial's training images; see `arms.ArmTrees`."""

    merges: Merges
    cut: dict[str, Any]
    within: str
    layer: str

    def tree(self, least: float, embedding: int, layer: str) -> Merges:
        """Return the tree, which is deep enough for all arms."""
        return self.merges


def run_trial(
    pool: Pool, trials: Sequence[Trial], weight_decay: float, how: tuple[dict[str, Any], str]
) -> list[tuple[Trial, dict[str, Any]]]:
    """Choose the images of each arm from one re-split, fit their heads and test them.

    Args:
        pool: all images.
        trials: of one number: arms and fractions.
        weight_decay: of all heads.
        how: arguments of `Cut` beside the fraction, and ``class`` or ``all``, as the run is cut.

    Returns:
        The trials with their rows of results.
    """
    begun = time.perf_counter()
    number = trials[0].trial
    train, test = pool.split(number)
    own = pool.part(train)
    depth = min((_depth(one) for one in trials), default=1.0)
    cut, within = how
    tree = cluster(own, Cut(depth, **cut, within=within))
    arms = Arms(own, SplitTree(tree, cut, within, own.layer), depth, {})
    chosen = np.zeros((len(trials), len(train)), dtype=bool)
    seeds = [one.seed(pool.about) for one in trials]
    for row, one, seed in zip(chosen, trials, seeds, strict=True):
        row[arms.positions(one, seed)] = True
    features = Features.of(own.vectors, weight_decay)
    tested = features.of_others(pool.embeddings.vectors[test])
    n_classes = len(pool.tested)
    labels, truth = pool.labels[train], pool.labels[test]
    rows: list[dict[str, Any]] = [{} for _ in trials]
    start = Start.of_all(features, labels, n_classes, weight_decay)
    for part in _batches(chosen, features.values.shape[1] * n_classes):
        heads = fit(features, labels, n_classes, chosen[part], [weight_decay] * len(part), start)
        if short := int((heads.steps >= MOST_STEPS).sum()):
            log.warning("%s ended after %d steps, short of the minimum", counted(short, "head"), MOST_STEPS)
        right = _right(heads, features.values, labels)
        for at, place in enumerate(part.tolist()):
            removed = right[~chosen[place], at]
            rows[place] = _row(heads, at, tested, truth)
            rows[place]["removed_accuracy"] = float(removed.mean()) if len(removed) else None
    seconds = (time.perf_counter() - begun) / len(trials)
    about = {"split": pool.name_of(number), "tested": len(test), "pool": len(train), "seconds": seconds}
    return [
        (one, {**row, **about, "seed": seed, "n": int(kept.sum()), "status": DONE})
        for one, row, kept, seed in zip(trials, rows, chosen, seeds, strict=True)
    ]


def _depth(trial: Trial) -> float:
    """Return the fraction to which an arm needs the tree."""
    if trial.arm == FULL:
        return 1.0
    if trial.arm == RANDOM:
        return trial.fraction  # as many of each class as the selection keeps
    return depth_for(trial.fraction, CheckedStrategy.of(trial.arm))


def _batches(chosen: Bools, weights: int) -> list[Ints]:
    """Return numbers of heads that are fitted together: as many as fit into memory, those of few images apart.

    Args:
        chosen: bool[h, n], the images of each head.
        weights: number of a head's weights.
    """
    size = max(1, BATCH_BYTES // (HEAD_BYTES * weights))
    few = chosen.mean(axis=1) < FEW
    groups = (np.flatnonzero(few), np.flatnonzero(~few))
    return [group[start : start + size] for group in groups for start in range(0, len(group), size)]


def memory_of(n: int, width: int, columns: int, n_classes: int) -> int:
    """Return about the bytes that a trial takes beside the vectors: two copies of them, curvature, a batch of heads.

    Args:
        n: number of training images.
        width: values of a vector.
        columns: heads times classes.
        n_classes: of these.
    """
    together = min(columns * width * HEAD_BYTES, max(BATCH_BYTES, n_classes * width * HEAD_BYTES))
    return 2 * n * (width + 1) * 4 + curvature_bytes(width + 1, n_classes) + together


def _right(heads: Heads, values: Floats, labels: Ints) -> Bools:
    """Return which images each head classifies correctly, bool[n, h]."""
    width, h, c = heads.weights.shape
    flat = heads.weights.reshape(width, h * c)
    parts = in_batches(len(values), ROWS)
    guesses = [(values[rows] @ flat).reshape(-1, h, c).argmax(axis=2) for rows in parts]
    return np.asarray(np.concatenate(guesses) == labels[:, None])


def _row(heads: Heads, at: int, values: Floats, truth: Ints) -> dict[str, Any]:
    """Return the results of one head on the images that it is tested on."""
    logits = (values @ heads.weights[:, at]).astype(np.float64)
    right = logits.argmax(axis=1) == truth
    counts = np.bincount(truth, minlength=logits.shape[1])
    by_class = np.bincount(truth[right], minlength=len(counts)) / np.where(counts, counts, np.nan)
    accuracy = float(right.mean())
    return {
        "accuracy": accuracy,
        "best_accuracy": accuracy,
        "top5": _among_top(logits, truth),
        "loss": float(heads.loss[at]),
        "test_loss": float(cross_entropy(logits, truth).mean()),
        "class_accuracy": by_class.tolist(),
        "steps": int(heads.steps[at]),
    }


def _among_top(logits: Doubles, truth: Ints) -> float | None:
    if logits.shape[1] <= MANY:
        return None
    best = np.argpartition(-logits, TOP - 1, axis=1)[:, :TOP]
    return float((best == truth[:, None]).any(axis=1).mean())


def cross_entropy(logits: Doubles, truth: Ints) -> Doubles:
    """Return the cross-entropy of each image, float64[n].

    Args:
        logits: float64[n, c].
        truth: int64[n].
    """
    top = logits.max(axis=1)
    total = np.log(np.exp(logits - top[:, None]).sum(axis=1)) + top
    return np.asarray(total - logits[np.arange(len(truth)), truth])


def chosen_weight_decay(pool: Pool) -> dict[str, Any]:
    """Choose the weight decay of all heads, by a part of the first trial's training images.

    That with the smallest cross-entropy on the part, of heads on the rest.

    Returns:
        ``weight_decay``, and ``tried``: each with its cross-entropy.
    """
    train, _ = pool.split(0)
    labels = pool.labels[train]
    sizes = np.bincount(labels, minlength=len(pool.tested))
    held = np.minimum(np.floor(VALIDATED * sizes + 0.5).astype(np.int64), np.maximum(sizes - 1, 0))
    inner = Pool(pool.part(train), held, "", f"{pool.about} weight decay")
    used, validated = inner.split(0)
    features = Features.of(inner.embeddings.vectors[used], float(np.sqrt(GRID[0] * GRID[-1])))
    values = features.of_others(inner.embeddings.vectors[validated])
    losses = []
    everything = np.ones((len(GRID), len(used)), dtype=bool)
    for part in _batches(everything, features.values.shape[1] * len(sizes)):
        grid = [GRID[at] for at in part]
        heads = fit(features, labels[used], len(sizes), everything[part], grid)
        for at in range(len(grid)):
            logits = (values @ heads.weights[:, at]).astype(np.float64)
            losses.append(float(cross_entropy(logits, labels[validated]).mean()))
    return {
        "weight_decay": GRID[int(np.argmin(losses))],
        "tried": dict(zip(map(str, GRID), losses, strict=True)),
    }
