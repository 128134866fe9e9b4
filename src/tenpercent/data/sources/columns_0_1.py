"""Columns and label codes of a table by the rules of version 0.1, by which its run folders are read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from ...errors import SourceError
from ..store.labels import Labels
from .options import SourceOptions

IMAGE_NAMES = ("image", "img")
LABEL_NAMES = ("label", "labels", "class", "class_name", "target", "category", "y")
ID_NAMES = ("id", "ids", "image_id", "file_name", "filename", "path")
NEVER_LABELS = (*ID_NAMES, "row", "index", "idx", "width", "height", "hash", "text", "caption", "url")
HIGHEST_CODE = 1_000_000
Features = dict[str, dict[str, Any]]


def find(
    schema: pa.Schema, features: Features, options: SourceOptions, spec: str
) -> tuple[str | None, str | None, str | None, str | None]:
    """Return the columns of images, labels, vectors and ids; None where there is none.

    Raises:
        SourceError: a requested column is missing or of another type, or the choice is ambiguous: the file has changed
            since the run was made.
    """
    image: str | None = None
    vector: str | None = None
    images = [each.name for each in schema if _is_image(each.type, features.get(each.name))]
    vectors = _fitting(schema, _is_vector)
    if options.embedding_column is not None:
        vector = _chosen(vectors, (), "--embedding-column", spec, options.embedding_column)
    elif options.image_column is not None or images:
        image = _chosen(images, IMAGE_NAMES, "--image-column", spec, options.image_column)
    else:
        vector = _chosen(vectors, (), "--embedding-column", spec)
    if image is None and vector is None:
        raise SourceError(f"{spec} has no column of images or vectors; give another file")
    simple = _fitting(schema, _is_text_or_integer)
    ids = (name for name in ID_NAMES if name in simple)
    return image, _find_label(simple, features, options, spec), vector, next(ids, None)


def _find_label(fitting: list[str], features: Features, options: SourceOptions, spec: str) -> str | None:
    declared = [name for name in fitting if features.get(name, {}).get("_type") == "ClassLabel"]
    usual = [name for name in fitting if name.lower() in LABEL_NAMES]
    if options.label_column is not None or declared or usual:
        found = fitting if options.label_column is not None else declared or usual
        return _chosen(found, LABEL_NAMES, "--label-column", spec, options.label_column)
    others = [name for name in fitting if name.lower() not in NEVER_LABELS]
    return others[0] if len(others) == 1 else None


def _fitting(schema: pa.Schema, fits: Callable[[pa.DataType], bool]) -> list[str]:
    return [each.name for each in schema if fits(each.type)]


def _is_image(kind: pa.DataType, feature: dict[str, Any] | None) -> bool:
    if feature is not None and "_type" in feature:
        return bool(feature["_type"] == "Image") and (pa.types.is_struct(kind) or _is_binary(kind))
    if pa.types.is_struct(kind):
        return any(field.name == "bytes" and _is_binary(field.type) for field in kind)
    return _is_binary(kind)


def _is_binary(kind: pa.DataType) -> bool:
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _is_vector(kind: pa.DataType) -> bool:
    lists = pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    return bool(lists and pa.types.is_floating(kind.value_type))


def _is_text(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        return _is_text(kind.value_type)
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _is_text_or_integer(kind: pa.DataType) -> bool:
    return _is_text(kind) or bool(pa.types.is_integer(kind))


def _chosen(
    found: list[str], usual: Sequence[str], flag: str, spec: str, asked: str | None = None
) -> str | None:
    """Return the requested column, else the only one, else the one with a usual name; None where there is none."""
    if asked is not None and asked not in found:
        raise SourceError(
            f"{flag} {asked}: {spec} has no such column, only {', '.join(found) or 'others'}; restore the file"
        )
    if asked is not None or len(found) <= 1:
        return asked or next(iter(found), None)
    chosen = next((name for name in usual if name in found), None)
    if chosen is None:
        raise SourceError(
            f"{spec} has {len(found)} possible columns: {', '.join(found)}; choose one with {flag}"
        )
    return chosen


def labels_of(column: pa.ChunkedArray, class_names: tuple[str, ...] | None, spec: str) -> Labels:
    """Return text or whole numbers as labels: text in its sort order, numbers as codes.

    Raises:
        SourceError: a code below -1, beyond the names or absurdly high.
    """
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if _is_text(column.type):
        names = sorted(name for name in pc.unique(column).to_pylist() if name is not None)
        found = pc.index_in(column, value_set=pa.array(names, column.type))
        codes = found.fill_null(-1).to_numpy().astype(np.int64)
        return Labels(codes, tuple(names)) if names else Labels(None, ())
    codes = column.cast(pa.int64()).fill_null(-1).to_numpy().astype(np.int64)
    return check_codes(codes, class_names, spec)


def check_codes(codes: npt.NDArray[np.int64], class_names: tuple[str, ...] | None, spec: str) -> Labels:
    """Return codes as labels; without names every number up to the highest is a class.

    Raises:
        SourceError: a code below -1, beyond the names or absurdly high.
    """
    lowest, highest = (int(codes.min()), int(codes.max())) if len(codes) else (-1, -1)
    most = HIGHEST_CODE if class_names is None else len(class_names) - 1
    if lowest < -1 or highest > most:
        wrong = lowest if lowest < -1 else highest
        raise SourceError(f"{spec} has the label {wrong}; labels go from 0 to {most:,}, and -1 means none")
    if highest < 0:
        return Labels(None, ())
    return Labels(codes, tuple(map(str, range(highest + 1))) if class_names is None else class_names)
