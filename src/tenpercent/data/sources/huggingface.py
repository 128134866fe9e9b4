"""Data sets opened through the `datasets` library: from the hub, a local folder, or `save_to_disk`."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ...errors import SourceError, nearest, require
from ...progress import bar, quiet_log
from ..store.embeddings import Embeddings, row_ids
from .columns import find_columns
from .options import SourceOptions
from .source import ImageSource, Raw
from .splits import choose_split, split_of_folder
from .tables import bytes_of, has_path, ids_of, paths_of, read_rows
from .vectors import vectors_from_table
from .where import part_where, rows_where


@dataclass(frozen=True)
class Address:
    """Parsed text after ``hf:``.

    Attributes:
        name: on the hub, or the absolute path of a local folder.
        parts: the rest after colons: nothing, a split or a configuration, or a configuration and a split.
    """

    name: str
    parts: tuple[str, ...] = ()

    @classmethod
    def of(cls, text: str) -> Address:
        """Read ``NAME``, ``NAME:SPLIT``, ``NAME:CONFIGURATION`` or ``NAME:CONFIGURATION:SPLIT``."""
        folder = Path(text).expanduser()
        if folder.exists():
            return cls(str(folder.resolve()))
        for count in (1, 2):
            name, *parts = text.rsplit(":", count)
            if Path(name).expanduser().exists():
                return cls(str(Path(name).expanduser().resolve()), tuple(parts))
        found = re.fullmatch(r"([^:]+)((?::[^:/\\]+){1,2})", text)
        return cls(text) if found is None else cls(found[1], tuple(found[2].split(":")[1:]))

    def __str__(self) -> str:
        return ":".join(["hf", self.name, *self.parts])


def open_huggingface(name: str, options: SourceOptions) -> ImageSource | Embeddings:
    """Open a data set of the hub, or a local folder that `datasets` understands, or one of `save_to_disk`.

    Args:
        name: the hub's name (``uoft-cs/cifar10``) or a path, optionally followed by ``:SPLIT``, ``:CONFIGURATION`` or
            ``:CONFIGURATION:SPLIT``.
        options: split and columns.

    Raises:
        SourceError: it can't be found or loaded (offline, say), has no such split or configuration, or unclear columns.
    """
    if not name:
        raise SourceError("hf: names no data set; give hf:NAME, with a name on the hub or a folder")
    address = Address.of(name)
    spec, local = str(address), Path(address.name)
    folder = local if local.exists() else None
    dataset, chosen, splits = _load(address, options.split)
    if len(dataset) == 0:
        raise SourceError(
            f"{spec} holds no rows in its split {chosen or 'train'}; choose another with --split"
        )
    columns = find_columns(dataset.features.arrow_schema, options, spec)
    configuration = _said(dataset)

    def table(names: list[str]) -> pa.Table:
        return _table(dataset, names)

    cells: Any = None if columns.image is None else _undecoded(dataset, columns.image)
    paths = None if columns.image is None else _paths_as_ids(cells, columns.image, folder)
    rows = read_rows(columns, table, spec, options.rules, paths)
    where = None
    if options.where is not None:
        where = rows_where(options.where, dataset.features.arrow_schema, table, spec)
    if columns.vector is not None:
        pieces = table([columns.vector])[columns.vector].chunks
        found = vectors_from_table(
            rows, columns.vector, pieces, len(dataset), spec, drop_bad_rows=options.drop_bad_rows, where=where
        )
        return replace(found, taken={**found.taken, **configuration})
    image = columns.image or ""

    def read(row: int) -> Raw:
        return bytes_of(cells[row][image], folder)

    source = ImageSource(
        spec=spec,
        ids=rows.ids or tuple(row_ids(len(dataset)).tolist()),
        paths=(None,) * len(dataset),
        labels=rows.labels,
        class_names=rows.class_names,
        read=read,
        split=chosen,
        splits=splits,
        columns=lambda rows: rows_of(dataset, rows),
        image_column=image,
        taken=rows.taken | configuration,
    )
    return source if where is None else part_where(source, *where)


def _undecoded(dataset: Any, image: str) -> Any:
    """Return the images alone, as the stored bytes."""
    cells = dataset.select_columns([image])
    if type(cells.features[image]).__name__ != "Image":
        return cells
    return cells.cast_column(image, require("datasets", "images").Image(decode=False))


def _said(dataset: Any) -> dict[str, str]:
    """Return the configuration of a data set in words, where it has a name."""
    name = str(dataset.config_name or "default")
    return {} if name.startswith("default") else {"configuration": f"configuration {name}"}


def rows_of(dataset: Any, rows: npt.NDArray[np.int64]) -> pa.RecordBatchReader:
    """Return all columns of the given rows, in batches; images in files beside it are returned as bytes."""
    embedded = require("datasets.table", "images").embed_table_storage
    taken = dataset.select(rows).with_format("arrow")
    batches = (batch for table in taken.iter(batch_size=100) for batch in embedded(table).to_batches())
    return pa.RecordBatchReader.from_batches(dataset.features.arrow_schema, batches)


def without_split(name: str) -> str:
    """Return the text after ``hf:`` without its split, if any."""
    address = Address.of(name)
    configuration, _ = _read(address)
    parts = () if configuration is None else (configuration,)
    return str(replace(address, parts=parts)).removeprefix("hf:")


def names_split(name: str) -> bool:
    """Return whether the text after ``hf:`` names a split."""
    return _read(Address.of(name))[1] is not None


def _read(address: Address) -> tuple[str | None, str | None]:
    """Return the configuration and the split of an address; a usual word for a split is always read as one."""
    if len(address.parts) == 2:
        return address.parts[0], address.parts[1]
    only = address.parts[0] if address.parts else None
    if only is None or split_of_folder(only) is not None or only not in _configurations(address.name):
        return None, only
    return only, None


def _configurations(name: str) -> list[str]:
    """Return the configurations of a data set; none where they are unknown."""
    if _is_saved(name):
        return []
    datasets = require("datasets", "images")
    try:
        return [str(each) for each in datasets.get_dataset_config_names(name)]
    except Exception:  # noqa: BLE001  as in `_load`, which says what is wrong
        return []


def _is_saved(name: str) -> bool:
    """Return whether a name is that of a folder of `save_to_disk`."""
    return any((Path(name) / mark).is_file() for mark in ("state.json", "dataset_dict.json"))


def _load(address: Address, asked: str | None) -> tuple[Any, str, tuple[str, ...]]:
    """Return the data set of the split taken, that split and all splits."""
    datasets = require("datasets", "images")
    spec, name = str(address), address.name
    configuration, split = _read(address)
    if None not in (asked, split) and asked != split:
        raise SourceError(f"{spec} and --split {asked} ask for different splits; leave one out")
    split = asked or split
    with quiet_datasets(datasets):
        try:
            saved = _is_saved(name)
            loaded = datasets.load_from_disk(name) if saved else datasets.load_dataset(name, configuration)
        except Exception as error:  # builders, network and parsers raise nearly anything
            raise SourceError(_reason(address, configuration, error)) from error
    if isinstance(loaded, datasets.Dataset):
        if split is not None and split != str(loaded.split):
            choose_split(split, (), spec)
        return loaded, "", ()
    splits = tuple(map(str, loaded))
    chosen = choose_split(split, splits, spec)
    return loaded[chosen], chosen, splits


def _reason(address: Address, configuration: str | None, error: Exception) -> str:
    configurations = _configurations(address.name) if isinstance(error, ValueError) else []
    if len(configurations) > 1 and configuration not in configurations:
        close = "" if configuration is None else nearest(configuration, configurations)
        return (
            f"{address} has {len(configurations)} configurations ({', '.join(configurations)}); name one, as in "
            f"{replace(address, parts=(configurations[0],))}{close}"
        )
    first = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
    if Path(address.name).exists():
        remedy = "give a folder that it can load, or a folder of image files without hf:"
        return f"{address} can't be loaded by datasets ({first}); {remedy}"
    return f"{address} can't be loaded ({first}); check the name and the network, or give a local folder"


@contextmanager
def quiet_datasets(datasets: Any, *, always: bool = False) -> Iterator[None]:
    """Hide the progress bars of `datasets`, by default where the project's own are hidden, and its log of retries."""
    ours = bar(total=1, description="", unit="row")
    hide = always or ours.disable or not sys.stderr.isatty()
    ours.close()
    hide = hide and not datasets.are_progress_bars_disabled()
    if hide:
        datasets.disable_progress_bars()
    try:
        with quiet_log("huggingface_hub"):
            yield
    finally:
        if hide:
            datasets.enable_progress_bars()


def _table(dataset: Any, columns: list[str]) -> pa.Table:
    table: pa.Table = dataset.select_columns(columns).with_format("arrow")[:]
    return table


def _paths_as_ids(cells: Any, image: str, folder: Path | None) -> tuple[str, ...] | None:
    """Read the `path` of every cell without its bytes."""
    if not has_path(cells.features.arrow_schema.field(image).type):
        return None
    paths = paths_of(cells.data.column(image))  # memory-mapped: the bytes stay on disk
    indices = cells._indices  # set if rows were selected or shuffled before save_to_disk
    if indices is not None:
        paths = [paths[row] for row in indices.column(0).to_pylist()]
    return ids_of(paths, folder)
