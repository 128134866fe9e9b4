"""Sets with boxes in the formats of YOLO and VOC: read, and written without what went."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from test_boxes import noise, opened, save

import tenpercent as tp
from tenpercent.data.sources.first_line import account, describe_taken
from tenpercent.errors import SourceError, UsageError

IMAGES = ("a", "b", "c", "d")  # c shows what b does; d has no boxes
XML = """<annotation><filename>{name}.png</filename><size><width>100</width><height>100</height></size>{objects}
<!-- kept --></annotation>"""
OBJECT = """<object><name>{}</name><difficult>1</difficult><bndbox><xmin>{}</xmin><ymin>{}</ymin><xmax>{}</xmax>
<ymax>{}</ymax></bndbox></object>"""


def yolo(folder: Path, train: str = "images/train", **files: str) -> str:
    """Write a set with a split val; return the name of the source. `files` are texts of label files."""
    texts = {
        "a": "0 .25 .3 .5 .6\n1 .5 .5 .2 .2\n",
        "b": "1 .3 .4 .4 .4\n",
        "c": "1 .1 .2 .5 .2 .5 .6 .1 .6\n",
        **files,
    }
    for name, seed in zip(IMAGES, (1, 2, 2, 3), strict=True):
        save(folder / "images" / "train" / f"{name}.png", noise(seed))
    save(folder / "images" / "val" / "v.png", noise(5))
    for name, text in texts.items():
        label = folder / "labels" / "train" / f"{name}.txt"
        label.parent.mkdir(parents=True, exist_ok=True)
        label.write_text(text)
    content = f"path: .\ntrain: {train}\nval: images/val\nnames: {{0: cat, 1: dög}}\n"
    (folder / "data.yaml").write_text(content, encoding="utf-8")
    return f"yolo:{folder / 'data.yaml'}"


def voc(folder: Path) -> str:
    """Write the same set; return the name of the source."""
    boxes = {"a": [("cat", 1, 1, 50, 60), ("dog", 41, 41, 60, 60)], "b": [("dog", 11, 21, 50, 60)], "d": []}
    boxes["c"] = boxes["b"]
    for name, seed in zip(IMAGES, (1, 2, 2, 3), strict=True):
        save(folder / "JPEGImages" / f"{name}.png", noise(seed))
        objects = "".join(OBJECT.format(*one) for one in boxes[name])
        (folder / "Annotations").mkdir(exist_ok=True)
        (folder / "Annotations" / f"{name}.xml").write_text(XML.format(name=name, objects=objects))
    return f"voc:{folder}"


def texts(folder: Path, ending: str) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.rglob(f"*{ending}")}


@pytest.mark.parametrize("make", [yolo, voc])
def test_boxes_are_read(tmp_path: Path, make: object) -> None:
    assert callable(make)
    source = opened(make(tmp_path), unit="object")
    stems = [Path(name.split("#")[0]).stem + name[name.index("#") :] for name in source.ids]
    assert stems == ["a#1", "a#2", "b#1", "c#1"]
    assert source.labels is not None and source.labels.tolist() == [0, 1, 1, 1]
    crops = [source.read(row) for row in range(4)]
    assert [getattr(crop, "shape", None) for crop in crops] == [
        (66, 55, 3),
        (24, 24, 3),
        (48, 48, 3),
        (48, 48, 3),
    ]
    images = opened(make(tmp_path))
    assert images.labels is not None and images.labels.tolist() == [0, 1, 1, -1]
    assert source.taken["objects"] == "in 3 images, 1 more have none"


@pytest.mark.parametrize("unit", ["image", "object"])
@pytest.mark.parametrize("make", [yolo, voc])
def test_annotations_are_written_as_they_were(tmp_path: Path, make: object, unit: str) -> None:
    assert callable(make)
    spec = make(tmp_path / "set")
    kind, ending = spec.partition(":")[0], ".txt" if make is yolo else ".xml"
    options, cut = tp.SourceOptions(unit=unit), tp.Cut(threshold=0.001)
    tp.run(spec, out=tmp_path / "run", options=options, cut=cut, embedder="pretrained")
    summary = tp.export(tmp_path / "run", kind, tmp_path / "out")
    assert summary.images == 3 and "3 of 4 annotations are of these images" in str(summary)
    then, now = texts(tmp_path / "set", ending), texts(tmp_path / "out", ending)
    gone = {f"{'c' if f'c{ending}' not in now else 'b'}{ending}"}
    assert now == {name: text for name, text in then.items() if name not in gone}
    back = opened(f"{kind}:{tmp_path / 'out'}{'/data.yaml' if make is yolo else ''}", unit="object")
    assert len(back) == 3 and "faults" not in back.taken


def test_lists_and_splits_of_voc(tmp_path: Path) -> None:
    spec = voc(tmp_path / "set")
    sets = tmp_path / "set" / "ImageSets" / "Main"
    sets.mkdir(parents=True)
    (sets / "train.txt").write_text("a\nb\nc\n")
    (sets / "val.txt").write_text("d\n")
    (sets / "cat_train.txt").write_text("a 1\nb -1\nc -1\n")
    assert opened(spec, split="val").ids == ("JPEGImages/d.png",)
    tp.run(spec, out=tmp_path / "run", cut=tp.Cut(threshold=0.001))
    tp.export(tmp_path / "run", "voc", tmp_path / "out")
    assert len(opened(f"voc:{tmp_path / 'out'}")) == 2


def test_lists_of_voc_with_an_underscore(tmp_path: Path) -> None:
    spec = voc(tmp_path)
    sets = tmp_path / "ImageSets" / "Main"
    sets.mkdir(parents=True)
    (sets / "train_small.txt").write_text("a\nb\n")
    (sets / "cat_train_small.txt").write_text("a  1\nb -1\n")
    assert opened(spec, split="train_small").ids == ("JPEGImages/a.png", "JPEGImages/b.png")
    assert opened(spec).splits == ("train_small",)


def test_an_image_that_yolo_lists_twice_is_taken_once_and_said(tmp_path: Path) -> None:
    spec = yolo(tmp_path, "[images/train, more.txt]")
    (tmp_path / "more.txt").write_text("./images/train/a.png\n./images/val/v.png\n")
    source = opened(spec)
    assert len(source) == 5 and source.skipped == {"images that are listed again": 1}
    assert describe_taken(account(source)).endswith("skipped: 1 image that is listed again")


def test_one_set_of_two_classes(tmp_path: Path) -> None:
    spec = yolo(tmp_path, b="0 .3 .4 .4 .4\n1 .3 .4 .4 .4\n", c="1 .3 .4 .4 .4\n0 .3 .4 .4 .4\n")
    said = describe_taken(account(opened(spec)))
    assert said.startswith("4 images, 1 class set from 2 classes (1 image without a label); split train; ")


def test_masks_of_voc_go_with_their_images(tmp_path: Path) -> None:
    spec = voc(tmp_path / "set")
    masks = [f"{kind}/{name}.png" for kind in ("SegmentationClass", "SegmentationObject") for name in "abd"]
    for number, mask in enumerate(masks):
        save(tmp_path / "set" / mask, noise(number))
    for sets, names in (("Main", "abc"), ("Segmentation", "abd")):
        (tmp_path / "set" / "ImageSets" / sets).mkdir(parents=True)
        (tmp_path / "set" / "ImageSets" / sets / "train.txt").write_text(
            "".join(f"{name}\n" for name in names)
        )
    tp.run(spec, out=tmp_path / "run", cut=tp.Cut(threshold=0.001), options=tp.SourceOptions(split="train"))
    summary = tp.export(tmp_path / "run", "voc", tmp_path / "out")
    stay = sorted(path.stem for path in (tmp_path / "out" / "Annotations").iterdir())
    there = {mask: (tmp_path / "set" / mask).read_bytes() for mask in masks if Path(mask).stem in stay}
    written = {mask for mask in masks if (tmp_path / "out" / mask).exists()}
    assert written == there.keys() and all(
        (tmp_path / "out" / mask).read_bytes() == there[mask] for mask in there
    )
    assert f"and {len(there)} masks" in str(summary)
    listed = (tmp_path / "out" / "ImageSets" / "Segmentation" / "train.txt").read_text().split()
    assert listed == [name for name in stay if name in "ab"]


def test_lists_of_yolo_are_written_without_what_went(tmp_path: Path) -> None:
    spec = yolo(tmp_path / "set", train="lists/train.txt")
    (tmp_path / "set" / "lists").mkdir()
    (tmp_path / "set" / "lists" / "train.txt").write_text(
        "".join(f"../images/train/{name}.png\n" for name in "abc")
    )
    with pytest.raises(SourceError, match="not a path within the folder of images"):
        opened(spec)
    (tmp_path / "set" / "train.txt").write_text("".join(f"./images/train/{name}.png\n" for name in "abc"))
    spec = yolo(tmp_path / "set", train="train.txt")
    tp.run(spec, out=tmp_path / "run", cut=tp.Cut(threshold=0.001))
    tp.export(tmp_path / "run", "yolo", tmp_path / "out")
    back = opened(f"yolo:{tmp_path / 'out' / 'data.yaml'}")
    assert len(back) == 2 and back.splits == ("train", "val")
    assert f"val: {tmp_path / 'set' / 'images' / 'val'}" in (tmp_path / "out" / "data.yaml").read_text()


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("2 .1 .1 .1 .1", "line 1 is '2 .1 .1 .1 .1'; give a class from 0 to 1"),
        ("0 .1 .1 .1", "line 1"),
        ("0 .1 .1 .1 .1 .1 .1 .1", "line 1"),
        ("0 x .1 .1 .1", "line 1"),
    ],
)
def test_wrong_lines_are_named(tmp_path: Path, line: str, said: str) -> None:
    with pytest.raises(SourceError) as refused:
        opened(yolo(tmp_path, a=line))
    assert said in str(refused.value)


def test_classes_may_have_any_numbers(tmp_path: Path) -> None:
    """As labelformat writes them, which takes the ids of COCO's categories."""
    spec = yolo(tmp_path, a="90 .5 .5 .2 .2", b="7 .5 .5 .2 .2", c="")
    (tmp_path / "data.yaml").write_text("train: images/train\nnames: {90: dog, 7: cat}\n")
    source = opened(spec, unit="object")
    assert (
        source.class_names == ("cat", "dog")
        and source.labels is not None
        and source.labels.tolist() == [1, 0]
    )


