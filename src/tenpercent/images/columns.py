"""Which column of a table holds the images, the labels, the vectors and the ids, and labels as codes."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from ..errors import SourceError, nearest
from .options import SourceOptions

_IMAGE_NAMES = ("image", "img")
_LABEL_NAMES = ("label", "labels", "class", "class_name", "target", "category", "y")
_ID_NAMES = ("id", "ids", "image_id", "file_name", "filename", "path")
_NEVER_LABELS = (*_ID_NAMES, "row", "index", "idx", "width", "height", "hash", "text", "caption", "url")
# Every code up to the highest gets a name, so a stray number must not take the memory.
_HIGHEST_CODE = 1_000_000
NO_CLASSES: tuple[str, ...] = ()


@dataclass(frozen=True)
class Columns:
    """The columns of a table by what they hold; `class_names` is None where the table declares none."""

    image: str | None
    label: str | None
    vector: str | None
    id: str | None
    class_names: tuple[str, ...] | None


def find_columns(schema: pa.Schema, options: SourceOptions, spec: str) -> Columns:
    """Find the columns by what the options say, else by type.

    An image is what the schema's `huggingface` metadata calls one, else a struct with `bytes` (and `path`), else
    binary; a vector a list of floats; a label what the metadata calls a class, else an integer or string column
    with a usual name, else the only one there is. With `embedding_column` no image is looked for.

    Raises:
        SourceError: a column that was named is not there or of another type, or the choice is not clear.
    """
    features = _features(schema, spec)
    names = list(schema.names)
    images = [name for name in names if _is_image(schema.field(name).type, features.get(name))]
    vectors = [name for name in names if _is_vector(schema.field(name).type)]
    if options.embedding_column is not None:
        vector: str | None = _named(
            options.embedding_column, vectors, schema, "--embedding-column", "vectors", spec
        )
        image = None
    elif options.image_column is not None:
        vector, image = None, _named(options.image_column, images, schema, "--image-column", "images", spec)
    else:
        image = _only(images, _IMAGE_NAMES, "--image-column", spec)
        vector = None if images else _only(vectors, (), "--embedding-column", spec)
    if image is None and vector is None:
        raise SourceError(
            f"{spec} has no column of images or vectors among {_listed(schema)}; give another file"
        )
    label = _find_label(schema, features, options, spec)
    return Columns(
        image=image,
        label=label,
        vector=vector,
        id=next(
            (name for name in _ID_NAMES if name in names and _is_text_or_integer(schema.field(name).type)),
            None,
        ),
        class_names=None if label is None else declared_classes(schema, label, spec),
    )


def declared_classes(schema: pa.Schema, column: str, spec: str) -> tuple[str, ...] | None:
    """Return the class names that the `huggingface` metadata gives a column, or None."""
    names = _features(schema, spec).get(column, {}).get("names")
    return None if names is None else tuple(map(str, names))


def _features(schema: pa.Schema, spec: str) -> dict[str, dict[str, Any]]:
    """Return the features that `datasets` wrote into the schema, by column."""
    raw = (schema.metadata or {}).get(b"huggingface")
    if raw is None:
        return {}
    try:
        found = json.loads(raw)["info"]["features"]
    except (ValueError, KeyError, TypeError) as error:
        raise SourceError(
            f"{spec} has broken `huggingface` metadata ({error!r}); write the file again"
        ) from None
    return {name: feature for name, feature in found.items() if isinstance(feature, dict)}


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


def _find_label(
    schema: pa.Schema, features: dict[str, dict[str, Any]], options: SourceOptions, spec: str
) -> str | None:
    fitting = [name for name in schema.names if _is_text_or_integer(schema.field(name).type)]
    if options.label_column is not None:
        return _named(options.label_column, fitting, schema, "--label-column", "labels", spec)
    declared = [name for name in fitting if features.get(name, {}).get("_type") == "ClassLabel"]
    if declared:
        return _only(declared, _LABEL_NAMES, "--label-column", spec)
    usual = [name for name in fitting if name.lower() in _LABEL_NAMES]
    if usual:
        return _only(usual, _LABEL_NAMES, "--label-column", spec)
    others = [name for name in fitting if name.lower() not in _NEVER_LABELS]
    return others[0] if len(others) == 1 else None


def _only(found: list[str], preferred: Sequence[str], flag: str, spec: str) -> str | None:
    """Return the only one found, or the one with a preferred name; None where there is none."""
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
    if name in schema.names:
        kind = schema.field(name).type
        raise SourceError(
            f"{flag} {name}: this column of {spec} holds {kind}, not {what}; "
            f"columns of {what}: {', '.join(fitting) or 'none'}"
        )
    raise SourceError(
        f"{flag} {name}: {spec} has only the columns {_listed(schema)}{nearest(name, schema.names)}"
    )


def _listed(schema: pa.Schema) -> str:
    return (
        ", ".join(f"{field.name} ({field.type})" for field in schema)
        if len(schema) <= 12
        else ", ".join(schema.names)
    )


def labels_of(
    column: pa.ChunkedArray, class_names: tuple[str, ...] | None, spec: str
) -> tuple[npt.NDArray[np.int64] | None, tuple[str, ...]]:
    """Return a label column as codes with the name of each code.

    Integers stay the codes they are (-1 and null: none), named by `class_names` or by themselves; strings become
    codes in the order of the names. Where no row has a label there are no labels: None and no names.

    Raises:
        SourceError: a code below -1, beyond the names or absurdly high, or names that differ by case only.
    """
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if _is_text(column.type):
        names = sorted(name for name in pc.unique(column).to_pylist() if name is not None)
        refuse_case_twins(names, spec, "make the values alike, or choose another --label-column")
        found = pc.index_in(column, value_set=pa.array(names, column.type))
        codes = found.fill_null(-1).to_numpy().astype(np.int64)
        return (codes, tuple(names)) if names else (None, ())
    codes = column.cast(pa.int64()).fill_null(-1).to_numpy().astype(np.int64)
    return check_codes(codes, class_names, spec)


def check_codes(
    codes: npt.NDArray[np.int64], class_names: tuple[str, ...] | None, spec: str
) -> tuple[npt.NDArray[np.int64] | None, tuple[str, ...]]:
    """Return codes with a name for each, or None and no names where every code is -1.

    Raises:
        SourceError: a code below -1 or beyond the names.
    """
    lowest, highest = (int(codes.min()), int(codes.max())) if len(codes) else (-1, -1)
    if lowest < -1:
        raise SourceError(f"{spec} has the label {lowest}; codes count from 0, and -1 means no label")
    if highest < 0:
        return None, ()
    if class_names is None:
        if highest > _HIGHEST_CODE:
            raise SourceError(
                f"{spec} has the label {highest}, above {_HIGHEST_CODE:,}: no class code; choose another --label-column"
            )
        class_names = tuple(str(code) for code in range(highest + 1))
    if highest >= len(class_names):
        raise SourceError(
            f"{spec} has the label {highest} but names for {len(class_names)} classes; correct either"
        )
    return codes, class_names


def refuse_case_twins(
    names: Sequence[str], spec: str, remedy: str = "make these names alike", forms: bool = False
) -> None:
    """Refuse class names that a file system without upper and lower case would take for one.

    Args:
        names: of classes.
        spec: the source, for the error.
        remedy: what to do, for the error.
        forms: also refuse names that differ by their Unicode form only (é as one character or as two).

    Raises:
        SourceError: two names differ by case only: ``Cat`` and ``cat``, but not ``Masse`` and ``Maße``.
    """
    seen: dict[str, str] = {}
    for name in names:
        other = seen.setdefault(caseless(name) if forms else _fold(name), name)
        if other != name:
            by_case = unicodedata.normalize("NFC", name) != unicodedata.normalize("NFC", other)
            said = "case" if by_case else "the Unicode form of their letters"
            shown = (repr(other), repr(name)) if by_case else (ascii(other), ascii(name))
            raise SourceError(
                f"{spec} has classes {shown[0]} and {shown[1]}, which differ by {said} only; {remedy}"
            )


def caseless(name: str) -> str:
    """Return what names have in common that differ by case or by Unicode form only.

    Letter by letter, as file systems do it: ``ß`` is no ``ss``, and ``ı`` no ``i``.
    """
    return unicodedata.normalize("NFD", _fold(unicodedata.normalize("NFD", name)))


def _fold(name: str) -> str:
    folded = name.casefold()
    if len(folded) == len(name):
        return folded
    return "".join(each if len(each := letter.casefold()) == 1 else letter.lower() for letter in name)
