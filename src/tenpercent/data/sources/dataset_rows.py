"""Rows of a data set as it describes them, without decoding one: files, labels and class names."""

from __future__ import annotations

import inspect
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any

import numpy as np

from ...errors import UsageError
from ..store.arrays import one_a_row
from ..store.embeddings import Ints, Strings
from ..store.labels import plain
from .columns import LABEL_NAMES
from .tables import has_path, paths_of

_LABELS = ("targets", "labels", "_labels", "y")  # of torchvision's data sets, one a row
_PAIRS = ("samples", "_samples", "imgs")  # (file, label) a row
_FILES = ("_image_files", "_images", "image_paths", "paths", "files", "filenames")
_NAMES = ("classes", "categories")
_DEPTH = 32  # of nested data sets


@dataclass(frozen=True, eq=False)
class DatasetLabels:
    """One way in which a data set labels its n rows.

    Attributes:
        codes: int64[n], −1 for none.
        names: the name of each code; None where the codes are numbers of their own.
    """

    codes: Ints
    names: tuple[str, ...] | None

    def take(self, rows: Ints) -> DatasetLabels:
        """Return the labels of these rows."""
        return DatasetLabels(self.codes[rows], self.names)


@dataclass(frozen=True, eq=False)
class DatasetRows:
    """A data set's own description of its n rows.

    Attributes:
        labels: its possible labels; empty where it has none.
        files: object[n], the file of each row, None where it has none; None where the data set names no files.
    """

    labels: tuple[DatasetLabels, ...] = ()
    files: Strings | None = None

    def take(self, rows: Ints) -> DatasetRows:
        """Return the description of these rows."""
        files = None if self.files is None else self.files[rows]
        return DatasetRows(tuple(one.take(rows) for one in self.labels), files)


def dataset_rows(dataset: Any, depth: int = 0) -> DatasetRows:
    """Return a data set's description of its rows, its own or that of the data sets it is made of.

    Known are the attributes of torchvision's data sets, `datasets.Dataset`, `TensorDataset`, and of what is made of
    others `Subset` (``dataset`` and ``indices``), `ConcatDataset` and `StackDataset` (``datasets``).

    Args:
        dataset: it has a length.
        depth: how many data sets it is nested in.
    """
    n = len(dataset)
    if type(dataset).__module__.partition(".")[0] == "datasets" and hasattr(dataset, "features"):
        return _of_table(dataset)
    inner = DatasetRows() if depth == _DEPTH else _inner(dataset, n, depth + 1)
    files = _own_files(dataset, n) if inner.files is None else inner.files
    return DatasetRows(inner.labels or _own_labels(dataset, n), files)


def _inner(dataset: Any, n: int, depth: int) -> DatasetRows:
    within, indices = _own(dataset, "dataset"), _own(dataset, "indices")
    if hasattr(within, "__len__") and indices is not None and len(indices) == n:
        return dataset_rows(within, depth).take(np.asarray(indices, dtype=np.int64))
    parts = _own(dataset, "datasets")
    if isinstance(parts, dict):
        parts = list(parts.values())
    if isinstance(parts, Sequence) and all(hasattr(part, "__len__") for part in parts):
        lengths = [len(part) for part in parts]
        if sum(lengths) == n:
            return _joined([dataset_rows(part, depth) for part in parts], lengths)
        if set(lengths) == {n}:  # side by side
            found = [dataset_rows(part, depth) for part in parts]
            labels = tuple(one for part in found for one in part.labels)
            return DatasetRows(labels, next((part.files for part in found if part.files is not None), None))
    tensors = _own(dataset, "tensors")
    columns = tensors if isinstance(tensors, Sequence) else ()
    return DatasetRows(tuple(one for each in columns if (one := _as_labels(each, n, None)) is not None))


def _joined(parts: list[DatasetRows], lengths: list[int]) -> DatasetRows:
    """Return the descriptions of data sets one after another, as far as all have them."""
    counts = {len(part.labels) for part in parts}
    labels: tuple[DatasetLabels, ...] = ()
    if len(counts) == 1:
        columns = zip(*(part.labels for part in parts), strict=True)
        labels = tuple(one for column in columns if (one := _one_after_another(column)) is not None)
    files: Strings | None = None
    if any(part.files is not None for part in parts):
        blank = [np.full(length, None, dtype=object) for length in lengths]
        files = np.concatenate(
            [none if part.files is None else part.files for part, none in zip(parts, blank, strict=True)]
        )
    return DatasetRows(labels, files)


