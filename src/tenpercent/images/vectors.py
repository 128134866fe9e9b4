"""Vectors that are there already: `.npy` files and vector columns."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ..errors import SourceError
from ..store.embeddings import Embeddings
from .columns import NO_CLASSES, Columns, check_codes, labels_of, refuse_case_twins


def open_npy(path: Path, labels: Path | None, ids: Path | None) -> Embeddings:
    """Open a matrix of vectors [n, d], memory-mapped; no pickled object is ever loaded.

    Args:
        path: the `.npy` file; any real dtype and byte order.
        labels: codes (-1: none) or names, one a vector: `.npy`, or `.txt` with one a line.
        ids: one a vector, `.npy` or `.txt`; None for the row numbers.

    Raises:
        SourceError: a file that is missing, no array, or an array of objects.
        UsageError: what `Embeddings.from_numpy` refuses: rank, lengths, duplicate ids, nan, zero rows.
    """
    vectors = _load(path, mapped=True)
    given = None if labels is None else _one_a_row(labels)
    names: tuple[str, ...] | None = None
    if given is not None and given.shape == vectors.shape[:1]:
        if given.dtype.kind in "iu":
            given, names = check_codes(given.astype(np.int64), None, str(labels))
        elif given.dtype.kind == "U":
            refuse_case_twins(sorted(set(given.tolist())), str(labels), "make these labels alike")
    identified = None if ids is None else _one_a_row(ids, text=True)
    return Embeddings.from_numpy(vectors, labels=given, ids=identified, class_names=names or None)


def vectors_from_table(table: pa.Table, columns: Columns, spec: str) -> Embeddings:
    """Take the vectors, labels and ids of a table's columns.

    Raises:
        SourceError: a vector is missing or has another length than the first.
        UsageError: what `Embeddings.from_numpy` refuses.
    """
    assert columns.vector is not None
    labels, names = None, NO_CLASSES
    if columns.label is not None:
        labels, names = labels_of(table[columns.label], columns.class_names, spec)
    return Embeddings.from_numpy(
        _matrix(table[columns.vector], columns.vector, spec),
        labels=labels,
        ids=None if columns.id is None else [str(name) for name in table[columns.id].to_pylist()],
        class_names=names or None,
    )


def _matrix(column: pa.ChunkedArray, name: str, spec: str) -> npt.NDArray[Any]:
    """Return a column of lists as a matrix; float64 stays so, others become float32."""
    if column.null_count:
        row = column.is_null().to_numpy().argmax()
        raise SourceError(f"{spec}: row {row} of column {name} is null; remove that row")
    lengths = column.combine_chunks().value_lengths() if len(column) else pa.array([], pa.int32())
    sizes = lengths.to_numpy(zero_copy_only=False)
    if len(sizes) and sizes.min() != sizes.max():
        row = int((sizes != sizes[0]).argmax())
        raise SourceError(
            f"{spec}: row {row} of column {name} has {sizes[row]} values, row 0 has {sizes[0]}; "
            f"all vectors must be equally long"
        )
    kind = np.float64 if pa.types.is_float64(column.type.value_type) else np.float32
    width = int(sizes[0]) if len(sizes) else 0
    matrix = np.empty((len(column), width), dtype=kind)
    start = 0
    for chunk in column.chunks:
        values = chunk.flatten().to_numpy(
            zero_copy_only=False
        )  # null values become nan, which is refused later
        matrix[start : start + len(chunk)] = values.reshape(len(chunk), width)
        start += len(chunk)
    return matrix


def _load(path: Path, mapped: bool = False) -> npt.NDArray[Any]:
    try:
        with path.open("rb") as file:
            is_npy = file.read(6) == b"\x93NUMPY"
    except OSError as error:
        raise SourceError(f"{path} can't be read ({error.strerror}); give a .npy file") from None
    if not is_npy:
        raise SourceError(f"{path} is no .npy file; write it with numpy.save")
    try:
        array = np.load(path, mmap_mode="r" if mapped and _has_values(path) else None, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        reason = " ".join(str(error).split())
        raise SourceError(
            f"{path} is no array of numbers ({reason}); write it again with numpy.save"
        ) from None
    return np.asanyarray(array)


def _has_values(path: Path) -> bool:
    """Whether the file is longer than its header can be: an empty array can't be mapped."""
    return path.stat().st_size > 128


def _one_a_row(path: Path, text: bool = False) -> npt.NDArray[Any]:
    """Read labels or ids: `.npy`, or a text file with one a line (codes where every line is an integer)."""
    if path.suffix.lower() == ".npy":
        return _load(path)
    if path.suffix.lower() != ".txt":
        raise SourceError(
            f"{path} ends with {path.suffix!r}; give a .npy file, or a .txt file with one entry a line"
        )
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except OSError as error:
        raise SourceError(
            f"{path} can't be read ({error.strerror}); give a text file with one entry a line"
        ) from None
    except UnicodeDecodeError:
        raise SourceError(f"{path} is not UTF-8 text; give a text file with one entry a line") from None
    if not text:
        try:
            return np.array([int(line) for line in lines], dtype=np.int64)
        except (ValueError, OverflowError):
            return np.array(lines, dtype=np.str_)  # not codes, so names
    return np.array(lines, dtype=object)
