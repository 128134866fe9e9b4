"""Separation of classes by vectors: accuracy of nearest neighbours and of a linear classifier."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import numpy.typing as npt

from ...errors import UsageError, require

NEIGHBOURS = 20
TEMPERATURE = 0.07  # of a neighbour's weight exp(cosine / temperature): Wu et al., 2018, arXiv 1805.01978
ITERATIONS = 1000  # of the linear classifier, at most
BLOCK_BYTES = 64 * 2**20  # of cosines at a time

Ints = npt.NDArray[np.int64]
Vectors = npt.NDArray[np.floating[Any]]


def neighbours_accuracy(
    train: Vectors, labels: Ints, test: Vectors, test_labels: Ints, k: int = NEIGHBOURS
) -> float:
    """Return the share of test vectors whose class wins among the k training vectors nearest by cosine.

    Each neighbour's vote weighs exp(cosine / 0.07); of equal votes the smaller code wins.

    Args:
        train: float[n, d], no zero rows.
        labels: int64[n], codes from 0.
        test: float[m, d].
        test_labels: int64[m].
        k: neighbours that vote; at most n.

    Raises:
        UsageError: k is not from 1 to n, or there is a single class.
    """
    check_classes(labels)
    if not 1 <= k <= len(train):
        raise UsageError(f"k is {k}; it must be from 1 to {len(train)}, the number of training vectors")
    ours, theirs = _unit(train), _unit(test)
    classes = int(labels.max()) + 1
    right = 0
    rows = max(1, BLOCK_BYTES // (4 * len(ours)))
    for start in range(0, len(theirs), rows):
        cosine = theirs[start : start + rows] @ ours.T
        nearest = np.argpartition(-cosine, k - 1, axis=1)[:, :k]
        weight = np.exp(np.take_along_axis(cosine, nearest, axis=1).astype(np.float64) / TEMPERATURE)
        cells = np.arange(len(cosine))[:, None] * classes + labels[nearest]
        votes = np.bincount(cells.reshape(-1), weight.reshape(-1), minlength=len(cosine) * classes)
        guesses = votes.reshape(len(cosine), classes).argmax(axis=1)
        right += int((guesses == test_labels[start : start + rows]).sum())
    return right / len(theirs)


def linear_accuracy(train: Vectors, labels: Ints, test: Vectors, test_labels: Ints) -> tuple[float, bool]:
    """Return the accuracy of a multinomial logistic regression, and whether it converged.

    Each value is standardised over the training vectors first; the penalty is scikit-learn's default (C = 1).

    Args:
        train, labels, test, test_labels: as for `neighbours_accuracy`.

    Raises:
        UsageError: there is a single class.
    """
    check_classes(labels)
    linear = require("sklearn.linear_model", "sklearn")
    exceptions = require("sklearn.exceptions", "sklearn")
    mean, std = train.mean(axis=0, dtype=np.float64), train.std(axis=0, dtype=np.float64)
    std[std == 0] = 1.0
    classifier = linear.LogisticRegression(max_iter=ITERATIONS)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        classifier.fit((train - mean) / std, labels)
    converged = True
    for warning in said:
        if issubclass(warning.category, exceptions.ConvergenceWarning):
            converged = False
        else:
            warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)
    guesses = classifier.predict((test - mean) / std)
    return float((guesses == test_labels).mean()), converged


def interval(accuracy: float, n: int) -> tuple[float, float]:
    """Return the 95% interval of an accuracy measured on n images (Wilson, 1927): sampling of those images alone."""
    from scipy.stats import binomtest  # slow to load, and `import tenpercent` comes here

    low, high = binomtest(round(accuracy * n), n).proportion_ci(method="wilson")
    return float(low), float(high)


def check_classes(labels: Ints) -> None:
    """Raise `UsageError` where all vectors are of one class."""
    codes = np.unique(labels)
    if len(codes) < 2:
        raise UsageError(f"a probe needs at least 2 classes, got {len(codes)}; give vectors of more classes")


def _unit(vectors: Vectors) -> npt.NDArray[np.float32]:
    wide = vectors.astype(np.float64)
    found: npt.NDArray[np.float32] = (wide / np.linalg.norm(wide, axis=1, keepdims=True)).astype(np.float32)
    return found
