"""Shards of WebDataset: whole samples of a source that has shards, the same bytes each time, read back as a source."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path

import pytest
from test_export import KEPT, in_memory, picture

import tenpercent as tp
from packed import shard, tarred, zipped
from selections import selection_of
from tenpercent.data.sources.opening import open_source
from tenpercent.data.sources.source import ImageSource
from tenpercent.errors import TenpercentError, UsageError
from tenpercent.exporting import export, webdataset


def content(path: Path) -> dict[str, bytes]:
    with tarfile.open(path) as tar:
        return {info.name: tar.extractfile(info).read() for info in tar}  # type: ignore[union-attr]


def folder_of(root: Path) -> ImageSource:
    for name in ("cat/b.v2.PNG", "cat/a.png", "dog/c.png", "dog/d.png"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(picture(len(name) * 9 + ord(name[4])))
    source = open_source(root)
    assert isinstance(source, ImageSource)
    return source


def test_a_folder_becomes_numbered_samples(tmp_path: Path) -> None:
    source = folder_of(tmp_path / "photos")
    summary = export(selection_of(source, {0, 1, 3}), source, "webdataset", tmp_path / "out")
    assert [path.name for path in summary.paths[0].iterdir()] == ["shard-000000.tar"]
    assert summary.notes == ("1 shard",)
    files = content(tmp_path / "out" / "shard-000000.tar")
    for row in (0, 1, 3):
        image = next(files[name] for name in files if name == f"{row:09d}.png")
        assert image == (tmp_path / "photos" / source.ids[row]).read_bytes()
        assert int(files[f"{row:09d}.cls"]) == (0 if "cat" in source.ids[row] else 1)
        about = json.loads(files[f"{row:09d}.json"])
        assert (about["id"], about["class_name"]) == (source.ids[row], source.ids[row][:3])
        assert about["group"] == row
    assert len(files) == 9
    back = open_source(tmp_path / "out", tp.SourceOptions(label_column="class_name"))
    assert isinstance(back, ImageSource) and back.class_names == ("cat", "dog")
    assert [back.read(row) for row in range(3)] == [source.read(row) for row in (0, 1, 3)]


def test_the_same_bytes_and_the_disk_s_times_have_no_part_in_them(tmp_path: Path) -> None:
    source = folder_of(tmp_path / "photos")
    for name in ("first", "second"):
        export(selection_of(source, KEPT - {5}), source, "webdataset", tmp_path / name)
        (tmp_path / "photos" / source.ids[0]).touch()
    first, second = (tmp_path / name / "shard-000000.tar" for name in ("first", "second"))
    assert first.read_bytes() == second.read_bytes()
    with tarfile.open(first) as tar:
        assert {(info.mtime, info.uid, info.uname) for info in tar} == {(0, 0, "")}


def test_a_new_shard_begins_where_one_is_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webdataset, "SHARD_BYTES", 2 * len(picture(0)))
    source = in_memory([picture(0)] * 5)
    export(selection_of(source, set(range(5))), source, "webdataset", tmp_path / "out")
    shards = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert shards == ["shard-000000.tar", "shard-000001.tar", "shard-000002.tar"]
    assert [len(content(tmp_path / "out" / name)) for name in shards] == [4, 4, 2]  # no labels, so no .cls


def test_samples_of_shards_are_copied_whole(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    shard(tmp_path / "in" / "b.tar", range(3), picture)
    more = {"x/7.jpg": picture(7, "JPEG"), "x/7.seg.png": picture(8), "x/7.txt": b"caption", "x/7.cls": b"2"}
    tarred(tmp_path / "in" / "a.tar", {**more, "x/8.jpg": picture(9, "JPEG"), "x/8.cls": b"1"})
    source = open_source(tmp_path / "in")
    assert isinstance(source, ImageSource)
    kept = {source.ids.index("a.tar/x/7.jpg"), source.ids.index("b.tar/0001.png")}
    summary = export(selection_of(source, kept), source, "webdataset", tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.tar", "b.tar"]
    assert content(tmp_path / "out" / "a.tar") == more
    whole = content(tmp_path / "in" / "b.tar")
    assert content(tmp_path / "out" / "b.tar") == {
        name: whole[name] for name in whole if name.startswith("0001.")
    }
    along = "1 image that did not stay came with an image of the same sample that did"
    assert summary.notes == ("2 shards", along)
    back = open_source(tmp_path / "out")
    assert isinstance(back, ImageSource) and len(back) == 3


def test_classes_that_are_folders_of_an_archive_are_written_beside_the_images(tmp_path: Path) -> None:
    path = zipped(tmp_path / "pets.zip", {"cat/1.png": picture(1), "dog/1.png": picture(2)})
    source = open_source(path)
    assert isinstance(source, ImageSource)
    export(selection_of(source, {1}), source, "webdataset", tmp_path / "out")
    files = content(tmp_path / "out" / "pets.tar")
    assert list(files) == ["dog/1.png", "dog/1.cls", "dog/1.json"]
    assert files["dog/1.cls"] == b"1" and json.loads(files["dog/1.json"])["class_name"] == "dog"


def test_what_goes_wrong_is_one_line_and_leaves_nothing(tmp_path: Path) -> None:
    source = folder_of(tmp_path / "photos")
    with pytest.raises(UsageError, match="lies within the source"):
        export(selection_of(source, {0}), source, "webdataset", tmp_path / "photos" / "out")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").write_text("mine")
    with pytest.raises(UsageError, match="is not empty and an export never overwrites"):
        export(selection_of(source, {0}), source, "webdataset", tmp_path / "full")
    with pytest.raises(UsageError, match="has no images for the format 'webdataset'"):
        export(selection_of(source, {0}), None, "webdataset", tmp_path / "out")
    path = shard(tmp_path / "cut.tar", range(2), picture)
    with tarfile.open(path) as tar:
        end = tar.getmember("0001.cls").offset_data
    path.write_bytes(path.read_bytes()[:end])
    cut = open_source(path)
    assert isinstance(cut, ImageSource)
    with pytest.raises(TenpercentError, match=r"'0001.png' of .*cut.tar can't be read: cut.tar ends in"):
        export(selection_of(cut, {1}), cut, "webdataset", tmp_path / "out")
    assert not (tmp_path / "out").exists() and not list(tmp_path.glob(".out*"))
