"""Exports are read back by the tools that would use them."""

from __future__ import annotations

import errno
import io
import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pandas as pd
import PIL.Image
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision.datasets import ImageFolder

from examples import some
from selections import selection_of
from tenpercent.data.sources.opening import open_source
from tenpercent.data.sources.source import ImageSource
from tenpercent.errors import StageError, TenpercentError, UsageError
from tenpercent.exporting import ExportFormat, export, folder, hf
from tenpercent.exporting.kept import Kept
from tenpercent.exporting.names import FreeNames, safe_name


def picture(value: int, kind: str = "PNG", size: tuple[int, int] = (6, 5)) -> bytes:
    file = io.BytesIO()
    PIL.Image.new("RGB", size, (value, 255 - value, value // 2)).save(file, format=kind)
    return file.getvalue()


def in_memory(
    images: list[Any], class_names: tuple[str, ...] = (), labels: list[int] | None = None
) -> ImageSource:
    return ImageSource(
        spec="memory",
        ids=tuple(f"{row:02d}" for row in range(len(images))),
        paths=(None,) * len(images),
        labels=None if labels is None else np.array(labels, dtype=np.int64),
        class_names=class_names,
        read=lambda row: images[row],
    )


@pytest.fixture
def photos(tmp_path: Path) -> ImageSource:
    """A folder whose order is not the order of its ids, with a class of a strange name and one image unlabelled."""
    classes = ("cat", "dog & bone")
    where = [("z.png", 0), ("a.jpg", 1), ("m.png", 0), ("b.JPG", 1), ("loose.png", -1), ("k.png", 0)]
    paths = [f"{classes[label]}/{name}" if label >= 0 else name for name, label in where]
    for number, path in enumerate(paths):
        file = tmp_path / "photos" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(picture(number * 20, "JPEG" if path.lower().endswith("jpg") else "PNG"))
    return ImageSource(
        spec=str(tmp_path / "photos"),
        folder=tmp_path / "photos",
        ids=tuple(paths),
        paths=tuple(paths),
        labels=np.array([label for _, label in where], dtype=np.int64),
        class_names=classes,
        read=lambda row: (tmp_path / "photos" / paths[row]).read_bytes(),
    )


KEPT = {5, 0, 3, 1}


def left_over(folder: Path) -> list[str]:
    return [path.name for path in folder.rglob("*") if "partial" in path.name]


# ---- indices and CSV ---------------------------------------------------------------------------------------------


def test_indices_are_the_kept_rows_in_the_order_of_the_source(photos: ImageSource, tmp_path: Path) -> None:
    summary = export(selection_of(photos, KEPT), photos, ExportFormat.INDICES, tmp_path / "out" / "kept")
    rows = np.load(tmp_path / "out" / "kept" / "indices.npy", allow_pickle=False)
    assert rows.dtype == np.int64
    assert rows.tolist() == [0, 1, 3, 5]
    assert np.loadtxt(tmp_path / "out" / "kept" / "indices.txt", dtype=int).tolist() == [0, 1, 3, 5]
    assert summary.images == 4
    assert "4 kept images" in str(summary)
    assert left_over(tmp_path) == []


def test_csv_is_read_by_pandas_with_all_columns(photos: ImageSource, tmp_path: Path) -> None:
    selection = selection_of(photos, KEPT | {4})
    export(selection, None, ExportFormat.CSV, tmp_path / "kept.csv")
    frame = pd.read_csv(tmp_path / "kept.csv")
    assert frame.columns.tolist() == selection.table.column_names
    assert frame["row"].tolist() == [0, 1, 3, 4, 5]
    assert frame["id"].tolist() == [photos.ids[row] for row in [0, 1, 3, 4, 5]]
    assert frame["kept"].dtype == bool and frame["kept"].all()
    assert frame["class_name"].isna().tolist() == [False, False, False, True, False]
    expected = selection.table.to_pandas().set_index("row")["dissimilarity"]
    assert frame["dissimilarity"].tolist() == expected[[0, 1, 3, 4, 5]].tolist()  # every digit of it


@settings(max_examples=40, deadline=None)
@given(ids=st.lists(st.text(st.characters(codec="utf-8"), max_size=12), min_size=1, max_size=6, unique=True))
def test_csv_keeps_every_id(ids: list[str], tmp_path_factory: pytest.TempPathFactory) -> None:
    source = replace(in_memory([None] * len(ids)), ids=tuple(ids))
    to = tmp_path_factory.mktemp("csv") / "kept.csv"
    export(selection_of(source, set(range(len(ids)))), None, ExportFormat.CSV, to)
    read = pa.csv.read_csv(
        to,
        parse_options=pa.csv.ParseOptions(newlines_in_values=True),
        convert_options=pa.csv.ConvertOptions(column_types={"id": pa.string()}, strings_can_be_null=False),
    )
    assert read["id"].to_pylist() == ids


def test_csv_ids_with_commas_quotes_and_newlines_reach_pandas(tmp_path: Path) -> None:
    ids = ('a,"b"', "c\nd", "0012", "é日本", "e\r\nf", "NA")
    source = replace(in_memory([None] * len(ids)), ids=ids)
    export(selection_of(source, set(range(len(ids)))), None, ExportFormat.CSV, tmp_path / "kept.csv")
    frame = pd.read_csv(tmp_path / "kept.csv", dtype={"id": str}, keep_default_na=False, lineterminator="\n")
    assert frame["id"].tolist() == list(ids)


# ---- folder ------------------------------------------------------------------------------------------------------


def test_folder_is_read_by_image_folder(photos: ImageSource, tmp_path: Path) -> None:
    to = tmp_path / "kept"
    summary = export(selection_of(photos, KEPT | {4}), photos, ExportFormat.FOLDER, to)
    found = ImageFolder(str(to))
    assert found.classes == ["cat", "dog & bone"]
    assert [(Path(path).name, label) for path, label in found.samples] == [
        ("k.png", 0),
        ("z.png", 0),
        ("a.jpg", 1),
        ("b.JPG", 1),
    ]
    assert found[0][0].size == (6, 5)
    assert (to / "loose.png").read_bytes() == photos.read(4)
    assert "1 have no label" in str(summary)
    assert left_over(tmp_path) == []


def test_folder_links_to_the_source_on_the_same_file_system(photos: ImageSource, tmp_path: Path) -> None:
    summary = export(selection_of(photos, KEPT), photos, ExportFormat.FOLDER, tmp_path / "kept")
    assert (tmp_path / "kept/cat/z.png").samefile(tmp_path / "photos/cat/z.png")
    assert "4 are hard links" in str(summary)


def test_folder_copies_where_the_file_system_cant_link(
    photos: ImageSource, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", refuse)
    summary = export(selection_of(photos, KEPT), photos, ExportFormat.FOLDER, tmp_path / "kept")
    copy = tmp_path / "kept/cat/z.png"
    assert copy.read_bytes() == photos.read(0)
    assert not copy.samefile(tmp_path / "photos/cat/z.png")
    assert "4 are copies" in str(summary)


def test_a_link_in_the_source_is_exported_as_the_file_it_names(photos: ImageSource, tmp_path: Path) -> None:
    (tmp_path / "photos/cat/z.png").unlink()
    (tmp_path / "photos/cat/z.png").symlink_to("k.png")
    export(selection_of(photos, {0}), photos, ExportFormat.FOLDER, tmp_path / "kept")
    written = tmp_path / "kept/cat/z.png"
    assert not written.is_symlink()
    assert written.read_bytes() == photos.read(5)


def test_bytes_keep_their_encoding_and_get_the_right_extension(tmp_path: Path) -> None:
    kinds = ["JPEG", "PNG", "WEBP", "BMP", "TIFF"]
    images = [picture(value, kind) for value, kind in enumerate(kinds)]
    source = replace(in_memory(images), paths=("one.JPEG", "two.jpg", None, "four", "five.tiff"))
    export(selection_of(source, set(range(5))), source, ExportFormat.FOLDER, tmp_path / "kept")
    written = {path.name: path.read_bytes() for path in (tmp_path / "kept").iterdir()}
    names = ["one.JPEG", "two.jpg.png", "02.webp", "four.bmp", "five.tiff"]
    assert written == dict(zip(names, images, strict=True))


def test_pixels_become_png_without_loss(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    images = [
        random.integers(0, 256, (8, 7), dtype=np.uint8),
        random.integers(0, 256, (8, 7, 3), dtype=np.uint8),
        random.integers(0, 65536, (8, 7), dtype=np.uint16),
    ]
    source = in_memory(images, ("one class",), [0, 0, 0])
    export(selection_of(source, {0, 1, 2}), source, ExportFormat.FOLDER, tmp_path / "kept")
    for row, image in enumerate(images):
        with PIL.Image.open(tmp_path / f"kept/one class/{row:02d}.png") as read:
            np.testing.assert_array_equal(np.asarray(read), image)


def test_folder_says_what_image_folder_passes_over(tmp_path: Path) -> None:
    source = in_memory([picture(1), picture(2, "GIF")], ("ant",), [0, 0])
    summary = export(selection_of(source, {0, 1}), source, ExportFormat.FOLDER, tmp_path / "kept")
    assert "1 end with .gif, which ImageFolder reads only with is_valid_file given" in str(summary)
    assert len(ImageFolder(str(tmp_path / "kept"))) == 1
    assert len(ImageFolder(str(tmp_path / "kept"), is_valid_file=lambda _: True)) == 2


def test_names_that_clash_or_lead_elsewhere_stay_in_the_folder(tmp_path: Path) -> None:
    images = [picture(value) for value in range(5)]
    source = replace(
        in_memory(images, ("../../etc", "..", "a/b"), [0, 0, 1, 2, 2]),
        ids=("one/x.png", "two/x.png", "../../up.png", "/abs.png", "three/X.PNG"),
        paths=("one/x.png", "two/x.png", "../../up.png", "/abs.png", "three/X.PNG"),
    )
    export(selection_of(source, set(range(5))), source, ExportFormat.FOLDER, tmp_path / "in" / "kept")
    files = sorted(
        str(path.relative_to(tmp_path / "in" / "kept")) for path in tmp_path.rglob("*.*") if path.is_file()
    )
    assert files == ["_/up.png", "__.._etc/x-2.png", "__.._etc/x.png", "a_b/X.PNG", "a_b/abs.png"]


@settings(max_examples=some(100), deadline=None)
@given(st.text(max_size=300))
def test_every_name_is_one_plain_part_of_a_path(text: str) -> None:
    name = safe_name(text)
    assert name and Path(name).name == name and name not in (".", "..") and name[0] != "."
    assert len(os.fsencode(name.encode("utf-8", "replace").decode())) <= 255
    assert not set(name) & set('/\\:*?"<>|\0\n')


def test_names_are_given_out_once_whatever_their_case() -> None:
    names = FreeNames()
    assert [names.free(name) for name in ("a.png", "A.png", "a-2.png", "a.png")] == [
        "a.png",
        "A-2.png",
        "a-2-2.png",
        "a-3.png",
    ]


# ---- Hugging Face ------------------------------------------------------------------------------------------------


def loaded(to: Path) -> datasets.Dataset:
    """The data set as its one file of Parquet declares it."""
    return datasets.Dataset(pq.read_table(to / "data" / "train-00000-of-00001.parquet"))


def test_hf_is_read_by_datasets(photos: ImageSource, tmp_path: Path) -> None:
    to = tmp_path / "kept"
    summary = export(selection_of(photos, KEPT | {4}), photos, ExportFormat.HF, to)
    assert summary.paths == (to,)
    whole = datasets.load_dataset(str(to), cache_dir=str(tmp_path / "cache"))
    assert list(whole) == ["train"]
    for found in (whole["train"], loaded(to)):
        assert found.features == datasets.Features(
            id=datasets.Value("string"),
            image=datasets.Image(),
            label=datasets.ClassLabel(names=["cat", "dog & bone"]),
        )
        assert found["id"][:] == [photos.ids[row] for row in [0, 1, 3, 4, 5]]
        assert found["label"][:] == [0, 1, 1, -1, 0]
        raw = found.cast_column("image", datasets.Image(decode=False))
        assert [image["bytes"] for image in raw["image"]] == [photos.read(row) for row in [0, 1, 3, 4, 5]]
        assert found[0]["image"].size == (6, 5)
    assert left_over(tmp_path) == []


def test_hf_of_unlabelled_pixels(tmp_path: Path) -> None:
    images = [np.full((4, 4), value, dtype=np.uint8) for value in range(3)]
    source = in_memory(images)
    export(selection_of(source, {2, 1}), source, ExportFormat.HF, tmp_path / "kept")
    found = loaded(tmp_path / "kept")
    assert found.column_names == ["id", "image"]
    assert [np.asarray(image).max() for image in found["image"]] == [1, 2]


def test_hf_leaves_the_bars_of_datasets_as_they_were(photos: ImageSource, tmp_path: Path) -> None:
    datasets.enable_progress_bars()
    export(selection_of(photos, KEPT), photos, ExportFormat.HF, tmp_path / "kept")
    assert not datasets.are_progress_bars_disabled()


# ---- what can go wrong -------------------------------------------------------------------------------------------

ALL = [ExportFormat.INDICES, ExportFormat.FOLDER, ExportFormat.CSV, ExportFormat.HF]
PICTURED = [ExportFormat(one) for one in ("folder", "hf", "webdataset", "labelstudio", "cvat", "fiftyone")]


@pytest.mark.parametrize("kind", ALL)
def test_nothing_is_overwritten(photos: ImageSource, tmp_path: Path, kind: ExportFormat) -> None:
    to = tmp_path / "taken"
    if kind is ExportFormat.CSV:
        to.write_text("mine")
    else:
        to.mkdir()
        (to / "mine.txt").write_text("mine")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(UsageError, match=r"never overwrites; choose another --to"):
        export(selection_of(photos, KEPT), photos, kind, to)
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("kind", ALL)
def test_the_current_folder_is_refused_like_any_other(
    photos: ImageSource, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: ExportFormat
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=r"choose (another )?--to"):
        export(selection_of(photos, KEPT), photos, kind, Path())
    assert sorted(tmp_path.iterdir()) == [tmp_path / "photos"]


def test_hf_of_many_bytes_is_in_several_files_with_the_same_bytes_each_time(
    photos: ImageSource, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hf, "FILE_BYTES", 1)
    monkeypatch.setattr(hf, "BATCH", 3)
    for name in ("first", "second"):
        export(selection_of(photos, KEPT | {4}), photos, ExportFormat.HF, tmp_path / name)
    first, second = (sorted((tmp_path / name / "data").iterdir()) for name in ("first", "second"))
    assert [file.name for file in first] == ["train-00000-of-00002.parquet", "train-00001-of-00002.parquet"]
    assert [file.read_bytes() for file in first] == [file.read_bytes() for file in second]
    whole = datasets.load_dataset(str(tmp_path / "first"), split="train", cache_dir=str(tmp_path / "cache"))
    assert whole["id"][:] == [photos.ids[row] for row in [0, 1, 3, 4, 5]]


@pytest.mark.parametrize("kind", [ExportFormat.INDICES, ExportFormat.FOLDER, ExportFormat.HF])
def test_an_empty_folder_is_filled(photos: ImageSource, tmp_path: Path, kind: ExportFormat) -> None:
    (tmp_path / "kept").mkdir()
    export(selection_of(photos, KEPT), photos, kind, tmp_path / "kept")
    assert any((tmp_path / "kept").iterdir())


@pytest.mark.parametrize("kind", PICTURED)
def test_ready_vectors_have_no_images(photos: ImageSource, tmp_path: Path, kind: ExportFormat) -> None:
    with pytest.raises(UsageError, match="choose --format indices or csv"):
        export(selection_of(photos, KEPT), None, kind, tmp_path / "kept")
    assert sorted(tmp_path.iterdir()) == [tmp_path / "photos"]


@pytest.mark.parametrize("kind", PICTURED)
def test_an_export_into_its_own_source_is_refused(
    photos: ImageSource, tmp_path: Path, kind: ExportFormat
) -> None:
    with pytest.raises(UsageError, match="lies within the source"):
        export(selection_of(photos, KEPT), photos, kind, tmp_path / "photos" / "cat" / "kept")


@pytest.mark.parametrize("kind", PICTURED)
def test_an_image_that_is_gone_leaves_nothing_half_written(
    photos: ImageSource, tmp_path: Path, kind: ExportFormat
) -> None:
    (tmp_path / "photos" / "dog & bone" / "b.JPG").unlink()
    with pytest.raises(TenpercentError, match=r"'dog & bone/b\.JPG' .* can't be read: No such file"):
        export(selection_of(photos, KEPT), photos, kind, tmp_path / "kept")
    assert sorted(tmp_path.iterdir()) == [tmp_path / "photos"]


@pytest.mark.parametrize("kind", PICTURED)
def test_another_source_is_refused(photos: ImageSource, tmp_path: Path, kind: ExportFormat) -> None:
    other = replace(photos, ids=("new.png", *photos.ids[:-1]))
    with pytest.raises(StageError, match=r"row 0 was 'cat/z\.png', is 'new\.png'"):
        export(selection_of(photos, KEPT), other, kind, tmp_path / "kept")


def test_a_full_disk_is_one_line_and_leaves_nothing(
    photos: ImageSource, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(file: Path, target: Path) -> str:
        if target.name == "b.JPG":
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(file, target)

    real = folder.link_or_copy
    monkeypatch.setattr(folder, "link_or_copy", full)
    with pytest.raises(
        TenpercentError, match=r"No space left on device( \(.* free\))?; free some space"
    ) as error:
        export(selection_of(photos, KEPT), photos, ExportFormat.FOLDER, tmp_path / "kept")
    assert "\n" not in str(error.value)
    assert sorted(tmp_path.iterdir()) == [tmp_path / "photos"]


def test_a_target_below_a_file_is_one_line(photos: ImageSource, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(UsageError, match=r"leads through .*, which is a file"):
        export(selection_of(photos, KEPT), photos, ExportFormat.INDICES, tmp_path / "file" / "kept")


def test_indices_and_csv_say_what_kind_of_target_they_make(photos: ImageSource, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"two files in a folder"):
        export(selection_of(photos, KEPT), None, ExportFormat.INDICES, tmp_path / "kept.npy")
    with pytest.raises(UsageError, match=r"CSV is one file; choose --to .*kept\.csv"):
        export(selection_of(photos, KEPT), None, ExportFormat.CSV, tmp_path)


def test_an_unknown_format_names_those_there_are(photos: ImageSource, tmp_path: Path) -> None:
    with pytest.raises(
        UsageError,
        match=r"'folders'; it must be one of indices, folder, csv, hf, .*coco, yolo, voc; did you mean folder",
    ):
        export(selection_of(photos, KEPT), None, "folders", tmp_path / "kept")


def test_kept_is_sorted_by_row_whatever_the_ids(photos: ImageSource) -> None:
    kept = Kept.of(selection_of(photos, KEPT))
    assert kept.rows.tolist() == [0, 1, 3, 5]
    assert kept.class_names == ["cat", "dog & bone", "dog & bone", "cat"]


def test_parquet_carries_its_features_without_datasets(photos: ImageSource, tmp_path: Path) -> None:
    export(selection_of(photos, KEPT), photos, ExportFormat.HF, tmp_path / "kept")
    assert (
        b"huggingface" in pq.read_schema(tmp_path / "kept" / "data" / "train-00000-of-00001.parquet").metadata
    )


# ---- sources that are tables already -------------------------------------------------------------------------------


@pytest.fixture
def table(tmp_path: Path) -> datasets.Dataset:
    """A data set with more columns than an image and a label, and one label missing."""
    features = datasets.Features(
        img=datasets.Image(),
        fine=datasets.ClassLabel(names=["ant", "bee", "cow"]),
        taken=datasets.Value("timestamp[ms]"),
        box=datasets.Sequence(datasets.Value("float32"), length=4),
        grid=datasets.Array2D((2, 2), "int8"),
    )
    rows = [
        {
            "img": {"bytes": picture(10 * number), "path": f"{number}.png"},
            "fine": [0, 1, 2, -1, 1, 0, 2][number],
            "taken": number,
            "box": [number / 2] * 4,
            "grid": [[number, 0], [0, 1]],
        }
        for number in range(7)
    ]
    return datasets.Dataset.from_list(rows, features=features)


TABLE_KEPT = {6, 0, 3, 4}


def check_table(found: datasets.Dataset, table: datasets.Dataset) -> None:
    expected = table.select(sorted(TABLE_KEPT))
    assert found.features == table.features
    raw = datasets.Image(decode=False)
    assert found.cast_column("img", raw).to_list() == expected.cast_column("img", raw).to_list()
    assert found[0]["img"].size == (6, 5)


def test_hf_keeps_all_columns_and_features_of_parquet(table: datasets.Dataset, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    table.select(range(3)).to_parquet(tmp_path / "in" / "a.parquet", batch_size=2)
    table.select(range(3, 7)).to_parquet(tmp_path / "in" / "b.parquet")
    source = open_source(tmp_path / "in")
    assert isinstance(source, ImageSource)
    export(selection_of(source, TABLE_KEPT), source, ExportFormat.HF, tmp_path / "kept")
    check_table(loaded(tmp_path / "kept"), table)


@pytest.mark.parametrize("shuffled", [False, True])
def test_hf_keeps_all_columns_and_features_of_a_data_set(
    table: datasets.Dataset, tmp_path: Path, shuffled: bool
) -> None:
    table = table.shuffle(seed=1) if shuffled else table
    table.save_to_disk(tmp_path / "in")
    source = open_source(f"hf:{tmp_path / 'in'}")
    assert isinstance(source, ImageSource)
    export(selection_of(source, TABLE_KEPT), source, ExportFormat.HF, tmp_path / "kept")
    check_table(loaded(tmp_path / "kept"), table)


def test_hf_takes_in_the_files_that_a_data_set_names(
    photos: ImageSource, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An `imagefolder` holds paths only; what is exported must not need them."""
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    (tmp_path / "photos" / "loose.png").unlink()
    source = open_source(f"hf:{photos.spec}")
    assert isinstance(source, ImageSource)
    expected = [source.read(row) for row in (0, 2)]
    export(selection_of(source, {0, 2}), source, ExportFormat.HF, tmp_path / "kept")
    shutil.rmtree(tmp_path / "photos")
    raw = loaded(tmp_path / "kept").cast_column("image", datasets.Image(decode=False))
    assert [image["bytes"] for image in raw["image"]] == expected


def test_parquet_without_features_gets_its_images_declared(tmp_path: Path) -> None:
    images = [{"bytes": picture(value), "path": None} for value in range(3)]
    plain = pa.table(
        {
            "image": pa.array(images, pa.struct({"bytes": pa.binary(), "path": pa.string()})),
            "label": ["ant", "bee", "ant"],
        }
    )
    pq.write_table(plain, tmp_path / "in.parquet")
    source = open_source(tmp_path / "in.parquet")
    assert isinstance(source, ImageSource)
    export(selection_of(source, {0, 2}), source, ExportFormat.HF, tmp_path / "kept")
    found = loaded(tmp_path / "kept")
    assert found.features == datasets.Features(image=datasets.Image(), label=datasets.Value("string"))
    assert found["label"][:] == ["ant", "ant"]
    assert found[1]["image"].getpixel((0, 0)) == (2, 253, 1)


def test_folder_of_a_table_has_its_original_bytes(table: datasets.Dataset, tmp_path: Path) -> None:
    table.to_parquet(tmp_path / "in.parquet")
    source = open_source(tmp_path / "in.parquet")
    assert isinstance(source, ImageSource)
    export(selection_of(source, TABLE_KEPT), source, ExportFormat.FOLDER, tmp_path / "kept")
    found = ImageFolder(str(tmp_path / "kept"))
    assert found.classes == ["ant", "bee", "cow"]
    assert [Path(path).read_bytes() for path, _ in found.samples] == [picture(0), picture(40), picture(60)]
    assert (tmp_path / "kept" / "3.png").read_bytes() == picture(30)  # the one without a label


def test_a_table_that_is_gone_is_an_error_of_the_source(table: datasets.Dataset, tmp_path: Path) -> None:
    table.to_parquet(tmp_path / "in.parquet")
    source = open_source(tmp_path / "in.parquet")
    assert isinstance(source, ImageSource)
    (tmp_path / "in.parquet").unlink()
    with pytest.raises(TenpercentError, match=r"in\.parquet can't be read: .*No such file"):
        export(selection_of(source, TABLE_KEPT), source, ExportFormat.HF, tmp_path / "kept")
    assert not any("kept" in path.name for path in tmp_path.iterdir())


def test_parquet_that_names_files_is_exported_with_their_bytes(photos: ImageSource, tmp_path: Path) -> None:
    names = list(photos.ids[:3])
    cells = [{"bytes": None, "path": name} for name in names]
    kind = pa.struct({"bytes": pa.binary(), "path": pa.string()})
    pq.write_table(
        pa.table({"image": pa.array(cells, kind), "n": [1, 2, 3]}), tmp_path / "photos" / "in.parquet"
    )
    source = open_source(tmp_path / "photos" / "in.parquet")
    assert isinstance(source, ImageSource)
    export(selection_of(source, {0, 2}), source, ExportFormat.HF, tmp_path / "kept")
    found = loaded(tmp_path / "kept").cast_column("image", datasets.Image(decode=False))
    assert [image["bytes"] for image in found["image"]] == [photos.read(0), photos.read(2)]
    assert found["n"][:] == [1, 3]


def test_parquet_files_of_different_columns_keep_all_of_them(table: datasets.Dataset, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    table.select(range(3)).to_parquet(tmp_path / "in" / "a.parquet")
    table.select(range(3, 7)).remove_columns("taken").to_parquet(tmp_path / "in" / "b.parquet")
    source = open_source(tmp_path / "in")
    assert isinstance(source, ImageSource)
    export(selection_of(source, TABLE_KEPT), source, ExportFormat.HF, tmp_path / "kept")
    found = loaded(tmp_path / "kept")
    assert found.features == table.features
    assert [taken is None for taken in found["taken"]] == [False, True, True, True]
