"""Small pictures of a source's images, for reports and galleries."""

from __future__ import annotations

import base64
import io

from PIL import Image

from ..sources.source import ImageSource
from .decode import decode

_LOSSLESS = 64  # images up to this many pixels a side are shown pixel by pixel, so as PNG


def thumbnail(source: ImageSource, row: int, side: int, *, optimize: bool = True) -> bytes:
    """Return a picture of one image that fits a square of `side` pixels, its aspect kept.

    A larger image is reduced (JPEG); a smaller one is enlarged by a whole factor with hard pixels, so that 8×8 digits
    look crisp (PNG up to 64 pixels a side as stored).

    Args:
        source: where the image is.
        row: which one.
        side: of the square, in pixels.
        optimize: look for the smallest encoding: a twentieth less bytes in up to ten times the time.

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
    """Return a PNG or JPEG as a ``data:`` address that an HTML page can hold."""
    kind = "png" if picture.startswith(b"\x89PNG") else "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(picture).decode('ascii')}"
