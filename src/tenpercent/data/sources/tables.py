"""Labels, ids and images of the rows of a table."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from ...errors import SourceError, UsageError, one_line
from ..store.labels import Ints, Labels, none_words, number_labels, plain
from . import columns_0_1
from .arrow_types import can_be_id, can_be_label, is_bytes, is_number, is_text, plain_column
from .classes import refuse_case_twins
from .columns import TableColumns
from .remote.place import Place
from .source import Unreadable

SEVERAL = 20  # classes that a small sample of a large set may well have with one image each
OTHER_LABELS = "name the labels with --label-column OTHER, or take none with --label-column none"


@dataclass(frozen=True, eq=False)
class Rows:
    """Labels and ids of the n rows of a table.

    Attributes:
        labels: int64[n], −1 for none; None where no row has a label.
        class_names: the name of each code.
        ids: str[n], unique; None for row numbers.
        taken: what was taken for what, as in `ImageSource.taken`.
    """

    labels: Ints | None
    class_names: tuple[str, ...]
    ids: tuple[str, ...] | None
    taken: dict[str, str]


def read_rows(
    columns: TableColumns,
    read: Callable[[list[str]], pa.Table],
    spec: str,
    rules: int,
    paths: Sequence[str] | None = None,
) -> Rows:
    """Read the labels and ids of a table.

    Args:
        columns: the columns that hold them.
        read: names of columns -> these columns, whole.
        spec: name of the table in messages.
        rules: the rules for reading (`SourceOptions.rules`).
        paths: the paths of its images, where they can be ids.

    Raises:
        SourceError: invalid labels, or requested ids that are unsuitable.
    """
    taken: dict[str, str] = {}
    for what, name in (("images", columns.image), ("vectors", columns.vector), ("labels", columns.label)):
        if name is not None:
            taken[what] = f"column {name}"
    if columns.vector is not None and columns.image is not None:
        taken["pictures"] = f"pictures from {taken.pop('images')}"
    labels = Labels(None, ())
    if columns.label is not None and columns.by:
        values = read([columns.label])[columns.label]
        labels, taken["by"] = groups_of(values, columns.class_names, columns.label, spec)
    elif columns.label is not None:
        values = read([columns.label])[columns.label]
        labels = labels_of(values, columns.class_names, columns.label, spec, rules)
    if labels.remark:
        taken["none"] = labels.remark
    classes, labelled = len(labels.class_names), 0 if labels.codes is None else int((labels.codes >= 0).sum())
    if columns.class_names is None and classes > SEVERAL and 2 * classes > labelled:
        taken["distinct"] = (
            f"{classes:,} classes for {labelled:,} labelled images: if these are not labels, give --label-column none"
        )
    if rules > 1:
        ids = _ids(columns, read, spec, paths, taken)
    elif columns.vector is None or columns.id is None:  # version 0.1 took paths for images only
        ids = None if paths is None or columns.vector is not None else tuple(paths)
    else:
        ids = tuple(map(str, read([columns.id])[columns.id].to_pylist()))
    return Rows(labels.codes, labels.class_names, ids, {**taken, **columns.remarks})


def _ids(
    columns: TableColumns,
    read: Callable[[list[str]], pa.Table],
    spec: str,
    paths: Sequence[str] | None,
    taken: dict[str, str],
) -> tuple[str, ...] | None:
    """Return the ids: of the requested column, else the paths of the images, else of a column with a usual name."""
    if paths is not None and columns.id_asked is None:
        taken["ids"] = f"the paths in column {columns.image}"
        return tuple(paths)
    if columns.id is None:
        taken["ids"] = "row numbers"
        return None
    ids, why = ids_of_column(read([columns.id])[columns.id])
    if ids is None and columns.id_asked is not None:
        raise SourceError(
            f"--id-column {columns.id}: {why} in {spec}; give another column, or none for row numbers"
        )
    taken["ids"] = f"row numbers ({why} in column {columns.id})" if ids is None else f"column {columns.id}"
    return ids


def ids_of_column(column: pa.ChunkedArray) -> tuple[tuple[str, ...] | None, str]:
    """Return the values of a column as ids, or None and the reason why they are unsuitable."""
    if not can_be_id(column.type):
        return None, f"there is {column.type}"
    try:
        names = _as_text(column)
    except (UsageError, pa.ArrowException) as error:
        return None, one_line(error)
    seen: set[str | None] = set()
    for row, name in enumerate(names):
        if not name:
            return None, f"row {row} is empty"
        if name in seen:
            return None, f"{name!r} occurs more than once"
        seen.add(name)
    return tuple(map(str, names)), ""


def _as_text(column: pa.ChunkedArray) -> list[str | None]:
    """Return text, whole numbers and UUIDs as text.

    Raises:
        UsageError: a number that is not whole.
        pyarrow.ArrowException: bytes that are not text.
    """
    values = plain_column(column)
    if isinstance(column.type, pa.BaseExtensionType) and pa.types.is_fixed_size_binary(values.type):
        return [None if value is None else str(value) for value in column.to_pylist()]
    if pa.types.is_integer(values.type) or not is_number(values.type):
        found: list[str | None] = values.cast(pa.large_string()).to_pylist()
        return found
    numbers, missing = _numbers(values)
    pairs = zip(numbers.tolist(), missing.tolist(), strict=True)
    return [None if gone else str(number) for number, gone in pairs]


def labels_of(
    column: pa.ChunkedArray,
    class_names: tuple[str, ...] | None,
    name: str,
    spec: str,
    rules: int,
    remedy: str = OTHER_LABELS,
) -> Labels:
    """Return a column as labels: text in its sort order, numbers by `number_labels`, bool as two classes.

    Args:
        column: of any type that `arrow_types.can_be_label` accepts.
        class_names: the name of each code where the table declares them.
        name, spec: names of the column and the table, for messages.
        rules: the rules for reading.
        remedy: what to do where they can't be labels.

    Raises:
        SourceError: values that can't be labels, numbers below -1 or beyond the names, names that differ by case only.
    """
    if rules == 1:
        found = columns_0_1.labels_of(column, class_names, spec)
        refuse_case_twins(found.class_names if is_text(column.type) else (), spec)
        return found
    try:
        values = plain_column(column)
        kind = values.type
        if pa.types.is_null(kind):
            return Labels(None, (), "; ".join(none_words({"null": len(column)})))
        text = is_text(kind) or is_bytes(kind) or pa.types.is_fixed_size_binary(kind)
        if not text:
            numbers, missing = _numbers(values)
            return number_labels(numbers, missing, class_names, truth=pa.types.is_boolean(kind))
        names = values.cast(pa.large_string())
    except (UsageError, pa.ArrowException) as error:
        reason = one_line(error).partition("; ")[0]  # without its remedy: for a table it is another
        raise SourceError(
            f"{spec}: column {name} holds {column.type}, which can't be labels: {reason}; {remedy}"
        ) from None
    return _text_labels(names, spec)


def groups_of(
    column: pa.ChunkedArray, class_names: tuple[str, ...] | None, name: str, spec: str
) -> tuple[Labels, str]:
    """Return the values of a column as classes, whatever it holds, and how they are used, in words.

    Times are classes by their text, lists by the set of their values.
    """
    said = f"column {name} takes the place of the class (--by)"
    kind = plain_column(column).type
    if can_be_label(column.type):
        return labels_of(column, class_names, name, spec, 2, "group by another column (--by)"), said
    lists = pa.types.is_nested(kind)
    values = [
        None if value is None else " + ".join(sorted({str(one) for one in value})) if lists else str(value)
        for value in plain_column(column).to_pylist()
    ]
    said += ": images of equal sets are clustered together" if lists else ""
    return _text_labels(pa.chunked_array([pa.array(values, pa.large_string())]), spec), said


def _text_labels(column: pa.ChunkedArray, spec: str) -> Labels:
    """Return text as classes in the order of the names; empty text means no label, as null does."""
    names = sorted(name for name in pc.unique(column).to_pylist() if name)
    refuse_case_twins(names, spec, "make the values alike, or choose another --label-column", forms=True)
    found = pc.index_in(column, value_set=pa.array(names, pa.large_string()))
    empty = int(pc.sum(pc.equal(column, "")).as_py() or 0)
    remark = "; ".join(none_words({"null": column.null_count, "empty text": empty}))
    codes = found.fill_null(-1).to_numpy().astype(np.int64)
    return Labels(codes, tuple(names), remark) if names else Labels(None, (), remark)


def _numbers(column: pa.ChunkedArray) -> tuple[Ints, npt.NDArray[np.bool_]]:
    """Return numbers or truth values as int64, and which of them are missing: null or NaN.

    Raises:
        UsageError: a number that is not whole, or beyond int64.
        pyarrow.ArrowException: likewise for a decimal.
    """
    kind = column.type
    if pa.types.is_floating(kind):
        array = column.cast(pa.float64()).to_numpy()  # null becomes NaN
    elif pa.types.is_uint64(kind):
        array = column.fill_null(0).to_numpy()
    else:
        array = column.cast(pa.int64()).fill_null(0).to_numpy()
    _, numbers, missing = plain(array)
    return numbers, missing | column.is_null().to_numpy()


# ---- cells that hold an image: a struct of bytes and path, or plain bytes -------------------------------------------


def bytes_of(cell: object, folder: Place | None) -> bytes:
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
