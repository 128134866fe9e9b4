"""JPEG decoded by Pillow, with a verdict whether there were data for the whole picture.

libjpeg fills what is missing with grey and says so in a warning that Pillow doesn't pass on. But its decoder can be fed
piece by piece, and stops where it lacks data. So it gets the data without the end marker that follows them, then a few
bytes of no meaning, since it looks up to 8 bytes ahead: a decoder that still waits for data has not had them all. This
costs nothing beside the decoding. The bytes added are ones, which are no code of any JPEG: each block takes 34 of
these bits, so it is two blocks of 8 × 8 pixels at the very end at most whose lack goes unseen. Where the end marker is
missing, even these are noticed: the picture is decoded again with other bytes added, and must be the same.

Of a progressive JPEG the last scan in the file is judged so, and all scans together must bring every frequency to its
last bit. The format does not demand that, but all encoders do it.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil

from PIL import Image
from PIL.ImageFile import ImageFile

from .source import Unreadable

_START, _END, _START_OF_SCAN, _RESTART_INTERVAL, _PROGRESSIVE = 0xD8, 0xD9, 0xDA, 0xDD, 0xC2
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_CODED_BY_HUFFMAN = (0xC0, 0xC1, 0xC2)  # these frames can be fed piece by piece
_MARKER = re.compile(
    rb"\xff[\x02-\xcf\xd8-\xfe]"
)  # else 0xFF is a byte of data, filling, or of a restart marker
_RESTART = re.compile(rb"\xff[\xd0-\xd7]")
_AHEAD = b"\xff\x00" * 8  # the bytes that libjpeg looks ahead at most: ones, as they stand in a scan
_OTHERS_AHEAD = (b"\x55" * 8, b"\xaa" * 8, bytes(8))
_ALL = (0, 64, 0)  # frequencies and missing bits of a scan that is not progressive
_ONE_MORE = b"\xff\x00"
_UNWRITTEN = (
    64  # zeros at the end of a file without an end marker that look as if it was never written to its end
)
_PADDED = 16  # zeros that data may end with and the decoder looks ahead at


@dataclass(frozen=True)
class _Structure:
    """What a JPEG says of itself.

    Attributes:
        frame: the content of its frame header: precision, height, width, components.
        start: the first byte of the last scan's data.
        stop: the byte after them.
        interval: units between restart markers, 0 for none.
        last: the components of the last scan.
        complete: whether the scans bring all frequencies of all components, to the last bit.
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
    """Load an opened JPEG; one that lacks its end marker alone is whole.

    Raises:
        Unreadable: there are no data for the whole picture.
        Exception: whatever Pillow raises on a broken file.
    """
    found = _structure(raw)
    if found is None or len(image.tile) != 1:
        image.load()  # coded by arithmetic or without loss: Pillow must have all of it at once
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


def _structure(raw: bytes) -> _Structure | None:
    """Return what a JPEG says of itself, None where it can't be fed piece by piece.

    Raises:
        Unreadable: it breaks off before its first scan or between two.
    """
    frame, kind, interval, marker = b"", 0, 0, 0
    missing: dict[int, list[int]] = {}  # bits of each frequency that have not come, by component
    scan: tuple[int, int, int, bytes] | None = None
    markers = _markers(raw)
    for marker, at, stop in _segments(raw, markers):
        if marker in _FRAMES:
            frame, kind = raw[at:stop], marker
            missing = {component: [16] * 64 for component in frame[6::3]}
        elif marker == _RESTART_INTERVAL:
            interval = int.from_bytes(raw[at : at + 2], "big")
        elif marker == _START_OF_SCAN:
            last = raw[at + 1 : at + 1 + 2 * raw[at] : 2]
            first, until, bits = (
                (raw[stop - 3], raw[stop - 2] + 1, raw[stop - 1] & 15) if kind == _PROGRESSIVE else _ALL
            )
            for component in last:
                missing.setdefault(component, [0] * 64)[first:until] = [bits] * (until - first)
            following = bisect_left(markers, stop)
            scan = (stop, markers[following], interval, last)
    if kind not in _CODED_BY_HUFFMAN:
        return None
    ended = marker == _END
    if scan is None or (kind == _PROGRESSIVE and not ended and scan[1] < len(raw) - 1):
        raise Unreadable("truncated: it breaks off before its last scan")
    return _Structure(frame, *scan, not any(map(any, missing.values())), ended)


def _markers(raw: bytes) -> list[int]:
    """Return where markers may be, restart markers left out; the last is the file's end, or half a marker there."""
    return [*(found.start() for found in _MARKER.finditer(raw)), len(raw) - raw.endswith(b"\xff")]


def _segments(raw: bytes, markers: list[int]) -> Iterator[tuple[int, int, int]]:
    """Yield marker, first byte and the byte after it of each segment, the end marker the last; none that is cut."""
    at, size = 2, len(raw)
    while (at := markers[bisect_left(markers, at)]) < size - 1:
        marker, stop = raw[at + 1], at + 2 + int.from_bytes(raw[at + 2 : at + 4], "big")
        if marker == _END:
            yield marker, at + 2, at + 2
        if marker in (_START, _END) or stop > size:
            return
        yield marker, at + 4, stop
        at = stop


def _restarts(raw: bytes, found: _Structure) -> int:
    """Return how many restart markers are among the data of the last scan."""
    return sum(1 for _ in _RESTART.finditer(raw, found.start, found.stop))


def _units(found: _Structure) -> int:
    """Return how many units (MCUs), between which restart markers may stand, the last scan has."""
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
        self.idle = 0  # pieces in a row of which nothing was left

    def give(self, data: bytes) -> None:
        """Decode as much as can be with further data."""
        data = self.rest + data
        taken, error = self.decoder.decode(data)
        if error < 0:
            raise OSError("broken data stream")
        self.finished = taken < 0
        self.rest = b"" if taken < 0 else data[taken:]
        self.idle = 0 if self.rest else self.idle + 1

    def has_all(self, piece: bytes) -> bool:
        """Return whether the decoder is done with the data, given a byte more or two.

        It is where it has finished, or passes over all that comes to find a marker. One that waits for data takes
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
    """Return the picture that the data make, and these bytes behind them."""
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
    """Feed data but for the zeros at their end, and return these.

    Raises:
        Unreadable: the picture is complete without them, so the file was not written to its end. With an end marker
            behind the zeros it may need none of them: some cameras fill up what they write.
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
    """Feed data from `start` to `stop`, then two bytes more to see whether the picture is complete; return the next."""
    feed.give(data[start:stop])
    for _ in range(2):
        if not feed.finished:
            feed.give(data[stop : stop + 1])
            stop += 1
    return stop
