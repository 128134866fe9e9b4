"""Stored selection under the decisions of now: where some were made since it was cut, its cut under them."""

from __future__ import annotations

import logging

from ..data.store.records import SEMANTIC
from ..data.store.run_folder import Stage
from ..decisions.log import DecisionLog
from ..errors import StageError, quoted
from ..tree.cut import Cut
from ..tree.merges import Merges
from .by_tree import select
from .preference import preferring
from .selection import Selection
from .stored import OpenRun, constraints_for, load_selection, with_source

log = logging.getLogger("tenpercent")


def current_selection(run: OpenRun, merges: Merges | None, cut: Cut | None) -> Selection:
    """Return the stored selection, or that of a cut, which is not stored.

    Args:
        run: the run.
        merges: the tree under the decisions, which `cut` needs; a stored selection must be of its embeddings.
        cut: what `cut_since` returned.

    Raises:
        StageError: there is no selection yet, or it was made from other embeddings.
    """
    if cut is None or merges is None:
        return load_selection(run.folder, None if merges is None else merges.embeddings)
    return with_source(select(preferring(merges, cut.representative, run), cut), run.folder)


def cut_since(run: OpenRun, *, ignore_decisions: bool = False) -> Cut | None:
    """Return the cut of the stored selection where it was made under other decisions; None where it still holds.

    Raises:
        StageError: there is no selection yet, or it was cut with ids that must stay, which are not known here.
    """
    folder = run.folder
    settings, clustered = folder.require(Stage.SELECT).settings, folder.stage(Stage.CLUSTER)
    if clustered is None or (not DecisionLog(folder.path).version and not settings.decisions):
        return None
    constraints = constraints_for(folder, run.embeddings(clustered.settings.layer), ignore=ignore_decisions)
    if constraints.fingerprint == settings.decisions:
        return None
    if settings.strategy != SEMANTIC:
        log.warning("decisions take no part where images were chosen by %s", settings.strategy)
        return None
    size = f"--threshold {settings.threshold:g}" if settings.keep is None else f"--keep {settings.keep:g}"
    if settings.keep_ids:
        raise StageError(
            f"decisions have changed since {folder.path} was cut with --keep-ids; give these again: "
            f"tenpercent select {quoted(folder.path)} {size} --keep-ids …"
        )
    stored = load_selection(folder) if settings.locked else None
    locked = () if stored is None or stored.locked is None else tuple(stored.ids[stored.locked].tolist())
    if locked:
        size = f"{size} --locked …"
    if not ignore_decisions:
        log.warning(
            "decisions were made since the images were selected; they hold here, and in the stored selection after: "
            "tenpercent select %s %s",
            folder.path,
            size,
        )
    return Cut(
        keep=settings.keep,
        threshold=settings.threshold,
        budget=settings.budget,
        min_per_class=settings.min_per_class,
        hold=settings.hold,
        locked=locked,
        representative=settings.representative,
    )
