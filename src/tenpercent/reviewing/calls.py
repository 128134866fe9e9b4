"""Table of all calls of the server with their input and output, from which routes and the OpenAPI description come."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic

from ..data.store.environment import versions
from . import requests as takes
from .decide import decide, history, redo, refill_view, undo
from .images import group_detail, image_view
from .listing import groups_view, removed_view
from .maps import labels
from .questions import calibration_view
from .requests import TAG, Model, fields
from .review import Review, as_csv, as_lines
from .views import cut_view, run_view, search_view

JSON = "application/json"
BYTES, PICTURE = "application/octet-stream", "image/*"
CSV, TEXT, EVENTS = "text/csv", "text/plain", "text/event-stream"

ERROR = {
    "type": "object",
    "required": ["error"],
    "properties": {"error": {"type": "string", "description": "one line: the value, the limit, the remedy"}},
}
REFUSALS = {
    "400": "a value is missing, of another kind or out of its range",
    "403": "no token, or another host or origin",
    "404": "there is no such image, or it no longer exists",
    "409": "the run has changed or its tree is not deep enough: embedded again, decided otherwise",
    "423": "another process is working on the run",
}


@dataclass(frozen=True)
class ApiCall(Generic[Model]):
    """One call.

    Attributes:
        method: GET or POST.
        path: the address, with names of parameters in braces.
        about: its effect, in a sentence.
        takes: the model of its values, in the address of a GET, in the body of a POST.
        answer: makes the content, or the whole response.
        gives: the media type of the answer.
        status: of a successful answer.
    """

    method: str
    path: str
    about: str
    takes: type[Model]
    answer: Callable[[Review, Model], Any]
    gives: str = JSON
    status: int = 200

    def described(self) -> dict[str, Any]:
        """Return the OpenAPI operation of a call."""
        good = {self.gives: {"schema": {"type": "object" if self.gives == JSON else "string"}}}
        error = {JSON: {"schema": {"$ref": "#/components/schemas/Error"}}}
        refusals = {status: {"description": line, "content": error} for status, line in REFUSALS.items()}
        responses = {str(self.status): {"description": self.about, "content": good}, **refusals}
        operation = {"summary": self.about, "parameters": [], "responses": responses}
        values, required = fields(self.takes)
        if self.method == "POST":
            body = {"type": "object", "required": required, "properties": values}
            content = {"required": bool(values), "content": {JSON: {"schema": body}}}
            return {**operation, "requestBody": content}
        parameters = [
            {
                "name": name,
                "in": "path" if f"{{{name}}}" in self.path else "header" if name == TAG else "query",
                "required": name in required,
                "description": schema["description"],
                "schema": schema,
            }
            for name, schema in values.items()
        ]
        return {**operation, "parameters": parameters}


CALLS: tuple[ApiCall[Any], ...] = (
    # ---- looking ---------------------------------------------------------------------------------------------------
    ApiCall(
        "GET",
        "/api/run",
        "The run: images, classes, depth, decisions, accuracies.",
        takes.CallInput,
        lambda review, _: run_view(review.state),
    ),
    ApiCall(
        "GET",
        "/api/cut",
        "A cut in numbers.",
        takes.CutRequest,
        lambda review, asked: cut_view(*review.cut(asked)),
    ),
    ApiCall(
        "GET",
        "/api/groups",
        "A page of the list of groups.",
        takes.GroupsRequest,
        lambda review, asked: groups_view(*review.cut(asked), asked),
    ),
    ApiCall(
        "GET",
        "/api/groups/{key}",
        "One group with its members and its tree.",
        takes.GroupRequest,
        lambda review, asked: group_detail(*review.cut(asked), asked.key, (asked.offset, asked.limit)),
    ),
    ApiCall(
        "GET",
        "/api/images/{p}",
        "One image with its place in its group.",
        takes.ImageRequest,
        lambda review, asked: image_view(*review.cut(asked), asked.p),
    ),
    ApiCall(
        "GET",
        "/api/images/{p}/picture",
        "Its picture, re-encoded.",
        takes.PictureRequest,
        lambda review, asked: review.picture(asked),
        PICTURE,
    ),
    ApiCall(
        "GET",
        "/api/search",
        "Images by text in their ids.",
        takes.SearchRequest,
        lambda review, asked: search_view(review.state, asked.text, asked.limit),
    ),
    ApiCall(
        "GET",
        "/api/removed",
        "Removed images of a cut, the farthest from their representative first.",
        takes.RemovedRequest,
        lambda review, asked: removed_view(*review.selection(asked), (asked.offset, asked.limit)),
    ),
    ApiCall(
        "GET",
        "/api/refill",
        "What decisions change of a cut, and what more goes where they hold the count instead of the height.",
        takes.CutRequest,
        lambda review, asked: refill_view(*review.cut(asked)),
    ),
    ApiCall(
        "GET",
        "/api/kept",
        "Kept images, a bit each, lowest first.",
        takes.CutRequest,
        lambda review, asked: review.kept(asked),
        BYTES,
    ),
    ApiCall(
        "GET",
        "/api/labels",
        "The code of each image's class, int16, −1 for none.",
        takes.LabelsRequest,
        lambda review, asked: labels(review.state, asked.offset, asked.limit),
        BYTES,
    ),
    # ---- the map ---------------------------------------------------------------------------------------------------
    ApiCall(
        "GET",
        "/api/map",
        "State and progress of the map.",
        takes.CallInput,
        lambda review, _: review.map.view(),
    ),
    ApiCall(
        "POST",
        "/api/map",
        "Start computing the map.",
        takes.CallInput,
        lambda review, _: review.map.start(),
        status=202,
    ),
    ApiCall(
        "GET",
        "/api/map/points",
        "Points of the map, uint16 x and y each.",
        takes.PointsRequest,
        lambda review, asked: review.map.points(asked.offset, asked.limit),
        BYTES,
    ),
    # ---- deciding --------------------------------------------------------------------------------------------------
    ApiCall(
        "GET",
        "/api/decisions",
        "The decisions, newest first.",
        takes.HistoryRequest,
        lambda review, asked: history(review.session, asked.limit),
    ),
    ApiCall(
        "POST",
        "/api/decisions",
        "Make a decision.",
        takes.DecisionRequest,
        lambda review, asked: review.decided(decide(review.session, asked)),
    ),
    ApiCall(
        "GET",
        "/api/calibration",
        "The next pair to ask about, and the threshold that the answers so far suggest.",
        takes.CallInput,
        lambda review, _: calibration_view(review.session),
    ),
    ApiCall(
        "POST",
        "/api/undo",
        "Undo a decision.",
        takes.UndoRequest,
        lambda review, asked: review.decided(undo(review.session, asked.number)),
    ),
    ApiCall(
        "POST",
        "/api/redo",
        "Redo the decision undone last.",
        takes.CallInput,
        lambda review, _: review.decided(redo(review.session)),
    ),
    # ---- the stages, and downloads ------------------------------------------------------------------------
    ApiCall(
        "GET",
        "/api/deepen",
        "Progress of deepening the tree.",
        takes.CallInput,
        lambda review, _: review.deepening_view(),
    ),
    ApiCall(
        "POST",
        "/api/deepen",
        "Start deepening the tree.",
        takes.CutRequest,
        lambda review, asked: review.deepen(review.named_cut(asked)),
        status=202,
    ),
    ApiCall(
        "POST",
        "/api/select",
        "Store the selection of a cut in the run folder.",
        takes.CutRequest,
        lambda review, asked: review.select(review.named_cut(asked)),
    ),
    ApiCall(
        "GET",
        "/download/selection.csv",
        "All images of a cut as CSV.",
        takes.CutRequest,
        lambda review, asked: as_csv(review.selection(asked)[1]),
        CSV,
    ),
    ApiCall(
        "GET",
        "/download/kept.txt",
        "Ids of the kept images.",
        takes.CutRequest,
        lambda review, asked: as_lines(review.selection(asked)[1]),
        TEXT,
    ),
    # ---- the server itself -----------------------------------------------------------------------------------------
    ApiCall(
        "GET",
        "/api/events",
        "Server-sent events.",
        takes.CallInput,
        lambda review, _: review.events.listen(),
        EVENTS,
    ),
    ApiCall("GET", "/api/openapi.json", "This description.", takes.CallInput, lambda _, __: description()),
)


def description() -> dict[str, Any]:
    """Return the OpenAPI 3.1 description of all calls."""
    paths: dict[str, dict[str, Any]] = {}
    for call in CALLS:
        paths.setdefault(call.path, {})[call.method.lower()] = call.described()
    return {
        "openapi": "3.1.0",
        "info": {"title": "tenpercent review", "version": versions()["tenpercent"]},
        "paths": paths,
        "components": {"schemas": {"Error": ERROR}},
    }
