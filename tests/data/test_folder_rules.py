"""How folders are read: splits, classes, links, and what is skipped. Layouts of real sets and of bug reports."""

from __future__ import annotations

import os
import unicodedata
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from test_sources import labels, opened, png, put, table, write

from selections import selection_of
from tenpercent.cli.main import main
from tenpercent.data.decoding.decode import Unreadable, decode
from tenpercent.data.sources.classes import caseless, refuse_case_twins
from tenpercent.data.sources.opening import open_source, open_split
from tenpercent.data.sources.options import SourceOptions
from tenpercent.data.sources.source import ImageSource
from tenpercent.data.sources.splits import split_of_file, split_of_folder, splits_of_folders
from tenpercent.data.store.embeddings import Embeddings
from tenpercent.data.store.run_folder import RunFolder
from tenpercent.errors import SourceError, UsageError
from tenpercent.evaluation.evaluation_set import given_set
from tenpercent.exporting import ExportFormat, export
from tenpercent.leakage.sets import open_test, open_train
from tenpercent.reviewing.pictures import MissingImageError, OriginalImages, open_originals

OUT = "links that lead out of the folder (--follow-links follows them)"


def classes(source: ImageSource) -> dict[str, str | None]:
    """Return the class of each id."""
    if source.labels is None:
        return dict.fromkeys(source.ids)
    names = (*source.class_names, None)
    return {name: names[label] for name, label in zip(source.ids, labels(source), strict=True)}


def other(root: Path, split: str) -> ImageSource:
    found = open_split(root, SourceOptions(), split)
    assert isinstance(found, ImageSource)
    return found


# ---- which folders are splits --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("train", "train"),
        ("Training", "train"),
        ("TRAIN", "train"),
        ("train2017", "train"),
        ("train_images", "train"),
        ("CLASS_TRAINING", "train"),
        ("TrainSet", "train"),
        ("trainset", "train"),
        ("trainval", "train"),
        ("train-val", "train"),
        ("Valid", "validation"),
        ("val_images", "validation"),
        ("dev", "validation"),
        ("test1", "test"),
        ("Testing", "test"),
        ("testdata", "test"),
        ("evaluation", "test"),
        ("Trainspotting", None),
        ("train_station", None),
        ("bullet train", None),
        ("trains", None),
        ("trainers", None),
        ("test_tube", None),
        ("valley", None),
        ("device", None),
        ("validation_of_tickets", None),
        ("val_test", None),
        ("images", None),
        ("2017", None),
    ],
)
def test_split_of_a_folder_name(name: str, split: str | None) -> None:
    assert split_of_folder(name) == split


def test_names_that_differ_by_their_split_alone() -> None:
    assert splits_of_folders({"dogs_train", "dogs_test"}) == {"dogs_train": "train", "dogs_test": "test"}
    assert splits_of_folders({"seg_train", "seg_test", "seg_pred"}).keys() == {"seg_train", "seg_test"}
    assert splits_of_folders({"train_station", "test_tube"}) == {}
    assert splits_of_folders({"crash_test", "crash_val"}) == {}


@pytest.mark.parametrize(
    ("train", "test"),
    [
        ("Training", "Testing"),
        ("Train", "Test"),
        ("TRAIN", "TEST"),
        ("train", "valid"),
        ("train2017", "val2017"),
        ("train_images", "test_images"),
        ("trainset", "testset"),
        ("cifar10-train", "cifar10-test"),
        ("Final_Training", "Final_Test"),
    ],
)
@pytest.mark.parametrize("wrapper", ["", "photos/", "dataset/images/", "training_data/"])
def test_splits_by_any_of_their_words(tmp_path: Path, train: str, test: str, wrapper: str) -> None:
    # like fastai/fastai#1552, nhsx/covid-chest-imaging-database#21
    put(tmp_path, *(f"{wrapper}{part}/{name}/1.png" for part in (train, test) for name in ("cat", "dog")))
    source = opened(tmp_path)
    assert (source.split, source.splits) == (train, (train, test))
    assert classes(source) == {f"{wrapper}{train}/{name}/1.png": name for name in ("cat", "dog")}
    asked = "val" if "val" in test else "test"
    assert other(tmp_path, asked).ids == tuple(f"{wrapper}{test}/{name}/1.png" for name in ("cat", "dog"))
    assert labels(other(tmp_path, asked)) == [0, 1]


