"""Projection of images onto a plane, similar ones near each other: UMAP of all, or of a sample that the others join."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from types import ModuleType
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ..data.store.embeddings import Ints, Vectors, in_batches
from ..errors import require
from ..linkage.distances import unit_vectors
from ..linkage.kernels import store_elsewhere

Units = npt.NDArray[np.float32]
Tell = Callable[[float | None], None]

SAMPLE = (
    50_000  # images that UMAP lays out; of more, as many drawn at random, so that dense places stay dense
)
NEIGHBOURS = 15
JOINED = 5  # images of the sample that place another one
FEWEST = 12  # images that UMAP needs
SEED = 20190129
TILE = 1024
SIDE = 65_535  # the points lie in a square of 0 … SIDE


class Projection(NamedTuple):
    """Points on a plane.

    Attributes:
        x, y: uint16[n], in id order.
        method: the way they were made, in words.
    """

    x: npt.NDArray[np.uint16]
    y: npt.NDArray[np.uint16]
    method: str


def project(vectors: Vectors, tell: Tell) -> Projection:
    """Lay out vectors on a plane; the same vectors give the same points on the same machine.

    Args:
        vectors: [n, d] in id order.
        tell: called with the share done, None where that is not known.

    Raises:
        MissingExtraError: umap-learn is not installed.
    """
    n = len(vectors)
    if n < FEWEST:
        units = unit_vectors(vectors).astype(np.float32)
        return _squared(_principal(units), f"principal components: {n} images are too few for UMAP")
    umap = _package()
    sample = np.arange(n)
    if n > SAMPLE:
        sample = np.sort(np.random.default_rng(SEED).choice(n, SAMPLE, replace=False))
    rest = np.setdiff1d(np.arange(n), sample, assume_unique=True)
    share = 0.3 if not len(rest) else 0.15  # rough share of the time for finding neighbours
    units = unit_vectors(vectors[sample]).astype(np.float32)
    k = min(NEIGHBOURS, len(sample) - 1)
    nearest, distance = neighbours(units, units, k + 1, lambda done: tell(share * done))
    nearest, distance = _itself_first(nearest, distance)
    tell(None)
    placed = _umap(umap, units, nearest, distance, k)
    method = f"UMAP, {k} neighbours, seed {SEED}"
    if not len(rest):
        return _squared(placed, method)
    points = np.empty((n, 2), dtype=np.float32)
    points[sample] = placed
    for part in in_batches(len(rest), 16 * TILE):
        own = rest[part]
        near, far = neighbours(unit_vectors(vectors[own]).astype(np.float32), units, JOINED, lambda _: None)
        points[own] = _between(placed, near, far)
        tell(0.5 + 0.5 * part.stop / len(rest))
    return _squared(
        points,
        f"{method}, of {SAMPLE:,} images drawn at random; the other {len(rest):,} lie between "
        f"the {JOINED} of them that are nearest",
    )


def neighbours(asked: Units, among: Units, k: int, tell: Callable[[float], None]) -> tuple[Ints, Units]:
    """Return the k nearest of the unit vectors `among` for each of `asked`, nearest first, with their distances."""
    nearest = np.empty((len(asked), k), dtype=np.int64)
    distance = np.empty((len(asked), k), dtype=np.float32)
    for part in in_batches(len(asked), TILE):
        cosine = asked[part] @ among.T
        best = np.argpartition(cosine, len(among) - k, axis=1)[:, len(among) - k :]
        value = np.take_along_axis(cosine, best, axis=1)
        order = np.lexsort((best, -value), axis=1)
        nearest[part] = np.take_along_axis(best, order, axis=1)
        chosen = np.take_along_axis(value, order, axis=1)
        distance[part] = np.sqrt(np.maximum(2.0 - 2.0 * chosen, 0.0))
        tell(part.stop / len(asked))
    return nearest, distance


def _itself_first(nearest: Ints, distance: Units) -> tuple[Ints, Units]:
    """Put each point before its neighbours, as UMAP expects; among equals it may come later, or not at all."""
    own = np.arange(len(nearest))[:, None]
    is_own = nearest == own
    is_own[~is_own.any(axis=1), -1] = True
    order = np.argsort(~is_own, axis=1, kind="stable")
    nearest, distance = (
        np.take_along_axis(nearest, order, axis=1),
        np.take_along_axis(distance, order, axis=1),
    )
    nearest[:, 0], distance[:, 0] = own[:, 0], 0.0
    return nearest, distance


def _package() -> ModuleType:
    """Import umap-learn, whose kernels are cached like ours where its installation can't be written."""
    try:
        return require("umap", "review")
    except RuntimeError as nowhere:
        if "cannot cache function" not in str(nowhere) or not store_elsewhere():
            raise
        return require("umap", "review")


def _umap(umap: object, units: Units, nearest: Ints, distance: Units, k: int) -> Units:
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore"
        )  # on keeping no search index, and on a seed limiting it to one thread: both intended
        made = umap.UMAP(  # type: ignore[attr-defined]
            n_neighbors=k,
            metric="euclidean",
            init="pca",
            random_state=SEED,
            n_jobs=1,
            precomputed_knn=(nearest[:, :k], distance[:, :k], None),
        ).fit_transform(units)
    return np.asarray(made, dtype=np.float32)


def _between(placed: Units, near: Ints, distance: Units) -> Units:
    """Return the mean of the places of some neighbours, weighted by nearness."""
    scale = np.maximum(distance[:, :1], 1e-6)
    weight = np.exp(-((distance / scale) ** 2))
    weight /= weight.sum(axis=1, keepdims=True)
    return np.asarray((placed[near] * weight[:, :, None]).sum(axis=1), dtype=np.float32)


def _principal(units: Units) -> Units:
    """Return the first two principal components; zeros where there are fewer."""
    centred = units - units.mean(axis=0)
    u, s, _ = np.linalg.svd(centred.astype(np.float64), full_matrices=False)
    points = np.zeros((len(units), 2), dtype=np.float32)
    width = min(2, len(s))
    points[:, :width] = u[:, :width] * s[:width]
    return points


def _squared(points: Units, method: str) -> Projection:
    """Fit points into the square of 0 … SIDE, with their aspect, the shorter side centred."""
    low, high = points.min(axis=0), points.max(axis=0)
    scale = SIDE / max(float((high - low).max()), 1e-12)
    whole = np.rint((points - (low + high) / 2) * scale + SIDE / 2).clip(0, SIDE).astype(np.uint16)
    return Projection(np.ascontiguousarray(whole[:, 0]), np.ascontiguousarray(whole[:, 1]), method)
