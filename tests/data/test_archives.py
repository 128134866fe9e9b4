"""Zip and tar files as sources, and shards of WebDataset: what is read, and what is said of broken ones."""

from __future__ import annotations

import tarfile
import zipfile
from pathlib import Path

import pytest
from PIL import Image
from test_sources import labels, opened, png

import tenpercent as tp
from films import scene
from packed import shard, tarred, zipped
from tenpercent.data.sources.first_line import account, describe_taken
from tenpercent.data.sources.source import Unreadable
from tenpercent.errors import SourceError, UsageError

FILES = {"cat/1.png": png(1), "cat/2.png": png(2), "dog/1.png": png(3)}


@pytest.mark.parametrize("make", [zipped, tarred])
def test_an_archive_is_read_as_the_folder_in_it(tmp_path: Path, make: type) -> None:
    other = {"__MACOSX/cat/1.png": b"", "cat/.hidden.png": b"", "README.txt": b"read me"}
    path = make(
        tmp_path / f"pets{'.zip' if make is zipped else '.tar'}",
        {f"./{k}": v for k, v in (FILES | other).items()},
    )
    source = opened(path)
    assert source.spec == str(path) and source.ids == tuple(FILES)
    assert source.class_names == ("cat", "dog") and labels(source) == [0, 0, 1]
    assert [source.read(row) for row in range(3)] == list(FILES.values())
    assert source.skipped == {"hidden files": 2, "files that are not images": 1}
    assert opened(path, label_column="none").labels is None


def test_splits_in_an_archive(tmp_path: Path) -> None:
    files = {f"{split}/{name}": data for split in ("train", "test") for name, data in FILES.items()}
    path = zipped(tmp_path / "pets.zip", files)
    assert opened(path).ids[0] == "train/cat/1.png" and len(opened(path)) == 3
    assert opened(path, split="test").ids[0] == "test/cat/1.png"


def test_shards_of_webdataset_with_their_labels(tmp_path: Path) -> None:
    shard(tmp_path / "shard-000.tar", range(4), png), shard(tmp_path / "shard-001.tar", range(4, 7), png)
    source = opened(tmp_path)
    assert source.ids[0] == "shard-000.tar/0000.png" and source.ids[-1] == "shard-001.tar/0006.png"
    assert source.class_names == ("0", "1", "2") and labels(source) == [0, 1, 2, 0, 1, 2, 0]
    said = "7 images from 2 archives, 3 classes from .cls files"
    assert describe_taken(account(source)) == said
    alone = opened(shard(tmp_path / "shard-002.tar", range(3), png, "json"))
    assert (
        alone.class_names == ("kind 0", "kind 1", "kind 2")
        and alone.taken["labels"] == ".json files, field label"
    )
    by_url = opened(tmp_path / "shard-002.tar", label_column="url")
    assert by_url.class_names == ("x",)


def test_a_cut_shard_names_the_file_it_ends_in_and_keeps_those_before(tmp_path: Path) -> None:
    path = shard(tmp_path / "shard-000.tar", range(5), png)
    with tarfile.open(path) as tar:
        place = tar.getmember("0003.png")
    data = path.read_bytes()
    path.write_bytes(data[: place.offset_data + 10])
    source = opened(tmp_path)
    assert [name[-8:] for name in source.ids] == ["0000.png", "0001.png", "0002.png", "0003.png"]
    assert [source.read(row) for row in range(3)] == [png(number) for number in range(3)]
    assert labels(source) == [0, 1, 2, -1]
    with pytest.raises(
        Unreadable, match=rf"shard-000.tar ends in the middle of it, after 10 of {place.size} bytes"
    ):
        source.read(3)
    assert "; shard-000.tar ends in the middle of 0003.png" in describe_taken(account(source))
    path.write_bytes(data[: place.offset])
    said = "shard-000.tar has no end mark, and may lack files after 0002.cls"
    assert said in describe_taken(account(opened(tmp_path)))


def test_links_in_a_tar_file_are_the_files_that_they_lead_to(tmp_path: Path) -> None:
    """As tar stores the second of two names of one file, which folders of exports and annexes are full of."""
    path = tarred(tmp_path / "pets.tar", {f"./{name}": data for name, data in FILES.items()})
    with tarfile.open(path, "a") as tar:
        for name, kind, target in (
            ("./new/1.png", tarfile.LNKTYPE, "./dog/1.png"),
            ("./new/2.png", tarfile.SYMTYPE, "../cat/2.png"),
            ("./new/3.png", tarfile.SYMTYPE, "/etc/passwd"),
        ):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, target
            tar.addfile(info)
    source = opened(path)
    assert source.ids == (*FILES, "new/1.png", "new/2.png")
    assert [source.read(row) for row in (3, 4)] == [FILES["dog/1.png"], FILES["cat/2.png"]]
    assert source.taken["damage"] == "1 link of pets.tar left out: not to a file in it"


