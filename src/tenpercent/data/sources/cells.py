"""Image cells of a table: a struct of bytes and path, or plain bytes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import pyarrow as pa

from ..decoding.decode import Unreadable


def bytes_of(cell: object, folder: Path | None) -> bytes:
    """Return the encoded image of a cell; if it holds a path only, the bytes of that file, relative to `folder`.

    Raises:
        Unreadable: the cell is empty.
        OSError: the file can't be read.
    """
    content, path = (cell.get("bytes"), cell.get("path")) if isinstance(cell, dict) else (cell, None)
    if isinstance(content, bytes):
        return content
    if not isinstance(path, str) or not path:
        raise Unreadable("the row holds no image")
    if folder is None and not Path(path).is_absolute():
        raise Unreadable(f"the row holds no bytes, only the path {path!r}")
    return (folder / path if folder is not None else Path(path)).read_bytes()


def has_path(kind: pa.DataType) -> bool:
    """Return whether the cells of this type have paths."""
    return bool(pa.types.is_struct(kind)) and any(field.name == "path" for field in kind)


def paths_of(cells: pa.ChunkedArray) -> list[str | None]:
    """Return the path of each cell, without its bytes."""
    return [path for chunk in cells.chunks for path in chunk.field("path").to_pylist()]


def ids_of(paths: Sequence[str | None], folder: Path | None) -> tuple[str, ...] | None:
    """Return the paths of the cells as ids, or None where they are unsuitable.

    They are suitable where every row has a unique one, and none depends on a machine: absolute paths are accepted
    below `folder` only.
    """
    ids: list[str] = []
    for path in paths:
        if not path or "://" in path:
            return None
        place = PurePosixPath(path)
        if place.is_absolute():
            if folder is None or not place.is_relative_to(folder.as_posix()):
                return None
            path = place.relative_to(folder.as_posix()).as_posix()
        ids.append(path)
    return tuple(ids) if len(set(ids)) == len(ids) else None
