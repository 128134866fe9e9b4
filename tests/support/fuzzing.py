"""Requests made from the description of the review server: mostly as it says, often not, and sometimes nonsense."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

from hypothesis import strategies as st

SPECIAL = st.sampled_from(
    [
        "",
        "0",
        "-0",
        "-1",
        "0.9",
        "1",
        "1.0000001",
        "1e-320",
        "1e400",
        "nan",
        "inf",
        "-inf",
        "9" * 400,
        "0x10",
        "1_0",
        "null",
        "true",
        "[]",
        "{}",
        "../../etc/passwd",
        "..%2f..%2frun.json",
        "/etc/passwd",
        "<script>alert(1)</script>",
        "\x00",
        "\r\nSet-Cookie: x=1",
        "%",
        "%ff",
        "%00",
        "١٢",
        "\u202e",
        "' OR 1=1 --",
        "a" * 3000,
    ]
)
TEXT = SPECIAL | st.text(max_size=30)
ANYTHING: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)


def values(schema: dict[str, Any], near: int) -> st.SearchStrategy[Any]:
    """Return values as a schema has them; numbers are mostly small, so that they name something."""
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    if schema["type"] == "integer":
        return st.integers(0, near) | st.integers(
            schema.get("minimum") or 0, int(schema.get("maximum") or 2**53)
        )
    if schema["type"] == "number":
        return st.sampled_from([0.95, 0.9, 0.5, 1.0]) | st.floats(schema["minimum"], schema["maximum"])
    if schema["type"] == "array":
        return st.lists(st.integers(0, near), min_size=1, max_size=5, unique=True)
    return st.text(max_size=20)


@st.composite
def requests(
    draw: st.DrawFn, description: dict[str, Any], near: int, known: dict[str, Any]
) -> dict[str, Any]:
    """Return the call, method, path (encoded, with the query), body and its type of one request.

    Args:
        draw: from Hypothesis.
        description: of OpenAPI.
        near: numbers up to this name something.
        known: values that are good, by name; in a body no others are.
    """
    call = path = draw(st.sampled_from(sorted(description["paths"])))
    method = draw(st.sampled_from(sorted(description["paths"][path])))
    operation = description["paths"][path][method]
    query, wild = [], draw(st.booleans())
    for parameter in operation["parameters"]:
        usual = values(parameter["schema"], near)
        name = parameter["name"]
        good = (st.just(known[name]) | usual if name in known else usual).map(str)
        value = draw(st.one_of(good, good, TEXT) if wild else good)
        if parameter["in"] == "path":
            path = path.replace(f"{{{parameter['name']}}}", quote(value.encode("utf-8", "replace"), safe=""))
        elif draw(st.booleans()):
            query.append(f"{parameter['name']}={quote(value.encode('utf-8', 'replace'), safe='')}")
    if wild and draw(st.booleans()):
        query.append(quote(draw(TEXT).encode("utf-8", "replace")))
    content, kind = b"", "application/json"
    if "requestBody" in operation:
        fields = operation["requestBody"]["content"]["application/json"]["schema"]
        body: Any = {}
        for name, schema in fields["properties"].items():
            if name in fields["required"] or draw(st.booleans()):
                exact = st.just(known[name]) if name in known else values(schema, near)
                body[name] = draw(st.one_of(exact, exact, ANYTHING) if wild else exact)
        content = json.dumps(body).encode()
        if wild:
            content = draw(
                st.just(content) | ANYTHING.map(lambda value: json.dumps(value).encode()) | st.binary()
            )
            kind = draw(st.sampled_from([kind] * 9 + ["text/plain"]))
    address = path + ("?" + "&".join(query) if query else "")
    return {
        "call": f"{method.upper()} {call}",
        "method": method.upper(),
        "path": address,
        "content": content,
        "kind": kind,
    }
