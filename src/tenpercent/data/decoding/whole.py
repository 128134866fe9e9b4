"""Check that an encoded image is complete, as far as its format allows."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from contextlib import suppress

from ..sources.source import Unreadable
from .pillow import open_image

_PNG = b"\x89PNG\r\n\x1a\n"
# Chunks that no pixel depends on: Pillow refuses the image where they hold more than 1 MiB of text or profile, and
# warns of invalid animations. Every viewer shows the first frame of these.
_PASSED_OVER = frozenset({b"tEXt", b"zTXt", b"iTXt", b"iCCP", b"acTL", b"fcTL", b"fdAT"})
_EXIF_AS_TEXT = b"Raw profile type exif\0"
_ZEROS = 64  # at the end of a picture's data: pixels, or a file that was never fully written
_NEEDLESS = 32  # of these zeros that are not needed; an encoder adds a few bytes at most


def checked(raw: bytes) -> bytes:
    """Return an encoded image without the parts that its pixels don't depend on.

    Raises:
        Unreadable: a checksum of a PNG is wrong, or a WebP was never fully written.
    """
    if raw.startswith(_PNG):
        return _checked_png(raw)
    if raw[:4] == b"RIFF" and raw[8:12] == b"WEBP":
        _check_webp(raw)
    return raw


def _checked_png(raw: bytes) -> bytes:
    """Check every checksum; return the file without chunks that no pixel depends on."""
    kept: list[bytes | memoryview] = [raw[: len(_PNG)]]
    view, at, passed = memoryview(raw), len(_PNG), False
    while at + 12 <= len(raw):
        size, kind = struct.unpack_from(">I4s", raw, at)
        end = at + 12 + size
        if end > len(raw) or not kind.isalpha():
            break  # truncated: Pillow reports whether all pixels were read
        (sum_,) = struct.unpack_from(">I", raw, end - 4)
        if zlib.crc32(view[at + 4 : end - 4]) != sum_:
            raise Unreadable(
                f"damaged: the checksum of its {kind.decode('ascii')} chunk at byte {at:,} is wrong"
            )
        if kind in _PASSED_OVER and not raw.startswith(_EXIF_AS_TEXT, at + 8):
            passed = True
        else:
            kept.append(view[at:end])
        at = end
        if kind == b"IEND":
            break
    return b"".join([*kept, view[at:]]) if passed else raw


def _check_webp(raw: bytes) -> None:
    """Refuse a WebP whose picture ends with unneeded zeros: it decodes without some of them.

    Its coders give pixels for any bits, so a file that was allocated and not filled decodes like a complete one. A
    complete one may end with zeros too, but needs them all.
    """
    for at, kind, size in _riff_chunks(raw):
        stop = min(at + 8 + size, len(raw))
        if kind in (b"VP8 ", b"VP8L") and raw.endswith(bytes(_ZEROS), at + 8, stop):
            data = raw[at + 8 : stop - _NEEDLESS]
            head = raw[12:at] + kind + struct.pack("<I", len(data))
            body = b"WEBP" + head + data + bytes(len(data) % 2)
            if _decodes(b"RIFF" + struct.pack("<I", len(body)) + body):
                raise Unreadable("truncated: its end is filled with zeros")


def _riff_chunks(raw: bytes) -> Iterator[tuple[int, bytes, int]]:
    """Yield position, kind and size of each chunk of a RIFF file."""
    at = 12
    while at + 8 <= len(raw):
        kind, size = struct.unpack_from("<4sI", raw, at)
        yield at, kind, size
        at += 8 + size + size % 2


def _decodes(raw: bytes) -> bool:
    with suppress(Exception):  # whatever Pillow's plug-in raises on a broken file
        image = open_image(raw)
        if image is not None:
            image.load()
            return True
    return False
