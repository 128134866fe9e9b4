"""The annotations of a source without the images that went, as their format has them, and the images that stay."""

from __future__ import annotations

import posixpath
import shutil
from collections import Counter
from collections.abc import Collection, Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from ..data.sources.boxes.annotated import Annotated, text_lines
from ..data.sources.boxes.opening import BoxFormat
from ..data.sources.boxes.voc import ANNOTATIONS, MASK_SETS, MASKS, SETS
from ..data.sources.boxes.yolo import listed, places_of, read_yaml
from ..data.sources.changes import some
from ..data.sources.remote.place import Place, RemotePath
from ..data.sources.source import ImageSource
from ..errors import UsageError, counted, require
from ..selection.whole_images import images_kept
from .boxed import boxed_set, put_image
from .converted import write_converted
from .folder import notes, put
from .kept import Kept
from .summary import ExportFormat, ExportSummary
from .targets import check_target, new_folder

if TYPE_CHECKING:
    from ..selection.selection import Selection


def write_annotated_set(
    selection: Selection, source: ImageSource, kind: BoxFormat, to: Path
) -> ExportSummary:
    """Write the folder `to`: the annotations of the images that stay, unchanged, and these images.

    Annotations of another format are converted, as far as that format has what they have.

    Of a selection of objects, an image stays unless all of its objects went, with all of its annotations: a detector
    that is trained on it must know every object there.

    Raises:
        UsageError: the source has no annotations; `to` is not empty or lies within the source.
        TenpercentError: an image can't be read, or `to` can't be written.
    """
    if not source.annotations:
        raise UsageError(
            f"--format {kind} writes the boxes of a source, and {source.spec} has none; choose --format folder or hf"
        )
    check_target(to, source)
    if source.spec.partition(":")[0] != kind:
        return write_converted(boxed_set(selection, Kept.of(selection), source), kind, to)
    assert source.annotated is not None
    found: Annotated = source.annotated()
    how = Counter[str]()
    kept, missing = images_kept(selection, found.files, source.unit), set(found.missing)
    stay = [file for file in kept if file not in missing]
    with new_folder(to, len(stay)) as (root, done):
        said = [_WRITERS[kind](source, found, set(stay), root)]
        folder = root / ("images" if kind is BoxFormat.COCO else "")
        read, number = found.reader(follow_links=True), {file: at for at, file in enumerate(found.files)}
        for file in stay:
            how[put_image(source, found, number[file], read, folder / file)] += 1
            done(1)
    if len(stay) < len(kept):
        said.append(
            f"{counted(len(kept) - len(stay), 'image')} missing and left out ({some(missing.intersection(kept))})"
        )
    return ExportSummary(ExportFormat(kind), (to,), len(stay), (*said, *notes(how, [], Counter())))


def _write_coco(source: ImageSource, found: Annotated, stay: Collection[str], to: Path) -> str:
    """Write ``annotations.json``: every entry as it was, to the byte, without the images that are not to stay."""
    (path,) = found.sources
    import msgspec

    from ..data.sources.boxes.annotated import checked_path
    from ..data.sources.boxes.coco import CocoAnnotation, CocoImage, read_json

    content = read_json(path, dict[str, msgspec.Raw])
    images = msgspec.json.decode(content["images"], type=list[msgspec.Raw])
    boxes = msgspec.json.decode(content.get("annotations", b"[]"), type=list[msgspec.Raw])
    kept, ids = [], set()
    for one in images:
        image = msgspec.json.decode(one, type=CocoImage)
        if checked_path(image.file_name, str(path)) in stay:
            kept.append(one)
            ids.add(image.id)
    left = [one for one in boxes if msgspec.json.decode(one, type=CocoAnnotation).image_id in ids]
    lists = {"images": kept, "annotations": left}
    with (to / "annotations.json").open("wb") as file:
        for number, (key, value) in enumerate(content.items()):
            file.write((b",\n" if number else b"{") + msgspec.json.encode(key) + b": ")
            for place, one in enumerate(lists.get(key, ())):  # not joined first: there may be millions
                file.write(b",\n" if place else b"[")
                file.write(one)
            file.write(value if key not in lists else b"]" if lists[key] else b"[]")
        file.write(b"}\n")
    return f"{len(left):,} of {counted(len(boxes), 'annotation')} are of these images"


