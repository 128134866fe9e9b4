"""Reading of what a stage made from embeddings, with an error where it can't be used."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypedDict

import pyarrow as pa

from ..data.store.checks import as_path
from ..data.store.checksums import RECORD
from ..data.store.embeddings import Embeddings
from ..data.store.tables import Layout, read_checked
from ..errors import StageError, quoted


class StageAbout(TypedDict):
    """Metadata common to all such files."""

    format: int
    origin: str
    n: int


def stored_file(path: str | Path, name: str, what: str) -> Path:
    """Return the path of a stage's file that a caller names by itself or by its run folder.

    Args:
        path: the file, or the run folder.
        name: the name of the file in a run folder.
        what: what the file holds, with its article, for errors.

    Raises:
        StageError: the path does not exist, or is a folder without such a file that is not a run folder.
    """
    path = as_path(path, what)
    if not path.exists() and path.suffix != ".parquet":
        raise StageError(
            f"{path} does not exist; make a run folder with: tenpercent run SOURCE --out {quoted(path)}"
        )
    if not path.is_dir():
        return path
    if not (path / name).is_file() and not (path / RECORD).is_file():
        raise StageError(
            f"{path} is not a run folder (no {RECORD}); make one with: tenpercent run SOURCE --out RUN"
        )
    return path / name


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
            f"({len(embeddings):,}, {embeddings.origin}); make it again with: {command}"
        )
    return table, about
