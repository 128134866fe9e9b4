"""Conversion of bytes and arrays of every kind to upright RGB."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import TypeVar

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from ...errors import one_line
from ..sources.options import Decoding
from ..sources.source import Raw, Unreadable
from .jpeg import load_jpeg
from .levels import RGB, STRIP, eight_bits, grey, on_white, to_rgb
from .memory import Reservation
from .orientation import orientation
from .pillow import extensions, formats, open_image, quiet
from .whole import checked

__all__ = ["RGB", "Unreadable", "as_rgb", "decode", "decode_for", "extensions", "formats"]

Result = TypeVar("Result")

_BYTES_A_PIXEL = 10  # upper bound for decoding: 9, except for AVIF and progressive JPEGs
_BYTES_A_PIXEL_OF_WEBP = 16  # its decoder holds two canvases, and Pillow two copies


def decode(raw: Raw, how: Decoding = Decoding()) -> RGB:  # noqa: B008 – frozen
    """Return the pixels of an image as it is meant to be seen: upright, in RGB, transparency on white.

    Grey becomes three equal channels; 16 bits and floats are scaled to 8; the first frame of an animation is used.
    Colour profiles are not applied.

    Args:
        raw: an encoded image, or an array [h, w], [h, w, 1], [h, w, 3] (RGB) or [h, w, 4] (RGBA) of uint8,
            uint16 (0 to 65,535), bool or float (0 to 1).
        how: the rules, and the limit of pixels.

    Returns:
        uint8[h, w, 3].

    Raises:
        Unreadable: with the reason: truncated, not an image, more pixels than `how.max_pixels`,
            an array of another shape, dtype or range.
    """
    return decode_for(raw, how, lambda pixels: pixels)


def decode_for(raw: Raw, how: Decoding, use: Callable[[RGB], Result], least: int | None = None) -> Result:
    """Return the result of `use` on the pixels of an image; see `decode`.

    The memory of a large picture stays reserved until `use` has returned: threads that reduce pictures should do so
    in `use`, so that they don't all hold one at the same time. `use` must not decode another image.

    Args:
        raw, how: see `decode`.
        use: takes uint8[h, w, 3].
        least: pixels; a JPEG with longer sides is decoded at an eighth, a quarter or half of its size, as long as no
            side becomes shorter. That takes a third of the time at 4000 × 3000.

    Raises:
        Unreadable: see `decode`.
    """
    if isinstance(raw, np.ndarray):
        return use(_from_array(raw, how))
    with Reservation() as room:
        return use(_from_bytes(raw, how, room, least))


def _from_bytes(raw: bytes, how: Decoding, room: Reservation, least: int | None) -> RGB:
    if len(raw) == 0:
        raise Unreadable("the file is empty (0 bytes)")
    try:
        with quiet(how.max_pixels):
            return _opened_and_read(raw, how, room, least)
    except (Unreadable, MemoryError):
        raise
    except Image.DecompressionBombError as error:
        raise Unreadable(f"too many pixels: {one_line(error)}") from None
    except (
        Exception
    ) as error:  # Pillow's parsers raise nearly anything on broken files: each is a rejected image
        raise Unreadable(f"broken or truncated: {one_line(error)}") from error


def _opened_and_read(raw: bytes, how: Decoding, room: Reservation, least: int | None) -> RGB:
    if how.rules > 1:
        raw = checked(raw)
    image = open_image(raw, turn_tiff=how.rules == 1)
    if image is None:
        raise Unreadable(_no_image(raw))
    with image:
        _refuse_many(*image.size, how.max_pixels)
        room.wait_for(bytes_a_pixel(image) * image.width * image.height)
        way_up = 1 if how.rules == 1 else orientation(image)  # before loading, which may drop the tag
        if how.rules > 1 and image.format == "JPEG":
            if least is not None:
                image.draft("", (least, least))
            load_jpeg(image, raw)
        else:
            image.load()
        return as_rgb(image, how, way_up)


def measures(raw: Raw, how: Decoding) -> tuple[int, int, str]:
    """Return width and height of an image as it is seen, upright, and its format; its pixels are not decoded.

    The format is Pillow's name for it, "pixels" for an array.

    Raises:
        Unreadable: it is not an image, or its header is broken.
    """
    if isinstance(raw, np.ndarray):
        return raw.shape[1], raw.shape[0], "pixels"
    try:
        with quiet(how.max_pixels):
            image = open_image(raw, turn_tiff=how.rules == 1)
            if image is None:
                raise Unreadable(_no_image(raw))
            with image:
                turned = image.format != "TIFF" and orientation(image) > 4  # a TIFF gives its size as seen
                width, height = image.size[::-1] if turned else image.size
                return width, height, image.format or ""
    except Unreadable:
        raise
    except Exception as error:  # Pillow's parsers raise nearly anything on broken files
        raise Unreadable(f"broken or truncated: {one_line(error)}") from error


def bytes_a_pixel(image: Image.Image) -> int:
    """Return the upper bound of the bytes per pixel that decoding an opened image takes."""
    return _BYTES_A_PIXEL_OF_WEBP if image.format == "WEBP" else _BYTES_A_PIXEL


def _no_image(raw: bytes) -> str:
    """Describe a file that is not an image: often a placeholder for content that was not fetched."""
    if raw.startswith(b"version https://git-lfs"):
        return "a Git LFS pointer in place of the image; git lfs pull fetches it"
    if len(raw) < 1024 and b"/annex/objects/" in raw:
        return "a git-annex pointer in place of the image; git annex get fetches it"
    return f"not an image that Pillow can read ({len(raw):,} bytes)"


def _refuse_many(width: int, height: int, limit: int) -> None:
    """Raise where there are too many pixels, before memory is allocated for them."""
    if width * height > limit:
        raise Unreadable(
            f"too many pixels: {width:,} × {height:,} is above the limit of {limit:,}; "
            f"--max-pixels {width * height} --reread takes it"
        )


def as_rgb(image: Image.Image, how: Decoding = Decoding(), way_up: int | None = None) -> RGB:  # noqa: B008 – frozen
    """Return the pixels of a loaded Pillow image as uint8[h, w, 3], upright, transparency on white.

    Args:
        image: of any mode.
        how: the rules; by rules 1, XMP is applied too.
        way_up: its orientation, 1 to 8; None to read it from the image.

    Raises:
        Unreadable: nan or infinite values.
    """
    if how.rules == 1:
        image, way_up = _upright_by_rules_1(image), 1
    return to_rgb(image, orientation(image) if way_up is None else way_up, how.rules)


def _upright_by_rules_1(image: Image.Image) -> Image.Image:
    """Turn an image as its EXIF block or XMP says; not at all where Pillow can't re-encode all tags."""
    if image.format == "JPEG" and not {"exif", "xmp"} & image.info.keys():
        return image
    try:
        return ImageOps.exif_transpose(image)
    except (SyntaxError, ValueError, KeyError, TypeError, IndexError, struct.error, OSError):
        return image


