"""Read back a table that `write_table` wrote, or say why it can't serve."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ..errors import StageError
from ..store.embeddings import Embeddings
from ..store.files import read_metadata


def read_stage(
    path: Path, newest: int, embeddings: Embeddings | None, command: str
) -> tuple[pa.Table, dict[str, Any]]:
    """Return a stage's table and what was stored beside it.

    Args:
        path: the file.
        newest: the highest format that this version reads.
        embeddings: what it must have been made from; None to take it as it is.
        command: what makes it.

    Raises:
        StageError: there is none, it is damaged, of a newer format, or made from other embeddings.
    """
    if not path.is_file():
        raise StageError(f"{path} does not exist; make it with: {command}")
    try:
        table, about = pq.read_table(path), read_metadata(path)
    except (pa.ArrowException, OSError) as error:
        raise StageError(
            f"{path} is damaged ({str(error).splitlines()[0]}); make it anew with: {command}"
        ) from None
    if "origin" not in about:
        raise StageError(f"{path} was not written by tenpercent; make it anew with: {command}")
    if int(about["format"]) > newest:
        raise StageError(
            f"{path} has format {about['format']}, this version reads up to {newest}; update tenpercent"
        )
    if embeddings is not None and (about["origin"], about["n"]) != (embeddings.origin, len(embeddings)):
        raise StageError(
            f"{path} was made from other embeddings ({about['n']:,} images, {about['origin']}) than these "
            f"({len(embeddings):,}, {embeddings.origin}); make it anew with: {command}"
        )
    return table, about
