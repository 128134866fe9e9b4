"""Sources of images, each in the layout it really has, made on the fly."""

from __future__ import annotations

import io
import json
import os
import pickle
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from tenpercent.data.decoding.decode import Unreadable, decode
from tenpercent.data.sources.library_sets import KINDS
from tenpercent.data.sources.opening import SourceOptions, open_source, open_split
from tenpercent.data.sources.options import RULES
from tenpercent.data.sources.parquet_files import ParquetFiles
from tenpercent.data.sources.row_groups import RowGroups
from tenpercent.data.sources.source import ImageSource
from tenpercent.data.sources.splits import split_of_file
from tenpercent.data.sources.tables import ids_of
from tenpercent.errors import SourceError, UsageError


def png(value: int, side: int = 4) -> bytes:
    out = io.BytesIO()
    Image.fromarray(np.full((side, side, 3), value % 256, dtype=np.uint8)).save(out, "PNG")
    return out.getvalue()


def put(root: Path, *names: str) -> Path:
    """Write an image at each path; its colour is its number."""
    for number, name in enumerate(names):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png(number))
    return root


def opened(spec: str | Path, **options: object) -> ImageSource:
    found = open_source(spec, SourceOptions(**options))  # type: ignore[arg-type]
    assert isinstance(found, ImageSource)
    return found


def colours(source: ImageSource) -> list[int]:
    return [int(decode(source.read(row))[0, 0, 0]) for row in range(len(source))]


def labels(source: ImageSource) -> list[int]:
    assert source.labels is not None and source.labels.dtype == np.int64
    return source.labels.tolist()


# ---- folder --------------------------------------------------------------------------------------------------------


def test_folder_of_class_folders_has_the_order_of_torchvision(tmp_path: Path) -> None:
    names = ["b/10.png", "b/9.png", "a/z.JPG", "B2/x.jpeg", "a-b/1.png", "a/A.png", "ö/1.png"]
    put(tmp_path, *names)
    source = opened(tmp_path)
    from torchvision.datasets import ImageFolder

    theirs = ImageFolder(str(tmp_path))
    assert [str(tmp_path / name) for name in source.ids] == [path for path, _ in theirs.samples]
    assert labels(source) == theirs.targets
    assert list(source.class_names) == theirs.classes
    assert source.paths == source.ids
    assert colours(source) == [names.index(name) for name in source.ids]


def test_flat_folder_has_no_labels(tmp_path: Path) -> None:
    source = opened(put(tmp_path, "2.png", "1.png"))
    assert source.ids == ("1.png", "2.png")
    assert source.labels is None and source.class_names == () and source.splits == () and source.split == ""


def test_nested_class_folders_and_images_beside_them(tmp_path: Path) -> None:
    source = opened(put(tmp_path, "cat/tabby/1.png", "cat/2.png", "3.png", "dog/deep/down/4.png"))
    assert source.ids == ("3.png", "cat/2.png", "cat/tabby/1.png", "dog/deep/down/4.png")
    assert source.class_names == ("cat", "cat/tabby", "dog/deep/down")
    assert labels(source) == [-1, 0, 1, 2]


def test_splits_of_a_folder(tmp_path: Path) -> None:
    put(tmp_path, "train/b/1.png", "train/a/2.png", "test/b/3.png", "test/new/4.png", "val/a/5.png", "x.png")
    source = opened(tmp_path)
    assert (source.split, source.splits) == ("train", ("train", "val", "test"))
    assert source.ids == ("train/a/2.png", "train/b/1.png")
    assert source.class_names == ("a", "b")
    assert source.skipped == {"images outside the splits": 1}
    test = open_split(tmp_path, SourceOptions(), "test")
    assert isinstance(test, ImageSource)
    assert test.ids == ("test/b/3.png", "test/new/4.png")
    assert test.class_names == ("a", "b", "new") and labels(test) == [1, 2]  # b is class 1, as in train
    assert open_split(tmp_path, SourceOptions(), "extra") is None
    assert opened(tmp_path, split="validation").ids == ("val/a/5.png",)
    with pytest.raises(SourceError, match=r"'extra', only train, val, test"):
        opened(tmp_path, split="extra")


