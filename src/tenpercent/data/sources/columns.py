"""Choice of the columns of a table that hold the images, the labels, the vectors and the ids."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from ...errors import SourceError, nearest
from . import columns_0_1
from .arrow_types import can_be_id, can_be_image, can_be_label, can_be_vector, can_group
from .classes import listed, told_apart
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
)  # a class label of `datasets` can be one of these too
LISTED = 12  # columns that a message names with their types at most


@dataclass(frozen=True)
class TableColumns:
    """Columns of a table, by what they hold.

    Attributes:
        image, label, vector, id: names, None where there is none. With a vector, the image is shown beside it.
        class_names: the class names that the table declares, else None.
        by: whether the label column is one that images are to be grouped by, whatever it holds.
        id_asked: the id column that was requested, "none" for row numbers; None for a usual one, or paths of images.
        remarks: remarks on the choice, by content, as in `ImageSource.taken`.
    """

    image: str | None
    label: str | None
    vector: str | None
    id: str | None
    class_names: tuple[str, ...] | None
    id_asked: str | None = None
    by: bool = False
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

    def named(self, usual: Sequence[str], among: Sequence[str]) -> list[str]:
        """Return the columns with a usual name, in any case, in the order of the names."""
        return [name for wanted in usual for name in among if name.lower() == wanted]

    def only(self, found: list[str], what: str, flag: str, usual: Sequence[str] = ()) -> str | None:
        """Return the only candidate, or the one with a usual name; None where there is none."""
        chosen = found if len(found) <= 1 else self.named(usual, found)
        if found and not chosen:
            raise SourceError(
                f"{self.spec} has {len(found)} columns that could be {what}: {', '.join(found)}; choose one with {flag}"
            )
        return chosen[0] if chosen else None

    def requested(self, name: str, fitting: list[str], what: str, flag: str) -> str:
        """Return a column that was requested by name."""
        if name in fitting:
            return name
        if name in self.schema.names:
            raise SourceError(
                f"{flag} {name}: this column of {self.spec} holds {self.schema.field(name).type}, not {what}; "
                f"columns of {what}: {', '.join(fitting) or 'none'}"
            )
        raise SourceError(
            f"{flag} {name}: {self.spec} has only the columns {self.listed()}{nearest(name, self.schema.names)}"
        )

    def listed(self) -> str:
        if len(self.schema) > LISTED:
            return ", ".join(self.schema.names)
        return ", ".join(f"{column.name} ({column.type})" for column in self.schema)


def find_columns(schema: pa.Schema, options: SourceOptions, spec: str) -> TableColumns:
    """Find the columns by the options, else by what `datasets` declares, else by type and name.

    Images are what the `huggingface` metadata calls an image, else a struct with `bytes` (and `path`), else bytes;
    vectors are lists of floats. Labels are what the metadata calls a class, or a column with a usual name; others
    are labels only on request. With `embedding_column` the images are those that can be displayed, if any.

    Raises:
        SourceError: a requested column is missing or of another type, one with the usual name of a label can't be one,
            a column occurs twice, or the choice is ambiguous.
    """
    twice = [name for name in schema.names if schema.names.count(name) > 1]
    if twice:
        raise SourceError(
            f"{spec} has more than one column {twice[0]}; write the file again with each name once"
        )
    table = _Table(schema, features_of(schema, spec), spec)
    if options.rules == 1:
        image, label, vector, ids = columns_0_1.find(schema, table.features, options, spec)
        names = None if label is None else declared_classes(schema, label, spec)
        return TableColumns(image, label, vector, ids, names)
    remarks: dict[str, str] = {}
    image, vector = _image_and_vector(table, options, remarks)
    if options.by is not None:
        label = table.requested(options.by, table.fitting(can_group), "groups", "--by")
    else:
        label = _find_label(table, options, (image, vector), remarks)
    declared = None if label is None else declared_classes(schema, label, spec)
    ids = _find_id(table, options)
    names = None if declared is None else told_apart(declared)
    return TableColumns(image, label, vector, ids, names, options.id_column, options.by is not None, remarks)


def _image_and_vector(
    table: _Table, options: SourceOptions, remarks: dict[str, str]
) -> tuple[str | None, str | None]:
    kinds = (None, "Image", "Value")  # kinds that `datasets` gives a column of bytes: sound is neither
    images = [name for name in table.fitting(can_be_image) if table.declares(name) in kinds]
    likely, image, vector = _likely(table, images), None, None
    beside = options.embedding_column is not None
    if options.embedding_column is not None:
        vectors = table.fitting(lambda kind: can_be_vector(kind, whole=True))
        vector = table.requested(options.embedding_column, vectors, "vectors", "--embedding-column")
    if options.image_column is not None and not (beside and options.image_column == NO_COLUMN):
        image = table.requested(options.image_column, images, "images", "--image-column")
    elif beside and options.image_column is None and len(likely) > 1:
        remarks["no pictures"] = f"no pictures: --image-column takes one of {', '.join(likely)}"
    elif options.image_column is None:
        image = table.only(likely, "images", "--image-column", IMAGE_NAMES)
    if image is None and vector is None:
        vector = table.only(table.fitting(can_be_vector), "vectors", "--embedding-column")
    if image is None and vector is None:
        raise SourceError(
            f"{table.spec} has no column of images or vectors, only {table.listed()}; give another file"
        )
    return image, vector


def _likely(table: _Table, images: list[str]) -> list[str]:
    """Return the images with a usual name, else those declared as images, else all but labels and ids by name."""
    others = [name for name in images if name.lower() not in (*LABEL_NAMES, *ID_NAMES)]
    declared = [name for name in images if table.declares(name) == "Image"]
    return table.named(IMAGE_NAMES, others)[:1] or declared or others


def _find_label(
    table: _Table, options: SourceOptions, taken: Sequence[str | None], remarks: dict[str, str]
) -> str | None:
    flag = "--label-column"
    fitting = [name for name in table.fitting(can_be_label) if name not in taken]
    if options.label_column is not None:
        asked = options.label_column
        return None if asked == NO_COLUMN else table.requested(asked, fitting, "labels", flag)
    usual = table.named(LABEL_NAMES, [name for name in table.schema.names if name not in taken])
    declared = [name for name in fitting if table.declares(name) == "ClassLabel"]
    declared = [name for name in declared if name.lower() not in SPLIT_NAMES]
    rivals = [name for name in usual if name in fitting]
    if declared and rivals and set(declared).isdisjoint(rivals):
        return table.only([*declared, *rivals], "labels", flag)
    if declared:
        return table.only(declared, "labels", flag, LABEL_NAMES)
    if not usual:
        _mention([name for name in fitting if not can_be_image(table.schema.field(name).type)], remarks)
        return None
    if usual[0] not in fitting:
        raise SourceError(
            f"{table.spec}: column {usual[0]} holds {table.schema.field(usual[0]).type}, which can't be labels; name "
            f"the labels with {flag} {rivals[0] if rivals else 'OTHER'}, or take none with {flag} none"
            f"{_several(table, usual[0])}"
        )
    return table.only([name for name in usual if name.lower() == usual[0].lower()], "labels", flag)


def _several(table: _Table, name: str) -> str:
    """Return the remedy where a column holds several labels an image."""
    if not can_group(table.schema.field(name).type):
        return ""
    return f": all are clustered together then; --by {name} clusters images of equal sets"


def _mention(fitting: list[str], remarks: dict[str, str]) -> None:
    """Add a remark on the columns that could be labels, though nothing says that they are."""
    others = [name for name in fitting if name.lower() not in ID_NAMES and not name.startswith("__")]
    if others:
        remarks["unlabelled"] = (
            f"no column has a usual label name (--label-column takes one of {listed(others)})"
        )


def _find_id(table: _Table, options: SourceOptions) -> str | None:
    fitting = table.fitting(can_be_id)
    if options.id_column is not None:
        asked = options.id_column
        return None if asked == NO_COLUMN else table.requested(asked, fitting, "ids", "--id-column")
    named = table.named(ID_NAMES, table.schema.names)
    return next((name for name in named if name in fitting), named[0] if named else None)


# ---- what the `datasets` library declares in the schema of a table --------------------------------------------------


def features_of(schema: pa.Schema, spec: str) -> dict[str, dict[str, Any]]:
    """Return the features that `datasets` declared, by column; none where its metadata lacks them or has null.

    Raises:
        SourceError: the metadata is broken.
    """
    raw = (schema.metadata or {}).get(b"huggingface")
    if raw is None:
        return {}
    try:
        found: Any = json.loads(raw)
        for key in ("info", "features"):
            found = {} if found is None else found.get(key)
        declared = {} if found is None else dict(found.items())
    except (ValueError, AttributeError) as error:
        raise SourceError(
            f"{spec} has broken `huggingface` metadata ({error!r}); write the file again"
        ) from None
    return {str(name): feature for name, feature in declared.items() if isinstance(feature, dict)}


def declared_classes(schema: pa.Schema, column: str, spec: str) -> tuple[str, ...] | None:
    """Return the class names that `datasets` declared for a column, or None.

    Raises:
        SourceError: they are not a list of names.
    """
    names = features_of(schema, spec).get(column, {}).get("names")
    if names is None:
        return None
    if not isinstance(names, list):
        raise SourceError(
            f"{spec} has broken `huggingface` metadata (the names of column {column} are {names!r}); "
            "write the file again"
        )
    return tuple(map(str, names))
