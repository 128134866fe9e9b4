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
        chunks = [chunk.dictionary_decode() for chunk in column.chunks]
        return plain_column(pa.chunked_array(chunks, kind.value_type))
    if pa.types.is_run_end_encoded(kind):
        chunks = [pc.run_end_decode(chunk) for chunk in column.chunks]
        return plain_column(pa.chunked_array(chunks, kind.value_type))
    if isinstance(kind, pa.BaseExtensionType):
        return plain_column(pa.chunked_array([chunk.storage for chunk in column.chunks], kind.storage_type))
    return column.cast(VIEWS[kind]) if kind in VIEWS else column


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
    kind = plain(kind)
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def is_bytes(kind: pa.DataType) -> bool:
    """Return whether the values are bytes of variable length."""
    kind = plain(kind)
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind))


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
    """Return whether the values can be labels: text, bytes that are text, bool, whole numbers; or all are missing."""
    fixed = pa.types.is_fixed_size_binary(plain(kind))
    truth = pa.types.is_boolean(plain(kind)) or pa.types.is_null(plain(kind))
    return bool(is_text(kind) or is_bytes(kind) or is_number(kind) or fixed or truth)


def can_be_id(kind: pa.DataType) -> bool:
    """Return whether the values can be ids: text, bytes that are text, whole numbers, or UUIDs."""
    return (
        is_text(kind) or is_bytes(kind) or is_number(kind) or bool(pa.types.is_fixed_size_binary(plain(kind)))
    )


def _is_image_struct(kind: pa.DataType) -> bool:
    return bool(pa.types.is_struct(plain(kind))) and can_be_image(kind)


def same_kind(one: pa.DataType, other: pa.DataType) -> bool:
    """Return whether these types of two files can be one column: text, whole numbers, images, or one is all missing."""
    if pa.types.is_null(plain(one)) or pa.types.is_null(plain(other)):
        return True
    alike = (is_text, is_number, is_bytes, _is_image_struct)
    return bool(plain(one) == plain(other) or any(fits(one) and fits(other) for fits in alike))
