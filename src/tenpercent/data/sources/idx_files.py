"""Folders of idx files, as MNIST and Fashion-MNIST come: one file of images and one of labels a split, also gzipped."""

from __future__ import annotations

import gzip
import math
import re
import zlib
from hashlib import sha256
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ...errors import SourceError, UsageError, counted, reason_of
from ..store.embeddings import row_ids
from ..store.labels import number_labels
from .source import ImageSource, Raw
from .splits import choose_split

_FILE = re.compile(r"(train|t10k)-(images|labels)[-.]idx[13]-ubyte(\.gz)?")
_SPLITS = {"train": "train", "t10k": "test"}
_BYTES = 8  # the code of unsigned bytes in the header: 0, 0, type, number of dimensions
# Class names of known sets, by the first digits of the SHA-256 of a split's labels.
_FASHION = (
    *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
    *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
)
_KNOWN = {"657fbd221bfc9f41": _FASHION, "3d0e6c6ea990b53b": _FASHION}


def has_idx_files(folder: Path) -> bool:
    """Return whether idx files lie in a folder, not below it."""
    return bool(_files(folder))


def open_idx(folder: Path, split: str | None) -> ImageSource:
    """Open a split of a folder of idx files; its images are held in memory.

    Args:
        folder: absolute. Of a file that is there with and without gzip, the one without is read.
        split: None for train.

    Raises:
        SourceError: no such split, a file that is missing, damaged or of another kind, or files of different lengths.
    """
    files = _files(folder)
    splits = tuple(split for split in _SPLITS.values() if any(of == split for of, _ in files))
    chosen = choose_split(split, splits, str(folder))
    path, labels_path = (_file(files, folder, chosen, what) for what in ("images", "labels"))
    images, codes = _read(path, 3), _read(labels_path, 1)
    if len(images) != len(codes):
        raise SourceError(
            f"{path} holds {counted(len(images), 'image')} and {labels_path.name} {counted(len(codes), 'label')}; "
            "get the two files of one set"
        )
    names = _KNOWN.get(sha256(codes.tobytes()).hexdigest()[:16])
    try:
        labels = number_labels(codes.astype(np.int64), np.zeros(len(codes), dtype=bool), names)
    except UsageError as error:
        raise SourceError(f"{labels_path}: {error}") from None

    def read(row: int) -> Raw:
        pixels: Raw = images[row]
        return pixels

    return ImageSource(
        spec=str(folder),
        ids=tuple(row_ids(len(images)).tolist()),
        paths=(None,) * len(images),
        labels=labels.codes,
        class_names=labels.class_names,
        read=read,
        split=chosen,
        splits=splits,
        taken={"images": path.name, "labels": labels_path.name},
    )


def _files(folder: Path) -> dict[tuple[str, str], Path]:
    """Return the file of each split's images and labels."""
    found = sorted(folder.iterdir(), reverse=True)  # `x.gz` before `x`, which stays
    named = [(match, path) for path in found if (match := _FILE.fullmatch(path.name))]
    return {(_SPLITS[match[1]], match[2]): path for match, path in named}


def _file(files: dict[tuple[str, str], Path], folder: Path, split: str, what: str) -> Path:
    if (split, what) not in files:
        part = next(name for name, of in _SPLITS.items() if of == split)
        name = f"{part}-{what}-idx{3 if what == 'images' else 1}-ubyte"
        raise SourceError(f"{folder} has no {name} and no {name}.gz; put one there")
    return files[split, what]


def _read(path: Path, rank: int) -> npt.NDArray[np.uint8]:
    """Return the content of an idx file of bytes: uint8 of `rank` dimensions, read-only."""
    try:
        content = path.read_bytes()
        if content.startswith(b"\x1f\x8b"):
            content = gzip.decompress(content)
    except (OSError, EOFError, zlib.error) as error:
        raise SourceError(f"{path} can't be read ({reason_of(error).rstrip('.')}); get it again") from None
    magic = bytes((0, 0, _BYTES, rank))
    if content[:4] != magic:
        raise SourceError(
            f"{path} begins with {content[:4].hex() or 'nothing'}, an idx file of bytes in "
            f"{counted(rank, 'dimension')} with {magic.hex()}; get it again"
        )
    start = 4 + 4 * rank
    shape = [int.from_bytes(content[at : at + 4], "big") for at in range(4, start, 4)]
    if math.prod(shape) == 0 or len(content) - start != math.prod(shape):
        raise SourceError(
            f"{path} declares {' × '.join(f'{size:,}' for size in shape)} values and holds "
            f"{max(len(content) - start, 0):,}; get it again"
        )
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape)