def test_top_folders_are_classes_without_train(tmp_path: Path) -> None:
    put(tmp_path, "test/1.png", "other/2.png")
    assert opened(tmp_path).class_names == ("other", "test")
    assert open_split(tmp_path, SourceOptions(), "test") is None
    assert opened(tmp_path, split="test").ids == ("test/1.png",)


def test_train_beside_other_classes_is_asked_about(tmp_path: Path) -> None:
    put(tmp_path, "train/1.png", "car/2.png")
    with pytest.raises(SourceError, match=r"beside car.*--split train"):
        opened(tmp_path)
    assert opened(tmp_path, split="train").skipped == {"images outside the splits": 1}


def test_what_is_passed_over_is_counted(tmp_path: Path) -> None:
    put(tmp_path, "a/1.png", "a/.hidden.png", ".cache/2.png", "a/._1.png")
    (tmp_path / "a" / "notes.txt").write_text("x")
    (tmp_path / "a" / "film.mpg").write_text("x")
    os.mkfifo(tmp_path / "a" / "pipe.png")
    source = opened(tmp_path)
    assert source.ids == ("a/1.png",)
    assert source.skipped == {
        "hidden files": 2,
        "hidden folders": 1,
        "files that are not images": 2,
        ".mpg videos": 1,
    }


def test_links_are_followed_within_the_folder_only(tmp_path: Path) -> None:
    outside = put(tmp_path / "outside", "secret.png")
    root = put(tmp_path / "root", "a/1.png", "pool/2.png")
    (root / "a" / "out.png").symlink_to(outside / "secret.png")
    (root / "a" / "in.png").symlink_to("../pool/2.png")
    (root / "a" / "broken.png").symlink_to("nowhere.png")
    (root / "a" / "up").symlink_to("..")
    (root / "a" / "self").symlink_to("self")
    (root / "out").symlink_to(outside)
    (root / "again").symlink_to("pool")
    source = opened(root)
    assert source.ids == ("a/1.png", "a/in.png", "again/2.png", "pool/2.png")
    assert source.skipped == {
        "links that lead out of the folder (--follow-links follows them)": 2,
        "links in a circle": 1,
        "broken links": 2,
    }
    (tmp_path / "door").symlink_to(root)
    assert opened(tmp_path / "door").ids == source.ids


def test_links_that_lead_to_each_other_end(tmp_path: Path) -> None:
    put(tmp_path, "a/1.png", "b/2.png")
    (tmp_path / "a" / "to_b").symlink_to("../b")
    (tmp_path / "b" / "to_a").symlink_to("../a")
    source = opened(tmp_path)
    assert source.ids == ("a/1.png", "a/to_b/2.png", "b/2.png", "b/to_a/1.png")
    assert source.skipped == {"links in a circle": 2}


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse such names")
def test_names_that_are_no_utf8(tmp_path: Path) -> None:
    raw = os.fsencode(tmp_path) + b"/caf\xe9.png"
    with open(raw, "wb") as file:  # noqa: PTH123  a name in bytes
        file.write(png(7))
    source = opened(tmp_path)
    assert source.ids == (r"caf\xe9.png",)
    assert colours(source) == [7]


def test_class_names_that_differ_by_case(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"'Cat' and 'cat'"):
        opened(put(tmp_path, "Cat/1.png", "cat/2.png"))


