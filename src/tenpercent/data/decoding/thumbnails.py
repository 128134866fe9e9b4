"""Thumbnails of a source's images, for reports and galleries."""

from __future__ import annotations

import base64
import io

from PIL import Image

from ..sources.source import ImageSource
from .decode import decode

_LOSSLESS = 64  # images up to this many pixels per side are shown pixel by pixel, so as PNG


def thumbnail(source: ImageSource, row: int, side: int, *, optimize: bool = True) -> bytes:
    """Return a picture of one image that fits a square of `side` pixels and keeps its aspect ratio.

    A larger image is reduced (JPEG); a smaller one is enlarged by a whole factor without interpolation, so that 8×8
    digits look crisp (PNG for images of up to 64 pixels per side).

    Args:
        source: the source of the image.
        row: the row of the image.
        side: of the square, in pixels.
        optimize: search for the smallest encoding: 5% fewer bytes in up to ten times the time.

    Raises:
        Unreadable, OSError: the image can't be read.
    """
    image = Image.fromarray(decode(source.read(row), source.decoding))
    width, height = image.size
    factor = side // max(width, height)
    if factor >= 1:
        picture = image.resize((width * factor, height * factor), Image.Resampling.NEAREST)
    else:
        picture = image
        picture.thumbnail((side, side), Image.Resampling.LANCZOS, reducing_gap=3.0)
    out = io.BytesIO()
    if factor >= 1 and max(width, height) <= _LOSSLESS:
        picture.save(out, "PNG", optimize=optimize)
    else:
        picture.save(out, "JPEG", quality=82, optimize=optimize)
    return out.getvalue()


def data_uri(picture: bytes) -> str:
    """Return a PNG or JPEG as a ``data:`` URI for an HTML page."""
    kind = "png" if picture.startswith(b"\x89PNG") else "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(picture).decode('ascii')}"
