"""Kept frames of videos as a table of their times, and as a list for ffmpeg of the stretches that they stand for."""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

import numpy as np
import pyarrow as pa
from pyarrow import csv

from ..data.decoding.frames import PARTS, cut_points, stamp, stamped
from ..data.sources.folder import named_file
from ..data.sources.remote.store import is_remote
from ..data.sources.source import ImageSource, Unreadable
from ..errors import TenpercentError, UsageError, counted, quoted, reason_of, shown
from .kept import Kept
from .rows import formula_notes
from .summary import ExportFormat, ExportSummary
from .targets import building, check_free, place

UNSOUGHT = frozenset(
    {".ts", ".mts", ".m2ts", ".mpg", ".mpeg", ".vob"}
)  # ffmpeg can't begin at a time in these
SLACK = (
    "play it with ffmpeg -f concat -safe 0 -i {} OUT.mp4; between key frames a stretch may lack its last frames, and "
    "the first one begins at the key frame before it"
)
Piece = tuple[int, int | None]  # milliseconds of its begin and of what follows, None for the end of the video


def write_times(kept: Kept, source: ImageSource, to: Path) -> ExportSummary:
    """Write the file `to`: CSV with ``video``, ``time`` (``00:01:23.400``) and ``seconds``, a row a kept frame.

    Raises:
        UsageError: `to` exists, or the images are no frames of videos.
    """
    _check(source, ExportFormat.TIMES, to)
    found = [one for row in kept.rows.tolist() if (one := stamped(source.ids[row])) is not None]
    table = pa.table(
        {
            "video": [video for video, _ in found],
            "time": [stamp(at) for _, at in found],
            "seconds": [at / PARTS for _, at in found],
        }
    )
    with building(to) as temporary:
        csv.write_csv(table, temporary / "times", csv.WriteOptions(quoting_style="needed"))
        paths = place({temporary / "times": to})
    return ExportSummary(ExportFormat.TIMES, paths, len(kept), formula_notes(table))


def write_cut(kept: Kept, source: ImageSource, to: Path) -> ExportSummary:
    """Write the file `to`: a list for ffmpeg's concat of the stretches from each kept frame to the next frame taken.

    Raises:
        UsageError: `to` exists, or the images are no frames of videos, or of a format that ffmpeg can't cut so.
        TenpercentError: a video can't be read.
    """
    _check(source, ExportFormat.CUT, to)
    if is_remote(source.spec):
        raise UsageError(
            f"ffmpeg can't read {source.spec}; fetch the videos and name their folder once (tenpercent run FOLDER "
            "--out RUN), or choose --format times"
        )
    lines = ["ffconcat version 1.0"]
    for video, pieces in _pieces(kept, source):
        path = named_file(Path(source.spec), video) if Path(source.spec).is_dir() else Path(source.spec)
        if path.suffix.lower() in UNSOUGHT:
            raise UsageError(
                f"{shown(path)} can't be cut at a time; convert it first, ffmpeg -i {shown(path.name)} -c copy "
                f"{shown(path.stem)}.mkv, and run on that, or choose --format times"
            )
        try:
            points = cut_points(path, pieces)
        except (OSError, Unreadable) as error:
            reason = reason_of(error) if isinstance(error, OSError) else error
            raise TenpercentError(
                f"{shown(path)} can't be read: {reason}; bring it back or run again"
            ) from None
        name = str(path).replace("'", "'\\''")
        for begin, end in points:
            lines += [f"file '{name}'", f"inpoint {_micro(begin)}"]
            lines += [] if end is None else [f"outpoint {_micro(end)}"]
    with building(to) as temporary:
        (temporary / "cut").write_bytes(os.fsencode("\n".join(lines) + "\n"))
        paths = place({temporary / "cut": to})
    many = counted(sum(line.startswith("file ") for line in lines), "stretch")
    return ExportSummary(
        ExportFormat.CUT, paths, len(kept), (f"{many} of video: {SLACK.format(quoted(paths[0]))}",)
    )


def _check(source: ImageSource, format: ExportFormat, to: Path) -> None:  # noqa: A002
    if not any(map(stamped, source.ids)):
        raise UsageError(
            f"--format {format} is for videos, and {source.spec} holds none; choose csv or folder"
        )
    if to.is_dir():
        raise UsageError(f"--to {to} is a folder, but {format} is one file; name a file in it")
    check_free(to)


def _pieces(kept: Kept, source: ImageSource) -> Iterator[tuple[str, list[Piece]]]:
    """Yield each video with a kept frame, and its stretches: from kept frames to the next that is not."""
    stays = np.zeros(len(source), bool)
    stays[kept.rows] = True
    frames = [
        (*found, stay) for name, stay in zip(source.ids, stays, strict=True) if (found := stamped(name))
    ]
    for video, group in groupby(frames, key=lambda frame: frame[0]):
        pieces: list[Piece] = []
        begin = None
        for _, at, stay in group:
            if stay and begin is None:
                begin = at
            elif not stay and begin is not None:
                pieces.append((begin, at))
                begin = None
        pieces += [] if begin is None else [(begin, None)]
        if pieces:
            yield video, pieces


def _micro(seconds: float) -> str:
    return f"{int(seconds * 1e6) / 1e6:.6f}"
