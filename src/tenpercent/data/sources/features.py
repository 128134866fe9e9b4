"""Features that the `datasets` library writes into the schema of a table."""

from __future__ import annotations

import json
from typing import Any

import pyarrow as pa

from ...errors import SourceError


def features_of(schema: pa.Schema, spec: str) -> dict[str, dict[str, Any]]:
    """Return the features that `datasets` declared, by column; none where its metadata lacks them or has null.

    Raises:
        SourceError: the metadata is broken.
    """
    raw = (schema.metadata or {}).get(b"huggingface")
    if raw is None:
        return {}
    try:
        found: Any = json.loads(raw)
        for key in ("info", "features"):
            found = {} if found is None else found.get(key)
        declared = {} if found is None else dict(found.items())
    except (ValueError, AttributeError) as error:
        raise SourceError(
            f"{spec} has broken `huggingface` metadata ({error!r}); write the file again"
        ) from None
    return {str(name): feature for name, feature in declared.items() if isinstance(feature, dict)}


def declared_classes(schema: pa.Schema, column: str, spec: str) -> tuple[str, ...] | None:
    """Return the class names that `datasets` declared for a column, or None.

    Raises:
        SourceError: they are no list of names.
    """
    names = features_of(schema, spec).get(column, {}).get("names")
    if names is None:
        return None
    if not isinstance(names, list):
        raise SourceError(
            f"{spec} has broken `huggingface` metadata (the names of column {column} are {names!r}); "
            "write the file again"
        )
    return tuple(map(str, names))
