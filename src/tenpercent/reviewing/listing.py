"""List of groups as JSON: a page of it, each group with its first members."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from ..data.store.embeddings import Ints
from ..decisions.log import Kind
from ..tree.cut import Cut
from .groups import Filter, Groups
from .requests import MOST_IMAGES, GroupsRequest, RefusedError
from .state import State
from .views import checked_position

if TYPE_CHECKING:
    from ..tree.partition import GroupMembers

SHOWN = 16  # members of a group in a list of groups
BYTES = 700_000  # of an answer, without JSON's own syntax


def groups_view(state: State, cut: Cut, asked: GroupsRequest) -> dict[str, Any]:
    """Return a page of the list of groups: the one asked for, or the one with the group of an image.

    Raises:
        RefusedError: no class has that name or code, there is no such image, or the tree is not deep enough.
    """
    wanted, text, offset, limit = _filter(state, asked), asked.text, asked.offset, asked.limit
    found = True
    if asked.around is not None:
        groups, around = state.groups(cut), np.asarray([checked_position(state, asked.around)])
        at = np.flatnonzero(_listed(state, groups, wanted, text) == groups.of(around))
        found = bool(len(at))
        offset = int(at[0]) // limit * limit if found else offset
    key = ("groups", cut, wanted, text, offset, limit)
    total, shown = state.answers.get(key, lambda: _groups_page(state, cut, wanted, text, (offset, limit)))
    answer = {
        "total": total,
        "offset": offset,
        "groups": [{**group, "members": with_missing(state, group["members"])} for group in shown],
        "version": state.version,
    }
    return answer if asked.around is None else {**answer, "found": found}


def _groups_page(
    state: State, cut: Cut, wanted: Filter, text: str, page: tuple[int, int]
) -> tuple[int, list[dict[str, Any]]]:
    """Return the number of groups listed, and those of a page."""
    groups = state.groups(cut)
    listed = _listed(state, groups, wanted, text)
    return len(listed), group_views(state, groups, listed[page[0] : sum(page)])


def _listed(state: State, groups: Groups, wanted: Filter, text: str) -> Ints:
    return groups.listed(wanted, state.matching(text) if text else None)


def with_missing(state: State, members: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return members marked where their images are missing, which is looked up each time."""
    if state.originals.source is None:
        return [{**member, "missing": False} for member in members]
    return [{**member, "missing": state.originals.missing(member["p"]) is not None} for member in members]


def group_views(state: State, groups: Groups, asked: Ints) -> list[dict[str, Any]]:
    """Return groups with their first members; fewer than asked where ids are so long that the answer would be large."""
    if not len(asked):
        return []
    standing = groups.standing(asked)
    views = about_groups(state, groups, asked, standing)
    for number, view in enumerate(views):
        begin, end = standing.starts[number : number + 2].tolist()
        view["members"] = members_view(state, standing, number, slice(begin, min(end, begin + SHOWN)))
    lengths = [sum(len(member["id"]) for member in view["members"]) for view in views]
    return views[: fitting(lengths, BYTES // 2)]


def fitting(lengths: list[int], most: int = BYTES) -> int:
    """Return how many of the first texts fit into an answer, at least one."""
    return max(1, int(np.searchsorted(np.cumsum(lengths), most, side="right")))


def about_groups(state: State, groups: Groups, asked: Ints, standing: GroupMembers) -> list[dict[str, Any]]:
    """Return the data on groups without their members."""
    first = groups.first(asked)
    columns = {
        "key": first.tolist(),
        "size": groups.size(asked).tolist(),
        "diameter": groups.diameter(asked).tolist(),
        "class_name": state.class_names(first),
        "conflict": groups.conflict(asked).tolist(),
        "decided": np.isin(asked, groups.decided).tolist(),
        "representative": [None if p < 0 else p for p in standing.representative.tolist()],
        "kept": np.add.reduceat(standing.kept, standing.starts[:-1], dtype=np.int64).tolist(),
    }
    views = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    for number, view in enumerate(views):
        seen = 0
        if view["decided"]:
            own = standing.members[standing.starts[number] : standing.starts[number + 1]].tolist()
            seen = sum(str(Kind.ACCEPT) in state.marks.get(p, ()) for p in own)
        view["accepted"] = 0 < min(view["size"], MOST_IMAGES) <= seen
    return views


def members_view(state: State, standing: GroupMembers, number: int, entries: slice) -> list[dict[str, Any]]:
    """Return members of the `number`-th group in `standing`, as far as they fit into an answer."""
    representative, names = int(standing.representative[number]), state.embeddings.ids
    fit = fitting([len(name) for name in names[standing.members[entries]].tolist()])
    positions = standing.members[entries][:fit]
    rows = zip(
        positions.tolist(),
        names[positions].tolist(),
        state.class_names(positions),
        standing.kept[entries].tolist(),
        standing.dissimilarity[entries].tolist(),
        strict=False,
    )
    return [
        {
            "p": position,
            "id": name,
            "class_name": class_name,
            "role": role(kept, position == representative),
            "d": distance(d, representative),
            "marks": list(state.marks.get(position, ())),
        }
        for position, name, class_name, kept, d in rows
    ]


def role(kept: bool, stands: bool) -> str:
    """Return the role of an image, in a word or two."""
    if not kept:
        return "removed"
    return "kept" if stands else "kept too"


def distance(dissimilarity: float, representative: int) -> float | None:
    """Return a dissimilarity to the representative, None where there is none."""
    return dissimilarity if representative >= 0 and math.isfinite(dissimilarity) else None


def _filter(state: State, asked: GroupsRequest) -> Filter:
    code = _code(state, asked.class_)
    return Filter(asked.order, code, asked.min_size, asked.max_size, asked.decided)


def _code(state: State, name: str | None) -> int | None:
    """Return the code of a class given by its code, or by its name where that is no code.

    Raises:
        RefusedError: no class has that name or code.
    """
    if not name:
        return None
    names = state.embeddings.class_names
    if name.isdecimal() and len(name) < 9 and int(name) < len(names):
        return int(name)
    if name in names:
        return names.index(name)
    raise RefusedError(400, f"class is {name[:60]!r}; give one of the {len(names):,} classes' codes")
