"""Images with boxes, whatever format their annotations are in."""

from __future__ import annotations

import os
import posixpath
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from ....errors import SourceError, counted, reason_of, shown
from ..remote.place import Place, RemotePath
from ..source import Unreadable

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
Corners = npt.NDArray[np.float64]
Folder = TypeVar("Folder", Path, RemotePath)

_OUT = re.compile(r"^$|\0|^[\\/]|^[A-Za-z]:|(^|[\\/])\.\.([\\/]|$)")
SIDE = 2**31  # pixels, more than any image has
NAMED = 3  # images or boxes named per fault
OVER = 1.0  # pixels that a box may reach beyond its image: rounding, and formats that count from 1
OVER_RELATIVE = 0.01


@dataclass(frozen=True, eq=False, repr=False)
class Annotated:
    """Images of a folder, and the boxes drawn in them.

    Attributes:
        root: the folder of the images, absolute, links resolved; or one of a store.
        home: the folder on disk of annotation files; `root`, unless that is one of a store.
        files: path of each image within it, with `/` between names; unique.
        sizes: int64[n, 2], width and height as the annotations give them; 0 where they don't.
        class_names: the name of each class.
        image: int64[k], the image of each box, ascending.
        kind: int64[k], its class.
        number: int64[k], what tells it from the other boxes of its image: its id in COCO, else its place from 1.
        corners: float64[k, 4], left, top, right and bottom edge, in pixels or as fractions of the image's sides.
        crowd: bool[k], true for a region that is marked as several objects.
        relative: whether corners are fractions.
        sources: the files that hold the annotations.
        own: of each image, its own annotation file within `home`; empty where one file is for all.
        split: name of the split, or "".
        splits: the names of all splits.
        skipped: what was skipped while reading, with counts.
    """

    root: Place
    home: Path
    files: tuple[str, ...]
    sizes: Ints
    class_names: tuple[str, ...]
    image: Ints
    kind: Ints
    number: Ints
    corners: Corners
    crowd: Bools
    sources: tuple[Path, ...]
    relative: bool = False
    own: tuple[str | None, ...] = ()
    split: str = ""
    splits: tuple[str, ...] = ()
    skipped: tuple[tuple[str, int], ...] = ()

    def name(self, box: int) -> str:
        """Return the id of a box: the path of its image, and its number in it."""
        return f"{self.files[self.image[box]]}#{self.number[box]}"

    def edges(self, box: int, width: int, height: int) -> tuple[float, float, float, float]:
        """Return left, top, right and bottom of a box in the pixels of its image."""
        left, top, right, bottom = self.corners[box].tolist()
        return (
            (left * width, top * height, right * width, bottom * height)
            if self.relative
            else (left, top, right, bottom)
        )

    @cached_property
    def missing(self) -> list[str]:
        """Images without a file."""
        root = self.root
        if isinstance(root, RemotePath):
            there = zip(self.files, root.entries(self.files), strict=True)
            return [file for file, entry in there if entry is None]
        return [file for file in self.files if not os.path.isfile(root / file)]  # noqa: PTH113 – false for any name

    def reader(self, *, follow_links: bool) -> Callable[[int], bytes]:
        """Return the function that reads an image by its number.

        It raises `OSError` where it can't be read, and `Unreadable` for a link that leads out of the folder, unless
        these are followed.
        """
        root = self.root
        if isinstance(root, RemotePath):
            there = [at for at, entry in enumerate(root.entries(self.files)) if entry is not None]
            ahead = root.ahead([self.files[at] for at in there])
            place = {at: number for number, at in enumerate(there)}
            return lambda image: (
                ahead(place[image]) if image in place else (root / self.files[image]).read_bytes()
            )
        return lambda image: _read_file(root, self.files[image], follow_links=follow_links)

    def stamp(self, image: int) -> str | int:
        """Return what changes when the file of an image does.

        Raises:
            OSError: it is not there.
        """
        path = self.root / self.files[image]
        if isinstance(path, RemotePath):
            return path.stat().stamp if path.is_file() else ""
        return path.stat().st_mtime_ns

    def faults(self) -> str:
        """Return what is wrong with images and boxes, with counts and some names; "" for nothing.

        A box can be compared with the edges of its image where the annotations give its size.
        """
        left, top, right, bottom = self.corners.T
        wide, high = (
            np.ones((2, len(self.image))) if self.relative else self.sizes[self.image].T.astype(np.float64)
        )
        known = (wide > 0) & (high > 0)
        over = OVER_RELATIVE if self.relative else OVER
        with np.errstate(invalid="ignore"):  # nan is no area
            flat = ~((right > left) & (bottom > top))
            outside = known & ~flat & ((left >= wide) | (top >= high) | (right <= 0) | (bottom <= 0))
            beyond = (left < -over) | (top < -over) | (right > wide + over) | (bottom > high + over)
        beyond &= known & ~flat & ~outside
        boxes = (
            ("box without an area", flat & ~self.crowd),
            ("box outside its image", outside & ~self.crowd),
            ("box beyond an edge of its image, which cuts it", beyond & ~self.crowd),
            ("region of several objects (crowd), which is not an object", self.crowd),
        )
        said = [
            _said(what, map(self.name, np.flatnonzero(which).tolist()), int(which.sum()))
            for what, which in boxes
            if which.any()
        ]
        if self.missing:
            said.insert(0, _said("image missing", self.missing, len(self.missing)))
        return "; ".join(said)


