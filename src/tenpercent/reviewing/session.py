"""Session on one run folder: held open, and reread whenever it has changed on disk."""

from __future__ import annotations

import logging
import time
from pathlib import Path
from threading import RLock
from typing import TYPE_CHECKING, Any

from ..data.store.embeddings import Embeddings
from ..data.store.run_folder import RunFolder, Stage
from ..decisions.constraints import Constraints
from ..decisions.log import ANSWERS, Decision, DecisionLog
from ..decisions.meaning import constraints_of, places
from ..errors import RunFolderError, TenpercentError
from ..selection.preference import preferring
from ..selection.stored import OpenRun, load_embeddings, stored_decided
from ..tree.cut import Within
from .cache import Cache
from .forest import MergeForest
from .nearby import OutsideSearch
from .pictures import open_originals
from .state import RunState, StoredCut

if TYPE_CHECKING:
    from ..tree.merges import Merges

log = logging.getLogger("tenpercent")

LOOK_EVERY = 0.1  # seconds during which requests share one check of the disk


class RunSession:
    """A source of the current state of a run folder on disk; thread-safe."""

    def __init__(self, path: Path) -> None:
        """Open a run folder.

        Raises:
            TenpercentError: it holds no run, or one that can't be opened: not clustered, of another format.
        """
        self.run = RunFolder.open(path)
        self.log = DecisionLog(self.run.path)
        self._lock = RLock()
        self._seen: tuple[Any, ...] = ()
        self._embeddings: Cache[Embeddings] = Cache(1)
        self._bare: Cache[Merges] = Cache(1)
        self._walked: Merges | None = None  # the tree under the decisions used last
        self._walked_of: Merges | None = None
        self._forests: Cache[MergeForest] = Cache(2)  # of the tree with decisions, and without
        self._damaged = False
        self.reached: float | None = None
        self._state = self._load(None)
        self._looked = time.monotonic()

    @property
    def state(self) -> RunState:
        """Current state of the run.

        Raises:
            StageError: another process is rewriting it.
        """
        with self._lock:
            if time.monotonic() - self._looked > LOOK_EVERY:
                self.refresh()
            return self._state

    def refresh(self) -> None:
        """Check the disk now."""
        with self._lock:
            if self._stamp() != self._seen:
                self._state = self._load(self._state)
            self._looked = time.monotonic()

    def version(self) -> int:
        """Return the version of the log of decisions, −1 where it is damaged."""
        try:
            return self.log.version
        except RunFolderError:
            return -1

    def _stamp(self) -> tuple[Any, ...]:
        files = (self.run.json_path, self.run.merges, self.run.decided)
        return (
            *(_written(file) for file in files),
            self.version(),
            _written(self.log.path) if self._damaged else 0,
        )

    def _load(self, before: RunState | None) -> RunState:
        """Read what has changed since `before`; decisions that can't be read are left out, and the state says so."""
        seen = self._stamp()
        clustered = self.run.require(Stage.CLUSTER)
        bare = self._merges(clustered.settings.layer)
        embeddings = bare.embeddings
        damaged, version, undo, redo = "", -1, False, False
        decisions: tuple[Decision, ...] = ()
        try:
            version = self.log.version
            decisions = tuple(one for one in self.log.active() if one.kind not in ANSWERS)
            undo, redo = self.log.can_undo, self.log.can_redo
        except RunFolderError as error:
            log.warning("%s", error)
            damaged = str(error)
        meaning = constraints_of(decisions, embeddings)
        merges = self._under(bare, meaning.constraints)
        same = before is not None and before.embeddings is embeddings
        state = RunState(
            run=self.run,
            built_keep=clustered.settings.keep,
            merges=merges,
            forest=self._forest(merges),
            bare=bare,
            bare_forest=lambda: self._forest(bare),
            originals=before.originals if before and same else open_originals(self.run, embeddings),
            nearby=before.nearby if before and same else OutsideSearch(embeddings),
            stored_cut=StoredCut.of(self.run.stage(Stage.SELECT)),
            version=version,
            decisions=decisions,
            place=places(decisions, embeddings),
            unmatched=len(meaning.unmatched),
            undo=undo,
            redo=redo,
            damaged=damaged,
            reached=self.reached,
        )
        self._seen, self._damaged = seen, bool(damaged)
        return state

    def _forest(self, merges: Merges) -> MergeForest:
        """Return the forest of some merges; it holds their array `a`, so no other has its id meanwhile."""
        return self._forests.get(id(merges.a), lambda: MergeForest(merges, merges.within is Within.CLASS))

    def _merges(self, layer: str) -> Merges:
        """Return the stored tree; the embeddings are reread only where they have changed."""
        from ..tree.merges import Merges

        made_of = repr((self.run.source, self.run.stage(Stage.EMBED), layer))
        embeddings = self._embeddings.get(made_of, lambda: load_embeddings(self.run, layer))
        rule = StoredCut.of(self.run.stage(Stage.SELECT)).representative
        tree = (made_of, rule, _written(self.run.merges))
        return self._bare.get(tree, lambda: self._preferring(Merges.load(self.run.merges, embeddings), rule))

    def _preferring(self, merges: Merges, rule: str) -> Merges:
        """Return the tree with the stored selection's rule for representatives, where its images are there."""
        try:
            return preferring(merges, rule, OpenRun(self.run))
        except TenpercentError as gone:
            log.warning("groups are shown with the image nearest to their centre: %s", gone)
            return merges

    def _under(self, bare: Merges, constraints: Constraints) -> Merges:
        """Return the tree under constraints; the result of walking again is cached while they stay the same."""
        if not len(constraints):
            return bare
        stored = stored_decided(self.run, bare, constraints)
        if stored is not None:
            return stored
        known = self._walked if self._walked_of is bare else None
        if known is None or known.constraints.links != constraints.links:
            known = bare
        self._walked, self._walked_of = known.under(constraints), bare
        return self._walked


def _written(path: Path) -> tuple[int, int]:
    """Return the modification time and the size of a file; zeros where it is missing."""
    try:
        found = path.stat()
    except OSError:
        return (0, 0)
    return (found.st_mtime_ns, found.st_size)
