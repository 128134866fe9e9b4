"""Everything that one server holds of a run folder: its state, pictures and map, and the stages that the page calls."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import csv
from starlette.responses import Response, StreamingResponse

from ..data.decoding.decode import Unreadable
from ..data.store.run_folder import RunFolder, Stage
from ..errors import TenpercentError
from ..linkage.memory import Resources
from ..pipeline import select
from ..progress import Stopwatch, watched
from ..selection.by_tree import select as select_merges
from ..selection.selection import Selection
from ..selection.stage import store_merges
from ..selection.stored import load_decided
from ..tree.cut import Cut, Hold
from .cache import Cache
from .events import BackgroundJob, PageEvents, Tell
from .listing import groups_view
from .maps import RunMap
from .pictures import SIDES, MissingImageError, PictureCache
from .requests import CutRequest, GroupsRequest, PictureRequest, RequestError
from .session import RunSession
from .state import RunState
from .views import checked_position

FRESH = 60  # seconds that a browser shows a picture without asking whether its file still exists
ROWS = 10_000  # of a piece of a download


class Review:
    """One run folder with all parts that serve it."""

    def __init__(self, path: Path) -> None:
        """Open a run folder.

        Raises:
            TenpercentError: it can't be opened.
        """
        self.session, self.events = RunSession(path), PageEvents()
        self.pictures = PictureCache(self.session.run.path / "review" / "pictures")
        self.map = RunMap(self.session, self.events)
        self.deepening = BackgroundJob("deepen", self.events)
        self._selection: Cache[Selection] = Cache(1)

    def warm(self) -> None:
        """Prepare the first view, so that it does not wait for compilation."""
        with suppress(TenpercentError):  # the view reports it
            state = self.state
            cut = state.checked(max(state.stored_cut.keep, state.deepest_held), None, Hold.HEIGHT)
            groups_view(state, cut, GroupsRequest.model_validate({"limit": 1}))

    @property
    def state(self) -> RunState:
        """Current state of the run."""
        return self.session.state

    def cut(self, asked: CutRequest) -> tuple[RunState, Cut]:
        """Return the current state with the cut that a request names, the run's own where it names none."""
        state = self.state
        return state, state.checked(asked.keep, asked.threshold, asked.hold)

    def named_cut(self, asked: CutRequest) -> Cut:
        """Return the cut that a request names.

        Raises:
            RequestError: it names none.
        """
        if asked.keep is None and asked.threshold is None:
            raise RequestError(400, "keep is missing; give keep, a number from 0 to 1, or threshold")
        return self.cut(asked)[1]

    def decided(self, answer: dict[str, Any]) -> dict[str, Any]:
        """Return the answer to a decision, after notifying all pages."""
        self.events.publish("decisions", {"version": answer["version"]})
        return answer

    # ---- the library's stages ------------------------------------------------------------------------------------

    def deepen(self, cut: Cut) -> dict[str, Any]:
        """Start deepening the stored tree so that it reaches a cut."""
        state = self.state
        if state.covers(cut):
            return {"state": "ready", "done": 1.0, "error": None, "deepest_keep": state.deepest}
        self.deepening.start(lambda tell: self._deepened(cut, tell))
        return self.deepening_view()

    def deepening_view(self) -> dict[str, Any]:
        """Return the progress of the deepening."""
        return {**self.deepening.view(), "deepest_keep": self.state.deepest}

    def _deepened(self, cut: Cut, tell: Tell) -> dict[str, Any]:
        with watched(tell):
            deepen(self.session.run, cut)
        if cut.keep is not None:
            self.session.reached = cut.keep
        self.session.refresh()
        return {"deepest_keep": self.state.deepest}

    def select(self, cut: Cut) -> dict[str, Any]:
        """Store the selection of a cut in the run, as ``tenpercent select`` does."""
        self.state.require(cut)
        selection = select(self.session.run.path, cut)
        self.session.refresh()
        self.events.publish("selection", {})
        kept, removed = len(selection.kept), len(selection.removed)
        return {"kept": kept, "removed": removed, "notes": list(selection.notes)}

    def selection(self, asked: CutRequest) -> tuple[RunState, Selection]:
        """Return the current state with the whole selection of the cut that a request names; the last one is cached."""
        state, cut = self.cut(asked)
        state.require(cut)
        key = (state.embeddings.origin, state.version, cut)
        return state, self._selection.get(key, lambda: select_merges(state.merges, cut))

    def kept(self, asked: CutRequest) -> bytes:
        """Return the kept images as a mask, a bit each: position p is bit p % 8 of byte p // 8."""
        return np.packbits(self.selection(asked)[1].kept_by_id, bitorder="little").tobytes()

    # ---- pictures ----------------------------------------------------------------------------------------------

    def picture(self, asked: PictureRequest) -> Response:
        """Return an image's picture, or "not modified" where the browser has it.

        Raises:
            RequestError: there is no such image or size, its file can't be read, or it is of other embeddings.
        """
        state = self.state
        position = checked_position(state, asked.p)
        if asked.side not in SIDES:
            raise RequestError(400, f"side is {asked.side}; give one of {', '.join(map(str, SIDES))}")
        if asked.of is not None and not state.embeddings.origin.startswith(asked.of):
            raise RequestError(409, "the run was embedded again; load the page again")
        name, of = state.embeddings.ids[position], (state.originals, state.embeddings, position, asked.side)
        # Without an origin it is checked each time: after another embedding the position is another image's.
        kept = {"Cache-Control": f"private, {'no-cache' if asked.of is None else f'max-age={FRESH}'}"}
        try:
            if asked.known == f'"{self.pictures.tag(*of)}"':
                return Response(status_code=304, headers={"ETag": asked.known, **kept})
            found = self.pictures.picture(*of)
        except (MissingImageError, Unreadable) as error:
            raise RequestError(404, f"{name}: {error}") from None
        except OSError as error:
            raise RequestError(404, f"{name}: the image can't be read ({error.strerror or error})") from None
        return Response(found.data, media_type=found.kind, headers={"ETag": f'"{found.tag}"', **kept})


