"""How a caller says where to cluster and where to cut, checked before anything is computed for it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..data.sources.source import ImageSource
from ..data.store.checks import check_kind
from ..data.store.embeddings import LAYERS, Embeddings
from ..errors import UsageError, nearest
from .steps import Budget, CheckedCut, Hold, Within, checked_choice

if TYPE_CHECKING:
    from ..selection.selection import Selection
    from .merges import Merges

log = logging.getLogger("tenpercent")

MOST = 0.5  # of the images: a threshold that removes more may be meant as a similarity

_confirmed: ContextVar[Callable[[str], None]] = ContextVar("confirmed", default=log.warning)


@dataclass(frozen=True)
class Cut:
    """How to cluster, and where to cut.

    Attributes:
        keep: the fraction kept, in (0, 1]; 0.9 where neither it nor `threshold` is given.
        threshold: take every merge with height up to it, instead of `keep`.
        budget: ``class`` (every class keeps the same fraction, the default) or ``global``.
        keep_ids: images that must stay.
        min_per_class: what each class keeps at least.
        within: ``class`` or ``all``; None for class by class where there are labels.
        hold: what decisions about images leave as it is: ``count`` (how many stay, the default) or ``height``.
        layer: which layer's vectors, ``start``, ``middle`` or ``end`` (the paper, section 4.2).
    """

    keep: float | None = None
    threshold: float | None = None
    budget: Budget | str | None = None
    keep_ids: tuple[str | int, ...] = ()
    min_per_class: int = 1
    within: Within | str | None = None
    layer: str | None = None
    hold: Hold | str | None = None

    def select(self, merges: Merges) -> Selection:
        """Cut the tree; it must be deep enough already, else it is deepened in memory."""
        return merges.select(
            self.fraction,
            threshold=self.threshold,
            budget=self.budget,
            keep_ids=self.keep_ids,
            min_per_class=self.min_per_class,
            hold=self.hold,
        )

    @property
    def fraction(self) -> float | None:
        """The fraction kept, or None where a threshold cuts."""
        return 0.9 if self.keep is None and self.threshold is None else self.keep


def one_cut(cut: Cut | None, keep: float | None) -> Cut:
    """Return the cut that a caller means who may give `keep` alone.

    Raises:
        UsageError: both are given, or `cut` is no `Cut`.
    """
    if cut is None:
        return Cut(keep=keep)
    check_kind(cut, Cut, "cut", "Cut(keep=0.9), or keep=0.9 by its name")
    if keep is not None:
        raise UsageError("keep is given twice, alone and in cut; give it once")
    return cut


def check_cut(cut: Cut, opened: ImageSource | Embeddings) -> None:
    """Refuse a cut that can't be made of a source before anything is computed for it.

    Raises:
        UsageError: `keep`, `threshold`, `budget` or `min_per_class` is out of its range, one of `keep_ids` is not in
            the source, or it lacks the labels or layer asked for.
    """
    CheckedCut.of(cut.fraction, cut.threshold, cut.budget, cut.min_per_class, cut.hold)
    within = None if cut.within is None else checked_choice(cut.within, Within, "within")
    if within is Within.CLASS and opened.labels is None:
        raise UsageError(f"within is 'class', but {opened!r} has no labels; use within 'all' or give labels")
    known = ("end",) if isinstance(opened, Embeddings) else LAYERS
    if cut.layer is not None and cut.layer not in known:
        raise UsageError(f"layer is {cut.layer!r}; {opened!r} has {', '.join(known)}")
    if cut.keep_ids:
        from ..selection.selection import positions_of

        ids = np.asarray(opened.ids, dtype=object)
        rows = np.argsort(ids, kind="stable") if isinstance(opened, ImageSource) else opened.rows
        positions_of(np.sort(ids), cut.keep_ids, "keep_ids", rows)


def checked_layer(layer: str | None) -> str | None:
    """Return the name of a layer; None stays None, which is the last one.

    Raises:
        UsageError: there is no layer of that name.
    """
    if layer is not None and layer not in LAYERS:
        raise UsageError(f"layer is {layer!r}; it must be one of {', '.join(LAYERS)}{nearest(layer, LAYERS)}")
    return layer


def check_layer(layer: str | None, embeddings: Embeddings) -> None:
    """Raise `UsageError` where another layer is asked for than the one that vectors at hand are of."""
    if layer is not None and layer != embeddings.layer:
        raise UsageError(
            f"layer is {layer!r}, but these embeddings are of {embeddings.layer!r} alone; leave it out, or give the "
            "run folder that holds the others"
        )


@contextmanager
def confirmed_by(ask: Callable[[str], None]) -> Iterator[None]:
    """Within this context `ask` is called with what a selection would do before it is stored, where it removes most.

    It raises where that is not meant. Elsewhere such a selection is stored with a warning.
    """
    token = _confirmed.set(ask)
    try:
        yield
    finally:
        _confirmed.reset(token)


def confirm(selection: Selection, threshold: float | None) -> None:
    """Have a selection by threshold confirmed where it removes more than half of the images."""
    n, kept = len(selection), len(selection.kept)
    if threshold is None or n - kept <= MOST * n:
        return
    said = (
        f"--threshold {threshold:g} removes {n - kept:,} of {n:,} images ({(n - kept) / n:.1%}): it is a dissimilarity "
        f"(1 − cosine) and groups images down to a similarity of {1 - threshold:.6g}"
    )
    _confirmed.get()(said + similarity_hint(threshold))


def similarity_hint(threshold: float) -> str:
    """Return how to give a similarity as a threshold, for one of 0.5 to 1, which may be meant as such; else nothing."""
    if not 0.5 <= threshold <= 1:
        return ""
    return f"; if you mean a similarity of {threshold:g}, give --threshold {1 - threshold:.6g}"
