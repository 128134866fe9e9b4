"""Labels of images without class folders, from a text file that names them: `val_annotations.txt`, `labels.csv`."""

from __future__ import annotations

import csv
import io
import posixpath
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import PurePosixPath
from typing import Any, TextIO

from ...errors import SourceError, counted, reason_of
from .columns import LABEL_NAMES
from .remote.place import Place

TEXTS = (".txt", ".csv", ".tsv")
ENDINGS = (*TEXTS, ".mat")  # the last can't be read, and is named in messages
TEXT_FOLDERS = frozenset({"annotations", "annotation", "labels", "lists", "meta", "devkit"})
_OWN = {"id", "kept", "group", "representative"}  # headings of an exported selection
HEAD = 20  # lines read to decide whether a file names images
_USE = "use {} with --labels, or --test-labels for a test set"
MOST = 0.9  # least fraction of the images that a file must name to be used without a request
_DELIMITERS = "\t,;"
_BOXED = re.compile(r"(\S+)(?: -?\d+(?:\.\d+)?){4}(?: .*)?")  # a class before the corners of a box
_NO_CLASS = {"", "-1"}
_FRACTION = re.compile(r"-?\d*\.\d+")

Rows = list[list[str]]


@dataclass(frozen=True)
class Member:
    """A text file in an archive, with the part of the interface of `Path` that reading labels takes.

    Attributes:
        path: in the archive.
        read: returns its bytes.
    """

    path: str
    read: Callable[[], bytes]

    @property
    def name(self) -> str:
        return PurePosixPath(self.path).name

    @property
    def suffix(self) -> str:
        return PurePosixPath(self.path).suffix

    def open(self, **text: Any) -> TextIO:
        """Open it as text."""
        return io.TextIOWrapper(io.BytesIO(self.read()), **text)


TextFile = Place | Member


@dataclass(frozen=True)
class Annotations:
    """Labels that a file gives images.

    Attributes:
        file: the path; None where there is none.
        classes: image -> class.
        remark: why no classes are taken from it, in words; "" where they are.
    """

    file: TextFile | None = None
    classes: Mapping[str, str] | None = None
    remark: str = ""


def find_annotations(
    files: Iterable[TextFile], images: Sequence[str], folders: Collection[str], column: str | None = None
) -> Annotations:
    """Return the labels of images from the file that names nearly all of them.

    Args:
        files: candidates, the nearest to the images first.
        images: paths within the source, with `/` between names.
        folders: names of folders of the source, some of which may be classes.
        column: the heading of the column of classes; None to find it.

    Returns:
        No classes where no file names the images, where its meaning is unclear, or where several files disagree; the
        remark then says so.
    """
    names = _Names(images)
    found = [
        one for file in files if not _is_selection(file) and (one := _read(file, names, column)) is not None
    ]
    if column is None:
        found = [_without_doubtful(one, len(images), folders) for one in found]
    sure = [one for one in found if one.classes is not None]
    if not sure:
        return found[0] if found else Annotations()
    if any(one.classes != sure[0].classes for one in sure):
        listed = " and ".join(one.file.name for one in sure[:2] if one.file is not None)
        return Annotations(remark=f"{listed} give different labels ({_USE.format('one')})")
    return sure[0]


def read_annotations(file: Place, images: Sequence[str], column: str | None = None) -> Annotations:
    """Return the labels that a file gives images.

    Args:
        file: a table as text: one line per image, with its file name and its class.
        images: paths within the source.
        column: the heading of the column of classes; None to find it.

    Raises:
        SourceError: the file can't be read, names none of the images, or has no such column.
    """
    try:
        found = _read(file, _Names(images), column)
    except OSError as error:
        raise SourceError(
            f"--labels {file} can't be read: {reason_of(error)}; give another text file"
        ) from None
    if found is None:
        raise SourceError(
            f"--labels {file} names no image of the source, such as {images[0]}; give a text file with a file name and "
            "its class on each line"
        )
    if found.classes is None:
        raise SourceError(f"--labels {file}: {found.remark}")
    return found


def near(texts: Iterable[str], images: Sequence[str]) -> list[str]:
    """Return the text files in the folder of all images, above, or in a folder for such files there; nearest first.

    Files for a single image each (``1.txt`` of ``1.jpg``) are left out.
    """
    shared = posixpath.commonpath([posixpath.dirname(path) for path in images])
    above = {"", shared, *(str(folder) for folder in PurePosixPath(shared).parents)} - {"."}
    stems = {posixpath.splitext(path)[0] for path in images}
    found = []
    for text in sorted(texts, key=lambda text: (-text.count("/"), text)):
        folder = posixpath.dirname(text)
        if posixpath.basename(folder).lower() in TEXT_FOLDERS:
            folder = posixpath.dirname(folder)
        if folder in above and posixpath.splitext(text)[0] not in stems:
            found.append(text)
    return found