def _said(what: str, names: Iterable[str], count: int) -> str:
    """Return a count of a fault and its first names: the noun is the first word."""
    noun, _, rest = what.partition(" ")
    first = [name for name, _ in zip(names, range(NAMED), strict=False)]
    more = ", …" if count > len(first) else ""
    return f"{counted(count, noun)} {rest} ({', '.join(map(shown, first))}{more})"


def images_beside(folder: Folder) -> Folder:
    """Return the folder ``images`` beside annotations where there is one, else theirs."""
    beside = folder / "images"
    return beside if beside.is_dir() else folder


def text_lines(path: Path) -> list[str]:
    """Return the lines of a text file, parted by newlines alone: paths may hold rarer separators.

    Raises:
        SourceError: it can't be read, or is not UTF-8.
    """
    try:
        return path.read_text(encoding="utf-8-sig").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise SourceError(f"{path} can't be read: {reason_of(error)}; repair it") from None


def checked_path(name: str, where: str) -> str:
    """Return the path of an image within its folder, in its shortest form.

    Raises:
        SourceError: it is absolute, or leads out of the folder.
    """
    if _OUT.search(name):
        raise SourceError(
            f"{where} names {shown(name)!r}, which is not a path within the folder of images; make it one, without .. "
            "or a leading slash, and name the folder with --images"
        )
    return posixpath.normpath(name)


def checked_files(found: Annotated, where: str) -> Annotated:
    """Return annotated images whose files are distinct, and some of which are there.

    Raises:
        SourceError: there are no images, a file is named twice, or no file is there.
    """
    if not found.files:
        raise SourceError(f"{where} names no images; give one that does")
    if len(set(found.files)) < len(found.files):
        seen: set[str] = set()
        twice = next(file for file in found.files if file in seen or seen.add(file))  # type: ignore[func-returns-value]
        raise SourceError(f"{where} has two images with the file {shown(twice)}; remove one")
    if len(found.missing) == len(found.files):
        first = f"{counted(len(found.files), 'image')} of {where}, such as {shown(found.files[0])}"
        raise SourceError(f"none of the {first}, is in {found.root}; name their folder with --images")
    return found


def _read_file(root: Path, file: str, *, follow_links: bool) -> bytes:
    path = root / file
    if not follow_links and not os.path.realpath(path).startswith(f"{root}{os.sep}"):
        raise Unreadable("a link that leads out of the folder of images (--follow-links follows it)")
    return path.read_bytes()
