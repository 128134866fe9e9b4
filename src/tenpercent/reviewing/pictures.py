"""Pictures of a run's images: read where they still exist, re-encoded in the sizes of the page, cached on disk."""

from __future__ import annotations

import hashlib
import io
import logging
import os
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Lock
from typing import NamedTuple

import numpy as np
from PIL.JpegImagePlugin import JpegImageFile

from ..data.decoding.decode import RGB, as_rgb
from ..data.decoding.pillow import quiet
from ..data.decoding.thumbnails import thumbnail
from ..data.sources.changes import said_change
from ..data.sources.options import Decoding
from ..data.sources.pictures import picture_options
from ..data.sources.source import ImageSource, Raw
from ..data.store.embeddings import Embeddings, Ints
from ..data.store.run_folder import RunFolder
from ..errors import SourceError, TenpercentError
from ..selection.stored import open_present

log = logging.getLogger("tenpercent")

SIDES = (160, 320, 1024)
RECIPE = 2  # version of how pictures are made; raise it when that changes
MOST_BYTES = 512 * 2**20  # of pictures cached on disk


class MissingImageError(Exception):
    """An image that no longer exists; the message is for a person."""


@dataclass(frozen=True, eq=False)
class OriginalImages:
    """The current place of a run's images.

    Attributes:
        source: the source to read them from; None where there is nothing to read.
        rows: int64[n], the row of each position in the current source, −1 where it is missing.
        note: a note for a person, on images that are missing, or on there being none; None where nothing has changed.
        follow_links: True where the run followed links out of the folder of images.
    """

    source: ImageSource | None
    rows: Ints
    note: str | None = None
    follow_links: bool = False

    def missing(self, position: int) -> str | None:
        """Return why an image is missing, or None where it exists, as far as known without reading it."""
        try:
            self.state(position)
        except MissingImageError as gone:
            return str(gone)
        return None

    def read(self, position: int) -> Raw:
        """Return an image as stored.

        Raises:
            MissingImageError: it is missing or out of reach, or a link leads out of the folder of images and the run
                followed none.
            Unreadable, OSError: it can't be read.
        """
        self.state(position)
        assert self.source is not None  # else it would have no state
        row = int(self.rows[position])
        file = self.file(position)
        root = os.path.realpath(self.source.folder or "")
        # Where listing the folder followed no link out of it, one may have been put in a file's place since.
        if (
            not self.follow_links
            and file is not None
            and not os.path.realpath(file).startswith(root.rstrip(os.sep) + os.sep)
        ):
            raise MissingImageError("the image is a link that leads out of the folder of images")
        try:
            return self.source.read(row)
        except SourceError as error:  # a store that can't be reached now
            raise MissingImageError(str(error)) from None

    def file(self, position: int) -> Path | None:
        """Return the file of an image; None where the source is not a folder, or the name had to be rewritten."""
        if self.source is None or self.source.folder is None or self.rows[position] < 0:
            return None
        path = self.source.paths[int(self.rows[position])]
        return None if path is None or "\\x" in path else self.source.folder / path

    def state(self, position: int) -> str:
        """Return the state of an image's file, for comparison: its time and size, "" where it is not a file.

        Raises:
            MissingImageError: it is missing.
        """
        if self.source is None:
            raise MissingImageError(self.note or "this run has no images")
        if self.rows[position] < 0:
            raise MissingImageError("the image was moved or deleted since it was embedded")
        file = self.file(position)
        if file is None:
            return ""
        try:
            found = file.stat()
        except FileNotFoundError:
            raise MissingImageError("the image was moved or deleted since it was embedded") from None
        except OSError as error:
            raise MissingImageError(f"the image can't be read ({error.strerror})") from None
        return f"{found.st_mtime_ns}-{found.st_size}"


def open_originals(run: RunFolder, embeddings: Embeddings) -> OriginalImages:
    """Open the images of a run as far as they still exist; a note says what is missing, and what to do."""
    options = picture_options(run.source)
    follow = options is not None and options.follow_links
    try:
        source, change = open_present(run)
    except (TenpercentError, OSError) as error:
        return OriginalImages(None, np.full(len(embeddings), -1, dtype=np.int64), f"No pictures: {error}")
    if not change:
        return OriginalImages(source, embeddings.rows, follow_links=follow)
    there = np.asarray([source.paths[row] is not None for row in embeddings.rows.tolist()])
    note = said_change(change, run)
    return OriginalImages(source, np.where(there, embeddings.rows, -1), note, follow)


class EncodedPicture(NamedTuple):
    """A picture to send."""

    data: bytes
    tag: str

    @property
    def kind(self) -> str:
        """Media type."""
        return "image/png" if self.data.startswith(b"\x89PNG") else "image/jpeg"


