"""Vectors of an unfinished part file, from which an interrupted extraction resumes."""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TypedDict

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from .files import remove_temporaries, write_table
from .part_files import is_vectors, stored_layers, vector_column
from .tables import Column, Layout, read_about, read_checked

FORMAT = 1
SECONDS = 2.0  # between two pieces: the most work that a kill costs

Vectors = dict[str, npt.NDArray[np.float32]]


class PieceAbout(TypedDict):
    """Metadata stored beside the vectors of a piece."""

    format: int
    origin: str
    part: int
    first: int
    batch: int


class UnfinishedPart:
    """Batches of unfinished part files on disk, in pieces of whole batches.

    Attributes:
        folder: of the pieces, ``PART-FIRST.parquet`` each; removed when all part files are whole.
    """

    def __init__(self, folder: Path, origin: str, batch: int) -> None:
        """Read what an interrupted extraction left; the caller holds the lock of the stage.

        Args:
            folder: of the pieces; it need not exist.
            origin: the fingerprint of what the vectors are made of; pieces with another one are removed.
            batch: images per batch of the encoder, on which the last bits of the vectors depend.

        Raises:
            StageError: a piece is damaged.
        """
        self.folder, self._origin, self._batch = folder, origin, batch
        self._fresh: list[Mapping[str, npt.NDArray[np.float32]]] = []
        self._count = 0
        self._written = time.monotonic()
        if folder.is_dir():
            remove_temporaries(folder)
        for path in folder.glob("*.parquet"):
            about = read_about(path, Layout((), PieceAbout, FORMAT))
            if (about["origin"], about["batch"]) != (origin, batch):
                path.unlink()

    def read(self, part: int) -> Vectors:
        """Return the vectors of the first images of a part, float32[k, d] per layer; empty where there are none."""
        pieces: list[Vectors] = []
        count = 0
        for path in sorted(self.folder.glob(f"{part:05d}-*.parquet")):
            layers = stored_layers(path)
            layout = Layout(tuple(Column(layer, is_vectors) for layer in layers), PieceAbout, FORMAT)
            table, about = read_checked(path, layout)
            if (about["part"], about["first"]) != (part, count):
                break  # a piece before it is gone
            pieces.append({layer: _rows(table[layer]) for layer in layers})
            count += len(table)
        return {layer: np.concatenate([piece[layer] for piece in pieces]) for layer in (pieces or [{}])[0]}

    def begin(self, count: int) -> None:
        """Begin or resume a part of which `count` images are on disk."""
        self._fresh, self._count = [], count

    def add(self, part: int, made: Vectors) -> None:
        """Take the next batch of a part, and write the collected batches if the last piece is `SECONDS` old.

        Raises:
            RunFolderError: the disk is full; what was written before is kept.
        """
        self._fresh.append(made)
        if time.monotonic() - self._written < SECONDS:
            return
        layers = {layer: np.concatenate([batch[layer] for batch in self._fresh]) for layer in made}
        about = {"format": FORMAT, "origin": self._origin, "batch": self._batch}
        write_table(
            self.folder / f"{part:05d}-{self._count:05d}.parquet",
            pa.table({layer: vector_column(vectors) for layer, vectors in layers.items()}),
            {**about, "part": part, "first": self._count},
            checksums=True,
        )
        self.begin(self._count + len(next(iter(layers.values()))))
        self._written = time.monotonic()

    def end(self, part: int) -> None:
        """Remove the pieces of a part that is whole."""
        for path in self.folder.glob(f"{part:05d}-*.parquet"):
            path.unlink()

    def remove(self) -> None:
        """Remove the folder: all parts are whole."""
        shutil.rmtree(self.folder, ignore_errors=True)


def _rows(column: pa.ChunkedArray) -> npt.NDArray[np.float32]:
    found: npt.NDArray[np.float32] = np.concatenate([chunk.flatten().to_numpy() for chunk in column.chunks])
    return found.reshape(len(column), -1)
