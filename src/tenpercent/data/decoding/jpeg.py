"""JPEG decoding by Pillow, with a check that there were data for the whole picture.

libjpeg fills missing data with grey and reports it in a warning that Pillow doesn't pass on. But its decoder can be
fed piece by piece, and stops where it lacks data. So it gets the data without the end marker that follows them, then a
few meaningless bytes, since it looks up to 8 bytes ahead: a decoder that still waits for data has not had them all.
The check costs nothing beside the decoding. The bytes added are ones, which no JPEG has as a code: each block takes
34 of these bits, so at most two missing blocks of 8 × 8 pixels at the very end go unnoticed. Where the end marker is
missing, even these are noticed: the picture is decoded again with other bytes added, and must be the same.

For a progressive JPEG the last scan in the file is checked this way, and all scans together must complete every
frequency to its last bit. The format does not demand that, but all encoders do it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil

from PIL import Image
from PIL.ImageFile import ImageFile

from ..sources.source import Unreadable

_START, _END, _START_OF_SCAN, _RESTART_INTERVAL, _PROGRESSIVE = 0xD8, 0xD9, 0xDA, 0xDD, 0xC2
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_CODED_BY_HUFFMAN = (0xC0, 0xC1, 0xC2)  # these frames can be fed piece by piece
_MARKER = re.compile(
    rb"\xff[\x02-\xcf\xd8-\xfe]"
)  # else 0xFF is a byte of data, filling, or of a restart marker
_UNUSUAL = re.compile(rb"\xff[\xc3\xc5-\xcf\xdd]")  # a frame that is not coded by Huffman, or restart markers
_RESTART = re.compile(rb"\xff[\xd0-\xd7]")
_AHEAD = b"\xff\x00" * 8  # the most bytes that libjpeg looks ahead: ones, as encoded in a scan
_OTHERS_AHEAD = (b"\x55" * 8, b"\xaa" * 8, bytes(8))
_ONE_MORE = b"\xff\x00"
_UNWRITTEN = (
    64  # zeros at the end of a file without an end marker that look as if it was never written to its end
)
_PADDED = 16  # zeros that data may end with and the decoder looks ahead at


@dataclass(frozen=True)
class _Structure:
    """Structure of a JPEG by its own markers.

    Attributes:
        frame: the content of its frame header: precision, height, width, components.
        start: the first byte of the last scan's data.
        stop: the byte after them.
        interval: units between restart markers, 0 for none.
        last: the components of the last scan.
        complete: whether the scans complete all frequencies of all components, to the last bit.
        ended: whether the end marker follows.
    """

    frame: bytes
    start: int
    stop: int
    interval: int
    last: bytes
    complete: bool
    ended: bool


def load_jpeg(image: ImageFile, raw: bytes) -> None:
    """Load an opened JPEG; one that lacks only its end marker is complete.

    Raises:
        Unreadable: there are no data for the whole picture.
        Exception: whatever Pillow raises on a broken file.
    """
    found = _plainest(image, raw) or _structure(raw)
    if found is None or len(image.tile) != 1:
        image.load()  # arithmetic or lossless coding: Pillow must have all of it at once
        return
    if not found.complete:
        raise Unreadable("truncated: it breaks off before its last scan")
    if found.interval and _restarts(raw, found) < ceil(_units(found) / found.interval) - 1:
        raise Unreadable("truncated: restart markers are missing")
    picture = _fed(image, raw, found, _AHEAD)
    for ahead in () if found.ended else _OTHERS_AHEAD:
        if picture.tobytes() != _fed(image, raw, found, ahead).tobytes():
            raise Unreadable("truncated: its data end before the picture does")
    image.im, image.tile = picture.im, []


def _plainest(image: ImageFile, raw: bytes) -> _Structure | None:
    """Return the structure of the most common kind of JPEG: one scan of all components, then the end; else None.

    What Pillow has read is not read again: for small pictures that would take a tenth of the time of decoding.
    """
    start, layers = image.fp.tell(), len(image.getbands())  # type: ignore[union-attr]
    head = bytes((0xFF, _START_OF_SCAN, 0, 6 + 2 * layers, layers))
    stop = len(raw) - 2
    if (
        raw.startswith(head, start - 8 - 2 * layers)
        and "progressive" not in image.info
        and not _UNUSUAL.search(raw, 0, start)
        and raw[-1] == _END
        and _next_marker(raw, start) == stop
    ):
        return _Structure(b"", start, stop, 0, b"", complete=True, ended=True)
    return None


def _structure(raw: bytes) -> _Structure | None:
    """Return the structure of a JPEG, or None where it can't be fed piece by piece.

    Raises:
        Unreadable: it breaks off before its first scan or between two.
    """
    frame, kind, interval, marker = b"", 0, 0, 0
    missing: dict[int, list[int]] = {}  # bits still missing of each frequency, by component
    scan: tuple[int, int, int, bytes] | None = None
    for marker, first, stop, following in _segments(raw):
        if marker == _START_OF_SCAN:
            last = raw[first + 1 : first + 1 + 2 * raw[first] : 2]
            if kind == _PROGRESSIVE:
                low, high, bits = raw[stop - 3], raw[stop - 2] + 1, raw[stop - 1] & 15
                for component in last:
                    missing.setdefault(component, [0] * 64)[low:high] = [bits] * (high - low)
            else:
                missing = {component: bits for component, bits in missing.items() if component not in last}
            scan = (stop, following, interval, last)
        elif marker in _FRAMES:
            frame, kind = raw[first:stop], marker
            missing = {component: [16] * 64 for component in frame[6::3]}
        elif marker == _RESTART_INTERVAL:
            interval = int.from_bytes(raw[first : first + 2], "big")
    if kind not in _CODED_BY_HUFFMAN:
        return None
    ended = marker == _END
    if scan is None or (kind == _PROGRESSIVE and not ended and scan[1] < len(raw) - 1):
        raise Unreadable("truncated: it breaks off before its last scan")
    return _Structure(frame, *scan, not any(map(any, missing.values())), ended)


def _segments(raw: bytes) -> Iterator[tuple[int, int, int, int]]:
    """Yield marker, first byte, end and position of the next marker for each whole segment up to the end."""
    at, size = _next_marker(raw, 2), len(raw)
    while at < size - 1:
        marker = raw[at + 1]
        if marker == _END:
            yield marker, at + 2, at + 2, at + 2
        if marker in (_START, _END) or at + 4 > size:
            return
        stop = at + 2 + (raw[at + 2] << 8) + raw[at + 3]
        if stop > size:
            return
        following = _next_marker(raw, stop)
        yield marker, at + 4, stop, following
        at = following


def _next_marker(raw: bytes, at: int) -> int:
    """Return the position of the next marker that starts no interval, else the file's end, or half a marker there."""
    found = _MARKER.search(raw, at)
    return found.start() if found else len(raw) - raw.endswith(b"\xff")