@pytest.mark.parametrize("path", ["/elsewhere", "../elsewhere"])
def test_a_folder_that_is_named_takes_the_place_of_the_one_in_the_file(tmp_path: Path, path: str) -> None:
    spec = yolo(tmp_path)
    content = (tmp_path / "data.yaml").read_text(encoding="utf-8")
    (tmp_path / "data.yaml").write_text(content.replace("path: .", f"path: {path}"), encoding="utf-8")
    with pytest.raises(SourceError, match="--images"):
        opened(spec)
    assert len(opened(spec, images=tmp_path)) == len(IMAGES)


def test_endless_boxes_are_cut_at_the_edges_of_their_images(tmp_path: Path) -> None:
    source = opened(yolo(tmp_path, a="0 .5 .5 inf 1e999\n"), unit="object")
    whole = source.read(0)
    assert isinstance(whole, np.ndarray) and whole.shape == (100, 100, 3)
    assert "1 box beyond an edge of its image, which cuts it" in source.taken["faults"]


def test_lists_may_hold_any_names(tmp_path: Path) -> None:
    spec = voc(tmp_path / "voc")
    for folder, ending in (("Annotations", ".xml"), ("JPEGImages", ".png")):
        (tmp_path / "voc" / folder / f"b{ending}").rename(tmp_path / "voc" / folder / f"b\x85 1 c{ending}")
    text = XML.format(name="b\x85 1 c", objects="")
    (tmp_path / "voc" / "Annotations" / "b\x85 1 c.xml").write_text(text, encoding="utf-8")
    names = tmp_path / "voc" / "ImageSets" / "Main" / "train.txt"
    names.parent.mkdir(parents=True)
    names.write_text("\ufeffa  1\r\nb\x85 1 c -1\r\n", encoding="utf-8")
    assert opened(spec).ids == ("JPEGImages/a.png", "JPEGImages/b\x85 1 c.png")
    names.write_bytes(b"\xe9\n")
    with pytest.raises(SourceError, match=r"train\.txt can't be read: 'utf-8' codec"):
        opened(spec)
    spec = yolo(tmp_path / "yolo", train="list.txt")
    (tmp_path / "yolo" / "list.txt").write_bytes(b"images/train/\xe9.png\n")
    with pytest.raises(SourceError, match=r"list\.txt can't be read: 'utf-8' codec"):
        opened(spec)


