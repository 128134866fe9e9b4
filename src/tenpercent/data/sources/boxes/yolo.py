"""Annotations in YOLO's format: a data.yaml with splits and class names, and a text file of boxes an image."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from ....errors import SourceError, one_line, reason_of, require, shown
from ...decoding.decode import extensions
from ..classes import told_apart
from ..options import SourceOptions
from ..remote.place import Place, RemotePath
from ..splits import choose_split
from .annotated import Annotated, checked_path, text_lines

SPLITS = ("train", "val", "test")


def read_yolo(path: Path, options: SourceOptions, images: Place | None = None) -> Annotated:
    """Read a split of a data.yaml: folders of images, or text files that list them.

    Its paths begin at `options.images`, by default at its own ``path``, within its folder. The boxes of
    ``images/a.jpg`` are in ``labels/a.txt``, a line each: a class, and centre and size or a polygon, as fractions of
    the image's sides. Where the images are elsewhere, `images` is their folder, of which `options.images`, or else that
    of the file, holds the texts.

    Raises:
        SourceError: a file is not of this format, or a path leads out of the folder.
        NoSplitError: there is no such split.
    """
    content = read_yaml(path)
    names = _names(content, path)
    known = [split for split in SPLITS if content.get(split)]
    split = choose_split(options.split, known, str(path))
    inner = "." if options.images else checked_path(str(content.get("path") or "."), str(path))
    home = Path(options.images or path.parent / inner).expanduser().resolve()
    root = home if images is None else images / inner
    named = [file for place in places_of(content, split) for file in listed(root, home, place, path)]
    files = tuple(dict.fromkeys(named))
    again = len(named) - len(files)
    own = tuple(_labels_of(home, file) for file in files)
    rows = [
        (image, *box)
        for image, labels in enumerate(own)
        if labels is not None
        for box in _boxes(home / labels, list(names), pose="kpt_shape" in content)
    ]
    table = np.array(rows, np.float64).reshape(-1, 7)
    whole = table[:, :3].astype(np.int64)
    return Annotated(
        root=root,
        home=home,
        files=files,
        sizes=np.zeros((len(files), 2), np.int64),
        class_names=told_apart(tuple(names.values())),
        image=whole[:, 0],
        kind=np.searchsorted(list(names), whole[:, 1]),
        number=whole[:, 2],
        corners=table[:, 3:],
        crowd=np.zeros(len(table), np.bool_),
        sources=(path, *(home / labels for labels in own if labels is not None)),
        relative=True,
        own=own,
        split=split,
        splits=tuple(known),
        skipped=(("images that are listed again", again),) if again else (),
    )


def read_yaml(path: Path) -> dict[str, Any]:
    """Return the content of a data.yaml.

    Raises:
        SourceError: it can't be read, or is no mapping with ``names``.
    """
    yaml: Any = require("yaml", "boxes")
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        reason = reason_of(error) if isinstance(error, OSError) else one_line(error, 200)
        raise SourceError(f"{path} is not a data.yaml: {reason}; give the data.yaml of the set") from None
    if (
        not isinstance(content, dict)
        or not isinstance(content.get("names"), list | dict)
        or not content["names"]
    ):
        raise SourceError(
            f"{path} is not a data.yaml: it has no names of classes; give the data.yaml of the set"
        )
    return content


def places_of(content: dict[str, Any], split: str) -> list[str]:
    """Return the folders and lists of a split."""
    places = content[split]
    return [str(place) for place in (places if isinstance(places, list) else [places])]


def listed(root: Place, home: Path, place: str, path: Path) -> Iterator[str]:
    """Yield the paths of images within `root` that lie in a folder, or that a text file in `home` lists."""
    place = checked_path(place, str(path))
    at, folder = home / place, root / place
    if folder.is_dir():
        found = map(PurePosixPath, folder.below() if isinstance(folder, RemotePath) else _below(folder))
        yield from sorted(
            (PurePosixPath(place) / file).as_posix()
            for file in found
            if file.suffix.lower() in extensions() and not file.name.startswith(".")
        )
    elif at.suffix == ".txt" and at.is_file():
        above = at.parent.relative_to(home)
        yield from (
            checked_path((above / line.strip()).as_posix() if line[0] not in "/\\" else line, str(at))
            for line in text_lines(at)
            if line.strip()
        )
    else:
        raise SourceError(
            f"{path} names {shown(place)}, which is not in {root}; name the folder where its paths begin with --images"
        )


def _below(folder: Path) -> Iterator[str]:
    return (file.relative_to(folder).as_posix() for file in folder.rglob("*"))


def _names(content: dict[str, Any], path: Path) -> dict[int, str]:
    """Return the name of each class by its number, in the order of the numbers."""
    names = content["names"]
    numbered = names if isinstance(names, dict) else dict(enumerate(names))
    if not all(isinstance(number, int) for number in numbered):
        raise SourceError(f"{path} numbers its classes {shown(list(numbered))[:80]}; give whole numbers")
    return {number: str(numbered[number]) for number in sorted(numbered)}


def _labels_of(root: Path, file: str) -> str | None:
    """Return the text file of an image's boxes; None where there is none, so it has no boxes."""
    folder, _, name = f"/{file}".rpartition("/images/")
    path = f"{folder}/labels/{name}"[1:] if folder or file.startswith("images/") else file
    labels = Path(path).with_suffix(".txt").as_posix()
    return labels if (root / labels).is_file() else None


def _boxes(
    file: Path, classes: list[int], *, pose: bool
) -> Iterator[tuple[int, int, float, float, float, float]]:
    """Yield class, line and left, top, right and bottom of each box of an image."""
    known = set(classes)
    for number, line in enumerate(text_lines(file), 1):
        parts = line.split()
        if not parts:
            continue
        try:
            kind, values = int(parts[0]), [float(part) for part in parts[1:]]
        except ValueError:
            kind, values = classes[0] - 1, []
        is_box = len(values) == 4 or (pose and len(values) > 4)
        if kind not in known or not (is_box or (len(values) >= 6 and len(values) % 2 == 0)):
            raise SourceError(
                f"{file} line {number} is {shown(line)[:60]!r}; give a class from {classes[0]} to {classes[-1]}, then "
                "the box as four numbers, or a polygon"
            )
        if is_box:
            x, y, width, height = values[:4]
            yield kind, number, x - width / 2, y - height / 2, x + width / 2, y + height / 2
        else:
            yield kind, number, min(values[::2]), min(values[1::2]), max(values[::2]), max(values[1::2])
