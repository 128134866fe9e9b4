"""An image as the bytes of a file: its original ones, or PNG where it came as pixels."""

from __future__ import annotations

import io
from pathlib import PurePosixPath

import numpy as np
from PIL import Image

from ..data.decoding.decode import Unreadable, decode, formats
from ..data.decoding.pillow import quiet
from ..data.sources.options import Decoding
from ..data.sources.source import ImageSource, Raw
from ..errors import TenpercentError

_ANY = 2**62  # number of pixels: none is decoded

# The usual extension of each format, where it is not the format's name in lower case.
USUAL = {"JPEG": ".jpg", "MPO": ".jpg", "JPEG2000": ".jp2", "TIFF": ".tif"}


def read_encoded(source: ImageSource, row: int) -> bytes:
    """Return one image of `source` as the bytes of a file.

    Raises:
        TenpercentError: it can't be read, or no longer.
    """
    try:
        return encoded(source.read(row))
    except (OSError, Unreadable) as error:
        raise gone(source, row, error) from error


def gone(source: ImageSource, row: int, error: Exception) -> TenpercentError:
    """Return the error for an image that can no longer be read."""
    reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
    return TenpercentError(
        f"the image {source.ids[row]!r} of {source.spec} can't be read: {reason}; bring it back or run again"
    )


def encoded(raw: Raw) -> bytes:
    """Return the bytes of `raw`, as PNG where it is pixels (8 bits and 16-bit grey without loss).

    Raises:
        Unreadable: pixels of a shape or dtype that is not an image.
    """
    if isinstance(raw, bytes):
        return raw
    plain = raw.dtype == np.uint8 and (raw.ndim == 2 or (raw.ndim == 3 and raw.shape[2] in (3, 4)))
    deep = raw.dtype == np.uint16 and raw.ndim == 2
    pixels = np.ascontiguousarray(raw if plain or deep else decode(raw, Decoding(max_pixels=_ANY)))
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format="PNG")
    return file.getvalue()


def named(data: bytes, name: str) -> str:
    """Return `name` with the extension of the image in `data`: its own where that fits.

    Raises:
        OSError: `data` is not an image.
    """
    with quiet(_ANY), Image.open(io.BytesIO(data), formats=formats()) as image:
        kind = image.format or ""
    own = PurePosixPath(name).suffix.lower()
    usual = USUAL.get(kind, f".{kind.lower()}")
    if own == usual or Image.registered_extensions().get(own) == kind:
        return name
    return name + usual
