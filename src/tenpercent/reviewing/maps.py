"""Map of a run: similar images near each other on a plane; computed once, stored beside the run, sent in parts."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple, TypedDict

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ..data.store.embeddings import Ints, Vectors, in_batches
from ..data.store.files import write_table
from ..data.store.tables import Column, Layout, read_checked
from ..errors import RunFolderError, StageError, require
from ..linkage.distances import unit_vectors
from ..linkage.kernels import store_elsewhere
from .events import BackgroundJob, PageEvents, Tell
from .requests import RequestError
from .session import RunSession
from .state import RunState

log = logging.getLogger("tenpercent")

FORMAT = 1
NAME = "map.parquet"
MOST_CODES = 32_767  # the most that two bytes hold
Units = npt.NDArray[np.float32]

SAMPLE = (
    50_000  # images that UMAP lays out; of more, as many drawn at random, so that dense places stay dense
)
NEIGHBOURS = 15
JOINED = 5  # images of the sample that place another one
FEWEST = 12  # images that UMAP needs
SEED = 20190129
TILE = 1024
SIDE = 65_535  # the points lie in a square of 0 … SIDE


class MapMetadata(TypedDict):
    """The metadata stored beside the map."""

    format: int
    origin: str
    method: str


LAYOUT = Layout((Column("x", pa.uint16()), Column("y", pa.uint16())), MapMetadata, FORMAT)


class RunMap:
    """The map of the run's current embeddings; thread-safe."""

    def __init__(self, session: RunSession, events: PageEvents) -> None:
        """Store the session; a stored map is read on first use."""
        self._session, self._job = session, BackgroundJob("map", events)
        self._origin, self._method = "", ""
        self._points: npt.NDArray[np.uint16] | None = None

    @property
    def path(self) -> Path:
        """File of the stored map."""
        return self._session.run.path / "review" / NAME

    def view(self) -> dict[str, Any]:
        """Return its state and progress."""
        state = self._session.state
        ready = self._ready(state)
        view = self._job.view()
        if ready:
            view = {"state": "ready", "done": 1.0, "error": None}
        elif view["state"] == "ready":
            view = {"state": "none", "done": None, "error": None}  # it was made of other embeddings
        return {**view, "n": len(state.embeddings), "method": self._method if ready else None}

    def start(self) -> dict[str, Any]:
        """Start computing it, unless it exists."""
        state = self._session.state
        if not self._ready(state):
            self._job.start(lambda tell: self._make(state, tell))
        return self.view()

    def points(self, offset: int, limit: int) -> bytes:
        """Return x and y of some images, two bytes each, little-endian.

        Raises:
            RequestError: there is no map yet.
        """
        if not self._ready(self._session.state) or self._points is None:
            raise RequestError(409, "there is no map yet; ask for one first")
        return self._points[offset : offset + limit].astype("<u2").tobytes()

    def _make(self, state: RunState, tell: Tell) -> dict[str, Any]:
        found = project(state.embeddings.vectors, tell)
        self._take(np.column_stack([found.x, found.y]), found.method, state.embeddings.origin)
        about = {"format": FORMAT, "origin": state.embeddings.origin, "method": found.method}
        try:
            write_table(self.path, pa.table({"x": found.x, "y": found.y}), about, checksums=True)
        except RunFolderError as error:
            log.warning("the map is not stored and will be computed again: %s", error)
        return {}

    def _take(self, points: npt.NDArray[np.uint16], method: str, origin: str) -> None:
        self._points, self._method, self._origin = points, method, origin

    def _ready(self, state: RunState) -> bool:
        """Return whether the map of these embeddings is available; reads the stored one."""
        if self._origin == state.embeddings.origin:
            return True
        if self._job.state == "computing" or not self.path.is_file():
            return False
        try:
            table, about = read_checked(self.path, LAYOUT)
        except StageError as error:
            log.warning("the stored map can't be read and will be computed again: %s", error)
            return False
        if about["origin"] != state.embeddings.origin or len(table) != len(state.embeddings):
            return False
        points = np.column_stack([table["x"].to_numpy(), table["y"].to_numpy()])
        self._take(points, str(about["method"]), state.embeddings.origin)
        return True


def labels(state: RunState, offset: int, limit: int) -> bytes:
    """Return the codes of some images' classes, two bytes each, little-endian; −1 for none.

    Raises:
        RequestError: there are more classes than two bytes hold.
    """
    codes = state.embeddings.labels
    many = len(state.embeddings.class_names)
    if many > MOST_CODES:
        raise RequestError(409, f"the run has {many:,} classes; the map can colour up to {MOST_CODES:,}")
    if codes is None:
        codes = np.full(len(state.embeddings), -1)
    return np.asarray(codes[offset : offset + limit]).astype("<i2").tobytes()


# ---- the points ----------------------------------------------------------------------------------------------------


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
