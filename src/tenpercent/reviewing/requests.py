"""Requests: a strict model of each call's values, from which they are checked and described alike."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ..decisions.log import Kind
from ..errors import TenpercentError
from ..tree.cut import Hold
from .groups import DecisionFilter, GroupOrder
from .pictures import SIDES

MOST_BODY = 64 * 1024
MOST_IMAGES = 1000  # named by one decision
DESCRIBED = (
    "description",
    "type",
    "enum",
    "items",
    "minItems",
    "maxItems",
    "minimum",
    "maximum",
    "maxLength",
    "default",
)
TAG = "if-none-match"  # the one header that a call takes
# Python's own parser takes spaces, underscores and the digits of any script.
WHOLE, NUMBER = re.compile("[-+]?[0-9]{1,40}"), re.compile("[-+.0-9eE]{1,40}")
LARGEST = 2**53  # whole numbers beyond are not exact in JavaScript


class RequestError(TenpercentError):
    """A request that can't be answered.

    Attributes:
        status: of the answer.
        more: the content of the answer beside the line.
    """

    def __init__(self, status: int, line: str, **more: Any) -> None:
        super().__init__(line)
        self.status, self.more = status, more


# ---- values --------------------------------------------------------------------------------------------------------


def _whole(about: str, default: Any = ..., low: int = 0, high: int = LARGEST) -> Any:
    return Field(default, ge=low, le=high, description=about)


def _most(default: int, most: int) -> Any:
    return _whole("most results to return", default, 1, most)


Text = Annotated[str, Field(max_length=500)]
OFFSET = _whole("results to skip", 0)
POSITION = _whole("the position of the image in id order")


# ---- one model a call ----------------------------------------------------------------------------------------------


class CallInput(BaseModel):
    """The values of one request; unknown ones are ignored."""

    model_config = ConfigDict(strict=True)


class CutRequest(CallInput):
    keep: float | None = Field(None, ge=0, le=1, description="the fraction of images to keep")
    threshold: float | None = Field(None, ge=0, le=2, description="instead of keep: the height of the cut")
    hold: Annotated[Hold, Field(strict=False)] | None = Field(
        None,
        description="with keep, what decisions leave unchanged: the count of kept images or the height of the cut",
    )


class GroupsRequest(CutRequest):
    order: GroupOrder = Field(GroupOrder.SIZE, strict=False, description="order of the groups")
    class_: Text | None = Field(
        None, alias="class", description="code or name of a class; groups with an image of it"
    )
    min_size: int = _whole("smallest size of a group", 2, 1)
    max_size: int | None = _whole("largest size of a group", None, 1)
    text: Text = Field("", description="text in the id of an image of the group")
    decided: DecisionFilter = Field(
        DecisionFilter.ANY, strict=False, description="groups with decisions, without, or any"
    )
    around: int | None = _whole("a position; gives the page with its group, whatever the offset", None)
    offset: int = OFFSET
    limit: int = _most(30, 100)


class GroupRequest(CutRequest):
    key: int = _whole("a position in the group; the smallest names it")
    offset: int = OFFSET
    limit: int = _most(200, 1000)


class ImageRequest(CutRequest):
    p: int = POSITION


class PictureRequest(CallInput):
    p: int = POSITION
    side: int = _whole(f"side of the square that the picture fits: {', '.join(map(str, SIDES))}", SIDES[0])
    of: Text | None = Field(
        None,
        description="the start of the origin of the embeddings; the browser may then cache the picture",
    )
    known: str | None = Field(
        None, alias="if-none-match", max_length=500, description="the tag of a cached picture"
    )


class SearchRequest(CallInput):
    text: Text = Field("", description="text in the id")
    limit: int = _most(20, 200)


class RemovedRequest(CutRequest):
    offset: int = OFFSET
    limit: int = _most(60, 200)


class LabelsRequest(CallInput):
    offset: int = OFFSET
    limit: int = _most(400_000, 400_000)


class PointsRequest(CallInput):
    offset: int = OFFSET
    limit: int = _most(200_000, 200_000)


class HistoryRequest(CallInput):
    limit: int = _most(500, 1000)


class DecisionRequest(CutRequest):
    """A decision, with the cut for which the answer describes its effect."""

    kind: Kind = Field(strict=False, description="kind of decision")
    images: list[Annotated[int, Field(ge=0, le=LARGEST)]] = Field(
        min_length=1, max_length=MOST_IMAGES, description="positions in id order"
    )
    note: str | None = Field(None, max_length=2000, description="reason")
    seen: int = _whole("version of the decisions that the page shows", low=-1)
    origin: Text = Field(description="origin of the embeddings that the positions refer to")


class UndoRequest(CallInput):
    number: int | None = _whole("number of the decision; the last one by default", None, 1)


# ---- checking ------------------------------------------------------------------------------------------------------

Model = TypeVar("Model", bound=CallInput)


def of_address(model: type[Model], texts: Mapping[str, str]) -> Model:
    """Check the values of an address; an empty value counts as not given.

    Raises:
        RequestError: a value is missing, of another kind, or out of its range.
    """
    schemas, _ = fields(model)
    given = {name: text for name, text in texts.items() if text and name in schemas}
    return _checked(model, {name: _read(text, schemas[name]["type"]) for name, text in given.items()})


def _read(text: str, kind: str) -> int | float | str:
    """Return a text as a number; unchanged where it is not a number, or should not be one."""
    with suppress(ValueError):
        if kind == "integer" and WHOLE.fullmatch(text):
            return int(text)
        if kind == "number" and NUMBER.fullmatch(text):
            return float(text)
    return text


def of_body(model: type[Model], body: bytes, content_type: str) -> Model:
    """Check the values of a JSON body.

    Raises:
        RequestError: it is not a JSON object, or a value is missing, of another kind, or out of its range.
    """
    if content_type.partition(";")[0].strip().lower() != "application/json":
        raise RequestError(415, f"the body is {content_type or 'of no type'!r}; send application/json")
    try:
        content = json.loads(body or b"{}")
    except (ValueError, RecursionError):
        raise RequestError(400, "the body is not JSON; send an object") from None
    if not isinstance(content, dict):
        raise RequestError(400, f"the body is a {type(content).__name__}; send an object")
    return _checked(model, content)


def _checked(model: type[Model], content: Mapping[str, Any]) -> Model:
    try:
        return model.model_validate(content)
    except ValidationError as error:
        raise _refused(model, error) from None


def _refused(model: type[CallInput], error: ValidationError) -> RequestError:
    first = error.errors(include_url=False, include_context=False)[0]
    name, value = str(first["loc"][0]), first["input"]
    wanted = _wanted(fields(model)[0][name])
    if first["type"] == "missing" or value is None:
        return RequestError(400, f"{name} is missing; give {wanted}")
    inside = isinstance(value, list) or len(first["loc"]) > 1
    shown = "a list" if inside else "an object" if isinstance(value, dict) else repr(value)
    shown = shown if len(shown) <= 60 else f"{shown[:57]}..."
    return RequestError(400, f"{name} is {shown}; give {wanted}")


def _wanted(schema: Mapping[str, Any]) -> str:
    """Return the requirement of a value, in words."""
    if "enum" in schema:
        return f"one of {', '.join(schema['enum'])}"
    if schema["type"] == "array":
        return f"a list of 1 to {schema['maxItems']:,} positions of images"
    if schema["type"] == "string":
        return f"text of at most {schema['maxLength']:,} characters"
    what = "a whole number" if schema["type"] == "integer" else "a number"
    low, high = schema["minimum"], schema["maximum"]
    return f"{what} of at least {low:g}" if high == LARGEST else f"{what} from {low:g} to {high:g}"


@cache
def fields(model: type[CallInput]) -> tuple[dict[str, dict[str, Any]], list[str]]:
    """Return the JSON schema of each value, what several share written out, and the names of those required."""
    whole = model.model_json_schema()
    found = {}
    for name, schema in whole.get("properties", {}).items():
        one = schema | schema.get("anyOf", [{}])[0]  # the other is null, for values not given
        one = whole.get("$defs", {}).get(one.get("$ref", "").rpartition("/")[2], {}) | one
        found[name] = {key: one[key] for key in DESCRIBED if one.get(key) is not None}
    return found, whole.get("required", [])
