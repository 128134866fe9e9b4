"""Sets of images with boxes as sources: whole images, and objects."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO

import tenpercent as tp
from tenpercent.cli.main import main
from tenpercent.data.decoding.decode import decode
from tenpercent.data.sources.boxes import crops
from tenpercent.data.sources.boxes.crops import MARGIN
from tenpercent.data.sources.changes import RecordedImages, compare
from tenpercent.data.sources.opening import open_source
from tenpercent.data.sources.source import ImageSource, Unreadable
from tenpercent.data.store.run_folder import RunFolder
from tenpercent.errors import SourceError, UsageError

SIDE = 100  # of the images, in pixels


def noise(seed: int) -> Image.Image:
    """A picture like no other: a few random colours, far enlarged, so that JPEG keeps them."""
    values = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), np.uint8)
    return Image.fromarray(values).resize((SIDE, SIDE), Image.Resampling.BICUBIC)


def save(path: Path, image: Image.Image) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path)


def coco(folder: Path, **changes: Any) -> str:
    """Write three images, the last two with equal pixels, and one without a box; return the name of the source.

    Args:
        folder: for the set.
        changes: lists that take the place of those of the file.
    """
    for name, seed in (("a.png", 1), ("sub/b.png", 2), ("c.png", 2), ("empty.png", 3)):
        save(folder / "images" / name, noise(seed))
    names = ("a.png", "sub/b.png", "./c.png", "empty.png")
    images = [
        {"id": 10 * place, "file_name": name, "width": SIDE, "height": SIDE}
        for place, name in enumerate(names)
    ]
    boxes = [
        (1, 20, 7, [10, 20, 40, 40]),  # the order of the file is not that of the images
        (2, 0, 5, [0, 0, 50, 60]),
        (3, 10, 7, [10, 20, 40, 40]),
        (4, 0, 7, [50, 40, 50, 60]),
    ]
    annotations = [
        {
            "id": key,
            "image_id": image,
            "category_id": kind,
            "bbox": box,
            "iscrowd": 0,
            "area": 1.50,
            "own": [key],
        }
        for key, image, kind, box in boxes
    ]
    content = {
        "info": {"year": 2026},
        "categories": [{"id": 7, "name": "dog"}, {"id": 5, "name": "cat"}],
        "images": images,
        "annotations": annotations,
    }
    (folder / "boxes.json").write_text(json.dumps({**content, **changes}))
    return f"coco:{folder / 'boxes.json'}"


def opened(spec: str, **options: Any) -> ImageSource:
    found = open_source(spec, tp.SourceOptions(**options))
    assert isinstance(found, ImageSource)
    return found


def annotation(**changes: Any) -> dict[str, Any]:
    return {"id": 1, "image_id": 0, "category_id": 7, "bbox": [1, 2, 30, 40], **changes}


def test_images_are_labelled_by_the_sets_of_their_classes(tmp_path: Path) -> None:
    source = opened(coco(tmp_path))
    assert source.ids == ("a.png", "sub/b.png", "c.png", "empty.png")
    assert source.labels is not None and source.labels.tolist() == [1, 0, 0, -1]
    assert source.class_names == ("dog", "dog + cat")
    assert source.read(1) == (tmp_path / "images" / "sub" / "b.png").read_bytes()
    assert not source.has_classes


def test_objects_are_boxes_with_a_margin(tmp_path: Path) -> None:
    source = opened(coco(tmp_path), unit="object")
    assert source.ids == ("a.png#2", "a.png#4", "sub/b.png#3", "c.png#1")
    assert source.paths == ("a.png", "a.png", "sub/b.png", "c.png")
    assert source.labels is not None and [source.class_names[code] for code in source.labels] == [
        "cat",
        *["dog"] * 3,
    ]
    whole = np.asarray(noise(1))
    across, down = int(50 * MARGIN), int(60 * MARGIN)
    np.testing.assert_array_equal(source.read(0), whole[: 60 + down, : 50 + across])  # the image ends at 0
    np.testing.assert_array_equal(source.read(1), whole[40 - down :, 50 - across :])


def test_boxes_are_in_upright_pixels(tmp_path: Path) -> None:
    """A phone stores a portrait lying down; its annotations are of what a person sees."""
    spec = coco(
        tmp_path, images=[{"id": 0, "file_name": "t.jpg"}], annotations=[annotation(bbox=[0, 0, 10, 90])]
    )
    lying = Image.fromarray(np.asarray(noise(4))[:50])  # 100 wide, 50 high
    exif = Image.Exif()
    exif[274] = 6
    lying.save(tmp_path / "images" / "t.jpg", exif=exif, quality=100)
    crop = opened(spec, unit="object").read(0)
    assert isinstance(crop, np.ndarray) and crop.shape == (99, 11, 3)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"bbox": [5, 5, 0, 20]}, "the box has no area: 0 × 20 pixels"),
        ({"bbox": [5, 5, -3, 20]}, "the box has no area: -3 × 20 pixels"),
        (
            {"bbox": [100, 5, 10, 20]},
            "the box lies outside the image of 100 × 100 pixels: 100 to 110, 5 to 25",
        ),
        ({"iscrowd": 1}, "a region of several objects (crowd), not an object"),
        ({"image_id": 1}, "the image has 100 × 100 pixels, upright, and 99 × 50 in its annotations"),
    ],
)
def test_what_is_no_object_is_said(tmp_path: Path, change: dict[str, Any], reason: str) -> None:
    images = [{"id": 0, "file_name": "a.png"}, {"id": 1, "file_name": "c.png", "width": 99, "height": 50}]
    source = opened(coco(tmp_path, images=images, annotations=[annotation(**change)]), unit="object")
    with pytest.raises(Unreadable) as refused:
        source.read(0)
    assert str(refused.value) == reason


def test_faults_are_counted_and_named(tmp_path: Path) -> None:
    boxes = [[5, 5, 0, 20], [100, 5, 10, 20], [90, 5, 20, 20], [90, 5, 10.9, 20], [0, 0, 50, 50]]
    annotations = [annotation(id=place, bbox=box) for place, box in enumerate(boxes)]
    annotations += [annotation(id=9, iscrowd=1), {"id": 8, "image_id": 0, "category_id": 7}]
    images = [
        {"id": place, "file_name": name, "width": 100, "height": 100}
        for place, name in enumerate(["a.png", "x.png", "x" * 5000])
    ]
    source = opened(coco(tmp_path, images=images, annotations=annotations))
    assert source.taken["faults"] == (
        f"2 images missing (x.png, {'x' * 5000}); 1 box without an area (a.png#0); 1 box outside its image (a.png#1); "
        "1 box beyond an edge of its image, which cuts it (a.png#2); "
        "1 region of several objects (crowd), which is not an object (a.png#9)"
    )
    assert source.skipped == {"annotations without a box": 1}


@pytest.mark.parametrize(
    "name", ["../a.png", "x/../../a.png", "/a.png", "..\\a.png", "C:\\a.png", "\\a.png", "", "a\0.png"]
)
def test_paths_that_leave_the_folder_are_refused(tmp_path: Path, name: str) -> None:
    save(tmp_path / "a.png", noise(1))
    with pytest.raises(SourceError, match="not a path within the folder of images"):
        opened(coco(tmp_path, images=[{"id": 0, "file_name": name}], annotations=[]))


def test_links_out_of_the_folder_are_followed_if_asked(tmp_path: Path) -> None:
    save(tmp_path / "elsewhere.png", noise(9))
    spec = coco(tmp_path / "set", images=[{"id": 0, "file_name": "link.png"}], annotations=[annotation()])
    (tmp_path / "set" / "images" / "link.png").symlink_to(tmp_path / "elsewhere.png")
    for unit in ("image", "object"):
        with pytest.raises(Unreadable, match="a link that leads out"):
            opened(spec, unit=unit).read(0)
        opened(spec, unit=unit, follow_links=True).read(0)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda path: path.write_text(""), "is not a COCO file: cannot mmap an empty file"),
        (lambda path: path.write_text("[]"), "Expected `object`, got `array`"),
        (lambda path: path.write_text("{}"), "Object missing required field `images`"),
        (lambda path: path.write_text(path.read_text()[:-9]), "Input data was truncated"),
        (
            lambda path: coco(path.parent, annotations=[annotation(bbox=[1, 2, 3])]),
            "of length 4 - at `$.annotations[0].bbox`",
        ),
        (
            lambda path: coco(path.parent, annotations=[annotation(image_id=3)]),
            "annotations[0] is of image 3, which the file lacks",
        ),
        (
            lambda path: coco(path.parent, annotations=[annotation(category_id=3)]),
            "annotations[0] is of category 3, which",
        ),
        (lambda path: coco(path.parent, annotations=[annotation()] * 2), "has 2 annotations with the id 1"),
        (
            lambda path: coco(path.parent, images=[{"id": 1, "file_name": "a.png"}] * 2),
            "has two images with the id 1",
        ),
        (
            lambda path: coco(
                path.parent, images=[{"id": i, "file_name": "a.png"} for i in (0, 1)], annotations=[]
            ),
            "has two images with the file a.png",
        ),
        (
            lambda path: coco(path.parent, annotations=[annotation(id=2**63)]),
            "Expected `int` <= 9223372036854775807 - at `$.annotations[0].id`",
        ),
        (
            lambda path: coco(path.parent, images=[{"id": 0, "file_name": "a.png", "width": 1e30}]),
            "Expected `float` < 2147483648.0 - at `$.images[0].width`",
        ),
        (lambda path: coco(path.parent, images=[], annotations=[]), "names no images"),
        (
            lambda path: coco(path.parent, images=[{"id": 0, "file_name": "no.png"}], annotations=[]),
            "name their folder with --images",
        ),
        (lambda path: path.unlink(), "can't be read: No such file or directory; give the JSON file"),
    ],
)
def test_damaged_files_are_one_line(tmp_path: Path, damage: Callable[[Path], Any], said: str) -> None:
    spec = coco(tmp_path)
    damage(tmp_path / "boxes.json")
    with pytest.raises(SourceError) as refused:
        opened(spec)
    assert said in str(refused.value) and "\n" not in str(refused.value)


def test_options_are_checked(tmp_path: Path) -> None:
    spec = coco(tmp_path)
    with pytest.raises(
        UsageError, match="unit is 'objects'; it must be image or object; did you mean object"
    ):
        opened(spec, unit="objects")
    with pytest.raises(UsageError, match="--by x does not apply to coco: sources"):
        opened(spec, by="x")
    with pytest.raises(UsageError, match="would put objects of one image on both sides"):
        tp.embed(spec, out=tmp_path / "run", holdout=0.5, options=tp.SourceOptions(unit="object"))
    with pytest.raises(SourceError, match="has no boxes; leave out --unit object"):
        opened(coco(tmp_path, annotations=[]), unit="object")


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A set, and runs of its images and of its objects, where c.png shows what sub/b.png does."""
    folder = tmp_path_factory.mktemp("boxes")
    spec = coco(folder)
    for unit in ("image", "object"):
        options = ["--out", str(folder / unit), "--unit", unit, "--threshold", "0.001"]
        assert main(["run", spec, *options]) == 0
    return folder