def _restarts(raw: bytes, found: _Structure) -> int:
    """Return the number of restart markers in the data of the last scan."""
    return len(_RESTART.findall(raw, found.start, found.stop))


def _units(found: _Structure) -> int:
    """Return the number of units (MCUs) of the last scan, between which restart markers may stand."""
    height, width = (int.from_bytes(found.frame[k : k + 2], "big") for k in (1, 3))
    sampling = {found.frame[k]: divmod(found.frame[k + 1], 16) for k in range(6, len(found.frame), 3)}
    across, down = (max(each[axis] for each in sampling.values()) for axis in (0, 1))
    if len(found.last) > 1:
        return ceil(width / (8 * across)) * ceil(height / (8 * down))
    own = sampling[found.last[0]]
    return ceil(ceil(width * own[0] / across) / 8) * ceil(ceil(height * own[1] / down) / 8)


class _Feed:
    """Pillow's decoder of one image, fed piece by piece."""

    def __init__(self, image: ImageFile) -> None:
        name, extents, _, arguments = image.tile[0]
        self.picture = Image.new(image.mode, image.size, None)  # not filled
        self.decoder = Image._getdecoder(image.mode, name, arguments, image.decoderconfig)
        self.decoder.setimage(self.picture.im, extents)
        self.rest = b""
        self.finished = False
        self.idle = 0  # consecutive pieces that were used up

    def give(self, data: bytes) -> None:
        """Decode as much as possible with further data."""
        data = self.rest + data
        taken, error = self.decoder.decode(data)
        if error < 0:
            raise OSError("broken data stream")
        self.finished = taken < 0
        self.rest = b"" if taken < 0 else data[taken:]
        self.idle = 0 if self.rest else self.idle + 1

    def has_all(self, piece: bytes) -> bool:
        """Return whether the decoder is done with the data, given a byte more or two.

        A decoder is done if it has finished, or skips everything in search of a marker. One that waits for data takes
        them block by block, for which two single bytes don't suffice.
        """
        for _ in range(3):
            if self.finished or self.idle > 1:
                return True
            if self.rest:
                return False
            self.give(piece)
        return False


def _fed(image: ImageFile, raw: bytes, found: _Structure, ahead: bytes) -> Image.Image:
    """Return the picture decoded from the data, followed by these bytes."""
    feed = _Feed(image)
    try:
        data = raw[: found.stop]
        if data.endswith(bytes(_UNWRITTEN), found.start):
            data = _feed_to_zeros(feed, data, found.ended)
        if not feed.finished:
            feed.give(data + ahead)
        if not feed.has_all(_ONE_MORE):
            raise Unreadable("truncated: its data end before the picture does")
        if not feed.finished:
            feed.give(bytes((0xFF, _END)))
        if not feed.finished:
            raise Unreadable("truncated: it has no end")
    finally:
        feed.decoder.cleanup()
    return feed.picture


def _feed_to_zeros(feed: _Feed, data: bytes, ended: bool) -> bytes:
    """Feed data except for the zeros at their end, and return these.

    Raises:
        Unreadable: the picture is complete without them, so the file was never fully written. With an end marker
            after the zeros it may need none of them: some cameras pad what they write.
    """
    at, last = 0, len(data) - _UNWRITTEN
    filled = len(data.rstrip(b"\0")) + _PADDED
    if ended and filled < last:
        at = _feed_until(feed, data, 0, filled)
        if feed.finished or feed.idle > 1:
            return data[at:]
    at = _feed_until(feed, data, at, last)
    if feed.finished or feed.idle > 1:
        raise Unreadable("truncated: its end is filled with zeros")
    return data[at:]


def _feed_until(feed: _Feed, data: bytes, start: int, stop: int) -> int:
    """Feed data from `start` to `stop`, then two more bytes to see whether the picture is complete; return the next."""
    feed.give(data[start:stop])
    for _ in range(2):
        if not feed.finished:
            feed.give(data[stop : stop + 1])
            stop += 1
    return stop