def _from_array(array: npt.NDArray[np.generic], how: Decoding) -> RGB:
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (1, 3, 4)) or array.size == 0:
        raise Unreadable(
            f"an array of shape {array.shape}; it must be [h, w], [h, w, 1], [h, w, 3] or [h, w, 4]"
        )
    if how.rules > 1:
        _refuse_many(array.shape[1], array.shape[0], how.max_pixels)
    to_bytes = _bytes_of(array)
    rgb = np.empty((*array.shape[:2], 3), np.uint8)
    rows = max(1, STRIP // array.shape[1])
    for top in range(0, len(array), rows):
        rgb[top : top + rows] = _channels(to_bytes(array[top : top + rows]))
    return rgb


def _bytes_of(array: npt.NDArray[np.generic]) -> Callable[[npt.NDArray[np.generic]], RGB]:
    """Return a function that converts rows of an array to values from 0 to 255."""
    if array.dtype == np.uint8:
        return lambda rows: rows.astype(np.uint8, copy=False)
    if array.dtype == np.bool_:
        return lambda rows: rows.astype(np.uint8) * np.uint8(255)
    if array.dtype.kind == "u" and array.dtype.itemsize == 2:
        return eight_bits
    if array.dtype.kind == "f":
        low, high = float(array.min()), float(array.max())  # nan if any is nan
        if not (low >= 0.0 and high <= 1.0):
            raise Unreadable(f"float values from {low:g} to {high:g}; they must be from 0 to 1")
        return lambda rows: np.rint(rows.astype(np.float64) * 255).astype(np.uint8)
    raise Unreadable(f"an array of {array.dtype}; it must be uint8, uint16, bool or float from 0 to 1")


def _channels(values: RGB) -> RGB:
    """Return 8-bit RGB of [h, w], [h, w, 1], [h, w, 3] or [h, w, 4]."""
    if values.ndim == 2 or values.shape[2] == 1:
        return grey(values.reshape(values.shape[:2]))
    return on_white(values) if values.shape[2] == 4 else values
