"""Checksums of the files of a run folder, per column of a table or per whole file, kept in `run.json`.

They cover values, not bytes: a file is the same with or without stored checksums, and whoever reads some columns
of a table need not read the others.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

ABOUT, CHECKSUMS = b"tenpercent", b"tenpercent.checksums"  # in the metadata of a table's schema
RECORD = "run.json"
DEPTH = 2  # folders between a file and `run.json`, at most


def of_file(path: Path) -> str:
    """Return the checksums of a table, as `of_table` gives them, or of the bytes of another file."""
    if path.suffix != ".parquet":
        return checksum(path.read_bytes())
    # A column at a time: all of them may take more memory than making them.
    with pq.ParquetFile(path) as file:
        schema = file.schema_arrow
        columns = (file.read(columns=[name]).column(0) for name in schema.names)
        return _joined((schema.metadata or {}).get(ABOUT, b""), columns)


def of_table(about: bytes, table: pa.Table) -> str:
    """Return the checksums of the metadata and of each column in order, joined by full stops."""
    return _joined(about, table.columns)


def _joined(about: bytes, columns: Iterable[pa.ChunkedArray]) -> str:
    return ".".join([checksum(about), *map(checksum, columns)])


def recorded(path: Path) -> str | None:
    """Return the checksums that the `run.json` above a file keeps, as `of_file` gives them, or None."""
    for folder in list(path.absolute().parents)[:DEPTH]:
        record = folder / RECORD
        try:
            found = record.stat()
        except OSError:
            continue
        kept = _kept(record, found.st_mtime_ns, found.st_size)
        value = kept.get(path.absolute().relative_to(folder).as_posix())
        return value if isinstance(value, str) else None
    return None


@lru_cache(maxsize=8)
def _kept(record: Path, written: int, size: int) -> dict[str, Any]:
    try:
        kept = json.loads(record.read_bytes()).get("checksums")
    except (OSError, ValueError, AttributeError, RecursionError):
        return {}  # opening the run reports it
    return kept if isinstance(kept, dict) else {}


def checksum(content: bytes | pa.ChunkedArray) -> str:
    """Return a checksum of bytes or of a column's values, however they lie in memory: eight hexadecimal digits.

    CRC-32 detects damage, not forgery, at about 2 GB/s per thread.
    """
    found = 0
    for data in [content] if isinstance(content, bytes) else _streams(content):
        found = zlib.crc32(data, found)
    return f"{found:08x}"


def _streams(column: pa.ChunkedArray) -> Iterator[Any]:
    """Yield the buffers that distinguish the values of a column from others."""
    kind, chunks = column.type, column.chunks
    nested = pa.types.is_nested(kind)  # Parquet may name their fields differently
    yield f"{'' if nested else kind}{len(column)}".encode()
    if column.null_count:
        yield from (chunk.is_null().to_numpy(zero_copy_only=False) for chunk in chunks)
        chunks = column.drop_null().chunks
    if pa.types.is_struct(kind):
        for number in range(kind.num_fields):
            inner = [chunk.field(number) for chunk in chunks]
            yield from _streams(pa.chunked_array(inner, kind.field(number).type))
    elif nested:
        if not pa.types.is_fixed_size_list(kind):
            yield from (pc.list_value_length(chunk).to_numpy() for chunk in chunks)
        yield from _streams(pa.chunked_array([chunk.flatten() for chunk in chunks], kind.value_type))
    elif pa.types.is_string(kind) or pa.types.is_binary(kind):
        yield from (pc.binary_length(chunk).to_numpy() for chunk in chunks)
        yield from (_bytes_of(chunk) for chunk in chunks if len(chunk))
    else:
        yield from (chunk.to_numpy(zero_copy_only=not pa.types.is_boolean(kind)) for chunk in chunks)


def _bytes_of(texts: pa.Array) -> memoryview:
    _, ends, data = texts.buffers()
    ends = np.frombuffer(ends, np.int32)[texts.offset : texts.offset + len(texts) + 1]
    return memoryview(data or b"")[ends[0] : ends[-1]]
