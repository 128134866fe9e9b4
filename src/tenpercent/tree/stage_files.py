"""Reading of what a stage made from embeddings, with an error where it can't be used."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypedDict

import pyarrow as pa

from ..data.store.embeddings import Embeddings
from ..data.store.tables import Layout, read_checked
from ..errors import StageError


class StageAbout(TypedDict):
    """Metadata common to all such files."""

    format: int
    origin: str
    n: int


def read_stage(
    path: Path, layout: Layout, embeddings: Embeddings | None, command: str
) -> tuple[pa.Table, dict[str, Any]]:
    """Return a stage's table and its metadata.

    Args:
        path: the file.
        layout: its layout.
        embeddings: those it must have been made from; None to skip this check.
        command: the command that makes it.

    Raises:
        StageError: there is none, it is damaged, of a newer format, or made from other embeddings.
    """
    if not path.is_file():
        raise StageError(f"{path} does not exist; make it with: {command}")
    table, about = read_checked(path, layout)
    if embeddings is not None and (about["origin"], about["n"]) != (embeddings.origin, len(embeddings)):
        raise StageError(
            f"{path} was made from other embeddings ({about['n']:,} images, {about['origin']}) than these "
            f"({len(embeddings):,}, {embeddings.origin}); make it anew with: {command}"
        )
    return table, about
