"""Annotations in COCO's format: one JSON file with lists of images, categories and annotations."""

from __future__ import annotations

import mmap
import typing
from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np

from ....errors import SourceError, one_line
from ..classes import told_apart
from ..options import SourceOptions
from .annotated import SIDE, Annotated, checked_path, images_beside

Read = typing.TypeVar("Read")
Key = int | str
_Side = typing.Annotated[float, msgspec.Meta(ge=0, lt=SIDE)]
_Number = typing.Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]


class CocoImage(msgspec.Struct, gc=False):
    """Image as the file describes it."""

    id: Key
    file_name: str
    width: _Side | None = None
    height: _Side | None = None


class CocoCategory(msgspec.Struct, gc=False):
    """Class as the file describes it."""

    id: Key
    name: str


class CocoAnnotation(msgspec.Struct, gc=False):
    """Box as the file describes it: left, top, width and height in pixels; its segmentation is passed over."""

    image_id: Key
    category_id: Key
    id: _Number | None = None
    bbox: tuple[float, float, float, float] | None = None
    iscrowd: int | bool = 0


class _Coco(msgspec.Struct, gc=False):
    images: list[CocoImage]
    categories: list[CocoCategory] = []
    annotations: list[CocoAnnotation] = []


def read_json(path: Path, kind: type[Read]) -> Read:
    """Return the content of a JSON file as a type; `msgspec.Raw` in it are views of the file.

    Raises:
        SourceError: it can't be read, or has other content; the message says where.
    """
    try:
        with path.open("rb") as file:
            content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        return msgspec.json.decode(content, type=kind)
    except (OSError, ValueError, msgspec.MsgspecError) as error:
        raise SourceError(
            f"{path} is not a COCO file: {one_line(error)}; give the JSON file of the annotations"
        ) from None


def read_coco(path: Path, options: SourceOptions) -> Annotated:
    """Read a COCO file.

    Image files are looked for in `options.images`; by default in a folder ``images`` beside the file, where there is
    one, else beside the file.

    Raises:
        SourceError: it is not a COCO file, an annotation is of an image or category that it lacks, an id occurs twice,
            or a path leads out of the folder of images.
    """
    content = read_json(path, _Coco)
    images = _by_id([one.id for one in content.images], "images", path)
    kinds = _by_id([one.id for one in content.categories], "categories", path)
    n = len(content.annotations)
    image, kind, number = (np.empty(n, np.int64) for _ in range(3))
    corners, crowd = np.empty((n, 4)), np.zeros(n, np.bool_)
    drawn, has_ids = np.ones(n, np.bool_), all(one.id is not None for one in content.annotations)
    for at, one in enumerate(content.annotations):
        try:
            image[at], kind[at] = images[one.image_id], kinds[one.category_id]
        except KeyError:
            which = "image" if one.image_id not in images else "category"
            key = getattr(one, f"{which}_id")
            raise SourceError(
                f"{path}: annotations[{at}] is of {which} {key!r}, which the file lacks; remove it, or add the {which}"
            ) from None
        number[at] = one.id if has_ids and one.id is not None else at + 1
        drawn[at], crowd[at] = one.bbox is not None, bool(one.iscrowd)
        left, top, width, height = one.bbox or (0, 0, 0, 0)
        corners[at] = left, top, left + width, top + height
    if len(np.unique(number)) < n:
        values, counts = np.unique(number, return_counts=True)
        raise SourceError(
            f"{path} has {counts.max()} annotations with the id {values[counts.argmax()]}; give each its own"
        )
    order = np.argsort(image[drawn], kind="stable")
    folder = Path(str(options.images or images_beside(path.parent))).expanduser().resolve()
    left_out = n - len(order)
    return Annotated(
        root=folder,
        home=folder,
        files=tuple(checked_path(one.file_name, str(path)) for one in content.images),
        sizes=np.array([(one.width or 0, one.height or 0) for one in content.images], np.int64).reshape(
            -1, 2
        ),
        class_names=told_apart(tuple(one.name for one in content.categories)),
        image=image[drawn][order],
        kind=kind[drawn][order],
        number=number[drawn][order],
        corners=corners[drawn][order],
        crowd=crowd[drawn][order],
        sources=(path,),
        skipped=(("annotations without a box", left_out),) if left_out else (),
    )


def _by_id(ids: Sequence[Key], what: str, path: Path) -> dict[Key, int]:
    """Return the place of each id.

    Raises:
        SourceError: one occurs twice.
    """
    places = {one: place for place, one in enumerate(ids)}
    if len(places) < len(ids):
        twice = next(one for place, one in enumerate(ids) if places[one] != place)
        raise SourceError(f"{path} has two {what} with the id {twice!r}; give each its own")
    return places
