"""Boxes of a source in another format of training sets: COCO, YOLO or Pascal VOC."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import Any
from xml.etree import ElementTree

from ..data.sources.boxes.opening import BoxFormat
from ..data.sources.boxes.voc import ANNOTATIONS, IMAGES, SETS
from ..data.sources.boxes.yolo import SPLITS
from ..errors import require
from .boxed import BoxedImage, BoxedSet
from .summary import ExportFormat, ExportSummary
from .targets import new_folder

SPLIT_REMEDY = "name other images as val before training by it"


def write_converted(boxed: BoxedSet, kind: BoxFormat, to: Path) -> ExportSummary:
    """Write the folder `to`: the images, and classes and boxes in the format `kind`.

    Raises:
        MissingExtraError: YOLO without the extra `boxes`.
        TenpercentError: an image can't be read, or `to` can't be written.
    """
    split = boxed.source.split or "train"
    folder = {BoxFormat.COCO: "images", BoxFormat.YOLO: f"images/{split}", BoxFormat.VOC: IMAGES}[kind]
    with new_folder(to, len(boxed), boxed.noun) as (root, done):
        images = boxed.written(root / folder, ("id",), done)
        _WRITERS[kind](images, boxed.class_names, split, root)
    said = [f"converted from {boxed.source.spec.partition(':')[0]}", *boxed.notes()]
    if kind is BoxFormat.YOLO:
        said.insert(2, f"data.yaml names these images as train and as val: {SPLIT_REMEDY}")
    return ExportSummary(ExportFormat(kind), (to,), len(boxed), tuple(said))


def _write_coco(images: Iterable[BoxedImage], class_names: list[str], split: str, root: Path) -> None:
    """Write ``annotations.json``, with ids from 1."""
    codes, entries, boxes = {name: code for code, name in enumerate(class_names, 1)}, [], 0
    with (root / "annotations.json").open("w", encoding="utf-8") as file:
        file.write('{"annotations": [')
        for number, one in enumerate(images, 1):
            width, height = one.size
            entries.append({"id": number, "file_name": one.file, "width": width, "height": height})
            for box in one.boxes:
                left, top, right, bottom = box.edges
                across, down = right - left, bottom - top
                entry = {"id": boxes + 1, "image_id": number, "category_id": codes[box.kind], "iscrowd": 0}
                shape = {"bbox": [left, top, across, down], "area": across * down}
                file.write(",\n" * (boxes > 0) + json.dumps({**entry, **shape}))
                boxes += 1
        categories = [{"id": code, "name": name} for name, code in codes.items()]
        rest = json.dumps({"images": entries, "categories": categories}, ensure_ascii=False)
        file.write(f"],\n{rest[1:]}\n")


def _write_yolo(images: Iterable[BoxedImage], class_names: list[str], split: str, root: Path) -> None:
    """Write ``data.yaml``, with both splits that training by it takes, and a text file for each image with a box."""
    yaml: Any = require("yaml", "boxes")
    codes = {name: code for code, name in enumerate(class_names)}
    for one in images:
        lines = []
        for box in one.boxes:
            left, top, width, height = box.shares(one.size)
            places = f"{left + width / 2:.8f} {top + height / 2:.8f} {width:.8f} {height:.8f}"
            lines.append(f"{codes[box.kind]} {places}\n")
        if lines:
            _placed(root / "labels" / split, one.file, ".txt").write_text("".join(lines), encoding="utf-8")
    known = {name: f"images/{split}" for name in dict.fromkeys(("train", "val", split)) if name in SPLITS}
    content = {**known, "names": dict(enumerate(class_names))}
    text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True)
    said = f"# train and val are the same images here: {SPLIT_REMEDY}\n"
    (root / "data.yaml").write_text(said + text, encoding="utf-8")


def _write_voc(images: Iterable[BoxedImage], class_names: list[str], split: str, root: Path) -> None:
    """Write an XML file an image, with edges rounded to whole pixels counted from 1, and the list of the split."""
    (root / SETS).mkdir(parents=True)
    with (root / SETS / f"{split}.txt").open("w", encoding="utf-8") as names:
        for one in images:
            tree = ElementTree.Element("annotation")
            ElementTree.SubElement(tree, "filename").text = one.file
            _numbers(tree, "size", {"width": one.size[0], "height": one.size[1], "depth": 3})
            for box in one.boxes:
                entry = ElementTree.SubElement(tree, "object")
                ElementTree.SubElement(entry, "name").text = box.kind
                ElementTree.SubElement(entry, "difficult").text = "0"
                left, top, right, bottom = map(round, box.edges)
                edges = {
                    "xmin": left + 1,
                    "ymin": top + 1,
                    "xmax": max(right, left + 1),
                    "ymax": max(bottom, top + 1),
                }
                _numbers(entry, "bndbox", edges)
            ElementTree.indent(tree)
            ElementTree.ElementTree(tree).write(
                _placed(root / ANNOTATIONS, one.file, ".xml"), encoding="utf-8"
            )
            names.write(f"{PurePosixPath(one.file).with_suffix('')}\n")


def _numbers(above: ElementTree.Element, name: str, values: dict[str, int]) -> None:
    """Add an element with a number in each of its own."""
    element = ElementTree.SubElement(above, name)
    for key, value in values.items():
        ElementTree.SubElement(element, key).text = str(value)


def _placed(folder: Path, file: str, ending: str) -> Path:
    """Return the path of the annotation file of an image, after making its folder."""
    path = folder / PurePosixPath(file).with_suffix(ending)
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


_WRITERS = {BoxFormat.COCO: _write_coco, BoxFormat.YOLO: _write_yolo, BoxFormat.VOC: _write_voc}
