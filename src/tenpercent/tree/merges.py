"""First merges of the complete-linkage tree with the embeddings they join, on disk and ready to cut."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from ..data.store.checks import check_kind
from ..data.store.embeddings import Embeddings, Ints
from ..data.store.files import write_table
from ..decisions.constraints import NONE, Constraints
from ..errors import StageError, UsageError, counted
from ..linkage.memory import Resources
from ..linkage.walk import Counted
from .counts import StoredCounts, save_counts
from .cut import DEPTH, Cut, Within, checked_choice
from .deepening import deepened
from .held_height import no_higher
from .merges_file import FORMAT, check_merges, merges_layout
from .partition import Partition, further
from .representatives import groups_of
from .rewalk import rewalked
from .stage_files import read_stage, stored_file
from .steps import ALL, Bools, Floats, Request, Steps


@dataclass(frozen=True, eq=False, repr=False)
class Merges:
    """First merges of the tree of each class, in one order of (height, a, b).

    Attributes:
        embeddings: the vectors, in id order.
        within: class by class, or all images together.
        a, b: int64[m], positions in id order of the pair that closed each merge, a < b.
        height: float64[m], the dissimilarity of that pair, ascending.
        classes: int64[c], the codes of the classes in order; −1 holds the images without a label, −2 all images.
        complete_to: float64[c], every merge of the class with height ≤ it is included; inf for the whole tree, −1
            for a class without requested merges.
        counts: by the code of a class, the number of pairs that the walk had seen between its clusters when the merges
            ended, the clusters by their largest positions in id order; a deeper cut resumes from them where known.
        constraints: decisions about images: the merges are those of the tree under them.
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

    def partition(self, cut: Cut) -> Partition:
        """Cut the tree into groups, quickly: representatives are found on request.

        Raises:
            StageError: the tree does not go that deep.
        """
        if self.missing(cut):
            raise StageError(f"these merges don't reach {cut}; deepen them first (merges.deepened)")
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

    def taken(self, cut: Cut) -> Bools:
        """Return which merges a cut takes under the constraints, bool[m]; requires that nothing is `missing` for it."""
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

    def under(self, constraints: Constraints, resources: Resources | None = None) -> Merges:
        """Return the tree under other constraints, to the same depth; it is walked again only where they matter.

        Args:
            constraints: the new constraints.
            resources: for walking again.

        Raises:
            ValueError: these merges are already under constraints that changed the tree; use those without.
            MemoryBudgetError: the pairs don't fit into memory.
        """
        if constraints.links == self.constraints.links:
            return replace(self, constraints=constraints)
        if self.constraints.links:
            raise ValueError("these merges are under other constraints; begin with those under none")
        return replace(rewalked(self, constraints, resources or Resources()), bare=self)

    def _spare(self) -> Ints | None:
        """Return the extra merges that each class needs for images that stay beside their representative."""
        if not len(self.constraints.keep):
            return None
        return np.bincount(self.class_index[self.constraints.keep], minlength=len(self.classes))

    def covers(self, cut: Cut) -> bool:
        """Return whether a cut needs no further clustering."""
        return not self.missing(cut)

    def missing(self, cut: Cut) -> list[Request]:
        """Return what must still be clustered before `cut` can be taken, class by class; empty for nothing."""
        if cut.holds_height:  # the tree under constraints is as deep as that without, and cut no higher
            return (self.bare or self).steps.missing(cut)
        return self.steps.missing(cut, self._spare())

    def deepened(self, cut: Cut, resources: Resources | None = None) -> Merges:
        """Return merges of the same tree that go deep enough for a cut.

        Args:
            cut: the cut to reach.
            resources: for clustering; with a `scratch` folder, an interrupted call resumes.

        Raises:
            MemoryBudgetError: the cut needs more memory: says what fits.
        """
        return deepened(self, cut, resources or Resources())

    # ---- the classes ---------------------------------------------------------------------------------------------

    @cached_property
    def class_index(self) -> Ints:
        """Position in `classes` of each image's class, int64[n]."""
        labels = self.embeddings.labels
        if self.within is Within.ALL or labels is None:
            return np.zeros(len(self.embeddings), dtype=np.int64)
        return np.searchsorted(self.classes, labels)

    @cached_property
    def sizes(self) -> Ints:
        """Number of images of each class, int64[c]."""
        return np.bincount(self.class_index, minlength=len(self.classes))

    @cached_property
    def steps(self) -> Steps:
        """Merges as a list to cut."""
        smallest = np.empty(len(self.classes), dtype=np.int64)
        smallest[self.class_index[::-1]] = np.arange(len(self.embeddings))[
            ::-1
        ]  # the last to be written stays
        return Steps(self.sizes, smallest, self.class_index[self.a], self.height, self.complete_to)

    def __len__(self) -> int:
        """Return the number of merges."""
        return len(self.a)

    def __repr__(self) -> str:
        many = counted(len(self.classes), "class") if self.within is Within.CLASS else "all together"
        reach = f", up to height {self.height[-1]:.4g}" if len(self.height) else ""
        return f"Merges({len(self.a):,} of {counted(len(self.embeddings), 'image')}, {many}{reach})"

    # ---- on disk -------------------------------------------------------------------------------------------------

    def save(self, path: str | Path) -> None:
        """Write ``merges.parquet``: a, b, height, with their origin, and the counts in a file beside it.

        Equal merges give equal bytes. A process killed between the two files leaves counts that match no merges.
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
        """Read ``merges.parquet`` with the embeddings it was made from.

        Args:
            path: the file, or the run folder that holds it.
            embeddings: those it was made from.
            constraints: those that it was made under.

        Raises:
            StageError: there is none, it is damaged, of a newer format, or made from other embeddings or under other
                constraints.
        """
        path = stored_file(path, "merges.parquet", "a stored tree of merges")
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
        """Fingerprint that the counts beside the stored merges name, so that they match no others."""
        made_of = f"{self.embeddings.origin} {self.within}{self.constraints.links}"
        digest = hashlib.blake2b(made_of.encode(), digest_size=8)
        for array in (self.a, self.b, self.height, self.classes, self.complete_to):
            digest.update(np.ascontiguousarray(array).data)
        return digest.hexdigest()


def cluster(embeddings: Embeddings, cut: Cut | None = None, resources: Resources | None = None) -> Merges:
    """Build the first merges of the complete-linkage tree under cosine dissimilarity, exactly.

    Args:
        embeddings: the vectors.
        cut: the depth, and the scope; by default deep enough to keep half of each class.
        resources: see `Merges.deepened`.

    Raises:
        UsageError: ``within="class"`` without labels.
        MemoryBudgetError: the depth needs more memory: says what fits.
    """
    cut = cut or Cut(keep=DEPTH)
    return uncut(embeddings, cut.within).deepened(cut, resources)


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
