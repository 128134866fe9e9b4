"""Boxes in other formats than their own, and the formats of labelling tools: read back, with what is lost counted."""

from __future__ import annotations

import json
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote
from xml.etree import ElementTree

import numpy as np
import pytest
import yaml
from PIL import Image
from pycocotools.coco import COCO
from test_export import KEPT, in_memory, picture

import tenpercent as tp
from selections import selection_of
from tenpercent.data.sources.boxes.annotated import Annotated
from tenpercent.data.sources.boxes.opening import BoxFormat, read_annotated
from tenpercent.data.sources.opening import open_source
from tenpercent.data.sources.source import ImageSource
from tenpercent.errors import TenpercentError, UsageError
from tenpercent.exporting import ExportSummary, export

NAMES = ("cam1/a.png", "cam2/a.png", "cam2/a.jpg", "gone.png", "turned.jpg")
BOXES = (  # image, class, left, top, width, height
    (0, 0, 10, 20, 30, 40),
    (0, 1, 0, 0, 100, 80),
    (1, 1, 50.5, 60.25, 20, 10),
    (2, 0, 90, 70, 30, 30),  # reaches beyond two edges
    (4, 0, 10, 60, 20, 30),
)


def coco(root: Path) -> str:
    """Write a set in which an image lies on its side, one is missing and some annotations are more than a box."""
    for name in NAMES:
        (root / "images" / name).parent.mkdir(parents=True, exist_ok=True)
        if name == "gone.png":
            continue
        image = Image.new("RGB", (100, 80), (len(name) * 9, 0, 0))
        exif = Image.Exif()
        exif[274] = 6 if name == "turned.jpg" else 1
        image.save(root / "images" / name, exif=exif)
    images = [{"id": 7 + at, "file_name": name, "width": 100, "height": 80} for at, name in enumerate(NAMES)]
    images[4] |= {"width": 80, "height": 100}
    boxes: list[dict[str, Any]] = [
        {"id": at + 1, "image_id": 7 + image, "category_id": 3 + kind, "bbox": box, "area": 1, "iscrowd": 0}
        for at, (image, kind, *box) in enumerate(BOXES)
    ]
    boxes[0] |= {"segmentation": [[10, 20, 40, 20, 40, 60]], "keypoints": []}
    boxes.append({"id": 20, "image_id": 8, "category_id": 3, "bbox": [1, 1, 9, 9], "iscrowd": 1})
    boxes.append({"id": 21, "image_id": 8, "category_id": 3, "bbox": [5, 5, 0, 9]})
    kinds = [{"id": 3, "name": "cat & co"}, {"id": 4, "name": "dög"}]
    content = {"images": images, "annotations": boxes, "categories": kinds}
    (root / "annotations.json").write_text(json.dumps(content), encoding="utf-8")
    return f"coco:{root / 'annotations.json'}"


@pytest.fixture
def source(tmp_path: Path) -> ImageSource:
    return opened(coco(tmp_path / "set"))


def opened(spec: str, **options: Any) -> ImageSource:
    source = open_source(spec, tp.SourceOptions(**options))
    assert isinstance(source, ImageSource)
    return source


def kept_as(source: ImageSource, form: str, to: Path, kept: set[int]) -> ExportSummary:
    return export(selection_of(source, kept), source, form, to)


def boxes_of(form: str, to: Path) -> dict[str, list[tuple[str, list[float]]]]:
    """What our reader finds: the boxes of each image by the end of its path, in pixels."""
    place = {"coco": to / "annotations.json", "yolo": to / "data.yaml", "voc": to}[form]
    found: Annotated = read_annotated(BoxFormat(form), place, tp.SourceOptions())
    result: dict[str, list[tuple[str, list[float]]]] = {name: [] for name in found.files}
    for box, image in enumerate(found.image.tolist()):
        with Image.open(found.root / found.files[image]) as picture:
            size = picture.size[::-1] if picture.getexif().get(274) == 6 else picture.size
        edges = [round(edge, 4) for edge in found.edges(box, *size)]
        result[found.files[image]].append((found.class_names[found.kind[box]], edges))
    return {name.split("/", name.count("/") - ("cam" in name))[-1]: boxes for name, boxes in result.items()}