def test_a_split_is_asked_for_in_any_of_its_words(tmp_path: Path) -> None:
    # like huggingface/datasets#4895
    put(tmp_path, "Train/a/1.png", "Valid/a/2.png")
    for asked in ("validation", "val", "Valid", "VALID", "dev"):
        assert opened(tmp_path, split=asked).ids == ("Valid/a/2.png",)
    with pytest.raises(SourceError, match=r"no split 'test', only Train, Valid; choose"):
        opened(tmp_path, split="test")


def test_train_and_test_alone_are_no_classes(tmp_path: Path) -> None:
    # like huggingface/datasets#7880
    source = opened(put(tmp_path, "Train/1.png", "Train/2.png", "Test/3.png"))
    assert source.labels is None and source.ids == ("Train/1.png", "Train/2.png")


def test_a_flat_test_folder_beside_class_folders(tmp_path: Path) -> None:
    put(tmp_path, "train/cat/1.png", "train/dog/2.png", "test/3.png")
    assert opened(tmp_path).class_names == ("cat", "dog")
    assert other(tmp_path, "test").labels is None


def test_train_beside_folders_that_are_no_splits_is_asked_about(tmp_path: Path) -> None:
    put(tmp_path, "photos/Train/1.png", "photos/car/2.png", "photos/bus/3.png")
    with pytest.raises(
        SourceError, match=r"beside bus: .*--split Train, or --split none to take them as classes(\n|$)"
    ) as caught:
        opened(tmp_path)
    assert "\n" not in str(caught.value)
    source = opened(tmp_path, split="train")
    assert source.ids == ("photos/Train/1.png",) and source.skipped == {"images outside the splits": 2}
    source = opened(tmp_path, split="none")
    assert source.class_names == ("Train", "bus", "car") and source.split == "" and source.splits == ()
    assert open_split(tmp_path, SourceOptions(split="none"), "test") is None


def test_classes_whose_names_hold_a_word_of_a_split(tmp_path: Path) -> None:
    # Places365 has train_station, COCO a train; like huggingface/datasets#5021
    put(tmp_path / "a", "train_station/1.png", "test_tube/2.png", "Trainspotting/3.png", "validation/4.png")
    assert opened(tmp_path / "a").class_names == ("Trainspotting", "test_tube", "train_station", "validation")
    put(tmp_path / "b", "test/1.png", "other/2.png")
    assert opened(tmp_path / "b").class_names == ("other", "test")
    put(tmp_path / "c", "vehicle/train/1.png", "vehicle/car/2.png", "exam/test/3.png")
    assert opened(tmp_path / "c").class_names == ("exam/test", "vehicle/car", "vehicle/train")


def test_splits_without_one_to_train_on_are_asked_about(tmp_path: Path) -> None:
    root = put(tmp_path / "all", "Val/a/1.png", "Test/a/2.png")
    with pytest.raises(
        SourceError, match=r"the splits Val, Test and none to train on; choose .*--split none"
    ):
        opened(root)
    assert opened(root, split="test").ids == ("Test/a/2.png",)
    assert len(opened(root, split="none")) == 2
    train = put(tmp_path / "other", "train/a/3.png")
    assert given_set(str(root), SourceOptions(), opened(train)).source.ids == ("Test/a/2.png",)
    asked = open_test(root, SourceOptions(), open_train(train, SourceOptions()))
    assert isinstance(asked.content, ImageSource) and asked.content.ids == ("Test/a/2.png",)


