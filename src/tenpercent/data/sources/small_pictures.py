"""Small pictures of a run's images, kept in part files so that later comparisons need not read the images again."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypedDict

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ...errors import RunFolderError
from ...progress import bar
from ..decoding.decode import decode_for
from ..store.embeddings import in_batches
from ..store.files import fingerprint, write_table
from ..store.tables import Column, Layout, check, read_about, read_checked
from .perceptual import BITS, SIDE, Ints, SmallPictures, small_grey
from .source import ImageSource, Unreadable

log = logging.getLogger("tenpercent")

FOLDER = "pictures"
FORMAT = 1
PART = 4096  # images per part file


class _About(TypedDict):
    """Metadata stored beside the columns: the format, and a fingerprint of the images."""

    format: int
    images: str


_LAYOUT = Layout(
    (Column("grey", pa.list_(pa.uint8(), SIDE * SIDE)), Column("hash", pa.list_(pa.uint8(), BITS // 8))),
    _About,
    FORMAT,
)


def small_pictures(
    source: ImageSource, rows: Ints, contents: Sequence[str] = (), folder: Path | None = None
) -> tuple[SmallPictures, int]:
    """Return images reduced for comparison, from part files where they exist.

    Args:
        source: the source of the images.
        rows: int64[n], rows of the images.
        contents: str[n], a hash of each image's bytes, which identifies the images of a part file.
        folder: for the part files; None to keep none.

    Returns:
        The small pictures, and the number of images that can't be read any more: those are flat, so they match nothing.

    Raises:
        StageError: a part file is damaged.
    """
    parts: list[SmallPictures] = []
    gone = 0
    with bar(len(rows), "reading", f"{source.noun}s") as progress, ThreadPoolExecutor(os.cpu_count()) as pool:
        for number, cut in enumerate(in_batches(len(rows), PART)):
            path = None if folder is None else folder / f"part-{number:05d}.parquet"
            images = fingerprint([source.decoding.rules, *contents[cut]])
            part = None if path is None else _stored(path, images)
            if part is None:
                read = list(pool.map(lambda row: _read(source, row), rows[cut].tolist()))
                missing = sum(grey is None for grey in read)
                greys = np.stack([_NOTHING if grey is None else grey for grey in read])
                part, gone = SmallPictures.of(greys), gone + missing
                if path is not None and not missing:
                    _keep(path, part, images)
            parts.append(part)
            progress.update(cut.stop - cut.start)
    return SmallPictures(
        np.concatenate([part.greys for part in parts]), np.concatenate([part.hashes for part in parts])
    ), gone


_NOTHING = np.zeros((SIDE, SIDE), np.uint8)


def _read(source: ImageSource, row: int) -> npt.NDArray[np.uint8] | None:
    try:
        return decode_for(source.read(row), source.decoding, small_grey)
    except (OSError, Unreadable):
        return None  # counted, and reported by the caller


def _stored(path: Path, images: str) -> SmallPictures | None:
    """Return a stored part; None where there is none, or it is of other images."""
    if not path.is_file() or read_about(path, _LAYOUT)["images"] != images:
        return None
    table, _ = read_checked(path, _LAYOUT)
    greys, codes = (
        table[name].combine_chunks().flatten().to_numpy().reshape(len(table), -1) for name in ("grey", "hash")
    )
    check(path, (len(table) <= PART, f"it has {len(table):,} rows"))
    return SmallPictures(greys.reshape(-1, SIDE, SIDE), np.unpackbits(codes, axis=1).astype(np.bool_))


def _keep(path: Path, part: SmallPictures, images: str) -> None:
    """Write a part; if that fails, as on a read-only disk, the next call reads the images again."""
    columns = {
        "grey": part.greys.reshape(len(part), -1),
        "hash": np.packbits(part.hashes, axis=1),
    }
    table = pa.table(
        {
            name: pa.FixedSizeListArray.from_arrays(pa.array(values.reshape(-1)), values.shape[1])
            for name, values in columns.items()
        }
    )
    try:
        write_table(path, table, {"format": FORMAT, "images": images}, checksums=True)
    except RunFolderError as error:
        log.warning("the small pictures are not kept, and will be read again: %s", error)
