"""Clustering and selection of a run, each stored in its folder."""

from __future__ import annotations

import logging
from dataclasses import replace

from ..data.store.embeddings import Embeddings
from ..data.store.ids import as_text
from ..data.store.left_out import check_takes_part
from ..data.store.run_folder import RunFolder, Stage
from ..errors import StageError, counted, quoted
from ..linkage.memory import MemoryBudgetError, Resources
from ..progress import Stopwatch
from ..tree.cut import Cut
from ..tree.deepening import COPIES, beyond_copies
from ..tree.gap import mean_dissimilarity
from ..tree.merges import Merges, uncut
from .by_tree import select as select_merges
from .confirmation import confirm
from .preference import preferring
from .selection import Selection
from .stored import OpenRun, grown, stored_merges, with_source

log = logging.getLogger("tenpercent")


def cluster_beyond(run: OpenRun, cut: Cut, memory: int | None) -> None:
    """Cluster deeper than the cut, so that the report can show what lies beyond it; small sets far beyond it."""
    depth = Cut(cut.keep, cut.threshold, within=cut.within, layer=cut.layer)
    cut = cut.among(len(run.embeddings(cut.layer or "end")))
    if cut.keep is None:
        cluster_run(run, depth, memory, find_gap=True)
        return
    try:
        cluster_run(run, replace(depth, keep=keep_beyond(cut.keep)), memory, find_gap=True)
    except MemoryBudgetError:
        cluster_run(run, depth, memory)
        log.info("the tree ends at the cut: deeper would not fit into memory")


def keep_beyond(keep: float) -> float:
    """Return the fraction that the tree of a run is made for, where `keep` is cut."""
    return round(keep - min(0.05, (1 - keep) / 2, keep / 2), 6)


def cluster_run(run: OpenRun, depth: Cut, allowed: int | None, *, find_gap: bool = False) -> Merges:
    """Cluster a run and store its merges, unless the stored ones are deep enough."""
    folder = run.folder
    folder.require(Stage.EMBED)
    with folder.lock(Stage.CLUSTER, Stage.SELECT, Stage.REPORT):
        embeddings = run.embeddings(depth.layer or "end")
        depth = depth.among(len(embeddings))
        clock = Stopwatch()
        stored = stored_merges(folder, embeddings, depth.within)
        if stored is not None and stored.covers(depth):
            folder.clear_scratch()  # a process killed after the merges were complete may have left it
            return stored
        n, width = counted(len(embeddings), folder.source.noun), counted(embeddings.width, "value")
        log.info("clustering %s, %s each", n, width)
        resources = Resources(memory=allowed, scratch=folder.scratch)
        known = uncut(embeddings, depth.within) if stored is None else stored
        deep = beyond_copies(known, resources) if find_gap and (depth.keep or 1) > COPIES else None
        merges = (deep or known).deepened(depth, resources)
        # The record of a tree that only grows stays: a kill leaves either one, and both resume to the same tree.
        folder.forget(Stage.CLUSTER if stored is None else Stage.SELECT)
        keep = depth.keep if deep is None else COPIES
        store_merges(folder, merges, clock, keep=keep, threshold=depth.threshold)
        return merges


def store_merges(
    folder: RunFolder, merges: Merges, clock: Stopwatch, bare: Merges | None = None, **depth: float | None
) -> None:
    """Store merges; those without decisions too, where they differ from the stored ones (`bare`)."""
    folder.drop_checksums(Stage.CLUSTER)
    if merges.constraints.links:
        if merges.bare is not None and merges.bare is not bare:
            merges.bare.save(folder.merges)
        merges.save(folder.decided)
        folder.store_checksums(Stage.CLUSTER)
        folder.clear_scratch()
        return
    merges.save(folder.merges)
    settings = {"within": str(merges.within), "layer": merges.embeddings.layer, **depth}
    folder.record(Stage.CLUSTER, settings, clock.seconds, merges=len(merges))
    folder.clear_scratch()


def select_run(run: OpenRun, cut: Cut, allowed: int | None, *, ignore_decisions: bool = False) -> Selection:
    """Cut the tree of a run, deepened where that is needed, and store the selection."""
    folder = run.folder
    with folder.lock(Stage.SELECT, Stage.REPORT):
        resources = Resources(memory=allowed, scratch=folder.scratch)
        clock = Stopwatch()
        merges = run.decided(ignore=ignore_decisions, resources=Resources(memory=allowed))
        _check_clustered_so(folder, merges, cut)
        cut = grown(cut, folder, merges.embeddings)
        merges = preferring(merges, cut.representative, run)
        reach = cut.among(len(merges.embeddings))
        if not cut.locked and not merges.covers(reach):  # around locked images the rest has a tree of its own
            with folder.lock(Stage.CLUSTER):
                deepening = Stopwatch()
                log.info("the stored tree is not deep enough; deepening it")
                bare = merges.bare
                merges = merges.deepened(reach, resources)
                # The record of the clustering stays: both files are of one tree, and a kill leaves one of them.
                folder.forget(Stage.SELECT)
                store_merges(folder, merges, deepening, bare, keep=reach.keep, threshold=reach.threshold)
        _check_named(folder, merges, cut)
        selection = select_merges(merges, cut, allowed)
        confirm(selection, cut.threshold, folder.source.noun)
        store_selection(folder, selection, merges.embeddings, clock)
    return with_source(selection, folder)


def store_selection(
    folder: RunFolder, selection: Selection, embeddings: Embeddings, clock: Stopwatch
) -> None:
    """Store a selection and its record."""
    folder.forget(Stage.SELECT)
    replace(selection, length=None).save(folder.selection)  # run.json has it
    kept = int(selection.kept_by_id.sum())
    folder.record(
        Stage.SELECT,
        dict(selection.settings),
        clock.seconds,
        kept=kept,
        removed=len(selection) - kept,
        notes=list(selection.notes),
        mean_dissimilarity=mean_dissimilarity(embeddings.vectors),
    )


def _check_named(folder: RunFolder, merges: Merges, cut: Cut) -> None:
    """Raise `UsageError` where the cut names an image that the run rejected or held out, and say so."""
    named = {as_text(name) for name in (*cut.keep_ids, *cut.locked)}
    for name in sorted(named.difference(merges.embeddings.ids) if named else named):
        check_takes_part(folder, name)


def _check_clustered_so(folder: RunFolder, merges: Merges, cut: Cut) -> None:
    """Raise `StageError` where the stored tree has another scope or layer than `cut`."""
    for name, asked, found in (
        ("within", cut.within, str(merges.within)),
        ("layer", cut.layer, merges.embeddings.layer),
    ):
        if asked is not None and str(asked) != found:
            raise StageError(
                f"{folder.path} was clustered with --{name} {found}, not {asked}; cluster it again: "
                f"tenpercent cluster {quoted(folder.path)} --{name} {asked}"
            )
