"""Orientation of an image: EXIF tag 274, read by itself, whatever the other tags hold."""

from __future__ import annotations

import struct
from typing import TypeVar

import numpy as np
from PIL import Image

_TAG = 274
_FORMATS = {1: "B", 3: "H", 4: "I"}  # by the type of a tag; cameras write 3 (SHORT)
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_BACK = {6: 8, 8: 6}  # the others are their own inverse

Array = TypeVar("Array", bound=np.ndarray)


def orientation(image: Image.Image) -> int:
    """Return the orientation of an image, 1 (as stored) to 8, from tag 274 of its EXIF block or TIFF directory.

    XMP is ignored, as in browsers. A block that can't be parsed counts as 1.
    """
    tags = getattr(image, "tag_v2", None)  # a TIFF
    value = tags.get(_TAG) if tags is not None else _from_block(_block(image))
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def turned(strip: Image.Image, orientation: int) -> Image.Image:
    """Return a stored image turned upright."""
    turn = _TURNS.get(orientation)
    return strip if turn is None else strip.transpose(turn)


def as_seen(stored: Array, orientation: int) -> Array:
    """Return an upright view of [h, w, 3] as stored."""
    if orientation == 1:
        return stored
    flips = {2: (1, -1), 3: (-1, -1), 4: (-1, 1), 5: (1, 1), 6: (-1, 1), 7: (-1, -1), 8: (1, -1)}
    down, right = flips[orientation]
    flipped = stored[::down, ::right]
    return flipped.transpose(1, 0, 2) if orientation > 4 else flipped  # type: ignore[return-value]


def as_stored(seen: Array, orientation: int) -> Array:
    """Return a view of an upright [h, w, 3] as it is stored."""
    return as_seen(seen, _BACK.get(orientation, orientation))


def _block(image: Image.Image) -> bytes:
    """Return the EXIF block, empty where there is none; ImageMagick writes it as text of a PNG."""
    block = image.info.get("exif")
    if isinstance(block, bytes):
        return block
    lines = str(image.info.get("Raw profile type exif", "")).split("\n")
    try:
        return bytes.fromhex("".join(lines[3:]))
    except ValueError:
        return b""


def _from_block(block: bytes) -> int | None:
    """Return tag 274 of the first directory of an EXIF block."""
    while block.startswith(b"Exif\0\0"):
        block = block[6:]
    order = {b"II": "<", b"MM": ">"}.get(block[:2])
    if order is None:
        return None
    try:
        (start,) = struct.unpack_from(order + "I", block, 4)
        (count,) = struct.unpack_from(order + "H", block, start)
        for entry in range(start + 2, start + 2 + 12 * count, 12):
            tag, kind = struct.unpack_from(order + "HH", block, entry)
            if tag == _TAG and kind in _FORMATS:
                return int(struct.unpack_from(order + _FORMATS[kind], block, entry + 8)[0])
    except struct.error:
        return None  # the block ends before its directory
    return None
