"""Explanation, in plain sentences, of why one image was kept or removed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..data.store.embeddings import Embeddings
from ..errors import counted, shown, worded
from ..tree.cut import Rule, rule_words
from ..tree.gap import precise_height
from .arrays import SelectionArrays
from .nearest import nearest_outside

SHOWN = 20  # members that the text lists; it says how many more there are


@dataclass(frozen=True)
class GroupMember:
    """An image with its dissimilarity to another, its class, and whether it is kept, and had to be."""

    id: str | int
    dissimilarity: float
    class_name: str | None
    kept: bool
    locked: bool = False

    def describe(self, with_class: bool) -> str:
        """Return its id, and in brackets what became of it."""
        of_class = f", class {self.class_name}" if with_class and self.class_name is not None else ""
        became = "locked" if self.locked else "kept" if self.kept else "removed"
        return f"{shown(self.id)} ({became}{of_class})"


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
        outside: the image nearest to this one outside the group, where the embeddings are known and there is one.
        strategy: how the images were chosen.
        locked: whether it had to stay (`Cut.locked`).
        rule: the rule for representatives (`Cut.representative`).
        noun: what one image is called: image, object or frame.
    """

    id: str | int
    class_name: str | None
    kept: bool
    group: int
    representative: str | int | None
    dissimilarity: float
    diameter: float
    members: tuple[GroupMember, ...]
    cut_height: float
    within_all: bool
    outside: GroupMember | None = None
    strategy: str = "semantic"
    locked: bool = False
    rule: str = Rule.CENTRE
    noun: str = "image"

    def __str__(self) -> str:
        lines = [self._verdict(), *self._group(), self._cut()]
        if self.outside is not None:
            far = precise_height(self.outside.dissimilarity)
            lines.append(
                f"The nearest {self.noun} outside the group is {self.outside.describe(True)}, at {far}."
            )
        return "\n".join(lines)

    __repr__ = __str__

    def _verdict(self) -> str:
        name = shown(self.id) if self.class_name is None else f"{shown(self.id)} (class {self.class_name})"
        size = f"group {self.group}, {counted(len(self.members), self.noun)}"
        if self.representative is None:
            return f"{name} is removed by decision, and no kept {self.noun} represents it: it is outside the guarantee."
        if self.locked:
            rest = f" it represents {size}" if len(self.members) > 1 else f" no {self.noun} is removed for it"
            return f"{name} is kept, being locked:{rest}."
        if len(self.members) == 1:
            return f"{name} is kept: no other {self.noun} is in its group."
        if self.id == self.representative:
            return f"{name} is kept: it represents {size}."
        if self.kept:
            why = "because it was asked for or decided"
            return f"{name} is kept {why}; it is in {size}, which {shown(self.representative)} represents."
        far = precise_height(self.dissimilarity)
        by = f"{f'locked {self.noun} ' if self.members[0].locked else ''}{shown(self.representative)}"
        return f"{name} is removed: {by} represents it, at dissimilarity {far} ({size})."

    def _group(self) -> list[str]:
        if len(self.members) == 1:
            return []
        known = self.representative is not None
        rule = worded(f" Of each group the {rule_words(self.rule)} is kept.", self.noun)
        lines = [
            f"No two {self.noun}s of the group are farther apart than {precise_height(self.diameter)}."
            + (rule if self.rule != Rule.CENTRE else "")
            + (f" From {shown(self.representative)}:" if known else "")
        ]
        for member in self.members[:SHOWN]:
            far = precise_height(member.dissimilarity) if known else "–"
            here = f"  <- this {self.noun}" if member.id == self.id else ""
            lines.append(f"  {far:>8}  {member.describe(self.within_all)}{here}")
        if len(self.members) > SHOWN:
            lines.append(f"  … and {len(self.members) - SHOWN:,} more")
        return lines

    def _cut(self) -> str:
        if self.within_all:
            where = f"among all {self.noun}s"
        else:
            where = f"among {self.noun}s without a label" if self.class_name is None else "in this class"
        far = precise_height(self.cut_height)
        if self.strategy != "semantic":
            return (
                f"{self.noun.capitalize()}s were chosen by {self.strategy}; {where}, no removed {self.noun} is "
                f"farther than {far} from its representative."
            )
        if self.cut_height == 0 and len(self.members) == 1:
            return f"Nothing farther apart than 0 was merged {where}."
        return f"The cut {where} took merges up to height {far}."


def explain(selection: SelectionArrays, position: int, embeddings: Embeddings | None = None) -> Explanation:
    """Explain the image at `position` of a selection.

    Args:
        selection: the selection.
        position: in id order.
        embeddings: those it was made from, to name the nearest image outside the group; None leaves it out.
    """
    members = np.flatnonzero(selection.group == selection.group[position])
    representative = int(selection.representative[position])
    members = members[np.lexsort((members, selection.dissimilarity[members], members != representative))]
    itself = _member(selection, position, float(selection.dissimilarity[position]))
    outside = None
    if embeddings is not None:
        found, far = nearest_outside(embeddings.vectors, selection.group, np.asarray([position]))
        outside = _member(selection, int(found[0]), float(far[0])) if found[0] >= 0 else None
    return Explanation(
        id=itself.id,
        class_name=itself.class_name,
        kept=itself.kept,
        group=int(selection.group[position]),
        representative=None if representative < 0 else selection.given_id(representative),
        dissimilarity=itself.dissimilarity,
        diameter=float(selection.group_diameter[position]),
        members=tuple(_member(selection, int(m), float(selection.dissimilarity[m])) for m in members),
        cut_height=selection.class_cut(position).height,
        within_all=selection.settings["within"] == "all",
        outside=outside,
        strategy=selection.strategy,
        locked=itself.locked,
        rule=str(selection.settings.get("representative", Rule.CENTRE)),
    )


def _member(selection: SelectionArrays, position: int, dissimilarity: float) -> GroupMember:
    return GroupMember(
        selection.given_id(position),
        dissimilarity,
        selection.class_name(position),
        bool(selection.kept_by_id[position]),
        selection.locked is not None and bool(selection.locked[position]),
    )
