"""Decisions made on the page: writing them, and the view of them."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..decisions.log import ConflictError, Decision, ImageName, Kind
from ..decisions.meaning import places
from ..tree.cut import Cut
from .instead import change_view
from .listing import fitting, group_views, with_missing
from .requests import DecisionRequest, RefusedError
from .session import Session
from .state import State
from .views import checked_position, decision_view


def decide(session: Session, asked: DecisionRequest) -> dict[str, Any]:
    """Store a decision.

    Args:
        session: the run.
        asked: kind, images (positions), note, seen, origin and the cut.

    Raises:
        RefusedError: positions of other embeddings, images that do not exist, a contrary decision made by somebody
            meanwhile, or decisions that can't be read.
        UsageError: too few or too many images for the kind, or one twice.
    """
    state = before = session.state
    check_writable(state)
    if asked.origin != state.embeddings.origin:
        raise RefusedError(
            409, "the run was embedded anew; load the page again, then decide", origin=state.embeddings.origin
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
        raise RefusedError(409, str(error), conflict=theirs, version=error.version) from None
    session.refresh()
    state = session.state
    answer = {"version": state.version, "decision": decision_view(state, decision)}
    cut = _cut(state, asked)
    if (asked.keep is None and asked.threshold is None) or not state.covers(cut):
        return answer
    if before.covers(cut):
        answer["change"] = change_view(state, before.groups(cut), state.groups(cut), positions)
    groups = state.groups(cut)
    group = group_views(state, groups, groups.of(np.asarray(positions[:1])))[0]
    return {**answer, "group": {**group, "members": with_missing(state, group["members"])}}


def _cut(state: State, asked: DecisionRequest) -> Cut:
    return state.checked(asked.keep, asked.threshold, asked.hold)


def _check_one_a_group(state: State, cut: Cut, positions: list[int]) -> None:
    """Refuse two images to keep in one group of a cut.

    Raises:
        RefusedError: two of the images share a group.
    """
    if len(set(positions)) < len(positions) or not state.covers(cut):
        return
    groups = state.groups(cut)
    of = groups.of(np.asarray(positions))
    seen: dict[int, int] = {}
    for position, group in zip(positions, of.tolist(), strict=True):
        if group in seen:
            ids, size = state.embeddings.ids, int(groups.size(np.asarray([group]))[0])
            raise RefusedError(
                400,
                f"{ids[seen[group]]} and {ids[position]} are in one group of {size:,} images, and a group has one "
                "keeper; leave one of the two out",
            )
        seen[group] = position


def take_back(session: Session, number: int | None) -> dict[str, Any]:
    """Undo a decision, the last one where none is named."""
    check_writable(session.state)
    return _told(session, session.log.undo(number))


def bring_back(session: Session) -> dict[str, Any]:
    """Redo the decision that was undone last."""
    check_writable(session.state)
    return _told(session, session.log.redo())


def history(session: Session, limit: int) -> dict[str, Any]:
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


def image_of(state: State, position: int) -> ImageName:
    """Return the name of an image in a decision: its id, and the hash of its content where known."""
    hashes = state.embeddings.hashes
    return ImageName(str(state.embeddings.ids[position]), None if hashes is None else str(hashes[position]))


def check_writable(state: State) -> None:
    """Refuse to decide while the earlier decisions can't be read.

    Raises:
        RefusedError: they can't.
    """
    if state.damaged:
        raise RefusedError(409, state.damaged)


def _told(session: Session, decision: Decision | None) -> dict[str, Any]:
    session.refresh()
    state = session.state
    shown = None if decision is None else decision_view(state, decision, places([decision], state.embeddings))
    return {"version": state.version, "decision": shown, "undo": state.undo, "redo": state.redo}
