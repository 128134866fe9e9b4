"""Existing vectors: `.npy` files and vector columns."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ...errors import SourceError, UsageError, one_line
from ..store.embeddings import Embeddings, row_ids
from ..store.labels import Labels, label_codes, number_labels, plain
from . import columns_0_1
from .arrow_types import plain_column
from .classes import refuse_case_twins
from .options import SourceOptions
from .tables import Rows

_WHOLE = re.compile(r"\s*[-+]?[0-9]{1,18}\s*")  # a label in a text file that is a code


def open_npy(path: Path, options: SourceOptions) -> Embeddings:
    """Open a matrix of vectors [n, d], memory-mapped; no pickled object is ever loaded.

    Args:
        path: the `.npy` file; any real dtype and byte order.
        options: `labels` and `ids`, files with one entry per vector; `drop_bad_rows` (`Embeddings.from_numpy`); and the
            rules for reading labels.

    Raises:
        SourceError: a missing file, no array, or an array of objects.
        UsageError: what `Embeddings.from_numpy` refuses: rank, lengths, duplicate ids, nan, zero rows.
    """
    labels, ids = options.labels, options.ids
    vectors = _load(path, mapped=True)
    given = None if labels is None else _label_entries(labels, options.rules)
    found: Labels | None = None
    if given is not None and given.shape == vectors.shape[:1]:  # otherwise `from_numpy` reports what is wrong
        found = _file_labels(given, str(labels), options.rules)
    made = Embeddings.from_numpy(
        vectors,
        labels=given if found is None else found.codes,
        ids=None if ids is None else _one_a_row(ids),
        class_names=None if found is None or found.codes is None else found.class_names,
        drop_bad_rows=options.drop_bad_rows,
    )
    taken = {"labels": labels and labels.name, "ids": ids and ids.name, "none": found and found.remark}
    return replace(made, taken={what: text for what, text in taken.items() if text})


def _file_labels(given: npt.NDArray[Any], what: str, rules: int) -> Labels:
    """Return the labels of a file as codes, by the given rules.

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
    empty = ("",) if rules == 1 and (values == "").any() else ()  # a class in version 0.1
    known = None if not empty else (*empty, *sorted({*values[~missing].tolist()} - {""}))
    codes, names = label_codes(given, known, len(given))
    refuse_case_twins(names, what, "make these labels alike", forms=rules != 1)
    return Labels(codes, names)


def vectors_from_table(
    rows: Rows,
    name: str,
    vectors: Iterable[pa.Array],
    n: int,
    spec: str,
    *,
    drop_bad_rows: bool,
    where: tuple[npt.NDArray[np.int64], str] | None = None,
) -> Embeddings:
    """Create embeddings from the vectors of a table's column.

    Args:
        rows: the labels and ids of the table.
        name: name of the column of vectors.
        vectors: the column, piece by piece.
        n: number of rows.
        spec: name of the table in messages.
        drop_bad_rows: set aside bad rows (`Embeddings.from_numpy`), including null and empty ones.
        where: the rows to take, and the words for that (`where.rows_where`); None for all.

    Raises:
        SourceError: a vector has another length than the first.
        UsageError: what `Embeddings.from_numpy` refuses.
    """
    matrix, labels, ids, taken = matrix_of(vectors, n, name, spec), rows.labels, rows.ids, rows.taken
    if where is not None:
        chosen, taken = where[0], {**taken, "where": where[1]}
        matrix, labels = matrix[chosen], None if labels is None else labels[chosen]
        names = row_ids(n) if ids is None else np.asarray(ids, dtype=object)
        ids = tuple(names[chosen].tolist())
    found = Embeddings.from_numpy(
        matrix,
        labels=labels,
        ids=ids,
        class_names=rows.class_names or None,
        drop_bad_rows=drop_bad_rows,
    )
    return replace(found, taken=taken, shared=False)


