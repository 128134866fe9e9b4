"""Images in Parquet files, in the layout of Hugging Face, read one row group at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path, PurePath

import pyarrow as pa
import pyarrow.compute as pc

from ...errors import SourceError
from ..store.embeddings import Embeddings, row_ids
from ..store.files import read_metadata
from .arrow_types import can_be_id
from .columns import SPLIT_NAMES, find_columns
from .options import SourceOptions
from .parquet_files import ParquetFiles
from .remote.place import Place, RemotePath, inside, opened
from .row_groups import RowGroups
from .source import ImageSource, Raw
from .splits import choose_split, split_of_file, splits_of_folders
from .tables import bytes_of, has_path, ids_of, paths_of, read_rows
from .vectors import vectors_from_table
from .where import part_where, rows_where


def open_parquet(paths: Sequence[Place], spec: Place, options: SourceOptions) -> ImageSource | Embeddings:
    """Open Parquet files: images, or vectors where there are no images or `embedding_column` says so.

    If a folder has a file of the split `train`, the files of one split are taken (`splits.split_of_file`).
    Folders named ``NAME=VALUE`` are columns. Ids are those of `tables.read_rows`.

    Args:
        paths: the files, absolute.
        spec: the file or folder they were found in, absolute.
        options: split and columns.

    Raises:
        SourceError: not Parquet, no rows, no such split, ambiguous or wrong columns, labels out of range.
    """
    paths = sorted(paths, key=lambda path: PurePath(str(path)))
    chosen, outside = "", 0
    splits: tuple[str, ...] = ()
    if spec.is_dir():
        split_of = {path: split_of_file(inside(path, spec), options.rules) for path in paths}
        known = tuple(sorted({name for name in split_of.values() if name}))
        if "train" in known or options.split is not None:
            chosen, splits = choose_split(options.split, known, str(spec)), known
            outside = sum(name is None for name in split_of.values())
            paths = [path for path in paths if split_of[path] == chosen]
    elif options.split is not None:
        choose_split(options.split, (), str(spec))
    folder = spec if spec.is_dir() else spec.parent
    files = ParquetFiles.open(paths, folder if options.rules > 1 and spec.is_dir() else None)
    if files.rows == 0:
        raise SourceError(f"{spec} holds no rows; give a file with at least one image or vector")
    schema = files.schema() if options.rules == 1 else files.whole_schema()
    columns = find_columns(schema, options, str(spec))
    if options.rules > 1:
        columns = replace(columns, remarks={**columns.remarks, **_undivided(files, schema)})
    held_by = (columns.image, columns.vector, columns.label, columns.id)
    files.check([name for name in dict.fromkeys(held_by) if name is not None], str(spec))
    named = None
    if columns.image is not None and has_path(files.schema().field(columns.image).type):
        named = ids_of(
            paths_of(files.columns([f"{columns.image}.path"])[columns.image]),
            folder if isinstance(folder, Path) else None,
        )
    rows = read_rows(columns, files.columns, str(spec), options.rules, named)
    where = None if options.where is None else rows_where(options.where, schema, files.columns, str(spec))
    if columns.vector is not None:
        pieces, drop = files.pieces(columns.vector), options.drop_bad_rows
        found = vectors_from_table(
            rows, columns.vector, pieces, files.rows, str(spec), drop_bad_rows=drop, where=where
        )
        numbers = read_metadata(opened(paths[0])).get("number_ids", False) if spec.is_file() else False
        return replace(found, number_ids=bool(numbers))
    held = RowGroups(files, columns.image or "")

    def read(row: int) -> Raw:
        return bytes_of(held[row], folder)

    source = ImageSource(
        spec=str(spec),
        ids=rows.ids or tuple(row_ids(files.rows).tolist()),
        paths=(None,) * files.rows,
        labels=rows.labels,
        class_names=rows.class_names,
        read=read,
        split=chosen,
        skipped={"Parquet files outside the splits": outside} if outside else {},
        splits=splits,
        columns=files.reader,
        image_column=columns.image,
        taken=rows.taken,
        stamps=_stamps(files),
    )
    return source if where is None else part_where(source, *where)


def _stamps(files: ParquetFiles) -> tuple[str, ...] | None:
    """Return the stamp of the file of each row; None for files on disk."""
    held = zip(files.paths, files.metadata, strict=True)
    found = [[path.stat().stamp] * footer.num_rows for path, footer in held if isinstance(path, RemotePath)]
    return tuple(chain.from_iterable(found)) or None


def _undivided(files: ParquetFiles, schema: pa.Schema) -> dict[str, str]:
    """Return a remark on a column that names splits within the files: the rows of all splits are taken."""
    for name in schema.names:
        if name.lower() not in SPLIT_NAMES or not can_be_id(schema.field(name).type):
            continue
        values = pc.unique(files.columns([name])[name]).to_pylist()
        found = splits_of_folders([str(value) for value in values if value is not None])
        if len(set(found.values())) > 1:
            return {
                "splits": f"rows of {', '.join(found)} together (column {name} selects none; write each split to its "
                "own file)"
            }
    return {}
