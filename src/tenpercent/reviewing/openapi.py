"""A call of the server, and the OpenAPI 3.1 description of all calls."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Generic

from ..data.store.environment import versions
from .requests import TAG, Model, fields
from .review import Review

JSON = "application/json"
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


@dataclass(frozen=True)
class Call(Generic[Model]):
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


def description(calls: Iterable[Call[Any]]) -> dict[str, Any]:
    """Return the whole document."""
    paths: dict[str, dict[str, Any]] = {}
    for call in calls:
        paths.setdefault(call.path, {})[call.method.lower()] = call.described()
    return {
        "openapi": "3.1.0",
        "info": {"title": "tenpercent review", "version": versions()["tenpercent"]},
        "paths": paths,
        "components": {"schemas": {"Error": ERROR}},
    }