def _write_yolo(source: ImageSource, found: Annotated, stay: Collection[str], to: Path) -> str:
    """Write the data.yaml for what stays of the split that was read, and the text files of boxes, as they were.

    The other splits stay where they are, under absolute paths or addresses.
    """
    yaml: Any = require("yaml", "boxes")
    path = found.sources[0]
    content = read_yaml(path)
    content.pop("path", None)
    for split in found.splits:
        places = places_of(content, split)
        if split != found.split:
            there = [str(found.root / place) for place in places]
            content[split] = there if len(there) > 1 else there[0]
            continue
        for part in places:
            (to / part).parent.mkdir(parents=True, exist_ok=True)
            if (found.root / part).is_dir():
                (to / part).mkdir(exist_ok=True)
            else:
                above = "/".join([".."] * (len(PurePosixPath(posixpath.normpath(part)).parts) - 1)) or "."
                lines = [
                    f"{above}/{file}\n" for file in listed(found.root, found.home, part, path) if file in stay
                ]
                (to / part).write_text("".join(lines), encoding="utf-8")
    (to / path.name).write_text(
        yaml.safe_dump(content, sort_keys=False, allow_unicode=True), encoding="utf-8"
    )
    others = [split for split in found.splits if split != found.split]
    away = f"; in data.yaml {' and '.join(others)} names an address: fetch its images, and name their folder"
    return _write_own(found, stay, to) + (away if others and isinstance(found.root, RemotePath) else "")


def _write_voc(source: ImageSource, found: Annotated, stay: Collection[str], to: Path) -> str:
    """Write the XML files as they were, masks of segmentation, and the lists of the split that was read."""
    above = Path(ANNOTATIONS if (found.home / ANNOTATIONS).is_dir() else "")
    own = (Path(own or "") for file, own in zip(found.files, found.own, strict=True) if file in stay)
    names = [name.relative_to(above).with_suffix("").as_posix() for name in own]
    masks = 0
    for mask in (f"{folder}/{name}.png" for folder in MASKS for name in names):
        if (found.root / mask).is_file():
            (to / mask).parent.mkdir(parents=True, exist_ok=True)
            _put_mask(found.root / mask, to / mask)
            masks += 1
    _write_list(to / SETS / f"{found.split}.txt", names if found.split else [])
    segmented = found.home / MASK_SETS / f"{found.split}.txt"
    if segmented.is_file():
        own_lines = {line.strip() for line in text_lines(segmented)}
        _write_list(to / MASK_SETS / segmented.name, [name for name in names if name in own_lines])
    said = f" and {counted(masks, 'mask')}" if masks else ""
    return f"{_write_own(found, stay, to)}{said}"


def _put_mask(mask: Place, target: Path) -> None:
    if isinstance(mask, Path):
        put(mask, target)
    else:
        target.write_bytes(mask.read_bytes())


def _write_list(file: Path, names: Sequence[str]) -> None:
    """Write a list of images, unless it is empty."""
    if names:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("".join(f"{name}\n" for name in names), encoding="utf-8")


def _write_own(found: Annotated, stay: Collection[str], to: Path) -> str:
    """Copy the annotation file of each image that stays."""
    for file, own in zip(found.files, found.own, strict=True):
        if own is not None and file in stay:
            (to / own).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(found.home / own, to / own)
    left = sum(found.files[image] in stay for image in found.image.tolist())
    return f"{left:,} of {counted(len(found.image), 'annotation')} are of these images"


_WRITERS = {BoxFormat.COCO: _write_coco, BoxFormat.YOLO: _write_yolo, BoxFormat.VOC: _write_voc}