def test_folders_that_do_not_serve(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(SourceError, match=r"empty holds no images; give"):
        opened(empty)
    (empty / "a.txt").write_text("x")
    with pytest.raises(SourceError, match="skipped: 1 file that is not an image; "):
        opened(empty)
    with pytest.raises(SourceError, match=r"no such file or folder: '.*missing'; give a folder"):
        opened(tmp_path / "missing")
    with pytest.raises(SourceError, match=r"a\.txt is a file, not a folder"):
        opened(empty / "a.txt")
    with pytest.raises(SourceError, match=r"^no such file or folder: ''"):
        opened("")

    def denied(path: object) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("tenpercent.data.sources.listing.os.scandir", denied)
    with pytest.raises(SourceError, match=r"Permission denied.*make it readable"):
        opened(empty)


def test_an_image_that_vanishes_is_an_os_error(tmp_path: Path) -> None:
    source = opened(put(tmp_path, "1.png"))
    (tmp_path / "1.png").unlink()
    with pytest.raises(OSError, match=r"1\.png"):
        source.read(0)


def test_the_stored_spec_opens_from_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path / "set", "a/1.png", "b/2.png")
    monkeypatch.chdir(tmp_path)
    source = opened("set")
    monkeypatch.chdir("/")
    again = opened(source.spec)
    assert again.fingerprint == source.fingerprint and colours(again) == colours(source)


# ---- Parquet -------------------------------------------------------------------------------------------------------

FEATURES = {"img": {"_type": "Image"}, "label": {"names": ["ant", "bee", "cow"], "_type": "ClassLabel"}}
CELL = pa.struct({"bytes": pa.binary(), "path": pa.string()})


def table(
    n: int,
    *,
    start: int = 0,
    image: str = "img",
    paths: bool = True,
    features: object = None,
    **more: pa.Array,
) -> pa.Table:
    cells = [
        {"bytes": png(start + row), "path": f"im/{start + row:03d}.png" if paths else None}
        for row in range(n)
    ]
    made = pa.table({image: pa.array(cells, CELL), **more})
    return made.replace_schema_metadata(
        {"huggingface": json.dumps({"info": {"features": features}})} if features else None
    )


def write(path: Path, made: pa.Table, group: int = 4) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(made, path, row_group_size=group)
    return path


def test_parquet_in_the_hugging_face_layout(tmp_path: Path) -> None:
    made = table(10, features=FEATURES, label=pa.array([0, 2, -1, None, 1] * 2, pa.int64()))
    source = opened(write(tmp_path / "x.parquet", made))
    assert source.class_names == ("ant", "bee", "cow")
    assert labels(source) == [0, 2, -1, -1, 1] * 2
    assert source.ids[:2] == ("im/000.png", "im/001.png")
    assert source.paths == (None,) * 10
    assert colours(source) == list(range(10))
    assert [colours(source)[row] for row in (9, 0, 5)] == [9, 0, 5]


def test_parquet_folder_with_splits(tmp_path: Path) -> None:
    for name, start, n in [
        ("train-00000-of-00002", 0, 6),
        ("train-00001-of-00002", 6, 3),
        ("test-00000-of-00001", 9, 4),
    ]:
        made = table(n, start=start, features=FEATURES, label=pa.array([start % 3] * n))
        write(tmp_path / "data" / f"{name}.parquet", made)
    (tmp_path / "README.md").write_text("x")
    source = opened(tmp_path)
    assert (source.split, source.splits, len(source)) == ("train", ("test", "train"), 9)
    assert colours(source) == list(range(9))
    test = open_split(tmp_path, SourceOptions(), "test")
    assert isinstance(test, ImageSource) and colours(test) == [9, 10, 11, 12]
    with pytest.raises(SourceError, match="only test, train"):
        opened(tmp_path, split="dev")
    with pytest.raises(SourceError, match="no splits"):
        opened(tmp_path / "data" / "test-00000-of-00001.parquet", split="train")


def test_parquet_files_without_splits_are_all_taken(tmp_path: Path) -> None:
    write(tmp_path / "b.parquet", table(2, start=2))
    write(tmp_path / "a.parquet", table(2))
    source = opened(tmp_path)
    assert colours(source) == [0, 1, 2, 3] and source.split == "" and source.labels is None


@pytest.mark.parametrize(
    ("path", "split"),
    [
        ("data/train-00000-of-00001.parquet", "train"),
        ("extra-00000-of-00001.parquet", "extra"),
        ("val-00000-of-00001.parquet", "validation"),
        ("train.parquet", "train"),
        ("test/0000.parquet", "test"),
        ("default/partial-train/0001.parquet", "train"),
        ("my_eval_set.parquet", "test"),
        ("training_2.parquet", "train"),
        ("images.parquet", None),
        ("latest.parquet", None),
        ("trainee.parquet", None),
    ],
)
def test_split_of_a_file_name(path: str, split: str | None) -> None:
    assert split_of_file(path) == split


