"""The first merges of the complete-linkage tree with the embeddings they join, on disk and ready to cut."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from ..data.store.checks import as_path, check_kind
from ..data.store.embeddings import Embeddings, Ints
from ..data.store.files import write_table
from ..decisions.constraints import NONE, Constraints
from ..errors import StageError, UsageError
from ..linkage.memory import Resources
from ..linkage.walk import Counted
from ..selection.selection import ClassCut, Selection, positions_of
from .counts import StoredCounts, save_counts
from .deepening import deepened
from .held_height import no_higher
from .memory_limit import checked_memory
from .merges_file import FORMAT, check_merges, merges_layout
from .partition import Partition, further
from .representatives import groups_of, representatives
from .rewalk import rewalked
from .stage_files import read_stage
from .steps import ALL, Bools, Budget, CheckedCut, Floats, Hold, Request, Steps, Within, checked_choice

DEFAULT_KEEP = 0.5


@dataclass(frozen=True, eq=False, repr=False)
class Merges:
    """The first merges of the tree of each class, in one order of (height, a, b).

    Attributes:
        embeddings: the vectors, in id order.
        within: class by class, or everything together.
        a, b: int64[m], positions in id order of the pair that closed each merge, a < b.
        height: float64[m], the dissimilarity of that pair, ascending.
        classes: int64[c], the codes of the classes in order; −1 holds the images without a label, −2 all images.
        complete_to: float64[c], every merge of the class with height ≤ it is here; inf for the whole tree, −1
            for a class that no merge was asked of.
        counts: by the code of a class, how many pairs the walk had seen between its clusters when the merges ended, the
            clusters by their largest positions in id order; a deeper cut goes on from there where it is known.
        constraints: what was decided about images: the merges are those of the tree under them.
        bare: the tree without them, where they changed it.
    """

    embeddings: Embeddings
    within: Within
    a: Ints
    b: Ints
    height: Floats
    classes: Ints
    complete_to: Floats
    counts: Mapping[int, Counted] = field(default_factory=dict)
    constraints: Constraints = NONE
    bare: Merges | None = None

    def __post_init__(self) -> None:
        for array in (self.a, self.b, self.height, self.classes, self.complete_to):
            array.flags.writeable = False

    # ---- cutting -------------------------------------------------------------------------------------------------

    def select(
        self,
        keep: float | None = None,
        *,
        threshold: float | None = None,
        budget: Budget | str | None = None,
        keep_ids: Iterable[Any] = (),
        min_per_class: int = 1,
        hold: Hold | str | None = None,
        memory: int | str | None = None,
    ) -> Selection:
        """Cut the tree and keep one image of each group; a cut deeper than what is stored clusters further first.

        Args:
            keep: the fraction of images to keep, in (0, 1].
            threshold: instead of `keep`, take every merge with height ≤ it.
            budget: ``class`` (default) keeps the same fraction of every class by largest remainder, ``global``
                takes the lowest merges over all classes.
            keep_ids: images that must stay, by id, or by row where ids are row numbers; each is kept beside its group's
                keeper.
            min_per_class: no class goes below this number of images, or its size.
            hold: what decisions leave as it is, ``count`` (default) or ``height``.
            memory: what clustering further may take, in bytes or as ``"4GiB"``; None for half of what is free.

        Raises:
            UsageError: a value out of its range, both or neither of `keep` and `threshold`, an unknown id; or vectors
                that are shared (`Embeddings.shared`) and have changed, which are read once for that.
            MemoryBudgetError: the cut needs more memory: says what fits.
        """
        cut = CheckedCut.of(keep, threshold, budget, min_per_class, hold)
        resources = Resources(memory=checked_memory(memory))
        self.embeddings.check_unchanged()
        wanted = positions_of(self.embeddings.ids, keep_ids, "keep_ids", self.embeddings.rows)
        deep = deepened(self, cut, resources)
        part = deep._partition(cut)
        representative, dissimilarity = representatives(
            self.embeddings.vectors, part.group, self.embeddings.rank
        )
        kept = representative == np.arange(len(part.group))
        decided = part.standing(part.decided)
        representative[decided.members] = np.repeat(decided.representative, np.diff(decided.starts))
        dissimilarity[decided.members] = decided.dissimilarity
        kept[decided.members] = decided.kept
        extra = wanted[~kept[wanted]]
        kept[extra] = True
        classes = deep._class_cuts(part.taken, kept)
        settings: dict[str, Any] = {
            "keep": cut.keep,
            "threshold": cut.threshold,
            "budget": None if cut.keep is None else str(cut.budget),
            "within": str(self.within),
            "layer": self.embeddings.layer,
            "min_per_class": cut.min_per_class,
            "keep_ids": len(wanted),
        }
        if cut.holds_height:
            settings["hold"] = str(cut.hold)
        if len(self.constraints):
            settings["decisions"] = self.constraints.fingerprint
        return Selection(
            ids=self.embeddings.ids,
            source_rows=self.embeddings.rows,
            paths=self.embeddings.paths,
            labels=self.embeddings.labels,
            class_names=self.embeddings.class_names,
            kept_by_id=kept,
            group=part.group,
            group_size=part.size[part.group],
            representative=representative,
            dissimilarity=dissimilarity,
            group_diameter=part.diameter[part.group],
            classes=classes,
            settings=settings,
            notes=(*part.notes, *_asked_notes(len(wanted), len(extra))),
            origin=self.embeddings.origin,
            length=self.embeddings.length,
            number_ids=self.embeddings.number_ids,
        )

    def partition(
        self,
        keep: float | None = None,
        *,
        threshold: float | None = None,
        budget: Budget | str | None = None,
        min_per_class: int = 1,
        hold: Hold | str | None = None,
    ) -> Partition:
        """Cut the tree into groups, at once: who stands for a group is found when asked.

        Args:
            keep, threshold, budget, min_per_class, hold: see `select`.

        Raises:
            UsageError: a value out of its range.
            StageError: the tree does not go that deep.
        """
        cut = CheckedCut.of(keep, threshold, budget, min_per_class, hold)
        if self.missing(cut):
            raise StageError(f"these merges don't reach {cut}; deepen them first (merges.deepened)")
        return self._partition(cut)

    def taken(self, cut: CheckedCut) -> Bools:
        """Return which merges a cut takes under the constraints, bool[m]; supposes that nothing is `missing` for it."""
        if cut.holds_height:
            taken = self.steps.taken(cut)
            return (
                taken if self.bare is None else taken & no_higher(self, self.bare, self.bare.taken(cut), cut)
            )
        if cut.keep is None or not len(self.constraints.counted):
            return self.steps.taken(cut)
        pairs = (self.a, self.b, self.class_index)
        return self.steps.taken(
            cut,
            further(self.embeddings.vectors, self.steps, pairs, cut, self.constraints, self.embeddings.rank),
        )

    def _partition(self, cut: CheckedCut) -> Partition:
        taken = self.taken(cut)
        a, b, height = self.a[taken], self.b[taken], self.height[taken]
        group = groups_of(len(self.embeddings), a, b)
        diameter = np.zeros(int(group.max()) + 1)
        diameter[group[a]] = height  # ascending: the last is the largest
        return Partition(
            vectors=self.embeddings.vectors,
            constraints=self.constraints,
            taken=taken,
            group=group,
            size=np.bincount(group),
            diameter=diameter,
            height=float(height[-1]) if len(height) else 0.0,
            cut=cut,
            rank=self.embeddings.rank,
        )

    def under(self, constraints: Constraints, resources: Resources | None = None) -> Merges:
        """Return the tree under other constraints, as deep: walked again only where they matter.

        Args:
            constraints: those that hold from now on.
            resources: what walking again may use.

        Raises:
            ValueError: these merges are under constraints already that changed the tree; begin with those without.
            MemoryBudgetError: the pairs don't fit into memory.
        """
        if constraints.links == self.constraints.links:
            return replace(self, constraints=constraints)
        if self.constraints.links:
            raise ValueError("these merges are under other constraints; begin with those under none")
        return replace(rewalked(self, constraints, resources or Resources()), bare=self)

    def _spare(self) -> Ints | None:
        """How many merges more than a cut takes each class must have, for images that stay beside their keeper."""
        if not len(self.constraints.keep):
            return None
        return np.bincount(self.class_index[self.constraints.keep], minlength=len(self.classes))

    def covers(
        self,
        keep: float | None = None,
        *,
        threshold: float | None = None,
        budget: Budget | str | None = None,
        min_per_class: int = 1,
        hold: Hold | str | None = None,
    ) -> bool:
        """Whether `select` with these values needs no further clustering."""
        return not self.missing(CheckedCut.of(keep, threshold, budget, min_per_class, hold))

    def missing(self, cut: CheckedCut) -> list[Request]:
        """Return what must still be clustered before `cut` can be taken, class by class; empty when nothing."""
        if cut.holds_height:  # the tree under constraints is as deep as that without, and taken no higher
            return (self.bare or self).steps.missing(cut)
        return self.steps.missing(cut, self._spare())

    def deepened(
        self,
        keep: float | None = None,
        *,
        threshold: float | None = None,
        budget: Budget | str | None = None,
        min_per_class: int = 1,
        hold: Hold | str | None = None,
        resources: Resources | None = None,
    ) -> Merges:
        """Return merges of the same tree that go deep enough for `select` with these values.

        Args:
            keep, threshold, budget, min_per_class, hold: see `select`.
            resources: what clustering may use; its `scratch`, where given, is where an interrupted call goes on from.

        Raises:
            UsageError: a value out of its range.
            MemoryBudgetError: the cut needs more memory: says what fits.
        """
        cut = CheckedCut.of(keep, threshold, budget, min_per_class, hold)
        return deepened(self, cut, resources or Resources())

    # ---- the classes ---------------------------------------------------------------------------------------------

    @cached_property
    def class_index(self) -> Ints:
        """The position in `classes` of each image's class, int64[n]."""
        labels = self.embeddings.labels
        if self.within is Within.ALL or labels is None:
            return np.zeros(len(self.embeddings), dtype=np.int64)
        return np.searchsorted(self.classes, labels)

    @cached_property
    def sizes(self) -> Ints:
        """The number of images of each class, int64[c]."""
        return np.bincount(self.class_index, minlength=len(self.classes))

    @cached_property
    def steps(self) -> Steps:
        """The merges as a list to cut."""
        smallest = np.empty(len(self.classes), dtype=np.int64)
        smallest[self.class_index[::-1]] = np.arange(len(self.embeddings))[
            ::-1
        ]  # the last to be written stays
        return Steps(self.sizes, smallest, self.class_index[self.a], self.height, self.complete_to)

    def _class_cuts(self, taken: Bools, kept: Bools) -> tuple[ClassCut, ...]:
        index = self.class_index[self.a[taken]]
        highest = np.zeros(len(self.classes))
        np.maximum.at(highest, index, self.height[taken])
        merged = np.bincount(index, minlength=len(self.classes))
        stay = np.bincount(self.class_index[kept], minlength=len(self.classes))
        names = [None if code < 0 else self.embeddings.class_names[code] for code in self.classes]
        return tuple(
            ClassCut(int(code), name, int(n), int(n - m), int(k), float(h))
            for code, name, n, m, k, h in zip(
                self.classes, names, self.sizes, merged, stay, highest, strict=True
            )
        )

    def __len__(self) -> int:
        """The number of merges."""
        return len(self.a)

    def __repr__(self) -> str:
        many = f"{len(self.classes)} classes" if self.within is Within.CLASS else "all together"
        reach = f", up to height {self.height[-1]:.4g}" if len(self.height) else ""
        return f"Merges({len(self.a):,} of {len(self.embeddings):,} images, {many}{reach})"

    # ---- on disk -------------------------------------------------------------------------------------------------

    def save(self, path: str | Path) -> None:
        """Write ``merges.parquet``: a, b, height, with what made them, and the counts in a file beside it.

        Equal merges give equal bytes. A process killed between the two files leaves counts that no merges claim.
        """
        save_counts(Path(path), self.counts, self.fingerprint)
        about: dict[str, Any] = {
            "format": FORMAT,
            "origin": self.embeddings.origin,
            "within": str(self.within),
            "layer": self.embeddings.layer,
            "classes": self.classes.tolist(),
            "complete_to": [None if np.isinf(height) else height for height in self.complete_to.tolist()],
            "n": len(self.embeddings),
        }
        if self.constraints.links:
            about["decisions"] = self.constraints.links
        write_table(Path(path), pa.table({"a": self.a, "b": self.b, "height": self.height}), about)

    @classmethod
    def load(cls, path: str | Path, embeddings: Embeddings, constraints: Constraints = NONE) -> Merges:
        """Read ``merges.parquet`` back beside the embeddings it was made from.

        Args:
            path: the file.
            embeddings: those it was made from.
            constraints: those that it was made under.

        Raises:
            StageError: there is none, it is damaged, of a newer format, or made from other embeddings or under other
                constraints.
        """
        path = as_path(path, "a tree that is stored")
        check_kind(embeddings, Embeddings, "embeddings", "those that the merges were made of")
        layout = merges_layout(len(embeddings))
        table, about = read_stage(path, layout, embeddings, f"tenpercent cluster {path.parent}")
        if about.get("decisions", "") != constraints.links:
            raise StageError(
                f"{path} was made under other decisions; cluster again: tenpercent cluster {path.parent}"
            )
        found = cls(
            embeddings=embeddings,
            constraints=constraints,
            within=Within(about["within"]),
            a=table["a"].to_numpy(),
            b=table["b"].to_numpy(),
            height=table["height"].to_numpy(),
            classes=np.asarray(about["classes"], dtype=np.int64),
            complete_to=np.asarray(
                [np.inf if h is None else h for h in about["complete_to"]], dtype=np.float64
            ),
        )
        check_merges(found, path)
        return replace(found, counts=StoredCounts(path, found))

    @cached_property
    def fingerprint(self) -> str:
        """What the counts beside the stored merges name, so that they are not taken for others."""
        made_of = f"{self.embeddings.origin} {self.within}{self.constraints.links}"
        digest = hashlib.blake2b(made_of.encode(), digest_size=8)
        for array in (self.a, self.b, self.height, self.classes, self.complete_to):
            digest.update(np.ascontiguousarray(array).data)
        return digest.hexdigest()