def test_images_are_clustered_together_or_by_sets(runs: Path, tmp_path: Path) -> None:
    selection = tp.Selection.load(runs / "image")
    assert selection.removed.tolist() == ["sub/b.png"]
    assert selection.settings["within"] == "all"
    spec = coco(tmp_path)
    for within in (None, "class"):
        tp.run(spec, out=tmp_path / "run", cut=tp.Cut(threshold=0.001, within=within))
        assert tp.Selection.load(tmp_path / "run").settings["within"] == (within or "all")


def test_an_image_is_redundant_where_all_of_its_objects_are(
    runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert tp.Selection.load(runs / "object").removed.tolist() == ["sub/b.png#3"]
    assert main(["select", str(runs / "object"), "--threshold", "0.001"]) == 0
    out = capsys.readouterr().out
    assert "removed 1 of 4 objects (25.0%), kept 3." in out
    assert "Of 3 images with objects, 1 (33.3%) keep none of them and is redundant; 2 stay." in out


@pytest.mark.parametrize("unit", ["image", "object"])
def test_coco_is_written_as_it_was(runs: Path, tmp_path: Path, unit: str) -> None:
    summary = tp.export(runs / unit, "coco", tmp_path / "out")
    assert summary.images == 3 and "3 of 4 annotations are of these images" in str(summary)
    then, now = (
        json.loads((folder / name).read_text())
        for folder, name in ((runs, "boxes.json"), (tmp_path / "out", "annotations.json"))
    )
    assert now["images"] == [one for one in then["images"] if one["id"] != 10]
    assert now["annotations"] == [one for one in then["annotations"] if one["image_id"] != 10]
    assert {key: now[key] for key in ("info", "categories")} == {
        key: then[key] for key in ("info", "categories")
    }
    back = opened(f"coco:{tmp_path / 'out' / 'annotations.json'}")
    assert back.ids == ("a.png", "c.png", "empty.png") and "faults" not in back.taken
    assert back.read(1) == (runs / "images" / "c.png").read_bytes()
    peer = COCO(tmp_path / "out" / "annotations.json")
    assert [one["file_name"] for one in peer.loadImgs(peer.getImgIds())] == ["a.png", "./c.png", "empty.png"]
    assert [one["id"] for one in peer.loadAnns(peer.getAnnIds(imgIds=[0]))] == [2, 4]


def test_a_source_without_boxes_has_none_to_write(runs: Path, tmp_path: Path) -> None:
    tp.run(runs / "images", out=tmp_path / "run")
    with pytest.raises(UsageError, match="has none; choose --format folder or hf"):
        tp.export(tmp_path / "run", "coco", tmp_path / "out")


def test_crops_are_written_as_images_of_their_own(runs: Path, tmp_path: Path) -> None:
    tp.export(runs / "object", "folder", tmp_path / "out")
    crop = opened(f"coco:{runs / 'boxes.json'}", unit="object").read(1)
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "out" / "dog" / "a.png#4.png")), crop)


