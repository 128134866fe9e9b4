"""Files of an unfinished clustering, to resume from: the pairs of each shell, and the state of the walk."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
import time
import zipfile
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..errors import bytes_text
from .cells import Cells
from .distances import Doubles
from .neighbors import PairSearch
from .pairs import SECONDS, PairStore, ScratchError
from .points import Indices, Points
from .walk import PairCounts

STANDING = "standing.npz"


class DistanceShell(NamedTuple):
    """Pairs handled together: those with above < d ≤ radius."""

    above: float
    radius: float


class WalkCheckpoint(NamedTuple):
    """State of a walk.

    Attributes:
        shell: the shell whose pairs were walked last, some or all.
        reached: all pairs up to this dissimilarity are walked.
        i, j: int64[m], the pair that closed each merge so far.
        d: float64[m], its dissimilarity.
        counted: the counts after these pairs.
    """

    shell: DistanceShell
    reached: float
    i: Indices
    j: Indices
    d: Doubles
    counted: PairCounts


class Scratch:
    """State and a folder per shell, in a folder named after everything they depend on.

    Without one, pairs that exceed the memory go to a temporary folder, and there is nothing to resume from.
    """

    def __init__(self, folder: Path | None, points: Points, apart: Indices) -> None:
        """Open the folder for the clustering of `points`, of which the pairs `apart`, int64[q, 2], never merge."""
        self.folder = folder
        self._stored = time.monotonic()
        if folder is not None:
            code = hashlib.sha256(points.hashes().tobytes() + apart.tobytes()).hexdigest()
            self.folder = folder / f"walk-{code[:16]}"

    def check(self, size: float) -> None:
        """Raise `ScratchError` where so many bytes would not fit on the disk."""
        check_disk(Path(tempfile.gettempdir()) if self.folder is None else self.folder, size)

    def store(self, join: PairSearch, room: int) -> PairStore:
        """Return a store with all pairs of a join."""
        if self.folder is None:
            store = PairStore(room, None)
            join.fill(store, join.cells())
            return store
        shell = self.folder / f"shell-{join.above.hex()}-{join.radius.hex()}"
        shell.mkdir(parents=True, exist_ok=True)
        cells = _kept(shell / "cells.npz", join)
        store = PairStore(
            room, shell / f"columns-{join.filter(cells).columns}"
        )  # the work is numbered by them
        join.fill(store, cells)
        return store

    def keeps(self) -> bool:
        """Return whether it is time to `keep` the state of the walk."""
        return self.folder is not None and time.monotonic() - self._stored >= SECONDS

    def keep(self, standing: WalkCheckpoint) -> None:
        """Write the state of the walk.

        Raises:
            ScratchError: it can't be written.
        """
        assert self.folder is not None
        unfinished = self.folder / "unfinished"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with unfinished.open("wb") as file:
                np.savez(
                    file,
                    shell=np.array(standing.shell),
                    reached=np.float64(standing.reached),
                    i=standing.i,
                    j=standing.j,
                    d=standing.d,
                    **standing.counted._asdict(),
                )
                file.flush()
                os.fsync(file.fileno())
            unfinished.replace(self.folder / STANDING)
        except OSError as error:
            raise ScratchError(
                f"how far the walk has come can't be written to {self.folder}: {error.strerror or error}; free space "
                "there, and the same command resumes"
            ) from error
        self._stored = time.monotonic()

    def standing(self) -> WalkCheckpoint | None:
        """Return the state of an earlier process, or None where there is none.

        Raises:
            ScratchError: its file is damaged.
        """
        if self.folder is None or not (path := self.folder / STANDING).exists():
            return None
        try:
            with np.load(path) as found:
                above, radius = found["shell"].tolist()
                counts = PairCounts(found["a"], found["b"], found["seen"])
                i, j, d = (found[name] for name in ("i", "j", "d"))
                return WalkCheckpoint(DistanceShell(above, radius), float(found["reached"]), i, j, d, counts)
        except (zipfile.BadZipFile, EOFError, KeyError, ValueError) as error:
            raise ScratchError(
                f"{path} is damaged ({error}); delete it, and the walk begins again"
            ) from error

    def clear(self) -> None:
        """Remove what is no longer needed."""
        if self.folder is not None:
            shutil.rmtree(self.folder, ignore_errors=True)


def check_disk(folder: Path, size: float) -> None:
    """Raise `ScratchError` where so many bytes of pairs would not fit on the disk."""
    there = next(parent for parent in (folder, *folder.absolute().parents) if parent.exists())
    free = shutil.disk_usage(there).free
    if size > free:
        raise ScratchError(
            f"about {bytes_text(size)} of pairs outgrow the memory, and {folder} has {bytes_text(free)} free; "
            "free space there, give more --memory, or ask for fewer merges"
        )


def _kept(path: Path, join: PairSearch) -> Cells:
    """Return the cells of an earlier process, by which its pairs are numbered."""
    if path.exists():
        return Cells.load(path)
    cells = join.cells()
    cells.save(path)
    return cells
