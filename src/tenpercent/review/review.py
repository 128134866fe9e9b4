"""All that one server holds, and what it does for each call: a function a call, of checked values."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import TenpercentError
from ..select.cut import CheckedCut, Hold
from .asked import Asked, RefusedError
from .decide import bring_back, decide, history, take_back
from .events import Hub
from .groups import Filter
from .images import group_detail, image_view
from .instead import refill_view
from .listing import checked_filter, groups_view
from .maps import Map, labels
from .pictures import Pictures
from .removed import removed_view
from .runs import Runs
from .session import Session
from .state import State
from .views import checked_position, cut_view, run_view, search_view


@dataclass(frozen=True, eq=False)
class Review:
    """One run folder with what serves it."""

    session: Session
    pictures: Pictures
    hub: Hub
    map: Map
    runs: Runs

    @classmethod
    def of(cls, path: Path) -> Review:
        """Open a run folder.

        Raises:
            TenpercentError: it can't be looked at.
        """
        session, hub = Session(path), Hub()
        pictures = Pictures(session.run.path / "review" / "pictures")
        return cls(session, pictures, hub, Map(session, hub), Runs(session, hub))

    def warm(self) -> None:
        """Make what the first look needs, so that it does not wait for what is compiled on first use."""
        with suppress(TenpercentError):  # whoever looks is told
            state = self.session.state
            cut = state.checked(max(state.how.keep, state.deepest_held), None, Hold.HEIGHT)
            groups_view(state, cut, Filter(), "", None, (0, 1))

    def cut_of(self, asked: Asked) -> tuple[State, CheckedCut]:
        """Return the run as it is now with the cut that a request names."""
        state = self.session.state
        return state, state.checked(asked["keep"], asked["threshold"], asked["hold"])


# ---- looking -------------------------------------------------------------------------------------------------------


def get_run(review: Review, _: Asked) -> dict[str, Any]:
    return run_view(review.session.state)


def get_cut(review: Review, asked: Asked) -> dict[str, Any]:
    return cut_view(*review.cut_of(asked))


def get_groups(review: Review, asked: Asked) -> dict[str, Any]:
    state, cut = review.cut_of(asked)
    around = None if asked["around"] is None else checked_position(state, asked["around"])
    page = (asked["offset"], asked["limit"])
    return groups_view(state, cut, checked_filter(state, asked), asked["text"], around, page)


def get_group(review: Review, asked: Asked) -> dict[str, Any]:
    state, cut = review.cut_of(asked)
    key = checked_position(state, asked["key"])
    return group_detail(state, cut, key, (asked["offset"], asked["limit"]))


def get_image(review: Review, asked: Asked) -> dict[str, Any]:
    state, cut = review.cut_of(asked)
    return image_view(state, cut, checked_position(state, asked["p"]))


def get_search(review: Review, asked: Asked) -> dict[str, Any]:
    return search_view(review.session.state, asked["text"], asked["limit"])


def get_removed(review: Review, asked: Asked) -> dict[str, Any]:
    state, cut = review.cut_of(asked)
    return removed_view(state, review.runs.selection(state, cut), (asked["offset"], asked["limit"]))


def get_refill(review: Review, asked: Asked) -> dict[str, Any]:
    return refill_view(review.session.state, asked["keep"])


def get_kept(review: Review, asked: Asked) -> bytes:
    return review.runs.kept(*review.cut_of(asked))


def get_labels(review: Review, asked: Asked) -> bytes:
    return labels(review.session.state, asked["offset"], asked["limit"])


# ---- deciding ------------------------------------------------------------------------------------------------------


def get_decisions(review: Review, asked: Asked) -> dict[str, Any]:
    return history(review.session, asked["limit"])


def post_decision(review: Review, asked: Asked) -> dict[str, Any]:
    return _published(review, decide(review.session, asked))


def post_undo(review: Review, asked: Asked) -> dict[str, Any]:
    return _published(review, take_back(review.session, asked["number"]))


def post_redo(review: Review, _: Asked) -> dict[str, Any]:
    return _published(review, bring_back(review.session))


def _published(review: Review, answer: dict[str, Any]) -> dict[str, Any]:
    review.hub.publish("decisions", {"version": answer["version"]})
    return answer


# ---- the map and the stages ----------------------------------------------------------------------------------------


def get_map(review: Review, _: Asked) -> dict[str, Any]:
    return review.map.view()


def post_map(review: Review, _: Asked) -> dict[str, Any]:
    return review.map.start()


def get_map_points(review: Review, asked: Asked) -> bytes:
    return review.map.points(asked["offset"], asked["limit"])


def get_deepen(review: Review, _: Asked) -> dict[str, Any]:
    return review.runs.view()


def post_deepen(review: Review, asked: Asked) -> dict[str, Any]:
    return review.runs.deepen(_named_cut(review, asked))


def post_select(review: Review, asked: Asked) -> dict[str, Any]:
    return review.runs.select(_named_cut(review, asked))


def _named_cut(review: Review, asked: Asked) -> CheckedCut:
    if asked["keep"] is None and asked["threshold"] is None:
        raise RefusedError(400, "keep is missing; give keep, a number from 0 to 1, or threshold")
    return review.cut_of(asked)[1]


def check_room(review: Review) -> None:
    """Refuse one more page that listens, where there are very many.

    Raises:
        RefusedError: there are.
    """
    if review.hub.full:
        raise RefusedError(429, f"{len(review.hub):,} pages listen already; close some")
