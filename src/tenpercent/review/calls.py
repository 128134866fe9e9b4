"""Every call that the server answers, with what it takes and gives: routes and description come from this table."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ..decisions.log import Kind
from ..select.cut import Hold
from . import review as of
from .asked import LARGEST, LONGEST_NOTE, MOST_IMAGES, Asked, Parameter
from .groups import Decided, Order
from .pictures import SIDES
from .review import Review

JSON, BYTES, PICTURE = "application/json", "application/octet-stream", "image/*"
CSV, TEXT, EVENTS = "text/csv", "text/plain", "text/event-stream"


@dataclass(frozen=True)
class Call:
    """One call.

    Attributes:
        method: GET or POST.
        path: the address, with names of parameters in braces.
        about: what it does, a sentence.
        answer: makes the content; None where the server sends it in a way of its own.
        parameters: of the address.
        body: of the JSON object that is sent.
        gives: the media type of the answer.
        status: of a good answer.
    """

    method: str
    path: str
    about: str
    answer: Callable[[Review, Asked], Any] | None = None
    parameters: tuple[Parameter, ...] = ()
    body: tuple[Parameter, ...] = ()
    gives: str = JSON
    status: int = 200

    def names(self, parameter: Parameter) -> bool:
        """Whether a parameter stands in the path."""
        return f"{{{parameter.name}}}" in self.path


def _whole(name: str, about: str, low: int = 0, high: int = LARGEST, **more: Any) -> Parameter:
    return Parameter(name, int, about, low, high, **more)


KEEP = Parameter("keep", float, "the fraction of images that stays", 0, 1)
THRESHOLD = Parameter("threshold", float, "instead of keep: the height of the cut", 0, 2)
HOLD = Parameter(
    "hold",
    str,
    "what decisions do not change, beside keep: how many stay, or the height of the cut",
    choices=tuple(Hold),
)
CUT = (KEEP, THRESHOLD, HOLD)
OFFSET = _whole("offset", "how many to pass over", default=0)
P = _whole("p", "the position of the image in id order", required=True)


def _limit(default: int, most: int) -> Parameter:
    return _whole("limit", "how many at most", 1, most, default=default)


def _text(about: str) -> Parameter:
    return Parameter("text", str, about, default="")


GROUPS = (
    *CUT,
    Parameter("order", str, "of the groups", choices=tuple(Order), default=str(Order.SIZE)),
    Parameter("class", str, "the code or name of a class that one of its images has"),
    _whole("min_size", "images it has at least", 1, default=2),
    _whole("max_size", "images it has at most", 1),
    _text("what the id of one of its images holds"),
    Parameter("decided", str, "about it", choices=tuple(Decided), default=str(Decided.ANY)),
    _whole("around", "a position: the page that holds its group, instead of the offset"),
    OFFSET,
    _limit(30, 100),
)
DECISION = (
    Parameter("kind", str, "what is decided", choices=tuple(Kind), required=True),
    Parameter("images", list, "positions in id order", 1, MOST_IMAGES, required=True),
    Parameter("note", str, "why", high=LONGEST_NOTE),
    _whole("seen", "the version of the decisions that was looked at", low=-1, required=True),
    Parameter("origin", str, "of the embeddings that the positions are of", required=True),
    *CUT,  # to show the group of, and who goes instead
)
OF = Parameter(
    "of", str, "the beginning of the origin that the position is of; pictures may then be kept a while"
)
KEY = _whole("key", "a position in the group, the smallest names it", required=True)
SIDE = _whole("side", f"of the square that it fits: {', '.join(map(str, SIDES))}", default=SIDES[0])

CALLS = (
    Call("GET", "/api/run", "The run: images, classes, depth, decisions, accuracies.", of.get_run),
    Call("GET", "/api/cut", "A cut in numbers.", of.get_cut, CUT),
    Call("GET", "/api/groups", "A page of the list of groups.", of.get_groups, GROUPS),
    Call(
        "GET",
        "/api/groups/{key}",
        "One group with its members and its tree.",
        of.get_group,
        (KEY, *CUT, OFFSET, _limit(200, 1000)),
    ),
    Call("GET", "/api/images/{p}", "One image with its place in its group.", of.get_image, (P, *CUT)),
    Call("GET", "/api/images/{p}/picture", "Its picture, encoded anew.", None, (P, SIDE, OF), gives=PICTURE),
    Call(
        "GET",
        "/api/search",
        "Images by text in their ids.",
        of.get_search,
        (_text("to look for"), _limit(20, 200)),
    ),
    Call(
        "GET",
        "/api/removed",
        "The images that a cut removes, the farthest from their keeper first.",
        of.get_removed,
        (*CUT, OFFSET, _limit(60, 200)),
    ),
    Call(
        "GET",
        "/api/refill",
        "Which images go as well where decisions hold the count, not the height.",
        of.get_refill,
        (KEEP,),
    ),
    Call("GET", "/api/kept", "Which images stay, a bit each, lowest first.", of.get_kept, CUT, gives=BYTES),
    Call(
        "GET",
        "/api/labels",
        "The code of each image's class, int16, −1 for none.",
        of.get_labels,
        (OFFSET, _limit(400_000, 400_000)),
        gives=BYTES,
    ),
    Call("GET", "/api/map", "Whether there is a map, and how far it is.", of.get_map),
    Call("POST", "/api/map", "Begin to compute the map.", of.post_map, status=202),
    Call(
        "GET",
        "/api/map/points",
        "Points of the map, uint16 x and y each.",
        of.get_map_points,
        (OFFSET, _limit(200_000, 200_000)),
        gives=BYTES,
    ),
    Call("GET", "/api/decisions", "The decisions, newest first.", of.get_decisions, (_limit(500, 1000),)),
    Call("POST", "/api/decisions", "Decide about images.", of.post_decision, body=DECISION),
    Call(
        "POST",
        "/api/undo",
        "Take a decision back.",
        of.post_undo,
        body=(_whole("number", "which one; the last where it is not given", 1),),
    ),
    Call("POST", "/api/redo", "Bring back what was taken back last.", of.post_redo),
    Call("GET", "/api/deepen", "How far the deepening of the tree is.", of.get_deepen),
    Call("POST", "/api/deepen", "Begin to deepen the tree.", of.post_deepen, body=CUT, status=202),
    Call("POST", "/api/select", "Store the selection of a cut in the run.", of.post_select, body=CUT),
    Call("GET", "/download/selection.csv", "All images of a cut as CSV.", None, CUT, gives=CSV),
    Call("GET", "/download/kept.txt", "The ids of those that stay.", None, CUT, gives=TEXT),
    Call("GET", "/api/events", "What happens, as server-sent events.", None, gives=EVENTS),
    Call("GET", "/api/openapi.json", "This description.", None),
)
