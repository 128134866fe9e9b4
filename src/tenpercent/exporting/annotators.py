"""The kept images for tools in which people label and look: tasks of Label Studio, a zip file for CVAT."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote
from xml.etree import ElementTree
from xml.sax.saxutils import escape, quoteattr

from ..errors import UsageError
from ..progress import bar
from .boxed import BoxedImage, BoxedSet
from .kept import ABOUT
from .summary import ExportFormat, ExportSummary
from .targets import building, check_target, new_folder, place

LOCAL = "/data/local-files/?d="  # Label Studio's address of a file below its document root
BEGINNING = (1980, 1, 1, 0, 0, 0)  # the time of every file in a zip, so that it has the same bytes each time


def write_labelstudio(boxed: BoxedSet, to: Path) -> ExportSummary:
    """Write the folder `to` with ``tasks.json``, the images, and ``labels.xml``, a labelling interface that shows them.

    A task's data are the address of its image and what the selection says of it; boxes or the class are its annotation.

    Raises:
        UsageError: `to` is not empty or lies within the source.
        TenpercentError: an image can't be read, or `to` can't be written.
    """
    check_target(to, boxed.source)
    with new_folder(to, len(boxed), boxed.noun) as (root, done):
        images = boxed.written(root / "images", ABOUT, done)
        folder = f"{to.absolute().name}/images/"
        write_array(root / "tasks.json", (_task(one, folder) for one in images))
        _write_interface(root / "labels.xml", boxed)
    said = f"set LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT to {to.absolute().parent}, and import {to}/tasks.json"
    return ExportSummary(ExportFormat.LABELSTUDIO, (to,), len(boxed), (*boxed.notes(), said))


def write_array(file: Path, entries: Iterable[Any], before: str = "[", after: str = "]\n") -> None:
    """Write a JSON array entry by entry, a line each."""
    with file.open("w", encoding="utf-8") as out:
        out.write(before)
        for number, entry in enumerate(entries):
            out.write((",\n" if number else "\n") + json.dumps(entry, ensure_ascii=False))
        out.write(f"\n{after}")


def _task(one: BoxedImage, folder: str) -> dict[str, Any]:
    data = {"image": f"{LOCAL}{quote(folder + one.file)}", **one.about}
    width, height = one.size
    whole = {"to_name": "image", "original_width": width, "original_height": height, "image_rotation": 0}
    results = []
    for box in one.boxes:
        shares = zip(("x", "y", "width", "height"), box.shares(one.size), strict=True)
        value = {side: 100 * share for side, share in shares} | {"rotation": 0, "rectanglelabels": [box.kind]}
        results.append({**whole, "from_name": "label", "type": "rectanglelabels", "value": value})
    if one.kind is not None:
        value = {"choices": [one.kind]}
        results.append({"to_name": "image", "from_name": "class", "type": "choices", "value": value})
    return {"data": data, "annotations": [{"result": results}]} if results else {"data": data}


def _write_interface(file: Path, boxed: BoxedSet) -> None:
    view = ElementTree.Element("View")
    ElementTree.SubElement(view, "Image", name="image", value="$image")
    of_boxes = boxed.found is not None
    kind, name, entry = ("RectangleLabels", "label", "Label") if of_boxes else ("Choices", "class", "Choice")
    labels = ElementTree.SubElement(view, kind, name=name, toName="image")
    for class_name in boxed.class_names:
        ElementTree.SubElement(labels, entry, value=class_name)
    ElementTree.indent(view)
    ElementTree.ElementTree(view).write(file, encoding="utf-8")


def write_cvat(boxed: BoxedSet, to: Path) -> ExportSummary:
    """Write the zip file `to` in the format CVAT for images 1.1: ``annotations.xml`` and the images.

    Boxes are rectangles; where a source has none, the class is a tag.

    Raises:
        UsageError: `to` exists, or lies within the source.
        TenpercentError: an image can't be read, or `to` can't be written.
    """
    if to.is_dir():
        raise UsageError(f"--to {to} is a folder, but cvat is one file; name a .zip file in it")
    check_target(to, boxed.source)
    with building(to) as temporary, bar(len(boxed), "Writing", f"{boxed.noun}s") as progress:
        images = temporary / "images"
        with (temporary / "annotations.xml").open("w", encoding="utf-8") as xml:
            xml.writelines(_head(boxed))
            with zipfile.ZipFile(temporary / "kept.zip", "w", allowZip64=True) as pack:
                for number, one in enumerate(boxed.written(images, ABOUT, progress.update)):
                    xml.writelines(_image(number, one))
                    _pack(pack, images / one.file, f"images/{one.file}")
                    (images / one.file).unlink()
                xml.write("</annotations>\n")
                xml.flush()
                _pack(pack, temporary / "annotations.xml", "annotations.xml")
        (done,) = place({temporary / "kept.zip": to})
    said = "in CVAT, make a project with the classes as labels, and import the file there as CVAT 1.1"
    return ExportSummary(ExportFormat.CVAT, (done,), len(boxed), (*boxed.notes(packed=True), said))


def _head(boxed: BoxedSet) -> Iterator[str]:
    yield '<?xml version="1.0" encoding="utf-8"?>\n<annotations>\n  <version>1.1</version>\n  <meta>\n    <task>\n'
    yield f"      <size>{len(boxed)}</size>\n      <mode>annotation</mode>\n      <labels>\n"
    for name in boxed.class_names:
        yield f"        <label><name>{escape(name)}</name></label>\n"
    yield "      </labels>\n    </task>\n  </meta>\n"


def _image(number: int, one: BoxedImage) -> Iterator[str]:
    width, height = one.size
    yield f'  <image id="{number}" name={quoteattr(one.file)} width="{width}" height="{height}">\n'
    for box in one.boxes:
        edges = zip(("xtl", "ytl", "xbr", "ybr"), box.edges, strict=True)
        places = " ".join(f'{name}="{edge:.2f}"' for name, edge in edges)
        yield f'    <box label={quoteattr(box.kind)} source="manual" occluded="0" {places} z_order="0"></box>\n'
    if one.kind is not None:
        yield f'    <tag label={quoteattr(one.kind)} source="manual"></tag>\n'
    yield "  </image>\n"


def _pack(pack: zipfile.ZipFile, file: Path, name: str) -> None:
    """Add a file to a zip, uncompressed and without its time."""
    info = zipfile.ZipInfo(name, BEGINNING)
    info.external_attr = 0o644 << 16
    with file.open("rb") as content, pack.open(info, "w", force_zip64=True) as entry:
        while part := content.read(2**20):
            entry.write(part)
