"""Annotated images, videos and vectors in stores: read as on disk, texts copied to the cache once."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from test_boxes import noise, save
from test_sources import opened
from test_yolo_and_voc import voc, yolo

import tenpercent as tp
from tenpercent.data.sources.opening import open_source
from tenpercent.data.sources.options import SourceOptions
from tenpercent.data.sources.remote import fetched
from tenpercent.data.sources.source import ImageSource, hash_of
from tenpercent.data.store.embeddings import Embeddings
from tenpercent.data.store.run_folder import RunFolder
from tenpercent.errors import SourceError, UsageError

pytest.importorskip("fsspec", reason="fsspec is not installed")

from stores import TestStore, memory_store, upload

PLACE = "memory://bucket/set"


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[type[TestStore]]:
    monkeypatch.chdir(tmp_path)
    with memory_store(monkeypatch, tmp_path / "cache") as found:
        yield found


def coco(folder: Path) -> str:
    """Write the set of `yolo` in COCO's format; return the name of the source."""
    images = [
        {"id": one, "file_name": f"{name}.png", "width": 100, "height": 100}
        for one, name in enumerate("abcd")
    ]
    boxes = [
        (0, 1, [0, 0, 50, 60]),
        (0, 2, [40, 40, 20, 20]),
        (1, 2, [10, 20, 40, 40]),
        (2, 2, [10, 20, 40, 40]),
    ]
    entries = [
        {"id": number, "image_id": image, "category_id": kind, "bbox": box, "iscrowd": 0}
        for number, (image, kind, box) in enumerate(boxes, 1)
    ]
    for name, seed in zip("abcd", (1, 2, 2, 3), strict=True):
        save(folder / "images" / f"{name}.png", noise(seed))
    kinds = [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}]
    content = {"images": images, "annotations": entries, "categories": kinds}
    (folder / "instances.json").write_text(json.dumps(content))
    return f"coco:{folder / 'instances.json'}"


def remote(spec: str, folder: Path) -> str:
    """Copy a set to the store; return the name of the source there."""
    upload(folder, PLACE)
    return spec.replace(str(folder), PLACE)


def content(source: ImageSource) -> list[str | None]:
    return [hash_of(source, row) for row in range(len(source))]