EXPECTED = {
    "cam1/a.png": [("cat & co", [10, 20, 40, 60]), ("dög", [0, 0, 100, 80])],
    "cam2/a.png": [("dög", [50.5, 60.25, 70.5, 70.25])],
    "cam2/a-2.jpg": [("cat & co", [90, 70, 100, 80])],
    "turned.jpg": [("cat & co", [10, 60, 30, 90])],
}
ROUNDED = {**EXPECTED, "cam2/a.png": [("dög", [50, 60, 70, 70])]}


@pytest.mark.parametrize("form", ["yolo", "voc"])
def test_boxes_become_those_of_another_format_and_back(
    form: str, source: ImageSource, tmp_path: Path
) -> None:
    summary = kept_as(source, form, tmp_path / "out", set(range(5)))
    expected = EXPECTED if form == "yolo" else ROUNDED
    assert boxes_of(form, tmp_path / "out") == expected
    assert summary.images == 4
    said = summary.notes
    assert said[:2] == ("converted from coco", "5 of 7 annotations are boxes of these images")
    if form == "yolo":
        assert said[2].startswith(
            "data.yaml names these images as train and as val: name other images as val"
        )
        known = yaml.safe_load((tmp_path / "out" / "data.yaml").read_text(encoding="utf-8"))
        assert (known["train"], known["val"]) == ("images/train", "images/train")
    assert "1 renamed: another image has the same name but for its ending" in said
    assert "left out: 1 missing image, 1 crowd region, 1 empty annotation" in said
    assert said[-1] == "boxes only, without segmentation of 1 annotation"
    back = opened(f"{form}:{tmp_path / 'out'}{'/data.yaml' if form == 'yolo' else ''}")
    assert back.split == "train" and "faults" not in back.taken
    summary = kept_as(back, "coco", tmp_path / "again", {0, 1, 2, 3})
    assert boxes_of("coco", tmp_path / "again") == expected
    known = COCO(str(tmp_path / "again" / "annotations.json"))
    assert len(known.getAnnIds()) == 5 and len(known.imgs) == 4
    assert {one["name"] for one in known.cats.values()} == {"cat & co", "dög"}


def test_only_what_is_kept_is_converted(source: ImageSource, tmp_path: Path) -> None:
    kept_as(source, "yolo", tmp_path / "out", {1})
    assert boxes_of("yolo", tmp_path / "out") == {"cam2/a.png": EXPECTED["cam2/a.png"]}
    objects = opened(source.spec, unit="object")
    boxes = [objects.ids.index(f"cam1/a.png#{number}") for number in (1, 2)]
    kept_as(objects, "yolo", tmp_path / "objects", set(range(len(objects))) - {*boxes})
    assert "cam1/a.png" not in boxes_of("yolo", tmp_path / "objects")
    kept_as(objects, "yolo", tmp_path / "one", {boxes[0]})
    assert boxes_of("yolo", tmp_path / "one")["cam1/a.png"] == EXPECTED["cam1/a.png"]


def test_polygons_and_marks_of_objects_are_counted(tmp_path: Path) -> None:
    picture_file = tmp_path / "set" / "JPEGImages" / "a.png"
    picture_file.parent.mkdir(parents=True)
    picture_file.write_bytes(picture(1, size=(50, 50)))
    box = "<bndbox><xmin>1</xmin><ymin>1</ymin><xmax>9</xmax><ymax>9</ymax></bndbox>"
    marks = "<pose>Unspecified</pose><difficult>1</difficult><truncated>0</truncated><part><name>head</name></part>"
    (tmp_path / "set" / "Annotations").mkdir()
    xml = f"<annotation><filename>a.png</filename><object><name>x</name>{marks}{box}</object></annotation>"
    (tmp_path / "set" / "Annotations" / "a.xml").write_text(xml)
    notes = kept_as(opened(f"voc:{tmp_path / 'set'}"), "coco", tmp_path / "out", {0}).notes
    said = "boxes only, without difficult of 1 annotation, part of 1 annotation"
    assert notes[-1] == said
    kept_as(opened(f"voc:{tmp_path / 'set'}"), "yolo", tmp_path / "yolo", {0})
    (tmp_path / "yolo" / "labels" / "train" / "a.txt").write_text("0 .1 .1 .5 .1 .5 .5\n")
    back = opened(f"yolo:{tmp_path / 'yolo' / 'data.yaml'}")
    assert "polygon or pose of 1 annotation" in kept_as(back, "voc", tmp_path / "again", {0}).notes[-1]


