"""Tiny ImageNet as it is downloaded, other sets whose labels lie in a file beside the images, and copies of them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tenpercent.data.sources.classes import same_classes
from tenpercent.data.sources.first_line import account, describe_taken
from tenpercent.data.sources.opening import open_source, open_split
from tenpercent.data.sources.options import SourceOptions
from tenpercent.data.sources.source import ImageSource
from tenpercent.data.store.run_folder import RunFolder
from tenpercent.embedding.settings import Supervised
from tenpercent.embedding.stage import embed
from tenpercent.errors import SourceError, UsageError
from tenpercent.evaluation.evaluation_set import evaluation_set
from tenpercent.leakage.find import leaks
from tenpercent.pipeline import export, run
from tenpercent.selection.stored import open_images

WNIDS = ("n01443537", "n01629819", "n02099712")
QUICK = Supervised(depth=8, steps=4, batch=8)


def draw(path: Path, chance: np.random.Generator) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(chance.integers(0, 256, (16, 16, 3)).astype(np.uint8)).save(path, "JPEG")


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    """The layout of tiny-imagenet-200: three classes of six images, six to validate on, three without labels."""
    root, chance = tmp_path / "tiny-imagenet-200", np.random.default_rng(0)
    for name in WNIDS:
        for number in range(6):
            draw(root / "train" / name / "images" / f"{name}_{number}.JPEG", chance)
        boxes = "".join(f"{name}_{number}.JPEG\t0\t0\t15\t15\n" for number in range(6))
        (root / "train" / name / f"{name}_boxes.txt").write_text(boxes)
    for number in range(6):
        draw(root / "val" / "images" / f"val_{number}.JPEG", chance)
    lines = [f"val_{number}.JPEG\t{WNIDS[number % 3]}\t0\t0\t15\t15\n" for number in range(6)]
    (root / "val" / "val_annotations.txt").write_text("".join(reversed(lines)))
    for number in range(3):
        draw(root / "test" / "images" / f"test_{number}.JPEG", chance)
    (root / "wnids.txt").write_text("\n".join(WNIDS))
    (root / "words.txt").write_text("n01443537\tgoldfish, Carassius auratus\nn00001740\tentity\n")
    return root


def opened(source: Path, **options: str | Path) -> ImageSource:
    found = open_source(source, SourceOptions(**options))  # type: ignore[arg-type]
    assert isinstance(found, ImageSource)
    return found


def classes_of(source: ImageSource) -> list[str | None]:
    labels = np.full(len(source), -1) if source.labels is None else source.labels
    return [None if code < 0 else source.class_names[code] for code in labels.tolist()]


def flat(folder: Path, names: Iterable[str]) -> Path:
    chance = np.random.default_rng(1)
    for name in names:
        draw(folder / name, chance)
    return folder


# ---- as it is downloaded -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("below", ["", "val", "val/images"])
def test_the_annotations_label_the_validation_images(tiny: Path, below: str) -> None:
    found = opened(tiny / below) if below else opened(tiny, split="val")
    assert [name.rpartition("/")[2] for name in found.ids] == [f"val_{number}.JPEG" for number in range(6)]
    assert classes_of(found) == [*WNIDS, *WNIDS]
    assert describe_taken(account(found)).startswith("6 images, 3 classes from val_annotations.txt")


def test_training_images_keep_their_folders_and_test_images_have_no_labels(tiny: Path) -> None:
    assert opened(tiny).class_names == WNIDS
    assert opened(tiny, split="test").labels is None


def test_a_run_is_evaluated_and_compared_as_downloaded(tiny: Path, tmp_path: Path) -> None:
    run(tiny, out=tmp_path / "run", keep=0.9, embedder=QUICK)
    folder = RunFolder.open(tmp_path / "run")
    own = evaluation_set(folder, open_images(folder), None, SourceOptions())
    assert own.name == "val"
    for test in (tiny / "val", tiny / "val" / "images"):
        given = evaluation_set(folder, open_images(folder), str(test), SourceOptions())
        assert given.source.labels is not None
        assert given.source.labels[given.rows].tolist() == [0, 1, 2, 0, 1, 2]
    found = leaks(tmp_path / "run", tiny / "val", threshold=2.0, out=tmp_path / "leaks")
    assert found.other_label is not None
    assert not any("class" in note for note in found.notes)


@pytest.mark.parametrize("level", ["", "images"])
def test_a_validation_folder_by_plain_class_names(tiny: Path, tmp_path: Path, level: str) -> None:
    chance = np.random.default_rng(2)
    for name in WNIDS[:2]:
        draw(tmp_path / "rearranged" / name / level / "a.JPEG", chance)
    embed(tiny, out=tmp_path / "run", embedder=QUICK)
    folder = RunFolder.open(tmp_path / "run")
    found = evaluation_set(folder, open_images(folder), str(tmp_path / "rearranged"), SourceOptions())
    assert classes_of(found.source) == list(WNIDS[:2])


def test_exported_folders_carry_the_plain_name(tiny: Path, tmp_path: Path) -> None:
    run(tiny, out=tmp_path / "run", keep=0.9, embedder=QUICK)
    export(tmp_path / "run", "folder", tmp_path / "kept")
    assert sorted(one.name for one in (tmp_path / "kept").iterdir()) == list(WNIDS)


# ---- classes that are the same -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("names", "known"),
    [
        (("a", "b"), ("a/images", "b/images", "c/images")),
        (("set/a/raw", "set/b/raw"), ("a", "b")),
        (("Cat", "DOG"), ("cat", "dog", "emu")),
        (("3", "14"), ("00003", "00014", "00015")),
    ],
)
def test_names_that_say_the_same(names: tuple[str, ...], known: tuple[str, ...]) -> None:
    assert same_classes(names, known) == dict(zip(names, known, strict=False))


def test_names_that_are_known_stand_for_themselves() -> None:
    assert same_classes(("cat", "emu"), ("cat", "dog")) == {"cat": "cat"}
    assert same_classes(("1", "01"), ("1", "01", "001")) == {"1": "1", "01": "01"}


def test_both_lists_are_named_where_classes_differ(tiny: Path, tmp_path: Path) -> None:
    chance = np.random.default_rng(3)
    for name in ("goldfish", "toad", WNIDS[0]):
        draw(tmp_path / "words" / name / "a.JPEG", chance)
    embed(tiny, out=tmp_path / "run", embedder=QUICK)
    folder = RunFolder.open(tmp_path / "run")
    with pytest.raises(UsageError) as refused:
        evaluation_set(folder, open_images(folder), str(tmp_path / "words"), SourceOptions())
    said = str(refused.value)
    assert "2 of 3 classes that the training images lack: goldfish, toad" in said
    assert f"the training images have {', '.join(WNIDS)}" in said
    found = leaks(tmp_path / "run", tmp_path / "words", threshold=0.1, out=tmp_path / "leaks")
    note = next(note for note in found.notes if "classes" in note)
    assert "goldfish, toad" in note
    assert ", ".join(WNIDS) in note


# ---- other files that name images ----------------------------------------------------------------------------------


def test_a_table_with_headings(tmp_path: Path) -> None:
    flat(tmp_path / "set" / "train", [f"{number}.jpg" for number in range(4)])
    table = tmp_path / "set" / "labels.csv"
    table.write_text("width,Path,ClassId\n" + "".join(f"16,Train/{n}.jpg,{n % 2}\n" for n in range(4)))
    found = opened(tmp_path / "set")
    assert classes_of(found) == ["0", "1", "0", "1"]
    assert found.taken["labels"] == "labels.csv"


def test_a_column_without_a_labels_name_is_asked_for(tmp_path: Path) -> None:
    source = flat(tmp_path / "dogs", [f"{number}.jpg" for number in range(4)])
    (source / "labels.csv").write_text("id,breed\n0,pug\n1,pug\n2,boxer\n3,boxer\n")
    found = opened(source)
    assert found.labels is None
    assert "no column with a label's name (--label-column takes one of breed)" in describe_taken(
        account(found)
    )
    assert classes_of(opened(source, label_column="breed")) == ["pug", "pug", "boxer", "boxer"]
    with pytest.raises(SourceError, match="has no column 'race'"):
        opened(source, label_column="race")


def test_imagenets_solution_gives_the_class_before_its_boxes(tmp_path: Path) -> None:
    source = flat(tmp_path / "val", [f"ILSVRC2012_val_0000000{number}.JPEG" for number in range(4)])
    lines = [
        f"ILSVRC2012_val_0000000{n},{WNIDS[n % 2]} 1 2 30 40 {WNIDS[n % 2]} 5 6 7 8 \n" for n in range(4)
    ]
    (tmp_path / "LOC_val_solution.csv").write_text("ImageId,PredictionString\n" + "".join(lines))
    assert classes_of(opened(source)) == [*WNIDS[:2], *WNIDS[:2]]


def test_lists_in_a_folder_of_annotations(tmp_path: Path) -> None:
    source = flat(tmp_path / "pets" / "images", ["Pug_1.jpg", "Pug_2.jpg", "Birman_1.jpg"])
    lists = tmp_path / "pets" / "annotations"
    lists.mkdir()
    (lists / "list.txt").write_text("#Image CLASS-ID SPECIES\nPug_1 2 2\nPug_2 2 2\nBirman_1 1 1\n")
    (lists / "test.txt").write_text("Pug_1 2 2\n")
    assert classes_of(opened(source)) == ["1", "2", "2"]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("0.jpg\tcat\n", "names 1 of 4 images"),
        (
            "".join(f"{n}.jpg\ta dog number {n}\n" for n in range(4)),
            "has a different text for nearly every image",
        ),
        ("".join(f"{n}.jpg,0.{n}\n" for n in range(4)), "gives images numbers that are not classes"),
        ("0.jpg cat\n0.jpg dog\n", "gives 0.jpg two classes, cat and dog"),
    ],
)
def test_what_may_not_be_meant_as_labels_is_said_and_not_taken(tmp_path: Path, text: str, why: str) -> None:
    source = flat(tmp_path / "set", [f"{number}.jpg" for number in range(4)])
    (source / "notes.txt").write_text(text)
    found = opened(source)
    assert found.labels is None
    assert why in found.taken["unlabelled"]


def test_texts_that_name_no_image_say_nothing(tmp_path: Path) -> None:
    source = flat(tmp_path / "set", ["0.jpg", "1.jpg"])
    (source / "readme.txt").write_text(
        "All of these photographs, 0.jpg too, were taken in May.\nEnjoy them.\n"
    )
    (source / "0.txt").write_text("0.jpg 0 0 1 1\n")  # boxes of one image
    (source / "1.txt").write_text("")
    (source / "quotes.csv").write_bytes(b'\xff\xfe,"open\n')
    assert opened(source).taken == {}


def test_two_files_that_differ_are_chosen_from(tmp_path: Path) -> None:
    source = flat(tmp_path / "set", ["0.jpg", "1.jpg"])
    (source / "a.txt").write_text("0.jpg cat\n1.jpg cat\n")
    (source / "b.txt").write_text("0.jpg dog\n1.jpg dog\n")
    found = opened(source)
    assert found.labels is None
    assert found.taken["unlabelled"].startswith("a.txt and b.txt give different labels")
    assert classes_of(opened(source, labels=source / "b.txt")) == ["dog", "dog"]


def test_a_file_that_is_named_labels_what_it_names(tmp_path: Path) -> None:
    source = flat(tmp_path / "set", ["0.jpg", "1.jpg"])
    (tmp_path / "mine.txt").write_text("1.jpg cat\n")
    assert classes_of(opened(source, labels=tmp_path / "mine.txt")) == [None, "cat"]
    (tmp_path / "other.txt").write_text("9.jpg cat\n")
    with pytest.raises(SourceError, match=r"names no image of the source, such as 0\.jpg; give a text file"):
        opened(source, labels=tmp_path / "other.txt")
    with pytest.raises(SourceError, match="can't be read: No such file"):
        opened(source, labels=tmp_path / "gone.txt")


def test_labels_that_were_given_are_of_one_split(tmp_path: Path) -> None:
    flat(tmp_path / "set" / "train", ["0.jpg", "1.jpg"])
    flat(tmp_path / "set" / "test", ["2.jpg", "3.jpg"])
    (tmp_path / "train.csv").write_text("file,label\n0.jpg,cat\n1.jpg,dog\n")
    (tmp_path / "set" / "test.csv").write_text("file,label\n2.jpg,dog\n3.jpg,dog\n")
    other = open_split(tmp_path / "set", SourceOptions(labels=tmp_path / "train.csv"), "test")
    assert isinstance(other, ImageSource)
    assert classes_of(other) == ["dog", "dog"]
    assert other.class_names == ("cat", "dog")


def test_labels_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    source = flat(tmp_path / "cars_train", ["00001.jpg"])
    (tmp_path / "devkit").mkdir()
    (tmp_path / "devkit" / "cars_train_annos.mat").write_bytes(b"MATLAB 5.0")
    found = opened(source)
    assert "cars_train_annos.mat is not a text file; give one with a file name" in found.taken["unlabelled"]


def test_version_0_1_reads_no_such_file(tiny: Path) -> None:
    assert open_source(tiny, SourceOptions(split="val", rules=1)).class_names == ("images",)
