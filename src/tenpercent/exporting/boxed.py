"""Images put into a folder one by one, each with its boxes in pixels, whatever format these come from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

import numpy as np

from ..data.decoding.decode import Unreadable, measures
from ..data.sources.boxes.annotated import Annotated, text_lines
from ..data.sources.boxes.opening import BoxFormat
from ..data.sources.boxes.voc import IMAGES
from ..data.sources.options import Decoding, Unit
from ..data.sources.source import ImageSource
from ..errors import TenpercentError, counted, reason_of, shown
from ..selection.whole_images import images_kept
from .encoded import gone
from .folder import notes, put, write_image
from .kept import Kept
from .names import FreeNames

if TYPE_CHECKING:
    from ..selection.selection import Selection

CROWD, EMPTY, OTHER_SIZE, RENAMED = "crowd region", "empty annotation", "other size", "renamed"
ANY_SIZE = Decoding(max_pixels=2**62)
PLAIN_COCO = frozenset({"id", "image_id", "category_id", "bbox", "area", "iscrowd"})
NOTHING = frozenset({"", "0", "null", "[]", "{}", "Unspecified"})


@dataclass(frozen=True)
class Box:
    """A box.

    Attributes:
        kind: name of its class.
        edges: left, top, right and bottom in pixels, within the upright image.
        about: what the selection says of it, where it is one of objects.
    """

    kind: str
    edges: tuple[float, float, float, float]
    about: Mapping[str, Any] = field(default_factory=dict)

    def shares(self, size: tuple[int, int]) -> tuple[float, float, float, float]:
        """Return left, top, width and height as fractions of the sides of its image."""
        left, top, right, bottom = self.edges
        return left / size[0], top / size[1], (right - left) / size[0], (bottom - top) / size[1]


@dataclass(frozen=True)
class BoxedImage:
    """An image that was written.

    Attributes:
        file: path within the folder of images.
        size: width and height in pixels, upright.
        boxes: its boxes.
        about: what the selection says of it, at least its `id`.
        kind: name of its class; None where it has boxes, or no label.
    """

    file: str
    size: tuple[int, int]
    boxes: Sequence[Box]
    about: Mapping[str, Any]
    kind: str | None = None


@dataclass(frozen=True, eq=False)
class BoxedSet:
    """The images of an export.

    Attributes:
        source: where they come from.
        kept: rows of the selection, of images or of their objects.
        found: the annotations; None where the source has none.
        files: paths of the annotated images to write.
        keeps: those of them that stay.
        missing: number of images that are missing.
        how: numbers of images by the way they were written, and of what was left out; filled by `written`.
    """

    source: ImageSource
    kept: Kept
    found: Annotated | None = None
    files: Sequence[str] = ()
    keeps: Collection[str] = ()
    missing: int = 0
    how: Counter[str] = field(default_factory=Counter)

    def __len__(self) -> int:
        return len(self.kept) if self.found is None else len(self.files)

    @property
    def noun(self) -> str:
        """The word for one of them: annotated ones are images, also where their objects were selected."""
        return self.source.noun if self.found is None else "image"

    @property
    def class_names(self) -> list[str]:
        """The names of the classes of boxes, else of images."""
        if self.found is not None:
            return list(self.found.class_names)
        return sorted({name for name in self.kept.class_names if name is not None})

    def written(
        self, images: Path, columns: Sequence[str], done: Callable[[int], object]
    ) -> Iterator[BoxedImage]:
        """Put the images into a new folder, and yield each with some columns of the selection.

        Annotated images keep their paths; a name that differs from another in its ending alone gets a number, so that
        each can have an annotation file of its name.

        Raises:
            TenpercentError: an image can't be read.
        """
        images.mkdir(parents=True)
        write = self._plain if self.found is None else self._annotated
        for one in write(images, columns):
            yield one
            done(1)

    def _plain(self, images: Path, columns: Sequence[str]) -> Iterator[BoxedImage]:
        names = FreeNames()
        for row, about in zip(self.kept.rows.tolist(), self.kept.about(columns), strict=True):
            way, file = write_image(self.source, row, images, names)
            self.how[way] += 1
            try:
                size = measures(file.read_bytes(), ANY_SIZE)[:2]
            except Unreadable as error:
                raise gone(self.source, row, error) from error
            yield BoxedImage(file.name, size, (), about, about.get("class_name"))

    def _annotated(self, images: Path, columns: Sequence[str]) -> Iterator[BoxedImage]:
        found, names, stay = self.found, FreeNames(), set(self.files)
        assert found is not None
        known = {about["id"]: about for about in self.kept.about(columns)}
        first = np.searchsorted(found.image, np.arange(len(found.files) + 1)).tolist()
        read = found.reader(follow_links=True)
        for image, file in enumerate(found.files):
            if file not in stay:
                continue
            path = PurePosixPath(file)
            inner = path.relative_to(path.parts[0]) if path.parts[0] in ("images", IMAGES) else path
            stem = str(inner.with_suffix(""))
            free = names.free(stem)
            self.how[RENAMED] += free != stem
            target = images / (free + path.suffix)
            self.how[put_image(self.source, found, image, read, target)] += 1
            try:
                size = measures(target.read_bytes(), ANY_SIZE)[:2]
            except Unreadable as error:
                raise not_read(self.source, file, error) from error
            said = found.sizes[image]
            self.how[OTHER_SIZE] += bool(said.all() and tuple(said.tolist()) != size)
            boxes = list(self._boxes(found, range(*first[image : image + 2]), size, known))
            about = known.get(file) or {"id": file, "kept": file in self.keeps}
            yield BoxedImage(target.relative_to(images).as_posix(), size, boxes, about)

    def _boxes(
        self, found: Annotated, boxes: range, size: tuple[int, int], known: Mapping[str, Mapping[str, Any]]
    ) -> Iterator[Box]:
        """Yield the boxes of an image, cut at its edges."""
        for box in boxes:
            left, top, right, bottom = np.clip(found.edges(box, *size), 0, (*size, *size)).tolist()
            if found.crowd[box]:
                self.how[CROWD] += 1
            elif not (right > left and bottom > top):
                self.how[EMPTY] += 1
            else:
                self.how["box"] += 1
                kind = found.class_names[found.kind[box]]
                yield Box(kind, (left, top, right, bottom), known.get(found.name(box), {}))

    def notes(self, *, packed: bool = False) -> tuple[str, ...]:
        """Return notes on the images that were written, as files or packed into one, and on what was left out."""
        said = [] if packed else list(notes(self.how, [], Counter()))
        if self.found is None:
            return tuple(said)
        said.insert(
            0,
            f"{self.how['box']:,} of {counted(len(self.found.image), 'annotation')} are boxes of these images",
        )
        left = {"missing image": self.missing} | {what: self.how[what] for what in (CROWD, EMPTY)}
        if any(left.values()):
            said.append(
                f"left out: {', '.join(counted(count, what) for what, count in left.items() if count)}"
            )
        if self.how[RENAMED]:
            said.append(f"{self.how[RENAMED]:,} renamed: another image has the same name but for its ending")
        if self.how[OTHER_SIZE]:
            said.append(
                f"of {counted(self.how[OTHER_SIZE], 'image')} the annotations give another size: their boxes may be off"
            )
        beyond = beyond_boxes(self.source, self.found).most_common()
        if beyond:
            fields = ", ".join(f"{what} of {counted(count, 'annotation')}" for what, count in beyond)
            said.append(f"boxes only, without {fields}")
        return tuple(said)


def boxed_set(selection: Selection, kept: Kept, source: ImageSource, *, all_images: bool = False) -> BoxedSet:
    """Return the images to write: the kept ones or all, and of annotated ones the whole images with all their boxes."""
    if not source.annotations:
        return BoxedSet(source.reading(kept.rows), kept)
    assert source.annotated is not None
    found: Annotated = source.annotated()
    keeps, missing = set(images_kept(selection, found.files, source.unit)), set(found.missing)
    known = set(found.files) if source.unit is Unit.OBJECT else set(kept.table["id"].to_pylist())
    chosen = [file for file in found.files if file in (known if all_images else keeps)]
    files = [file for file in chosen if file not in missing]
    return BoxedSet(source, kept, found, files, keeps, len(chosen) - len(files))


def put_image(
    source: ImageSource, found: Annotated, image: int, read: Callable[[int], bytes], target: Path
) -> str:
    """Put an annotated image into a folder, and return the way: see `folder.put`; ``written`` from a store.

    Raises:
        TenpercentError: it can't be read.
    """
    path = found.root / found.files[image]
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        content = b"" if isinstance(path, Path) else read(image)
        if isinstance(path, Path):
            path.open("rb").close()
    except OSError as error:
        raise not_read(source, found.files[image], error) from error
    if isinstance(path, Path):
        return put(path, target)
    target.write_bytes(content)
    return "written"


def not_read(source: ImageSource, file: str, error: Exception) -> TenpercentError:
    """Return the error of an annotated image that can't be read."""
    reason = reason_of(error) if isinstance(error, OSError) else error
    return TenpercentError(
        f"the image {shown(file)} of {source.spec} can't be read: {reason}; bring it back or run again"
    )