def cluster(
    embeddings: Embeddings,
    keep: float | None = None,
    *,
    threshold: float | None = None,
    within: Within | str | None = None,
    resources: Resources | None = None,
) -> Merges:
    """Build the first merges of the complete-linkage tree under cosine dissimilarity, exactly.

    Args:
        embeddings: the vectors.
        keep: deep enough to keep this fraction of each class (0.5 where nothing is said).
        threshold: instead, every merge with height ≤ it.
        within: ``class`` (default where there are labels) or ``all``.
        resources: see `Merges.deepened`.

    Raises:
        UsageError: a value out of its range, or ``within="class"`` without labels.
        MemoryBudgetError: the depth needs more memory: says what fits.
    """
    cut = CheckedCut.of(DEFAULT_KEEP if keep is None and threshold is None else keep, threshold)
    return deepened(uncut(embeddings, within), cut, resources or Resources())


def uncut(embeddings: Embeddings, within: Within | str | None = None) -> Merges:
    """Return merges with nothing clustered yet, ready to be `deepened`.

    Raises:
        UsageError: ``within="class"`` without labels.
    """
    labels = embeddings.labels
    if within is None:
        chosen = Within.ALL if labels is None else Within.CLASS
    else:
        chosen = checked_choice(within, Within, "within")
    if chosen is Within.CLASS and labels is None:
        raise UsageError(
            "within is 'class', but these embeddings have no labels; use within 'all' or give labels"
        )
    if chosen is Within.ALL or labels is None:
        classes, sizes = np.asarray([ALL], dtype=np.int64), np.asarray([len(embeddings)])
    else:
        classes, sizes = np.unique(labels, return_counts=True)
    none = np.empty(0, dtype=np.int64)
    complete_to = np.where(sizes == 1, np.inf, -1.0)
    return Merges(embeddings, chosen, none, none, np.empty(0), classes, complete_to)


def _asked_notes(asked: int, extra: int) -> tuple[str, ...]:
    """What a person should know about images that were asked for by id."""
    if not asked:
        return ()
    return (
        f"keep_ids names {asked:,} images: {asked - extra:,} kept as keeper of their group, {extra:,} kept beside it",
    )
