"""Interface of every source of images, whatever it is read from."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ...errors import counted
from ..store.files import fingerprint
from .options import Decoding, Unit
from .remote.ahead import ReadAhead

SETS = "sets"  # in `ImageSource.taken`, where labels are the sets of an image's classes
Raw = bytes | npt.NDArray[np.generic]  # an encoded image, or its pixels: [h, w] or [h, w, channels]


class Unreadable(Exception):  # noqa: N818  a verdict on one image, which never stops a run
    """Error of an image that can't be read; the message is the reason, for a person."""


@dataclass(frozen=True)
class Sample:
    """The files in an archive that belong to one image: those whose names differ from the first dot on.

    Attributes:
        archive: path of the archive within the source.
        image: path of the image in the archive.
        key: what the paths of the files share.
        names: the paths.
        read: path -> bytes. Raises OSError or `Unreadable` where that file can't be read.
    """

    archive: str
    image: str
    key: str
    names: Sequence[str]
    read: Callable[[str], bytes]


@dataclass(frozen=True, eq=False, repr=False)
class ImageSource:
    """Images with ids and labels, in the order of the source.

    Attributes:
        spec: the name that opens it again, as on the command line (a path is made absolute).
        ids: one per image, unique; the path within the source where there is one, else the zero-padded row.
        paths: the file within the source, or None.
        labels: int64[n], the code of the class, −1 for none; None where the source has no labels.
        class_names: the name of each code.
        read: row -> encoded bytes or pixels. Raises OSError or `Unreadable` where that image can't be read.
        split: name of the split, or "" where the source has none.
        skipped: what was skipped while listing, with counts, e.g. {"hidden files": 2, "broken links": 1}.
        splits: the names of all splits.
        columns: rows (ascending) -> all columns of those rows, batch by batch, with their schema metadata; None where
            the source is not a table.
        decoding: settings by which the result of `read` becomes pixels (`decode.decode`).
        taken: what was taken for labels, ids and images, in words: {"labels": "column label"}.
        image_column: the column of `columns` that holds the images; None where the source is not a table.
        folder: the folder that `paths` lie in; None where they are not files.
        unit: object where an image is a part of its file, as `annotations` say.
        annotations: the files that say which images there are; empty where these are listed.
        annotated: reads these again, with all that they say (`boxes.annotated.Annotated`); None where there are none.
        sample: row -> the files that belong to that image; None where the source has no archives.
        noun: what one of them is called: an image, an object in one, a frame of a video.
        stamps: of each image what the store says of its file, which changes when its content does; "" where it says
            nothing; None for files on disk.
        among: number of images of which more than half must be readable; 0 for these alone.
    """

    spec: str
    ids: tuple[str, ...]
    paths: tuple[str | None, ...]
    labels: npt.NDArray[np.int64] | None
    class_names: tuple[str, ...]
    read: Callable[[int], Raw] = field(repr=False)
    split: str = ""
    skipped: dict[str, int] = field(default_factory=dict)
    splits: tuple[str, ...] = ()
    columns: Callable[[npt.NDArray[np.int64]], pa.RecordBatchReader] | None = field(default=None, repr=False)
    decoding: Decoding = field(default=Decoding(), repr=False)
    taken: Mapping[str, str] = field(default_factory=dict, repr=False)
    image_column: str | None = field(default=None, repr=False)
    folder: Path | None = field(default=None, repr=False)
    unit: Unit = field(default=Unit.IMAGE, repr=False)
    annotations: tuple[Path, ...] = field(default=(), repr=False)
    annotated: Callable[[], Any] | None = field(default=None, repr=False)
    sample: Callable[[int], Sample] | None = field(default=None, repr=False)
    noun: str = "image"
    among: int = field(default=0, repr=False)
    stamps: tuple[str, ...] | None = field(default=None, repr=False)

    def __len__(self) -> int:
        return len(self.ids)

    def __repr__(self) -> str:
        classes = "no labels" if self.labels is None else counted(len(self.class_names), "class")
        split = f", split {self.split!r}" if self.split else ""
        return f"ImageSource({self.spec!r}, {counted(len(self), self.noun)}, {classes}{split})"

    @property
    def has_classes(self) -> bool:
        """True if images have labels that are classes, not values to be grouped by (`SourceOptions.by`)."""
        return self.labels is not None and not {"by", SETS} & self.taken.keys()

    @property
    def fingerprint(self) -> str:
        """Fingerprint of the ids, labels and class names: the same for the same source, wherever it lies."""
        labels = None if self.labels is None else self.labels.tolist()
        return fingerprint([list(self.ids), labels, list(self.class_names), self.split])

    def reading(self, rows: npt.NDArray[np.int64]) -> ImageSource:
        """Return the source for reading some rows in this order, and no others: those of a store are fetched ahead."""
        return replace(self, read=self.read.only(rows.tolist())) if isinstance(self.read, ReadAhead) else self

    def part(self, rows: npt.NDArray[np.int64]) -> ImageSource:
        """Return the images at some rows as a source; rows of a table and samples of archives can't be read from it."""
        return replace(
            self,
            ids=tuple(self.ids[row] for row in rows),
            paths=tuple(self.paths[row] for row in rows),
            labels=None if self.labels is None else self.labels[rows],
            stamps=None if self.stamps is None else tuple(self.stamps[row] for row in rows),
            read=lambda row: self.read(int(rows[row])),
            columns=None,
            sample=None,
        )


def content_hash(raw: Raw) -> str:
    """Return 32 hexadecimal digits for encoded bytes, or for the shape, dtype and values of an array."""
    digest = hashlib.blake2b(digest_size=16)
    if isinstance(raw, bytes):
        digest.update(raw)
    else:
        digest.update(f"{raw.shape}{raw.dtype.str}".encode())
        digest.update(np.ascontiguousarray(raw).tobytes())
    return digest.hexdigest()


def hash_of(source: ImageSource, row: int) -> str | None:
    """Return the `content_hash` of an image of a source; None where it can't be read."""
    try:
        return content_hash(source.read(row))
    except (OSError, Unreadable):
        return None
