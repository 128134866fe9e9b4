"""Whole files or none: write under a temporary name, then rename."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ..errors import RunFolderError, StageError
from .remains import TEMPORARY, held


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success it takes the place of `path`, on failure it is removed.

    Raises:
        RunFolderError: the disk is full or the folder can't be written.
    """
    temporary = path.with_name(f"{path.name}.{os.getpid()}{TEMPORARY}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.touch()
        with held(temporary):
            yield temporary
            with temporary.open("rb") as file:
                os.fsync(file.fileno())
            temporary.replace(path)
    except OSError as error:
        raise RunFolderError(
            f"can't write {path}: {error.strerror or error}; free some space there, or choose another folder"
        ) from error
    finally:
        if path.parent.is_dir():  # else there is nothing to remove, and asking would be the next error
            temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write `text` as UTF-8, whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_table(path: Path, table: pa.Table, metadata: dict[str, Any]) -> None:
    """Write `table` as Parquet with `metadata` as JSON under the key ``tenpercent``; equal input, equal bytes."""
    tagged = table.replace_schema_metadata({"tenpercent": json.dumps(metadata, sort_keys=True)})
    with replacing(path) as temporary:
        pq.write_table(tagged, temporary, compression="zstd", store_schema=True)


def read_metadata(path: Path) -> dict[str, Any]:
    """Return the JSON that `write_table` stored in a Parquet file's schema; empty where there is none.

    Raises:
        StageError: the file is damaged.
    """
    with _whole(path):
        raw = (pq.read_schema(path).metadata or {}).get(b"tenpercent")
    return dict(json.loads(raw)) if raw else {}


def read_table(path: Path) -> pa.Table:
    """Return a whole Parquet file.

    Raises:
        StageError: the file is damaged.
    """
    with _whole(path):
        return pq.read_table(path)


def read_columns(path: Path, columns: list[str]) -> pa.Table:
    """Return some columns of a Parquet file.

    Raises:
        StageError: the file is damaged.
    """
    with _whole(path):
        return pq.read_table(path, columns=columns)


def count_rows(path: Path) -> int:
    """Return how many rows a Parquet file has.

    Raises:
        StageError: the file is damaged.
    """
    with _whole(path):
        return int(pq.read_metadata(path).num_rows)


@contextmanager
def _whole(path: Path) -> Iterator[None]:
    try:
        yield
    except (pa.ArrowException, OSError) as error:
        raise StageError(
            f"{path} is damaged ({str(error).splitlines()[0]}); delete it and repeat the command that made it"
        ) from None


def remove_temporaries(output: Path) -> None:
    """Remove what a killed process left half-written of `output`, a file or a folder of files.

    Call it while holding the lock of the stage that writes `output`.
    """
    pattern = f"*{TEMPORARY}" if output.is_dir() else f"{output.name}.*{TEMPORARY}"
    for path in (output if output.is_dir() else output.parent).glob(pattern):
        path.unlink(missing_ok=True)


def fingerprint(settings: Any) -> str:
    """Return 16 hexadecimal digits that stand for `settings` (anything JSON can hold)."""
    text = json.dumps(settings, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
