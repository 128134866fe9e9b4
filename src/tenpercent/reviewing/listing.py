"""Lists as JSON, a page at a time: groups with their first members, and the removed images."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from ..data.store.embeddings import Ints
from ..decisions.log import Kind
from ..selection.selection import Selection
from ..tree.cut import Cut
from .groups import CutGroups, GroupFilter
from .requests import MOST_IMAGES, GroupsRequest, RequestError
from .state import RunState
from .views import checked_position, with_representative

if TYPE_CHECKING:
    from ..tree.partition import GroupMembers

SHOWN = 16  # members of a group in a list of groups
BYTES = 700_000  # of an answer, without JSON's own syntax


def groups_view(state: RunState, cut: Cut, asked: GroupsRequest) -> dict[str, Any]:
    """Return a page of the list of groups: the one asked for, or the one with the group of an image.

    Raises:
        RequestError: no class has that name or code, there is no such image, or the tree is not deep enough.
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
    state: RunState, cut: Cut, wanted: GroupFilter, text: str, page: tuple[int, int]
) -> tuple[int, list[dict[str, Any]]]:
    """Return the number of groups listed, and those of a page."""
    groups = state.groups(cut)
    listed = _listed(state, groups, wanted, text)
    return len(listed), group_views(state, groups, listed[page[0] : sum(page)])


def _listed(state: RunState, groups: CutGroups, wanted: GroupFilter, text: str) -> Ints:
    return groups.listed(wanted, state.matching(text) if text else None)


def with_missing(state: RunState, members: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return members marked where their images are missing, which is looked up each time."""
    if state.originals.source is None:
        return [{**member, "missing": False} for member in members]
    return [{**member, "missing": state.originals.missing(member["p"]) is not None} for member in members]


def group_views(state: RunState, groups: CutGroups, asked: Ints) -> list[dict[str, Any]]:
    """Return groups with their first members; fewer than asked where ids are so long that the answer would be large."""
    if not len(asked):
        return []
    standing = groups.with_representatives(asked)
    views = about_groups(state, groups, asked, standing)
    for number, view in enumerate(views):
        begin, end = standing.starts[number : number + 2].tolist()
        view["members"] = members_view(state, standing, number, slice(begin, min(end, begin + SHOWN)))
    lengths = [sum(len(member["id"]) for member in view["members"]) for view in views]
    return views[: fitting(lengths, BYTES // 2)]


def fitting(lengths: list[int], most: int = BYTES) -> int:
    """Return how many of the first texts fit into an answer, at least one."""
    return max(1, int(np.searchsorted(np.cumsum(lengths), most, side="right")))


def about_groups(
    state: RunState, groups: CutGroups, asked: Ints, standing: GroupMembers
) -> list[dict[str, Any]]:
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


def members_view(
    state: RunState, standing: GroupMembers, number: int, entries: slice
) -> list[dict[str, Any]]:
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


def _filter(state: RunState, asked: GroupsRequest) -> GroupFilter:
    code = _code(state, asked.class_)
    return GroupFilter(asked.order, code, asked.min_size, asked.max_size, asked.decided)


def _code(state: RunState, name: str | None) -> int | None:
    """Return the code of a class given by its code, or by its name where that is not a code.

    Raises:
        RequestError: no class has that name or code.
    """
    if not name:
        return None
    names = state.embeddings.class_names
    if name.isdecimal() and len(name) < 9 and int(name) < len(names):
        return int(name)
    if name in names:
        return names.index(name)
    raise RequestError(400, f"class is {name[:60]!r}; give one of the {len(names):,} classes' codes")


def removed_view(state: RunState, selection: Selection, page: tuple[int, int]) -> dict[str, Any]:
    """Return a page of the removed images.

    Args:
        state: the run.
        selection: the whole cut.
        page: offset and number of images.
    """
    offset, limit = page
    gone = np.flatnonzero(~selection.kept_by_id)
    d = selection.dissimilarity[gone]
    order = np.lexsort((gone, -np.where(np.isnan(d), np.inf, d)))  # those without a representative first
    shown = gone[order[offset : offset + limit]]
    images = [
        with_representative(state, p, int(selection.representative[p]), float(selection.dissimilarity[p]))
        for p in shown.tolist()
    ]
    return {
        "total": len(gone),
        "offset": offset,
        "images": with_missing(state, images),
        "version": state.version,
    }
