"""Sources in stores and on the web: read as on disk, fetched no more than needed, each failure one line."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from test_archives import FILES
from test_sources import labels, opened, png, put

from packed import shard, tarred, zipped
from tenpercent.data.sources.first_line import account, describe_taken
from tenpercent.data.sources.opening import open_source
from tenpercent.data.sources.options import SourceOptions
from tenpercent.data.sources.remote import ahead
from tenpercent.data.sources.remote import store as remote_store
from tenpercent.data.sources.run_name import run_folder_of
from tenpercent.data.sources.source import ImageSource, Unreadable
from tenpercent.data.store.embeddings import Embeddings
from tenpercent.errors import MissingExtraError, SourceError, UsageError, without_secrets

pytest.importorskip("fsspec", reason="fsspec is not installed")

from stores import HttpError, TestStore, memory_store, upload, web_server

PLACE = "memory://bucket/pets"


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[type[TestStore]]:
    with memory_store(monkeypatch, tmp_path / "cache") as found:
        yield found


def same(remote: ImageSource, local: ImageSource) -> bool:
    """Whether two sources have the same images."""
    content = [[one.read(row) for row in range(len(one))] for one in (remote, local)]
    return (remote.ids, remote.class_names, remote.split, remote.skipped, content[0]) == (
        local.ids,
        local.class_names,
        local.split,
        local.skipped,
        content[1],
    )


def test_a_folder_is_read_as_on_disk(store: type[TestStore], tmp_path: Path) -> None:
    names = [
        f"{split}/{kind}/{number}.png" for split in ("train", "test") for kind in "ab" for number in range(3)
    ]
    folder = put(tmp_path / "pets", *names)
    (
        (folder / "train" / ".hidden.png").write_bytes(b""),
        (folder / "train" / "a" / "notes.docx").write_bytes(b""),
    )
    address = upload(folder, PLACE)
    for split in (None, "test"):
        remote = opened(address, split=split)
        assert same(remote, opened(folder, split=split)) and remote.spec == PLACE
        assert labels(remote) == [0, 0, 0, 1, 1, 1]
    assert opened(f"{address}/").ids == opened(address).ids
    assert remote.stamps is not None and len({*remote.stamps}) == 6


def test_labels_from_a_text_file_beside_the_images(store: type[TestStore], tmp_path: Path) -> None:
    put(tmp_path / "pets" / "images", "1.png", "2.png")
    (tmp_path / "pets" / "labels.csv").write_text("file,label\n1.png,cat\n2.png,dog\n")
    remote = opened(upload(tmp_path / "pets", PLACE))
    assert remote.class_names == ("cat", "dog") and same(remote, opened(tmp_path / "pets"))


@pytest.mark.parametrize("make", [zipped, tarred])
def test_an_archive_is_read_where_it_is(store: type[TestStore], tmp_path: Path, make: type) -> None:
    name = f"pets.{'zip' if make is zipped else 'tar'}"
    (tmp_path / "in").mkdir()
    local = make(tmp_path / "in" / name, FILES)
    assert same(opened(f"{upload(tmp_path / 'in', PLACE)}/{name}"), opened(local))


def test_shards_are_listed_once_and_never_whole_in_memory(
    store: type[TestStore], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ahead, "BLOCK", 2048)
    (tmp_path / "in").mkdir()
    (
        shard(tmp_path / "in" / "shard-000.tar", range(40), png),
        shard(tmp_path / "in" / "shard-001.tar", range(40, 60), png),
    )
    size = sum(file.stat().st_size for file in (tmp_path / "in").iterdir())
    remote = opened(upload(tmp_path / "in", PLACE))
    assert same(remote, opened(tmp_path / "in"))
    assert describe_taken(account(remote)) == "60 images from 2 archives, 3 classes from .cls files"
    assert store.bytes_read() < 2.5 * size  # once for the list, with the labels, and once for the images
    assert max(end - start for _, start, end in store.reads if start is not None and end is not None) <= 2048
    store.reads.clear()
    assert (
        same(opened(PLACE), opened(tmp_path / "in")) and store.bytes_read() <= 1.2 * size
    )  # not listed again
    shard(tmp_path / "in" / "shard-001.tar", range(50, 60), png)
    assert len(opened(upload(tmp_path / "in", PLACE))) == 50


def test_a_truncated_shard(store: type[TestStore], tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    path = shard(tmp_path / "in" / "a.tar", range(4), png)
    path.write_bytes(path.read_bytes()[: 13 * 512 + 30])
    remote, local = opened(f"{upload(tmp_path / 'in', PLACE)}/a.tar"), opened(path)
    assert (
        remote.ids == local.ids
        and remote.taken == local.taken
        and "ends in the middle" in remote.taken["damage"]
    )
    again = opened(f"{PLACE}/a.tar")
    assert again.taken == local.taken  # the list says so too
    for source in (remote, local):
        with pytest.raises(Unreadable, match=r"ends in the middle of it, after \d+ of \d+ bytes"):
            source.read(len(source) - 1)


def test_parquet_is_read_by_row_groups(store: type[TestStore], tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for part in range(3):
        rows = range(20 * part, 20 * part + 20)
        cells = [{"bytes": png(row, 40), "path": f"{row}.png"} for row in rows]
        table = pa.table(
            {"image": cells, "label": [row % 3 for row in rows], "v": [[1.0 * row, 1.0] for row in rows]}
        )
        pq.write_table(table, tmp_path / "in" / f"{part}.parquet", row_group_size=7)
    remote = opened(upload(tmp_path / "in", PLACE), image_column="image")
    local = opened(tmp_path / "in", image_column="image")
    assert same(remote, local) and labels(remote) == labels(local)
    assert remote.columns is not None and local.columns is not None
    assert remote.columns(remote.labels).read_all() == local.columns(local.labels).read_all()
    vectors = open_source(PLACE, SourceOptions(embedding_column="v"))
    assert isinstance(vectors, Embeddings) and len(vectors) == 60


@pytest.mark.parametrize("where", ["disk", "store"])
def test_braces_name_several_files(
    store: type[TestStore], tmp_path: Path, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "in").mkdir()
    for number in range(3):
        shard(tmp_path / "in" / f"shard-{number:03d}.tar", range(2 * number, 2 * number + 2), png)
    monkeypatch.chdir(tmp_path)
    upload(tmp_path / "in", PLACE)
    place = "in" if where == "disk" else PLACE
    source = opened(f"{place}/shard-{{000..001}}.tar")
    assert list(source.ids) == [f"shard-00{n // 2}.tar/000{n}.png" for n in range(4)]
    assert source.spec == (f"{tmp_path}/in" if where == "disk" else PLACE) + "/shard-{000..001}.tar"
    assert same(opened(source.spec), source) and run_folder_of(source.spec) == Path("runs/shard")
    assert (
        len(opened(f"{place}/shard-{{000,002}}.tar")) == 4
        and len(opened(f"{place}/shard-00{{2..0}}.tar")) == 6
    )
    with pytest.raises(SourceError, match=r"shard-003\.tar(; | is not there)"):
        open_source(f"{place}/shard-{{002..003}}.tar")
    with pytest.raises(SourceError, match="names 1,000,001 files, above 100,000; name their folder"):
        open_source(f"{place}/shard-{{0..1000000}}.tar")
    with pytest.raises(SourceError, match="names 10,000,000,000 files, above 100,000; name their folder"):
        open_source(f"{place}/{{0..99999}}/shard-{{0..99999}}.tar")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("https://a:b@host/x?sign=1", "https://host/x"),
        ("https://token@host/x", "https://host/x"),
        ("read HTTP://token@host/x now", "read HTTP://host/x now"),
        ("s3://key:word@bucket/x", "s3://bucket/x"),
        (
            "abfs://container@account.dfs.core.windows.net/x",
            "abfs://container@account.dfs.core.windows.net/x",
        ),
        ("s3://bucket/me@home.png", "s3://bucket/me@home.png"),
        ("https://host/me@home.png", "https://host/me@home.png"),
    ],
)
def test_messages_have_no_passwords_tokens_or_signatures(given: str, said: str) -> None:
    assert without_secrets(given) == str(SourceError(given)) == said


def test_a_store_that_fails_every_tenth_time(store: type[TestStore], tmp_path: Path) -> None:
    folder = put(tmp_path / "pets", *[f"{number:03d}.png" for number in range(100)])
    remote = opened(upload(folder, PLACE))

    def fail(number: int, path: str) -> None:
        if number % 10 == 0:
            raise HttpError(500)

    store.fail = staticmethod(fail)  # type: ignore[assignment]
    assert same(remote, opened(folder)) and len(store.reads) > 100


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (
            HttpError(503),
            r"memory://bucket/pets/1\.png can't be read \(answered 503\); .* resumes .*\(6 attempts in ",
        ),
        (
            OSError("no route to host"),
            r"can't be read \(no route to host\); the same command resumes once it can \(6",
        ),
        (
            HttpError(403),
            r"1\.png: no permission to read it \(answered 403\); fsspec takes credentials from nowhere; ",
        ),
        (PermissionError("expired"), r"no permission to read it \(expired\)"),
    ],
)
def test_a_store_that_can_not_be_read_stops_the_command(
    store: type[TestStore], tmp_path: Path, error: OSError, said: str
) -> None:
    remote = opened(upload(put(tmp_path / "pets", "1.png", "2.png"), PLACE))

    def fail(number: int, path: str) -> None:
        raise error

    store.fail = staticmethod(fail)  # type: ignore[assignment]
    with pytest.raises(SourceError, match=said):
        remote.read(0)
    store.fail = staticmethod(lambda number, path: None)  # type: ignore[assignment]
    assert remote.read(0) == png(0)


def test_a_missing_object_is_one_image_that_can_not_be_read(store: type[TestStore], tmp_path: Path) -> None:
    remote = opened(upload(put(tmp_path / "pets", "1.png", "2.png"), PLACE))
    store.store.pop("/bucket/pets/1.png")
    with pytest.raises(FileNotFoundError, match="the object is not there any more"):
        remote.read(0)
    assert remote.read(1) == png(1)


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("memory://nowhere/x", r"^memory://nowhere/x is not there; check the address"),
        ("memory://bucket/pets/1.png", r"1\.png is not read where it is: .*fetch it, and name it on disk$"),
        ("ftp://host/x", r"ftp://host/x begins with ftp://, which is not read \(known: s3://, gs://, az://"),
    ],
)
def test_addresses_that_are_no_source(
    store: type[TestStore], tmp_path: Path, address: str, said: str
) -> None:
    upload(put(tmp_path / "pets", "1.png"), PLACE)
    with pytest.raises(SourceError, match=said):
        open_source(address)


def test_a_package_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "gcsfs", None)
    with pytest.raises(
        MissingExtraError, match=r"^gcsfs is not installed; install it with: pip install gcsfs$"
    ):
        open_source("gs://bucket/photos")


def test_a_library_that_needs_credentials_to_begin_with(
    store: type[TestStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object, **__: object) -> None:
        raise ValueError("Must provide an account!")

    monkeypatch.setattr(store, "__init__", refused)
    with pytest.raises(
        SourceError, match=r"pets can't be opened \(Must provide an account!\); fsspec takes credentials"
    ):
        open_source(PLACE)


def test_links_do_not_apply(store: type[TestStore]) -> None:
    with pytest.raises(UsageError, match="--follow-links does not apply to memory://bucket/pets"):
        opened(PLACE, follow_links=True)


def test_folders_and_archives_on_the_web(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("aiohttp", reason="aiohttp is not installed")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = put(tmp_path / "pets", *FILES)
    (
        zipped(tmp_path / "pets.zip", FILES),
        shard(tmp_path / "a-0.tar", range(3), png),
        shard(tmp_path / "a-1.tar", range(3), png),
    )
    with web_server(tmp_path) as web:
        remote = opened(f"{web}/pets/")
        assert same(remote, opened(folder)) and remote.stamps is not None and all(remote.stamps)
        assert same(opened(f"{web}/pets.zip"), opened(tmp_path / "pets.zip"))
        assert len(opened(f"{web}/a-{{0..1}}.tar")) == 6
    monkeypatch.setattr(remote_store, "FIRST_PAUSE", 0.0)
    with web_server(tmp_path, broken=10) as web:
        assert same(opened(f"{web}/pets/"), opened(folder)) and len(opened(f"{web}/a-{{0..1}}.tar")) == 6
    monkeypatch.setattr(ahead, "BLOCK", 1024)
    with web_server(tmp_path, ranges=False) as web:
        assert same(opened(f"{web}/pets/"), opened(folder))
        with pytest.raises(SourceError, match=r"a-0\.tar gave [\d,]+ bytes where .*\(HTTP ranges\)"):
            opened(f"{web}/a-0.tar").read(1)


def test_a_signed_address_is_used_and_never_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("aiohttp", reason="aiohttp is not installed")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    path = shard(tmp_path / "a.tar", range(5), png)
    with web_server(tmp_path, token="SECRET") as web:
        signed = f"{web}/a.tar?X-Amz-Signature=SECRET"
        remote = opened(signed)
        assert same(remote, opened(path)) and "SECRET" not in repr(remote) + remote.spec
        assert same(opened(remote.spec), opened(path))  # the same process may read it again
        assert run_folder_of(signed) == Path("runs/a")
        with pytest.raises(SourceError, match="no permission") as failed:
            open_source(f"{web}/b.tar?X-Amz-Signature=SECRET2")
    assert "SECRET" not in str(failed.value)
    shutil.rmtree(tmp_path / "cache")
