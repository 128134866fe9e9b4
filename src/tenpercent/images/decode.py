"""Bytes and arrays of every kind, brought to RGB as a person sees them."""

from __future__ import annotations

import io
import struct
from functools import cache

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError

from .options import Decoding
from .source import Raw

RGB = npt.NDArray[np.uint8]

# Formats that Pillow knows and that are no still pictures, or run another program to be drawn (EPS: Ghostscript).
_NOT_PICTURES = frozenset({"BUFR", "EPS", "FITS", "FLI", "GRIB", "HDF5", "IPTC", "MPEG", "PDF", "WMF"})
_FIRST = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")  # tried first: nearly every file is one of these
_SIXTEEN_BIT = frozenset({"I;16", "I;16B", "I;16L", "I;16N"})


class Unreadable(Exception):  # noqa: N818  a verdict on one image, which never stops a run
    """An image that can't be read; the message is the reason, for a person."""


@cache
def formats() -> tuple[str, ...]:
    """Return Pillow's names of the formats that are read, the commonest first."""
    Image.init()
    others = sorted(set(Image.OPEN) - _NOT_PICTURES - set(_FIRST))
    return (*(name for name in _FIRST if name in Image.OPEN), *others)


@cache
def extensions() -> frozenset[str]:
    """Return the endings of file names that are taken for images, in lower case with their dot."""
    known = set(formats())
    return frozenset(ending for ending, name in Image.registered_extensions().items() if name in known)


def decode(raw: Raw, how: Decoding = Decoding()) -> RGB:  # noqa: B008 – frozen
    """Return the pixels of an image as a person sees it: upright, in RGB, transparency on white.

    Grey becomes three equal channels; 16 bits and floats are scaled to 8; of an animation the first frame is
    taken. Colour profiles are not applied.

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
    if isinstance(raw, np.ndarray):
        return _from_array(raw)
    return _from_bytes(raw, how)


def _from_bytes(raw: bytes, how: Decoding) -> RGB:
    if len(raw) == 0:
        raise Unreadable("the file is empty (0 bytes)")
    try:
        with Image.open(io.BytesIO(raw), formats=formats()) as image:
            _refuse_bomb(image, how.max_pixels)
            image.load()
            return as_rgb(image)
    except (Unreadable, MemoryError):
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise Unreadable(f"too many pixels: {one_line(error)}") from None
    except UnidentifiedImageError:
        raise Unreadable(f"not an image that Pillow can read ({len(raw):,} bytes)") from None
    except (
        Exception
    ) as error:  # Pillow's parsers raise nearly anything on broken files: each is a rejected image
        raise Unreadable(f"broken or truncated: {one_line(error)}") from error


def _refuse_bomb(image: Image.Image, limit: int) -> None:
    """Raise where the header claims too many pixels, before memory is taken for them."""
    width, height = image.size
    if width * height > limit:
        raise Unreadable(f"too many pixels: {width:,} × {height:,} is above the limit of {limit:,}")


def as_rgb(image: Image.Image) -> RGB:
    """Return the pixels of a loaded Pillow image as uint8[h, w, 3], upright, transparency on white."""
    image = _upright(image)
    if image.mode == "RGB" and "transparency" not in image.info:
        return np.array(image)
    if image.mode in _SIXTEEN_BIT:
        return _grey(_eight_bits(np.asarray(image).astype(np.uint16)))
    if image.mode == "I":
        return _grey(_from_wide_integers(np.asarray(image)))
    if image.mode == "F":
        return _grey(_from_floats(np.asarray(image)))
    if image.has_transparency_data:
        return _on_white(np.asarray(image.convert("RGBA")))
    return np.array(image.convert("RGB"))


def _upright(image: Image.Image) -> Image.Image:
    """Turn an image the way its EXIF block says; a block that can't be parsed says nothing."""
    if image.format == "JPEG" and not {"exif", "xmp"} & image.info.keys():
        return image
    try:
        return ImageOps.exif_transpose(image)
    except (SyntaxError, ValueError, KeyError, TypeError, IndexError, struct.error, OSError):
        return image  # every viewer shows such an image as it is stored


def _from_array(array: npt.NDArray[np.generic]) -> RGB:
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (1, 3, 4)) or array.size == 0:
        raise Unreadable(
            f"an array of shape {array.shape}; it must be [h, w], [h, w, 1], [h, w, 3] or [h, w, 4]"
        )
    values = _array_to_bytes(array)
    if values.ndim == 2 or values.shape[2] == 1:
        return _grey(values.reshape(values.shape[:2]))
    if values.shape[2] == 4:
        return _on_white(values)
    return np.array(values, order="C")


def _array_to_bytes(array: npt.NDArray[np.generic]) -> RGB:
    if array.dtype == np.uint8:
        return array.astype(np.uint8, copy=False)
    if array.dtype == np.bool_:
        return array.astype(np.uint8) * np.uint8(255)
    if array.dtype.kind == "u" and array.dtype.itemsize == 2:
        return _eight_bits(array.astype(np.uint16, copy=False))
    if array.dtype.kind == "f":
        low, high = float(array.min()), float(array.max())  # nan if any is nan
        if not (low >= 0.0 and high <= 1.0):
            raise Unreadable(f"float values from {low:g} to {high:g}; they must be from 0 to 1")
        return np.rint(array.astype(np.float64) * 255).astype(np.uint8)
    raise Unreadable(f"an array of {array.dtype}; it must be uint8, uint16, bool or float from 0 to 1")


def _eight_bits(values: npt.NDArray[np.uint16]) -> RGB:
    """Scale 0..65535 to 0..255, rounded to the nearest."""
    return ((values.astype(np.uint32) * 255 + 32767) // 65535).astype(np.uint8)


def _from_wide_integers(values: npt.NDArray[np.generic]) -> RGB:
    """Pillow's mode I: 16 bits in wider cells (PGM, older PNG readers), else 32 bits stretched from least to most."""
    integers = values.astype(np.int64)
    low, high = int(integers.min()), int(integers.max())
    if low >= 0 and high <= 65535:
        return _eight_bits(integers.astype(np.uint16))
    return _stretched(integers.astype(np.float64), low, high)


def _from_floats(values: npt.NDArray[np.generic]) -> RGB:
    """Pillow's mode F: 0 to 1, else 0 to 255, else stretched from least to most."""
    floats = values.astype(np.float64)
    low, high = float(floats.min()), float(floats.max())
    if not np.isfinite(low) or not np.isfinite(high):
        raise Unreadable("it holds nan or infinite values")
    if low >= 0 and high <= 1:
        floats = floats * 255
    elif low < 0 or high > 255:
        return _stretched(floats, low, high)
    return np.rint(floats).astype(np.uint8)


def _stretched(values: npt.NDArray[np.float64], low: float, high: float) -> RGB:
    """Spread the values over 0 to 255; an even picture becomes black."""
    return np.rint((values - low) * (255.0 / ((high - low) or 1.0))).astype(np.uint8)


def _grey(values: RGB) -> RGB:
    return np.repeat(values[:, :, None], 3, axis=2)


def _on_white(values: RGB) -> RGB:
    """Lay RGBA [h, w, 4] on white, rounded to the nearest."""
    alpha = values[:, :, 3:].astype(np.uint32)
    return ((values[:, :, :3] * alpha + (255 - alpha) * 255 + 127) // 255).astype(np.uint8)


def one_line(error: BaseException) -> str:
    """Return an error's message without line breaks, or its kind where it says nothing."""
    text = " ".join(str(error).split())
    return text or type(error).__name__