class _Names:
    """Images by file name, with and without its ending."""

    def __init__(self, images: Sequence[str]) -> None:
        self._known: dict[str, list[str]] = {}
        for image in images:
            name = image.rpartition("/")[2]
            for key in {name, name.rpartition(".")[0]}:
                self._known.setdefault(key, []).append(image)

    def find(self, cell: str) -> str | None:
        """Return the image that a cell names; None for none, or several."""
        path = cell.strip().replace("\\", "/")
        found = self._known.get(path.rpartition("/")[2], [])
        if len(found) > 1:
            found = [
                image for image in found if f"/{image}".endswith(f"/{path}") or path.endswith(f"/{image}")
            ]
        return found[0] if len(found) == 1 else None


def _is_selection(file: TextFile) -> bool:
    """Whether a file is an exported selection: it names the images, but was made of them."""
    if file.suffix.lower() != ".csv":
        return False
    with file.open(encoding="utf-8-sig", errors="replace", newline="") as text:
        return set(next(csv.reader([text.readline()]), ())) >= _OWN


def _read(file: TextFile, names: _Names, column: str | None = None) -> Annotations | None:
    """Return the labels that a file gives images, or None where its first lines name none."""
    if file.suffix.lower() not in TEXTS:
        return Annotations(
            file,
            None,
            f"{file.name} is not a text file; give one with a file name and a class on each line",
        )
    with file.open(encoding="utf-8-sig", errors="replace", newline="") as text:
        lines = (line for line in text if line.strip() and not line.startswith("#"))
        head = list(islice(lines, HEAD))
        mark = next((mark for mark in _DELIMITERS if head and mark in head[0]), None)
        try:
            rows = _cells(head, mark)
            place = _place(rows, names)
            if place is None:
                return None
            rows += _cells(lines, mark)
        except csv.Error:
            return None  # not a table
    header = None if names.find(rows[0][place]) is not None else [cell.strip() for cell in rows[0]]
    which = _label_column(rows, header, place, column)
    if isinstance(which, str):
        return Annotations(file, None, f"{file.name} {which}")
    return _classes(file, rows[header is not None :], place, which, names)


def _cells(lines: Iterable[str], mark: str | None) -> Rows:
    return [line.split() for line in lines] if mark is None else list(csv.reader(lines, delimiter=mark))


def _place(rows: Rows, names: _Names) -> int | None:
    """Return the column that names an image in most lines, ignoring a heading; None where there is none."""
    width = min(map(len, rows), default=0)
    found = [len({names.find(row[place]) for row in rows} - {None}) for place in range(width)]
    best = max(found, default=0)
    return found.index(best) if width > 1 and best and 2 * best >= len(rows) - 1 else None


def _label_column(rows: Rows, header: list[str] | None, place: int, asked: str | None) -> int | str:
    """Return the column of classes, or the reason why there is none."""
    others = [number for number in range(len(rows[0])) if number != place]
    if header is None:
        return (
            f"has no headings, and so no column {asked!r}"
            if asked
            else min(others, key=lambda at: (at < place, at))
        )
    offered = f"(--label-column takes one of {', '.join(header[at] for at in others)})"
    if asked is not None:
        return header.index(asked) if asked in header else f"has no column {asked!r} {offered}"
    plain = [name.lower().replace(" ", "_") for name in header]
    known = {name.replace("_", ""): rank for rank, name in enumerate(LABEL_NAMES)}
    usual = [(known[plain[at].replace("_", "")], at) for at in others if plain[at].replace("_", "") in known]
    if usual:
        return min(usual)[1]
    boxed = [
        at for at in others if all(len(row) > at and _BOXED.fullmatch(row[at].strip()) for row in rows[1:])
    ]
    return boxed[0] if len(boxed) == 1 else f"has no column with a label's name {offered}"


def _classes(file: TextFile, rows: Rows, place: int, which: int, names: _Names) -> Annotations:
    """Return the class of each image that is named, once or several times with the same class."""
    pairs = [(names.find(row[place]), row[which].strip()) for row in rows if len(row) > max(place, which)]
    boxed = [_BOXED.fullmatch(label) for _, label in pairs]
    if all(boxed):
        pairs = [(image, found[1]) for (image, _), found in zip(pairs, boxed, strict=True) if found]
    classes: dict[str, str] = {}
    for image, label in pairs:
        if image is not None and label and classes.setdefault(image, label) != label:
            return Annotations(
                file, None, f"{file.name} gives {image} two classes, {classes[image]} and {label}"
            )
    return Annotations(file, classes)


def _without_doubtful(found: Annotations, n: int, folders: Collection[str]) -> Annotations:
    """Drop doubtful classes: of few of the `n` images, numbers, or a different text for each image."""
    if found.classes is None or found.file is None:
        return found
    named, labels = len(found.classes), set(found.classes.values()) - _NO_CLASS
    if named < MOST * n:
        doubt = f"names {named:,} of {counted(n, 'image')}"
    elif not labels:
        doubt = "gives no image a class"
    elif all(map(_FRACTION.fullmatch, labels)):
        doubt = "gives images numbers that are not classes"
    elif 2 * len(labels) > named and not labels <= set(folders) and any(" " in label for label in labels):
        doubt = "has a different text for nearly every image"
    else:
        return found
    return replace(found, classes=None, remark=f"{found.file.name} {doubt} ({_USE.format('it')})")
