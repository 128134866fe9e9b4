"""Cut around locked images: they all stay, what is near to one of them is removed, and the rest is clustered as always.

A cut at height h removes every image that is not locked and within h of a locked one, which then represents it: the
nearest, and of equally near ones the one with the smallest id. The others are the rest, whose tree is cut at h.

Where the number of images to keep is given, h is found. Let x₁, x₂, … be the images that are not locked, by
(dissimilarity aᵢ to the nearest locked one, id). When the first j are removed for locked ones, the rest is merged until
the number is right; let Hⱼ be the height of the last merge. The cut takes a j with Hⱼ < aⱼ₊₁, and aⱼ < aⱼ₊₁ unless j
alone removes as many as are to go. So all images up to h = max(aⱼ, Hⱼ) are removed for locked ones. docs/clustering.md
has the proof.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from ..data.store.embeddings import Embeddings, Ints
from ..decisions.constraints import Constraints
from ..errors import counted
from ..linkage.distances import unit_vectors
from ..linkage.linkage import Linkage
from ..linkage.memory import Resources
from ..progress import quiet
from ..tree.allotment import allot
from ..tree.clustering import ClassJob, cluster_classes
from ..tree.cut import Cut, check_beside_locked, check_room
from ..tree.finished_classes import ClassDepth
from ..tree.gap import said_height
from ..tree.merges import Merges
from ..tree.partition import Partition, settled
from ..tree.rewalk import inside
from ..tree.steps import Floats
from .nearest import diameters, nearest_among


@dataclass(frozen=True, eq=False)
class LockedCut:
    """Groups of a cut around locked images.

    Attributes:
        merges: those of the rest that the cut takes, and one for each image that a locked one represents, at the
            dissimilarity of the two.
        part: the groups.
        removed: int64[r], the images that a locked one represents, ascending.
        nearest: int64[r], the locked image of each.
        dissimilarity: float64[r], to it.
        notes: sentences for a person.
    """

    merges: Merges
    part: Partition
    removed: Ints
    nearest: Ints
    dissimilarity: Floats
    notes: tuple[str, ...]


def cut_around(merges: Merges, cut: Cut, locked: Ints, resources: Resources) -> LockedCut:
    """Cut around locked images.

    Args:
        merges: of the embeddings, to any depth; their constraints hold in the rest.
        cut: where to cut.
        locked: int64[k], positions in id order, ascending.
        resources: for clustering the rest.

    Raises:
        UsageError: more images are locked than may be kept, or the cut is one that has no meaning beside them.
        MemoryBudgetError: the rest does not fit into memory.
    """
    own = _unlocked(merges.constraints, locked)
    nearest, dissimilarity = _nearest(merges, locked)
    task = _Task(merges.embeddings, own, cut, resources)
    steps = task.solved(_parts(merges, cut, locked, dissimilarity))
    removed = np.sort(np.concatenate([step.removed for step in steps]))
    nearest, dissimilarity = nearest[removed], dissimilarity[removed]
    a = np.concatenate([*(step.a for step in steps), np.minimum(removed, nearest)])
    b = np.concatenate([*(step.b for step in steps), np.maximum(removed, nearest)])
    height = np.concatenate([*(step.height for step in steps), dissimilarity])
    order = np.lexsort((b, a, height))
    taken = replace(
        merges, a=a[order], b=b[order], height=height[order], counts={}, constraints=own, bare=None
    )
    part = _widened(taken.parted(np.ones(len(taken), dtype=np.bool_), cut), removed, nearest, dissimilarity)
    notes = _notes(merges.constraints, locked, dissimilarity)
    return LockedCut(taken, part, removed, nearest, dissimilarity, notes)


class _Part(NamedTuple):
    """Images that are cut together: one class, or all of them.

    Attributes:
        code: of the class.
        free: int64[k], those that may share a group and are not locked, ascending.
        near: int64[r], those of them that a locked image may represent, the nearest first.
        away: float64[r + 1], their dissimilarity to it, and infinity.
        remove: the number of images to remove, or at most.
    """

    code: int
    free: Ints
    near: Ints
    away: Floats
    remove: int

    @property
    def choices(self) -> list[int]:
        """How many images locked ones may represent: equally near ones all or none, unless no more may go."""
        most = min(self.remove, len(self.near))
        ends = np.flatnonzero(self.away[1:] > self.away[:-1]) + 1
        return [*([0] if most else []), *ends[ends < most].tolist(), most]


class _Step(NamedTuple):
    """Cut of a part: the images that locked ones represent, the merges taken of the rest, and how many that lacks."""

    removed: Ints
    a: Ints
    b: Ints
    height: Floats
    lacks: int = 0

    @property
    def last(self) -> float:
        """Height of the last merge; −1 for none, infinity where the rest has too few."""
        if self.lacks:
            return np.inf
        return float(self.height[-1]) if len(self.height) else -1.0


class _Task(NamedTuple):
    embeddings: Embeddings
    constraints: Constraints
    cut: Cut
    resources: Resources

    def solved(self, parts: Sequence[_Part]) -> list[_Step]:
        """Return the cut of each part; all parts are clustered side by side."""
        if self.cut.threshold is not None:
            within = [int(np.searchsorted(part.away, self.cut.threshold, side="right")) for part in parts]
            return self._tried(parts, [min(j, part.remove) for j, part in zip(within, parts, strict=True)])
        choices = [part.choices for part in parts]
        low, high = (
            [-1] * len(parts),
            [len(one) - 1 for one in choices],
        )  # fails, or before all; holds, or is all
        found: dict[int, _Step] = {}
        while several := [k for k in range(len(parts)) if k not in found or high[k] - low[k] > 1]:
            middle = {k: (low[k] + high[k]) // 2 if k in found else high[k] for k in several}
            tried = self._tried([parts[k] for k in several], [choices[k][middle[k]] for k in several])
            for k, step in zip(several, tried, strict=True):
                if k not in found or step.last < parts[k].away[len(step.removed)]:
                    high[k], found[k] = middle[k], step
                else:
                    low[k] = middle[k]
        return [found[k] for k in range(len(parts))]

    def _tried(self, parts: Sequence[_Part], counts: Sequence[int]) -> list[_Step]:
        """Return the cut of each part whose `count` nearest images are removed for locked ones."""
        jobs = [self._job(part, count) for part, count in zip(parts, counts, strict=True)]
        needed = [job for job in jobs if len(job.members) > 1 and job.depth.merges != 0]
        with quiet():
            linked = cluster_classes(self.embeddings.vectors, needed, self.cut, self.resources, None)
        by_code = {job.depth.code: found for job, found in zip(needed, linked, strict=True)}
        return [
            self._step(part, count, job.members, by_code.get(part.code))
            for part, count, job in zip(parts, counts, jobs, strict=True)
        ]

    def _job(self, part: _Part, count: int) -> ClassJob:
        rest = np.setdiff1d(part.free, part.near[:count], assume_unique=True)
        depth = None
        if self.cut.threshold is None:
            spare = int(np.isin(self.constraints.keep, rest).sum())
            depth = max(min(part.remove - count + spare, len(rest) - 1), 0)
        return ClassJob(
            ClassDepth(part.code, depth, self.cut.threshold),
            rest,
            apart=inside(self.constraints.apart, rest),
        )

    def _step(self, part: _Part, count: int, rest: Ints, found: Linkage | None) -> _Step:
        if found is None:
            none = np.empty(0, dtype=np.int64)
            return _Step(part.near[:count], none, none, np.empty(0), part.remove - count)
        a, b = rest[found.a], rest[found.b]
        take = part.remove - count
        decided = np.intersect1d(self.constraints.counted, rest)
        if len(decided) and self.cut.threshold is None:
            known = self.embeddings
            take = settled(known.vectors, a, b, take, decided, self.constraints, known.rank, known.preference)
        return _Step(part.near[:count], a[:take], b[:take], found.height[:take], max(take - len(a), 0))


def _parts(merges: Merges, cut: Cut, locked: Ints, dissimilarity: Floats) -> list[_Part]:
    """Return the classes, each with the number of images to remove."""
    index, sizes = merges.class_index, merges.sizes
    stay = np.bincount(index[locked], minlength=len(sizes))
    least = np.maximum(stay, np.minimum(cut.min_per_class, sizes))
    if cut.keep is not None:
        _check(cut, len(locked), merges)
        least = allot(sizes, merges.steps.smallest, cut.wanted(len(merges.embeddings)), least)
    free = np.ones(len(index), dtype=np.bool_)
    free[locked] = free[merges.constraints.alone] = False
    parts = []
    for at, own in enumerate(np.split(np.argsort(index, kind="stable"), np.cumsum(sizes)[:-1])):
        members = own[free[own]]
        near = members[np.isfinite(dissimilarity[members])]
        near = near[np.lexsort((near, dissimilarity[near]))]
        away = np.append(dissimilarity[near], np.inf)
        parts.append(_Part(int(merges.classes[at]), members, near, away, int(sizes[at] - least[at])))
    return parts


def _check(cut: Cut, locked: int, merges: Merges) -> None:
    check_room(cut, locked, len(merges.embeddings))
    check_beside_locked(cut, len(merges.classes))


def _unlocked(constraints: Constraints, locked: Ints) -> Constraints:
    """Return the constraints on the images that are not locked: a locked one stays and represents itself anyway."""
    prefer = constraints.prefer[~np.isin(constraints.prefer, locked)]
    keep, remove = (np.setdiff1d(one, locked) for one in (constraints.keep, constraints.remove))
    return replace(constraints, keep=keep, remove=remove, prefer=prefer)


def _nearest(merges: Merges, locked: Ints) -> tuple[Ints, Floats]:
    """Return the nearest locked image of each other image's class, int64[n], and its dissimilarity; infinity for none.

    Images that decisions keep, choose or set apart are left to the rest, and a locked one that is to share its group
    with no other represents none.
    """
    n, constraints = len(merges.embeddings), merges.constraints
    nearest, dissimilarity = np.full(n, -1), np.full(n, np.inf)
    named = np.concatenate(
        [constraints.apart.ravel(), constraints.keep, constraints.prefer, constraints.alone]
    )
    open_to = np.ones(n, dtype=np.bool_)
    open_to[locked] = open_to[named] = False
    among = np.setdiff1d(locked, constraints.alone)
    of_locked, index = merges.class_index[among], merges.class_index
    for at in np.unique(of_locked).tolist():
        queries = np.flatnonzero(open_to & (index == at))
        nearest[queries], dissimilarity[queries] = nearest_among(
            merges.embeddings.vectors, queries, among[of_locked == at]
        )
    return nearest, dissimilarity


def _widened(part: Partition, removed: Ints, nearest: Ints, dissimilarity: Floats) -> Partition:
    """Return the groups with the diameters of those of locked images: two images near to one may be far apart."""
    own = np.unique(nearest)
    members = np.union1d(removed, own)
    representative, far = members.copy(), np.zeros(len(members))
    at = np.searchsorted(members, removed)
    representative[at], far[at] = nearest, dissimilarity
    found = diameters(unit_vectors(part.vectors[members]), np.searchsorted(members, representative), far)
    diameter = part.diameter.copy()
    diameter[part.group[own]] = found[np.searchsorted(members, own)]
    return replace(part, diameter=diameter)


def _notes(constraints: Constraints, locked: Ints, dissimilarity: Floats) -> tuple[str, ...]:
    said = f"{counted(len(locked), 'locked image')} kept"
    if len(dissimilarity):
        far = said_height(float(dissimilarity.max()))
        said += (
            f"; {counted(len(dissimilarity), 'image')} removed for them, each within {far} of its nearest one"
        )
    both = len(np.intersect1d(constraints.remove, locked))
    if not both:
        return (said,)
    return (
        said,
        f"{counted(both, 'locked image')} to be removed by decision: locked images are kept all the same",
    )