def deepen(run: RunFolder, cut: Cut) -> None:
    """Store a tree that reaches a cut under the current decisions. The selection stays valid: its cut is a part of it.

    Raises:
        LockedError: another process works on the tree.
        MemoryBudgetError: the cut needs more memory; the message says what fits.
    """
    with run.lock(Stage.CLUSTER, Stage.SELECT, Stage.REPORT):
        tree, clock = load_decided(run), Stopwatch()
        if not tree.covers(cut):
            deeper = tree.deepened(cut, Resources(scratch=run.scratch))
            store_merges(run, deeper, clock, tree.bare, keep=cut.keep, threshold=cut.threshold)


# ---- downloads --------------------------------------------------------------------------------------------


def as_csv(selection: Selection) -> Response:
    """Return a table of all images, one row each, as CSV in UTF-8."""
    return _download(_rows(selection.table), "text/csv", "selection.csv")


def as_lines(selection: Selection) -> Response:
    """Return the ids of the kept images, one a line."""
    return _download(_lines(selection.kept), "text/plain", "kept.txt")


def _download(pieces: Iterator[bytes], kind: str, name: str) -> Response:
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return StreamingResponse(pieces, media_type=kind, headers=headers)


def _rows(table: pa.Table) -> Iterator[bytes]:
    for start in range(0, max(len(table), 1), ROWS):
        piece = io.BytesIO()
        options = csv.WriteOptions(include_header=start == 0, quoting_style="needed")
        csv.write_csv(pa.table(table.slice(start, ROWS)), piece, options)
        yield piece.getvalue()


def _lines(ids: Any) -> Iterator[bytes]:
    for start in range(0, len(ids), ROWS):
        yield "".join(f"{name}\n" for name in ids[start : start + ROWS]).encode("utf-8", "backslashreplace")