class PictureCache:
    """A maker of pictures with a cache in a folder; safe for threads and for several processes.

    Where the folder can't be written or the disk is full, pictures are made every time, with a single warning.
    """

    def __init__(self, folder: Path, most: int = MOST_BYTES) -> None:
        """Set the folder of the cache, and its size in bytes."""
        self.folder, self.most = folder, most
        self._writes = True
        self._held: int | None = None
        self._lock = Lock()

    def tag(self, originals: OriginalImages, embeddings: Embeddings, position: int, side: int) -> str:
        """Return a tag that identifies this picture, and changes when its file does.

        Raises:
            MissingImageError: the image is missing.
        """
        spec = "" if originals.source is None else originals.source.spec
        code = "" if embeddings.hashes is None else embeddings.hashes[position]
        parts = (RECIPE, side, spec, embeddings.ids[position], code, originals.state(position))
        text = "\0".join(map(str, parts)).encode("utf-8", "surrogatepass")
        return hashlib.blake2b(text, digest_size=16).hexdigest()

    def picture(
        self, originals: OriginalImages, embeddings: Embeddings, position: int, side: int
    ) -> EncodedPicture:
        """Return a picture of an image that fits a square of `side` pixels.

        Raises:
            MissingImageError: the image is missing.
            Unreadable, OSError: it can't be read.
        """
        tag = self.tag(originals, embeddings, position, side)
        data = self._kept(tag)
        if data is None:
            data = rendered(originals, position, side)
            self._keep(tag, data)
        return EncodedPicture(data, tag)

    # ---- on disk -----------------------------------------------------------------------------------------------

    def _path(self, tag: str) -> Path:
        return self.folder / tag[:2] / tag[2:]

    def _kept(self, tag: str) -> bytes | None:
        try:
            data = self._path(tag).read_bytes()
        except OSError:
            return None  # not made yet, or not readable: it is made again
        return data if _is_whole(data) else None

    def _keep(self, tag: str, data: bytes) -> None:
        if not self._writes:
            return
        path = self._path(tag)
        partial = path.with_name(f"{path.name}.{os.getpid()}-{id(data):x}.partial")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            partial.write_bytes(data)
            partial.replace(path)
            self._make_room(len(data))
        except OSError as error:
            self._writes = False
            log.warning(
                "pictures can't be cached in %s (%s); each is made again", self.folder, error.strerror
            )
            with suppress(OSError):  # a file that can't be written can't be removed either
                partial.unlink(missing_ok=True)

    def _make_room(self, added: int) -> None:
        """Remove the oldest pictures down to half of the limit, once it is exceeded."""
        with self._lock:
            if self._held is None:
                self._held = sum(size for _, size, _ in self._files())
            else:
                self._held += added
            if self._held <= self.most:
                return
            for _, size, path in sorted(self._files()):
                if self._held <= self.most // 2:
                    break
                Path(path).unlink(missing_ok=True)  # another process may have been faster
                self._held -= size

    def _files(self) -> list[tuple[float, int, str]]:
        """Return the time of each picture, its size and path."""
        found = []
        for folder, _, names in os.walk(self.folder):
            for name in names:
                path = Path(folder) / name
                try:
                    about = path.stat()
                except OSError:
                    continue  # removed meanwhile
                found.append((about.st_mtime, about.st_size, str(path)))
        return found


def rendered(originals: OriginalImages, position: int, side: int) -> bytes:
    """Return an image, re-encoded as PNG or JPEG, that fits a square of `side` pixels.

    Raises:
        MissingImageError: the image is missing.
        Unreadable, OSError: it can't be read.
    """
    raw = originals.read(position)
    assert originals.source is not None  # it was read
    pixels = _reduced(raw, side, originals.source.decoding)
    at_hand = replace(originals.source, read=lambda _: raw if pixels is None else pixels)
    return thumbnail(at_hand, int(originals.rows[position]), side, optimize=False)


def _reduced(raw: Raw, side: int, how: Decoding) -> RGB | None:
    """Return a large JPEG decoded at half, a quarter or an eighth, at least twice as large as needed; None for others.

    A photo of 12 million pixels takes a tenth of the time this way.
    """
    if not isinstance(raw, bytes) or not raw.startswith(b"\xff\xd8"):
        return None
    try:
        with quiet(how.max_pixels), JpegImageFile(io.BytesIO(raw), "") as image:
            width, height = image.size
            if max(width, height) < 4 * side or width * height > how.max_pixels:
                return None
            image.draft(None, (2 * side, 2 * side))
            image.load()
            return as_rgb(image, how)
    except (OSError, SyntaxError, ValueError, TypeError):
        return None  # the usual way reports the error


def _is_whole(data: bytes) -> bool:
    """Return whether a picture is complete: a machine that lost power may have kept a part of the file."""
    if data.startswith(b"\x89PNG"):
        return data.endswith(b"IEND\xaeB`\x82")
    return data.startswith(b"\xff\xd8") and data.endswith(b"\xff\xd9")
