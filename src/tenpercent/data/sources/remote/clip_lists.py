"""Times of the frames of remote videos, kept in the user's cache: finding them reads the whole file through."""

from __future__ import annotations

import json
import logging
import zipfile
from fractions import Fraction
from pathlib import Path

import numpy as np

from ....errors import TenpercentError, reason_of
from ...decoding.frames import ClipTimes
from ...store.files import replacing
from .fetched import cache_folder, code_of
from .place import RemotePath

log = logging.getLogger("tenpercent")


def read_times(path: RemotePath) -> ClipTimes | None:
    """Return the times of a video; None where they are not known, or the file has changed."""
    kept = _kept(path)
    if kept is None or not kept.is_file():
        return None
    try:
        with np.load(kept, allow_pickle=False) as found:
            frames, keys, about = found["frames"], found["keys"], json.loads(str(found["about"]))
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as damaged:
        log.debug("%s is read through again: %s", path, damaged)
        return None
    unit, start = map(Fraction, about["times"])
    return ClipTimes(frames, keys, unit, start, about["end"], about["short"])


def write_times(path: RemotePath, times: ClipTimes) -> None:
    """Keep the times of a video; where that is not possible, a warning says that they will be read again."""
    kept = _kept(path)
    if kept is None:
        return
    about = {"times": [str(times.unit), str(times.start)], "end": times.end, "short": times.short}
    try:
        with replacing(kept) as temporary, temporary.open("wb") as file:
            np.savez(file, frames=times.frames, keys=times.keys, about=json.dumps(about))
    except TenpercentError as error:
        log.warning(
            "the times of %s can't be kept: every command reads it through again (%s)", path, reason_of(error)
        )


def _kept(path: RemotePath) -> Path | None:
    """Return the file in the cache; None where the store does not tell whether its object has changed."""
    stamp = path.stat().stamp
    return cache_folder() / "clips" / f"{code_of(str(path), stamp)}.npz" if stamp else None
