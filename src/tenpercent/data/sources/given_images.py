"""Images that a program passes, as a table in a run folder: a `datasets.Dataset`, or a torch data set of files."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ...errors import RunFolderError, UsageError
from ..store.checksums import ABOUT
from ..store.files import fingerprint, read_metadata, remove_temporaries, replacing
from ..store.run_folder import RunFolder, Stage
from .arrow_types import can_be_image
from .dataset_rows import DatasetRows, dataset_rows
from .given import is_dataset
from .huggingface import rows_of
from .options import SourceOptions


def holds_images(source: Any, options: SourceOptions) -> bool:
    """Return whether an object holds images to embed: a `datasets.Dataset` with a column of them, or image files."""
    features = getattr(source, "features", None)
    if hasattr(source, "select_columns") and features is not None and hasattr(source, "__len__"):
        pictures = any(can_be_image(column.type) for column in features.arrow_schema)
        return options.embedding_column is None and pictures
    return is_dataset(source) and hasattr(source, "__len__") and _files(dataset_rows(source)) is not None


def stored_images(
    source: Any, options: SourceOptions, run: RunFolder, values: dict[str, Any], *, reread: bool = False
) -> Path:
    """Write images into a run folder, unless they are there, and return the table.

    Images of a `datasets.Dataset` are copied with all columns; of image files the paths are stored.

    Raises:
        UsageError: labels, ids or vectors are given beside them.
        RunFolderError: the folder holds a run of something else.
    """
    if values:
        raise UsageError(
            f"{' and '.join(values)} given beside a data set of images, which has its own; leave them out"
        )
    table = hasattr(source, "select_columns")
    files = None if table else _files(known := dataset_rows(source))
    made_of = source._fingerprint if files is None else fingerprint([files, *_classes(known)])
    path = run.given
    if run.json_path.exists() and not reread:
        if not path.exists() or read_metadata(path).get("data set") != made_of:
            raise RunFolderError(
                f"{run.path} holds a run of {'another data set' if path.exists() else run.source.spec}; choose another "
                "out, or make it again with reread=True"
            )
        return path
    batches, schema = _of_table(source) if files is None else _of_files(files, known)
    about = {**(schema.metadata or {}), ABOUT: json.dumps({"data set": made_of}).encode()}
    with run.lock(Stage.EMBED):
        remove_temporaries(path)
        with replacing(path) as temporary, pq.ParquetWriter(temporary, schema.with_metadata(about)) as writer:
            for batch in batches:
                writer.write_batch(batch)
    return path


def _of_table(source: Any) -> tuple[Iterator[pa.RecordBatch], pa.Schema]:
    reader = rows_of(source, np.arange(len(source)))
    return iter(reader), reader.schema


def _of_files(files: list[str], known: DatasetRows) -> tuple[Iterator[pa.RecordBatch], pa.Schema]:
    """Return the paths, ids and labels of image files as a table; an id is the path below the folder of all."""
    folder = os.path.commonpath([os.path.dirname(file) for file in files])  # noqa: PTH120 – many
    cells = pa.StructArray.from_arrays(
        [pa.nulls(len(files), pa.binary()), pa.array(files)], ["bytes", "path"]
    )
    columns: dict[str, Any] = {"id": [os.path.relpath(file, folder) for file in files], "image": cells}
    metadata: dict[str, str] = {}
    if known.labels:
        codes, names = _classes(known)
        columns["label"] = codes
        if names is not None:
            feature = {"_type": "ClassLabel", "names": names}
            metadata["huggingface"] = json.dumps({"info": {"features": {"label": feature}}})
    table = pa.table(columns).replace_schema_metadata(metadata)
    return iter(table.to_batches(max_chunksize=10_000)), table.schema


def _classes(known: DatasetRows) -> tuple[list[int] | None, list[str] | None]:
    if not known.labels:
        return None, None
    names = known.labels[0].names
    return known.labels[0].codes.tolist(), None if names is None else list(names)


def _files(known: DatasetRows) -> list[str] | None:
    """Return the absolute paths of a data set's files, or None where it does not name one for each row."""
    if known.files is None or not all(known.files):
        return None
    files = [str(Path(file).absolute()) for file in known.files.tolist()]
    return files if all(map(os.path.isfile, files)) else None
