"""Exports, read back by other projects' readers where they are installed (tests/peers/requirements.txt)."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import tenpercent as tp
from selections import selection_of
from tenpercent.data.sources.opening import open_source
from tenpercent.data.sources.source import ImageSource
from tenpercent.exporting import export

BOXES = {
    "a.png": (10.0, 20.0, 40.0, 60.0),
    "b.png": (0.0, 0.0, 100.0, 80.0),
    "c.png": (50.0, 60.0, 70.0, 70.0),
}


@pytest.fixture
def boxed(tmp_path: Path) -> ImageSource:
    (tmp_path / "set" / "images").mkdir(parents=True)
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for number, (name, (left, top, right, bottom)) in enumerate(BOXES.items(), 1):
        Image.new("RGB", (100, 80), (number * 50, 0, 0)).save(tmp_path / "set" / "images" / name)
        images.append({"id": number, "file_name": name, "width": 100, "height": 80})
        box = [left, top, right - left, bottom - top]
        annotations.append({"id": number, "image_id": number, "category_id": 1, "bbox": box, "iscrowd": 0})
    content = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "cat"}]}
    (tmp_path / "set" / "annotations.json").write_text(json.dumps(content))
    return opened(f"coco:{tmp_path / 'set' / 'annotations.json'}")


@pytest.fixture
def classes(tmp_path: Path) -> ImageSource:
    for number, name in enumerate(("cat/a.png", "dog/b.png", "dog/c.png")):
        (tmp_path / "photos" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8), (number * 50, 0, 0)).save(tmp_path / "photos" / name)
    return opened(tmp_path / "photos")


def opened(spec: str | Path, **options: Any) -> ImageSource:
    source = open_source(spec, tp.SourceOptions(**options))
    assert isinstance(source, ImageSource)
    return source


def test_webdataset_reads_shards(classes: ImageSource, tmp_path: Path) -> None:
    webdataset = pytest.importorskip("webdataset")
    export(selection_of(classes, {0, 2}), classes, "webdataset", tmp_path / "out")
    found = webdataset.WebDataset(str(tmp_path / "out" / "shard-000000.tar"), shardshuffle=False).decode(
        "pil"
    )
    samples = [(sample["png"].size, sample["cls"], sample["json"]["id"]) for sample in found]
    assert samples == [((8, 8), 0, "cat/a.png"), ((8, 8), 1, "dog/c.png")]


@pytest.mark.parametrize("form", ["yolo", "voc"])
def test_labelformat_reads_converted_boxes(form: str, boxed: ImageSource, tmp_path: Path) -> None:
    pytest.importorskip("labelformat")
    from labelformat.formats.pascalvoc import PascalVOCObjectDetectionInput
    from labelformat.formats.yolov8 import YOLOv8ObjectDetectionInput

    export(selection_of(boxed, {0, 2}), boxed, form, tmp_path / "out")
    if form == "yolo":
        found = YOLOv8ObjectDetectionInput(input_file=tmp_path / "out" / "data.yaml", input_split="train")
    else:
        found = PascalVOCObjectDetectionInput(
            input_folder=tmp_path / "out" / "Annotations", category_names="cat"
        )
    read = {Path(label.image.filename).name: label.objects for label in found.get_labels()}
    assert read.keys() == {"a.png", "c.png"}
    for name, (one,) in read.items():
        edges = (one.box.xmin, one.box.ymin, one.box.xmax, one.box.ymax)
        assert edges == pytest.approx(
            BOXES[name], abs=1.01 if form == "voc" else 1e-4
        )  # it takes VOC's from 0
        assert one.category.name == "cat"


def test_fiftyone_reads_its_data_set(boxed: ImageSource, tmp_path: Path) -> None:
    pytest.importorskip("fiftyone")
    from fiftyone.utils.data import FiftyOneDatasetImporter

    selection = selection_of(boxed, {0, 1})
    export(selection, boxed, "fiftyone", tmp_path / "kept")
    reader = FiftyOneDatasetImporter(dataset_dir=str(tmp_path / "kept"))
    assert reader._is_legacy_format_data()  # plain JSON, which `Dataset.from_dir` reads as follows
    with reader._to_legacy_importer() as found:
        samples = list(found)
    for sample, told in zip(samples, selection.table.to_pylist(), strict=True):
        assert Path(sample.filepath).is_file()
        for name in ("kept", "group", "representative", "dissimilarity"):
            assert sample[name] == told[name]
        assert sample.tags == ["kept" if told["kept"] else "removed"]
        (box,) = sample["ground_truth"].detections
        left, top, right, bottom = BOXES[told["id"]]
        assert box.bounding_box == pytest.approx(
            [left / 100, top / 80, (right - left) / 100, (bottom - top) / 80]
        )


def test_fiftyone_reads_cvat_s_and_label_studio_s_boxes(boxed: ImageSource, tmp_path: Path) -> None:
    pytest.importorskip("fiftyone")
    from fiftyone.utils.cvat import load_cvat_image_annotations
    from fiftyone.utils.labelstudio import import_label_studio_annotation

    export(selection_of(boxed, {0, 2}), boxed, "cvat", tmp_path / "kept.zip")
    with zipfile.ZipFile(tmp_path / "kept.zip") as pack:
        pack.extractall(tmp_path / "cvat")
    _, labels, images = load_cvat_image_annotations(str(tmp_path / "cvat" / "annotations.xml"))
    assert [label["name"] for label in labels.labels] == ["cat"]
    for image in images:
        (box,) = image.boxes
        assert (box.xtl, box.ytl, box.xbr, box.ybr) == pytest.approx(BOXES[image.name], abs=1)
    export(selection_of(boxed, {0, 2}), boxed, "labelstudio", tmp_path / "tasks")
    tasks = json.loads((tmp_path / "tasks" / "tasks.json").read_text())
    for task in tasks:
        left, top, right, bottom = BOXES[task["data"]["id"]]
        (result,) = task["annotations"][0]["result"]
        _, box = import_label_studio_annotation(result)
        wanted = [left / 100, top / 80, (right - left) / 100, (bottom - top) / 80]
        assert box.label == "cat" and box.bounding_box == pytest.approx(wanted)


@pytest.mark.parametrize("kind", ["coco", "yolo"])
def test_ultralytics_reads_both_splits(
    kind: str, boxed: ImageSource, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("YOLO_CONFIG_DIR", str(tmp_path))
    monkeypatch.setenv("YOLO_OFFLINE", "true")
    pytest.importorskip("ultralytics")
    from ultralytics.data.dataset import YOLODataset
    from ultralytics.data.utils import check_det_dataset

    source, rows = boxed, {0, 2}
    if kind == "yolo":  # its own format, of which the other split stays where it is
        export(selection_of(boxed, {0, 1, 2}), boxed, "yolo", tmp_path / "set-2")
        for folder, name in (("images", "b.png"), ("labels", "b.txt")):
            (tmp_path / "set-2" / folder / "val").mkdir()
            (tmp_path / "set-2" / folder / "train" / name).rename(tmp_path / "set-2" / folder / "val" / name)
        content = "train: images/train\nval: images/val\nnames: {0: cat}\n"
        (tmp_path / "set-2" / "data.yaml").write_text(content)
        source, rows = opened(f"yolo:{tmp_path / 'set-2' / 'data.yaml'}"), {0}
    export(selection_of(source, rows), source, "yolo", tmp_path / "out")
    data = check_det_dataset(str(tmp_path / "out" / "data.yaml"), autodownload=False)
    read = {
        split: {
            Path(one["im_file"]).name: one["bboxes"].tolist()
            for one in YOLODataset(img_path=data[split], data=data, task="detect", imgsz=64).labels
        }
        for split in ("train", "val")
    }
    both = ({"a.png", "c.png"}, {"a.png", "c.png"}) if kind == "coco" else ({"a.png"}, {"b.png"})
    assert (read["train"].keys(), read["val"].keys()) == both and data["names"] == {0: "cat"}
    left, top, right, bottom = BOXES["a.png"]
    wanted = [(left + right) / 200, (top + bottom) / 160, (right - left) / 100, (bottom - top) / 80]
    assert read["train"]["a.png"] == [pytest.approx(wanted)]
