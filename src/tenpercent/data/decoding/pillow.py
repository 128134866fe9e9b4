"""Pillow with our own limit of pixels, independent of its warnings and global settings."""

from __future__ import annotations

import io
import struct
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from threading import Lock

from PIL import Image, ImageFile, TiffImagePlugin
from PIL.JpegImagePlugin import JpegImageFile

# Formats of Pillow that are not still pictures, or need another program to be drawn (EPS: Ghostscript).
_NOT_PICTURES = frozenset({"BUFR", "EPS", "FITS", "FLI", "GRIB", "HDF5", "IPTC", "MPEG", "PDF", "WMF"})
_FIRST = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")  # tried first: nearly every file is one of these


@cache
def formats() -> tuple[str, ...]:
    """Return Pillow's names of the formats that are read, the most common first."""
    Image.init()
    others = sorted(set(Image.OPEN) - _NOT_PICTURES - set(_FIRST))
    return (*(name for name in _FIRST if name in Image.OPEN), *others)


@cache
def extensions() -> frozenset[str]:
    """Return the endings of image file names, in lower case with their dot."""
    known = set(formats())
    return frozenset(ending for ending, name in Image.registered_extensions().items() if name in known)


class TiffAsStored(TiffImagePlugin.TiffImageFile):
    """TIFF that is not turned while it is loaded: for that Pillow re-encodes all its tags, which may fail."""

    def load_end(self) -> None:
        """Set the size as stored; before loading, Pillow gives that of the turned image."""
        self._size = self.im.size


def open_image(raw: bytes, *, turn_tiff: bool = False) -> ImageFile.ImageFile | None:
    """Open an encoded image with the first format that accepts it; of several frames the first.

    `PIL.Image.open` warns or raises above `PIL.Image.MAX_IMAGE_PIXELS`, which is one setting for the whole process.
    This calls the same plug-ins in the same way, and leaves the limit to the caller.

    Args:
        raw: the file.
        turn_tiff: let Pillow turn a TIFF upright while it loads it.

    Returns:
        The image, not loaded yet, or None where no format accepts it.

    Raises:
        Exception: whatever a plug-in of Pillow raises on a broken file.
    """
    for name in formats():
        factory, accept = Image.OPEN[name]
        if name == "JPEG":
            factory = JpegImageFile  # the first picture of several (MPO) without reading about the others
        elif name == "TIFF" and not turn_tiff:
            factory = TiffAsStored
        try:
            if accept is None or accept(raw[:16]) is True:
                return factory(io.BytesIO(raw), "")
        except (SyntaxError, IndexError, TypeError, struct.error):
            continue  # another format
    return None


class _Quiet:
    """Number of threads inside `quiet`, and the settings to restore after the last of them."""

    lock = Lock()
    inside = 0
    filters: object = None
    added: object = None
    limit: int | None = None


@contextmanager
def quiet(max_pixels: int) -> Iterator[None]:
    """Keep Pillow from warning, and from raising by a limit of pixels lower than ours; thread-safe.

    Warning filters and `PIL.Image.MAX_IMAGE_PIXELS` belong to the whole process, and some plug-ins read them while they
    decode. So both are changed only while a thread decodes, and restored by the last one; the limit only where
    `max_pixels` was raised above it.
    """
    with _Quiet.lock:
        if _Quiet.inside == 0:
            warnings.filterwarnings("ignore", module=r"PIL\b")
            _Quiet.filters, _Quiet.added = warnings.filters, warnings.filters[0]
            _Quiet.limit = Image.MAX_IMAGE_PIXELS
        _Quiet.inside += 1
        if _Quiet.limit is not None and max_pixels > _Quiet.limit:
            Image.MAX_IMAGE_PIXELS = None
    try:
        yield
    finally:
        with _Quiet.lock:
            _Quiet.inside -= 1
            if _Quiet.inside == 0:
                Image.MAX_IMAGE_PIXELS = _Quiet.limit
                _take_back_filter()


def _take_back_filter() -> None:
    """Remove our filter where it was added and where it may have been copied to (`warnings.catch_warnings`)."""
    for filters in (_Quiet.filters, warnings.filters):
        if isinstance(filters, list) and _Quiet.added in filters:
            filters.remove(_Quiet.added)
