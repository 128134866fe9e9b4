"""Stages of the library that the page calls on the run folder: deepen the tree, store the selection."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ..data.store.run_folder import RunFolder, Stage
from ..embedding.stage import Clock
from ..linkage.memory import Resources
from ..pipeline import select, store_merges
from ..progress import watched
from ..selection.by_tree import select as select_merges
from ..selection.selection import Selection
from ..selection.stored import load_decided
from ..tree.cut import Cut
from .events import Hub
from .jobs import Job, Tell
from .memo import Memo
from .session import Session
from .state import State


class Runs:
    """The library's stages, called for the page."""

    def __init__(self, session: Session, hub: Hub) -> None:
        """Store the run."""
        self._session, self._hub = session, hub
        self.deepening = Job("deepen", hub)
        self._whole: Memo[Selection] = Memo(1)

    def deepen(self, cut: Cut) -> dict[str, Any]:
        """Start deepening the stored tree so that it reaches a cut."""
        state = self._session.state
        if state.covers(cut):
            return {"state": "ready", "done": 1.0, "error": None, "deepest_keep": state.deepest}
        self.deepening.start(lambda tell: self._deepened(cut, tell))
        return self.view()

    def view(self) -> dict[str, Any]:
        """Return the progress of the deepening."""
        return {**self.deepening.view(), "deepest_keep": self._session.state.deepest}

    def select(self, cut: Cut) -> dict[str, Any]:
        """Store the selection of a cut in the run, as ``tenpercent select`` does."""
        state = self._session.state
        state.require(cut)
        selection = select(state.run.path, cut)
        self._session.refresh()
        self._hub.publish("selection", {})
        return {
            "kept": len(selection.kept),
            "removed": len(selection.removed),
            "notes": list(selection.notes),
        }

    def selection(self, state: State, cut: Cut) -> Selection:
        """Return the whole selection of a cut; the last one is cached."""
        state.require(cut)
        key = (state.embeddings.origin, state.version, cut)
        return self._whole.get(key, lambda: select_merges(state.merges, cut))

    def kept(self, state: State, cut: Cut) -> bytes:
        """Return the kept images as a mask, a bit each: position p is bit p % 8 of byte p // 8."""
        mask: npt.NDArray[np.bool_] = self.selection(state, cut).kept_by_id
        return np.packbits(mask, bitorder="little").tobytes()

    def _deepened(self, cut: Cut, tell: Tell) -> dict[str, Any]:
        with watched(tell):
            deepen(self._session.run, cut)
        if cut.keep is not None:
            self._session.reached = cut.keep
        self._session.refresh()
        return {"deepest_keep": self._session.state.deepest}


def deepen(run: RunFolder, cut: Cut) -> None:
    """Store a tree that reaches a cut under the current decisions. The selection stays valid: its cut is a part of it.

    Raises:
        LockedError: another process works on the tree.
        MemoryBudgetError: the cut needs more memory; the message says what fits.
    """
    with run.lock(Stage.CLUSTER, Stage.SELECT, Stage.REPORT):
        tree, clock = load_decided(run), Clock()
        if not tree.covers(cut):
            deeper = tree.deepened(cut, Resources(scratch=run.scratch))
            store_merges(run, deeper, clock, tree.bare, keep=cut.keep, threshold=cut.threshold)
