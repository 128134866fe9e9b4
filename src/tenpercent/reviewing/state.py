"""State of a run folder at one moment: its images, tree, decisions, and the cuts used last."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ..data.store.embeddings import Embeddings, Ints
from ..data.store.records import SelectRecord
from ..data.store.run_folder import RunFolder
from ..decisions.log import Decision, ImageName
from ..errors import counted
from ..tree.cut import Cut, Hold
from .cache import Cache
from .forest import MergeForest
from .groups import CutGroups
from .nearby import OutsideSearch
from .pictures import OriginalImages
from .requests import RequestError

if TYPE_CHECKING:
    from ..tree.merges import Merges
    from ..tree.partition import Partition

CUTS = 64  # cached at a time, two bytes an image each, and their lists
ANSWERS = 400  # numbers and pages cached at a time, up to 300 KB each


@dataclass(frozen=True)
class StoredCut:
    """The cut of the run's own selection, made or default.

    Attributes:
        keep: the fraction it keeps.
        budget: ``class`` or ``global``.
        min_per_class: the least images that each class keeps.
        strategy: ``semantic``, or another that does not use the tree's cut.
        notes: notes on it for a person.
    """

    keep: float = 0.9
    budget: str = "class"
    min_per_class: int = 1
    strategy: str = "semantic"
    representative: str = "centre"
    notes: tuple[str, ...] = ()

    @classmethod
    def of(cls, selected: SelectRecord | None) -> StoredCut:
        """Read the record of the select stage; None where it has not run."""
        if selected is None:
            return cls(notes=("Nothing has been selected yet; this page starts at keep 0.9.",))
        settings = selected.settings
        images = selected.kept + selected.removed
        strategy, notes = settings.strategy, list(selected.notes)
        if strategy != "semantic":
            notes.append(f"The stored selection was chosen by {strategy}; this page shows the tree's groups.")
        if settings.keep_ids:
            notes.append(
                f"The stored selection keeps {settings.keep_ids:,} images because --keep-ids names them; this page "
                "does not know which: keep them here by a decision."
            )
        if settings.locked:
            locked = counted(settings.locked, "locked image")
            notes = [f"In the stored selection: {note}" for note in notes]
            notes.insert(
                0,
                f"The stored selection is cut around {locked}. This page shows the groups without, and a cut that is "
                "stored here no longer knows them.",
            )
        return cls(
            keep=settings.keep or max(1, selected.kept) / max(1, images),
            budget=settings.budget or "class",
            min_per_class=settings.min_per_class,
            strategy=strategy,
            representative=settings.representative,
            notes=tuple(notes),
        )


@dataclass(frozen=True, eq=False)
class RunState:
    """A run folder at one moment; immutable.

    Attributes:
        run: the folder.
        built_keep: the fraction that the stored tree was built for; None for a threshold.
        merges: the tree under the decisions, with the embeddings.
        originals: the images.
        nearby: finds the nearest image outside a group.
        forest: the tree's merges as nodes.
        bare: the tree without decisions.
        bare_forest: its merges as nodes, made when first asked for.
        stored_cut: the cut of the run's own selection.
        version: of the log of decisions.
        decisions: the current ones, in order.
        place: the position of each image that they name.
        unmatched: number of images they name that the run lacks.
        undo, redo: True where there is a decision to undo or redo.
        damaged: the reason why the decisions can't be read; empty where they can.
        reached: the fraction that the tree was last deepened to, if any.
    """

    run: RunFolder
    built_keep: float | None
    merges: Merges
    forest: MergeForest
    bare: Merges
    bare_forest: Callable[[], MergeForest]
    originals: OriginalImages
    nearby: OutsideSearch
    stored_cut: StoredCut
    version: int = 0
    decisions: tuple[Decision, ...] = ()
    place: dict[ImageName, int] = field(default_factory=dict)
    unmatched: int = 0
    undo: bool = False
    redo: bool = False
    damaged: str = ""
    reached: float | None = None

    @property
    def embeddings(self) -> Embeddings:
        """Ids, labels and vectors of the images."""
        return self.merges.embeddings

    def class_names(self, positions: Ints) -> list[str | None]:
        """Return the name of the class of some images, None where an image has none."""
        labels = self.embeddings.labels
        if labels is None:
            return [None] * len(positions)
        return [self.embeddings.class_name(code) for code in labels[positions].tolist()]

    @cached_property
    def class_sizes(self) -> list[int]:
        """Number of images of each class, by its code."""
        labels, names = self.embeddings.labels, self.embeddings.class_names
        if labels is None:
            return []
        sizes: list[int] = np.bincount(labels[labels >= 0], minlength=len(names)).tolist()
        return sizes

    @cached_property
    def marks(self) -> dict[int, tuple[str, ...]]:
        """Decisions about each image, by position: the kinds, each once."""
        found: dict[int, dict[str, None]] = {}
        for decision in self.decisions:
            for image in decision.images:
                if image in self.place:
                    found.setdefault(self.place[image], {})[str(decision.kind)] = None
        return {position: tuple(kinds) for position, kinds in found.items()}

    @cached_property
    def touched(self) -> Ints:
        """Positions that decisions name, ascending."""
        return np.asarray(sorted(self.marks), dtype=np.int64)

    @cached_property
    def lower(self) -> pa.Array:
        """Ids in lower case, for text search."""
        return pc.utf8_lower(pa.array(self.embeddings.ids, pa.string()))

    def matching(self, text: str) -> Ints:
        """Return the positions of the images whose id contains a text, ignoring case; int64[k]."""
        found = pc.match_substring(self.lower, text.lower())
        return np.flatnonzero(found.to_numpy(zero_copy_only=False))

    @cached_property
    def deepest(self) -> float:
        """Smallest fraction known to need no deepening where decisions hold the count."""
        return self._deepest(Hold.COUNT)

    @cached_property
    def deepest_held(self) -> float:
        """Smallest fraction known to need no deepening where decisions hold the height."""
        return self._deepest(Hold.HEIGHT)

    def _deepest(self, hold: Hold) -> float:
        """Search for the smallest fraction that the tree covers.

        Remainders make the number of a class go up at times where the whole goes down, so a fraction above may still
        need a merge more, and the one that the tree was built for need none although one above does.
        """
        n = len(self.embeddings)
        low, high = 1, n
        while low < high:
            middle = (low + high) // 2
            if self.covers(self.checked(middle / n, None, hold)):
                high = middle
            else:
                low = middle + 1
        built = [self.built_keep, self.stored_cut.keep, self.reached]
        asked = [self.checked(keep, None, hold) for keep in built if keep is not None]
        known = [cut.keep for cut in asked if cut.keep and cut.wanted(n) >= 1 and self.covers(cut)]
        return float(min([low / n, *known]))

    @cached_property
    def answers(self) -> Cache[Any]:
        """Answers made of cuts that have left `groups` since: their numbers, and pages of their lists."""
        return Cache(ANSWERS)

    @cached_property
    def _groups(self) -> Cache[CutGroups]:
        return Cache(CUTS)

    def checked(self, keep: float | None, threshold: float | None, hold: str | None = None) -> Cut:
        """Return a cut that was asked for; the run's own where neither is given.

        Raises:
            UsageError: both are given, or one is out of its range.
        """
        if keep is None and threshold is None:
            keep = self.stored_cut.keep
        budget = None if threshold is not None else self.stored_cut.budget
        own = self.stored_cut
        return Cut(
            keep,
            threshold,
            budget,
            min_per_class=own.min_per_class,
            hold=hold,
            representative=own.representative,
        )

    def covers(self, cut: Cut) -> bool:
        """Return whether the tree is deep enough for a cut."""
        return not self.merges.missing(cut)

    def require(self, cut: Cut) -> None:
        """Refuse a cut that the tree is not deep enough for.

        Raises:
            RequestError: it is not.
        """
        if not self.covers(cut):
            asked = f"keep {cut.keep:g}" if cut.keep is not None else f"threshold {cut.threshold:g}"
            deepest = self.deepest_held if cut.holds_height else self.deepest
            line = f"the tree does not reach {asked}, only keep {deepest:.4f}; deepen it first"
            raise RequestError(409, line, deepest_keep=deepest, can_deepen=True)

    def groups(self, cut: Cut) -> CutGroups:
        """Return the groups of a cut.

        Raises:
            RequestError: the tree is not deep enough.
        """
        self.require(cut)
        return self._groups.get(cut, lambda: self._cut(cut))

    def _cut(self, cut: Cut) -> CutGroups:
        return CutGroups(self.merges, self.forest, self.merges.taken(cut), self.touched)

    def undecided(self, cut: Cut) -> CutGroups:
        """Return the groups that a cut would have without decisions."""
        nobody = np.empty(0, dtype=np.int64)
        return CutGroups(self.bare, self.bare_forest(), self.bare.taken(cut), nobody)

    def partition(self, cut: Cut) -> Partition:
        """Return a cut as the library's partition."""
        return self.merges.partition(cut)
