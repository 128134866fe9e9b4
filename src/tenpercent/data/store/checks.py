"""Checks of paths and objects that a caller passes, with errors that say what to pass instead."""

from __future__ import annotations

import os
from pathlib import Path

from ...errors import UsageError

_INSTEAD = {  # by the name of the type
    "Embeddings": "of embeddings take tp.cluster(embeddings), then tp.select(merges, keep=0.9)",
    "Merges": "of merges take tp.select(merges, keep=0.9)",
    "Selection": "of a selection take its own methods (explain, subset, save, row_mask)",
}
_VECTORS = "of vectors take tp.run(vectors, keep=0.9), of files their path"


def as_path(value: object, what: str) -> Path:
    """Return a path.

    Args:
        value: a string or path.
        what: what it is, with its article: ``a run folder``.

    Raises:
        UsageError: it is neither, or empty.
    """
    path = os.fspath(value) if isinstance(value, str | os.PathLike) else None
    if path == "":
        raise UsageError(f"{what} is an empty path; give a name, or '.' for the current folder")
    if isinstance(path, str):
        return Path(path)
    instead = _INSTEAD.get(type(value).__name__)
    if instead is None:
        plain = value is None or isinstance(value, bytes | int | float | dict)
        instead = f"{value!r:.40} is neither a string nor a pathlib.Path" if plain else _VECTORS
    raise UsageError(f"{what} must be a path, not {type(value).__qualname__}; {instead}")


def check_kind(value: object, kind: type | tuple[type, ...], what: str, give: str) -> None:
    """Raise `UsageError` where a value is not of a kind.

    Args:
        value: what was passed.
        kind: what it must be.
        what: the name of the argument.
        give: what to give instead.
    """
    if not isinstance(value, kind):
        shown = (
            repr(value)
            if isinstance(value, str | int | float | dict) or value is None
            else type(value).__qualname__
        )
        raise UsageError(f"{what} is {shown:.60}; give {give}")
