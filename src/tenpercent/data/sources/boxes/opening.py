"""Opening of annotated images: whole ones, labelled by the set of their classes, or each box as an image of its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from enum import StrEnum
from pathlib import Path

import numpy as np

from ....errors import SourceError, counted, reason_of, require
from ..classes import told_apart
from ..options import SourceOptions, Unit
from ..source import SETS, ImageSource, Raw
from .annotated import Annotated, checked_files, read_file
from .crops import Crops
from .voc import read_voc
from .yolo import read_yolo


class BoxFormat(StrEnum):
    """Formats of annotations."""

    COCO = "coco"
    YOLO = "yolo"
    VOC = "voc"


def read_annotated(kind: BoxFormat, path: Path, options: SourceOptions) -> Annotated:
    """Return the images of annotation files, and their boxes; see `open_annotated`."""
    try:
        path = path.expanduser().resolve(strict=True)
    except OSError as error:
        raise SourceError(f"{path} can't be read: {reason_of(error)}; give {_GIVE[kind]}") from None
    return checked_files(_reader(kind)(path, options), str(path))


def _reader(kind: BoxFormat) -> Callable[[Path, SourceOptions], Annotated]:
    if kind is BoxFormat.YOLO:
        return read_yolo
    if kind is BoxFormat.VOC:
        return read_voc
    require("msgspec", "boxes")
    from .coco import read_coco

    return read_coco


def open_annotated(kind: BoxFormat, path: Path, options: SourceOptions) -> ImageSource:
    """Open the images of annotation files, or with ``options.unit="object"`` their boxes.

    Args:
        kind: the format.
        path: the file, or for VOC the folder.
        options: of these, `images`, `unit`, `split`, `follow_links` and `max_pixels`.

    Raises:
        SourceError: it is missing or not of this format, names no images that are there, or a path that leads out of
            their folder.
        MissingExtraError: the extra `boxes` is not installed.
    """
    own = {BoxFormat.COCO: ("images",), BoxFormat.YOLO: ("images", "split"), BoxFormat.VOC: ("split",)}[kind]
    options.allow(f"{kind}: sources", *own, "unit", "follow_links", "max_pixels")
    found = read_annotated(kind, path, options)
    opened = _by_object(found, options) if options.unit == Unit.OBJECT else _by_image(found, options)
    taken = {**opened.taken, **({"faults": faults} if (faults := found.faults()) else {})}
    return replace(
        opened,
        spec=f"{kind}:{path.expanduser().resolve()}",
        split=found.split,
        splits=found.splits,
        skipped=dict(found.skipped),
        folder=found.root,
        annotations=found.sources,
        taken=taken,
    )


def _by_image(found: Annotated, options: SourceOptions) -> ImageSource:
    """Return whole images, each labelled by the set of the classes of its boxes."""
    n = len(found.files)
    sets = [
        tuple(np.unique(kinds).tolist())
        for kinds in np.split(found.kind, np.searchsorted(found.image, np.arange(1, n)))
    ]
    known = sorted({*sets} - {()})
    names = told_apart(tuple(" + ".join(found.class_names[kind] for kind in one) for one in known))
    codes = {one: code for code, one in enumerate(known)} | {(): -1}

    taken = {"labels": counted(len(np.unique(found.kind)), "class")}
    return ImageSource(
        spec="",
        ids=found.files,
        paths=found.files,
        labels=np.array([codes[one] for one in sets], np.int64) if known else None,
        class_names=names,
        read=read,
        taken={**taken, SETS: "clustered together unless --within class asks for equal sets"}
        if known
        else {},
    )


def _by_object(found: Annotated, options: SourceOptions) -> ImageSource:
    """Return the boxes, each labelled by its class.

    Raises:
        SourceError: there are none.
    """
    if not len(found.image):
        raise SourceError(f"{found.sources[0]} has no boxes; leave out --unit object for whole images")
    drawn = len(np.unique(found.image))
    without = f", {len(found.files) - drawn:,} more have none" if drawn < len(found.files) else ""
    return ImageSource(
        spec="",
        ids=tuple(map(found.name, range(len(found.image)))),
        paths=tuple(found.files[image] for image in found.image.tolist()),
        labels=found.kind,
        class_names=found.class_names,
        read=Crops(found, options.decoding, follow_links=options.follow_links),
        taken={"objects": f"in {counted(drawn, 'image')}{without}"},
        unit=Unit.OBJECT,
        noun="object",
    )


_GIVE = {
    BoxFormat.COCO: "the JSON file of the annotations",
    BoxFormat.YOLO: "the data.yaml of the set",
    BoxFormat.VOC: "the folder with Annotations and JPEGImages",
}
