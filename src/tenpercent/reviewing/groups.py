"""Groups of one cut: ordered, filtered, and their representatives.

A group is named by its node in the forest, which for an image alone is its position.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ..data.store.embeddings import Ints
from ..decisions.constraints import Constraints
from ..tree.cut import Cut
from .cache import Cache
from .forest import Bools, MergeForest

if TYPE_CHECKING:
    from ..tree.merges import Merges
    from ..tree.partition import GroupMembers

LISTS = 8  # orders of one cut, cached
ANY = Cut(keep=1.0)  # the representative of a group depends on its images only


class GroupOrder(StrEnum):
    """Order of the groups; equal ones by their smallest position."""

    SIZE = "size"  # largest first, of equals the tighter
    TIGHTEST = "tightest"  # smallest diameter first, of equals the larger
    WIDEST = "widest"  # largest diameter first, of equals the larger
    HEIGHT = "height"  # in the order in which their last merges were made, the latest first
    CLASS = "class"  # class by class, the largest first
    CONFLICT = "conflict"  # those of several labels first, the largest first


class DecisionFilter(StrEnum):
    """Groups to list: all, those with an image that a decision names, or the others."""

    ANY = "any"
    YES = "yes"
    NO = "no"


@dataclass(frozen=True)
class GroupFilter:
    """The filter and order of a list.

    Attributes:
        order: of the groups.
        code: of the class that an image of the group must have; None for any.
        smallest, largest: the limits of a group's size.
        decided: by the presence of decisions.
    """

    order: GroupOrder = GroupOrder.SIZE
    code: int | None = None
    smallest: int = 2
    largest: int | None = None
    decided: DecisionFilter = DecisionFilter.ANY


class CutGroups:
    """The groups of one cut.

    Attributes:
        merges: the merges that were cut, with the decisions.
        forest: of these merges.
        taken: bool[m], which merges the cut takes.
        touched: int64[k], positions of images that decisions name.
    """

    def __init__(self, merges: Merges, forest: MergeForest, taken: Bools, touched: Ints) -> None:
        """Store the merges that a cut takes."""
        self.merges, self.forest, self.taken, self.touched = merges, forest, taken, touched
        self._lists: Cache[Ints] = Cache(LISTS)

    @cached_property
    def is_group(self) -> Bools:
        """Mask of the merges that make groups of two or more, bool[m]."""
        above = np.append(self.taken, False)[self.forest.parent[self.forest.n :]]
        return np.asarray(self.taken & ~above)

    @cached_property
    def redundant(self) -> Ints:
        """Groups of two or more, int64[k]."""
        return self.forest.n + np.flatnonzero(self.is_group)

    @cached_property
    def decided(self) -> Ints:
        """Groups with an image that a decision names, ascending."""
        return np.unique(self.of(self.touched))

    @cached_property
    def height(self) -> float:
        """Height of the last merge taken, 0 where none is."""
        return float(self.forest.diameter[self.forest.n :][self.taken].max(initial=0.0))

    def of(self, positions: Ints) -> Ints:
        """Return the groups of images."""
        return self.forest.tops(self.taken, np.asarray(positions, dtype=np.int64))

    # ---- properties of groups ----------------------------------------------------------------------------------------

    def size(self, groups: Ints) -> Ints:
        """Return the sizes of groups."""
        return self.forest.size[groups].astype(np.int64)

    def diameter(self, groups: Ints) -> npt.NDArray[np.float64]:
        """Return the largest dissimilarity of two images of groups, 0 for one alone."""
        return np.asarray(self.forest.diameter[groups])

    def first(self, groups: Ints) -> Ints:
        """Return the smallest position in groups."""
        return self.forest.smallest[groups].astype(np.int64)

    def code(self, groups: Ints) -> Ints:
        """Return the class of groups: that of their first image; −1 for none."""
        return np.asarray(self.forest.labels[self.first(groups)])

    def conflict(self, groups: Ints) -> Bools:
        """Return whether groups hold images of more than one label."""
        return np.asarray(self.forest.conflict[groups])

    def next_height(self, group: int) -> float | None:
        """Return the height at which a group merges with another, None where the stored tree ends earlier."""
        up = int(self.forest.parent[group])
        return float(self.forest.diameter[self.forest.n + up]) if up < self.forest.m else None

    def members(self, groups: Ints) -> tuple[Ints, Ints]:
        """Return the positions in some groups, group after group, ascending, and where each begins."""
        begin, size = self.forest.start[groups].tolist(), self.size(groups)
        parts = [np.sort(self.forest.leaves[at : at + k]) for at, k in zip(begin, size.tolist(), strict=True)]
        starts = np.cumsum([0, *size])
        return np.concatenate(parts) if parts else np.empty(0, dtype=np.int64), starts

    def with_representatives(self, groups: Ints) -> GroupMembers:
        """Find the representatives of some groups: cutting their images alone gives the same as the whole cut."""
        from ..tree.partition import Partition

        members, starts = self.members(groups)
        order = np.argsort(members)
        sizes = np.diff(starts)
        number = np.empty(len(members), dtype=np.int64)
        number[:] = np.repeat(np.arange(len(groups)), sizes)[order]
        own = members[order]
        rank, preference = self.merges.embeddings.rank, self.merges.embeddings.preference
        alone = Partition(
            vectors=self.merges.embeddings.vectors[own],
            constraints=_among(self.merges.constraints, own),
            taken=self.taken,
            group=number,
            size=sizes,
            diameter=np.zeros(len(groups)),
            height=0.0,
            cut=ANY,
            rank=None if rank is None else rank[own],
            preference=None if preference is None else lambda positions: preference(own[positions]),
        )
        found = alone.with_representatives(np.arange(len(groups)))
        there = found.representative >= 0
        representative = np.where(there, own[np.where(there, found.representative, 0)], -1)
        return found._replace(members=own[found.members], representative=representative)

    # ---- the list ------------------------------------------------------------------------------------------------

    def listed(self, wanted: GroupFilter, hits: Ints | None = None) -> Ints:
        """Return the groups to list, in order; int64[k].

        Args:
            wanted: the filter and order.
            hits: int64[h], positions, of which a group must hold one; None for any.
        """
        found = self._lists.get(wanted, lambda: self._filtered(wanted))
        return found if hits is None else found[np.isin(found, np.unique(self.of(hits)))]

    def _filtered(self, wanted: GroupFilter) -> Ints:
        if wanted.smallest >= 2:
            ordered = self.forest.order(wanted.order, lambda nodes: self._keys(nodes, wanted.order))
            found = self.forest.n + ordered[self.is_group[ordered]]
        else:
            found = np.concatenate([self.redundant, self._alone()])
            found = found[np.lexsort(self._keys(found, wanted.order))]
        if wanted.smallest > 2 or wanted.largest is not None:
            size = self.size(found)
            most = self.forest.n if wanted.largest is None else wanted.largest
            found = found[(size >= wanted.smallest) & (size <= most)]
        if wanted.decided is not DecisionFilter.ANY:
            found = found[np.isin(found, self.decided) == (wanted.decided is DecisionFilter.YES)]
        if wanted.code is not None and self.forest.by_class:
            found = found[self.code(found) == wanted.code]
        elif wanted.code is not None:
            holding = np.unique(self.of(np.flatnonzero(self.forest.labels == wanted.code)))
            found = found[np.isin(found, holding)]
        return found

    def _alone(self) -> Ints:
        """Return the ungrouped images, as groups."""
        joined = np.zeros(self.forest.n, dtype=bool)
        joined[self.forest.a[self.taken]] = True
        joined[self.forest.b[self.taken]] = True
        return np.flatnonzero(~joined)

    def _keys(self, groups: Ints, order: GroupOrder) -> tuple[npt.NDArray[Any], ...]:
        """Return the sort keys of groups, the last first."""
        size, diameter, first, code = (of(groups) for of in (self.size, self.diameter, self.first, self.code))
        largest = (first, diameter, -size)
        keys: dict[GroupOrder, tuple[npt.NDArray[Any], ...]] = {
            GroupOrder.SIZE: largest,
            GroupOrder.TIGHTEST: (first, -size, diameter),
            GroupOrder.WIDEST: (first, -size, -diameter),
            GroupOrder.HEIGHT: (first, -diameter),
            GroupOrder.CLASS: (*largest, np.where(code < 0, np.iinfo(np.int64).max, code)),
            GroupOrder.CONFLICT: (*largest, ~self.conflict(groups)),
        }
        return keys[order]


def _among(constraints: Constraints, own: Ints) -> Constraints:
    """Return the decisions about some images, as positions among them."""
    if not len(constraints):
        return constraints

    def places(positions: Ints) -> Ints:
        return np.searchsorted(own, positions[np.isin(positions, own)])

    return Constraints(
        keep=places(constraints.keep), remove=places(constraints.remove), prefer=places(constraints.prefer)
    )
