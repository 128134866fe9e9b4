"""Views of one image and of one group, as JSON: the file, the representative, the neighbours, the tree."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..data.decoding.decode import Unreadable, measures
from ..data.sources.source import Raw, content_hash
from ..data.store.embeddings import Ints
from ..selection.dendrogram import group_linkage
from ..tree.cut import Cut
from .listing import about_groups, distance, members_view, role, with_missing
from .pictures import MissingImageError
from .state import RunState
from .views import checked_position, decision_view, image_name

MOST_LEAVES = 200  # of a group whose tree is drawn


def image_view(state: RunState, cut: Cut, position: int) -> dict[str, Any]:
    """Return an image with its place in its group, and the decisions about it."""
    position = checked_position(state, position)
    groups, embeddings = state.groups(cut), state.embeddings
    group = groups.of(np.asarray([position]))
    standing = groups.with_representatives(group)
    entry = int(np.flatnonzero(standing.members == position)[0])
    representative = int(standing.representative[0])
    path = None if embeddings.paths is None else embeddings.paths[position]
    about = [d for d in state.decisions if any(state.place.get(image) == position for image in d.images)]
    return {
        **image_name(state, position),
        "path": None if path is None else str(path),
        "row": int(embeddings.rows[position]),
        **_file(state, position),
        "role": role(bool(standing.kept[entry]), position == representative),
        "d": distance(float(standing.dissimilarity[entry]), representative),
        "representative": None if representative < 0 else representative,
        "group": about_groups(state, groups, group, standing)[0],
        "nearest_outside": _outside(state, standing.members, position),
        "marks": list(state.marks.get(position, ())),
        "decisions": [decision_view(state, decision) for decision in about[-100:]],
        "version": state.version,
    }


def group_detail(state: RunState, cut: Cut, key: int, page: tuple[int, int]) -> dict[str, Any]:
    """Return the group that holds an image, with a page of its members and its tree.

    Args:
        state: the run.
        cut: the cut.
        key: a position in the group.
        page: offset and number of members.
    """
    key = checked_position(state, key)
    groups = state.groups(cut)
    group = groups.of(np.asarray([key]))
    standing = groups.with_representatives(group)
    offset, limit = page
    entries = slice(offset, offset + limit)
    return {
        **about_groups(state, groups, group, standing)[0],
        "offset": offset,
        "members": with_missing(state, members_view(state, standing, 0, entries)),
        "height_next": groups.next_height(int(group[0])),
        "dendrogram": _tree(state, standing.members),
        "version": state.version,
    }


def _outside(state: RunState, members: Ints, position: int) -> dict[str, Any] | None:
    found = state.nearby.outside(members, position)
    return None if found is None else image_name(state, found[0]) | {"d": found[1]}


def _tree(state: RunState, members: Ints) -> dict[str, Any] | None:
    """Return the merges of a group as brackets over its images side by side; None where they are one or too many.

    A bracket [x1, x2, h1, h2, height] joins the branch at x1, which ends at height h1, with that at x2.
    """
    if not 2 <= len(members) <= MOST_LEAVES:
        return None
    positions = np.sort(members)
    Z, _ = group_linkage(state.merges, state.embeddings.ids[positions].tolist())
    k = len(positions)
    pairs, heights = Z[:, :2].astype(np.int64).tolist(), Z[:, 2].tolist()
    order: list[int] = []
    waiting = [2 * k - 2]
    while waiting:
        node = waiting.pop()
        if node < k:
            order.append(node)
        else:
            waiting.extend(reversed(pairs[node - k]))
    at = dict(zip(order, map(float, range(k)), strict=True))
    brackets = []
    for step, ((one, other), height) in enumerate(zip(pairs, heights, strict=True)):
        low, high = (0.0 if node < k else heights[node - k] for node in (one, other))
        brackets.append([at[one], at[other], low, high, height])
        at[k + step] = (at[one] + at[other]) / 2
    return {"order": positions[order].tolist(), "merges": brackets}


def _file(state: RunState, position: int) -> dict[str, Any]:
    """Return size and format of an image's file, or the reason why it can't be read."""
    found: dict[str, Any] = {"width": None, "height": None, "bytes": None, "format": None}
    if state.originals.source is None:
        return {**found, "missing": None, "changed": False}
    try:
        raw = state.originals.read(position)
        width, height, form = measures(raw, state.originals.source.decoding)
        return {
            "width": width,
            "height": height,
            "bytes": len(raw) if isinstance(raw, bytes) else None,
            "format": form,
            "missing": None,
            "changed": _has_changed(state, position, raw),
        }
    except (MissingImageError, Unreadable) as error:
        return {**found, "missing": str(error), "changed": False}
    except OSError as error:
        return {**found, "missing": f"the image can't be read ({error.strerror or error})", "changed": False}


def _has_changed(state: RunState, position: int, raw: Raw) -> bool:
    """Return whether an image's file is not the one that was embedded."""
    if state.embeddings.hashes is None:
        return False
    return content_hash(raw) != str(state.embeddings.hashes[position])
