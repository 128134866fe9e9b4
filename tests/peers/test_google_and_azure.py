"""Stores of Google and Azure by servers on this machine that speak their protocols, where these are installed.

`gs://` takes the packages of `requirements.txt`, `az://` also Azurite, of npm: ``npm install -g azurite``.
"""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import tenpercent as tp
from tenpercent.cli.main import main
from tenpercent.data.sources.opening import open_source
from tenpercent.data.sources.source import ImageSource, hash_of
from tenpercent.errors import SourceError

pytest.importorskip("fsspec")

import fsspec

from packed import shard, zipped
from stores import upload, web_server

ACCOUNT = "devstoreaccount1"  # of Azurite, with a key that everybody knows
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def connection(port: int, key: str = KEY) -> str:
    place = f"http://127.0.0.1:{port}/{ACCOUNT}"
    return f"DefaultEndpointsProtocol=http;AccountName={ACCOUNT};AccountKey={key};BlobEndpoint={place};"


@pytest.fixture(scope="module")
def google() -> Iterator[int]:
    pytest.importorskip("gcsfs")
    server = pytest.importorskip("gcp_storage_emulator.server")
    port = free_port()
    running = server.create_server("localhost", port, in_memory=True)
    running.start()
    yield port
    running.stop()


@pytest.fixture(scope="module")
def azure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    pytest.importorskip("adlfs")
    command = shutil.which("azurite-blob")
    if command is None:
        pytest.skip("azurite-blob is not installed: npm install -g azurite")
    port, folder = free_port(), tmp_path_factory.mktemp("azurite")
    how = ["--inMemoryPersistence", "--skipApiVersionCheck", "--disableTelemetry", "--blobPort", str(port)]
    running = subprocess.Popen([command, *how], cwd=folder, stdout=subprocess.DEVNULL)
    for _ in range(200):
        with socket.socket() as one:
            if one.connect_ex(("127.0.0.1", port)) == 0:
                break
        time.sleep(0.1)
    yield port
    running.terminate()
    running.wait()


@pytest.fixture(params=["gs", "az"])
def place(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    """The address of an empty folder in a store; the working directory is a new one."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    if request.param == "gs":
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", f"http://localhost:{request.getfixturevalue('google')}")
    else:
        monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", connection(request.getfixturevalue("azure")))
    fsspec.get_filesystem_class(request.param).clear_instance_cache()
    bucket = f"b{tmp_path.name.replace('_', '-').lower()[-40:].strip('-')}"
    fsspec.filesystem(request.param).mkdir(bucket)
    return f"{request.param}://{bucket}/set"


def png(number: int) -> bytes:
    path = Path(f"{number}.made.png")
    coarse = np.random.default_rng(number).integers(0, 256, (5, 7, 3)).astype(np.uint8)
    Image.fromarray(coarse).resize((56, 40)).save(path)
    return path.read_bytes()


def photos(folder: Path) -> Path:
    for number in range(12):
        path = folder / "cd"[number // 6] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png(number // 2))
    return folder


def content(spec: str | Path) -> tuple[object, ...]:
    source = open_source(spec)
    assert isinstance(source, ImageSource)
    return source.ids, source.class_names, [hash_of(source, row) for row in range(len(source))]


def test_folders_archives_and_runs(place: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    local = photos(tmp_path / "in" / "photos")
    files = {path.relative_to(local).as_posix(): path.read_bytes() for path in local.rglob("*.png")}
    zipped(tmp_path / "in" / "photos.zip", files)
    (tmp_path / "in" / "shards").mkdir()
    for number in range(2):
        shard(tmp_path / "in" / "shards" / f"a-{number}.tar", range(4 * number, 4 * number + 4), png)
    np.save(tmp_path / "in" / "v.npy", np.random.default_rng(0).normal(size=(40, 4)))
    upload(tmp_path / "in", place)
    for name in ("photos", "photos.zip", "shards", "shards/a-{0..1}.tar"):
        assert content(f"{place}/{name}") == content(tmp_path / "in" / name)
    assert main(["run", f"{place}/photos", "--keep", "0.5"]) == 0
    assert main(["export", "runs/photos", "--format", "hf", "--to", "kept"]) == 0
    assert content(Path("kept").resolve())[2] == [
        hash_of(open_source(local), row) for row in tp.Selection.load("runs/photos/selection.parquet").rows
    ]
    upload(tmp_path / "kept", f"{place}/kept")
    assert content(f"{place}/kept") == content(Path("kept").resolve())
    assert main(["run", f"{place}/v.npy", "--keep", "0.5"]) == 0
    assert (
        "falling back" not in (said := capsys.readouterr().err) and "KEY" not in said
    )  # of gcsfs, at each call
    for file in (one for one in Path("runs").rglob("*") if one.is_file()):
        assert KEY.encode() not in file.read_bytes(), file


def test_an_object_that_goes_and_places_that_are_not_there(place: str, tmp_path: Path) -> None:
    upload(photos(tmp_path / "in"), place)
    source = open_source(place)
    assert isinstance(source, ImageSource)
    fsspec.filesystem(place[:2]).rm(f"{place}/c/1.png")
    with pytest.raises(FileNotFoundError, match="the object is not there any more"):
        source.read(1)
    assert source.read(2) == (tmp_path / "in" / "c" / "2.png").read_bytes()
    scheme = place[:2]
    for name in (f"{place}/none", f"{place}/none.tar", f"{scheme}://nosuchbucket/x"):
        with pytest.raises(
            SourceError, match=r" is not there; check the address, and the name of its bucket"
        ):
            open_source(name)
    with pytest.raises(
        SourceError, match=rf"^{scheme}:// names no bucket or host; give {scheme}://NAME/FOLDER$"
    ):
        open_source(f"{scheme}://")


def test_a_wrong_key_of_azure(azure: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", connection(azure, f"AAAA{KEY[4:]}"))
    fsspec.get_filesystem_class("az").clear_instance_cache()
    with pytest.raises(
        SourceError, match=r"x: no permission to read it \(.*; adlfs takes credentials from AZURE_"
    ):
        open_source("az://bucket/x")
    monkeypatch.delenv("AZURE_STORAGE_CONNECTION_STRING")
    fsspec.get_filesystem_class("az").clear_instance_cache()
    with pytest.raises(
        SourceError, match=r"can't be opened \(.*; adlfs takes credentials from AZURE_STORAGE"
    ):
        open_source("az://bucket/x")


def test_a_refusal_of_google(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pytest.importorskip("gcsfs")
    with web_server(tmp_path, token="SECRET") as web:  # which answers 403
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", web)
        fsspec.get_filesystem_class("gs").clear_instance_cache()
        with pytest.raises(SourceError, match=r"x: no permission to read it \(Forbidden.*; gcsfs takes cred"):
            open_source("gs://bucket/x")