# ---- labelling tools -----------------------------------------------------------------------------------------------


def test_tasks_of_label_studio_with_boxes(source: ImageSource, tmp_path: Path) -> None:
    summary = kept_as(source, "labelstudio", tmp_path / "kept ö", {0, 4})
    tasks = json.loads((tmp_path / "kept ö" / "tasks.json").read_text(encoding="utf-8"))
    assert [task["data"]["id"] for task in tasks] == ["cam1/a.png", "turned.jpg"]
    for task in tasks:
        before, _, address = task["data"]["image"].partition("?d=")
        assert before == "/data/local-files/" and (tmp_path / unquote(address)).is_file()
        assert (
            task["data"]["group"] == source.ids.index(task["data"]["id"]) and "group_diameter" in task["data"]
        )
    (turned,) = tasks[1]["annotations"][0]["result"]
    assert (turned["original_width"], turned["original_height"]) == (80, 100)
    value = {
        key: round(part, 6) for key, part in turned["value"].items() if key in ("x", "y", "width", "height")
    }
    assert value == {"x": 12.5, "y": 60, "width": 25, "height": 30}
    assert turned["value"]["rectanglelabels"] == ["cat & co"] and turned["type"] == "rectanglelabels"
    view = ElementTree.parse(tmp_path / "kept ö" / "labels.xml").getroot()
    assert view.find("RectangleLabels").get("name") == turned["from_name"]  # type: ignore[union-attr]
    assert view.find("Image").get("name") == turned["to_name"]  # type: ignore[union-attr]
    assert [one.get("value") for one in view.iter("Label")] == ["cat & co", "dög"]
    assert (
        str(summary).splitlines()[-1].startswith(f"set LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT to {tmp_path},")
    )


def test_tasks_of_label_studio_with_classes_or_none(tmp_path: Path) -> None:
    images = [picture(number) for number in range(4)]
    source = in_memory(images, ("cat", "dog"), [0, 1, -1, 0])
    kept_as(source, "labelstudio", tmp_path / "kept", {0, 1, 2})
    tasks = json.loads((tmp_path / "kept" / "tasks.json").read_text(encoding="utf-8"))
    choices = [task.get("annotations", [{"result": []}])[0]["result"] for task in tasks]
    assert [[one["value"]["choices"] for one in found] for found in choices] == [[["cat"]], [["dog"]], []]
    for number, task in enumerate(tasks):
        assert (tmp_path / unquote(task["data"]["image"].partition("?d=")[2])).read_bytes() == images[number]


def test_a_zip_file_for_cvat(source: ImageSource, tmp_path: Path) -> None:
    for name in ("kept.zip", "again.zip"):
        kept_as(source, "cvat", tmp_path / name, {0, 1, 2, 4})
    assert (tmp_path / "kept.zip").read_bytes() == (tmp_path / "again.zip").read_bytes()
    with zipfile.ZipFile(tmp_path / "kept.zip") as pack:
        assert pack.testzip() is None
        root = ElementTree.fromstring(pack.read("annotations.xml"))
        files = {f"images/{image.get('name')}" for image in root.iter("image")}
        assert files == set(pack.namelist()) - {"annotations.xml"}
        for name, original in (("cam2/a-2.jpg", "cam2/a.jpg"), ("cam1/a.png", "cam1/a.png")):
            assert pack.read(f"images/{name}") == (tmp_path / "set" / "images" / original).read_bytes()
    assert root.findtext("version") == "1.1" and root.findtext("meta/task/size") == "4"
    assert [one.text for one in root.iterfind("meta/task/labels/label/name")] == ["cat & co", "dög"]
    turned = root.find("image[@name='turned.jpg']")
    assert turned is not None and (turned.get("width"), turned.get("height")) == ("80", "100")
    box = turned.find("box")
    assert box is not None and [float(box.get(side, "")) for side in ("xtl", "ytl", "xbr", "ybr")] == [
        10,
        60,
        30,
        90,
    ]
    assert (tmp_path / "set" / "images" / "cam1" / "a.png").is_file()


