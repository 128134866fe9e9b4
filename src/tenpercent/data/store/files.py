"""Atomic writes: a file is written under a temporary name, then renamed."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ...errors import RunFolderError, UsageError, cant_write
from .checksums import ABOUT, CHECKSUMS, of_table
from .remains import TEMPORARY, held, remove_remains

ROW_GROUP = 1 << 20  # rows written at a time
_OURS = secrets.token_hex(4)  # processes of two machines may have the same number


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success it replaces `path`, on failure it is removed.

    Raises:
        RunFolderError: the disk is full or the folder can't be written.
    """
    if path.suffix == TEMPORARY:  # of a file that whoever calls replaces
        yield path
        return
    temporary = path.with_name(f"{path.name}.{os.getpid()}-{_OURS}{TEMPORARY}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.touch()
        with held(temporary):
            yield temporary
            with temporary.open("rb") as file:
                os.fsync(file.fileno())
            temporary.replace(path)
    except OSError as error:
        _remove(temporary)  # so that its bytes count as free
        raise RunFolderError(f"{cant_write(path, error)}, or choose another folder") from error
    finally:
        _remove(temporary)


def _remove(temporary: Path) -> None:
    if temporary.parent.is_dir():  # else there is nothing to remove, and asking would be the next error
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write `text` as UTF-8, whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_table(path: Path, table: pa.Table, metadata: dict[str, Any], *, checksums: bool = False) -> None:
    """Write `table` as Parquet with `metadata` as JSON under the key ``tenpercent``; equal input, equal bytes.

    Args:
        path: the file.
        table: its columns.
        metadata: what JSON can hold.
        checksums: store the columns' checksums with them; for files of which `run.json` keeps none.
    """
    about = {ABOUT: json.dumps(metadata, sort_keys=True).encode()}
    if checksums:
        about[CHECKSUMS] = of_table(about[ABOUT], table).encode()
    _write(path, iter([table]), about)


def write_parts(path: Path, parts: Iterator[pa.Table], metadata: dict[str, Any]) -> None:
    """Write a table, to the same bytes as `write_table`, from parts of `ROW_GROUP` rows; the last may have fewer."""
    _write(path, parts, {ABOUT: json.dumps(metadata, sort_keys=True).encode()})


def _write(path: Path, parts: Iterator[pa.Table], about: dict[bytes, bytes]) -> None:
    first = next(parts)
    schema = first.schema.with_metadata(about)
    with (
        replacing(path) as temporary,
        pq.ParquetWriter(temporary, schema, compression="zstd", store_schema=True) as writer,
    ):
        for part in chain([first], parts):
            writer.write_table(part, row_group_size=ROW_GROUP)


def own_folder(folder: Path, record: str, outputs: Sequence[str], version: int, what: str) -> Path:
    """Return the folder of a command's outputs, marked by a record and cleared of a killed process's leftovers.

    Args:
        folder: the output folder.
        record: the name of the JSON file that marks it.
        outputs: the names of the other files.
        version: the format of the record.
        what: what the folder holds, for the error message.

    Raises:
        UsageError: it holds other things.
    """
    path = folder / record
    if folder.is_dir():
        remove_remains(path, *(folder / name for name in outputs))
        if not path.exists() and any(folder.iterdir()):
            raise UsageError(f"{folder} is not empty and holds no {what}; choose another --out")
    if not path.exists():
        write_text(path, json.dumps({"format": version}) + "\n")
    return folder


def read_metadata(path: Path) -> dict[str, Any]:
    """Return the JSON that `write_table` stored beside a table, unchecked; empty where there is none."""
    raw = (pq.read_schema(path).metadata or {}).get(ABOUT)
    return dict(json.loads(raw)) if raw else {}


def remove_temporaries(output: Path) -> None:
    """Remove the half-written remains of `output`, a file or a folder of files, that a killed process left.

    Call it while holding the lock of the stage that writes `output`.
    """
    pattern = f"*{TEMPORARY}" if output.is_dir() else f"{output.name}.*{TEMPORARY}"
    for path in (output if output.is_dir() else output.parent).glob(pattern):
        path.unlink(missing_ok=True)


def fingerprint(settings: Any) -> str:
    """Return a hash of `settings` (anything JSON can hold), 16 hexadecimal digits."""
    text = json.dumps(settings, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
