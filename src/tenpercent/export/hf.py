"""The kept images as a Hugging Face data set: a folder for `load_from_disk` and a Parquet file beside it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ..errors import require
from ..images.source import ImageSource
from ..progress import bar
from .encoded import read_encoded
from .kept import Kept
from .summary import ExportSummary, Format
from .targets import building, check_free, check_outside, place

ROWS_IN_GROUP = 100  # images are large: small row groups, as the Hub's own files have
BYTES_IN_GROUP = 64 << 20


def write_dataset(kept: Kept, source: ImageSource, to: Path) -> ExportSummary:
    """Write the folder `to` for ``datasets.load_from_disk`` and the file ``to.parquet``.

    A source that is a data set already keeps all its columns and features. Of others the columns are ``id``,
    ``image`` (the bytes they came with, PNG where they came as pixels) and, where there are labels, ``label``
    with the names of the classes.

    Raises:
        UsageError: one of the two is taken, or `to` lies within the source.
        MissingExtraError: the package `datasets` is not installed.
        TenpercentError: an image can't be read, or `to` can't be written.
    """
    datasets = require("datasets", "export")
    parquet = to.with_name(f"{to.name}.parquet")
    check_free(to, parquet)
    check_outside(to, source)
    with building(to) as temporary, silent(datasets):
        folder, file = temporary / "dataset", temporary / "data.parquet"
        write_parquet(kept, source, features(datasets, source), file)
        dataset = datasets.Dataset.from_parquet(str(file), cache_dir=str(temporary / "cache"))
        dataset.save_to_disk(folder)
        paths = place({folder: to, file: parquet})
    return ExportSummary(Format.HF, paths, len(kept))


@contextmanager
def silent(datasets: Any) -> Iterator[None]:
    """Keep the bars of the package `datasets` off: they know neither a quiet run nor a log file."""
    were_off = datasets.are_progress_bars_disabled()
    datasets.disable_progress_bars()
    try:
        yield
    finally:
        if not were_off:
            datasets.enable_progress_bars()


def features(datasets: Any, source: ImageSource) -> Any:
    """Return the features of a source that has none of its own."""
    columns = {"id": datasets.Value("string"), "image": datasets.Image()}
    if source.labels is not None:
        columns["label"] = datasets.ClassLabel(names=list(source.class_names))
    return datasets.Features(columns)


def write_parquet(kept: Kept, source: ImageSource, features: Any, file: Path) -> None:
    """Write the kept images of `source` as Parquet with `features` in its schema, a row group at a time."""
    schema = features.arrow_schema
    with pq.ParquetWriter(file, schema) as writer, bar(len(kept), "Writing images", "images") as progress:
        for group in row_groups(kept, source):
            writer.write_table(pa.Table.from_pylist(group, schema=schema))
            progress.update(len(group))


def row_groups(kept: Kept, source: ImageSource) -> Iterator[list[dict[str, Any]]]:
    """Yield the kept images as rows, in groups that fit into memory."""
    group: list[dict[str, Any]] = []
    size = 0
    for row in kept.rows.tolist():
        data = read_encoded(source, row)
        entry = {"id": source.ids[row], "image": {"bytes": data, "path": source.paths[row]}}
        group.append(entry if source.labels is None else {**entry, "label": int(source.labels[row])})
        size += len(data)
        if len(group) == ROWS_IN_GROUP or size >= BYTES_IN_GROUP:
            yield group
            group, size = [], 0
    if group:
        yield group