def texts(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


@pytest.mark.parametrize("make", [coco, yolo, voc])
@pytest.mark.parametrize("unit", ["image", "object"])
def test_boxes_are_read_and_written_as_on_disk(
    store: type[TestStore], tmp_path: Path, make: object, unit: str
) -> None:
    assert callable(make)
    local = make(tmp_path / "set")
    spec = remote(local, tmp_path / "set")
    here, there = opened(local, unit=unit), opened(spec, unit=unit)
    assert there.spec == spec and (there.ids, there.class_names, there.split) == (
        here.ids,
        here.class_names,
        here.split,
    )
    assert content(there) == content(here) and there.stamps is not None and all(there.stamps)
    kind, options = spec.partition(":")[0], SourceOptions(unit=unit)
    for name, run in ((local, "local"), (spec, "remote")):
        tp.run(name, out=run, options=options, cut=tp.Cut(threshold=0.001))
        tp.export(run, kind, f"{run}-kept")
    store.reads.clear()
    tp.run(spec, out="remote", cut=tp.Cut(threshold=0.002))
    assert [path for path, _, _ in store.reads if not path.endswith(".png")] == []  # texts are in the cache
    written = [texts(Path(f"{run}-kept")) for run in ("local", "remote")]
    if make is yolo:  # the split that stays behind is elsewhere
        found = [one.pop("data.yaml") for one in written]
        assert found[1] == found[0].replace(str(tmp_path / "set").encode(), PLACE.encode())
    assert written[0] == written[1] and len(written[0]) >= 4


def test_annotations_that_change_are_fetched_again(store: type[TestStore], tmp_path: Path) -> None:
    spec = remote(coco(tmp_path / "set"), tmp_path / "set")
    tp.run(spec, out="run", options=SourceOptions(unit="object"), cut=tp.Cut(threshold=0.001))
    known = json.loads((tmp_path / "set" / "instances.json").read_text())
    known["annotations"][0]["bbox"] = [5, 5, 50, 60]
    known["annotations"].pop()
    store().pipe_file("/bucket/set/instances.json", json.dumps(known).encode())
    tp.run(spec, out="run", cut=tp.Cut(threshold=0.001))
    assert RunFolder.open("run").source.n == 3
    assert len(list((tmp_path / "cache" / "tenpercent" / "files").glob("*/*"))) == 1  # the old copy is gone


def test_images_and_annotations_may_lie_apart(store: type[TestStore], tmp_path: Path) -> None:
    for make, images in ((coco, "images"), (yolo, "")):
        local = make(tmp_path / make.__name__)
        upload(tmp_path / make.__name__ / images, f"memory://pictures/{make.__name__}")
        upload(tmp_path / make.__name__, PLACE)
        expected = content(opened(local))
        place = f"memory://pictures/{make.__name__}"
        source = opened(local, images=place)
        assert content(source) == expected and source.stamps is not None
        tp.run(local, out=f"run-{make.__name__}", options=SourceOptions(images=place), cut=tp.Cut(keep=1.0))
        assert RunFolder.open(f"run-{make.__name__}").source.options["images"] == place
        away = local.replace(str(tmp_path / make.__name__), PLACE)
        assert content(opened(away, images=place)) == expected
        source = opened(away, images=tmp_path / make.__name__ / images)
        assert content(source) == expected and source.stamps is None


def test_what_can_not_be_read_is_one_line(store: type[TestStore], tmp_path: Path) -> None:
    spec = remote(coco(tmp_path / "set"), tmp_path / "set")
    with pytest.raises(SourceError, match=r"^memory://bucket/set/none\.json is not there; check the address"):
        open_source(spec.replace("instances", "none"))
    with pytest.raises(
        SourceError, match=r"--follow-links does not apply to memory://bucket/set/instances.json"
    ):
        opened(spec, follow_links=True)
    with pytest.raises(UsageError, match=r"labels is s3://b/l\.txt, which is not read where it is; fetch it"):
        SourceOptions(labels="s3://b/l.txt")  # type: ignore[arg-type]
    with pytest.raises(SourceError, match=r"bucket/set is not one file; give the file of the annotations"):
        open_source(f"coco:{PLACE}")
    store.store.pop("/bucket/set/images/a.png")
    source = opened(spec)
    assert "1 image missing (a.png)" in source.taken["faults"]
    with pytest.raises(FileNotFoundError):
        source.read(0)
    assert isinstance(source.read(1), bytes)
    store.store.pop("/bucket/set/images/b.png")
    with pytest.raises(FileNotFoundError, match="the object is not there any more"):
        source.read(1)


def test_a_full_cache_is_one_line(
    store: type[TestStore], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = remote(coco(tmp_path / "set"), tmp_path / "set")
    (tmp_path / "cache").write_text("a file in its place")
    with pytest.raises(
        SourceError, match=r"set can't be copied to .*cache/tenpercent/files/.*set XDG_CACHE_HOME"
    ):
        open_source(spec)


def test_vectors(store: type[TestStore], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = np.random.default_rng(0).normal(size=(300, 4)).astype(np.float32)
    (tmp_path / "set").mkdir()
    np.save(tmp_path / "set" / "v.npy", vectors)
    upload(tmp_path / "set", PLACE)
    monkeypatch.setattr(fetched, "LARGE", 1000)
    found = open_source(f"{PLACE}/v.npy")
    assert isinstance(found, Embeddings) and np.array_equal(found.vectors, vectors)
    tp.run(f"{PLACE}/v.npy", out="run", keep=0.9)
    store.reads.clear()
    tp.select("run", keep=0.8)
    assert store.reads == [] and RunFolder.open("run").source.spec == f"{PLACE}/v.npy"
    shutil.rmtree(tmp_path / "cache")
    assert len(tp.select("run", keep=0.85).rows) == 255  # fetched again


def test_videos(store: type[TestStore], tmp_path: Path) -> None:
    pytest.importorskip("av")
    from films import film

    (
        film(tmp_path / "set" / "run" / "one.mp4", "ABAB", each=2),
        film(tmp_path / "set" / "walk" / "two.mkv", "CA"),
    )
    film(tmp_path / "set" / "walk" / "old.avi", "BA")
    upload(tmp_path / "set", PLACE)
    local, there = opened(tmp_path / "set", fps=2), opened(PLACE, fps=2)
    assert (there.ids, there.class_names, there.taken) == (local.ids, local.class_names, local.taken)
    assert content(there) == content(local)
    store.reads.clear()
    assert len(opened(PLACE, fps=1)) == 12 and store.reads == []  # their times are in the cache
    again = opened(f"{PLACE}/run/one.mp4", fps=2)
    assert content(again) == content(opened(tmp_path / "set" / "run" / "one.mp4", fps=2))
    tp.run(PLACE, out="run", keep=3)
    with pytest.raises(UsageError, match=r"ffmpeg can't read memory://bucket/set; fetch the videos and name"):
        tp.export("run", "cut", "kept")
    assert tp.export("run", "times", "times.csv").images == 3
    with pytest.raises(SourceError, match=r"one\.mp4 is not read where it is"):
        open_source(f"{PLACE}/{{run/one.mp4,walk/two.mkv}}")