def matrix_of(pieces: Iterable[pa.Array], n: int, name: str, spec: str) -> npt.NDArray[Any]:
    """Return a column of n lists as a matrix; float64 stays so, others become float32.

    Null values become nan, as does a whole row that is null or empty. Each piece is converted by itself: all values
    together may exceed the size of an Arrow array.
    """
    matrix: npt.NDArray[Any] | None = None
    start = 0
    for piece in chain.from_iterable(plain_column(pa.chunked_array([piece])).chunks for piece in pieces):
        sizes = _lengths(piece)
        there = sizes > 0
        if matrix is None and there.any():
            first, width = start + int(there.argmax()), int(sizes[there.argmax()])
            matrix = _room(n, width, piece.type.value_type)
            matrix[:start] = np.nan
        if matrix is not None:
            if (sizes[there] != width).any():
                at = int((there & (sizes != width)).argmax())
                raise SourceError(
                    f"{spec}: row {start + at} of column {name} has {sizes[at]:,} values, row {first} has {width:,}; "
                    f"all vectors must have the same length"
                )
            rows = matrix[start : start + len(piece)]
            if not there.all():
                rows[~there] = np.nan
            if there.any():
                rows[there if not there.all() else slice(None)] = (
                    piece.flatten().to_numpy(zero_copy_only=False).reshape(-1, width)
                )
        start += len(piece)
    if matrix is None:
        raise SourceError(f"{spec}: all {n:,} rows of column {name} are null or empty; choose another column")
    matrix.flags.writeable = False  # not shared with anybody, so it need not be copied
    return matrix


def _lengths(piece: pa.Array) -> npt.NDArray[np.int64]:
    """Return the number of values of each list, 0 for null: int64[k]."""
    if pa.types.is_null(piece.type):
        return np.zeros(len(piece), dtype=np.int64)
    return np.asarray(piece.value_lengths().fill_null(0), dtype=np.int64)


def _room(n: int, width: int, kind: pa.DataType) -> npt.NDArray[Any]:
    return np.empty((n, width), dtype=np.float64 if pa.types.is_float64(kind) else np.float32)


def _load(path: Path, mapped: bool = False) -> npt.NDArray[Any]:
    try:
        with path.open("rb") as file:
            is_npy = file.read(6) == b"\x93NUMPY"
    except OSError as error:
        raise SourceError(f"{path} can't be read ({error.strerror}); give a .npy file") from None
    if not is_npy:
        raise SourceError(f"{path} is not a .npy file; write it with numpy.save")
    try:
        array = np.load(path, mmap_mode="r" if mapped and _has_values(path) else None, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise SourceError(
            f"{path} is not an array of numbers ({one_line(error).rstrip('.')}); write it again with numpy.save"
        ) from None
    return np.asanyarray(array)


def _has_values(path: Path) -> bool:
    """Return whether the file is longer than its header can be: an empty array can't be mapped."""
    return path.stat().st_size > 128


def _label_entries(path: Path, rules: int) -> npt.NDArray[Any]:
    """Read labels: codes where every line is an integer, else names; None for an empty line.

    By rules 1 an empty line is a name, and `1_0` is an integer, as in Python.
    """
    entries = _one_a_row(path)
    if path.suffix.lower() == ".npy":
        return entries
    lines = entries.tolist()
    if rules == 1:
        try:
            return np.array(list(map(int, lines)), dtype=np.int64)
        except (ValueError, OverflowError):
            return entries  # not codes, so names
    coded = all(_WHOLE.fullmatch(line) for line in lines if line)
    return np.array([(int(line) if coded else line) if line else None for line in lines], dtype=object)


def _one_a_row(path: Path) -> npt.NDArray[Any]:
    """Read labels or ids: `.npy`, or a text file with one per line."""
    if path.suffix.lower() == ".npy":
        return _load(path)
    if path.suffix.lower() != ".txt":
        raise SourceError(
            f"{path} ends with {path.suffix!r}; give a .npy file, or a .txt file with one entry a line"
        )
    try:
        # Parted at newlines alone: ids and names of classes may hold the rarer separators of `splitlines`.
        text = path.read_text(encoding="utf-8-sig")
        lines = text.removesuffix("\n").split("\n") if text else []
    except OSError as error:
        raise SourceError(
            f"{path} can't be read ({error.strerror}); give a text file with one entry a line"
        ) from None
    except UnicodeDecodeError:
        raise SourceError(f"{path} is not UTF-8 text; give a text file with one entry a line") from None
    return np.array(lines, dtype=object)
