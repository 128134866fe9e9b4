"""Runs of sources in stores: what is fetched again and what is not, resuming, updates, exports, the command line."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image
from test_sources import put

import tenpercent as tp
from packed import tarred
from tenpercent.cli.main import main
from tenpercent.data.store.left_out import read_rejected
from tenpercent.data.store.run_folder import RunFolder
from tenpercent.embedding import one_by_one
from tenpercent.errors import SourceError, TenpercentError
from tenpercent.reviewing.pictures import open_originals
from tenpercent.selection.stored import OpenRun
from test_next_week import SAME, draw

pytest.importorskip("fsspec", reason="fsspec is not installed")

from stores import HttpError, TestStore, memory_store, upload, web_server

PLACE = "memory://bucket/photos"
N = 24


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of photos, one of them broken."""
    folder = tmp_path_factory.mktemp("made") / "photos"
    folder.mkdir()
    for number in range(N - 1):
        draw(folder / f"{number:02d}.png", number)
    (folder / "05.png").write_bytes((folder / "04.png").read_bytes())
    (folder / "broken.png").write_bytes(b"no image")
    return folder


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, photos: Path) -> Iterator[type[TestStore]]:
    """A store with the photos, in which a part file has eight of them."""
    monkeypatch.setattr(one_by_one, "PART", 8)
    monkeypatch.chdir(tmp_path)
    with memory_store(monkeypatch, tmp_path / "cache") as found:
        upload(photos, PLACE)
        yield found


def names(store: type[TestStore]) -> list[str]:
    """The objects that were read since, in order of their names."""
    read = sorted({path.rpartition("/")[2] for path, _, _ in store.reads})
    store.reads.clear()
    return read


def test_a_run_of_a_store_has_the_bytes_of_one_on_disk(
    store: type[TestStore], photos: Path, tmp_path: Path
) -> None:
    remote = tp.run(PLACE, keep=0.75)
    local = tp.run(photos, out=tmp_path / "local", keep=0.75)
    assert remote.kept.tolist() == local.kept.tolist()
    for name in (*SAME, "embeddings/part-00002.parquet"):
        assert (tmp_path / "runs/photos" / name).read_bytes() == (tmp_path / "local" / name).read_bytes(), (
            name
        )
    assert RunFolder.open("runs/photos").source.spec == PLACE


