"""The kept images as a Hugging Face data set: Parquet files and a data card, in a folder or pushed to the hub."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ..data.decoding.decode import Unreadable
from ..data.sources.classes import told_apart
from ..data.sources.huggingface import quiet_datasets
from ..data.sources.source import ImageSource
from ..errors import TenpercentError, one_line, require
from ..progress import bar
from .encoded import read_encoded
from .kept import Kept
from .summary import ExportFormat, ExportSummary
from .targets import building, check_target, place

BATCH = 100  # rows of a row group: images are large, and the Hub's own files have small ones
BATCH_BYTES = 64 << 20
FILE_BYTES = 500_000_000


def write_dataset(kept: Kept, source: ImageSource, to: Path, card: str = "") -> ExportSummary:
    """Write the folder `to` for ``datasets.load_dataset``: ``data/train-00000-of-00001.parquet`` and a ``README.md``.

    A source that is a table keeps all its columns and features. Of others the columns are ``id``,
    ``image`` (the original bytes, PNG where it came as pixels) and, where there are labels, ``label``
    with the names of the classes.

    Args:
        kept: the images.
        source: where they come from.
        to: the folder.
        card: the text of ``README.md``; none is written where it is empty.

    Raises:
        UsageError: `to` is not empty, or lies within the source.
        MissingExtraError: the package `datasets` is not installed.
        TenpercentError: an image can't be read, or `to` can't be written.
    """
    datasets = require("datasets", "export")
    check_target(to, source)
    with building(to) as temporary:
        fill(datasets, kept, source, temporary / "kept", card)
        paths = place({temporary / "kept": to})
    return ExportSummary(ExportFormat.HF, paths, len(kept))


def fill(datasets: Any, kept: Kept, source: ImageSource, folder: Path, card: str) -> None:
    """Write Parquet files of `FILE_BYTES` each, before compression, and the card into a new folder."""
    source = source.reading(kept.rows)
    (folder / "data").mkdir(parents=True)
    if card:
        (folder / "README.md").write_text(card, encoding="utf-8")
    split = source.split if re.fullmatch(r"\w+", source.split) else "train"
    with quiet_datasets(datasets, always=True), bar(len(kept), "Writing", f"{source.noun}s") as progress:
        rows = rows_of(datasets, kept, source)
        schema = features(datasets, rows.schema).arrow_schema
        files = [folder / "data" / "0.parquet"]
        with ExitStack() as current:
            parquet, size = current.enter_context(pq.ParquetWriter(files[0], schema)), 0
            for batch in rows:
                if len(batch) == 0:
                    continue  # `datasets` can't read a file whose first row group is empty
                if size >= FILE_BYTES:
                    current.close()
                    files.append(folder / "data" / f"{len(files)}.parquet")
                    parquet, size = current.enter_context(pq.ParquetWriter(files[-1], schema)), 0
                typed = datasets.table.table_cast(pa.Table.from_batches([batch], rows.schema), schema)
                parquet.write_table(typed)
                size += typed.nbytes
                progress.update(len(typed))
        for number, file in enumerate(files):
            file.rename(file.with_name(f"{split}-{number:05d}-of-{len(files):05d}.parquet"))


def features(datasets: Any, schema: pa.Schema) -> Any:
    """Return the features that `schema` declares; a column that looks like an image but is not declared becomes one."""
    try:
        found = datasets.Features.from_arrow_schema(schema)
    except (ValueError, TypeError, KeyError) as error:
        raise TenpercentError(
            f"the `huggingface` metadata of the source is refused by datasets ({one_line(error)}); write the source "
            "again, or choose --format folder"
        ) from None
    image = datasets.Image()
    undeclared = [field.name for field in schema if field.type == image.pa_type]
    return datasets.Features(
        {**found, **{name: image for name in undeclared if isinstance(found[name], dict)}}
    )


def rows_of(datasets: Any, kept: Kept, source: ImageSource) -> pa.RecordBatchReader:
    """Return the kept rows of `source` with its own columns, or with those that every source has."""
    if source.columns is not None:
        with reading(source):
            rows = source.columns(kept.rows)
        return pa.RecordBatchReader.from_batches(rows.schema, with_bytes(kept, source, rows))
    columns = {"id": datasets.Value("string"), "image": datasets.Image()}
    if source.labels is not None:
        columns["label"] = datasets.ClassLabel(names=list(told_apart(source.class_names)))
    schema = datasets.Features(columns).arrow_schema
    batches = (pa.RecordBatch.from_pylist(group, schema=schema) for group in groups(kept, source))
    return pa.RecordBatchReader.from_batches(schema, batches)


@contextmanager
def reading(source: ImageSource) -> Iterator[None]:
    """Separate errors of the source from errors of the target."""
    try:
        yield
    except (OSError, pa.ArrowException, Unreadable) as error:
        reason = one_line(error)
        raise TenpercentError(f"{source.spec} can't be read: {reason}; bring it back or run again") from error


def with_bytes(kept: Kept, source: ImageSource, rows: pa.RecordBatchReader) -> Iterator[pa.RecordBatch]:
    """Yield the batches of a table; an image given only by the name of a file beside it gets its bytes."""
    images = [number for number, field in enumerate(rows.schema) if is_image(field.type)]
    done = 0
    while True:
        with reading(source):
            batch = next(rows, None)
        if batch is None:
            return
        these = kept.rows[done : done + len(batch)].tolist()
        done += len(batch)
        if len(images) == 1 and batch.column(images[0]).field("bytes").null_count:
            cells = zip(these, batch.column(images[0]).to_pylist(), strict=True)
            whole = [{**cell, "bytes": cell["bytes"] or read_encoded(source, row)} for row, cell in cells]
            field = rows.schema.field(images[0])
            batch = batch.set_column(images[0], field, pa.array(whole, field.type))
        yield batch


def is_image(kind: pa.DataType) -> bool:
    """Return whether a column of this type holds images as `datasets` keeps them."""
    return bool(pa.types.is_struct(kind) and {field.name for field in kind} == {"bytes", "path"})


def groups(kept: Kept, source: ImageSource) -> Iterator[list[dict[str, Any]]]:
    """Yield the kept images as rows, in groups that fit into memory."""
    group: list[dict[str, Any]] = []
    size = 0
    for row in kept.rows.tolist():
        data = read_encoded(source, row)
        entry = {"id": source.ids[row], "image": {"bytes": data, "path": source.paths[row]}}
        group.append(entry if source.labels is None else {**entry, "label": int(source.labels[row])})
        size += len(data)
        if len(group) == BATCH or size >= BATCH_BYTES:
            yield group
            group, size = [], 0
    if group:
        yield group
