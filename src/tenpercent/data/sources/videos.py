"""Videos as a source: frames chosen by their times, as images with ids such as ``clip.mp4#00:01:23.400``."""

from __future__ import annotations

import numpy as np

from ...errors import SourceError, UsageError, counted, require_installed
from ...progress import bar
from ..decoding.frames import EXTRA, ClipTimes, ForwardReader, Frame, clip_times, stamp
from .folder import arranged, coded, printable
from .listing import VIDEOS, Listing
from .options import FPS, NO_COLUMN, SourceOptions
from .remote.clip_lists import read_times, write_times
from .remote.place import Place, RemotePath
from .source import ImageSource, Unreadable

CLIP = "clip"  # what frames can be grouped by
GROUPED = "each video takes the place of a class"
NAMED = 3  # videos that a remark names


def open_videos(listing: Listing, options: SourceOptions, file: Place | None = None) -> ImageSource:
    """Open the videos of a listing as images: in each 1 / `options.fps` seconds the first frame, by time.

    The class of a frame is the folder of its video, as for images. Rows are sorted by class, video and time. A video
    that can't be opened is one image that can't be read. Of one that ends early the frames before are taken.

    Args:
        listing: the folder.
        options: those for videos.
        file: the one video, where it is the source and not its folder.

    Raises:
        SourceError: no frames, no such split, or names that look the same.
        UsageError: `options.by` is not ``"clip"``.
        MissingExtraError: PyAV is not installed.
    """
    require_installed("av", EXTRA)
    if options.by not in (None, CLIP):
        raise UsageError(f"--by {options.by} does not apply to videos; --by {CLIP} clusters video by video")
    rate = FPS if options.fps is None else options.fps
    layout, files, classes = arranged(listing, listing.videos, options)
    if options.label_column == NO_COLUMN:
        classes = [""] * len(files)
    folder = listing.root
    times: list[ClipTimes | str] = []
    with bar(len(files), "Listing frames", "videos") as progress:
        for name in files:
            times.append(_times(folder / name))
            progress.update(1)
    frames = [
        Frame(clip, time)
        for clip, known in enumerate(times)
        for time in ([-1] if isinstance(known, str) else known.sampled(rate))
    ]
    names = [printable(name) for name in files]
    ids = tuple(_id(names[frame.clip], times[frame.clip], frame.time) for frame in frames)
    spec = folder if file is None else file
    if all(isinstance(known, str) for known in times):
        why = times[0] if times else "none lies in the split that was taken"
        raise SourceError(
            f"{spec} holds no video that can be read ({why}); repair it, or give another source"
        )
    if len(set(ids)) < len(ids):
        raise SourceError(
            f"{spec} holds two videos whose names look the same once written in UTF-8; rename one"
        )
    class_names, codes = (
        coded(listing, classes) if options.by is None else (tuple(names), np.arange(len(names)))
    )
    reader = ForwardReader([folder / name for name in files], times, frames)
    return ImageSource(
        spec=str(spec),
        ids=ids,
        paths=(None,) * len(ids),
        labels=None if codes is None else codes[np.array([frame.clip for frame in frames])],
        class_names=class_names,
        read=reader.read,
        noun="frame",
        split=layout.split,
        skipped=_skipped(listing),
        splits=layout.splits,
        stamps=_stamps(folder, files, frames),
        taken=_taken(names, times, rate) | ({} if options.by is None else {"by": GROUPED}),
    )


def _times(path: Place) -> ClipTimes | str:
    """Return the times of a video's frames, or why it can't be read."""
    try:
        if not isinstance(path, RemotePath):
            return clip_times(path)
        known = read_times(path)
        if known is None:
            known = clip_times(path)
            write_times(path, known)
        return known
    except Unreadable as error:
        return str(error)


def _id(name: str, known: ClipTimes | str, time: int) -> str:
    return name if isinstance(known, str) else f"{name}#{stamp(known.milliseconds(time))}"


def _stamps(folder: Place, files: list[str], frames: list[Frame]) -> tuple[str, ...] | None:
    """Return what a store says of the video of each frame; None for files on disk."""
    if not isinstance(folder, RemotePath):
        return None
    known = folder.stamps(files)
    return tuple(known[frame.clip] for frame in frames)


def _skipped(listing: Listing) -> dict[str, int]:
    """Return what is skipped of a folder of videos."""
    others = {"image files": len(listing.images), "Parquet files": len(listing.parquets)}
    found = {what: count for what, count in listing.skipped.items() if not what.endswith(VIDEOS)}
    return found | {what: count for what, count in others.items() if count}


def _taken(names: list[str], times: list[ClipTimes | str], rate: float) -> dict[str, str]:
    """Describe in words what was taken, and which videos are not whole."""
    said = {"images": f"{counted(len(names), 'video')} at {rate:g} frame{'' if rate == 1 else 's'} a second"}
    whole = zip(names, times, strict=True)
    broken = [f"{name} ({known})" for name, known in whole if isinstance(known, str)]
    short = [
        f"{name} at {stamp(known.end)} of {stamp(known.short)}"
        for name, known in zip(names, times, strict=True)
        if not isinstance(known, str) and known.short is not None
    ]
    for what, found in (("can't be read", broken), ("ends early, and is taken up to there", short)):
        if found:
            more = f" and {len(found) - NAMED:,} others" if len(found) > NAMED else ""
            said[what] = f"{counted(len(found), 'video')} {what}: {'; '.join(found[:NAMED])}{more}"
    return said
