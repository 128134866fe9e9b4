"""Selection by any strategy: the same counts and the same `Selection`, whichever strategy chose."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from numbers import Integral

import numpy as np
import numpy.typing as npt

from ..data.store.arrays import as_array
from ..data.store.embeddings import Embeddings, Ints
from ..errors import UsageError
from ..linkage.distances import unit_vectors
from ..linkage.threads import cpus, in_threads
from ..tree.allotment import allot
from ..tree.cut import Cut, Within
from ..tree.merges import Merges, cluster, uncut
from ..tree.representatives import groups_of
from ..tree.steps import Floats
from .arrays import ClassCut
from .by_tree import select
from .nearest import nearest_kept
from .selection import Selection
from .strategies.along_tree import ALPHA, leaf_order, systematic, weights_of
from .strategies.ccs import PRUNED, ccs
from .strategies.draw import draw
from .strategies.graph_add import graph_add
from .strategies.graph_remove import graph_remove
from .strategies.kcenter import kcenter
from .strategies.semdedup import semdedup
from .strategies.strategy import STOPS_AT_THRESHOLD, CheckedStrategy, Strategy

TREE_DEPTH = (
    4  # the tree that images are drawn along is built until its groups could keep this many images each
)


ALONG_TREE = (Strategy.SPREAD, Strategy.MIXED)
STEP_BY_STEP = (Strategy.KCENTER, Strategy.GRAPH_ADD)  # the first of a larger choice are the smaller one


def select_by(
    embeddings: Embeddings,
    keep: float | None = None,
    *,
    strategy: CheckedStrategy | Strategy | str,
    threshold: float | None = None,
    within: Within | str | None = None,
    seed: int = 0,
    scores: npt.ArrayLike | None = None,
) -> Selection:
    """Choose the images to keep by any strategy, and find the representative of each removed one.

    Under every strategy a class keeps as many images as under ``semantic``. A removed image is represented by
    the kept image that is nearest to it, of its class with ``within="class"``.

    Args:
        embeddings: the vectors.
        keep: the fraction of images to keep, in (0, 1], or their number, from 2 up; 0.9 where neither it nor
            `threshold` is given.
        strategy: its name, with a value after a colon where it has one (``"mixed:0.3"``).
        threshold: instead, of ``semantic``, ``kcenter`` and ``graph-remove``: the dissimilarity to stop at.
        within: ``class`` (default where there are labels) or ``all``.
        seed: of the draw, 0 or more; ignored by strategies that draw nothing.
        scores: [N], one a row of the source, larger is harder; ``ccs`` needs them. Those of rows without a vector
            (unreadable, held out) are ignored.

    Raises:
        UsageError: a value out of its range or not supported by the strategy, scores that don't fit, or shared
            vectors that have changed.
        MemoryBudgetError: the tree of ``semantic``, ``spread`` or ``mixed`` needs more memory; the message says what
            fits.
    """
    chosen = CheckedStrategy.of(strategy)
    cut = Cut(keep, threshold, within=within).among(len(embeddings))
    if cut.threshold is not None and chosen.name not in STOPS_AT_THRESHOLD:
        raise UsageError(
            f"strategy {chosen.name} does not support a threshold ({cut.threshold:g}); give keep instead"
        )
    ranked = checked_scores(scores, chosen, embeddings)
    first = checked_seed(seed)
    embeddings.check_unchanged()
    if chosen.name is Strategy.SEMANTIC:
        return select(cluster(embeddings, cut), cut)
    task = _Task(embeddings, chosen, cut, _tree(embeddings, chosen, cut), ranked, first)
    classes = _classes(task.merges, cut)
    kept = task.kept(classes)
    representative, dissimilarity, diameter = np.arange(len(kept)), np.zeros(len(kept)), np.zeros(len(kept))
    for one in classes:
        units = unit_vectors(embeddings.vectors[one.members])
        nearest, dissimilarity[one.members], diameter[one.members] = nearest_kept(units, kept[one.members])
        representative[one.members] = one.members[nearest]
    return _selection(task, classes, kept, (representative, dissimilarity, diameter))


def kept_by(
    tree: Merges, cut: Cut, strategy: CheckedStrategy, seed: int, known: dict[int, Ints] | None = None
) -> npt.NDArray[np.bool_]:
    """Return the images that `select_by` keeps, bool[n] in id order, without their representatives.

    Args:
        tree: of the images; for ``semantic``, ``spread`` and ``mixed`` as deep as `depth_for` says.
        cut: by `keep`.
        strategy: any but ``ccs``.
        seed: of the draw.
        known: for a strategy `STEP_BY_STEP`, what earlier calls for this tree found, by class code, int64[k] in the
            order of choice; longer choices are added. None to choose anew.
    """
    if strategy.name is Strategy.SEMANTIC:
        return select(tree, cut).kept_by_id
    assert cut.keep is not None
    taken = tree.taken(Cut(depth_for(cut.keep, strategy), within=cut.within))
    trimmed = replace(tree, a=tree.a[taken], b=tree.b[taken], height=tree.height[taken])
    return _Task(tree.embeddings, strategy, cut, trimmed, None, seed, known).kept(_classes(tree, cut))


def depth_for(keep: float, strategy: CheckedStrategy) -> float:
    """Return the fraction to which a strategy needs the tree; 1 where it needs none."""
    if strategy.name is Strategy.SEMANTIC:
        return keep
    return keep / TREE_DEPTH if strategy.name in ALONG_TREE else 1.0


@dataclass(frozen=True, eq=False)
class OneClass:
    """Images that are chosen from together: one class, or all of them.

    Attributes:
        code: of the class; −1 without a label, −2 all images.
        members: int64[k], their positions in id order, ascending.
        count: how many are to stay, or may stay.
    """

    code: int
    members: Ints
    count: int


@dataclass(frozen=True, eq=False)
class _Task:
    """The checked request.

    Attributes:
        merges: the tree to draw along; empty where the strategy needs none.
        scores: float64[n] in id order, or None.
        known: see `kept_by`.
    """

    embeddings: Embeddings
    strategy: CheckedStrategy
    cut: Cut
    merges: Merges
    scores: Floats | None
    seed: int
    known: dict[int, Ints] | None = None

    def kept(self, classes: Sequence[OneClass]) -> npt.NDArray[np.bool_]:
        """Return the images that stay, bool[n]."""
        kept = np.zeros(len(self.embeddings), dtype=bool)
        # The search for near pairs has threads of its own.
        threads = 1 if self.strategy.name is Strategy.GRAPH_REMOVE else cpus()
        for one, stay in zip(classes, in_threads(self.chosen_once, classes, threads), strict=True):
            kept[one.members[stay]] = True
        return kept

    def chosen_once(self, one: OneClass) -> Ints:
        """Return what `chosen` does, from an earlier choice where that was as long."""
        if self.known is None or self.strategy.name not in STEP_BY_STEP:
            return self.chosen(one)
        if len(self.known.get(one.code, ())) < one.count:
            self.known[one.code] = self.chosen(one)
        return self.known[one.code][: one.count]

    def chosen(self, one: OneClass) -> Ints:
        """Return which of a class's images stay, as positions among them."""
        name, value, count = self.strategy.name, self.strategy.value, one.count
        rng = np.random.default_rng([self.seed, one.code + 2])
        vectors = self.embeddings.vectors[one.members]
        if self.scores is not None:
            return ccs(self.scores[one.members], count, rng, PRUNED if value is None else value)
        if name is Strategy.RANDOM:
            return draw(len(one.members), count, rng)
        if name is Strategy.GRAPH_REMOVE:
            if self.cut.threshold is None:
                return graph_remove(vectors, count)
            return graph_remove(vectors, 1, self.cut.threshold)  # removes all that are near
        if name in ALONG_TREE:
            return self._along_tree(one, rng)
        units = unit_vectors(vectors)
        if name is Strategy.KCENTER:
            return kcenter(units, count, -math.inf if self.cut.threshold is None else self.cut.threshold)
        if name is Strategy.GRAPH_ADD:
            return graph_add(units, count)
        return semdedup(units, count, rng, None if value is None else int(value))

    def _along_tree(self, one: OneClass, rng: np.random.Generator) -> Ints:
        """Draw along the leaves of the class's tree."""
        n = len(one.members)
        own = np.isin(self.merges.a, one.members)
        a, b = (np.searchsorted(one.members, column[own]) for column in (self.merges.a, self.merges.b))
        order = leaf_order(n, a, b)
        group = groups_of(n, a[: n - one.count], b[: n - one.count])
        alpha = 1.0 if self.strategy.name is Strategy.SPREAD else self.strategy.value
        weights = weights_of(np.bincount(group)[group], ALPHA if alpha is None else alpha)
        return order[systematic(weights[order], one.count, float(rng.random()))]


