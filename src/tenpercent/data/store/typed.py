"""JSON of a run folder, checked against its type before it is used."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from functools import lru_cache
from pathlib import Path
from types import UnionType
from typing import Any, Literal, NotRequired, Union, get_args, get_origin, get_type_hints, is_typeddict

from ...errors import StageError

LARGEST = 2**63 - 1  # arrays hold no larger whole number


class NewerFormatError(StageError):
    """Error for stored data in a format that this version does not read."""


def parsed(text: str | bytes, kind: Any) -> Any:
    """Return JSON whose value has the type `kind`.

    Args:
        text: UTF-8.
        kind: a dataclass, a TypedDict, int, float, str, bool, None, Any, or a list, dict, literal or union of them.

    Raises:
        ValueError: it is not JSON, or of another type; the message says what is wrong.
    """
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"it is not JSON: {error}") from None
    wrong = problem(value, kind)
    if wrong is not None:
        raise ValueError(wrong)
    return value


def parsed_format(path: Path, text: str | bytes, kind: Any, newest: int) -> dict[str, Any]:
    """Return JSON that has a format and the type `kind`, a TypedDict.

    Args:
        path: the file, for the message.
        text: UTF-8.
        kind: the type.
        newest: the highest format that this version reads.

    Raises:
        NewerFormatError: the format is newer.
        ValueError: it is not JSON, or of another type.
    """
    version = parsed(text, dict[str, Any]).get("format")
    if isinstance(version, int) and version > newest:
        raise NewerFormatError(
            f"{path} has format {version}, this version reads up to {newest}; update tenpercent"
        )
    content: dict[str, Any] = parsed(text, kind)
    return content


def problem(value: Any, kind: Any, name: str = "it") -> str | None:
    """Return the reason why `value` does not have the type `kind`, or None where it does."""
    origin = get_origin(kind)
    if kind is Any:
        return None
    if is_typeddict(kind) or is_dataclass(kind):
        return _problem_of_fields(value, kind, name)
    if origin in (Union, UnionType):
        return _problem_of_union(value, kind, name)
    if origin is Literal:
        return None if value in get_args(kind) else f"{name} is {_short(value)}"
    if (
        origin is tuple
        and ... not in get_args(kind)
        and isinstance(value, list)
        and len(value) != len(get_args(kind))
    ):
        return f"{name} has {len(value)} values, not {len(get_args(kind))}"
    if origin in (list, tuple):
        return _problem_of_items(value, list, name, lambda: enumerate(value), get_args(kind)[0])
    if origin in (dict, Mapping):
        return _problem_of_items(value, dict, name, lambda: value.items(), get_args(kind)[1])
    if kind is None or kind is type(None):
        return None if value is None else f"{name} is {_short(value)}, not null"
    return None if _is(value, kind) else f"{name} is {_short(value)}, not {_WORDS[kind]}"


def built(kind: Any, value: Any) -> Any:
    """Return JSON that has the type `kind` as that: objects become dataclasses, other keys of theirs are left out."""
    if is_dataclass(kind) and isinstance(kind, type):
        known = _fields_of(kind)
        found = {key: built(known[key][0], item) for key, item in value.items() if key in known}
        return kind(**found)
    if get_origin(kind) in (Union, UnionType):
        return built(next(one for one in get_args(kind) if problem(value, one) is None), value)
    return tuple(value) if get_origin(kind) is tuple else value


@lru_cache(maxsize=64)
def _fields_of(kind: Any) -> dict[str, tuple[Any, bool]]:
    """Return the type of each field of a dataclass or TypedDict, and whether it must be there."""
    hints = get_type_hints(kind, include_extras=True)
    if is_dataclass(kind):
        return {
            one.name: (hints[one.name], one.default is MISSING and one.default_factory is MISSING)
            for one in fields(kind)
        }
    # `__required_keys__` knows NotRequired only where annotations are not text.
    loose = {key for key, hint in hints.items() if get_origin(hint) is NotRequired}
    return {
        key: (get_args(hint)[0] if key in loose else hint, key not in loose) for key, hint in hints.items()
    }


def _problem_of_fields(value: Any, kind: Any, name: str) -> str | None:
    if not isinstance(value, dict):
        return f"{name} is {_short(value)}, not an object"
    for key, (inner, needed) in _fields_of(kind).items():
        if key not in value:
            if not needed:
                continue
            return f"{key} is missing" if name == "it" else f"{key} is missing in {name}"
        wrong = problem(value[key], inner, key if name == "it" else f"{name}.{key}")
        if wrong is not None:
            return wrong
    return None


def _problem_of_union(value: Any, kind: Any, name: str) -> str | None:
    found = [problem(value, inner, name) for inner in get_args(kind)]
    return None if None in found else found[0]


def _problem_of_items(value: Any, kind: type, name: str, items: Any, inner: Any) -> str | None:
    if not isinstance(value, kind):
        return f"{name} is {_short(value)}, not {_WORDS[kind]}"
    found = (
        problem(item, inner, f"{name}.{key}" if kind is dict else f"{name}[{key}]") for key, item in items()
    )
    return next((wrong for wrong in found if wrong is not None), None)


def _is(value: Any, kind: type) -> bool:
    if isinstance(value, bool) or kind is bool:
        return isinstance(value, bool) and kind is bool
    if kind is int:
        return isinstance(value, int) and abs(value) <= LARGEST
    if kind is float:
        return (isinstance(value, int) and abs(value) <= LARGEST) or (
            isinstance(value, float) and math.isfinite(value)
        )
    return isinstance(value, kind)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:37]}…"


_WORDS = {
    int: "a whole number",
    float: "a number",
    str: "text",
    bool: "true or false",
    list: "a list",
    dict: "an object",
}
