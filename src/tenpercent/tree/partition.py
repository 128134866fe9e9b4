"""Groups of a cut: quick, as a cut is a prefix of the merges; representatives are found on request."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from ..data.store.embeddings import Ints, Vectors
from ..decisions.constraints import Constraints
from ..errors import counted
from ..linkage.distances import dissimilarities, unit_vectors
from .cut import Budget, Cut
from .representatives import Values, central, groups_of, highest
from .steps import Bools, Floats, Steps


class GroupMembers(NamedTuple):
    """Representatives of some groups.

    Attributes:
        members: int64[m], positions in id order, by group: the representative first, then by dissimilarity to it.
        starts: int64[k + 1], where each group begins.
        kept: bool[m].
        dissimilarity: float64[m], to the representative; nan where there is none.
        representative: int64[k]; −1 where all images of a group are removed by decision.
    """

    members: Ints
    starts: Ints
    kept: Bools
    dissimilarity: Floats
    representative: Ints


@dataclass(frozen=True, eq=False)
class Partition:
    """Groups made by a cut.

    Attributes:
        vectors: [n, d] in id order.
        constraints: decisions about images.
        taken: bool[m], which merges are taken.
        group: int64[n], numbered by smallest member.
        size: int64[g].
        diameter: float64[g], the largest dissimilarity of two members.
        height: height of the cut: that of the last merge taken, 0 where none was.
        cut: the requested cut.
        rank: int64[n, 3], which of equally near members represents a group, see `Embeddings.rank`; None for the first.
        preference: values of images, of which the largest of a group represents it, see `Embeddings.preference`.
    """

    vectors: Vectors
    constraints: Constraints
    taken: Bools
    group: Ints
    size: Ints
    diameter: Floats
    height: float
    cut: Cut
    rank: Ints | None = None
    preference: Values | None = None

    @cached_property
    def n_kept(self) -> int:
        """Number of kept images."""
        return len(self.size) + sum(self._extra(group) for group in self.decided.tolist())

    @cached_property
    def notes(self) -> tuple[str, ...]:
        """Notes for a person on a cut that differs from the request."""
        notes = []
        n, groups = len(self.group), len(self.size)
        wanted = n if self.cut.keep is None else self.cut.wanted(n)
        decided = len(self.constraints) > 0
        if self.cut.keep is not None and groups > wanted and not decided:
            notes.append(
                f"keep {self.cut.keep:g} of {n:,} images is {wanted:,}, but at least {self.cut.min_per_class} a class "
                f"(or all of a smaller one) is {groups:,}: {counted(groups, 'group')} in all"
            )
        if decided:
            notes.append(f"decisions in force: {self.constraints.words}")
            if self.cut.keep is not None and self.n_kept != wanted:
                notes.append(
                    f"keep {self.cut.keep:g} of {n:,} images is {wanted:,}; decisions make it {self.n_kept:,}"
                )
        return tuple(notes)

    @cached_property
    def decided(self) -> Ints:
        """Groups in which a decision says which images stay, ascending; int64[k]."""
        return np.unique(self.group[self.constraints.standing])

    def members(self, groups: Ints) -> tuple[Ints, Ints]:
        """Return the positions in some groups, group after group, ascending, and the start of each."""
        starts = np.concatenate([[0], np.cumsum(self.size[groups])]).astype(np.int64)
        edges = self._starts[groups]
        offset = np.arange(starts[-1]) - np.repeat(starts[:-1], self.size[groups])
        return self._order[np.repeat(edges, self.size[groups]) + offset], starts

    def with_representatives(self, groups: Ints) -> GroupMembers:
        """Find the representatives of some groups.

        Args:
            groups: int64[k], their numbers.
        """
        members, starts = self.members(groups)
        units = unit_vectors(self.vectors[members])
        allowed = ~np.isin(members, self.constraints.remove)
        may = highest(self.preference, members, starts, allowed)
        row = central(units, starts, may, None if self.rank is None else self.rank[members])
        for at in np.flatnonzero(np.isin(groups, self.group[self.constraints.prefer])).tolist():
            own = members[starts[at] : starts[at + 1]]
            last = [position for position in self.constraints.prefer.tolist() if position in own]
            row[at] = starts[at] + int(np.searchsorted(own, last[-1]))
        chosen = np.repeat(row, np.diff(starts))
        there = chosen >= 0
        dissimilarity = np.full(len(members), np.nan)
        dissimilarity[there] = dissimilarities(units, np.flatnonzero(there), chosen[there])
        is_representative = np.arange(len(members)) == chosen
        kept = is_representative | (allowed & np.isin(members, self.constraints.keep))
        order = np.lexsort(
            (members, dissimilarity, ~is_representative, np.repeat(np.arange(len(groups)), np.diff(starts)))
        )
        representative = np.where(row >= 0, members[row], -1)
        return GroupMembers(members[order], starts, kept[order], dissimilarity[order], representative)

    @cached_property
    def _order(self) -> Ints:
        return np.argsort(self.group, kind="stable")

    @cached_property
    def _starts(self) -> Ints:
        return np.cumsum(self.size) - self.size

    def _extra(self, group: int) -> int:
        """Return the number of images beyond one that a group keeps."""
        members = np.flatnonzero(self.group == group)
        return kept_of(self.vectors, members, self.constraints, self.rank, self.preference) - 1


def kept_of(
    vectors: Vectors,
    members: Ints,
    constraints: Constraints,
    rank: Ints | None,
    preference: Values | None = None,
) -> int:
    """Return the number of images that a group keeps: those that must stay, and its representative."""
    if np.isin(members, constraints.remove).all():
        return 0
    forced = np.isin(members, constraints.keep)
    if not forced.any():
        return 1
    preferred = [position for position in constraints.prefer.tolist() if position in members]
    if preferred:
        chosen = int(np.searchsorted(members, preferred[-1]))
    else:
        allowed = ~np.isin(members, constraints.remove)
        starts = np.asarray([0, len(members)])
        ranked = None if rank is None else rank[members]
        may = highest(preference, members, starts, allowed)
        chosen = int(central(unit_vectors(vectors[members]), starts, may, ranked)[0])
    return int(forced.sum()) + (not forced[chosen])


# ---- how deep ----------------------------------------------------------------------------------------------------


def further(
    vectors: Vectors,
    steps: Steps,
    pairs: tuple[Ints, Ints, Ints],
    cut: Cut,
    constraints: Constraints,
    rank: Ints | None = None,
    preference: Values | None = None,
) -> Ints:
    """Return how many merges more, or fewer, than a cut takes leave the requested number of images.

    Images that must stay beside their representative are compensated by deeper merges, and groups removed as a whole
    by shallower ones. Merges are taken until as many images stay as `keep` requests: never fewer, and more only where
    the next merge would leave fewer, or there is none.

    Args:
        vectors: [n, d] in id order.
        steps: the merges.
        pairs: a and b of the merges, int64[m] each, and the index of each image's class, int64[n].
        cut: the cut, by `keep`.
        constraints: the decisions.
        rank, preference: as in `Partition`.

    Returns:
        int64[c] for a budget per class; int64[1] for a global one.
    """
    a, b, class_index = pairs
    spends = list(_spends(steps, cut, class_index, constraints.counted))
    found = np.zeros(len(spends), dtype=np.int64)
    for at, (order, depth, decided) in enumerate(spends):
        if len(decided):
            found[at] = (
                settled(vectors, a[order], b[order], depth, decided, constraints, rank, preference) - depth
            )
    return found


def _spends(steps: Steps, cut: Cut, class_index: Ints, decided: Ints) -> Iterator[tuple[Ints, int, Ints]]:
    """Yield the merges that may be taken, in order, the number taken, and the images with decisions among them."""
    if cut.budget is Budget.GLOBAL:
        yield np.flatnonzero(steps.allowed(cut)), steps.removals(cut), decided
        return
    depths = steps.depths(cut)
    for index in range(len(steps.sizes)):
        own = decided[class_index[decided] == index]
        yield np.flatnonzero(steps.of_class == index) if len(own) else own, int(depths[index]), own


def settled(
    vectors: Vectors,
    a: Ints,
    b: Ints,
    depth: int,
    decided: Ints,
    constraints: Constraints,
    rank: Ints | None,
    preference: Values | None = None,
) -> int:
    """Return how many of the merges (a, b) to take, in order, so that `depth` images are removed.

    Args:
        vectors: [n, d] in id order.
        a, b: int64[m], positions of the merges that may be taken.
        depth: the number of images to remove.
        decided: int64[k], the images among them that decisions keep or remove.
        constraints: the decisions.
        rank, preference: as in `Partition`.
    """
    removed = int(np.isin(constraints.remove, decided).sum())
    begin = min(max(depth - removed, 0), len(a))
    group = groups_of(len(vectors), a[:begin], b[:begin]).copy()
    extra = {
        int(g): kept_of(vectors, np.flatnonzero(group == g), constraints, rank, preference) - 1
        for g in np.unique(group[decided])
    }
    gone = begin - sum(extra.values())
    for step in range(begin, len(a)):
        if gone == depth:
            return step
        one, other = int(group[a[step]]), int(group[b[step]])
        before, after = extra.get(one, 0) + extra.get(other, 0), 0
        touched = one in extra or other in extra
        if touched:
            members = np.flatnonzero((group == one) | (group == other))
            after = kept_of(vectors, members, constraints, rank, preference) - 1
        if gone + 1 + before - after > depth:
            return step
        gone += 1 + before - after
        group[group == other] = one
        extra.pop(other, None)
        if touched:
            extra[one] = after
    return len(a)
