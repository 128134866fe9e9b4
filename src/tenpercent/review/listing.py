"""The list of groups as JSON: a page of it, each group with its first members."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..decisions.log import Kind
from ..select.cut import CheckedCut
from ..store.embeddings import Ints
from .asked import MOST_IMAGES, Asked, RefusedError
from .groups import Decided, Filter, Groups, Order
from .state import State
from .views import image_name

if TYPE_CHECKING:
    from ..select.partition import Standing

SHOWN = 16  # members of a group in a list of groups
BYTES = 700_000  # of an answer, before JSON's own signs


def groups_view(
    state: State, cut: CheckedCut, wanted: Filter, text: str, around: int | None, page: tuple[int, int]
) -> dict[str, Any]:
    """Return a page of the list of groups.

    Args:
        state: the run.
        cut: where it is cut.
        wanted: order and filter.
        text: what the id of an image of each group holds, "" for anything.
        around: the position whose group the page is to hold; None for the page as asked.
        page: the offset, and how many groups.
    """
    offset, limit = page
    found = True
    if around is not None:
        groups = state.groups(cut)
        at = np.flatnonzero(_listed(state, groups, wanted, text) == groups.of(np.asarray([around])))
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
    return answer if around is None else {**answer, "found": found}


def _groups_page(
    state: State, cut: CheckedCut, wanted: Filter, text: str, page: tuple[int, int]
) -> tuple[int, list[dict[str, Any]]]:
    """Return how many groups are listed, and those of a page."""
    groups = state.groups(cut)
    listed = _listed(state, groups, wanted, text)
    return len(listed), group_views(state, groups, listed[page[0] : sum(page)])


def _listed(state: State, groups: Groups, wanted: Filter, text: str) -> Ints:
    return groups.listed(wanted, state.matching(text) if text else None)


def with_missing(state: State, members: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return members with whether their images are gone, which is looked up each time."""
    if state.originals.source is None:
        return [{**member, "missing": False} for member in members]
    return [{**member, "missing": state.originals.missing(member["p"]) is not None} for member in members]


def group_views(state: State, groups: Groups, asked: Ints) -> list[dict[str, Any]]:
    """Return groups with their first members; fewer than asked where ids are so long that the answer would be large."""
    if not len(asked):
        return []
    standing = groups.standing(asked)
    views: list[dict[str, Any]] = []
    spent = 0
    for number, group in enumerate(asked.tolist()):
        part = slice(int(standing.starts[number]), int(standing.starts[number + 1]))
        view = group_view(state, groups, group, standing, number)
        view["members"] = members_view(state, standing, number, range(part.start, part.stop)[:SHOWN])
        spent += sum(len(member["id"]) for member in view["members"])
        if views and spent > BYTES // 2:
            break
        views.append(view)
    return views


def group_view(state: State, groups: Groups, group: int, standing: Standing, number: int) -> dict[str, Any]:
    """Return what is said of a group without its members; it is the `number`-th of those in `standing`."""
    part = slice(int(standing.starts[number]), int(standing.starts[number + 1]))
    representative, size = int(standing.representative[number]), part.stop - part.start
    one = np.asarray([group])
    decided = bool(np.isin(group, groups.decided))
    seen = 0
    if decided:
        seen = sum(str(Kind.ACCEPT) in state.marks.get(p, ()) for p in standing.members[part].tolist())
    return {
        "key": int(groups.first(one)[0]),
        "size": size,
        "diameter": float(groups.diameter(one)[0]),
        "class_name": state.class_of(int(groups.first(one)[0])),
        "conflict": bool(groups.conflict(one)[0]),
        "decided": decided,
        "accepted": 0 < min(size, MOST_IMAGES) <= seen,
        "representative": None if representative < 0 else representative,
        "kept": int(standing.kept[part].sum()),
    }


def members_view(
    state: State, standing: Standing, number: int, entries: Sequence[int]
) -> list[dict[str, Any]]:
    """Return members of the `number`-th group in `standing`, as far as one answer holds."""
    representative = int(standing.representative[number])
    found: list[dict[str, Any]] = []
    spent = 0
    for entry in entries:
        position = int(standing.members[entry])
        view = image_name(state, position) | {
            "role": role(bool(standing.kept[entry]), position == representative),
            "d": distance(float(standing.dissimilarity[entry]), representative),
            "marks": list(state.marks.get(position, ())),
        }
        spent += len(view["id"])
        if found and spent > BYTES:
            break
        found.append(view)
    return found


def role(kept: bool, stands: bool) -> str:
    """Return what becomes of an image, in a word or two."""
    if not kept:
        return "removed"
    return "kept" if stands else "kept too"


def distance(dissimilarity: float, representative: int) -> float | None:
    """Return a dissimilarity to the keeper, None where there is no keeper."""
    return dissimilarity if representative >= 0 and math.isfinite(dissimilarity) else None


def checked_filter(state: State, asked: Asked) -> Filter:
    """Return the filter that a request names.

    Raises:
        RefusedError: no class has that name or code.
    """
    return Filter(
        order=Order(asked["order"]),
        code=_code(state, asked["class"]),
        smallest=asked["min_size"],
        largest=asked["max_size"],
        decided=Decided(asked["decided"]),
    )


def _code(state: State, name: str | None) -> int | None:
    """Return the code of a class given by its code, or by its name where that is no code."""
    if not name:
        return None
    names = state.embeddings.class_names
    if name.isdecimal() and len(name) < 9 and int(name) < len(names):
        return int(name)
    if name in names:
        return names.index(name)
    raise RefusedError(400, f"class is {name[:60]!r}; give one of the {len(names):,} classes' codes")