def test_two_folders_for_one_split_are_asked_about(tmp_path: Path) -> None:
    put(tmp_path, "train2014/1.png", "train2017/2.png", "val2017/3.png")
    with pytest.raises(SourceError, match=r"2 folders for the split train: train2014, train2017; choose"):
        opened(tmp_path)
    assert opened(tmp_path, split="train2017").ids == ("train2017/2.png",)


def test_the_name_itself_goes_before_its_like(tmp_path: Path) -> None:
    put(tmp_path, "train/a/1.png", "val/a/2.png", "validation/a/3.png")
    assert opened(tmp_path, split="val").ids == ("val/a/2.png",)
    assert opened(tmp_path, split="Validation").ids == ("validation/a/3.png",)
    with pytest.raises(SourceError, match="only train, val, validation"):
        opened(tmp_path, split="dev")


def test_splits_within_class_folders(tmp_path: Path) -> None:
    put(tmp_path, "cat/train/1.png", "cat/test/2.png", "dog/train/3.png", "dog/test/4.png", "x.png")
    source = opened(tmp_path)
    assert (source.split, source.splits) == ("train", ("train", "test"))
    assert classes(source) == {"cat/train/1.png": "cat", "dog/train/3.png": "dog"}
    assert source.skipped == {"images outside the splits": 1}
    assert "within the class folders" in source.taken["splits"]
    assert classes(other(tmp_path, "test")) == {"cat/test/2.png": "cat", "dog/test/4.png": "dog"}


def test_splits_within_class_folders_with_levels_around(tmp_path: Path) -> None:
    # MVTec AD: train has good only, test has defects
    root = put(tmp_path / "a", "mvtec/bottle/train/good/1.png", "mvtec/bottle/test/broken/2.png")
    put(root, "mvtec/cable/train/good/3.png", "mvtec/cable/test/bent/4.png")
    assert opened(root).class_names == ("bottle", "cable")
    # ADE20K
    put(tmp_path / "b", "images/training/1.png", "images/validation/2.png", "masks/training/3.png")
    assert opened(tmp_path / "b").class_names == ("images", "masks")


def test_splits_within_some_class_folders_only_are_asked_about(tmp_path: Path) -> None:
    put(tmp_path, "cat/train/1.png", "cat/test/2.png", "dog/3.png")
    with pytest.raises(
        SourceError, match=r"\(cat/train and cat/test\) but dog lies in none.*give .*/cat"
    ) as caught:
        opened(tmp_path)
    assert "\n" not in str(caught.value)
    assert opened(tmp_path, split="none").class_names == ("cat/test", "cat/train", "dog")
    source = opened(tmp_path, split="train")
    assert source.ids == ("cat/train/1.png",) and source.skipped == {"images outside the splits": 1}


# ---- which levels are classes --------------------------------------------------------------------------------------


def test_a_level_that_all_classes_share_is_no_part_of_their_names(tmp_path: Path) -> None:
    # Tiny ImageNet: the boxes and the labels of val and test lie in files
    put(tmp_path, "train/n01/images/1.png", "train/n02/images/2.png", "val/images/3.png", "test/images/4.png")
    source = opened(tmp_path)
    assert classes(source) == {"train/n01/images/1.png": "n01", "train/n02/images/2.png": "n02"}
    assert "images" in source.taken["labels"]
    assert other(tmp_path, "val").labels is None and other(tmp_path, "test").labels is None