def checked_seed(seed: object) -> int:
    """Return a seed.

    Raises:
        UsageError: it is not an integer of at least 0.
    """
    if isinstance(seed, bool) or not isinstance(seed, Integral) or int(seed) < 0:
        raise UsageError(f"seed is {seed!r}; it must be a whole number of at least 0")
    return int(seed)


def checked_scores(
    scores: npt.ArrayLike | None, strategy: CheckedStrategy, embeddings: Embeddings
) -> Floats | None:
    """Return the score of each image in id order, float64[n], or None for a strategy without.

    Raises:
        UsageError: they are missing, not used by the strategy, don't fit the source, or are not numbers.
    """
    if strategy.name is not Strategy.CCS:
        if scores is not None:
            raise UsageError(f"strategy {strategy.name} uses no scores; omit them, or use strategy ccs")
        return None
    if scores is None:
        raise UsageError(
            "strategy ccs needs a difficulty score for each image; give --scores FILE, one per row of the source"
        )
    array = as_array(scores, "scores")
    if array.ndim != 1 or array.dtype.kind not in "fiub":
        raise UsageError(
            f"scores have shape {array.shape} and dtype {array.dtype}; they must be numbers, one per row of the source"
        )
    rows = int(embeddings.rows.max()) + 1 if embeddings.length is None else embeddings.length
    if len(array) < rows or (embeddings.length is not None and len(array) > rows):
        raise UsageError(f"there are {len(array):,} scores for a source of {rows:,} rows; give one per row")
    found = array.astype(np.float64)[embeddings.rows]
    wrong = np.flatnonzero(~np.isfinite(found))
    if len(wrong):
        raise UsageError(
            f"the score of {embeddings.ids[wrong[0]]!r} (row {embeddings.rows[wrong[0]]}) is {found[wrong[0]]}; "
            "it must be finite"
        )
    return found


