"""Frames of videos: their times, read without decoding, and their pixels, decoded forwards and upright."""

from __future__ import annotations

import os
import re
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import numpy.typing as npt

from ...errors import one_line, require
from ..sources.remote.place import Place, opened
from ..sources.source import Unreadable

Ints = npt.NDArray[np.int64]

EXTRA = "video"  # of the package, which brings PyAV
SKIPPED = 16  # frames that are rather decoded than skipped by a jump, which empties the decoder
HELD = 16  # frames in memory, and at least two a CPU: a page shows neighbours together
LATE = 1.0  # seconds that a video may end before the length that it states
PARTS = 1000  # of a second, in which times are given


@dataclass(frozen=True, eq=False)
class ClipTimes:
    """Times of the frames of a video, in the units of the file.

    Attributes:
        frames: int64[n], of all frames, increasing.
        keys: int64[k], of those that can be decoded without others, and jumped to.
        unit: seconds a unit.
        start: the time that players call 0.
        end: when the last frame ends, since the start, in milliseconds.
        short: the length that the file states, in milliseconds, where the frames end before; else None.
    """

    frames: Ints
    keys: Ints
    unit: Fraction
    start: Fraction
    end: int
    short: int | None = None

    def milliseconds(self, time: int) -> int:
        """Return a frame's time since the start, rounded down."""
        return int((time * self.unit - self.start) * PARTS // 1)

    def key_before(self, time: int) -> int:
        """Return the time of the last key frame up to a time, else of the first one."""
        return int(self.keys[max(int(np.searchsorted(self.keys, time, "right")) - 1, 0)])

    def sampled(self, rate: float) -> list[int]:
        """Return the times of the first frame in each interval of 1 / `rate` seconds that has one."""
        each, chosen, last = PARTS / Fraction(rate).limit_denominator(10**6), [], None
        for time in self.frames.tolist():
            interval = self.milliseconds(time) // each
            if interval != last:
                chosen.append(time)
            last = interval
        return chosen


def clip_times(path: Place) -> ClipTimes:
    """Read the times of a video's frames from its packets.

    A packet that is cut off, as at the end of an unfinished download, is left out.

    Raises:
        Unreadable: it is no video, has no frames, or states no times.
        MissingExtraError: PyAV is not installed.
    """
    av = require("av", EXTRA)
    found, keys, cut = [], [], False
    try:
        with av.open(opened(path)) as container:
            stream = _stream(container)
            for packet in container.demux(stream):
                if packet.size and packet.is_corrupt:
                    cut = True
                elif packet.size and not packet.is_discard:
                    if packet.pts is None:
                        raise Unreadable("it states no times; ffmpeg -i IN -c copy OUT.mkv adds them")
                    found.append((packet.pts, packet.duration or 0))
                    if packet.is_keyframe:
                        keys.append(packet.pts)
            unit, start = stream.time_base, Fraction(container.start_time or 0, av.time_base)
            length = (
                stream.duration * unit if stream.duration else Fraction(container.duration or 0, av.time_base)
            )
    except av.error.FFmpegError as error:
        raise Unreadable(f"broken or not a video: {_reason(error)}") from None
    if not keys:
        raise Unreadable("it holds no frame that can be decoded")
    last, shown = max(found)
    end = (last + shown) * unit - start
    short = int(length * PARTS) if cut or length - end > LATE else None
    times, own = np.unique([time for time, _ in found]), np.unique(keys)
    if len(times) < len(found):
        own = own[:1]  # such times are guesses, as of AVI, and others after a jump
    return ClipTimes(times, own, unit, start, int(end * PARTS), short)


def stamp(milliseconds: int) -> str:
    """Return a time as ``00:01:23.400``."""
    seconds, parts = divmod(milliseconds, PARTS)
    return f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}.{parts:03d}"


def stamped(name: str) -> tuple[str, int] | None:
    """Return the video and the milliseconds of a frame's id; None where it is none."""
    found = re.fullmatch(r"(.+)#(\d\d+):(\d\d):(\d\d)\.(\d\d\d)", name, re.DOTALL)
    if found is None:
        return None
    hours, minutes, seconds, parts = map(int, found.groups()[1:])
    return found[1], ((hours * 60 + minutes) * 60 + seconds) * PARTS + parts


def cut_points(path: Path, pieces: Sequence[tuple[int, int | None]]) -> list[tuple[float, float | None]]:
    """Return where pieces of a video begin and end for FFmpeg, which compares ends with times of decoding.

    Args:
        path: the video.
        pieces: of each the milliseconds at which it begins, and at which what follows it does; None for the end.

    Returns:
        Of each the time of its first frame, and the decoding time of the first packet that is not of it, in seconds of
        the file. The last frames of a piece are missing where they are stored after that packet.

    Raises:
        Unreadable, MissingExtraError: see `clip_times`.
    """
    times, found = clip_times(path), []
    with require("av", EXTRA).open(str(path)) as container:
        stored = [
            (times.milliseconds(one.pts), one.dts)
            for one in container.demux(_stream(container))
            if one.size and None not in (one.pts, one.dts)
        ]
    for begin, end in pieces:
        first = next((time for time in times.frames.tolist() if times.milliseconds(time) >= begin), None)
        if first is None:
            raise Unreadable(
                f"it has changed: it ends at {stamp(times.end)}, before its frame at {stamp(begin)}"
            )
        last = None if end is None else next((dts for at, dts in stored if at >= end), None)
        found.append((float(first * times.unit), None if last is None else float(last * times.unit)))
    return found