@pytest.mark.parametrize(
    ("files", "names"),
    [
        (("dataset/cat/1.png", "dataset/dog/2.png"), ("cat", "dog")),
        (("a/b/cat/1.png", "a/b/dog/2.png"), ("cat", "dog")),
        (("cat/img/1.png", "dog/img/2.png"), ("cat", "dog")),
        (("x/cat/img/1.png", "x/dog/img/2.png"), ("cat", "dog")),
        (("cat/img/tabby/1.png", "dog/img/beagle/2.png"), ("cat/tabby", "dog/beagle")),
        (("cat/img/1.png", "dog/big/img/2.png"), ("cat", "dog/big")),
        (
            ("animals/cat/1.png", "animals/dog/2.png", "cars/audi/3.png"),
            ("animals/cat", "animals/dog", "cars/audi"),
        ),
        (("cat/images/1.png", "dog/images/2.png", "dog/3.png"), ("cat/images", "dog", "dog/images")),
        (
            ("cat/images/1.png", "cat/more/2.png", "dog/images/3.png"),
            ("cat/images", "cat/more", "dog/images"),
        ),
        (("set/1.png", "set/cat/2.png"), ("set", "set/cat")),
        (("a/1.png",), ("a",)),
        (("a-b/x/1.png", "a/x/2.png"), ("a", "a-b")),
        (("cat/images/1.png",), ("cat",)),
        (("images/1.png",), ()),
    ],
)
def test_which_levels_stay(tmp_path: Path, files: tuple[str, ...], names: tuple[str, ...]) -> None:
    source = opened(put(tmp_path, *files))
    assert source.class_names == names
    assert set(source.ids) == set(files), "ids stay the whole path"
    if names:
        assert labels(source) == sorted(labels(source)), "rows go by class"


def test_yolo_folders_have_no_classes(tmp_path: Path) -> None:
    put(tmp_path, *(f"{part}/images/{part}.png" for part in ("train", "valid", "test")))
    for part in ("train", "valid", "test"):
        (tmp_path / part / "labels").mkdir()
        (tmp_path / part / "labels" / f"{part}.txt").write_text("0 .5 .5 1 1")
        assert opened(tmp_path, split=part).labels is None
    assert opened(tmp_path).ids == ("train/images/train.png",)


def test_coco_folders_have_no_classes(tmp_path: Path) -> None:
    put(tmp_path, "images/train2017/1.png", "images/val2017/2.png")
    source = opened(tmp_path)
    assert source.ids == ("images/train2017/1.png",) and source.labels is None


def test_a_split_named_again_below_itself(tmp_path: Path) -> None:
    # archives that hold a folder of their own name
    put(tmp_path, *(f"seg_{part}/seg_{part}/{name}/1.png" for part in ("train", "test") for name in "ab"))
    put(tmp_path, "seg_pred/seg_pred/1.png")
    assert opened(tmp_path).class_names == ("a", "b")
    assert opened(tmp_path).skipped == {"images outside the splits": 1}
    assert labels(other(tmp_path, "test")) == [0, 1] and other(tmp_path, "test").class_names == ("a", "b")


def test_a_test_split_of_fewer_classes_keeps_the_names_of_the_training_split(tmp_path: Path) -> None:
    put(tmp_path, "train/animals/cat/1.png", "train/animals/dog/2.png", "train/cars/audi/3.png")
    put(tmp_path, "test/animals/cat/4.png", "test/animals/dog/5.png")
    assert labels(other(tmp_path, "test")) == [0, 1]


# ---- by the rules of 0.1 -------------------------------------------------------------------------------------------


def test_rules_1_read_folders_as_they_did(tmp_path: Path) -> None:
    root = put(
        tmp_path / "a", "Training/cat/images/1.png", "Training/@eaDir/2.png", "Testing/cat/images/3.png"
    )
    source = opened(root, rules=1)
    assert classes(source) == {
        "Testing/cat/images/3.png": "Testing/cat/images",
        "Training/@eaDir/2.png": "Training/@eaDir",
        "Training/cat/images/1.png": "Training/cat/images",
    }
    assert source.split == "" and source.splits == ()
    root = put(tmp_path / "b", "train/a/1.png", "val/a/2.png", "Test/a/3.png", "x.png")
    source = opened(root, rules=1)
    assert (source.split, source.splits) == ("train", ("train", "val"))
    assert classes(source) == {"train/a/1.png": "a"} and source.skipped == {"images outside the splits": 2}
    root = put(tmp_path / "c", "train/1.png", "Car/2.png")
    with pytest.raises(SourceError, match=r"beside Car.*--split train"):
        opened(root, rules=1)
    root = put(tmp_path / "d", "test/1.png", "other/2.png")
    assert opened(root, rules=1, split="test").ids == ("test/1.png",)
    root = put(tmp_path / "e", *(f"{unicodedata.normalize(form, 'é')}/1.png" for form in ("NFC", "NFD")))
    assert len(opened(root, rules=1).class_names) == 2


