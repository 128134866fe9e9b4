"""Annotations in the format of Pascal VOC: an XML file an image, and lists of images for splits."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from ....errors import SourceError, one_line, reason_of
from ..options import SourceOptions
from ..remote.place import Place
from ..splits import choose_split
from .annotated import SIDE, Annotated, checked_path, text_lines

_MARK = re.compile(r"\s+-?[01]\s*$")  # behind a name: whether the image shows a class
ANNOTATIONS, IMAGES, SETS = "Annotations", "JPEGImages", "ImageSets/Main"
MASKS, MASK_SETS = ("SegmentationClass", "SegmentationObject"), "ImageSets/Segmentation"


def read_voc(path: Path, options: SourceOptions, root: Place | None = None) -> Annotated:
    """Read a folder with ``Annotations`` and ``JPEGImages``, or with XML files beside their images.

    Splits are the lists in ``ImageSets/Main``, but for those of one class, ``cat_train.txt``; without any, all XML
    files are taken. VOC counts pixels from 1. `root` is the folder of the images, where that is not `path`.

    Raises:
        SourceError: a file is not of this format, or a path leads out of the folder.
        NoSplitError: there is no such split.
    """
    marks = ANNOTATIONS if (path / ANNOTATIONS).is_dir() else ""
    root = path if root is None else root
    pictures = IMAGES if (root / IMAGES).is_dir() else ""
    known = tuple(sorted(file.stem for file in (path / SETS).glob("*.txt") if not _is_of_class(file)))
    split = choose_split(options.split, known, str(path)) if known or options.split else ""
    if split:
        names = (_MARK.sub("", line).strip() for line in text_lines(path / SETS / f"{split}.txt"))
        own = tuple(checked_path(f"{name}.xml", f"{SETS}/{split}.txt") for name in names if name)
    else:
        own = tuple(
            sorted(file.relative_to(path / marks).as_posix() for file in (path / marks).rglob("*.xml"))
        )
    own = tuple((Path(marks) / name).as_posix() for name in own)
    if not own:
        raise SourceError(f"{path} holds no XML files; give the folder with {ANNOTATIONS} and {IMAGES}")
    files, sizes, rows, kinds, without = [], [], [], [], 0
    for image, name in enumerate(own):
        tree = _parsed(path / name)
        file = checked_path(tree.findtext("filename") or f"{Path(name).stem}.jpg", str(path / name))
        files.append((Path(pictures or Path(name).parent) / file).as_posix())
        sizes.append([_number(tree, f"size/{side}", path / name, 0.0) for side in ("width", "height")])
        for number, one in enumerate(tree.iterfind("object"), 1):
            if one.find("bndbox") is None:
                without += 1
                continue
            left, top, right, bottom = (
                _number(one, f"bndbox/{side}", path / name) for side in ("xmin", "ymin", "xmax", "ymax")
            )
            kinds.append(one.findtext("name") or "")
            rows.append((image, number, left - 1, top - 1, right, bottom))
    class_names = tuple(sorted(set(kinds)))
    table = np.array(rows, np.float64).reshape(-1, 6)
    return Annotated(
        root=root,
        home=path,
        files=tuple(files),
        sizes=np.array(sizes, np.float64).astype(np.int64).reshape(-1, 2),
        class_names=class_names,
        image=table[:, 0].astype(np.int64),
        kind=np.array([class_names.index(kind) for kind in kinds], np.int64),
        number=table[:, 1].astype(np.int64),
        corners=table[:, 2:],
        crowd=np.zeros(len(table), np.bool_),
        sources=tuple(path / name for name in own),
        own=own,
        split=split,
        splits=known,
        skipped=(("objects without a box", without),) if without else (),
    )


def _is_of_class(file: Path) -> bool:
    """Return whether a list says which images show a class: behind each name, 1 or −1."""
    lines = [line for line in text_lines(file) if line.strip()] if "_" in file.stem else []
    return bool(lines) and all(map(_MARK.search, lines))


def _parsed(file: Path) -> ElementTree.Element:
    """Return the root of an XML file."""
    try:
        return ElementTree.parse(file).getroot()
    except (OSError, ElementTree.ParseError) as error:
        reason = reason_of(error) if isinstance(error, OSError) else one_line(error)
        raise SourceError(f"{file} can't be read: {reason}; repair it") from None


def _number(element: ElementTree.Element, place: str, file: Path, missing: float | None = None) -> float:
    """Return a number in an element, or `missing` where there is none."""
    text = element.findtext(place)
    try:
        found = missing if text is None and missing is not None else float(text or "")
        if not abs(found) < SIDE:
            raise ValueError(text)
    except ValueError:
        raise SourceError(f"{file} has {text!r} as {place}; give a number of pixels") from None
    return found
