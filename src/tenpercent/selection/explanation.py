"""Explanation, in plain sentences, of why one image was kept or removed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..data.store.embeddings import Embeddings
from ..tree.gap import precise_height
from .nearest_outside import nearest_outside

if TYPE_CHECKING:
    from .selection import Selection

SHOWN = 20  # members that the text lists; it says how many more there are


@dataclass(frozen=True)
class Member:
    """An image with its dissimilarity to another, its class and whether it is kept."""

    id: str | int
    dissimilarity: float
    class_name: str | None
    kept: bool


@dataclass(frozen=True)
class Explanation:
    """The reasons why one image was kept or removed; `str` gives them in sentences.

    Attributes:
        id: the image, as a number where ids were given as whole numbers; so are the others.
        class_name: its class, or None.
        kept: whether it is kept.
        group: the number of its group.
        representative: the id of the group's representative; None where all of its images are removed by
            decision.
        dissimilarity: to the representative; nan where there is none.
        diameter: the largest dissimilarity within the group.
        members: all images of the group with their dissimilarity to the representative, which comes first.
        cut_height: the height of the last merge taken in its class, 0 where none was; else see `ClassCut.height`.
        within_all: whether images of different classes may share a group.
        outside: the image nearest to this one outside the group, where embeddings were at hand and there is one.
        strategy: how the images were chosen.
    """

    id: str | int
    class_name: str | None
    kept: bool
    group: int
    representative: str | int | None
    dissimilarity: float
    diameter: float
    members: tuple[Member, ...]
    cut_height: float
    within_all: bool
    outside: Member | None = None
    strategy: str = "semantic"

    def __str__(self) -> str:
        return "\n".join([self._verdict(), *self._group(), self._cut(), *self._outside()])

    __repr__ = __str__

    def _verdict(self) -> str:
        of_class = "" if self.class_name is None else f" (class {self.class_name})"
        name = f"{self.id}{of_class}"
        if self.representative is None:
            return f"{name} is removed by decision, and no image stands for it: it is outside the guarantee."
        if len(self.members) == 1:
            return f"{name} is kept: no other image is in its group."
        size = f"group {self.group}, {len(self.members):,} images"
        if self.id == self.representative:
            return f"{name} is kept: it stands for {size}."
        if self.kept:
            return (
                f"{name} is kept because it was asked for or decided; it is in {size}, for which "
                f"{self.representative} stands."
            )
        return (
            f"{name} is removed: {self.representative} stands for it, at dissimilarity "
            f"{precise_height(self.dissimilarity)} ({size})."
        )

    def _group(self) -> list[str]:
        if len(self.members) == 1:
            return []
        lines = [
            f"No two images of the group are further apart than {precise_height(self.diameter)}."
            + ("" if self.representative is None else f" From {self.representative}:")
        ]
        for member in self.members[:SHOWN]:
            state = "kept" if member.kept else "removed"
            mixed = (
                f", class {member.class_name}" if self.within_all and member.class_name is not None else ""
            )
            here = "  <- this image" if member.id == self.id else ""
            far = "       –" if self.representative is None else f"{precise_height(member.dissimilarity):>8}"
            lines.append(f"  {far}  {member.id}  ({state}{mixed}){here}")
        if len(self.members) > SHOWN:
            lines.append(f"  … and {len(self.members) - SHOWN:,} more")
        return lines

    def _cut(self) -> str:
        if self.within_all:
            where = "among all images"
        else:
            where = "among images without a label" if self.class_name is None else "in this class"
        if self.strategy != "semantic":
            return (
                f"Images were chosen by {self.strategy}; {where} none that is removed is farther than "
                f"{precise_height(self.cut_height)} from the one kept for it."
            )
        if self.cut_height == 0 and len(self.members) == 1:
            return f"Nothing further apart than 0 was merged {where}."
        return f"The cut {where} took merges up to height {precise_height(self.cut_height)}."

    def _outside(self) -> list[str]:
        if self.outside is None:
            return []
        of_class = "" if self.outside.class_name is None else f", class {self.outside.class_name}"
        state = "kept" if self.outside.kept else "removed"
        found = f"{self.outside.id} ({state}{of_class}), at {precise_height(self.outside.dissimilarity)}"
        return [f"The nearest image outside the group is {found}."]


def explain(selection: Selection, position: int, embeddings: Embeddings | None = None) -> Explanation:
    """Explain the image at `position` of a selection.

    Args:
        selection: the selection.
        position: in id order.
        embeddings: those it was made from, to name the nearest image outside the group; None leaves it out.
    """
    members = np.flatnonzero(selection.group == selection.group[position])
    representative = int(selection.representative[position])
    order = np.lexsort((members, selection.dissimilarity[members], members != representative))
    return Explanation(
        id=_id(selection, position),
        class_name=selection.class_name(position),
        kept=bool(selection.kept_by_id[position]),
        group=int(selection.group[position]),
        representative=None if representative < 0 else _id(selection, representative),
        dissimilarity=float(selection.dissimilarity[position]),
        diameter=float(selection.group_diameter[position]),
        members=tuple(_member(selection, int(m), float(selection.dissimilarity[m])) for m in members[order]),
        cut_height=selection.class_cut(position).height,
        within_all=selection.settings["within"] == "all",
        outside=None if embeddings is None else _nearest(selection, position, embeddings),
        strategy=selection.strategy,
    )


def _nearest(selection: Selection, position: int, embeddings: Embeddings) -> Member | None:
    found, dissimilarity = nearest_outside(embeddings.vectors, selection.group, np.asarray([position]))
    return _member(selection, int(found[0]), float(dissimilarity[0])) if found[0] >= 0 else None


def _id(selection: Selection, position: int) -> str | int:
    name = str(selection.ids[position])
    return int(name) if selection.number_ids else name


def _member(selection: Selection, position: int, dissimilarity: float) -> Member:
    return Member(
        _id(selection, position),
        dissimilarity,
        selection.class_name(position),
        bool(selection.kept_by_id[position]),
    )
