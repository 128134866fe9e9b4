"""Vectors that a program passes: an array, a tensor, a frame, a table or a data set, with the labels and ids in it."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pyarrow as pa

from ...errors import UsageError, nearest, one_line
from ..store.arrays import as_array, python_value
from ..store.embeddings import Embeddings, row_ids
from ..store.ids import as_given
from .arrow_types import can_be_image, can_be_vector, is_number
from .columns import ID_NAMES, LABEL_NAMES, find_columns
from .dataset_rows import dataset_rows
from .first_line import account, describe_taken
from .options import NO_COLUMN, SourceOptions
from .tables import read_rows
from .vectors import matrix_of

log = logging.getLogger("tenpercent")

TABLE = "the table"  # that was passed, in messages
_COLUMNS = {"labels": "label_column", "ids": "id_column", "embeddings": "embedding_column"}
NUMBERS = "numbers"  # the column that the columns of numbers are made


@dataclass(frozen=True, eq=False)
class GivenVectors:
    """Vectors with labels and ids, as `Embeddings.from_numpy` takes them.

    Attributes:
        vectors: [n, d], or what becomes that.
        labels, ids: one a row; None for none.
        class_names: the name of each code; None where labels are names of their own.
        taken: what was taken from where, as in `Embeddings.taken`.
        drop_bad_rows: as for `Embeddings.from_numpy`.
        pictures: the file of each row's image, absolute; None for none.
    """

    vectors: Any
    labels: Any = None
    ids: Any = None
    class_names: Sequence[str] | None = None
    taken: Mapping[str, str] = field(default_factory=dict)
    drop_bad_rows: bool = False
    pictures: Sequence[str] | None = None

    @classmethod
    def of(cls, embeddings: Embeddings) -> GivenVectors:
        """Return embeddings as they would be given, in the order of their rows.

        Raises:
            UsageError: rows of their source have no vector.
        """
        n, order = len(embeddings), np.argsort(embeddings.rows)
        if embeddings.length not in (None, n):
            raise UsageError(
                f"these embeddings lack {embeddings.length - n:,} of {embeddings.length:,} rows; give the vectors "
                "themselves, with drop_bad_rows"
            )
        ids = None if np.array_equal(embeddings.ids, row_ids(n)) else embeddings.ids[order]
        return cls(
            embeddings.vectors[order],
            None if embeddings.labels is None else embeddings.labels[order],
            None if ids is None else as_given(ids, embeddings.number_ids),
            embeddings.class_names or None,
            embeddings.taken,
        )

    def embeddings(self) -> Embeddings:
        """Return them as embeddings.

        Raises:
            UsageError: see `Embeddings.from_numpy`.
        """
        found = Embeddings.from_numpy(
            self.vectors,
            labels=self.labels,
            ids=self.ids,
            class_names=self.class_names,
            drop_bad_rows=self.drop_bad_rows,
        )
        return replace(found, taken=self.taken)


def is_place(source: object) -> bool:
    """Return whether a source is named by a path or by text, or is nothing that could hold vectors."""
    unlike = str, os.PathLike, bytes, int, float, type(None)
    return isinstance(source, unlike) or type(source).__name__ in ("Merges", "Selection")


def as_embeddings(
    source: Any,
    options: SourceOptions = SourceOptions(),  # noqa: B008 – frozen
    **values: Any,
) -> Embeddings:
    """Return what a program passes as embeddings: itself, or the vectors of `given_vectors`, with labels and ids.

    Raises:
        UsageError: it holds none.
    """
    if isinstance(source, Embeddings) and not values:
        options.allow("embeddings")
        return source
    found = given_vectors(source, options, **values).embeddings()
    log.info("%s", describe_taken(account(found)))
    return found


def with_columns(options: SourceOptions, **given: Any) -> tuple[SourceOptions, dict[str, Any]]:
    """Return the options with the columns that are given by name and the files, and what is given as values.

    Args:
        options: those beside them.
        given: labels, ids and embeddings; text is the name of a column, a `Path` a file, None nothing.

    Raises:
        UsageError: the options name another column.
    """
    for name, column in _COLUMNS.items():
        value = given.get(name)
        file = isinstance(value, os.PathLike) and name != "embeddings"
        if isinstance(value, str) or file:
            column = name if file else column
            if getattr(options, column) not in (None, value):
                raise UsageError(
                    f"{name} is {value!r}, but {column} is {getattr(options, column)!r}; give one"
                )
            named: dict[str, Any] = {column: value}
            options, given[name] = replace(options, **named), None
    return options, {name: value for name, value in given.items() if value is not None}


def given_vectors(
    source: Any, options: SourceOptions, *, labels: Any = None, ids: Any = None, embeddings: Any = None
) -> GivenVectors:
    """Take the vectors, labels and ids from an object.

    Args:
        source: embeddings; an array or tensor [n, d]; a column or list of n vectors; a frame, Arrow table or
            `datasets.Dataset` with a column of vectors, found as in a Parquet file, or with numbers only; a torch data
            set whose items are vectors or begin with one.
        options: names of columns, and `drop_bad_rows`.
        labels, ids: one a row; None for those of the object.
        embeddings: None: these are for images, see `given_file.stored_given`.

    Raises:
        UsageError: it holds no vectors, or a choice of columns is wrong or ambiguous.
    """
    if embeddings is not None:
        raise UsageError(
            "embeddings given beside vectors; give one of them, or the name of a column of vectors"
        )
    if isinstance(source, Embeddings):
        options.allow("embeddings")
        if labels is not None or ids is not None:
            raise UsageError("labels or ids given beside embeddings, which have their own; leave them out")
        return GivenVectors.of(source)
    options.allow(
        "vectors that a program passes",
        "label_column",
        "id_column",
        "embedding_column",
        "drop_bad_rows",
        "by",
    )
    if isinstance(source, Mapping):
        raise UsageError(
            f"{type(source).__name__} holds several sets ({', '.join(map(str, source)) or 'none'}); give one of them"
        )
    table = _as_table(source)
    if table is not None:
        options = replace(
            options,
            label_column=options.label_column if labels is None else NO_COLUMN,
            id_column=options.id_column if ids is None else NO_COLUMN,
        )
        found = _of_table(table, options)
    elif named := sorted(options.given() - {"drop_bad_rows"}):
        raise UsageError(
            f"{named[0]} is {getattr(options, named[0])!r}, but {type(source).__name__} has no named columns; give an "
            "array with one value per row"
        )
    else:
        found = _of_dataset(source) if is_dataset(source) else GivenVectors(source)
    return replace(
        found,
        labels=found.labels if labels is None else labels,
        class_names=found.class_names if labels is None else None,
        ids=found.ids if ids is None else ids,
        drop_bad_rows=options.drop_bad_rows,
    )


# ---- frames, tables and data sets with columns -------------------------------------------------------------------


def _as_table(source: Any) -> pa.Table | None:
    """Return what has named columns as an Arrow table; None for anything else."""
    make = _table_maker(source)
    if make is None:
        return None
    try:
        return make()
    except (pa.ArrowException, TypeError, ValueError) as error:
        raise UsageError(
            f"{type(source).__name__} can't be read as a table ({one_line(error, 120)}); give its column of vectors, "
            "or an array"
        ) from None


def _table_maker(source: Any) -> Callable[[], pa.Table] | None:
    if isinstance(source, pa.Table):
        return lambda: source
    if isinstance(source, pa.RecordBatch):
        return lambda: pa.Table.from_batches([source])
    package, two = type(source).__module__.partition(".")[0], len(getattr(source, "shape", ())) == 2
    if package == "datasets" and hasattr(source, "with_format") and hasattr(source, "__len__"):
        return lambda: source.with_format("arrow")[:].cast(source.features.arrow_schema)
    if package == "pandas" and two:
        return lambda: pa.Table.from_pandas(source, preserve_index=False)
    if package == "polars" and two:
        return lambda: source.to_arrow()
    return None


def _of_table(table: pa.Table, options: SourceOptions) -> GivenVectors:
    numbers = options.embedding_column is None and not any(
        can_be_vector(one.type) or can_be_image(one.type) for one in table.schema
    )
    if numbers:
        table, options = _as_column(table, options)
    columns = find_columns(table.schema, options, TABLE)
    if columns.vector is None:
        raise UsageError(
            f"{TABLE} holds images in column {columns.image}; name its column of vectors (--embedding-column), or "
            "embed the images by tp.run(dataset, out=RUN)"
        )
    rows = read_rows(replace(columns, image=None), table.select, TABLE, options.rules)
    vectors = matrix_of(table[columns.vector].chunks, len(table), columns.vector, TABLE)
    ids: Any = rows.ids
    if ids is not None and columns.id is not None and pa.types.is_integer(table[columns.id].type):
        ids = table[columns.id].to_numpy()  # numbers stay numbers
    taken = {**rows.taken, "vectors": f"{vectors.shape[1]} columns"} if numbers else rows.taken
    return GivenVectors(vectors, rows.labels, ids, rows.class_names or None, taken)


def _as_column(table: pa.Table, options: SourceOptions) -> tuple[pa.Table, SourceOptions]:
    """Return a table of numbers with these as one column of vectors, beside those named as labels and ids.

    Raises:
        UsageError: another column holds no numbers, or is called like labels or ids.
    """
    names = [name for name in (options.label_column, options.id_column) if name not in (None, NO_COLUMN)]
    rest = [name for name in table.column_names if name not in names]
    other = [name for name in rest if not is_number(table.schema.field(name).type)]
    if missing := [name for name in names if name not in table.column_names]:
        raise UsageError(
            f"{TABLE} has no column {missing[0]}, only {', '.join(table.column_names)}"
            f"{nearest(missing[0], table.column_names)}"
        )
    if other or not rest:
        raise UsageError(
            f"{TABLE} has no column of vectors, and {f'column {other[0]} holds' if other else 'the others hold'} no "
            "numbers; give the columns that are vectors, and name the others: "
            f"labels={other[0] if other else 'NAME'!r}, ids='NAME'"
        )
    usual = [name for name in rest if name.lower() in (*LABEL_NAMES, *ID_NAMES)]
    if usual and NO_COLUMN not in (options.label_column, options.id_column):
        raise UsageError(
            f"{TABLE} has a column {usual[0]} among its numbers; name it as labels or ids, or give an array if it is "
            "part of the vectors"
        )
    matrix = np.column_stack([table[name].to_numpy() for name in rest])
    flat = pa.array(matrix.astype(np.result_type(matrix, np.float32), copy=False).ravel())
    column = pa.FixedSizeListArray.from_arrays(flat, len(rest))
    return (
        table.select(names).append_column(NUMBERS, column),
        replace(options, embedding_column=NUMBERS),
    )


# ---- torch data sets ---------------------------------------------------------------------------------------------


def is_dataset(source: Any) -> bool:
    """Return whether this is a torch data set; torch is not loaded for that."""
    data: Any = sys.modules.get("torch.utils.data")
    return data is not None and isinstance(source, data.Dataset)


def _of_dataset(dataset: Any) -> GivenVectors:
    """Return the vectors that are, or begin, the items of a data set, with its labels or else the second of each item.

    Raises:
        UsageError: it has no length, or its items are something else.
    """
    kind = type(dataset).__name__
    if not hasattr(dataset, "__len__") or len(dataset) == 0:
        raise UsageError(
            f"{kind} has no items that can be counted; give a data set with a length, or an array"
        )
    known, items = dataset_rows(dataset).labels, (_parts(dataset[row]) for row in range(len(dataset)))
    vectors, others = [], []
    for first, second in items:
        if len(getattr(first, "shape", ())) != 1:
            said = tuple(getattr(first, "shape", ())) or type(first).__name__
            raise UsageError(
                f"the items of {kind} hold no vectors ({said}); for images give their folder, a Parquet file, "
                "hf:NAME or torchvision:NAME, or, of a data set of image files, tp.run(dataset, out=RUN)"
            )
        vectors.append(as_array(first, "vectors"))
        others.append(python_value(second))
    if known:
        return GivenVectors(vectors, known[0].codes, class_names=known[0].names)
    return GivenVectors(vectors, None if None in others else others)


def _parts(item: Any) -> tuple[Any, Any]:
    """Return the first two parts of an item of a data set; None for what it lacks."""
    parts = (*item, None)[:2] if isinstance(item, tuple | list) and len(item) else (item, None)
    return parts[0], parts[1]