def test_classes_are_tags_in_cvat(tmp_path: Path) -> None:
    source = in_memory([picture(1), picture(2)], ('a "b" <c>',), [0, -1])
    kept_as(source, "cvat", tmp_path / "kept.zip", {0, 1})
    with zipfile.ZipFile(tmp_path / "kept.zip") as pack:
        root = ElementTree.fromstring(pack.read("annotations.xml"))
    assert [[tag.get("label") for tag in image] for image in root.iter("image")] == [['a "b" <c>'], []]


def test_fiftyone_gets_all_images_with_what_became_of_them(tmp_path: Path) -> None:
    source = in_memory([picture(number) for number in range(6)], ("cat",), [0, 0, 0, 0, 0, -1])
    selection = selection_of(source, KEPT)
    summary = export(selection, source, "fiftyone", tmp_path / "kept")
    samples = json.loads((tmp_path / "kept" / "samples.json").read_text(encoding="utf-8"))["samples"]
    assert json.loads((tmp_path / "kept" / "metadata.json").read_text())["media_type"] == "image"
    assert summary.images == 4 and summary.notes[0].startswith("with them 2 removed images")
    for row, (sample, told) in enumerate(zip(samples, selection.table.to_pylist(), strict=True)):
        assert (tmp_path / "kept" / sample["filepath"]).read_bytes() == picture(row)
        for name in ("kept", "group", "representative", "dissimilarity"):
            assert sample[name] == told[name]
        assert sample["tags"] == ["kept" if row in KEPT else "removed"]
        assert sample.get("ground_truth", {}).get("label") == ("cat" if row < 5 else None)
        assert "id" not in sample
    summary = export(selection, replace(source, noun="frame"), "fiftyone", tmp_path / "frames")
    assert summary.notes[0].startswith("with them 2 removed frames")


def test_objects_in_fiftyone_have_fields_of_their_own(source: ImageSource, tmp_path: Path) -> None:
    objects = opened(source.spec, unit="object")
    export(selection_of(objects, {0}), objects, "fiftyone", tmp_path / "kept")
    samples = json.loads((tmp_path / "kept" / "samples.json").read_text(encoding="utf-8"))["samples"]
    kept = {sample["source_id"]: sample["kept"] for sample in samples}
    assert kept == {"cam1/a.png": True, "cam2/a.png": False, "cam2/a.jpg": False, "turned.jpg": False}
    first, second = samples[0]["ground_truth"]["detections"]
    assert (first["kept"], second["kept"]) == (True, False) and second["representative"] == "cam1/a.png#1"
    assert np.allclose(first["bounding_box"], [0.1, 0.25, 0.3, 0.5])


FORMS = ("labelstudio", "cvat", "fiftyone", "yolo")


@pytest.mark.parametrize("form", FORMS)
def test_what_goes_wrong_is_one_line_and_leaves_nothing(
    form: str, source: ImageSource, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="lies within the source"):
        kept_as(source, form, tmp_path / "set" / "images" / "out", {0})
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").write_text("mine")
    with pytest.raises(UsageError, match=r"is not empty and an export|name a \.zip file in it"):
        kept_as(source, form, tmp_path / "full", {0})
    with pytest.raises(UsageError, match="made from ready vectors"):
        export(selection_of(source, {0}), None, form, tmp_path / "out")
    (tmp_path / "set" / "images" / "turned.jpg").write_bytes(b"no image")
    with pytest.raises(
        TenpercentError, match=r"turned.jpg of coco:.* can't be read: .*; bring it back or run again"
    ):
        kept_as(source, form, tmp_path / "out", {4})
    assert not (tmp_path / "out").exists() and not list(tmp_path.glob(".out*"))


def test_boxes_of_a_source_without_any(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="writes the boxes of a source, and memory has none"):
        kept_as(in_memory([picture(1)]), "yolo", tmp_path / "out", {0})
