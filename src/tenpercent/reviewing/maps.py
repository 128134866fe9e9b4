"""Map of a run: computed once, stored beside the run, sent in parts."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ..data.store.files import write_table
from ..data.store.tables import Column, Layout, read_checked
from ..errors import RunFolderError, StageError
from .events import Hub
from .jobs import Job
from .projection import project
from .requests import RefusedError
from .session import Session
from .state import State

log = logging.getLogger("tenpercent")

FORMAT = 1
NAME = "map.parquet"
MOST_CODES = 32_767  # the most that two bytes hold


class About(TypedDict):
    """The metadata stored beside the map."""

    format: int
    origin: str
    method: str


LAYOUT = Layout((Column("x", pa.uint16()), Column("y", pa.uint16())), About, FORMAT)


class Map:
    """The map of the run's current embeddings; thread-safe."""

    def __init__(self, session: Session, hub: Hub) -> None:
        """Store the session; a stored map is read on first use."""
        self._session, self._job = session, Job("map", hub)
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
            RefusedError: there is no map yet.
        """
        if not self._ready(self._session.state) or self._points is None:
            raise RefusedError(409, "there is no map yet; ask for one first")
        return self._points[offset : offset + limit].astype("<u2").tobytes()

    def _make(self, state: State, tell: Callable[[float | None], None]) -> dict[str, Any]:
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

    def _ready(self, state: State) -> bool:
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


def labels(state: State, offset: int, limit: int) -> bytes:
    """Return the codes of some images' classes, two bytes each, little-endian; −1 for none.

    Raises:
        RefusedError: there are more classes than two bytes hold.
    """
    codes = state.embeddings.labels
    many = len(state.embeddings.class_names)
    if many > MOST_CODES:
        raise RefusedError(409, f"the run has {many:,} classes; the map tells up to {MOST_CODES:,} apart")
    if codes is None:
        codes = np.full(len(state.embeddings), -1)
    return np.asarray(codes[offset : offset + limit]).astype("<i2").tobytes()
