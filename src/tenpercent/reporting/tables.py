"""Numbers of the report, as plain functions on a selection's arrays: groups, their sizes, Table 1."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from ..selection.selection import Selection

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Strings = npt.NDArray[np.object_]

NO_LABEL = "no label"


@dataclass(frozen=True, eq=False)
class Columns:
    """A selection as arrays, one entry an image, in id order.

    Attributes:
        ids: str[n].
        kept: bool[n].
        group: int64[n], numbered from 0 without gaps.
        representative: int64[n], the position of the image kept for this one; −1 for none.
        dissimilarity: float64[n], to the representative.
        diameter: float64[n], of the image's group.
        labels: int64[n], the code of the class, −1 for none; all −1 where there are no labels.
        class_names: the name of each code; empty where there are no labels.
    """

    ids: Strings
    kept: Bools
    group: Ints
    representative: Ints
    dissimilarity: Floats
    diameter: Floats
    labels: Ints
    class_names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def stood_for(self) -> Bools:
        """Mask of the images that are kept or have a representative; the others are outside the guarantee."""
        return self.representative >= 0

    @property
    def labelled(self) -> bool:
        """True where any image has a label."""
        return bool(np.any(self.labels >= 0))

    def class_name(self, label: int) -> str:
        """Return the name of a class in words: "cat", "class 7" where that is a number; −1 is "no label"."""
        if label < 0:
            return NO_LABEL
        name = self.class_names[label]
        return f"class {name}" if name.isdecimal() else name


def columns_of(selection: Selection) -> Columns:
    """Return the arrays of a selection that its tables and galleries need, groups numbered without gaps."""
    n = len(selection.ids)
    _, group = np.unique(selection.group, return_inverse=True)
    labels = np.full(n, -1, dtype=np.int64) if selection.labels is None else selection.labels
    return Columns(
        ids=selection.ids,
        kept=selection.kept_by_id,
        group=group.astype(np.int64).reshape(n),
        representative=selection.representative,
        dissimilarity=selection.dissimilarity,
        diameter=selection.group_diameter,
        labels=labels,
        class_names=tuple(selection.class_names),
    )


@dataclass(frozen=True, eq=False)
class Groups:
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

    @property
    def redundant(self) -> Ints:
        """Numbers of the groups of two or more."""
        return np.flatnonzero(self.size >= 2).astype(np.int64)


def groups_of(columns: Columns) -> Groups:
    """Gather the images of a selection into its groups."""
    n = len(columns)
    count = int(columns.group.max()) + 1 if n else 0
    position = np.arange(n, dtype=np.int64)
    follows = columns.representative != position
    members = np.lexsort((position, columns.dissimilarity, follows, columns.group)).astype(np.int64)
    size = np.bincount(columns.group, minlength=count).astype(np.int64)
    start = np.concatenate([[0], np.cumsum(size)]).astype(np.int64)
    gone = ~columns.kept
    removed = np.bincount(columns.group[gone], minlength=count).astype(np.int64)
    gone &= columns.stood_for  # the others have no dissimilarity
    total = np.bincount(columns.group[gone], weights=columns.dissimilarity[gone], minlength=count)
    stood = np.bincount(columns.group[gone], minlength=count)
    first = members[start[:-1]]
    return Groups(
        size=size,
        removed=removed,
        diameter=columns.diameter[first],
        representative=first,
        label=columns.labels[first],
        mean=np.divide(total, stood, out=np.full(count, np.nan), where=stood > 0),
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


def redundancy_table(columns: Columns, groups: Groups | None = None) -> tuple[tuple[ClassRow, ...], ClassRow]:
    """Compute Table 1 (the paper, section 4.3): one row a class, and one over all groups.

    For each group of two or more: the mean dissimilarity of its removed images to the kept one, the kept
    one's own zero left out. Then the mean over groups, so a large group counts no more than a small one.

    Returns:
        The rows of the classes in order of their codes (none without labels), and the row over all.
    """
    groups = groups_of(columns) if groups is None else groups
    everything = np.zeros(len(columns), dtype=np.int64)
    (overall,) = _rows(("all",), columns, groups, everything)
    if not columns.labelled:
        return (), overall
    codes = np.unique(columns.labels)
    codes = np.concatenate([codes[codes >= 0], codes[codes < 0]])
    place = np.empty(len(columns.class_names) + 1, dtype=np.int64)
    place[codes] = np.arange(len(codes))  # the code −1 takes the last place
    names = tuple(columns.class_name(code) for code in codes.tolist())
    return _rows(names, columns, groups, place[columns.labels]), overall


def _rows(names: tuple[str, ...], columns: Columns, groups: Groups, place: Ints) -> tuple[ClassRow, ...]:
    """Return one row a name; `place` says for each image which one it belongs to."""
    count = len(names)
    images = np.bincount(place, minlength=count)
    kept = np.bincount(place[columns.kept], minlength=count)
    redundant = groups.redundant
    of = place[groups.representative[redundant]]
    found = np.bincount(of, minlength=count)
    largest, diameter = np.ones(count, dtype=np.int64), np.zeros(count)
    np.maximum.at(largest, of, groups.size[redundant])
    np.maximum.at(diameter, of, groups.diameter[redundant])
    counted = np.isfinite(groups.mean[redundant])
    total = np.bincount(of[counted], weights=groups.mean[redundant][counted], minlength=count)
    means = np.bincount(of[counted], minlength=count)
    return tuple(
        ClassRow(
            name=name,
            images=int(images[at]),
            kept=int(kept[at]),
            removed=int(images[at] - kept[at]),
            groups=int(found[at]),
            largest=int(largest[at]),
            diameter=float(diameter[at]) if found[at] else None,
            mean=float(total[at] / means[at]) if means[at] else None,
        )
        for at, name in enumerate(names)
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
