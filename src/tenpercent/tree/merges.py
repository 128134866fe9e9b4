"""First merges of the complete-linkage tree with the embeddings they join, on disk and ready to cut."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from ..data.store.checks import check_kind
from ..data.store.embeddings import Embeddings
from ..data.store.files import write_table
from ..decisions.constraints import NONE, Constraints
from ..errors import StageError, UsageError, counted, quoted
from ..linkage.memory import Resources
from .counts import StoredCounts, save_counts
from .cut import DEPTH, Cut, Within, checked_choice
from .deepening import deepened
from .held_height import no_higher
from .merge_table import MergeTable
from .merges_file import FORMAT, check_merges, merges_layout
from .partition import Partition, further
from .representatives import groups_of
from .rewalk import under
from .stage_files import read_stage, stored_file
from .steps import ALL, Bools


@dataclass(frozen=True, eq=False, repr=False)
class Merges(MergeTable):
    """First merges of the tree of each class, in one order of (height, a, b): see `MergeTable` for the attributes."""

    bare: Merges | None = None

    # ---- cutting -------------------------------------------------------------------------------------------------

    def partition(self, cut: Cut) -> Partition:
        """Cut the tree into groups, quickly: representatives are found on request.

        Raises:
            StageError: the tree does not go that deep.
        """
        if self.missing(cut):
            raise StageError(f"these merges don't reach {cut}; deepen them first (merges.deepened)")
        return self.parted(self.taken(cut), cut)

    def parted(self, taken: Bools, cut: Cut) -> Partition:
        """Return the groups that some of the merges make; bool[m] which, for a cut."""
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
            preference=self.embeddings.preference,
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
        pairs, known = (self.a, self.b, self.class_index), self.embeddings
        more = further(known.vectors, self.steps, pairs, cut, self.constraints, known.rank, known.preference)
        return self.steps.taken(cut, more)

    def under(self, constraints: Constraints, resources: Resources | None = None) -> Merges:
        """Return the tree under other constraints, to the same depth: see `rewalk.under`."""
        return under(self, constraints, resources or Resources())

    def deepened(self, cut: Cut, resources: Resources | None = None) -> Merges:
        """Return merges of the same tree that go deep enough for a cut.

        Args:
            cut: the cut to reach.
            resources: for clustering; with a `scratch` folder, an interrupted call resumes.

        Raises:
            MemoryBudgetError: the cut needs more memory: says what fits.
        """
        return deepened(self, cut, resources or Resources())

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
        table, about = read_stage(path, layout, embeddings, f"tenpercent cluster {quoted(path.parent)}")
        if about.get("decisions", "") != constraints.links:
            raise StageError(
                f"{path} was made under other decisions; cluster again: tenpercent cluster {quoted(path.parent)}"
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
    cut = (cut or Cut(keep=DEPTH)).among(len(embeddings))
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