def test_columns_are_found_by_type(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    words = pa.array(["dog", "cat", None])
    source = opened(write(path, table(3, image="picture", target=words, id=pa.array([7, 8, 9]))))
    assert source.class_names == ("cat", "dog") and labels(source) == [1, 0, -1]
    assert opened(write(path, pa.table({"png": [png(0), png(1)]}))).ids == ("0", "1")
    plain = opened(write(path, table(3, label=pa.array([3, 1, 0]), width=pa.array([1, 2, 3]))))
    assert plain.class_names == ("0", "1", "3") and labels(plain) == [2, 1, 0]
    coded = opened(write(path, table(3, label=pa.array(["b", "a", "b"]).dictionary_encode())))
    assert coded.class_names == ("a", "b") and labels(coded) == [1, 0, 1]
    no_label = opened(write(path, table(3, caption=pa.array(["x", "y", "z"]))))
    assert no_label.labels is None
    never = opened(write(path, table(2, features=FEATURES, label=pa.array([-1, -1]))))
    assert never.labels is None and never.class_names == ()


def test_columns_that_are_not_clear(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    cells = table(3)["img"]
    write(path, table(3, image="left", right=cells, fine=pa.array([0, 1, 1]), coarse=pa.array([1, 0, 0])))
    with pytest.raises(SourceError, match=r"left, right.*--image-column"):
        opened(path)
    source = opened(path, image_column="right", label_column="coarse")
    assert labels(source) == [1, 0, 0]
    assert opened(path, image_column="right").labels is None
    with pytest.raises(SourceError, match=r"only the columns.*did you mean right"):
        opened(path, image_column="rihgt")
    with pytest.raises(SourceError, match=r"--image-column fine.*int64, not images.*left, right"):
        opened(path, image_column="fine")
    with pytest.raises(SourceError, match="--label-column left"):
        opened(path, image_column="right", label_column="left")
    two = {"img": {"_type": "Image"}} | {
        name: {"_type": "ClassLabel", "names": ["x", "y"]} for name in ("fine", "coarse")
    }
    write(path, table(3, features=two, fine=pa.array([0, 1, 1]), coarse=pa.array([1, 0, 0])))
    with pytest.raises(SourceError, match=r"fine, coarse.*--label-column"):
        opened(path)
    assert opened(path, label_column="fine").class_names == ("x", "y")


def test_sound_is_no_image(tmp_path: Path) -> None:
    path = write(tmp_path / "x.parquet", table(2, features={"img": {"_type": "Audio"}}))
    with pytest.raises(SourceError, match="no column of images"):
        opened(path)


@pytest.mark.parametrize(
    ("codes", "words"), [([0, 3], "label 3.*3 classes"), ([0, -2], "label -2"), ([0, 10**12], str(10**12))]
)
def test_labels_out_of_range(tmp_path: Path, codes: list[int], words: str) -> None:
    path = write(tmp_path / "x.parquet", table(2, features=FEATURES, label=pa.array(codes)))
    with pytest.raises(SourceError, match=words):
        opened(path)


def test_ids_are_paths_where_each_row_has_one_of_its_own(tmp_path: Path) -> None:
    twice = pa.table({"img": pa.array([{"bytes": png(0), "path": "same.png"}] * 11, CELL)})
    assert opened(write(tmp_path / "x.parquet", twice)).ids[:2] == ("00", "01")
    assert opened(write(tmp_path / "x.parquet", table(2, paths=False))).ids == ("0", "1")
    assert ids_of(["/home/me/1.png"], None) is None
    assert ids_of(["/home/me/a/1.png"], Path("/home/me")) == ("a/1.png",)
    assert ids_of(["zip://1.png::/x.zip"], None) is None


def test_cells_without_bytes(tmp_path: Path) -> None:
    (tmp_path / "there.png").write_bytes(png(5))
    cells = [
        {"bytes": None, "path": "there.png"},
        {"bytes": None, "path": None},
        None,
        {"bytes": None, "path": "gone.png"},
    ]
    source = opened(write(tmp_path / "x.parquet", pa.table({"img": pa.array(cells, CELL)})))
    assert decode(source.read(0))[0, 0, 0] == 5
    for row in (1, 2):
        with pytest.raises(Unreadable, match="no image"):
            source.read(row)
    with pytest.raises(OSError, match=r"gone\.png"):
        source.read(3)


def test_parquet_files_that_do_not_serve(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    path.write_bytes(b"PAR1 nothing")
    with pytest.raises(SourceError, match=r"x\.parquet can't be read as Parquet"):
        opened(path)
    with pytest.raises(SourceError, match="no rows"):
        opened(write(path, table(0)))
    with pytest.raises(SourceError, match="no column of images or vectors"):
        opened(write(path, pa.table({"a": [1]})))
    broken = table(1).replace_schema_metadata({"huggingface": "{"})
    with pytest.raises(SourceError, match="metadata"):
        opened(write(path, broken))
    write(path, table(2))
    write(tmp_path / "y.parquet", pa.table({"other": [1]}))
    with pytest.raises(SourceError, match=r"column img.*missing.*y\.parquet"):
        opened(tmp_path)
    write(path, table(1, features=FEATURES, label=pa.array([0])))
    others = FEATURES | {"label": {"names": ["x"], "_type": "ClassLabel"}}
    write(tmp_path / "y.parquet", table(1, features=others, label=pa.array([0])))
    with pytest.raises(SourceError, match="other class names"):
        opened(tmp_path)


def test_a_damaged_row_group_is_an_unreadable_image(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    write(path, table(8))
    source = opened(path)
    first = pq.read_metadata(path).row_group(0).column(0)
    raw = bytearray(path.read_bytes())
    start = first.dictionary_page_offset or first.data_page_offset
    raw[start : start + first.total_compressed_size] = b"\xff" * first.total_compressed_size
    path.write_bytes(bytes(raw))
    with pytest.raises(Unreadable, match=r"row group 0 of x\.parquet"):
        source.read(0)
    assert decode(source.read(7)).shape == (4, 4, 3)  # the other row group is whole


def test_a_damaged_column_of_labels_is_one_line(tmp_path: Path) -> None:
    path = write(tmp_path / "x.parquet", table(8, label=pa.array([0, 1] * 4)))
    group = pq.read_metadata(path).row_group(0)
    (column,) = (
        group.column(at) for at in range(group.num_columns) if group.column(at).path_in_schema == "label"
    )
    start = column.dictionary_page_offset or column.data_page_offset
    raw = bytearray(path.read_bytes())
    raw[start : start + column.total_compressed_size] = b"\xff" * column.total_compressed_size
    path.write_bytes(bytes(raw))
    with pytest.raises(SourceError, match=r"x\.parquet can't be read as Parquet") as caught:
        opened(path)
    assert "\n" not in str(caught.value)


def test_row_groups_stay_within_their_memory_and_serve_threads(tmp_path: Path) -> None:
    path = write(tmp_path / "x.parquet", table(40), group=3)
    column = RowGroups(ParquetFiles.open([path]), "img", capacity=1)
    rows = np.random.default_rng(0).integers(0, 40, 200).tolist()
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda row: column[row]["path"], rows))  # type: ignore[index]
    assert found == [f"im/{row:03d}.png" for row in rows]
    assert len(column._held) == 2


def test_images_beside_parquet_files(tmp_path: Path) -> None:
    write(tmp_path / "x.parquet", table(2))
    put(tmp_path, "a/1.png")
    with pytest.raises(
        SourceError, match=r"1 image file and 1 Parquet file with images; give --image-column"
    ):
        opened(tmp_path)
    source = opened(tmp_path, rules=1)
    assert source.ids == ("a/1.png",) and source.skipped == {"Parquet files": 1}


# ---- digits --------------------------------------------------------------------------------------------------------


def test_digits() -> None:
    source = opened("digits")
    assert (len(source), source.split, source.splits) == (1437, "train", ("train", "test"))
    assert source.ids[0] == "0000" and source.ids[-1] == "1436"
    pixels = source.read(0)
    assert isinstance(pixels, np.ndarray) and pixels.shape == (8, 8) and pixels.dtype == np.uint8
    assert max(int(decode(source.read(row)).max()) for row in range(20)) == 255
    test = open_split("digits", SourceOptions(), "test")
    assert isinstance(test, ImageSource) and len(test) == 360 and test.ids[0] == "1437"
    assert not set(test.ids) & set(source.ids)
    with pytest.raises(SourceError, match="only train, test"):
        opened("digits", split="val")
    with pytest.raises(UsageError, match="--data-dir"):
        opened("digits", data_dir=Path("/tmp"))


# ---- datasets ------------------------------------------------------------------------------------------------------


@pytest.fixture
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    datasets = pytest.importorskip("datasets")
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", folder)
    return folder


def dataset(n: int = 6):  # type: ignore[no-untyped-def]
    import datasets

    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=["x", "y"])})
    rows = {
        "image": [{"bytes": png(row), "path": f"{row}.png"} for row in range(n)],
        "label": [row % 2 for row in range(n)],
    }
    return datasets.Dataset.from_dict(rows, features=features)