@pytest.mark.parametrize("width", ["nan", "inf", "1e30"])
def test_sizes_of_no_image_are_named(tmp_path: Path, width: str) -> None:
    spec = voc(tmp_path)
    path = tmp_path / "Annotations" / "a.xml"
    path.write_text(path.read_text().replace("<width>100", f"<width>{width}"))
    with pytest.raises(SourceError, match=rf"a\.xml has '{width}' as size/width; give a number of pixels"):
        opened(spec)


@pytest.mark.parametrize("place", ["../images", "/images", "images/test"])
def test_places_outside_the_folder_are_refused(tmp_path: Path, place: str) -> None:
    with pytest.raises(SourceError, match="--images"):
        opened(yolo(tmp_path, train=place))


def test_damaged_sets_are_one_line(tmp_path: Path) -> None:
    spec = voc(tmp_path / "voc")
    (tmp_path / "voc" / "Annotations" / "a.xml").write_text("<annotation>")
    with pytest.raises(SourceError, match=r"a\.xml can't be read: no element found"):
        opened(spec)
    (tmp_path / "voc" / "Annotations" / "a.xml").write_text(XML.format(name="../a", objects=""))
    with pytest.raises(SourceError, match="not a path within the folder of images"):
        opened(spec)
    spec = yolo(tmp_path / "yolo")
    with pytest.raises(SourceError, match="has no split 'test', only train, val"):
        opened(spec, split="test")
    with pytest.raises(UsageError, match=r"--images .* does not apply to voc: sources"):
        opened(f"voc:{tmp_path / 'voc'}", images=tmp_path)
    for text, said in (
        ("names: [a", "is not a data.yaml: while parsing"),
        ("names: 3", "it has no names"),
        ("names: {a: 1}", "give whole numbers"),
    ):
        (tmp_path / "yolo" / "data.yaml").write_text(text)
        with pytest.raises(SourceError, match=said):
            opened(spec)
