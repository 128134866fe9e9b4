"""Choice of the columns of a table that hold the images, the labels, the vectors and the ids."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from ...errors import SourceError, nearest
from . import columns_0_1
from .arrow_types import can_be_id, can_be_image, can_be_label, can_be_vector
from .features import declared_classes, features_of
from .options import NO_COLUMN, SourceOptions

IMAGE_NAMES = ("image", "img")
LABEL_NAMES = (
    *("label", "labels", "class", "class_name", "target", "category", "y", "cls"),
    *("class_label", "label_name", "category_name", "class_id", "label_id", "category_id"),
)
ID_NAMES = ("id", "ids", "image_id", "file_name", "filename", "path", "__key__")
SPLIT_NAMES = (
    "split",
    "splits",
    "subset",
    "fold",
    "partition",
)  # types that a class label of `datasets` can have too
MENTIONED = 5  # columns that could be labels, named at most


@dataclass(frozen=True)
class Columns:
    """Columns of a table by content.

    Attributes:
        image, label, vector, id: names, None where there is none. With a vector, the image is shown beside it.
        class_names: the class names that the table declares, else None.
        id_asked: the id column was requested by name, so it must be valid.
        id_paths: the paths of images may serve as ids.
        remarks: remarks on the choice, by content, as in `ImageSource.taken`.
    """

    image: str | None
    label: str | None
    vector: str | None
    id: str | None
    class_names: tuple[str, ...] | None
    id_asked: bool = False
    id_paths: bool = True
    remarks: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class _Table:
    """Schema with the features declared by `datasets`, and the name of the table in messages."""

    schema: pa.Schema
    features: dict[str, dict[str, Any]]
    spec: str

    def fitting(self, fits: Callable[[pa.DataType], bool]) -> list[str]:
        return [column.name for column in self.schema if fits(column.type)]

    def declares(self, name: str) -> str | None:
        """Return the kind of feature that `datasets` declared for a column, or None."""
        kind = self.features.get(name, {}).get("_type")
        return None if kind is None else str(kind)


def find_columns(schema: pa.Schema, options: SourceOptions, spec: str) -> Columns:
    """Find the columns by the options, else by what `datasets` declares, else by type and name.

    Images are what the `huggingface` metadata calls an image, else a struct with `bytes` (and `path`), else bytes;
    vectors are lists of floats. Labels are what the metadata calls a class, or a column with a usual name; others
    are labels only on request. With `embedding_column` the images are those that can be displayed, if any.

    Raises:
        SourceError: a requested column is missing or of another type, one with the usual name of a label can't be one,
            a column occurs twice, or the choice is ambiguous.
    """
    _refuse_twice(schema, spec)
    table = _Table(schema, features_of(schema, spec), spec)
    if options.rules == 1:
        image, label, vector, ids = columns_0_1.find(schema, table.features, options, spec)
        names = None if label is None else declared_classes(schema, label, spec)
        return Columns(image, label, vector, ids, names)
    remarks: dict[str, str] = {}
    image, vector = _image_and_vector(table, options, remarks)
    label = _find_label(table, options, tuple(filter(None, (image, vector))), remarks)
    declared = None if label is None else declared_classes(schema, label, spec)
    return Columns(
        image=image,
        label=label,
        vector=vector,
        id=_find_id(table, options),
        class_names=None if declared is None else told_apart(declared),
        id_asked=options.id_column not in (None, NO_COLUMN),
        id_paths=options.id_column is None,
        remarks=remarks,
    )


def _refuse_twice(schema: pa.Schema, spec: str) -> None:
    twice = [name for name in dict.fromkeys(schema.names) if schema.names.count(name) > 1]
    if twice:
        raise SourceError(
            f"{spec} has more than one column {twice[0]}; write the file again with each name once"
        )


def _image_and_vector(
    table: _Table, options: SourceOptions, remarks: dict[str, str]
) -> tuple[str | None, str | None]:
    kinds = (None, "Image", "Value")  # kinds that `datasets` gives a column of bytes: sound is neither
    images = [name for name in table.fitting(can_be_image) if table.declares(name) in kinds]
    if options.embedding_column is not None:
        vectors = table.fitting(lambda kind: can_be_vector(kind, whole=True))
        vector = _named(options.embedding_column, vectors, table, "--embedding-column", "vectors")
        return _image_beside(table, options, images, remarks), vector
    if options.image_column is not None:
        return _named(options.image_column, images, table, "--image-column", "images"), None
    images = _likely(table, images)
    if images:
        return _only(images, IMAGE_NAMES, "--image-column", table.spec), None
    found = _only(table.fitting(can_be_vector), (), "--embedding-column", table.spec)
    if found is None:
        raise SourceError(
            f"{table.spec} has no column of images or vectors among {_listed(table.schema)}; give another file"
        )
    return None, found


def _image_beside(
    table: _Table, options: SourceOptions, images: list[str], remarks: dict[str, str]
) -> str | None:
    """Return the images to show beside vectors: the requested ones, else the only ones, if any."""
    if options.image_column == NO_COLUMN:
        return None
    if options.image_column is not None:
        return _named(options.image_column, images, table, "--image-column", "images")
    images = _likely(table, images)
    if len(images) > 1:
        remarks["no pictures"] = f"no pictures: --image-column takes one of {', '.join(images)}"
    return images[0] if len(images) == 1 else None


def _likely(table: _Table, images: list[str]) -> list[str]:
    """Return the images with a usual name, else those declared as images, else all but labels and ids by name."""
    others = [name for name in images if name.lower() not in (*LABEL_NAMES, *ID_NAMES)]
    usual = [name for wanted in IMAGE_NAMES for name in others if name.lower() == wanted]
    return usual[:1] or [name for name in images if table.declares(name) == "Image"] or others


def _find_label(
    table: _Table, options: SourceOptions, taken: Sequence[str], remarks: dict[str, str]
) -> str | None:
    if options.label_column == NO_COLUMN:
        return None
    fitting = [name for name in table.fitting(can_be_label) if name not in taken]
    if options.label_column is not None:
        return _named(options.label_column, fitting, table, "--label-column", "labels")
    usual = [
        name
        for wanted in LABEL_NAMES
        for name in table.schema.names
        if name.lower() == wanted and name not in taken
    ]
    declared = [name for name in fitting if table.declares(name) == "ClassLabel"]
    declared = [name for name in declared if name.lower() not in SPLIT_NAMES]
    rivals = [name for name in usual if name in fitting]
    if declared and rivals and set(declared).isdisjoint(rivals):
        return _only([*declared, *rivals], (), "--label-column", table.spec)
    if declared:
        return _only(declared, LABEL_NAMES, "--label-column", table.spec)
    if usual and usual[0] not in fitting:
        raise SourceError(
            f"{table.spec}: column {usual[0]} holds {table.schema.field(usual[0]).type}, which can't be labels; name "
            f"the labels with --label-column {rivals[0] if rivals else 'OTHER'}, or take none with --label-column none"
        )
    alike = [name for name in usual if name.lower() == usual[0].lower()]
    if len(alike) > 1:
        return _only(alike, (), "--label-column", table.spec)
    if not usual:
        _mention([name for name in fitting if not can_be_image(table.schema.field(name).type)], remarks)
    return usual[0] if usual else None


def _mention(fitting: list[str], remarks: dict[str, str]) -> None:
    """Add a remark on the columns that could be labels, though nothing says that they are."""
    others = [name for name in fitting if name.lower() not in ID_NAMES and not name.startswith("__")]
    if others:
        more = f" and {len(others) - MENTIONED} more" if len(others) > MENTIONED else ""
        names = f"{', '.join(others[:MENTIONED])}{more}"
        remarks["unlabelled"] = f"no column has a label's name (--label-column takes one of {names})"


def _find_id(table: _Table, options: SourceOptions) -> str | None:
    if options.id_column == NO_COLUMN:
        return None
    fitting = table.fitting(can_be_id)
    if options.id_column is not None:
        return _named(options.id_column, fitting, table, "--id-column", "ids")
    named = [name for wanted in ID_NAMES for name in table.schema.names if name.lower() == wanted]
    return next((name for name in named if name in fitting), named[0] if named else None)


def _only(found: list[str], preferred: Sequence[str], flag: str, spec: str) -> str | None:
    """Return the only candidate, or the one with a preferred name; None where there is none."""
    if len(found) <= 1:
        return found[0] if found else None
    usual = [name for wanted in preferred for name in found if name.lower() == wanted]
    if usual:
        return usual[0]
    raise SourceError(
        f"{spec} has {len(found)} columns it could be: {', '.join(found)}; choose one with {flag}"
    )


def _named(name: str, fitting: list[str], table: _Table, flag: str, what: str) -> str:
    if name in fitting:
        return name
    schema, spec = table.schema, table.spec
    if name in schema.names:
        raise SourceError(
            f"{flag} {name}: this column of {spec} holds {schema.field(name).type}, not {what}; "
            f"columns of {what}: {', '.join(fitting) or 'none'}"
        )
    raise SourceError(
        f"{flag} {name}: {spec} has only the columns {_listed(schema)}{nearest(name, schema.names)}"
    )


def _listed(schema: pa.Schema) -> str:
    return (
        ", ".join(f"{column.name} ({column.type})" for column in schema)
        if len(schema) <= 12
        else ", ".join(schema.names)
    )


def told_apart(names: tuple[str, ...]) -> tuple[str, ...]:
    """Return declared class names, with the code added to duplicates: ImageNet has two of `crane`."""
    counts = Counter(names)
    return tuple(f"{name} ({code})" if counts[name] > 1 else name for code, name in enumerate(names))


def refuse_case_twins(
    names: Sequence[str], spec: str, remedy: str = "make these names alike", forms: bool = False
) -> None:
    """Refuse class names that a case-insensitive file system would treat as equal.

    Args:
        names: of classes.
        spec: the source, for the error.
        remedy: what to do, for the error.
        forms: also refuse names that differ by their Unicode form only (é as one character or as two).

    Raises:
        SourceError: two names differ by case only: ``Cat`` and ``cat``, but not ``Masse`` and ``Maße``; or a name
            contains a null character, which no file name can.
    """
    seen: dict[str, str] = {}
    for name in names:
        if "\0" in name:
            raise SourceError(f"{spec} has a class {name!r} with a null character; {remedy}")
        other = seen.setdefault(caseless(name) if forms else _fold(name), name)
        if other != name:
            by_case = unicodedata.normalize("NFC", name) != unicodedata.normalize("NFC", other)
            said = "case" if by_case else "the Unicode form of their letters"
            shown = (repr(other), repr(name)) if by_case else (ascii(other), ascii(name))
            raise SourceError(
                f"{spec} has classes {shown[0]} and {shown[1]}, which differ by {said} only; {remedy}"
            )


def caseless(name: str) -> str:
    """Return a key that is equal for names that differ by case or by Unicode form only.

    Case is folded letter by letter, as file systems do: ``ß`` is not ``ss``, and ``ı`` is not ``i``.
    """
    return unicodedata.normalize("NFD", _fold(unicodedata.normalize("NFD", name)))


def _fold(name: str) -> str:
    folded = name.casefold()
    if len(folded) == len(name):
        return folded
    return "".join(each if len(each := letter.casefold()) == 1 else letter.lower() for letter in name)
