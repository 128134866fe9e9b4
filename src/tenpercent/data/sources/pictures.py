"""Pictures that a run shows: the images it was made of, or those beside its vectors in a table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..store.embeddings import Embeddings
from .opening import open_source
from .options import SourceOptions
from .source import ImageSource


def pictures_beside(spec: str | Path, opened: Embeddings, options: SourceOptions) -> dict[str, str]:
    """Return the entry of `run.json` on images beside vectors: their fingerprint as ``pictures``; empty without any.

    Args:
        spec: a source of vectors, as for `open_source`.
        opened: the source, opened.
        options: the options it was opened with.
    """
    if "pictures" not in opened.taken:
        return {}
    found = open_source(spec, _without_vectors(options))
    return {"pictures": found.fingerprint} if isinstance(found, ImageSource) else {}


def picture_options(about: Mapping[str, Any]) -> SourceOptions | None:
    """Return the options that open the pictures of a run, or None where it has none.

    Args:
        about: the source as described in `run.json`.
    """
    options = SourceOptions.from_json(about["options"])
    if about["kind"] == "images":
        return options
    return _without_vectors(options) if "pictures" in about else None


def picture_fingerprint(about: Mapping[str, Any]) -> str:
    """Return the fingerprint that the pictures of a run have if they are unchanged."""
    return str(about["fingerprint"] if about["kind"] == "images" else about["pictures"])


def _without_vectors(options: SourceOptions) -> SourceOptions:
    return replace(options, embedding_column=None, drop_bad_rows=False)
