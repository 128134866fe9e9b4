"""The curvature of what heads minimise, class by class: steps that know it are half as many.

The second derivative of the mean cross-entropy by the weights of class k is the mean of p (1 − p) x xᵀ over the images,
with p the probability of k. It is that of one head, here of all images, and inverted it turns the gradient of any head
like it into nearly the right step. Most of it comes from few images, those that might be of the class and might not;
the others count with their mean square alone. What L-BFGS reaches does not depend on it, only the number of steps.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ...data.store.embeddings import in_batches
from ...linkage.threads import cpus, in_threads, one_blas_thread

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]

UNSURE = 4000  # images of a class that are counted with all their products
MOST_BYTES = 1 << 30  # of the inverses: beyond, many classes of wide vectors, steps go without
LEAST = 1e-6  # of the largest second derivative, so that a class that is nowhere unsure has an inverse
FLAT = 0.05  # second derivative of the cross-entropy, about: the mean of p (1 − p) over images and classes
ROWS = 4096  # images a product


@dataclass(frozen=True, eq=False)
class Curvature:
    """Inverse second derivatives.

    Attributes:
        inverse: float32[c, d + 1, d + 1], symmetric; None for `FLAT` in all directions.
    """

    inverse: Floats | None = None

    @classmethod
    def at(cls, values: Floats, weights: Floats, decay: Doubles) -> Curvature:
        """Return the curvature where a head is.

        Args:
            values: float32[n, d + 1], the images.
            weights: float32[d + 1, c], of the head.
            decay: float64[d + 1], the second derivative of its weight decay.
        """
        width, c = weights.shape
        if curvature_bytes(width, c) == 0:
            return cls()
        doubt = _doubt(values, weights)
        square = np.einsum("ij,ij->j", values, values, dtype=np.float64) / len(values)
        inverse = np.empty((c, width, width), dtype=np.float32)

        def one(k: int) -> None:
            inverse[k] = np.linalg.inv(_second(values, doubt[:, k], square, decay))

        with one_blas_thread():
            list(in_threads(one, range(c), cpus()))
        return cls(inverse)

    def solved(self, gradient: Doubles) -> Doubles:
        """Return the steps that gradients ask for, both float64[h, d + 1, c]."""
        if self.inverse is None:
            return gradient / FLAT
        inverse, found = self.inverse, np.empty_like(gradient)

        def one(k: int) -> None:
            found[:, :, k] = gradient[:, :, k].astype(np.float32) @ inverse[k]

        with one_blas_thread():
            list(in_threads(one, range(len(inverse)), cpus()))
        # The gradients of all classes add up to 0; the same step for all of them would change no probability.
        found -= found.mean(axis=2, keepdims=True)
        return found


def curvature_bytes(width: int, n_classes: int) -> int:
    """Return the bytes of the inverses; 0 where they are too many to be made.

    Args:
        width: d + 1.
        n_classes: c.
    """
    size = n_classes * width * width * 4
    return size if size <= MOST_BYTES else 0


def _doubt(values: Floats, weights: Floats) -> Floats:
    """Return p (1 − p) of each image and class: float32[n, c]."""
    found = np.empty((len(values), weights.shape[1]), dtype=np.float32)

    def part(rows: slice) -> None:
        logits = values[rows] @ weights
        odds = np.exp(logits - logits.max(axis=1, keepdims=True))
        odds /= odds.sum(axis=1, keepdims=True)
        found[rows] = odds * (1 - odds)

    with one_blas_thread():
        list(in_threads(part, in_batches(len(values), ROWS), cpus()))
    return found


def _second(values: Floats, doubt: Floats, square: Doubles, decay: Doubles) -> Doubles:
    """Return the second derivative by the weights of one class: float64[d + 1, d + 1]."""
    n = len(doubt)
    first = np.argpartition(-doubt, UNSURE)[:UNSURE] if n > UNSURE else np.arange(n)
    unsure = values[first] * np.sqrt(doubt[first])[:, None]
    found = (unsure.T @ unsure).astype(np.float64) / n
    rest = (float(doubt.sum(dtype=np.float64)) - float(doubt[first].sum(dtype=np.float64))) / n
    diagonal = np.diag(found) + max(rest, 0.0) * square + decay
    np.fill_diagonal(found, diagonal + LEAST * diagonal.max())
    return found
