"""Vectors that are there already: `.npy` files and vector columns."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ..errors import SourceError, UsageError
from ..store.embeddings import Embeddings
from ..store.labels import Labels, label_codes, number_labels, plain
from . import columns_0_1
from .columns import Columns, refuse_case_twins
from .options import RULES
from .tables import read_rows


def open_npy(path: Path, labels: Path | None, ids: Path | None, rules: int = RULES) -> Embeddings:
    """Open a matrix of vectors [n, d], memory-mapped; no pickled object is ever loaded.

    Args:
        path: the `.npy` file; any real dtype and byte order.
        labels: codes (-1: none) or names, one a vector: `.npy`, or `.txt` with one a line.
        ids: one a vector, `.npy` or `.txt`; None for the row numbers.
        rules: by which labels are read (`SourceOptions.rules`).

    Raises:
        SourceError: a file that is missing, no array, or an array of objects.
        UsageError: what `Embeddings.from_numpy` refuses: rank, lengths, duplicate ids, nan, zero rows.
    """
    vectors = _load(path, mapped=True)
    given = None if labels is None else _one_a_row(labels)
    found: Labels | None = None
    if given is not None and given.shape == vectors.shape[:1]:  # else `from_numpy` says what is wrong
        found = _file_labels(given, str(labels), rules)
    made = Embeddings.from_numpy(
        vectors,
        labels=given if found is None else found.codes,
        ids=None if ids is None else _one_a_row(ids, text=True),
        class_names=None if found is None or found.codes is None else found.class_names,
    )
    taken = {"labels": labels and labels.name, "ids": ids and ids.name, "none": found and found.remark}
    return replace(made, taken={what: text for what, text in taken.items() if text})


def _file_labels(given: npt.NDArray[Any], what: str, rules: int) -> Labels:
    """Return the labels of a file as codes, by the rules that hold.

    Raises:
        SourceError: a value that can't be a label, or names that differ by case only.
    """
    if rules == 1 and given.dtype.kind in "iu":
        return columns_0_1.check_codes(given.astype(np.int64), None, what)
    try:
        kind, values, missing = plain(given)
        if kind != "text":
            return number_labels(values, missing, None, truth=kind == "bool")
    except UsageError as error:
        raise SourceError(f"{what}: {error}") from None
    codes, names = label_codes(given, None, len(given))
    refuse_case_twins(names, what, "make these labels alike", forms=rules != 1)
    return Labels(codes, names)


def vectors_from_table(
    columns: Columns, read: Callable[[list[str]], pa.Table], spec: str, rules: int
) -> Embeddings:
    """Take the vectors, labels and ids of a table's columns.

    Args:
        columns: which hold them.
        read: names of columns -> these columns, whole.
        spec: what the table is called in messages.
        rules: by which they are read (`SourceOptions.rules`).

    Raises:
        SourceError: a vector is missing or has another length than the first, or labels are none.
        UsageError: what `Embeddings.from_numpy` refuses.
    """
    assert columns.vector is not None
    rows = read_rows(columns, read, spec, rules)
    vectors = _matrix(read([columns.vector])[columns.vector], columns.vector, spec)
    vectors.flags.writeable = False  # nobody else has them: not to be copied
    found = Embeddings.from_numpy(
        vectors,
        labels=rows.labels,
        ids=rows.ids,
        class_names=rows.class_names or None,
    )
    return replace(found, taken=rows.taken, shared=False)


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
