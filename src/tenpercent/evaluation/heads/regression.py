"""Many multinomial logistic regressions on the same vectors at once: one matrix product serves all of them.

A head is the minimum of a convex function: the mean cross-entropy of the images it is trained on, plus half its weight
decay times the squared weights, biases left out. It is found by L-BFGS (Nocedal and Wright, *Numerical Optimization*,
2006, algorithm 7.5), each head with its own history and step, until the gradient is small. So nothing is drawn:
the same images give the same head, and another start would give it too.

A product with the columns of one head is bound by reading the vectors from memory, a product with those of all
heads by arithmetic; so a head on few images costs as much as one on many. Vectors are rotated and scaled first, by the
eigenvectors of their covariance, so that the function is about equally curved in all directions. This changes the path
to the minimum, not the minimum: the weight decay is scaled along. Where heads start from one that is fitted, the
curvature there (`curvature.py`) shortens the path again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ...data.store.embeddings import in_batches
from ...embedding.timing import fastest
from ...linkage.kernels import kernel
from ...linkage.threads import cpus, in_threads, one_blas_thread
from .curvature import FLAT, Curvature

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

TOLERANCE = 1e-4  # of a gradient, against the one at the start
MOST_STEPS = 300
HISTORY = 10  # pairs of steps and gradients
ROWS = 4096  # vectors a product: their logits stay in the cache
SUFFICIENT = 1e-4  # of the decrease that the gradient promises
SMALLEST_STEP = 1e-6
ROUNDING = 1e-7  # of a function value in float32
WORTH_COPYING = 0.7  # of the images: below, those that any head is trained on are put together
USUAL_STEPS = 35  # of the heads on vectors of a pretrained network
SOME_OF = 8  # images: every eighth is enough for a start
SOME = 256  # columns of a product that is timed
TIMED = 0.2  # seconds


@dataclass(frozen=True, eq=False)
class Features:
    """Standardised vectors, rotated and scaled, with a last column of ones.

    Attributes:
        values: float32[n, d + 1].
        mean, std: float64[d], of each value over the vectors that it was made of.
        scaled: float64[d, d], what standardised vectors are multiplied by.
        penalty: float64[d + 1], what a weight decay of 1 is for each column; 0 for the ones.
    """

    values: Floats
    mean: Doubles
    std: Doubles
    scaled: Doubles
    penalty: Doubles

    @classmethod
    def of(cls, vectors: npt.NDArray[np.floating[Any]], weight_decay: float) -> Features:
        """Prepare vectors.

        Args:
            vectors: float[n, d].
            weight_decay: about that of the heads; it sets the scale, not the result.
        """
        n, d = vectors.shape
        parts = list(in_batches(n, ROWS))
        mean = sum((vectors[rows].sum(axis=0, dtype=np.float64) for rows in parts), np.zeros(d)) / n
        square = sum((((vectors[rows] - mean) ** 2).sum(axis=0) for rows in parts), np.zeros(d))
        std = np.sqrt(square / n)
        std[std == 0] = 1.0
        covariance = np.zeros((d, d))

        def part(rows: slice) -> Floats:
            block = _standardised(vectors[rows], mean, std)
            return block.T @ block

        with one_blas_thread():
            for product in in_threads(part, parts, cpus()):
                covariance += product
        variance, axes = np.linalg.eigh(covariance / n)
        scale = 1 / np.sqrt(np.maximum(variance, 0) + weight_decay / FLAT)
        empty = cls(np.empty((0, d + 1), np.float32), mean, std, axes * scale, np.append(scale**2, 0.0))
        return replace(empty, values=empty.of_others(vectors))

    def of_others(self, vectors: npt.NDArray[np.floating[Any]]) -> Floats:
        """Return other vectors, prepared by the same numbers: float32[m, d + 1]."""
        found = np.ones((len(vectors), len(self.mean) + 1), dtype=np.float32)
        into = self.scaled.astype(np.float32)

        def part(rows: slice) -> None:
            found[rows, :-1] = _standardised(vectors[rows], self.mean, self.std) @ into

        with one_blas_thread():
            list(in_threads(part, in_batches(len(vectors), ROWS), cpus()))
        return found


def _standardised(vectors: npt.NDArray[np.floating[Any]], mean: Doubles, std: Doubles) -> Floats:
    return np.asarray((vectors - mean) / std, dtype=np.float32)


@dataclass(frozen=True, eq=False)
class Heads:
    """Fitted heads.

    Attributes:
        weights: float32[d + 1, h, c].
        steps: int64[h], of L-BFGS.
        loss: float64[h], mean cross-entropy of the images trained on, without the weight decay.
    """

    weights: Floats
    steps: Ints
    loss: Doubles


@dataclass(frozen=True, eq=False)
class Start:
    """Where heads start: it saves steps and changes nothing else.

    Attributes:
        weights: float32[d + 1, c], of a head like them.
        curvature: there.
    """

    weights: Floats
    curvature: Curvature

    @classmethod
    def at(cls, features: Features, weights: Floats, weight_decay: float) -> Start:
        """Start from weights, float32[d + 1, c], which are those of a head with this weight decay."""
        return cls(weights, Curvature.at(features.values, weights, weight_decay * features.penalty))

    @classmethod
    def of_all(cls, features: Features, labels: Ints, n_classes: int, weight_decay: float) -> Start:
        """Return the head of all images, itself started from that of some."""
        n, start = len(labels), None
        for each in (SOME_OF, 1):
            images = (np.arange(n) % each == 0)[None]
            heads = fit(features, labels, n_classes, images, [weight_decay], start)
            start = cls.at(features, heads.weights[:, 0], weight_decay)
        assert start is not None
        return start


def fit(
    features: Features,
    labels: Ints,
    n_classes: int,
    chosen: Bools | Doubles,
    weight_decay: Sequence[float] | Doubles,
    start: Start | None = None,
) -> Heads:
    """Fit heads, each on some of the images.

    Args:
        features: of n images.
        labels: int64[n], codes below `n_classes`.
        n_classes: c.
        chosen: bool[h, n], the images of each head, at least one each; or float64[h, n], their weights in the loss.
        weight_decay: [h], each above 0.
        start: such as the head of all images; None for zeros.
    """
    h = len(chosen)
    width = features.values.shape[1]
    share = (chosen / chosen.sum(axis=1, keepdims=True)).astype(np.float32).T.copy()  # [n, h]
    decay = np.asarray(weight_decay, dtype=np.float64)[:, None, None] * features.penalty[None, :, None]
    weights = np.zeros((h, width, n_classes))
    steps, losses = np.zeros(h, dtype=np.int64), np.zeros(h)
    live = np.arange(h)  # the heads that are not done

    seen = _Seen(features.values, labels, share).of(live)

    def evaluated(heads: Ints, new: Doubles) -> tuple[Doubles, Doubles, Doubles]:
        return _evaluated(seen, heads, new, decay[heads])

    value, gradient, losses[:] = evaluated(live, weights)
    small, memory = TOLERANCE * _norm(gradient), _Memory(Curvature() if start is None else start.curvature)
    if start is not None:
        weights[:] = start.weights
        value, gradient, losses[:] = evaluated(live, weights)
    while len(live) and steps.max() < MOST_STEPS:
        direction = memory.direction(gradient)
        promised, step = SUFFICIENT * _dot(direction, gradient), np.ones(len(live))
        new_value, new_gradient, loss = np.empty_like(value), np.empty_like(gradient), np.empty_like(value)
        new, short = np.empty_like(direction), np.arange(len(live))
        while len(short):  # halve the steps that are too long
            new[short] = weights[live[short]] + step[short, None, None] * direction[short]
            new_value[short], new_gradient[short], loss[short] = evaluated(live[short], new[short])
            allowed = value[short] + step[short] * promised[short] + ROUNDING * abs(value[short])
            short = short[(new_value[short] > allowed) & (step[short] > SMALLEST_STEP)]
            step[short] /= 2
        memory.add(new - weights[live], new_gradient - gradient)
        weights[live], losses[live] = new, loss
        steps[live] += 1
        going = _norm(new_gradient) > small[live]
        live, value, gradient = live[going], new_value[going], new_gradient[going]
        memory.keep(going)
        seen = seen.of(live)
    return Heads(np.ascontiguousarray(weights.transpose(1, 0, 2), dtype=np.float32), steps, losses)


def seconds_of(n: int, width: int, columns: int) -> float:
    """Return about how long heads take on this machine: the usual steps, at the rate of a product measured now.

    Args:
        n: number of images.
        width: values of a vector.
        columns: heads times classes.
    """
    rows, some = min(n, ROWS), min(columns, SOME)
    values, weights = np.ones((rows, width), dtype=np.float32), np.ones((width, some), dtype=np.float32)
    with one_blas_thread():
        each = fastest(lambda: values @ weights, TIMED) / (rows * some)
    return USUAL_STEPS * 2 * each * n * columns / cpus()


class _Seen(NamedTuple):
    """Images that some heads are trained on.

    Attributes:
        values: float32[n, d + 1].
        labels: int64[n].
        share: float32[n, h], of an image in the mean of each head's.
    """

    values: Floats
    labels: Ints
    share: Floats

    def of(self, heads: Ints) -> _Seen:
        """Leave out the images of none of the given heads, where these are so many that copying the others pays."""
        used = self.share[:, heads].any(axis=1)
        if not len(heads) or used.mean() > WORTH_COPYING:
            return self
        return _Seen(self.values[used], self.labels[used], self.share[used])


def _evaluated(
    seen: _Seen, heads: Ints, weights: Doubles, decay: Doubles
) -> tuple[Doubles, Doubles, Doubles]:
    """Return function value float64[h], gradient float64[h, d + 1, c] and cross-entropy float64[h] of some heads."""
    h, width, c = weights.shape
    values, labels, share = seen.values, seen.labels, seen.share[:, heads]
    flat = np.ascontiguousarray(weights.transpose(1, 0, 2), dtype=np.float32).reshape(width, h * c)
    gradient, loss = np.zeros((width, h * c)), np.zeros(h)

    def part(rows: slice) -> tuple[Floats, Doubles]:
        logits, losses = values[rows] @ flat, np.zeros(h)
        _residuals(logits, labels[rows], share[rows], losses)
        return values[rows].T @ logits, losses

    with one_blas_thread():
        # Added in the order of the rows, so that the sum does not depend on the number of threads.
        for turned, lost in in_threads(part, in_batches(len(values), ROWS), cpus()):
            gradient += turned
            loss += lost
    penalty = decay * weights
    value = loss + 0.5 * (penalty * weights).sum(axis=(1, 2))
    return value, gradient.reshape(width, h, c).transpose(1, 0, 2) + penalty, loss


@kernel
def _residuals(logits, labels, share, loss):  # type: ignore[no-untyped-def]
    """Replace logits by (probability − target) × share; add the cross-entropies."""
    n, h = share.shape
    c = logits.shape[1] // h
    for i in range(n):
        for k in range(h):
            at, part = k * c, share[i, k]
            if part == 0:
                for j in range(at, at + c):
                    logits[i, j] = 0
                continue
            top = logits[i, at]
            for j in range(at + 1, at + c):
                if logits[i, j] > top:
                    top = logits[i, j]
            total = np.float32(0)
            right = logits[i, at + labels[i]] - top
            for j in range(at, at + c):
                logits[i, j] = np.exp(logits[i, j] - top)
                total += logits[i, j]
            loss[k] += part * (np.log(total) - right)
            for j in range(at, at + c):
                logits[i, j] *= part / total
            logits[i, at + labels[i]] -= part


class _Memory:
    """The last steps of all heads, and the directions that follow from them."""

    def __init__(self, curvature: Curvature) -> None:
        self.curvature = curvature
        self.pairs: list[tuple[Doubles, Doubles, Doubles]] = []
        self.scale: Doubles | None = None  # of the curvature for each head, by its last step

    def add(self, moved: Doubles, turned: Doubles) -> None:
        """Remember a step of each head: how far weights and gradient moved."""
        dot = _dot(moved, turned)
        self.pairs = [*self.pairs, (moved, turned, dot)][-HISTORY:]
        self.scale = _ratio(dot, _dot(turned, self.curvature.solved(turned)))

    def keep(self, heads: Bools) -> None:
        """Forget the heads that are done."""
        self.pairs = [(moved[heads], turned[heads], dot[heads]) for moved, turned, dot in self.pairs]
        self.scale = None if self.scale is None else self.scale[heads]

    def direction(self, gradient: Doubles) -> Doubles:
        """Return where to go: the two loops of L-BFGS."""
        q = gradient.copy()
        factors = []
        for moved, turned, dot in reversed(self.pairs):
            factors.append(_ratio(_dot(moved, q), dot))
            q -= factors[-1][:, None, None] * turned
        q = self.curvature.solved(q)
        if self.scale is not None:
            q *= self.scale[:, None, None]
        for (moved, turned, dot), factor in zip(self.pairs, reversed(factors), strict=True):
            q += (factor - _ratio(_dot(turned, q), dot))[:, None, None] * moved
        return -q


def _ratio(a: Doubles, b: Doubles) -> Doubles:
    """Return a / b, 0 where b is not above 0: a function that is not convex to rounding teaches nothing."""
    return np.asarray(np.divide(a, b, out=np.zeros(len(a)), where=b > 0))


def _dot(a: Doubles, b: Doubles) -> Doubles:
    return np.asarray(np.einsum("hdc,hdc->h", a, b))


def _norm(gradient: Doubles) -> Doubles:
    return np.sqrt(_dot(gradient, gradient))