def beyond_boxes(source: ImageSource, found: Annotated) -> Counter[str]:
    """Count what annotations have beside a class and a box, such as polygons, by the name of the field."""
    kind = BoxFormat(source.spec.partition(":")[0])
    if kind is BoxFormat.YOLO:
        lines = (line for file in found.sources[1:] for line in text_lines(file))
        return Counter(["polygon or pose"] * sum(len(line.split()) > 5 for line in lines))
    if kind is BoxFormat.VOC:
        objects = (one for file in found.sources for one in ElementTree.parse(file).iterfind("object"))
        fields = ((one.tag, (one.text or "").strip(), len(one)) for object_ in objects for one in object_)
        return Counter(
            tag
            for tag, text, inner in fields
            if tag not in ("name", "bndbox") and (inner or text not in NOTHING)
        )
    import msgspec

    from ..data.sources.boxes.coco import read_json

    content = read_json(found.sources[0], dict[str, msgspec.Raw])
    entries = msgspec.json.decode(content.get("annotations", b"[]"), type=list[msgspec.Raw])
    read = (msgspec.json.decode(one, type=dict[str, msgspec.Raw]) for one in entries)
    return Counter(
        name
        for one in read
        for name, value in one.items()
        if name not in PLAIN_COCO and bytes(value).decode() not in NOTHING
    )
