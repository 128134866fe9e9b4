"""Part files of embeddings: runs of consecutive images of the source with their vectors."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import compress
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from ...flaws import Flaw, flaws_of
from .files import write_table
from .rejected import REJECTED, Rejected
from .tables import Column, Layout, check, count_rows, read_checked, whole

FORMAT = 1
SIZES = ("width", "height", "bytes")

Ints = npt.NDArray[np.int64]


class PartAbout(TypedDict):
    """Metadata stored beside the columns of a part file; the same for all parts."""

    format: int
    origin: str
    class_names: list[str]
    labelled: bool


def part_layout(layer: str | None = None) -> Layout:
    """Return the layout of a part file, with the vectors of one layer or without any."""
    columns = (
        Column("id", pa.string()),
        Column("row", pa.int64(), lowest=0),
        Column("path", pa.string(), nullable=True),
        Column("label", pa.int64(), lowest=-1),
        Column("hash", pa.string()),
        *(Column(name, pa.int64(), lowest=0, optional=True) for name in SIZES),
    )
    vectors = () if layer is None else (Column(layer, is_vectors, unvouched=_broken),)
    return Layout((*columns, *vectors), PartAbout, FORMAT, what="part of embeddings")


def is_vectors(kind: pa.DataType) -> bool:
    """Return whether a column holds vectors of one width."""
    return bool(pa.types.is_fixed_size_list(kind) and kind.value_type == pa.float32() and kind.list_size > 0)


def _broken(column: pa.ChunkedArray) -> str | None:
    """Return what is wrong with vectors, some of which may have no direction, or None."""
    for chunk in column.chunks:
        flat = chunk.flatten()
        if flat.null_count:
            return "a vector has nulls"
        flaws = flaws_of(flat.to_numpy().reshape(len(chunk), -1))
        if flaws.any():
            return f"a vector {Flaw(int(flaws.max())).reason}"
    return None


def read_parts(parts: Sequence[Path], layer: str) -> tuple[pa.Table, dict[str, Any]]:
    """Read all part files, several at a time, and check them against each other."""
    layout = part_layout(layer)
    with ThreadPoolExecutor() as pool:
        found = list(pool.map(lambda part: _read_part(part, layer, layout), parts))
    about, width = found[0][1], found[0][0].schema.field(layer).type.list_size
    for part, (table, own) in zip(parts, found, strict=True):
        check(
            part,
            (own == about, f"it was made of other images or settings than {parts[0].name}"),
            (
                table.schema.field(layer).type.list_size == width,
                f"its vectors have not the width of {parts[0].name}, {width}",
            ),
        )
    return pa.concat_tables([table for table, _ in found], promote_options="default"), about


def sizes_of(table: pa.Table) -> Ints | None:
    """Return the sizes of images, int64[n, 3], or None where a part file has none."""
    if any(name not in table.column_names or table[name].null_count for name in SIZES):
        return None
    return np.column_stack([table[name].to_numpy() for name in SIZES])


def _read_part(part: Path, layer: str, layout: Layout) -> tuple[pa.Table, dict[str, Any]]:
    table, about = read_checked(part, layout)
    about = {key: value for key, value in about.items() if key != REJECTED}  # a part's own
    labels = table["label"].to_numpy()
    highest = len(about["class_names"]) - 1
    check(
        part,
        (
            not about["labelled"] or labels.max(initial=-1) <= highest,
            f"column label holds a class above {highest}",
        ),
    )
    return table, about


@dataclass(frozen=True)
class Part:
    """Run of consecutive embedded images of the source: the content of one part file.

    Attributes:
        ids, paths, hashes: str[k]; paths are None where there are no files.
        rows, labels: int64[k]; the label −1 means none.
        layers: the vectors of each layer, float32[k, d].
        sizes: see `Embeddings`; None to write none.
    """

    ids: Sequence[str]
    rows: Ints
    paths: Sequence[str | None]
    labels: Ints
    hashes: Sequence[str]
    layers: dict[str, npt.NDArray[np.float32]]
    sizes: Ints | None = None


def write_part(folder: Path, number: int, part: Part, about: dict[str, Any]) -> None:
    """Write one part file into the run's ``embeddings`` folder: see `save_part`."""
    save_part(part_path(folder, number), part, about)


def part_path(folder: Path, number: int) -> Path:
    """Return the path of a part file; parts are numbered from 0 in the order of the source."""
    return folder / f"part-{number:05d}.parquet"


def save_part(path: Path, part: Part, about: dict[str, Any]) -> None:
    """Write a part file, whole or not at all.

    Args:
        path: the file.
        part: the vectors with their images.
        about: ``origin`` (what made them), ``class_names`` and ``labelled``; the same for all parts.
    """
    columns: dict[str, pa.Array] = {
        "id": pa.array(part.ids, pa.string()),
        "row": pa.array(part.rows, pa.int64()),
        "path": pa.array(part.paths, pa.string()),
        "label": pa.array(part.labels, pa.int64()),
        "hash": pa.array(part.hashes, pa.string()),
    }
    if part.sizes is not None:
        columns |= {name: pa.array(part.sizes[:, at], pa.int64()) for at, name in enumerate(SIZES)}
    for layer, vectors in part.layers.items():
        columns[layer] = vector_column(vectors)
    write_table(path, pa.table(columns), {"format": FORMAT, **about})


def without_flaws(part: Part) -> tuple[Part, list[Rejected]]:
    """Return a part without the images whose vector has no direction in some layer, and these images."""
    flaws = {layer: flaws_of(vectors) for layer, vectors in part.layers.items()}
    good = np.all([codes == Flaw.NONE for codes in flaws.values()], axis=0)
    if good.all():
        return part, []
    gone = []
    for at in np.flatnonzero(~good).tolist():
        layer, flaw = next((layer, Flaw(codes[at])) for layer, codes in flaws.items() if codes[at])
        of = f" of layer {layer}" if len(flaws) > 1 else ""
        gone.append(Rejected(part.ids[at], int(part.rows[at]), f"its vector{of} {flaw.reason}"))
    left = Part(
        ids=list(compress(part.ids, good)),
        rows=part.rows[good],
        paths=list(compress(part.paths, good)),
        labels=part.labels[good],
        hashes=list(compress(part.hashes, good)),
        layers={layer: vectors[good] for layer, vectors in part.layers.items()},
        sizes=None if part.sizes is None else part.sizes[good],
    )
    return left, gone


def vector_column(vectors: npt.NDArray[np.float32]) -> pa.Array:
    """Return float32[k, d] as a column of k vectors."""
    flat = pa.array(np.ascontiguousarray(vectors, dtype=np.float32).reshape(-1), pa.float32())
    return pa.FixedSizeListArray.from_arrays(flat, vectors.shape[1])


def part_files(folder: Path) -> list[Path]:
    """Return the whole part files of `folder` in the order of the source."""
    return sorted(folder.glob("part-*.parquet"))


def stored_count(folder: Path) -> int:
    """Return the number of images in the part files of `folder`."""
    return sum(count_rows(part) for part in part_files(folder))


def stored_layers(part: Path) -> list[str]:
    """Return the names of the layers in a part file.

    Raises:
        StageError: the file is damaged.
    """
    with whole(part):
        return [field.name for field in pq.read_schema(part) if pa.types.is_fixed_size_list(field.type)]
