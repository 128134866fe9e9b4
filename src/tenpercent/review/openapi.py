"""The description of all calls in the words of OpenAPI 3.1, made from the same table as the routes."""

from __future__ import annotations

from typing import Any

from ..store.environment import versions
from .asked import MOST_IMAGES, Parameter
from .calls import CALLS, JSON, Call

KINDS = {int: "integer", float: "number", str: "string", list: "array"}
ERROR = {
    "type": "object",
    "required": ["error"],
    "properties": {"error": {"type": "string", "description": "one line: the value, the limit, the remedy"}},
}
REFUSALS = {
    "400": "a value is missing, of another kind or out of its range",
    "403": "a stranger: no token, another host or origin",
    "404": "there is no such image, or it is gone",
    "409": "the run is not as the request supposes it: not deep enough, embedded anew, decided otherwise",
    "423": "another process works on the run",
}


def description() -> dict[str, Any]:
    """Return the whole document."""
    paths: dict[str, dict[str, Any]] = {}
    for call in CALLS:
        paths.setdefault(call.path, {})[call.method.lower()] = _operation(call)
    return {
        "openapi": "3.1.0",
        "info": {"title": "tenpercent review", "version": versions()["tenpercent"]},
        "paths": paths,
        "components": {"schemas": {"Error": ERROR}},
    }


def schema(parameter: Parameter) -> dict[str, Any]:
    """Return the JSON schema of one value."""
    found: dict[str, Any] = {"type": KINDS[parameter.kind]}
    if parameter.choices:
        found["enum"] = [str(choice) for choice in parameter.choices]
    elif parameter.kind is list:
        found |= {"items": {"type": "integer", "minimum": 0}, "minItems": 1, "maxItems": MOST_IMAGES}
    elif parameter.kind is str:
        found["maxLength"] = int(parameter.high or 500)
    else:
        found |= {"minimum": parameter.low, "maximum": parameter.high}
    if parameter.default is not None:
        found["default"] = parameter.default
    return found


def _operation(call: Call) -> dict[str, Any]:
    content: dict[str, Any] = {
        call.gives: {"schema": {"type": "object"} if call.gives == JSON else {"type": "string"}}
    }
    error = {"content": {JSON: {"schema": {"$ref": "#/components/schemas/Error"}}}}
    operation: dict[str, Any] = {
        "summary": call.about,
        "parameters": [
            {
                "name": one.name,
                "in": "path" if call.names(one) else "query",
                "required": one.required,
                "description": one.about,
                "schema": schema(one),
            }
            for one in call.parameters
        ],
        "responses": {
            str(call.status): {"description": call.about, "content": content},
            **{status: {"description": line, **error} for status, line in REFUSALS.items()},
        },
    }
    if call.method == "POST":
        operation["requestBody"] = {
            "required": bool(call.body),
            "content": {
                JSON: {
                    "schema": {
                        "type": "object",
                        "required": [one.name for one in call.body if one.required],
                        "properties": {
                            one.name: schema(one) | {"description": one.about} for one in call.body
                        },
                    }
                }
            },
        }
    return operation