def _one_after_another(parts: Sequence[DatasetLabels]) -> DatasetLabels | None:
    """Join labels by their names; return None where only some have names."""
    if all(part.names is None for part in parts):
        return DatasetLabels(np.concatenate([part.codes for part in parts]), None)
    names = list(dict.fromkeys(name for part in parts for name in part.names or ()))
    place = {name: code for code, name in enumerate(names)}
    joined = []
    for part in parts:
        if part.names is None:
            return None
        joined.append(np.asarray([*(place[name] for name in part.names), -1], dtype=np.int64)[part.codes])
    return DatasetLabels(np.concatenate(joined), tuple(names))


def _own(dataset: Any, name: str) -> Any:
    """Return an attribute of a data set itself, or None: one passed on from a nested data set may have other rows."""
    try:
        inspect.getattr_static(dataset, name)
    except AttributeError:
        return None
    return getattr(dataset, name, None)


def _own_labels(dataset: Any, n: int) -> tuple[DatasetLabels, ...]:
    names = _class_names(dataset)
    columns = chain((_own(dataset, attribute) for attribute in _LABELS), _of_pairs(dataset, n, 1))
    found = (_as_labels(column, n, names) for column in columns)
    return tuple(islice((one for one in found if one is not None), 1))


def _of_pairs(dataset: Any, n: int, at: int) -> Iterator[list[Any]]:
    """Yield the files (0) or the labels (1) of the lists of pairs that a data set has."""
    for attribute in _PAIRS:
        pairs = _own(dataset, attribute)
        if isinstance(pairs, Sequence) and len(pairs) == n > 0 and isinstance(pairs[0], tuple):
            yield [pair[at] for pair in pairs] if len(pairs[0]) > 1 else []


def _class_names(dataset: Any) -> tuple[str, ...] | None:
    """Return the names of a data set's classes; torchvision's ImageNet has several of a class."""
    for attribute in _NAMES:
        found = _own(dataset, attribute)
        if isinstance(found, list | tuple | np.ndarray) and len(found):
            return tuple(
                ", ".join(map(str, each)) if isinstance(each, list | tuple) else str(each) for each in found
            )
    return None


def _as_labels(values: Any, n: int, names: tuple[str, ...] | None) -> DatasetLabels | None:
    """Return values as labels, or None where they can't be: not one a row, or neither text, bool nor integer."""
    if values is None or getattr(values, "ndim", 1) != 1:
        return None
    try:
        kind, found, missing = plain(one_a_row(values, "labels", n))
    except UsageError:
        return None  # something else under this name
    if kind == "text":
        codes = np.full(n, -1)
        known, codes[~missing] = np.unique(found[~missing], return_inverse=True)
        return DatasetLabels(codes, tuple(known.tolist()))
    codes = np.where(missing, -1, found).astype(np.int64)
    if kind == "bool":
        return DatasetLabels(codes, ("False", "True") if names is None else names)
    fits = names is not None and codes.min(initial=0) >= -1 and codes.max(initial=-1) < len(names)
    return DatasetLabels(codes, names if fits else None)


def _own_files(dataset: Any, n: int) -> Strings | None:
    for files in (*_of_pairs(dataset, n, 0), *(_own(dataset, attribute) for attribute in _FILES)):
        if (
            isinstance(files, list | tuple)
            and len(files) == n > 0
            and isinstance(files[0], str | os.PathLike)
        ):
            return as_files(files)
    return None


def as_files(files: Sequence[Any]) -> Strings:
    """Return the paths of files as text, spelt as ids are: bytes that are not UTF-8 as escapes; None stays."""
    found = np.empty(len(files), dtype=object)
    for row, file in enumerate(files):
        if file is not None:
            found[row] = os.fsencode(file).decode("utf-8", "backslashreplace")
    return found


def _of_table(dataset: Any) -> DatasetRows:
    """Return a `datasets.Dataset`'s description: each column that could be labels, and the paths beside its images."""
    n, features = len(dataset), dataset.features
    labels: list[DatasetLabels] = []
    files: Strings | None = None
    for name, feature in features.items():
        kind = type(feature).__name__
        if kind == "Image" and files is None:
            files = _paths(dataset, name)
        elif kind == "ClassLabel" or name.lower() in LABEL_NAMES:
            names = tuple(map(str, feature.names)) if kind == "ClassLabel" else None
            values = dataset.select_columns([name]).with_format("arrow")[:][name]
            found = _as_labels(values.to_pylist(), n, names)
            if found is not None:
                labels.append(found)
    return DatasetRows(tuple(labels), files)


def _paths(dataset: Any, name: str) -> Strings | None:
    """Return the ``path`` of each image cell; the bytes stay where they are."""
    column = dataset.data.column(name)
    if not has_path(column.type):
        return None
    paths = paths_of(column)
    if dataset._indices is not None:  # rows were chosen or shuffled
        paths = [paths[row] for row in dataset._indices.column(0).to_pylist()]
    return as_files(paths) if any(path for path in paths) else None