def test_changed_boxes_bring_a_run_up_to_date(tmp_path: Path) -> None:
    spec = coco(tmp_path)
    options = tp.SourceOptions(unit="object")
    tp.run(spec, out=tmp_path / "run", options=options, keep=1.0)
    moved = json.loads((tmp_path / "boxes.json").read_text())["annotations"]
    moved[1]["bbox"] = [0, 0, 90, 90]
    coco(tmp_path, annotations=[*moved[:2], *moved[3:], annotation(id=11)])
    selection = tp.run(spec, out=tmp_path / "run", keep=1.0)
    assert selection.ids.tolist() == ["a.png#11", "a.png#2", "a.png#4", "c.png#1"]
    fresh = tp.run(spec, out=tmp_path / "fresh", options=options, keep=1.0)
    kept, new = (tp.Embeddings.load(tmp_path / name / "embeddings") for name in ("run", "fresh"))
    np.testing.assert_array_equal(kept.vectors, new.vectors)
    assert fresh.ids.tolist() == selection.ids.tolist()


def test_a_replaced_image_is_decoded_again(tmp_path: Path) -> None:
    """A server of the review page lives on while files change."""
    source = opened(coco(tmp_path), unit="object")
    before = source.read(0)
    noise(8).save(tmp_path / "images" / "a.png")
    os.utime(tmp_path / "images" / "a.png", (1, 1))
    assert isinstance(before, np.ndarray) and not np.array_equal(source.read(0), before)