def test_rules_1_of_parquet_shards() -> None:
    assert split_of_file("Train-00000-of-00001.parquet") == "train"
    assert split_of_file("TEST-00000-of-00001.parquet") == "test"
    assert split_of_file("Extra-00000-of-00001.parquet") == "Extra"
    assert split_of_file("Train-00000-of-00001.parquet", rules=1) == "Train"


# ---- names that differ by case -------------------------------------------------------------------------------------


def test_names_that_differ_by_more_than_case(tmp_path: Path) -> None:
    names = ("Masse", "Maße", "kir", "kır", "fi", "ﬁ")
    assert opened(put(tmp_path, *(f"{name}/1.png" for name in names))).class_names == tuple(sorted(names))


@pytest.mark.parametrize("pair", [("Cat", "cat"), ("STRAẞE", "straße"), ("ÉTÉ", "été"), ("ΣΑΣ", "σας")])
def test_names_that_differ_by_case_only(tmp_path: Path, pair: tuple[str, str]) -> None:
    put(tmp_path, *(f"{name}/1.png" for name in pair))
    with pytest.raises(SourceError, match=r"differ by case only; rename one of the two folders") as caught:
        opened(tmp_path)
    assert "\n" not in str(caught.value)


def test_names_that_differ_by_their_unicode_form_only(tmp_path: Path) -> None:
    put(tmp_path, *(f"{unicodedata.normalize(form, 'Café')}/1.png" for form in ("NFC", "NFD")))
    with pytest.raises(SourceError, match=r"'Cafe\\u0301' and 'Caf\\xe9', which differ by the Unicode form"):
        opened(tmp_path)
    assert caseless(unicodedata.normalize("NFD", "CAFÉ")) == caseless("café") != caseless("cafe")


def test_the_remedy_is_the_callers() -> None:
    with pytest.raises(SourceError, match=r"x has classes 'A' and 'a', which differ by case only; do this$"):
        refuse_case_twins(["A", "a"], "x", "do this")


# ---- what is skipped ------------------------------------------------------------------------------------------------


def test_folders_that_systems_leave(tmp_path: Path) -> None:
    # like pytorch/vision#2831
    put(tmp_path, "a/1.png", "a/@eaDir/1.png/SYNOPHOTO_THUMB_M.jpg", "@eaDir/x.png", "__MACOSX/a/1.png")
    put(
        tmp_path,
        "b/2.png",
        "b/.thumbnails/2.png",
        ".ipynb_checkpoints/1.png",
        "$RECYCLE.BIN/3.png",
        "b/._2.png",
    )
    (tmp_path / "a" / "Thumbs.db").write_bytes(b"x")
    (tmp_path / "a" / "desktop.ini").write_bytes(b"x")
    source = opened(tmp_path)
    assert classes(source) == {"a/1.png": "a", "b/2.png": "b"}
    assert source.skipped == {
        "@eaDir folders": 2,
        "__MACOSX folders": 1,
        "$RECYCLE.BIN folders": 1,
        "hidden folders": 2,
        "hidden files": 1,
        "files that are not images": 2,
    }


