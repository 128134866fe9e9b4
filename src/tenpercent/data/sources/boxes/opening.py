"""Opening of annotated images: whole ones, labelled by the set of their classes, or each box as an image of its own."""

from __future__ import annotations

from dataclasses import replace
from enum import StrEnum
from functools import partial
from pathlib import Path, PurePosixPath

import numpy as np

from ....errors import SourceError, counted, reason_of, require, without_secrets
from ..classes import told_apart
from ..options import SourceOptions, Unit
from ..remote.fetched import code_of_bytes, fetched
from ..remote.listing import find_remote
from ..remote.place import Place, RemotePath
from ..remote.store import is_remote
from ..source import SETS, ImageSource
from .annotated import Annotated, checked_files, checked_path, images_beside
from .crops import Crops
from .voc import read_voc
from .yolo import read_yolo

TEXTS = (".yaml", ".yml", ".txt", ".xml")


class BoxFormat(StrEnum):
    """Formats of annotations."""

    COCO = "coco"
    YOLO = "yolo"
    VOC = "voc"


def read_annotated(kind: BoxFormat, name: str, options: SourceOptions) -> Annotated:
    """Return the images of annotation files, and their boxes; see `open_annotated`."""
    if is_remote(name) or is_remote(options.images):
        return checked_files(read_remote(kind, name, options), without_secrets(name))
    try:
        path = Path(name).expanduser().resolve(strict=True)
    except OSError as error:
        raise SourceError(f"{name} can't be read: {reason_of(error)}; give {_GIVE[kind]}") from None
    return checked_files(_read(kind, path, options), str(path))


def _read(kind: BoxFormat, path: Path, options: SourceOptions, images: Place | None = None) -> Annotated:
    """Read annotations on disk; `images` is the folder of their images, where these are in a store."""
    if kind is BoxFormat.YOLO:
        return read_yolo(path, options, images)
    if kind is BoxFormat.VOC:
        return read_voc(path, options, images)
    require("msgspec", "boxes")
    from .coco import read_coco

    found = read_coco(path, options)
    return found if images is None else replace(found, root=images)


def read_remote(kind: BoxFormat, name: str, options: SourceOptions) -> Annotated:
    """Read annotations of which these, or their images, are in a store: texts are copied to the user's cache first.

    Raises:
        SourceError: they can't be read, or are not of this format.
    """
    if options.follow_links:
        raise SourceError(f"--follow-links does not apply to {name}: a store has no links; leave it out")
    if kind is BoxFormat.VOC:
        place, _ = find_remote(name)
        return _read(kind, _texts(place), options, place)
    path = _on_disk(name)
    if options.images is not None and not is_remote(options.images):
        return _read(kind, path, options)
    begin, _ = find_remote(str(options.images or f"{name.partition('?')[0].rpartition('/')[0]}/"))
    if kind is BoxFormat.COCO:
        images = images_beside(begin) if options.images is None else begin
        return _read(kind, path, replace(options, images=path.parent), images)
    texts = _texts(begin)
    if options.images is None:
        return _read(kind, texts / path.name, options, begin)
    return _read(kind, path, replace(options, images=texts), begin)


def _on_disk(name: str) -> Path:
    """Return a file, or the copy of a remote one.

    Raises:
        SourceError: it is not there, or is a folder.
    """
    if not is_remote(name):
        return Path(name).expanduser().resolve()
    _, files = find_remote(name)
    if len(files) != 1:
        raise SourceError(f"{name} is not one file; give the file of the annotations")
    return fetched(files[0].parent, [files[0].name]) / files[0].name


def _texts(place: RemotePath) -> Path:
    """Return a folder on disk with the annotation files of a folder in a store, under their paths."""
    names = [name for name in place.below() if PurePosixPath(name).suffix.lower() in TEXTS]
    return fetched(place, sorted(checked_path(name, str(place)) for name in names))


def open_annotated(kind: BoxFormat, name: str, options: SourceOptions) -> ImageSource:
    """Open the images of annotation files, or with ``options.unit="object"`` their boxes.

    Args:
        kind: the format.
        name: the file, or for VOC the folder; or its address.
        options: of these, `images`, `unit`, `split`, `follow_links` and `max_pixels`.

    Raises:
        SourceError: it is missing or not of this format, names no images that are there, or a path that leads out of
            their folder.
        MissingExtraError: the extra `boxes` is not installed.
    """
    own = {BoxFormat.COCO: ("images",), BoxFormat.YOLO: ("images", "split"), BoxFormat.VOC: ("split",)}[kind]
    options.allow(f"{kind}: sources", *own, "unit", "follow_links", "max_pixels")
    found = read_annotated(kind, name, options)
    opened = _by_object(found, options) if options.unit == Unit.OBJECT else _by_image(found, options)
    taken = {**opened.taken, **({"faults": faults} if (faults := found.faults()) else {})}
    return replace(
        opened,
        spec=f"{kind}:{without_secrets(name) if is_remote(name) else Path(name).expanduser().resolve()}",
        split=found.split,
        splits=found.splits,
        skipped=dict(found.skipped),
        folder=None if isinstance(found.root, RemotePath) else found.root,
        annotations=found.sources,
        annotated=partial(read_annotated, kind, name, replace(options, split=found.split or None)),
        taken=taken,
        stamps=_stamps(found, objects=options.unit == Unit.OBJECT),
    )


def _stamps(found: Annotated, *, objects: bool) -> tuple[str, ...] | None:
    """Return what a store says of the file of each image, or of each object with its box; None for files on disk."""
    if not isinstance(found.root, RemotePath):
        return None
    known = ["" if entry is None else entry.stamp for entry in found.root.entries(found.files)]
    if not objects:
        return tuple(known)
    boxes = zip(found.image.tolist(), map(bytes, found.corners), strict=True)
    return tuple(f"{known[image]} {code_of_bytes(box)}" if known[image] else "" for image, box in boxes)


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
        read=found.reader(follow_links=options.follow_links),
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
