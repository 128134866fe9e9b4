"""The first merges of the complete-linkage tree with the embeddings they join, on disk and ready to cut."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from ..cluster.linkage import first_merges
from ..errors import UsageError
from ..progress import bar
from ..store.embeddings import Embeddings, Ints
from ..store.files import write_table
from .cut import Bools, Budget, CheckedCut, Floats, Request, Steps, Within, checked_choice
from .files import read_stage
from .representatives import groups_of, representatives
from .selection import ClassCut, Selection, positions_of

FORMAT = 1
ALL = -2  # the code of the one class that holds every image; −1 is the class of the images without a label
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
    """

    embeddings: Embeddings
    within: Within
    a: Ints
    b: Ints
    height: Floats
    classes: Ints
    complete_to: Floats

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
        keep_ids: Iterable[str] = (),
        min_per_class: int = 1,
    ) -> Selection:
        """Cut the tree and keep one image of each group; a cut deeper than what is stored clusters further first.

        Args:
            keep: the fraction of images to keep, in (0, 1].
            threshold: instead of `keep`, take every merge with height ≤ it.
            budget: ``class`` (default) keeps the same fraction of every class by largest remainder, ``global``
                takes the lowest merges over all classes.
            keep_ids: images that must stay; each is kept beside its group's keeper.
            min_per_class: no class goes below this number of images, or its size.

        Raises:
            UsageError: a value out of its range, both or neither of `keep` and `threshold`, an unknown id.
        """
        cut = CheckedCut.of(keep, threshold, budget, min_per_class)
        wanted = positions_of(self.embeddings.ids, keep_ids, "keep_ids")
        deep = self._deepened(cut)
        taken = deep._steps.taken(cut)
        a, b, height = deep.a[taken], deep.b[taken], deep.height[taken]
        group = groups_of(len(self.embeddings), a, b)
        representative, dissimilarity = representatives(self.embeddings.vectors, group)
        diameter = np.zeros(int(group.max()) + 1)
        np.maximum.at(diameter, group[a], height)
        kept = representative == np.arange(len(group))
        extra = wanted[~kept[wanted]]
        kept[extra] = True
        classes = deep._class_cuts(taken, kept)
        return Selection(
            ids=self.embeddings.ids,
            source_rows=self.embeddings.rows,
            paths=self.embeddings.paths,
            labels=self.embeddings.labels,
            class_names=self.embeddings.class_names,
            kept_mask=kept,
            group=group,
            group_size=np.bincount(group)[group],
            representative=representative,
            dissimilarity=dissimilarity,
            group_diameter=diameter[group],
            classes=classes,
            settings={
                "keep": cut.keep,
                "threshold": cut.threshold,
                "budget": None if cut.keep is None else str(cut.budget),
                "within": str(self.within),
                "layer": self.embeddings.layer,
                "min_per_class": cut.min_per_class,
                "keep_ids": len(wanted),
            },
            notes=_notes(cut, classes, len(wanted), len(extra)),
            origin=self.embeddings.origin,
        )

    def covers(
        self,
        keep: float | None = None,
        *,
        threshold: float | None = None,
        budget: Budget | str | None = None,
        min_per_class: int = 1,
    ) -> bool:
        """Whether `select` with these values needs no further clustering."""
        return not self._steps.missing(CheckedCut.of(keep, threshold, budget, min_per_class))

    def deepened(
        self,
        keep: float | None = None,
        *,
        threshold: float | None = None,
        budget: Budget | str | None = None,
        min_per_class: int = 1,
    ) -> Merges:
        """Return merges of the same tree that go deep enough for `select` with these values."""
        return self._deepened(CheckedCut.of(keep, threshold, budget, min_per_class))

    def _deepened(self, cut: CheckedCut) -> Merges:
        merges = self
        while requests := merges._steps.missing(cut):
            merges = merges._with(requests)
        return merges

    def _with(self, requests: list[Request]) -> Merges:
        """Cluster the requested classes anew; the tree is unique, so what was there comes out again."""
        again = np.zeros(len(self.classes), dtype=bool)
        again[[request.index for request in requests]] = True
        others = ~again[self._class_index[self.a]]
        pieces = [(self.a[others], self.b[others], self.height[others])]
        complete_to = self.complete_to.copy()
        members = np.split(np.argsort(self._class_index, kind="stable"), np.cumsum(self._sizes)[:-1])
        with bar(int(self._sizes[again].sum()), "cluster", "images") as progress:
            for request in requests:
                own = members[request.index]
                vectors = (
                    self.embeddings.vectors
                    if len(own) == len(self.embeddings)
                    else self.embeddings.vectors[own]
                )
                found = first_merges(vectors, merges=request.merges, height=request.height)
                pieces.append((own[found.a], own[found.b], found.height))
                complete_to[request.index] = found.complete_to
                progress.update(len(own))
        a, b, height = (np.concatenate(column) for column in zip(*pieces, strict=True))
        order = np.lexsort((b, a, height))
        return replace(self, a=a[order], b=b[order], height=height[order], complete_to=complete_to)

    # ---- the classes ---------------------------------------------------------------------------------------------

    @cached_property
    def _class_index(self) -> Ints:
        """The position in `classes` of each image's class, int64[n]."""
        labels = self.embeddings.labels
        if self.within is Within.ALL or labels is None:
            return np.zeros(len(self.embeddings), dtype=np.int64)
        return np.searchsorted(self.classes, labels)

    @cached_property
    def _sizes(self) -> Ints:
        return np.bincount(self._class_index, minlength=len(self.classes))

    @cached_property
    def _steps(self) -> Steps:
        smallest = np.unique(self._class_index, return_index=True)[1]
        return Steps(self._sizes, smallest, self._class_index[self.a], self.height, self.complete_to)

    def _class_cuts(self, taken: Bools, kept: Bools) -> tuple[ClassCut, ...]:
        index = self._class_index[self.a[taken]]
        highest = np.zeros(len(self.classes))
        np.maximum.at(highest, index, self.height[taken])
        merged = np.bincount(index, minlength=len(self.classes))
        stay = np.bincount(self._class_index[kept], minlength=len(self.classes))
        names = [None if code < 0 else self.embeddings.class_names[code] for code in self.classes]
        return tuple(
            ClassCut(int(code), name, int(n), int(n - m), int(k), float(h))
            for code, name, n, m, k, h in zip(
                self.classes, names, self._sizes, merged, stay, highest, strict=True
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
        """Write ``merges.parquet``: a, b, height, with what made them; equal merges give equal bytes."""
        about: dict[str, Any] = {
            "format": FORMAT,
            "origin": self.embeddings.origin,
            "within": str(self.within),
            "layer": self.embeddings.layer,
            "classes": self.classes.tolist(),
            "complete_to": [None if np.isinf(height) else height for height in self.complete_to.tolist()],
            "n": len(self.embeddings),
        }
        write_table(Path(path), pa.table({"a": self.a, "b": self.b, "height": self.height}), about)

    @classmethod
    def load(cls, path: str | Path, embeddings: Embeddings) -> Merges:
        """Read ``merges.parquet`` back beside the embeddings it was made from.

        Raises:
            StageError: there is none, it is damaged, of a newer format, or made from other embeddings.
        """
        path = Path(path)
        table, about = read_stage(path, FORMAT, embeddings, f"tenpercent cluster {path.parent}")
        return cls(
            embeddings=embeddings,
            within=Within(about["within"]),
            a=table["a"].to_numpy(),
            b=table["b"].to_numpy(),
            height=table["height"].to_numpy(),
            classes=np.asarray(about["classes"], dtype=np.int64),
            complete_to=np.asarray(
                [np.inf if h is None else h for h in about["complete_to"]], dtype=np.float64
            ),
        )


def cluster(
    embeddings: Embeddings,
    keep: float | None = None,
    *,
    threshold: float | None = None,
    within: Within | str | None = None,
) -> Merges:
    """Build the first merges of the complete-linkage tree under cosine dissimilarity, exactly.

    Args:
        embeddings: the vectors.
        keep: deep enough to keep this fraction of each class (0.5 where nothing is said).
        threshold: instead, every merge with height ≤ it.
        within: ``class`` (default where there are labels) or ``all``.

    Raises:
        UsageError: a value out of its range, or ``within="class"`` without labels.
    """
    cut = CheckedCut.of(DEFAULT_KEEP if keep is None and threshold is None else keep, threshold)
    return uncut(embeddings, within)._deepened(cut)


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


def _notes(cut: CheckedCut, classes: tuple[ClassCut, ...], asked: int, extra: int) -> tuple[str, ...]:
    """What a person should know about a cut that did not come out as asked for."""
    notes = []
    if cut.keep is not None:
        n, groups = sum(c.images for c in classes), sum(c.groups for c in classes)
        if groups > cut.wanted(n):
            notes.append(
                f"keep {cut.keep:g} of {n:,} images is {cut.wanted(n):,}, but at least {cut.min_per_class} a class "
                f"(or all of a smaller one) is {groups:,}; {groups:,} groups are kept"
            )
    if asked:
        notes.append(
            f"keep_ids names {asked:,} images: {asked - extra:,} kept as keeper of their group, "
            f"{extra:,} kept beside it"
        )
    return tuple(notes)
