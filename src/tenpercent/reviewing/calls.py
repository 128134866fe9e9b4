"""Table of all calls of the server, with their input and output: routes and the API description come from it."""

from __future__ import annotations

from typing import Any

from . import requests as takes
from .decide import bring_back, decide, history, take_back
from .downloads import as_csv, as_lines
from .images import group_detail, image_view
from .instead import refill_view
from .listing import groups_view
from .maps import labels
from .openapi import Call, description
from .removed import removed_view
from .views import cut_view, run_view, search_view

BYTES, PICTURE = "application/octet-stream", "image/*"
CSV, TEXT, EVENTS = "text/csv", "text/plain", "text/event-stream"

CALLS: tuple[Call[Any], ...] = (
    # ---- looking ---------------------------------------------------------------------------------------------------
    Call(
        "GET",
        "/api/run",
        "The run: images, classes, depth, decisions, accuracies.",
        takes.Request,
        lambda review, _: run_view(review.state),
    ),
    Call(
        "GET",
        "/api/cut",
        "A cut in numbers.",
        takes.CutRequest,
        lambda review, asked: cut_view(*review.cut(asked)),
    ),
    Call(
        "GET",
        "/api/groups",
        "A page of the list of groups.",
        takes.GroupsRequest,
        lambda review, asked: groups_view(*review.cut(asked), asked),
    ),
    Call(
        "GET",
        "/api/groups/{key}",
        "One group with its members and its tree.",
        takes.GroupRequest,
        lambda review, asked: group_detail(*review.cut(asked), asked.key, (asked.offset, asked.limit)),
    ),
    Call(
        "GET",
        "/api/images/{p}",
        "One image with its place in its group.",
        takes.ImageRequest,
        lambda review, asked: image_view(*review.cut(asked), asked.p),
    ),
    Call(
        "GET",
        "/api/images/{p}/picture",
        "Its picture, encoded anew.",
        takes.PictureRequest,
        lambda review, asked: review.picture(asked),
        PICTURE,
    ),
    Call(
        "GET",
        "/api/search",
        "Images by text in their ids.",
        takes.SearchRequest,
        lambda review, asked: search_view(review.state, asked.text, asked.limit),
    ),
    Call(
        "GET",
        "/api/removed",
        "The images that a cut removes, the farthest from their keeper first.",
        takes.RemovedRequest,
        lambda review, asked: removed_view(*review.selection(asked), (asked.offset, asked.limit)),
    ),
    Call(
        "GET",
        "/api/refill",
        "Which images go as well where decisions hold the count, not the height.",
        takes.KeepRequest,
        lambda review, asked: refill_view(review.state, asked.keep),
    ),
    Call(
        "GET",
        "/api/kept",
        "Which images stay, a bit each, lowest first.",
        takes.CutRequest,
        lambda review, asked: review.runs.kept(*review.cut(asked)),
        BYTES,
    ),
    Call(
        "GET",
        "/api/labels",
        "The code of each image's class, int16, −1 for none.",
        takes.LabelsRequest,
        lambda review, asked: labels(review.state, asked.offset, asked.limit),
        BYTES,
    ),
    # ---- the map ---------------------------------------------------------------------------------------------------
    Call(
        "GET",
        "/api/map",
        "Whether there is a map, and how far it is.",
        takes.Request,
        lambda review, _: review.map.view(),
    ),
    Call(
        "POST",
        "/api/map",
        "Begin to compute the map.",
        takes.Request,
        lambda review, _: review.map.start(),
        status=202,
    ),
    Call(
        "GET",
        "/api/map/points",
        "Points of the map, uint16 x and y each.",
        takes.PointsRequest,
        lambda review, asked: review.map.points(asked.offset, asked.limit),
        BYTES,
    ),
    # ---- deciding --------------------------------------------------------------------------------------------------
    Call(
        "GET",
        "/api/decisions",
        "The decisions, newest first.",
        takes.HistoryRequest,
        lambda review, asked: history(review.session, asked.limit),
    ),
    Call(
        "POST",
        "/api/decisions",
        "Decide about images.",
        takes.DecisionRequest,
        lambda review, asked: review.decided(decide(review.session, asked)),
    ),
    Call(
        "POST",
        "/api/undo",
        "Take a decision back.",
        takes.UndoRequest,
        lambda review, asked: review.decided(take_back(review.session, asked.number)),
    ),
    Call(
        "POST",
        "/api/redo",
        "Bring back what was taken back last.",
        takes.Request,
        lambda review, _: review.decided(bring_back(review.session)),
    ),
    # ---- the stages, and downloads ------------------------------------------------------------------------
    Call(
        "GET",
        "/api/deepen",
        "How far the deepening of the tree is.",
        takes.Request,
        lambda review, _: review.runs.view(),
    ),
    Call(
        "POST",
        "/api/deepen",
        "Begin to deepen the tree.",
        takes.CutRequest,
        lambda review, asked: review.runs.deepen(review.named_cut(asked)),
        status=202,
    ),
    Call(
        "POST",
        "/api/select",
        "Store the selection of a cut in the run.",
        takes.CutRequest,
        lambda review, asked: review.runs.select(review.named_cut(asked)),
    ),
    Call(
        "GET",
        "/download/selection.csv",
        "All images of a cut as CSV.",
        takes.CutRequest,
        lambda review, asked: as_csv(review.selection(asked)[1]),
        CSV,
    ),
    Call(
        "GET",
        "/download/kept.txt",
        "The ids of those that stay.",
        takes.CutRequest,
        lambda review, asked: as_lines(review.selection(asked)[1]),
        TEXT,
    ),
    # ---- the server itself -----------------------------------------------------------------------------------------
    Call(
        "GET",
        "/api/events",
        "What happens, as server-sent events.",
        takes.Request,
        lambda review, _: review.hub.listen(),
        EVENTS,
    ),
    Call("GET", "/api/openapi.json", "This description.", takes.Request, lambda _, __: description(CALLS)),
)
