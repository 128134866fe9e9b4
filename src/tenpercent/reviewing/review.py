"""Everything that one server holds of a run folder."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from starlette.responses import Response

from ..data.decoding.decode import Unreadable
from ..errors import TenpercentError
from ..selection.selection import Selection
from ..tree.cut import Cut, Hold
from .events import Hub
from .listing import groups_view
from .maps import Map
from .originals import GoneError
from .pictures import SIDES, Pictures
from .requests import CutRequest, GroupsRequest, PictureRequest, RefusedError
from .runs import Runs
from .session import Session
from .state import State
from .views import checked_position

FRESH = 60  # seconds that a browser shows a picture without asking whether its file still exists


@dataclass(frozen=True, eq=False)
class Review:
    """One run folder with all parts that serve it."""

    session: Session
    pictures: Pictures
    hub: Hub
    map: Map
    runs: Runs

    @classmethod
    def of(cls, path: Path) -> Review:
        """Open a run folder.

        Raises:
            TenpercentError: it can't be opened.
        """
        session, hub = Session(path), Hub()
        pictures = Pictures(session.run.path / "review" / "pictures")
        return cls(session, pictures, hub, Map(session, hub), Runs(session, hub))

    def warm(self) -> None:
        """Prepare the first view, so that it does not wait for compilation."""
        with suppress(TenpercentError):  # the view reports it
            state = self.state
            cut = state.checked(max(state.how.keep, state.deepest_held), None, Hold.HEIGHT)
            groups_view(state, cut, GroupsRequest.model_validate({"limit": 1}))

    @property
    def state(self) -> State:
        """Current state of the run."""
        return self.session.state

    def cut(self, asked: CutRequest) -> tuple[State, Cut]:
        """Return the current state with the cut that a request names, the run's own where it names none."""
        state = self.state
        return state, state.checked(asked.keep, asked.threshold, asked.hold)

    def named_cut(self, asked: CutRequest) -> Cut:
        """Return the cut that a request names.

        Raises:
            RefusedError: it names none.
        """
        if asked.keep is None and asked.threshold is None:
            raise RefusedError(400, "keep is missing; give keep, a number from 0 to 1, or threshold")
        return self.cut(asked)[1]

    def selection(self, asked: CutRequest) -> tuple[State, Selection]:
        """Return the current state with the whole selection of the cut that a request names."""
        state, cut = self.cut(asked)
        return state, self.runs.selection(state, cut)

    def decided(self, answer: dict[str, Any]) -> dict[str, Any]:
        """Return the answer to a decision, after notifying all pages."""
        self.hub.publish("decisions", {"version": answer["version"]})
        return answer

    def picture(self, asked: PictureRequest) -> Response:
        """Return an image's picture, or "not modified" where the browser has it.

        Raises:
            RefusedError: there is no such image or size, its file can't be read, or it is of other embeddings.
        """
        state = self.state
        position = checked_position(state, asked.p)
        if asked.side not in SIDES:
            raise RefusedError(400, f"side is {asked.side}; give one of {', '.join(map(str, SIDES))}")
        if asked.of is not None and not state.embeddings.origin.startswith(asked.of):
            raise RefusedError(409, "the run was embedded anew; load the page again")
        name, of = state.embeddings.ids[position], (state.originals, state.embeddings, position, asked.side)
        # Without an origin it is checked each time: after another embedding the position is another image's.
        kept = {"Cache-Control": f"private, {'no-cache' if asked.of is None else f'max-age={FRESH}'}"}
        try:
            if asked.known == f'"{self.pictures.tag(*of)}"':
                return Response(status_code=304, headers={"ETag": asked.known, **kept})
            found = self.pictures.picture(*of)
        except (GoneError, Unreadable) as error:
            raise RefusedError(404, f"{name}: {error}") from None
        except OSError as error:
            raise RefusedError(404, f"{name}: the image can't be read ({error.strerror or error})") from None
        return Response(found.data, media_type=found.kind, headers={"ETag": f'"{found.tag}"', **kept})