def test_each_image_is_decoded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    monkeypatch.setattr(crops, "decode", lambda raw, how: calls.append(raw) or decode(raw, how))
    source = opened(coco(tmp_path), unit="object")
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(source.read, [0, 1] * 8))
    assert len(calls) == 1


def test_an_image_that_could_not_be_read_for_a_moment_is_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = opened(coco(tmp_path), unit="object")
    with monkeypatch.context() as full, pytest.raises(OSError, match="too many open files"):
        full.setattr(Path, "read_bytes", lambda _: (_ for _ in ()).throw(OSError("too many open files")))
        source.read(0)
    assert isinstance(source.read(0), np.ndarray)


def test_a_moved_box_is_another_object_in_the_same_file(tmp_path: Path) -> None:
    spec = coco(tmp_path)
    tp.run(spec, out=tmp_path / "run", options=tp.SourceOptions(unit="object"), keep=1.0)
    for image in (tmp_path / "images").rglob("*.png"):
        os.utime(image, (1, 1))  # long before the run
    content = json.loads((tmp_path / "boxes.json").read_text())
    content["annotations"][1]["bbox"] = [0, 0, 90, 90]
    (tmp_path / "boxes.json").write_text(json.dumps(content))
    known = RecordedImages.of(RunFolder.open(tmp_path / "run"))
    assert known is not None
    assert compare(known, opened(spec, unit="object")).replaced == ("a.png#2",)