def _tree(embeddings: Embeddings, strategy: CheckedStrategy, cut: Cut) -> Merges:
    """Return the merges to draw along, or an empty tree."""
    if strategy.name not in ALONG_TREE or cut.keep is None:
        return uncut(embeddings, cut.within)
    return cluster(embeddings, Cut(keep=depth_for(cut.keep, strategy), within=cut.within))


def _classes(merges: Merges, cut: Cut) -> list[OneClass]:
    """Return the classes with how many of each may stay: all of them where a threshold decides."""
    sizes = merges.sizes
    counts = sizes
    if cut.keep is not None:
        counts = allot(sizes, merges.steps.smallest, cut.wanted(int(sizes.sum())), cut.min_per_class)
    members = np.split(np.argsort(merges.class_index, kind="stable"), np.cumsum(sizes)[:-1])
    return [
        OneClass(code, own, count)
        for code, own, count in zip(merges.classes.tolist(), members, counts.tolist(), strict=True)
    ]


def _selection(
    task: _Task, classes: Sequence[OneClass], kept: npt.NDArray[np.bool_], found: tuple[Ints, Floats, Floats]
) -> Selection:
    embeddings, cut = task.embeddings, task.cut
    representative, dissimilarity, diameter = found
    smallest = np.full(len(kept), len(kept))
    np.minimum.at(smallest, representative, np.arange(len(kept)))
    _, group = np.unique(smallest[representative], return_inverse=True)
    return Selection(
        ids=embeddings.ids,
        source_rows=embeddings.rows,
        paths=embeddings.paths,
        labels=embeddings.labels,
        class_names=embeddings.class_names,
        kept_by_id=kept,
        group=group,
        group_size=np.bincount(group)[group],
        representative=representative,
        dissimilarity=dissimilarity,
        group_diameter=diameter,
        classes=tuple(_class_cut(embeddings, one, kept, dissimilarity) for one in classes),
        settings={
            "keep": cut.keep,
            "threshold": cut.threshold,
            "budget": None if cut.keep is None else str(cut.budget),
            "within": str(task.merges.within),
            "layer": embeddings.layer,
            "min_per_class": cut.min_per_class,
            "keep_ids": 0,
            "strategy": str(task.strategy),
            "seed": task.seed if task.strategy.draws else None,
            "radius": float(dissimilarity.max()),
            "guarantee": task.strategy.guarantee,
        },
        notes=_notes(task, kept),
        origin=embeddings.origin,
        length=embeddings.length,
        number_ids=embeddings.number_ids,
    )


def _class_cut(
    embeddings: Embeddings, one: OneClass, kept: npt.NDArray[np.bool_], dissimilarity: Floats
) -> ClassCut:
    count = int(kept[one.members].sum())
    name = None if one.code < 0 else embeddings.class_names[one.code]
    radius = float(dissimilarity[one.members].max())
    return ClassCut(one.code, name, len(one.members), count, count, radius)


def _notes(task: _Task, kept: npt.NDArray[np.bool_]) -> tuple[str, ...]:
    cut, n, count = task.cut, len(kept), int(kept.sum())
    said = [f"Chosen by {task.strategy}, not by merges; its guarantee: {task.strategy.guarantee}."]
    if cut.keep is not None and count > cut.wanted(n):
        said.append(
            f"keep {cut.keep:g} of {n:,} images is {cut.wanted(n):,}, but at least one a class is {count:,}; "
            f"{count:,} images are kept"
        )
    return tuple(said)
