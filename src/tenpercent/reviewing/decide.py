"""Decisions made on the page: writing them, their list, and what they change of a cut."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ..data.store.embeddings import Ints
from ..decisions.log import ConflictError, Decision, ImageName, Kind
from ..decisions.meaning import places
from ..errors import counted
from ..tree.cut import Cut, Hold
from .groups import CutGroups
from .listing import fitting, group_views, with_missing
from .requests import DecisionRequest, RequestError
from .session import RunSession
from .state import RunState
from .views import checked_position, decision_view, image_name, with_representative

MOST_NAMED = 12  # images of each sort that a change names


def decide(session: RunSession, asked: DecisionRequest) -> dict[str, Any]:
    """Store a decision.

    Args:
        session: the run.
        asked: kind, images (positions), note, seen, origin and the cut.

    Raises:
        RequestError: positions of other embeddings, images that do not exist, a contrary decision made by somebody
            meanwhile, or decisions that can't be read.
        UsageError: too few or too many images for the kind, or one twice.
    """
    state = before = session.state
    check_writable(state)
    if asked.origin != state.embeddings.origin:
        raise RequestError(
            409,
            "the run was embedded again; load the page again, then decide",
            origin=state.embeddings.origin,
        )
    kind, positions = asked.kind, [checked_position(state, position) for position in asked.images]
    if kind is Kind.PREFER:
        _check_one_a_group(state, _cut(state, asked), positions)
    names = [image_of(state, position) for position in positions]
    try:
        decision = session.log.add(kind, names, asked.note or "", asked.seen)
    except ConflictError as error:
        session.refresh()
        theirs = decision_view(session.state, error.decision)
        raise RequestError(409, str(error), conflict=theirs, version=error.version) from None
    session.refresh()
    state = session.state
    answer = {"version": state.version, "decision": decision_view(state, decision)}
    cut = after = _cut(state, asked)
    if not state.covers(cut):  # the decision has pushed it beyond the tree: then the height is held
        after = replace(cut, hold=Hold.HEIGHT)
    if (asked.keep is None and asked.threshold is None) or not state.covers(after):
        return answer
    groups = state.groups(after)
    if before.covers(cut):
        answer["change"] = change_view(state, before.groups(cut), groups, positions)
    group = group_views(state, groups, groups.of(np.asarray(positions[:1])))[0]
    return {**answer, "group": {**group, "members": with_missing(state, group["members"])}}


def _cut(state: RunState, asked: DecisionRequest) -> Cut:
    return state.checked(asked.keep, asked.threshold, asked.hold)


def _check_one_a_group(state: RunState, cut: Cut, positions: list[int]) -> None:
    """Refuse two images to keep in one group of a cut.

    Raises:
        RequestError: two of the images share a group.
    """
    if len(set(positions)) < len(positions) or not state.covers(cut):
        return
    groups = state.groups(cut)
    of = groups.of(np.asarray(positions))
    seen: dict[int, int] = {}
    for position, group in zip(positions, of.tolist(), strict=True):
        if group in seen:
            ids, size = state.embeddings.ids, int(groups.size(np.asarray([group]))[0])
            raise RequestError(
                400,
                f"{ids[seen[group]]} and {ids[position]} are in one group of "
                f"{counted(size, state.run.source.noun)}, and a group has one representative; leave one of the two out",
            )
        seen[group] = position


def undo(session: RunSession, number: int | None) -> dict[str, Any]:
    """Undo a decision, the last one where none is named."""
    check_writable(session.state)
    return _told(session, session.log.undo(number))


def redo(session: RunSession) -> dict[str, Any]:
    """Redo the decision that was undone last."""
    check_writable(session.state)
    return _told(session, session.log.redo())


def history(session: RunSession, limit: int) -> dict[str, Any]:
    """Return the last decisions, the newest first, with the undone ones."""
    state = session.state
    known = () if state.damaged else session.log.history()
    place = places(known[-limit:], state.embeddings)
    shown = [decision_view(state, decision, place) for decision in reversed(known[-limit:])]
    lengths = [len(view["note"]) + sum(len(image["id"]) for image in view["images"]) for view in shown]
    return {
        "version": state.version,
        "decisions": shown[: fitting(lengths, 500_000)],
        "total": len(known),
        "undo": state.undo,
        "redo": state.redo,
        "error": state.damaged or None,
    }


def image_of(state: RunState, position: int) -> ImageName:
    """Return the name of an image in a decision: its id, and the hash of its content where known."""
    hashes = state.embeddings.hashes
    return ImageName(str(state.embeddings.ids[position]), None if hashes is None else str(hashes[position]))


def check_writable(state: RunState) -> None:
    """Refuse to decide while the earlier decisions can't be read.

    Raises:
        RequestError: they can't.
    """
    if state.damaged:
        raise RequestError(409, state.damaged)


def _told(session: RunSession, decision: Decision | None) -> dict[str, Any]:
    session.refresh()
    state = session.state
    shown = None if decision is None else decision_view(state, decision, places([decision], state.embeddings))
    return {"version": state.version, "decision": shown, "undo": state.undo, "redo": state.redo}


# ---- what a decision changes --------------------------------------------------------------------------------------


def change_view(
    state: RunState, before: CutGroups, after: CutGroups, decided: Sequence[int] | Ints
) -> dict[str, Any]:
    """Return the images that become kept or removed from one cut to another.

    Args:
        state: the run after the change.
        before, after: the cuts, of the same images.
        decided: the images that decisions in between name; those that they remove are not removed in place of another.
    """
    gone, left = _removed(before, after, np.asarray(decided, dtype=np.int64))
    back = np.setdiff1d(gone, left)
    instead = np.setdiff1d(left, np.union1d(gone, state.merges.constraints.remove))
    return {
        "back": [image_name(state, int(p)) for p in back[:MOST_NAMED]],
        "n_back": len(back),
        "instead": _with_representatives(state, after, instead[:MOST_NAMED]),
        "n_instead": len(instead),
    }


def refill_view(state: RunState, cut: Cut) -> dict[str, Any]:
    """Return what all decisions change of a cut, and as ``further`` what more goes where they hold the count.

    ``further`` is null for a threshold, and where the tree is not deep enough.

    Raises:
        RequestError: the tree is not deep enough for the cut.
    """
    found = change_view(state, state.undecided(cut), state.groups(cut), state.touched)
    low, full = (replace(cut, hold=hold) for hold in (Hold.HEIGHT, Hold.COUNT))
    further = None
    if cut.keep is not None and state.covers(low) and state.covers(full):
        further = change_view(state, state.groups(low), state.groups(full), [])
    return {**found, "further": further, "version": state.version}


def _removed(before: CutGroups, after: CutGroups, seeds: Ints) -> tuple[Ints, Ints]:
    """Return the images removed in each of two cuts, among those whose group differs."""
    n = before.forest.n
    one, other = (g.forest.a[g.taken] * n + g.forest.b[g.taken] for g in (before, after))
    differing = np.setxor1d(one, other)
    found = np.unique(np.concatenate([differing // n, differing % n, seeds]))
    size = -1
    while len(found) != size:
        size = len(found)
        for groups in (before, after):
            found = np.union1d(found, groups.members(np.unique(groups.of(found)))[0])
    return _gone(before, found), _gone(after, found)


def _gone(groups: CutGroups, positions: Ints) -> Ints:
    if not len(positions):
        return positions
    standing = groups.with_representatives(np.unique(groups.of(positions)))
    return np.sort(standing.members[~standing.kept])


def _with_representatives(state: RunState, groups: CutGroups, positions: Ints) -> list[dict[str, Any]]:
    """Return removed images, each with its representative."""
    found = []
    for position in positions.tolist():
        standing = groups.with_representatives(groups.of(np.asarray([position])))
        d = float(standing.dissimilarity[standing.members == position][0])
        found.append(with_representative(state, position, int(standing.representative[0]), d))
    return with_missing(state, found)
