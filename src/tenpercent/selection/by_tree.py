"""Selection by the tree: cut it, and keep one image of each group."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..data.store.embeddings import Embeddings
from ..data.store.files import fingerprint
from ..data.store.ids import positions_of
from ..errors import UsageError, counted
from ..linkage.memory import Resources
from ..tree.cut import Cut, Rule, check_cut, rule_words
from ..tree.memory_limit import checked_memory
from ..tree.merges import Merges, cluster
from ..tree.partition import Partition
from ..tree.representatives import representatives
from ..tree.steps import Bools
from .arrays import ClassCut
from .locked import cut_around
from .preference import preferring
from .selection import Selection


def select(merges: Merges, cut: Cut, memory: int | str | None = None) -> Selection:
    """Cut the tree and keep one image of each group; a cut deeper than the stored merges clusters further first.

    Args:
        merges: the tree.
        cut: where to cut; each of its `keep_ids` is kept beside the representative of its group, and its `locked`
            images are represented by no other.
        memory: limit for clustering further, in bytes or as ``"4GiB"``; None for half of the free memory.

    Raises:
        UsageError: an unknown id; more locked images than may be kept; or vectors that are shared
            (`Embeddings.shared`) and have changed, which are read once for that.
        MemoryBudgetError: the cut needs more memory; the message says what fits.
    """
    asked, cut = cut, cut.among(len(merges.embeddings))
    if cut.representative != Rule.CENTRE and merges.embeddings.preference is None:
        merges = preferring(merges, cut.representative)
    embeddings, resources = merges.embeddings, Resources(memory=checked_memory(memory))
    embeddings.check_unchanged()
    wanted = positions_of(embeddings.ids, cut.keep_ids, "keep_ids", embeddings.rows)
    if cut.grow:
        raise UsageError(
            "grow is for a run folder, whose selection it grows; for merges give locked=selection.kept"
        )
    locked = positions_of(embeddings.ids, cut.locked, "locked", embeddings.rows)
    around = cut_around(merges, cut, locked, resources) if len(locked) else None
    deep = merges.deepened(cut, resources) if around is None else around.merges
    part = deep.partition(cut) if around is None else around.part
    representative, dissimilarity = representatives(
        embeddings.vectors, part.group, embeddings.rank, embeddings.preference
    )
    kept = representative == np.arange(len(part.group))
    decided = part.with_representatives(part.decided)
    representative[decided.members] = np.repeat(decided.representative, np.diff(decided.starts))
    dissimilarity[decided.members] = decided.dissimilarity
    kept[decided.members] = decided.kept
    if around is not None:
        representative[locked], dissimilarity[locked], kept[locked] = locked, 0.0, True
        representative[around.removed], dissimilarity[around.removed] = around.nearest, around.dissimilarity
        kept[around.removed] = False
    extra = wanted[~kept[wanted]]
    kept[extra] = True
    return Selection(
        ids=embeddings.ids,
        source_rows=embeddings.rows,
        paths=embeddings.paths,
        labels=embeddings.labels,
        class_names=embeddings.class_names,
        kept_by_id=kept,
        group=part.group,
        group_size=part.size[part.group],
        representative=representative,
        dissimilarity=dissimilarity,
        group_diameter=part.diameter[part.group],
        classes=_class_cuts(deep, part.taken, kept),
        settings=_settings(merges, asked, len(wanted), embeddings.ids[locked].tolist()),
        notes=(
            *(() if around is None else around.notes),
            *_rule_notes(embeddings, part, cut),
            *part.notes,
            *_asked_notes(len(wanted), len(extra)),
            *_count_notes(asked, len(embeddings)),
        ),
        origin=embeddings.origin,
        length=embeddings.length,
        number_ids=embeddings.number_ids,
        locked=None if around is None else np.isin(np.arange(len(embeddings)), locked),
    )


def select_vectors(embeddings: Embeddings, cut: Cut, memory: int | str | None = None) -> Selection:
    """Cluster embeddings as deep as a cut needs, and select: see `select`."""
    check_cut(cut, embeddings)
    depth = Cut(cut.keep, cut.threshold, within=cut.within)
    return select(cluster(embeddings, depth, Resources(memory=checked_memory(memory))), cut, memory)


def _settings(merges: Merges, cut: Cut, asked: int, locked: list[str]) -> dict[str, Any]:
    """Return the settings that a selection records."""
    settings: dict[str, Any] = {
        "keep": cut.among(len(merges.embeddings)).keep,
        "threshold": cut.threshold,
        "budget": None if cut.keep is None else str(cut.budget),
        "within": str(merges.within),
        "layer": merges.embeddings.layer,
        "min_per_class": cut.min_per_class,
        "keep_ids": asked,
    }
    if isinstance(cut.keep, int):
        settings["count"] = cut.keep
    if cut.holds_height:
        settings["hold"] = str(cut.hold)
    if cut.representative != Rule.CENTRE:
        settings["representative"] = cut.representative
    if locked:
        settings |= {"locked": len(locked), "locked_ids": fingerprint(locked)}
    if len(merges.constraints):
        settings["decisions"] = merges.constraints.fingerprint
    return settings


def _class_cuts(merges: Merges, taken: Bools, kept: Bools) -> tuple[ClassCut, ...]:
    index = merges.class_index[merges.a[taken]]
    highest = np.zeros(len(merges.classes))
    np.maximum.at(highest, index, merges.height[taken])
    merged = np.bincount(index, minlength=len(merges.classes))
    stay = np.bincount(merges.class_index[kept], minlength=len(merges.classes))
    names = [None if code < 0 else merges.embeddings.class_names[code] for code in merges.classes]
    return tuple(
        ClassCut(int(code), name, int(n), int(n - m), int(k), float(h))
        for code, name, n, m, k, h in zip(
            merges.classes, names, merges.sizes, merged, stay, highest, strict=True
        )
    )


def _rule_notes(embeddings: Embeddings, part: Partition, cut: Cut) -> tuple[str, ...]:
    """Return a note on the rule for representatives, and on images that have no value by it."""
    if embeddings.preference is None or cut.representative == Rule.CENTRE:
        return ()
    values = embeddings.preference(np.flatnonzero(part.size[part.group] >= 2))
    said = f"of each group the {rule_words(cut.representative)} is kept"
    without = int(np.isnan(values).sum())
    if not without:
        return (said,)
    rest = f"{counted(without, 'image')} of {counted(len(values), 'image')} in groups can't be told by that"
    return (f"{said}; {rest}, and where none of a group can, the nearest to its centre is kept",)


def _asked_notes(asked: int, extra: int) -> tuple[str, ...]:
    """Return notes about images that were to be kept by id."""
    if not asked:
        return ()
    said = f"{counted(asked - extra, 'representative')}, {extra:,} kept in addition"
    return (f"keep_ids names {counted(asked, 'image')}: {said}",)


def _count_notes(cut: Cut, images: int) -> tuple[str, ...]:
    """Return a note where a number to keep could be meant as percent."""
    if not isinstance(cut.keep, int) or not cut.keep <= 100 < images:
        return ()
    return (f"keep {cut.keep} is a number of images; {cut.keep} percent is {cut.keep / 100:g}",)