def test_images_that_can_not_be_read_here_are_named_by_ending(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # like photoprism/photoprism#3705
    put(tmp_path, "1.jpg")
    for name in ("a.heic", "b.HEIC", "c.cr2", "d.svg", "e.dcm", "f.zip", "g.mp4", "h", "i.txt"):
        (tmp_path / name).write_bytes(b"x")
    assert opened(tmp_path).skipped == {
        ".heic images that can't be read here": 2,
        ".cr2 images that can't be read here": 1,
        ".svg images that can't be read here": 1,
        ".dcm images that can't be read here": 1,
        ".zip archives": 1,
        ".mp4 videos": 1,
        "files without an extension": 1,
        "files that are not images": 1,
    }
    put(tmp_path, "2.avif")
    assert ".avif images that can't be read here" not in opened(tmp_path).skipped
    monkeypatch.setattr("tenpercent.data.sources.listing.extensions", lambda: frozenset({".jpg"}))
    assert opened(tmp_path).skipped[".avif images that can't be read here"] == 1


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (("1.heic", "2.heic"), r"2 \.heic images that can't be read here; convert the images to JPEG or PNG"),
        (
            ("1.nef", "1.xmp", "2.xmp"),
            r"2 files that are not images, 1 \.nef image that .*; convert the images to JPEG",
        ),
        (("set.rar",), r"1 \.rar archive; unpack the archives"),
        (("0001", "0002"), r"2 files without an extension; add the extension"),
        (("x.txt",), r"1 file that is not an image; give a folder that holds image files"),
        (("images.dvc",), r"1 file in DVC that is not here; fetch the files with dvc pull"),
    ],
)
def test_where_nothing_can_be_read_the_remedy_fits(tmp_path: Path, names: tuple[str, ...], said: str) -> None:
    for name in names:
        (tmp_path / name).write_bytes(b"x")
    with pytest.raises(SourceError, match=f"holds no images; skipped: {said}"):
        opened(tmp_path)


# ---- links ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A folder `links` whose images lie in a store beside it, as git-annex and DVC have them."""
    annex = tmp_path / ".git" / "annex" / "objects" / "x9"
    put(annex, "one.png", "two.png")
    for number, name in enumerate(("cat", "dog")):
        (tmp_path / "links" / name).mkdir(parents=True)
        content = annex / ("one.png", "two.png")[number]
        (tmp_path / "links" / name / "1.png").symlink_to(os.path.relpath(content, tmp_path / "links" / name))
    return tmp_path


def test_links_to_a_store_beside_are_followed_when_asked(store: Path) -> None:
    # like huggingface/datasets#6853, pixelb/fslint#163, qarmin/czkawka#681
    with pytest.raises(SourceError, match=r"2 links that lead out .*; follow the links with --follow-links"):
        opened(store / "links")
    source = opened(store / "links", follow_links=True)
    assert classes(source) == {"cat/1.png": "cat", "dog/1.png": "dog"}
    assert [source.read(row) for row in range(2)] == [png(0), png(1)]
    assert source.taken["links"] == "2 links that lead out of the folder followed"


def test_links_to_content_that_is_not_here(store: Path) -> None:
    # like datalad/datalad#3513
    (store / ".git" / "annex" / "objects" / "x9" / "two.png").unlink()
    (store / "links" / "dog" / "2.png").symlink_to("/nowhere/.dvc/cache/files/md5/ab/cdef")
    (store / "links" / "dog" / "3.png").symlink_to("nowhere")
    assert opened(store / "links", follow_links=True).skipped == {
        "links to git-annex content that is not here (git annex get fetches it)": 1,
        "links to DVC content that is not here (dvc pull fetches it)": 1,
        "broken links": 1,
    }
    (store / ".git" / "annex" / "objects" / "x9" / "one.png").unlink()
    with pytest.raises(SourceError, match=r"fetch the content with git annex get$"):
        opened(store / "links", follow_links=True)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n", "git lfs pull"),
        (b"/annex/objects/SHA256E-s12345--4d7a.jpg\n", "git annex get"),
        (b"no image", "not an image that Pillow can read"),
    ],
)
def test_a_file_that_stands_for_one_that_was_not_fetched(content: bytes, said: str) -> None:
    with pytest.raises(Unreadable, match=said):
        decode(content)