def test_hf_save_to_disk(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    whole = datasets.DatasetDict({"train": dataset(), "test": dataset(3)})
    whole.save_to_disk(tmp_path / "saved")
    monkeypatch.chdir(tmp_path)
    source = opened("hf:saved")
    assert source.spec == f"hf:{tmp_path / 'saved'}"
    assert (source.split, set(source.splits)) == ("train", {"train", "test"})
    assert source.class_names == ("x", "y") and labels(source) == [0, 1] * 3
    assert source.ids == tuple(f"{row}.png" for row in range(6))
    assert isinstance(source.read(0), bytes) and colours(source) == list(range(6))
    test = open_split("hf:saved", SourceOptions(), "test")
    assert isinstance(test, ImageSource) and len(test) == 3
    assert len(opened(f"hf:{tmp_path / 'saved'}:test")) == 3
    assert len(opened(opened("hf:saved:test").spec)) == 3
    assert open_split("hf:saved:test", SourceOptions(), "train").split == "train"  # type: ignore[union-attr]
    with pytest.raises(SourceError, match="'dev', only train, test"):
        opened("hf:saved:dev")
    with pytest.raises(SourceError, match=r"--split train.*leave one out"):
        opened("hf:saved:test", split="train")
    with pytest.raises(SourceError, match=r"open it as hf:"):
        opened(tmp_path / "saved")


def test_hf_rows_that_were_shuffled_keep_their_ids(tmp_path: Path, cache: Path) -> None:
    dataset().shuffle(seed=1).save_to_disk(tmp_path / "saved")
    source = opened(f"hf:{tmp_path / 'saved'}")
    assert source.split == "" and source.splits == ()
    assert [f"{colour}.png" for colour in colours(source)] == list(source.ids) != sorted(source.ids)
    assert open_split(f"hf:{tmp_path / 'saved'}", SourceOptions(), "test") is None


def test_hf_local_folders(tmp_path: Path, cache: Path) -> None:
    (tmp_path / "repo" / "data").mkdir(parents=True)
    dataset().to_parquet(tmp_path / "repo" / "data" / "train-00000-of-00001.parquet")
    dataset(2).to_parquet(tmp_path / "repo" / "data" / "test-00000-of-00001.parquet")
    source = opened(f"hf:{tmp_path / 'repo'}")
    assert len(source) == 6 and source.class_names == ("x", "y") and colours(source) == list(range(6))
    ours = opened(tmp_path / "repo")
    assert (ours.ids, ours.class_names, colours(ours)) == (source.ids, source.class_names, colours(source))
    put(tmp_path / "pictures", "train/a/1.png", "train/b/2.png", "test/a/3.png")
    folder = opened(f"hf:{tmp_path / 'pictures'}")
    assert folder.ids == ("train/a/1.png", "train/b/2.png")
    assert folder.class_names == ("a", "b") and colours(folder) == [0, 1]


def test_hf_that_can_not_be_loaded_is_one_line(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import datasets

    def offline(*_: object, **__: object) -> None:
        raise ConnectionError(
            "Couldn't reach 'nobody/nothing' on the Hub (OfflineModeIsEnabled)\nmore\nlines"
        )

    monkeypatch.setattr(datasets, "load_dataset", offline)
    with pytest.raises(
        SourceError, match=r"hf:nobody/nothing:test can't be loaded .*check the name and the network"
    ) as caught:
        opened("hf:nobody/nothing:test")
    assert "\n" not in str(caught.value)


def test_hf_script_is_one_line(tmp_path: Path, cache: Path) -> None:
    (tmp_path / "script").mkdir()
    (tmp_path / "script" / "script.py").write_text("raise SystemExit('ran')")
    with pytest.raises(SourceError, match="can't be loaded by datasets") as caught:
        opened(f"hf:{tmp_path / 'script'}")
    assert "\n" not in str(caught.value)


# ---- torchvision ---------------------------------------------------------------------------------------------------


def test_every_torchvision_name_is_one_torchvision_has() -> None:
    import inspect

    from torchvision import datasets

    for name, kind in KINDS.items():
        takes = inspect.signature(getattr(datasets, name)).parameters
        assert "root" in takes, name
        assert not kind.argument or kind.argument in takes, name
        assert kind.argument or not {"train", "split"} & set(takes), name


def mnist(root: Path) -> Path:
    """The four files of MNIST in their own format, with 3 training and 2 test images."""
    raw = root / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for part, n in (("train", 3), ("t10k", 2)):
        images = np.arange(n, dtype=np.uint8)[:, None, None] * np.ones((1, 28, 28), np.uint8)
        header = bytes([0, 0, 8, 3]) + b"".join(size.to_bytes(4, "big") for size in (n, 28, 28))
        (raw / f"{part}-images-idx3-ubyte").write_bytes(header + images.tobytes())
        codes = bytes([0, 0, 8, 1]) + n.to_bytes(4, "big") + bytes(range(5, 5 + n))
        (raw / f"{part}-labels-idx1-ubyte").write_bytes(codes)
    return root


def test_torchvision_mnist(tmp_path: Path) -> None:
    mnist(tmp_path)
    source = opened("torchvision:mnist", data_dir=tmp_path)
    assert source.spec == "torchvision:MNIST" and source.ids == ("0", "1", "2")
    assert source.class_names[5] == "5 - five" and labels(source) == [5, 6, 7]
    assert colours(source) == [0, 1, 2]
    test = open_split("torchvision:MNIST", SourceOptions(data_dir=tmp_path), "test")
    assert isinstance(test, ImageSource) and colours(test) == [0, 1]


def test_torchvision_files_come_as_bytes(tmp_path: Path) -> None:
    put(tmp_path / "eurosat" / "2750", "River/1.png", "Forest/2.png")
    source = opened("torchvision:EuroSAT", data_dir=tmp_path)
    assert isinstance(source.read(0), bytes)
    assert source.class_names == ("Forest", "River") and colours(source) == [1, 0]
    assert (
        source.split == ""
        and open_split("torchvision:EuroSAT", SourceOptions(data_dir=tmp_path), "test") is None
    )
    with pytest.raises(SourceError, match="no splits"):
        opened("torchvision:EuroSAT", data_dir=tmp_path, split="train")


def test_torchvision_cifar10_in_its_own_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from torchvision import datasets

    monkeypatch.setattr(datasets.CIFAR10, "_check_integrity", lambda self: True)
    monkeypatch.setattr("torchvision.datasets.cifar.check_integrity", lambda *_: True)
    base = tmp_path / "cifar-10-batches-py"
    base.mkdir()
    for name in [*(f"data_batch_{k}" for k in range(1, 6)), "test_batch"]:
        content = {"data": np.full((2, 3072), 9, np.uint8), "labels": [1, 0]}
        (base / name).write_bytes(pickle.dumps(content))
    (base / "batches.meta").write_bytes(pickle.dumps({"label_names": ["plane", "car"]}))
    source = opened("torchvision:CIFAR10", data_dir=tmp_path)
    assert len(source) == 10 and source.class_names == ("plane", "car") and labels(source)[:2] == [1, 0]
    assert decode(source.read(0)).shape == (32, 32, 3)


def test_torchvision_files_that_are_damaged_are_one_line(tmp_path: Path) -> None:
    path = mnist(tmp_path) / "MNIST" / "raw" / "train-images-idx3-ubyte"
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(SourceError, match="--data-dir") as caught:
        opened("torchvision:MNIST", data_dir=tmp_path)
    assert "\n" not in str(caught.value)


def test_an_image_that_torchvision_can_not_decode_is_unreadable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from torchvision import datasets

    def broken(self: object, row: int) -> None:
        raise SyntaxError("broken PNG\nfile")

    source = opened("torchvision:MNIST", data_dir=mnist(tmp_path))
    monkeypatch.setattr(datasets.MNIST, "__getitem__", broken)
    with pytest.raises(Unreadable, match="broken or truncated: broken PNG file"):
        source.read(0)


def test_torchvision_names_and_folders_that_do_not_serve(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"cifar11.*did you mean CIFAR10, CIFAR100\?"):
        opened("torchvision:cifar11", data_dir=tmp_path)
    with pytest.raises(UsageError, match=r"xyz is not one of the data sets that can be read; known: CIFAR10"):
        opened("torchvision:xyz", data_dir=tmp_path)
    with pytest.raises(UsageError, match="--data-dir"):
        opened("torchvision:CIFAR10")
    with pytest.raises(SourceError, match=r"not in .*download=True") as caught:
        opened("torchvision:CIFAR10", data_dir=tmp_path)
    assert "\n" not in str(caught.value)
    with pytest.raises(SourceError, match="only train, test"):
        opened("torchvision:CIFAR10", data_dir=tmp_path, split="val")


# ---- names and options ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spec", "words"), [("digit", "digits"), ("tf:mnist", "not a kind of source"), ("hff:x", "hf:")]
)
def test_names_that_are_no_source(spec: str, words: str) -> None:
    with pytest.raises(SourceError, match=words) as caught:
        opened(spec)
    assert caught.value.exit_status == 2


def test_options_that_do_not_apply(tmp_path: Path) -> None:
    put(tmp_path, "1.png")
    for name, value in (("image_column", "x"), ("labels", tmp_path), ("data_dir", tmp_path)):
        with pytest.raises(UsageError, match=name.replace("_", "-")):
            opened(tmp_path, **{name: value})


def test_options_survive_json(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    options = SourceOptions(split="test", data_dir=Path("data"), image_column="x")
    stored = json.loads(json.dumps(options.as_json()))
    assert stored == {
        "split": "test",
        "data_dir": str(tmp_path / "data"),
        "image_column": "x",
        "rules": RULES,
    }
    assert SourceOptions.from_json(stored) == SourceOptions("test", "x", data_dir=tmp_path / "data")
    assert SourceOptions.from_json(SourceOptions().as_json()) == SourceOptions()
    assert SourceOptions.from_json({}) == SourceOptions(rules=1), "run folders of 0.1 name no rules"
    assert SourceOptions(rules=1).as_json() == {}


def test_a_source_prints_shortly(tmp_path: Path) -> None:
    put(tmp_path, "a/1.png")
    assert repr(opened(tmp_path)) == f"ImageSource({str(tmp_path)!r}, 1 image, 1 class)"


def test_real_cifar10(cifar10: Path) -> None:
    source = opened(cifar10)
    assert (len(source), source.split, len(source.class_names)) == (50_000, "train", 10)
    assert np.bincount(labels(source)).tolist() == [5000] * 10
    assert source.ids[0].startswith(source.class_names[labels(source)[0]])
    assert decode(source.read(49_999)).shape == (32, 32, 3)
