"""Numbers of the report, as plain functions on a selection's arrays: groups, their sizes, Table 1."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from ..selection.arrays import SelectionArrays

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


def class_words(names: tuple[str, ...], code: int) -> str:
    """Return the name of a class in words: "cat", "class 7" where that is a number; "no label" for −1."""
    if code < 0:
        return "no label"
    return f"class {names[code]}" if names[code].isdecimal() else names[code]


@dataclass(frozen=True, eq=False)
class SelectionGroups:
    """One entry a group of a selection, groups of one included.

    Attributes:
        size: int64[g].
        removed: int64[g], how many of its images are removed.
        diameter: float64[g], the largest dissimilarity of two of its images.
        representative: int64[g], the position of the image kept for the others.
        label: int64[g], the class of the representative.
        mean: float64[g], the mean dissimilarity of its removed images to the representative; nan for
            none, and where the group has no representative.
        members: int64[n], positions by group: the representative, then the others by (dissimilarity, position).
        start: int64[g + 1], where each group begins in `members`.
    """

    size: Ints
    removed: Ints
    diameter: Floats
    representative: Ints
    label: Ints
    mean: Floats
    members: Ints
    start: Ints

    def __len__(self) -> int:
        return len(self.size)

    def of(self, group: int) -> Ints:
        """Return the positions of a group's images, the representative first."""
        return self.members[self.start[group] : self.start[group + 1]]

    @cached_property
    def redundant(self) -> Ints:
        """Numbers of the groups of two or more."""
        return np.flatnonzero(self.size >= 2).astype(np.int64)


def groups_of(selection: SelectionArrays) -> SelectionGroups:
    """Gather the images of a selection into its groups."""
    group, representative = selection.group, selection.representative
    size = np.bincount(group)
    members = np.lexsort((selection.dissimilarity, representative != np.arange(len(group)), group))
    start = np.append(0, np.cumsum(size))
    gone = ~selection.kept_by_id
    with_distance = gone & selection.represented
    total = np.bincount(group, np.where(with_distance, selection.dissimilarity, 0.0))
    measured = np.bincount(group[with_distance], minlength=len(size))
    first = members[start[:-1]]
    return SelectionGroups(
        size=size,
        removed=np.bincount(group[gone], minlength=len(size)),
        diameter=selection.group_diameter[first],
        representative=first,
        label=selection.codes[first],
        mean=np.divide(total, measured, out=np.full(len(size), np.nan), where=measured > 0),
        members=members,
        start=start,
    )


@dataclass(frozen=True)
class ClassRow:
    """One row of Table 1.

    Attributes:
        name: the class, or "all".
        images, kept, removed: counts of images that carry this label.
        groups: groups of two or more whose kept image carries this label.
        largest: the size of the largest of them; 1 where there is none.
        diameter: the largest diameter of them: the height of the last merge taken; None where there is none.
        mean: for each of them the mean dissimilarity of its removed images to the kept one, then the mean
            over groups; None where no group has a removed image.
    """

    name: str
    images: int
    kept: int
    removed: int
    groups: int
    largest: int
    diameter: float | None
    mean: float | None


def redundancy_table(
    selection: SelectionArrays, groups: SelectionGroups | None = None
) -> tuple[tuple[ClassRow, ...], ClassRow]:
    """Compute Table 1 (the paper, section 4.3): one row a class, and one over all groups.

    For each group of two or more: the mean dissimilarity of its removed images to the kept one, the kept
    one's own zero left out. Then the mean over groups, so a large group counts no more than a small one.

    Returns:
        The rows of the classes in order of their codes (none without labels), and the row over all.
    """
    groups = groups_of(selection) if groups is None else groups
    label = groups.label[groups.redundant]
    images = np.bincount(selection.codes + 1)
    kept = np.bincount(selection.codes[selection.kept_by_id] + 1, minlength=len(images))
    overall = _row("all", len(selection), int(kept.sum()), groups, groups.redundant)
    codes = [*(np.flatnonzero(images[1:])).tolist(), *([-1] if images[0] else [])]  # no label comes last
    if codes == [-1]:
        return (), overall
    rows = (
        _row(
            class_words(selection.class_names, code),
            int(images[code + 1]),
            int(kept[code + 1]),
            groups,
            groups.redundant[label == code],
        )
        for code in codes
    )
    return tuple(rows), overall


def _row(name: str, images: int, kept: int, groups: SelectionGroups, own: Ints) -> ClassRow:
    """Return the row of a class; `own` are its groups of two or more."""
    means = groups.mean[own][np.isfinite(groups.mean[own])]
    return ClassRow(
        name=name,
        images=images,
        kept=kept,
        removed=images - kept,
        groups=len(own),
        largest=int(groups.size[own].max(initial=1)),
        diameter=float(groups.diameter[own].max()) if len(own) else None,
        mean=float(means.mean()) if len(means) else None,
    )


def group_sizes(sizes: Ints) -> tuple[Ints, Ints]:
    """Count groups by size, groups of one left out (the paper, Figs 4, 7, 10).

    Args:
        sizes: int64[g], the size of each group.

    Returns:
        The sizes that occur, ascending, and how many groups have each.
    """
    found, count = np.unique(sizes[sizes >= 2], return_counts=True)
    return found.astype(np.int64), count.astype(np.int64)
