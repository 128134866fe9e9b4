"""Columns and label codes of a table by the rules of version 0.1, by which its run folders are read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from ...errors import SourceError, nearest
from ..store.labels import Labels
from .options import SourceOptions

IMAGE_NAMES = ("image", "img")
LABEL_NAMES = ("label", "labels", "class", "class_name", "target", "category", "y")
ID_NAMES = ("id", "ids", "image_id", "file_name", "filename", "path")
NEVER_LABELS = (*ID_NAMES, "row", "index", "idx", "width", "height", "hash", "text", "caption", "url")
HIGHEST_CODE = 1_000_000
Found = tuple[str | None, str | None, str | None, str | None]


def find(schema: pa.Schema, features: dict[str, dict[str, Any]], options: SourceOptions, spec: str) -> Found:
    """Return the columns of images, labels, vectors and ids; None where there is none.

    Raises:
        SourceError: a requested column is missing or of another type, or the choice is ambiguous.
    """
    names = list(schema.names)
    images = [name for name in names if _is_image(schema.field(name).type, features.get(name))]
    vectors = [name for name in names if _is_vector(schema.field(name).type)]
    image: str | None = None
    vector: str | None = None
    if options.embedding_column is not None:
        vector = _named(options.embedding_column, vectors, schema, "--embedding-column", "vectors", spec)
    elif options.image_column is not None:
        image = _named(options.image_column, images, schema, "--image-column", "images", spec)
    else:
        image = _only(images, IMAGE_NAMES, "--image-column", spec)
        vector = None if images else _only(vectors, (), "--embedding-column", spec)
    if image is None and vector is None:
        raise SourceError(f"{spec} has no column of images or vectors; give another file")
    fitting = [name for name in ID_NAMES if name in names]
    ids = (name for name in fitting if _is_text_or_integer(schema.field(name).type))
    return image, _find_label(schema, features, options, spec), vector, next(ids, None)


def _find_label(
    schema: pa.Schema, features: dict[str, dict[str, Any]], options: SourceOptions, spec: str
) -> str | None:
    fitting = [name for name in schema.names if _is_text_or_integer(schema.field(name).type)]
    if options.label_column is not None:
        return _named(options.label_column, fitting, schema, "--label-column", "labels", spec)
    declared = [name for name in fitting if features.get(name, {}).get("_type") == "ClassLabel"]
    if declared:
        return _only(declared, LABEL_NAMES, "--label-column", spec)
    usual = [name for name in fitting if name.lower() in LABEL_NAMES]
    if usual:
        return _only(usual, LABEL_NAMES, "--label-column", spec)
    others = [name for name in fitting if name.lower() not in NEVER_LABELS]
    return others[0] if len(others) == 1 else None


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


def _only(found: list[str], preferred: Sequence[str], flag: str, spec: str) -> str | None:
    if len(found) <= 1:
        return found[0] if found else None
    usual = [name for name in preferred if name in found]
    if usual:
        return usual[0]
    raise SourceError(
        f"{spec} has {len(found)} columns it could be: {', '.join(found)}; choose one with {flag}"
    )


def _named(name: str, fitting: list[str], schema: pa.Schema, flag: str, what: str, spec: str) -> str:
    if name in fitting:
        return name
    raise SourceError(
        f"{flag} {name}: {spec} has no such column of {what}, only {', '.join(fitting) or 'none'}"
        f"{nearest(name, schema.names)}"
    )


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
    if lowest < -1:
        raise SourceError(
            f"{spec} has the label {lowest}, below -1, which means no label; number the classes from 0"
        )
    if highest < 0:
        return Labels(None, ())
    if class_names is None:
        if highest > HIGHEST_CODE:
            raise SourceError(
                f"{spec} has the label {highest}, above {HIGHEST_CODE:,}; number the classes from 0"
            )
        class_names = tuple(str(code) for code in range(highest + 1))
    if highest >= len(class_names):
        raise SourceError(
            f"{spec} has the label {highest} but names for {len(class_names)} classes; give each class a name"
        )
    return Labels(codes, class_names)