def test_what_has_not_changed_is_not_fetched_again(
    store: type[TestStore], photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tp.run(PLACE, keep=0.75)
    assert len(names(store)) == N
    tp.embed(PLACE, out="runs/photos")
    tp.cluster("runs/photos", keep=0.3)
    tp.select("runs/photos", keep=0.8)
    assert tp.explain("runs/photos", "05.png") and main(["info", "runs/photos"]) == 0
    assert names(store) == []
    tp.report("runs/photos")
    assert 0 < len(store.reads) <= N  # each picture once
    names(store)
    originals = open_originals(RunFolder.open("runs/photos"), OpenRun.open("runs/photos").embeddings())
    assert names(store) == [] and originals.note is None
    originals.read(3)
    assert names(store) == ["03.png"]
    tp.export("runs/photos", to="kept", format="folder")
    assert len(names(store)) == len(list(Path("kept").iterdir())) == 18
    assert (Path("kept") / "04.png").read_bytes() == (photos / "04.png").read_bytes()
    tp.export("runs/photos", to="kept.csv", format="csv")
    assert names(store) == []


def test_objects_that_changed_are_embedded_and_no_others(
    store: type[TestStore], photos: Path, tmp_path: Path
) -> None:
    tp.run(PLACE, keep=0.75)
    again = tmp_path / "again"
    shutil.copytree(photos, again)
    draw(again / "03.png", 103), draw(again / "new.png", 104), draw(again / "broken.png", 105)
    (again / "07.png").unlink()
    store.store.pop("/bucket/photos/07.png")
    time.sleep(0.01)
    for name in ("03.png", "new.png", "broken.png", "08.png"):  # the last with the bytes that it had
        store.store.pop(f"/bucket/photos/{name}", None)
        upload_one(again / name)
    names(store)
    tp.embed(PLACE, out="runs/photos")
    assert names(store) == ["03.png", "08.png", "broken.png", "new.png"]
    tp.embed(PLACE, out="runs/photos")
    assert names(store) == []
    found, local = tp.Embeddings.load("runs/photos/embeddings"), tp.embed(again, out="local")
    assert found.ids.tolist() == local.ids.tolist() and (found.vectors == local.vectors).all()
    assert read_rejected(RunFolder.open("runs/photos")) is None or not len(
        read_rejected(RunFolder.open("runs/photos")) or ()
    )


def upload_one(file: Path) -> None:
    TestStore().pipe_file(f"/bucket/photos/{file.name}", file.read_bytes())


def test_a_store_that_goes_away_in_the_middle(store: type[TestStore], tmp_path: Path) -> None:
    tp.run(PLACE, out="whole", keep=0.75)
    names(store)

    def fail(number: int, path: str) -> None:
        if path.endswith("/18.png"):
            raise HttpError(403)

    store.fail = staticmethod(fail)  # type: ignore[assignment]
    with pytest.raises(SourceError, match=r"18\.png: no permission to read it .* resumes"):
        tp.run(PLACE, out="run", keep=0.75)
    store.fail = staticmethod(lambda number, path: None)  # type: ignore[assignment]
    assert len(list(Path("run/embeddings").glob("part-*.parquet"))) == 2
    names(store)
    tp.embed(PLACE, out="run")
    assert min(names(store)) == "16.png"  # parts that are whole were not fetched again
    for name in SAME[:3]:
        assert Path("run", name).read_bytes() == Path("whole", name).read_bytes(), name


def test_a_part_whose_objects_changed_is_compared_when_resumed(store: type[TestStore], photos: Path) -> None:
    def fail(number: int, path: str) -> None:
        if path.endswith("/18.png"):
            raise HttpError(403)

    store.fail = staticmethod(fail)  # type: ignore[assignment]
    with pytest.raises(SourceError):
        tp.run(PLACE, out="run", keep=0.75)
    store.fail = staticmethod(lambda number, path: None)  # type: ignore[assignment]
    time.sleep(0.01)
    upload_one(photos / "01.png")  # the same bytes
    store.store["/bucket/photos/09.png"] = store.store["/bucket/photos/10.png"]
    names(store)
    tp.embed(PLACE, out="run")
    assert {*names(store)} == {f"{number:02d}.png" for number in range(N - 1)} | {"broken.png"}
    tp.embed(PLACE, out="whole")
    for name in SAME[:3]:
        assert Path("run", name).read_bytes() == Path("whole", name).read_bytes(), name


def test_half_of_the_objects_missing_is_said(store: type[TestStore]) -> None:
    def fail(number: int, path: str) -> None:
        if path.rpartition("/")[2] > "05.png":
            raise FileNotFoundError(path)

    store.fail = staticmethod(fail)  # type: ignore[assignment]
    with pytest.raises(
        TenpercentError, match=r"18 of 24 images .* more than half .*the object is not there any more"
    ):
        tp.run(PLACE, keep=0.75)


def test_shards_are_fetched_twice_and_then_not_again(
    store: type[TestStore], photos: Path, tmp_path: Path
) -> None:
    (tmp_path / "in").mkdir()
    files = {file.name: file.read_bytes() for file in sorted(photos.iterdir())}
    tarred(tmp_path / "in" / "a-0.tar", dict(list(files.items())[:12]))
    tarred(tmp_path / "in" / "a-1.tar", dict(list(files.items())[12:]))
    upload(tmp_path / "in", "memory://bucket/shards")
    tp.run("memory://bucket/shards/a-{0..1}.tar", keep=0.75)
    size = sum(file.stat().st_size for file in (tmp_path / "in").iterdir())
    assert store.bytes_read() < 2.3 * size
    names(store)
    tp.embed("memory://bucket/shards/a-{0..1}.tar", out="runs/a")
    assert names(store) == [] and Path("runs/a/report.html").exists()
    time.sleep(0.01)
    store().pipe_file("/bucket/shards/a-1.tar", (tmp_path / "in" / "a-1.tar").read_bytes())
    tp.embed("memory://bucket/shards/a-{0..1}.tar", out="runs/a")
    assert names(store) == ["a-1.tar"]


def test_leaks_and_check(store: type[TestStore], photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tp.run(PLACE, keep=0.75)
    assert main(["leaks", "runs/photos", str(photos), "--out", "leaks"]) == 0
    assert "23" in capsys.readouterr().out
    assert main(["check", "runs/photos", "--max-redundant", "50%", "--threshold", "0.001"]) == 0


def test_a_signed_address_leaves_no_trace(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("aiohttp", reason="aiohttp is not installed")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    files = {file.name: file.read_bytes() for file in sorted(photos.iterdir())[:6]}
    (tmp_path / "in").mkdir()
    tarred(tmp_path / "in" / "a.tar", files)
    with web_server(tmp_path / "in", token="SECRET") as web:
        for command in ("run", "run", "embed"):
            assert main([command, f"{web}/a.tar?X-Amz-Signature=SECRET", "--out", "run"]) == 0
        said = capsys.readouterr()
    for file in (one for place in ("run", "cache") for one in Path(place).rglob("*") if one.is_file()):
        assert b"SECRET" not in file.read_bytes(), file
    assert "SECRET" not in said.out + said.err and (f"{web}/a.tar" in Path("run/run.json").read_text())


def test_the_command_line_on_s3(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("s3fs", reason="s3fs is not installed")
    moto = pytest.importorskip("moto.server", reason="moto is not installed")
    server = moto.ThreadedMotoServer(port=0)
    server.start()
    _, port = server.get_host_and_port()
    for name, value in {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_ACCESS_KEY_ID": "NOTSOSECRET",
        "AWS_SECRET_ACCESS_KEY": "VERYSECRET",
        "AWS_DEFAULT_REGION": "us-east-1",
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    try:
        import s3fs

        s3fs.S3FileSystem().mkdir("bucket")
        put(tmp_path / "in", "cat/1.png", "cat/2.png", "dog/1.png")
        upload(photos, "s3://bucket/photos")
        assert main(["run", "s3://bucket/photos", "--dry-run"]) == 0 and not Path("runs").exists()
        assert main(["run", "s3://bucket/photos", "--keep", "0.75"]) == 0
        assert main(["run", "s3://bucket/photos", "--keep", "0.5"]) == 0
        assert main(["export", "runs/photos", "--format", "folder", "--to", "kept"]) == 0
        capsys.readouterr()
        assert main(["run", "s3://nobucket/photos"]) == 2
        assert (
            capsys.readouterr().err.strip().endswith("check the address, and the name of its bucket or host")
        )
    finally:
        server.stop()
    with Image.open(next(Path("kept").glob("*.png"))) as image:
        assert image.size == (96, 72)
    for file in (one for one in Path("runs").rglob("*") if one.is_file()):
        assert b"SECRET" not in file.read_bytes(), file