def test_damage_in_a_zip_is_that_of_one_image(tmp_path: Path) -> None:
    path = zipped(tmp_path / "pets.zip", FILES)
    with zipfile.ZipFile(path) as archive:
        at = archive.getinfo("cat/2.png").header_offset
    data = bytearray(path.read_bytes())
    data[at + 45 : at + 60] = bytes(15)
    path.write_bytes(data)
    source = opened(path)
    assert [source.read(row) for row in (0, 2)] == [FILES["cat/1.png"], FILES["dog/1.png"]]
    with pytest.raises(Unreadable, match=r"it can't be read from pets.zip: "):
        source.read(1)
    path.write_bytes(data[:-30])
    with pytest.raises(SourceError, match=r"pets.zip is no whole zip file .*; fetch it again"):
        opened(path)


@pytest.mark.parametrize("make", [zipped, tarred])
def test_labels_from_a_text_file_in_an_archive_or_beside_it(tmp_path: Path, make: type) -> None:
    flat = {f"images/{number}.png": png(number) for number in range(4)}
    table = "file,label\n" + "".join(
        f"{number}.png,{'cat' if number % 2 else 'dog'}\n" for number in range(4)
    )
    name = f"pets{'.zip' if make is zipped else '.tar'}"
    (tmp_path / "in").mkdir()
    inside = opened(make(tmp_path / "in" / name, {**flat, "labels.csv": table.encode()}))
    assert labels(inside) == [1, 0, 1, 0] and inside.class_names == ("cat", "dog") and not inside.skipped
    assert describe_taken(account(inside)) == "4 images, 2 classes from labels.csv"
    assert opened(tmp_path / "in" / name, label_column="none").labels is None
    (tmp_path / "beside").mkdir()
    path = make(tmp_path / "beside" / name, flat)
    assert opened(path).labels is None
    (tmp_path / "beside" / "labels.csv").write_text(table)
    assert labels(opened(path)) == labels(opened(tmp_path / "beside")) == [1, 0, 1, 0]
    (tmp_path / "own.csv").write_text("name,kind\n0.png,a\n1.png,b\n")
    own = opened(path, labels=tmp_path / "own.csv", label_column="kind")
    assert labels(own) == [0, 1, -1, -1] and own.taken["labels"] == "own.csv"
    few = opened(make(tmp_path / name, {**flat, "labels.csv": b"file,label\n1.png,cat\n"}))
    assert few.labels is None and "labels.csv names 1 of 4 images" in few.taken["unlabelled"]
    with pytest.raises(
        SourceError, match=r"text file that names them, with --label-column kin \(labels.csv has no"
    ):
        opened(path, label_column="kin")


def test_refusals(tmp_path: Path) -> None:
    path = zipped(tmp_path / "pets.zip", FILES)
    with pytest.raises(UsageError, match=r"--fps 1.0 does not apply to an archive"):
        opened(path, fps=1)
    (tmp_path / "pets.tar.gz").write_bytes(b"")
    with pytest.raises(SourceError, match=r"pets.tar.gz is packed as a whole, .*; unpack it once"):
        opened(tmp_path / "pets.tar.gz")
    bad = tarred(tmp_path / "bad.tar", {"1.png": png(1), "1.json": b"{"})
    with pytest.raises(SourceError, match=r"1.json in .*bad.tar can't be read .*--label-column none"):
        opened(bad)
    deep = tarred(tmp_path / "deep.tar", {"1.png": png(1), "1.json": b"[" * 10**5})
    with pytest.raises(SourceError, match=r"1.json in .*deep.tar can't be read .*recursion"):
        opened(deep)
    named = tarred(tmp_path / "named.tar", {"1.png": png(1), "1.json": b'{"kind": 3}'})
    with pytest.raises(SourceError, match=r"no .json file .* has the field of --label-column kin"):
        opened(named, label_column="kin")
    with pytest.raises(SourceError, match=r"pets.zip has no .json files .* --label-column kind"):
        opened(path, label_column="kind")
    with pytest.raises(SourceError, match=r"none.zip holds no images; skipped: 1 file that is not an image"):
        opened(zipped(tmp_path / "none.zip", {"a.txt": b""}))


def test_a_run_of_an_archive_is_that_of_its_files(tmp_path: Path) -> None:
    for name, letter in zip(FILES, "ABC", strict=True):
        (tmp_path / "pets" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(scene(letter, (80, 80))).save(tmp_path / "pets" / name)
    path = zipped(tmp_path / "pets.zip", {name: (tmp_path / "pets" / name).read_bytes() for name in FILES})
    runs = [
        tp.run(source, out=tmp_path / f"run{at}", keep=1.0)
        for at, source in enumerate((path, tmp_path / "pets"))
    ]
    assert runs[0].ids.tolist() == runs[1].ids.tolist()
    parts = [next((tmp_path / f"run{at}" / "embeddings").glob("part-*")) for at in (0, 1)]
    columns = [tp.Embeddings.load(part.parent).vectors.tobytes() for part in parts]
    assert columns[0] == columns[1]
    tp.export(tmp_path / "run0", "folder", tmp_path / "kept")
    names = sorted(
        file.relative_to(tmp_path / "kept").as_posix() for file in (tmp_path / "kept").rglob("*.png")
    )
    assert names == sorted(FILES)
    assert all(
        (tmp_path / "kept" / name).read_bytes() == (tmp_path / "pets" / name).read_bytes() for name in names
    )