def test_a_dvc_pointer_beside_its_file_is_no_loss(tmp_path: Path) -> None:
    put(tmp_path, "a/1.png")
    for name in ("a.dvc", "a/1.png.dvc", "b.dvc"):
        (tmp_path / name).write_text("outs:")
    assert opened(tmp_path).skipped == {
        "files that are not images": 2,
        "files in DVC that are not here (dvc pull fetches them)": 1,
    }


def test_followed_folders_never_go_in_circles(tmp_path: Path) -> None:
    # like duplicati/duplicati#633
    put(tmp_path, "root/a/1.png", "beside/2.png", "beside/deep/3.png")
    (tmp_path / "root" / "out").symlink_to(tmp_path / "beside")
    (tmp_path / "root" / "up").symlink_to(tmp_path)
    (tmp_path / "beside" / "back").symlink_to(tmp_path / "root")
    (tmp_path / "beside" / "self").symlink_to(tmp_path / "beside")
    source = opened(tmp_path / "root", follow_links=True)
    assert source.ids == (
        "a/1.png",
        "out/2.png",
        "out/deep/3.png",
        "up/beside/2.png",
        "up/beside/deep/3.png",
    )
    assert source.skipped == {"links in a circle": 5}
    assert opened(tmp_path / "root").skipped == {OUT: 2}


def test_a_folder_that_is_a_link_to_a_store(tmp_path: Path) -> None:
    # like huggingface/pytorch-image-models#334
    put(tmp_path, "store/cat/1.png", "store/dog/2.png")
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "train").symlink_to(tmp_path / "store")
    source = opened(tmp_path / "set", follow_links=True)
    assert source.split == "train" and source.class_names == ("cat", "dog")


def test_rules_1_list_no_differently(tmp_path: Path) -> None:
    put(tmp_path, "a/1.png", "p/q/2.png")
    (tmp_path / "a" / "l").symlink_to("../p/q")
    (tmp_path / "p" / "q" / "m").symlink_to("..")
    assert "a/l/m/q/2.png" in opened(tmp_path, rules=1).ids
    assert "a/l/m/q/2.png" not in opened(tmp_path).ids


def test_a_source_of_links_is_a_source_again(store: Path) -> None:
    source = opened(store / "links", follow_links=True)
    stored = SourceOptions.from_json(SourceOptions(follow_links=True).as_json())
    again = open_source(source.spec, stored)
    assert isinstance(again, ImageSource) and again.fingerprint == source.fingerprint


# ---- image files beside Parquet files ------------------------------------------------------------------------------


def both(root: Path) -> Path:
    """A repository with Parquet files and a picture for its page."""
    for part in ("train", "test"):
        write(root / "data" / f"{part}-00000-of-00001.parquet", table(3, image="photo"))
    return put(root, "assets/logo.png")


def test_parquet_files_beside_a_picture_are_asked_about(tmp_path: Path) -> None:
    both(tmp_path)
    with pytest.raises(
        SourceError,
        match=r"1 image file and 2 Parquet files with images; give --image-column none for the image files, "
        r"--image-column photo for the Parquet files, or .*/data as the source(\n|$)",
    ):
        opened(tmp_path)
    source = opened(tmp_path, image_column="photo")
    assert (len(source), source.split) == (3, "train")
    assert source.skipped == {"image files": 1}
    assert opened(tmp_path, rules=1).ids == ("assets/logo.png",)
    pictures = opened(tmp_path, image_column="none")
    assert pictures.ids == ("assets/logo.png",) and pictures.skipped == {"Parquet files": 2}
    assert len(opened(tmp_path / "data")) == 3


def test_one_parquet_file_among_pictures_is_named(tmp_path: Path) -> None:
    write(tmp_path / "all.parquet", table(3))
    put(tmp_path, "1.png", "2.png")
    with pytest.raises(
        SourceError, match=r"2 image files and 1 Parquet file .*, or .*/all\.parquet as the source(\n|$)"
    ):
        opened(tmp_path)
    assert len(opened(tmp_path / "all.parquet")) == 3


