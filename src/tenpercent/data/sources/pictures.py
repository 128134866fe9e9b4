"""Pictures that a run shows: the images it was made of, or those beside its vectors in a table."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from ..store.embeddings import Embeddings
from ..store.records import SourceRecord
from .opening import open_source
from .options import SourceOptions
from .source import ImageSource


def pictures_beside(spec: str | Path, opened: Embeddings, options: SourceOptions) -> str | None:
    """Return the fingerprint of the images beside vectors; None without any.

    Args:
        spec: a source of vectors, as for `open_source`.
        opened: the source, opened.
        options: the options it was opened with.
    """
    if "pictures" not in opened.taken:
        return None
    found = open_source(spec, _without_vectors(options))
    return found.fingerprint if isinstance(found, ImageSource) else None


def picture_options(about: SourceRecord) -> SourceOptions | None:
    """Return the options that open the pictures of a run, or None where it has none.

    Args:
        about: the source as described in `run.json`.
    """
    options = SourceOptions.from_json(about.options)
    if not about.has_vectors:
        return options
    return None if about.pictures is None else _without_vectors(options)


def picture_fingerprint(about: SourceRecord) -> str:
    """Return the fingerprint that the pictures of a run have if they are unchanged."""
    return about.pictures or "" if about.has_vectors else about.fingerprint


def _without_vectors(options: SourceOptions) -> SourceOptions:
    return replace(options, embedding_column=None, drop_bad_rows=False)
