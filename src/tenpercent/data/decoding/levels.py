"""Conversion of loaded images of every mode and bit depth to 8-bit RGB, strip by strip."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt
from PIL import Image

from ..sources.source import Unreadable
from .orientation import as_seen, as_stored, turned

RGB = npt.NDArray[np.uint8]
Numbers = npt.NDArray[np.generic]

STRIP = 2**18  # pixels converted at a time: keeps the intermediate arrays small
SIXTEEN_BIT = frozenset({"I;16", "I;16B", "I;16L", "I;16N"})
_WIDE = SIXTEEN_BIT | {"I", "F"}
_BITS_PER_SAMPLE, _PHOTOMETRIC, _MAXIMUM, _SAMPLE_FORMAT = 258, 262, 281, 339  # tags of TIFF


def to_rgb(image: Image.Image, orientation: int, rules: int) -> RGB:
    """Return the pixels of a loaded image as uint8[h, w, 3], turned, transparency on white.

    Memory: the image, the result, and a few strips.

    Args:
        image: of any mode.
        orientation: 1 to 8, how to turn it.
        rules: by rules 1, as in version 0.1, the levels stated by a TIFF are ignored.

    Raises:
        Unreadable: nan or infinite values.
    """
    width, height = image.size
    strip_to_rgb = _converter(image, rules)
    if width * height <= STRIP:
        return np.array(strip_to_rgb(turned(image, orientation)), order="C")
    seen = np.empty((height, width, 3) if orientation <= 4 else (width, height, 3), np.uint8)
    stored = as_stored(seen, orientation)
    for top, strip in _strips(image):
        place = as_seen(stored[top : top + strip.height], orientation)
        place[...] = strip_to_rgb(turned(strip, orientation))
    return seen


def _strips(image: Image.Image) -> Iterator[tuple[int, Image.Image]]:
    """Yield strips of about `STRIP` pixels of an image from top to bottom, each with its first row."""
    rows = max(1, STRIP // image.width)
    for top in range(0, image.height, rows):
        yield top, image.crop((0, top, image.width, min(top + rows, image.height)))


def _converter(image: Image.Image, rules: int) -> Callable[[Image.Image], RGB]:
    """Return a function that converts a strip of this image to uint8[h, w, 3]."""
    if image.mode in _WIDE:
        return _wide(image, rules)
    if image.has_transparency_data:
        return lambda strip: on_white(np.asarray(strip.convert("RGBA")))
    if image.mode == "RGB":
        return np.asarray
    if image.mode == "L":
        tags = getattr(image, "tag_v2", {})
        if rules > 1 and tags.get(_BITS_PER_SAMPLE) == (8,) and tags.get(_SAMPLE_FORMAT) == (2,):
            return _signed_bytes(image)
        return lambda strip: grey(np.asarray(strip))
    return lambda strip: np.asarray(strip.convert("RGB"))


def _wide(image: Image.Image, rules: int) -> Callable[[Image.Image], RGB]:
    """Return a converter for images of 16 or 32 bits or floats, following the tags of a TIFF."""
    tags = getattr(image, "tag_v2", {}) if rules > 1 else {}
    unsigned = (
        image.mode == "I" and tags.get(_BITS_PER_SAMPLE) == (32,) and tags.get(_SAMPLE_FORMAT, (1,)) == (1,)
    )

    def numbers(strip: Image.Image) -> Numbers:
        values = np.asarray(strip)
        return values.view(np.uint32) if unsigned else values

    scale = _scale(image, numbers, _stated_maximum(tags))
    white_is_zero = tags.get(_PHOTOMETRIC) == 0  # Pillow applies it up to 8 bits
    clear = image.info.get("transparency") if rules > 1 else None

    def convert(strip: Image.Image) -> RGB:
        values = numbers(strip)
        levels = scale(values)
        if white_is_zero:
            levels = 255 - levels
        return grey(np.where(values == clear, np.uint8(255), levels) if isinstance(clear, int) else levels)

    return convert


def _stated_maximum(tags: object) -> int | None:
    """Return the greatest value that a TIFF states for its numbers, by its bits or by its maximum."""
    bits, most = (tags.get(tag) for tag in (_BITS_PER_SAMPLE, _MAXIMUM))  # type: ignore[attr-defined]
    stated = [
        each for each in (most if isinstance(most, tuple) else (most,)) if isinstance(each, int) and each > 0
    ]
    if stated:
        return max(stated)
    return 2 ** int(bits[0]) - 1 if isinstance(bits, tuple) and 8 < bits[0] < 16 else None


def _scale(
    image: Image.Image, numbers: Callable[[Image.Image], Numbers], most: int | None
) -> Callable[[Numbers], RGB]:
    """Return a function that scales the numbers of an image to 0 to 255.

    Integers: 0 to `most`, where that is stated and not exceeded; else 0 to 65,535; else from least to greatest.
    Floats: 0 to 1, else 0 to 255, else from least to greatest.
    """
    if image.mode in SIXTEEN_BIT and most is None:
        return eight_bits
    low, high = _extremes(image, numbers)
    if not np.isfinite(low) or not np.isfinite(high):
        raise Unreadable("it holds nan or infinite values")
    if image.mode == "F":
        if low >= 0 and high <= 1:
            return lambda values: np.rint(values.astype(np.float64) * 255).astype(np.uint8)
        if low >= 0 and high <= 255:
            return lambda values: np.rint(values).astype(np.uint8)
    elif low >= 0 and high <= 65535:
        return lambda values: eight_bits(values, most if most is not None and high <= most else 65535)
    return lambda values: stretched(values, low, high)


def _extremes(image: Image.Image, numbers: Callable[[Image.Image], Numbers]) -> tuple[float, float]:
    """Return the least and the greatest number of an image, nan where any is nan."""
    found = [(float(values.min()), float(values.max())) for values in (numbers(s) for _, s in _strips(image))]
    return float(np.min([low for low, _ in found])), float(np.max([high for _, high in found]))


def _signed_bytes(image: Image.Image) -> Callable[[Image.Image], RGB]:
    """Return a converter for −128 to 127: unchanged where none is negative, else from least to greatest."""
    low, high = _extremes(image, lambda strip: np.asarray(strip).view(np.int8))
    if low >= 0:
        return lambda strip: grey(np.asarray(strip))
    return lambda strip: grey(stretched(np.asarray(strip).view(np.int8), low, high))


def eight_bits(values: Numbers, most: int = 65535) -> RGB:
    """Scale 0 to `most` (65,535 at most) to 0 to 255, rounded to the nearest."""
    return ((values.astype(np.uint32) * 255 + most // 2) // most).astype(np.uint8)


def stretched(values: Numbers, low: float, high: float) -> RGB:
    """Scale the values to 0 to 255; a uniform picture becomes black."""
    return np.rint((values.astype(np.float64) - low) * (255.0 / ((high - low) or 1.0))).astype(np.uint8)


def grey(values: RGB) -> RGB:
    """Return three equal channels of [h, w]."""
    return np.repeat(values[:, :, None], 3, axis=2)


def on_white(values: RGB) -> RGB:
    """Blend RGBA [h, w, 4] onto white, rounded to the nearest."""
    alpha = values[:, :, 3].astype(np.uint16)
    if alpha.min(initial=255) == 255:
        return values[:, :, :3]
    rgb = np.empty((*alpha.shape, 3), np.uint8)
    for channel in range(3):  # each by itself: numpy is slow along an axis of three
        darkness = 255 - values[:, :, channel].astype(np.uint16)
        darkness *= alpha
        darkness += 128
        darkness += darkness >> 8  # with this, >> 8 is the division by 255, rounded
        np.subtract(255, darkness >> 8, out=rgb[:, :, channel], casting="unsafe")
    return rgb
