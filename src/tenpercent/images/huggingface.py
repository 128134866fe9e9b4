"""Data sets opened through the `datasets` library: from the hub, a local folder, or `save_to_disk`."""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ..errors import SourceError, require
from ..progress import bar
from ..store.embeddings import Embeddings, row_ids
from .cells import bytes_of, ids_of
from .columns import find_columns
from .options import SourceOptions
from .source import ImageSource, Raw
from .splits import choose_split
from .tables import read_rows
from .vectors import vectors_from_table


def open_huggingface(name: str, options: SourceOptions) -> ImageSource | Embeddings:
    """Open a data set of the hub, or a local folder that `datasets` understands, or one of `save_to_disk`.

    Args:
        name: the hub's name (``uoft-cs/cifar10``) or a path, perhaps with ``:SPLIT`` at the end.
        options: split and columns.

    Raises:
        SourceError: it can't be found or loaded (offline, say), has no such split, or unclear columns.
    """
    asked = options.split
    name, options = split_off(name, options)
    local = Path(name).expanduser()
    folder = local.resolve() if local.exists() else None
    in_name = f":{options.split}" if asked is None and options.split is not None else ""
    spec = f"hf:{folder or name}{in_name}"
    dataset, chosen, splits = _load(str(folder or name), spec, options.split)
    if len(dataset) == 0:
        raise SourceError(
            f"{spec} holds no rows in its split {chosen or 'train'}; choose another with --split"
        )
    columns = find_columns(dataset.features.arrow_schema, options, spec)

    def table(names: list[str]) -> pa.Table:
        return _table(dataset, names)

    if columns.vector is not None:
        return vectors_from_table(columns, table, spec, options.rules)
    image = columns.image or ""
    cells = dataset.select_columns([image])
    if type(cells.features[image]).__name__ == "Image":
        cells = cells.cast_column(image, require("datasets", "images").Image(decode=False))

    rows = read_rows(columns, table, spec, options.rules, _paths_as_ids(cells, image, folder))

    def read(row: int) -> Raw:
        return bytes_of(cells[row][image], folder)

    return ImageSource(
        spec=spec,
        ids=rows.ids or tuple(row_ids(len(cells)).tolist()),
        paths=(None,) * len(cells),
        labels=rows.labels,
        class_names=rows.class_names,
        read=read,
        split=chosen,
        splits=splits,
        columns=lambda rows: _reader(dataset, rows),
        taken=rows.taken,
    )


def _reader(dataset: Any, rows: npt.NDArray[np.int64]) -> pa.RecordBatchReader:
    """Return all columns of the given rows, a few at a time; images that lie in files beside it with their bytes."""
    embedded = require("datasets.table", "images").embed_table_storage
    taken = dataset.select(rows).with_format("arrow")
    batches = (batch for table in taken.iter(batch_size=100) for batch in embedded(table).to_batches())
    return pa.RecordBatchReader.from_batches(dataset.features.arrow_schema, batches)


def split_off(name: str, options: SourceOptions) -> tuple[str, SourceOptions]:
    """Take ``:SPLIT`` off a name and put it into the options.

    Raises:
        SourceError: the options ask for another split.
    """
    if Path(name).expanduser().exists():
        return name, options
    found = re.fullmatch(r"(.+):(\w+(?:\.\w+)*)", name)
    if found is None:
        return name, options
    if options.split not in (None, found[2]):
        raise SourceError(f"hf:{name} and --split {options.split} ask for different splits; leave one out")
    return found[1], replace(options, split=found[2])


def _load(name: str, spec: str, split: str | None) -> tuple[Any, str, tuple[str, ...]]:
    """Return the data set of the split taken, that split and all splits."""
    datasets = require("datasets", "images")
    folder = Path(name)
    saved = any((folder / mark).is_file() for mark in ("state.json", "dataset_dict.json"))
    with _quiet_bars(datasets):
        try:
            loaded = datasets.load_from_disk(name) if saved else datasets.load_dataset(name)
        except Exception as error:  # builders, network and parsers raise nearly anything
            raise SourceError(_reason(spec, folder.exists(), error)) from error
    if isinstance(loaded, datasets.Dataset):
        if split is not None and split != str(loaded.split):
            choose_split(split, (), spec)
        return loaded, "", ()
    splits = tuple(map(str, loaded))
    chosen = choose_split(split, splits, spec)
    return loaded[chosen], chosen, splits


def _reason(spec: str, local: bool, error: Exception) -> str:
    first = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
    if local:
        return (
            f"{spec} can't be loaded by datasets ({first}); give a folder it can load, or one of image files"
        )
    return f"{spec} can't be loaded ({first}); check the name and the network, or give a folder that is there"


@contextmanager
def _quiet_bars(datasets: Any) -> Iterator[None]:
    """Show no bars of `datasets` where the project's own would not be shown, and no log of each retry."""
    ours = bar(total=1, description="", unit="row")
    quiet = bool(ours.disable) or not sys.stderr.isatty()
    ours.close()
    was_on = not datasets.are_progress_bars_disabled()
    if quiet and was_on:
        datasets.disable_progress_bars()
    hub = logging.getLogger("huggingface_hub")
    level = hub.level
    hub.setLevel(logging.ERROR)
    try:
        yield
    finally:
        hub.setLevel(level)
        if quiet and was_on:
            datasets.enable_progress_bars()


def _table(dataset: Any, columns: list[str]) -> pa.Table:
    table: pa.Table = dataset.select_columns(columns).with_format("arrow")[:]
    return table


def _paths_as_ids(cells: Any, image: str, folder: Path | None) -> tuple[str, ...] | None:
    """Read the `path` of every cell without its bytes."""
    kind = cells.features.arrow_schema.field(image).type
    if not pa.types.is_struct(kind) or all(field.name != "path" for field in kind):
        return None
    paths: list[str | None] = []
    for chunk in cells.data.column(image).chunks:  # memory-mapped: the bytes stay on disk
        paths.extend(chunk.field("path").to_pylist())
    indices = cells._indices  # set where rows were chosen or shuffled before save_to_disk
    if indices is not None:
        paths = [paths[row] for row in indices.column(0).to_pylist()]
    return ids_of(paths, folder)