def test_parquet_files_without_images_do_not_stand_for_the_pictures(tmp_path: Path) -> None:
    # captions as `datasets` has them beside images, and files that no one can read
    write(
        tmp_path / "metadata.parquet",
        table(2).drop_columns(["img"]).append_column("file_name", pa.array(["1.png", "2.png"])),
    )
    (tmp_path / "broken.parquet").write_bytes(b"PAR1")
    put(tmp_path, "1.png", "2.png")
    source = opened(tmp_path)
    assert source.ids == ("1.png", "2.png") and source.skipped == {"Parquet files": 2}


def test_parquet_files_in_a_store_beside(tmp_path: Path) -> None:
    # as the cache of the hub has them
    write(tmp_path / "blobs" / "0a1b", table(3))
    (tmp_path / "snapshot").mkdir()
    (tmp_path / "snapshot" / "train.parquet").symlink_to("../blobs/0a1b")
    (tmp_path / "snapshot" / "README.md").write_text("x")
    with pytest.raises(SourceError, match=r"--follow-links(\n|$)"):
        opened(tmp_path / "snapshot")
    source = opened(tmp_path / "snapshot", follow_links=True)
    assert len(source) == 3 and source.skipped == {"files that are not images": 1}


# ---- where sources are used ----------------------------------------------------------------------------------------


def test_the_test_split_is_found_by_another_word(tmp_path: Path) -> None:
    put(tmp_path, "Training/a/1.png", "Testing/a/2.png")
    test = open_test(None, SourceOptions(), open_train(tmp_path, SourceOptions())).content
    assert isinstance(test, ImageSource) and test.ids == ("Testing/a/2.png",)
    with pytest.raises(UsageError, match="is TRAIN itself"):
        open_test(None, SourceOptions(split="test"), open_train(tmp_path, SourceOptions(split="Testing")))
    images = opened(tmp_path)
    assert given_set(str(tmp_path), SourceOptions(), images).name == str(tmp_path)
    assert given_set(str(tmp_path), SourceOptions(), images).source.ids == ("Testing/a/2.png",)


def test_an_export_copies_what_links_lead_to(store: Path) -> None:
    source = opened(store / "links", follow_links=True)
    written = export(selection_of(source, {0, 1}), source, ExportFormat.FOLDER, store / "out")
    file = store / "out" / "cat" / "1.png"
    assert file.read_bytes() == png(0) and not file.is_symlink() and file.stat().st_nlink == 1
    assert "2 are copies: the source has links in their place" in str(written)


def test_the_review_page_reads_links_that_the_run_followed(store: Path) -> None:
    source = opened(store / "links", follow_links=True)
    rows = np.arange(2)
    assert OriginalImages(source, rows, follow_links=True).read(0) == png(0)
    with pytest.raises(MissingImageError, match="leads out"):
        OriginalImages(source, rows).read(0)


def test_a_run_of_links_is_reviewed_and_exported(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number in range(6):
        put(store / "more" / str(number), f"{number}.png")
        link = store / "links" / ("cat", "dog")[number % 2] / f"more{number}.png"
        link.symlink_to(store / "more" / str(number) / f"{number}.png")
    run = store / "run"
    few = ["--depth", "8", "--epochs", "1", "--batch", "4", "--precision", "float32"]
    assert (
        main(["run", str(store / "links"), "--follow-links", "--out", str(run), "--keep", "0.8", *few]) == 0
    )
    said = capsys.readouterr()
    assert "links that lead out of the folder followed" in said.out + said.err
    folder = RunFolder.open(run)
    originals = open_originals(folder, Embeddings.load(run / "embeddings"))
    assert originals.follow_links and originals.read(0) == png(0)
    assert main(["export", str(run), "--format", "folder", "--to", str(store / "kept")]) == 0
    assert all(not file.is_symlink() for file in (store / "kept").rglob("*.png"))
