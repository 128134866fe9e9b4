"""Contents that a column of an Arrow type can hold, and columns as plain types."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

VIEWS = {pa.string_view(): pa.large_string(), pa.binary_view(): pa.large_binary()}


def plain(kind: pa.DataType) -> pa.DataType:
    """Return the value type of a dictionary, run-end encoded or extension type, else the type itself."""
    if pa.types.is_dictionary(kind) or pa.types.is_run_end_encoded(kind):
        return plain(kind.value_type)
    return plain(kind.storage_type) if isinstance(kind, pa.BaseExtensionType) else kind


def plain_column(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return a column of plain values instead of dictionaries, views or extension types.

    Raises:
        pyarrow.ArrowException: this version of pyarrow can't.
    """
    kind = column.type
    if pa.types.is_dictionary(kind):
        inner, chunks = kind.value_type, [chunk.dictionary_decode() for chunk in column.chunks]
    elif pa.types.is_run_end_encoded(kind):
        inner, chunks = kind.value_type, [pc.run_end_decode(chunk) for chunk in column.chunks]
    elif isinstance(kind, pa.BaseExtensionType):
        inner, chunks = kind.storage_type, [chunk.storage for chunk in column.chunks]
    else:
        return column.cast(VIEWS[kind]) if kind in VIEWS else column
    return plain_column(pa.chunked_array(chunks, inner))


def without_views(schema: pa.Schema) -> pa.Schema:
    """Return the schema with plain text and bytes instead of views and dictionaries of them."""
    fields = [column.with_type(_without_views(column.type)) for column in schema]
    return pa.schema(fields, schema.metadata)


def _without_views(kind: pa.DataType) -> pa.DataType:
    if pa.types.is_struct(kind):
        return pa.struct([column.with_type(_without_views(column.type)) for column in kind])
    if pa.types.is_dictionary(kind):
        return _without_views(kind.value_type)
    return VIEWS.get(kind, kind)


def is_text(kind: pa.DataType) -> bool:
    """Return whether the values are text."""
    return plain(kind) in (pa.string(), pa.large_string(), pa.string_view())


def is_bytes(kind: pa.DataType) -> bool:
    """Return whether the values are bytes of variable length."""
    return plain(kind) in (pa.binary(), pa.large_binary(), pa.binary_view())


def is_number(kind: pa.DataType) -> bool:
    """Return whether the values are numbers that may be whole."""
    kind = plain(kind)
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind))


def can_be_image(kind: pa.DataType) -> bool:
    """Return whether the values can be encoded images: bytes, or structs that contain bytes."""
    kind = plain(kind)
    if pa.types.is_struct(kind):
        return any(field.name == "bytes" and is_bytes(field.type) for field in kind)
    return is_bytes(kind)


def can_be_vector(kind: pa.DataType, whole: bool = False) -> bool:
    """Return whether the values are lists of floats, or also of whole numbers."""
    kind = plain(kind)
    lists = pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    if not lists:
        return False
    return bool(pa.types.is_floating(kind.value_type) or (whole and pa.types.is_integer(kind.value_type)))


def can_be_label(kind: pa.DataType) -> bool:
    """Return whether the values can be labels: those that can be ids, or bool; or all are missing."""
    return can_be_id(kind) or pa.types.is_boolean(plain(kind)) or pa.types.is_null(plain(kind))


def can_group(kind: pa.DataType) -> bool:
    """Return whether images can be grouped by the values: those that can be labels, times, and lists of such."""
    inner = plain(kind)
    if pa.types.is_list(inner) or pa.types.is_large_list(inner):
        return not pa.types.is_floating(inner.value_type) and can_group(inner.value_type)
    return can_be_label(kind) or bool(pa.types.is_temporal(inner))


def can_be_id(kind: pa.DataType) -> bool:
    """Return whether the values can be ids: text, bytes that are text, numbers, or UUIDs."""
    fixed = bool(pa.types.is_fixed_size_binary(plain(kind)))
    return is_text(kind) or is_bytes(kind) or is_number(kind) or fixed


def same_kind(one: pa.DataType, other: pa.DataType) -> bool:
    """Return whether these types of two files can be one column: text, whole numbers, images, or one is all missing."""
    one, other = plain(one), plain(other)
    if pa.types.is_null(one) or pa.types.is_null(other) or one == other:
        return True
    if pa.types.is_struct(one) and pa.types.is_struct(other):
        return can_be_image(one) and can_be_image(other)
    return any(fits(one) and fits(other) for fits in (is_text, is_number, is_bytes))
