"""Original images of a run, as far as they still exist."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from ..data.sources.pictures import picture_options
from ..data.sources.source import ImageSource, Raw
from ..data.store.embeddings import Embeddings, Ints
from ..data.store.run_folder import RunFolder
from ..errors import TenpercentError
from ..selection.stored import open_present


class GoneError(Exception):
    """An image that no longer exists; the message is for a person."""


@dataclass(frozen=True, eq=False)
class Originals:
    """The current place of a run's images.

    Attributes:
        source: the source to read them from; None where there is nothing to read.
        rows: int64[n], the row of each position in the current source, −1 where it is missing.
        note: a note for a person, on images that are missing, or on there being none; None where nothing has changed.
        follow_links: True where the run followed links out of the folder of images.
    """

    source: ImageSource | None
    rows: Ints
    note: str | None = None
    follow_links: bool = False

    def missing(self, position: int) -> str | None:
        """Return why an image is missing, or None where it exists, as far as known without reading it."""
        try:
            self.state(position)
        except GoneError as gone:
            return str(gone)
        return None

    def read(self, position: int) -> Raw:
        """Return an image as stored.

        Raises:
            GoneError: it is missing, or a link leads out of the folder of images and the run followed none.
            Unreadable, OSError: it can't be read.
        """
        self.state(position)
        assert self.source is not None  # else it would have no state
        row = int(self.rows[position])
        file = self.file(position)
        root = os.path.realpath(self.source.spec)
        # Where listing the folder followed no link out of it, one may have been put in a file's place since.
        if (
            not self.follow_links
            and file is not None
            and not os.path.realpath(file).startswith(root.rstrip(os.sep) + os.sep)
        ):
            raise GoneError("the image is a link that leads out of the folder of images")
        return self.source.read(row)

    def file(self, position: int) -> Path | None:
        """Return the file of an image; None where the source is not a folder, or the name had to be rewritten."""
        if self.source is None or not self._is_folder or self.rows[position] < 0:
            return None
        path = self.source.paths[int(self.rows[position])]
        return None if path is None or "\\x" in path else Path(self.source.spec) / path

    @cached_property
    def _is_folder(self) -> bool:
        return self.source is not None and self.source.columns is None and Path(self.source.spec).is_dir()

    def state(self, position: int) -> str:
        """Return the state of an image's file, for comparison: its time and size, "" where it is not a file.

        Raises:
            GoneError: it is missing.
        """
        if self.source is None:
            raise GoneError(self.note or "this run has no images")
        if self.rows[position] < 0:
            raise GoneError("the image was moved or deleted since it was embedded")
        file = self.file(position)
        if file is None:
            return ""
        try:
            found = file.stat()
        except FileNotFoundError:
            raise GoneError("the image was moved or deleted since it was embedded") from None
        except OSError as error:
            raise GoneError(f"the image can't be read ({error.strerror})") from None
        return f"{found.st_mtime_ns}-{found.st_size}"


def open_originals(run: RunFolder, embeddings: Embeddings) -> Originals:
    """Open the images of a run as far as they still exist; a note says what is missing, and what to do."""
    options = picture_options(run.source)
    follow = options is not None and options.follow_links
    try:
        source, change = open_present(run)
    except (TenpercentError, OSError) as error:
        return Originals(None, np.full(len(embeddings), -1, dtype=np.int64), f"No pictures: {error}")
    if not change:
        return Originals(source, embeddings.rows, follow_links=follow)
    there = np.asarray([source.paths[row] is not None for row in embeddings.rows.tolist()])
    note = f"{source.spec} has changed since it was embedded: {change}"
    return Originals(source, np.where(there, embeddings.rows, -1), note, follow)