@dataclass(frozen=True)
class Frame:
    """One frame of a video: the number of the video, and the time in its units."""

    clip: int
    time: int


class ForwardReader:
    """Reader of chosen frames of videos, for several threads.

    One video is open at a time. Frames asked for in about the order of the list are decoded forwards, each once; for
    others it jumps to the key frame before, and holds those it passes. A frame is the same either way.
    """

    def __init__(
        self, paths: Sequence[Place], times: Sequence[ClipTimes | str], frames: Sequence[Frame]
    ) -> None:
        """Set the files, the times of each or why it can't be read, and the frames to choose from, in order."""
        self._paths, self._times, self._frames = paths, times, frames
        self._ahead = max(HELD, 2 * (os.cpu_count() or 1))
        self._held: OrderedDict[int, Any] = OrderedDict()  # row -> frame, or the reason why there is none
        self._next = 0
        self._decoder: _Decoder | None = None
        self._clip = -1  # the one that is open
        self._lock = Lock()

    def read(self, row: int) -> npt.NDArray[np.uint8]:
        """Return a frame of the list as uint8[h, w, 3], upright and with square pixels.

        Raises:
            Unreadable: it can't be decoded.
            OSError: the file can't be read.
        """
        with self._lock:
            if row not in self._held:
                near = 0 <= row - self._next < self._ahead  # other threads ask for those between in a moment
                for one in range(self._next if near else self._passed_to(row), row + 1):
                    self._held[one] = self._decoded(one)
                    if len(self._held) > self._ahead:
                        self._held.popitem(last=False)
                self._next = row + 1
            found = self._held[row]
        if isinstance(found, str):
            raise Unreadable(found)
        return _upright(*found)

    def _passed_to(self, row: int) -> int:
        """Return the first of the frames to hold that are passed on the way from the key frame before a frame."""
        clip, time = self._frames[row].clip, self._frames[row].time
        times, first = self._times[clip], row
        key = time if isinstance(times, str) else times.key_before(time)
        while first > 0 and row - first + 1 < self._ahead:
            before = self._frames[first - 1]
            if before.clip != clip or before.time < key:
                break
            first -= 1
        return first

    def _decoded(self, row: int) -> Any:
        frame = self._frames[row]
        times = self._times[frame.clip]
        if isinstance(times, str):
            return times
        try:
            if self._decoder is None or self._clip != frame.clip:
                self._decoder = None  # closes the file before
                self._decoder, self._clip = _Decoder(self._paths[frame.clip], times), frame.clip
            found = self._decoder.frame_at(frame.time)
        except require("av", EXTRA).error.FFmpegError as error:
            return f"broken: {_reason(error)}"
        if found is None:
            return "the frame can't be decoded: the video is damaged there"
        return found, self._decoder.aspect


class _Decoder:
    """One open video, decoded forwards from a key frame.

    By several threads, until a frame is missing: these lose frames beside damaged ones.
    """

    def __init__(self, path: Place, times: ClipTimes) -> None:
        self._av = require("av", EXTRA)
        self._path, self._times, self._threads = path, times, True
        self._open()

    def _open(self) -> None:
        self._container = self._av.open(opened(self._path))
        self._stream = _stream(self._container)
        self._stream.thread_type = "AUTO" if self._threads else "NONE"
        self.aspect = self._stream.sample_aspect_ratio or Fraction(1)
        self._begin()
        self._from: float = -np.inf

    def _begin(self) -> None:
        """Start with the first frame from here on."""
        self._frames = self._decoded()
        self._current = next(self._frames, None)
        self._from = self._at  # a frame from here on that is before the current one is not there

    @property
    def _at(self) -> float:
        """Time of the current frame, infinite at the end."""
        return np.inf if self._current is None else float(self._current.pts)

    def _decoded(self) -> Iterator[Any]:
        for packet in self._container.demux(self._stream):
            if packet.size and packet.is_corrupt:
                continue
            try:
                yield from (frame for frame in packet.decode() if frame.pts is not None)
            except self._av.error.InvalidDataError:
                continue  # whoever asks for a frame of it is told that it can't be decoded

    def frame_at(self, time: int) -> Any:
        """Return the frame of a time, or None where it can't be decoded."""
        found = self._reached(time)
        if found is None and self._threads:
            self._threads = False
            self._open()
            found = self._reached(time)
        return found

    def _reached(self, time: int) -> Any:
        key = self._times.key_before(time)
        here, there = np.searchsorted(self._times.frames, [self._at, key]).tolist()
        if self._from > time or there - here > SKIPPED:
            self._container.seek(key, stream=self._stream)
            self._begin()
            if self._from > time:  # the file's index led too far
                self._open()
        while self._at < time:
            self._from = self._at + 1
            self._current = next(self._frames, None)
        found = self._current
        return None if found is None or found.pts != time or found.is_corrupt else found


def _stream(container: Any) -> Any:
    """Return the video of a file that isn't its cover picture.

    Raises:
        Unreadable: it has none.
    """
    covers = require("av", EXTRA).stream.Disposition.attached_pic
    found = next((one for one in container.streams.video if not one.disposition & covers), None)
    if found is None:
        raise Unreadable("it holds no video")
    return found


def _upright(frame: Any, aspect: Fraction) -> npt.NDArray[np.uint8]:
    """Return the pixels of a frame as it is seen: square pixels, turned as the camera was held."""
    pixels = frame.to_ndarray(format="rgb24", width=round(frame.width * aspect))
    return np.ascontiguousarray(np.rot90(pixels, frame.rotation // 90))


def _reason(error: Exception) -> str:
    return one_line(getattr(error, "strerror", None) or error)
