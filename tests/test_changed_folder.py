"""A folder of images that was grown, shrunk, renamed in, written over or taken away after a run was made of it."""

from __future__ import annotations

import csv
import errno
import os
import re
import shutil
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from tenpercent.cli.dry_run import plan
from tenpercent.cli.main import main
from tenpercent.data.sources.changes import RecordedImages, compare
from tenpercent.data.sources.opening import open_source
from tenpercent.data.sources.source import ImageSource
from tenpercent.data.store.run_folder import RunFolder
from tenpercent.embedding.settings import Supervised
from tenpercent.embedding.stage import embed
from tenpercent.errors import RunFolderError, StageError, TenpercentError, UsageError
from tenpercent.leakage.find import leaks
from tenpercent.pipeline import explain, export, report, run, select
from tenpercent.reviewing.pictures import open_originals
from tenpercent.selection.stored import load_embeddings, load_selection, open_images

QUICK = Supervised(depth=8, steps=4, batch=8)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder `photos` of 20 images in two classes, two of them held out, and the run `run` of it."""
    root, chance = tmp_path_factory.mktemp("made"), np.random.default_rng(0)
    for name in ("cat", "dog"):
        (root / "photos" / name).mkdir(parents=True)
        for number in range(10):
            pixels = chance.integers(0, 256, (16, 16, 3)).astype(np.uint8)
            file = root / "photos" / name / f"{number}.png"
            Image.fromarray(pixels).save(file)
            os.utime(file, (time.time() - 3600,) * 2)
    run(root / "photos", out=root / "run", keep=0.75, embedder=QUICK, holdout=0.1)
    return root


@pytest.fixture
def place(made: Path, tmp_path: Path) -> Path:
    """A copy of both, which the run knows as its source."""
    shutil.copytree(made / "photos", tmp_path / "photos")
    shutil.copytree(made / "run", tmp_path / "run")
    folder = RunFolder.open(tmp_path / "run")
    folder.follow(replace(folder.source, spec=str(tmp_path / "photos")))
    return tmp_path


def kept(place: Path) -> list[str]:
    return list(load_selection(RunFolder.open(place / "run")).kept)


def removed(place: Path) -> list[str]:
    return list(load_selection(RunFolder.open(place / "run")).removed)


def draw(file: Path, seed: int) -> None:
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (16, 16, 3)).astype(np.uint8)).save(file)


def exported(place: Path) -> list[str]:
    found = (place / "kept").rglob("*.png")
    return sorted(one.relative_to(place / "kept").as_posix() for one in found)


def test_nothing_is_said_of_a_folder_that_is_as_it_was(place: Path) -> None:
    assert not compare_now(place)
    assert "has changed" not in report(place / "run").read_text()
    assert len(open_images(RunFolder.open(place / "run"))) == 20
    for file in (place / "photos").rglob("*.png"):
        file.touch()  # copied without its time: the bytes decide
    assert not compare_now(place)


def compare_now(place: Path) -> object:
    known = RecordedImages.of(RunFolder.open(place / "run"))
    assert known is not None
    return compare(known, open_source(place / "photos"))  # type: ignore[arg-type]


def test_what_is_gone_is_named_and_the_rest_exported(place: Path, caplog: pytest.LogCaptureFixture) -> None:
    lost, *there = kept(place)
    (place / "photos" / lost).unlink()
    found = export(place / "run", "folder", place / "kept")
    assert exported(place) == sorted(there)
    assert found.images == len(there)
    assert f"Gone, and not exported: 1 kept image ({lost})." in found.notes
    page = report(place / "run").read_text()
    assert f"1 gone ({lost})" in page
    assert f"1 gone ({lost})" in caplog.text
    with pytest.raises(StageError, match=r"1 gone .* needs all images as they were"):
        open_images(RunFolder.open(place / "run"))


def test_a_data_set_of_what_is_left(place: Path) -> None:
    datasets = pytest.importorskip("datasets")
    lost, *there = kept(place)
    (place / "photos" / lost).unlink()
    export(place / "run", "hf", place / "kept")
    found = datasets.Dataset(pq.read_table(place / "kept" / "data" / "train-00000-of-00001.parquet"))
    assert sorted(found["id"]) == sorted(there)
    names = found.features["label"].names
    assert [names[code] for code in found["label"]] == [name.partition("/")[0] for name in found["id"]]


def test_a_new_image_is_named_and_locks_nothing(place: Path) -> None:
    draw(place / "photos" / "cat" / "0a.png", 1)  # it shifts the rows of those after it
    before = kept(place)
    found = export(place / "run", "folder", place / "kept")
    assert exported(place) == sorted(before)
    assert "New to the run, and not exported: 1 image (cat/0a.png)." in found.notes
    report(place / "run")
    select(place / "run", keep=0.8)
    explain(place / "run", before[0])
    assert len(open_images(RunFolder.open(place / "run"))) == 20
    noted = export(place / "run", "csv", place / "kept.csv").notes
    assert any("1 new (cat/0a.png)" in note and "those of the run" in note for note in noted)
    with (place / "kept.csv").open() as file:
        assert [row["id"] for row in csv.DictReader(file)] == kept(place)


def test_a_selection_of_a_changed_folder_says_so_in_one_line(
    place: Path, caplog: pytest.LogCaptureFixture
) -> None:
    select(place / "run", keep=0.8)
    assert "has changed" not in caplog.text
    (place / "photos" / kept(place)[0]).unlink()
    draw(place / "photos" / "cat" / "new.png", 1)
    select(place / "run", keep=0.7)
    assert caplog.text.count("has changed since it was embedded: 1 new (cat/new.png), 1 gone (") == 1
    command = f"tenpercent run {place / 'photos'} --out {place / 'run'} --holdout 0.1"
    assert f"; {command} takes it as it is now" in caplog.text
    with pytest.raises(UsageError, match=f"to take it too: {re.escape(command)}$"):
        explain(place / "run", "cat/new.png")


def test_running_on_a_folder_that_is_gone_says_what_still_works(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (place / "photos").rename(place / "elsewhere")
    monkeypatch.chdir(place)
    for source in ("photos", place / "photos"):
        with pytest.raises(UsageError) as refused:
            run(source, out="run")
        said = str(refused.value)
        assert said.startswith(f"{place / 'photos'}, which run was made of, is not there;")
        assert "report, select and exports as csv or indices still work" in said and said.endswith(
            "tenpercent run PLACE --out run --holdout 0.1"
        )
    (place / "photos").mkdir()  # emptied, or not mounted
    with pytest.raises(UsageError) as refused:
        run("photos", out="run")
    said = f"{place / 'photos'}, which run was made of, holds no images now; report, select"
    assert said in str(refused.value)
    report("run")
    assert said in (place / "run" / "report.html").read_text()
    with pytest.raises(UsageError, match="other") as refused:
        run("other", out="run")
    assert "was made of" not in str(refused.value)
    run("elsewhere", out="run", holdout=0.1)


def test_a_renamed_file_is_known_by_its_bytes(place: Path) -> None:
    old = next(name for name in kept(place) if name.startswith("cat/"))
    (place / "photos" / old).rename(place / "photos" / "cat" / "renamed.png")
    found = export(place / "run", "folder", place / "kept")
    assert (
        f"Renamed, and exported under the new name: 1 kept image ({old} is cat/renamed.png)." in found.notes
    )
    assert "cat/renamed.png" in exported(place)
    assert old not in exported(place)
    assert len(exported(place)) == len(kept(place))


def write_over(file: Path, how: str, seed: int) -> None:
    size, stamp = file.stat().st_size, file.stat().st_mtime
    if how == "unreadable":
        file.write_bytes(b"no image")
        return
    draw(file, seed)
    if how == "grown":
        file.write_bytes(file.read_bytes() + b"more" * 100)
        os.utime(file, (stamp, stamp))
    else:
        file.write_bytes((file.read_bytes() + b"\0" * size)[:size])
    if how == "renamed":  # another file of that size is moved to its name, and keeps its time
        os.utime(file, (stamp, stamp))
        file.rename(file.with_suffix(".tmp")).rename(file)


@pytest.mark.parametrize("how", ["unreadable", "same size", "grown", "renamed"])
@pytest.mark.parametrize("format", ["folder", "hf"])
def test_an_export_holds_nothing_but_what_was_embedded(place: Path, how: str, format: str) -> None:  # noqa: A002
    (name, *there), other = kept(place), removed(place)[0]
    time.sleep(0.01)
    for seed, image in enumerate((name, other)):
        write_over(place / "photos" / image, how, seed + 10)
    found = export(place / "run", format, place / "kept")
    assert f"Changed since it was embedded, and not exported: 1 kept image ({name})." in found.notes
    assert f"Changed since it was embedded: 1 removed image ({other})." in found.notes
    assert found.images == len(there)
    if format == "folder":
        assert exported(place) == sorted(there)
    else:
        assert sorted(pq.read_table(place / "kept" / "data", columns=["id"])["id"].to_pylist()) == sorted(
            there
        )


@pytest.mark.parametrize("how", ["unreadable", "same size", "grown"])
def test_a_file_written_over_is_named(place: Path, how: str) -> None:
    for seed, image in enumerate((kept(place)[0], removed(place)[0])):
        write_over(place / "photos" / image, how, seed + 10)
    with pytest.raises(StageError, match=r"2 with other content .*; tenpercent run .* takes it as it is now"):
        open_images(RunFolder.open(place / "run"))
    assert len(run(place / "photos", out=place / "run", embedder=QUICK, holdout=0.1, reread=True).kept) > 0


def test_a_file_that_may_not_be_read_is_not_linked(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name, whole = kept(place)[0], Path.open

    def denied(self: Path, *args: Any, **how: Any) -> object:
        if self == place / "photos" / name:
            raise PermissionError(errno.EACCES, "Permission denied", str(self))
        return whole(self, *args, **how)

    monkeypatch.setattr(Path, "open", denied)
    with pytest.raises(
        TenpercentError, match=f"the image '{name}' of .*photos can't be read: Permission denied;"
    ):
        export(place / "run", "folder", place / "kept")
    assert not (place / "kept").exists()


@pytest.mark.parametrize("format", ["folder", "hf"])
def test_a_table_written_again_with_other_images_is_not_exported(place: Path, format: str) -> None:  # noqa: A002
    files = sorted((place / "photos").rglob("*.png"))
    columns = {"image": [file.read_bytes() for file in files], "label": [file.parent.name for file in files]}
    table = pa.table({**columns, "id": list(map(str, range(len(files))))})
    pq.write_table(table, place / "x.parquet")
    kept = run(place / "x.parquet", out=place / "of-table", keep=0.75, embedder=QUICK).kept
    assert export(place / "of-table", format, place / "before").images == len(kept)
    images = table["image"].to_pylist()
    images[int(kept[0])] = images[int(kept[0]) - 1]
    pq.write_table(table.set_column(0, "image", pa.array(images)), place / "x.parquet")
    with pytest.raises(
        TenpercentError, match=f"'{kept[0]}' .*other content than when it was embedded; .*run again"
    ):
        export(place / "of-table", format, place / "kept")
    assert not (place / "kept").exists()


def test_a_folder_that_moved_and_changed_is_followed(place: Path) -> None:
    (place / "photos").rename(place / "elsewhere")
    lost = removed(place)[0]
    (place / "elsewhere" / lost).unlink()
    run(place / "elsewhere", out=place / "run", holdout=0.1, keep=0.75)
    assert RunFolder.open(place / "run").read()["source"]["spec"] == str(place / "elsewhere")
    export(place / "run", "folder", place / "kept")
    assert exported(place) == sorted(kept(place))


def test_a_trained_network_embeds_what_is_new_and_is_not_trained_again(
    place: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    before = {name: load_embeddings(RunFolder.open(place / "run"), name) for name in ("start", "end")}
    weights = (place / "run" / "training" / "weights.safetensors").read_bytes()
    for seed, name in enumerate(("cat/new.png", "dog/new.png", "dog/newer.png")):
        draw(place / "photos" / name, seed)
    for seed in range(6):  # more broken ones than good ones
        (place / "photos" / "cat" / f"broken-{seed}.png").write_bytes(b"")
    moved, gone = before["end"].ids[:2].tolist()
    (place / "photos" / moved).rename(place / "photos" / "cat" / "moved.png")
    (place / "photos" / gone).unlink()
    monkeypatch.setattr("tenpercent.embedding.training.run_job", None)
    run(place / "photos", out=place / "run", holdout=0.1, keep=0.75)
    assert (place / "run" / "training" / "weights.safetensors").read_bytes() == weights
    for layer, old in before.items():
        now = load_embeddings(RunFolder.open(place / "run"), layer)
        assert now.class_names == ("cat", "dog")
        vectors, at = dict(zip(now.ids, now.vectors, strict=True)), dict(zip(now.ids, now.rows, strict=True))
        for name, vector in zip(old.ids, old.vectors, strict=True):
            if name != gone:
                assert (vectors["cat/moved.png" if name == moved else name] == vector).all()
        assert not (vectors["dog/new.png"] == vectors["dog/newer.png"]).all()
        assert [name for name, _ in sorted(at.items(), key=lambda one: one[1])] == sorted(at)
    shutil.rmtree(place / "photos" / "dog")
    assert run(place / "photos", out=place / "run", holdout=0.1).class_names == ("cat",)
    for seed in range(6):
        (place / "photos" / "cat" / f"broken-{seed}.png").unlink()
    draw(place / "photos" / "cat" / "newest.png", 50)  # the network still has two outputs
    with caplog.at_level("INFO"):
        assert "cat/newest.png" in embed(place / "photos", out=place / "run", holdout=0.1).ids
    assert "embedding 1 image of" in caplog.text


def test_a_class_that_the_network_was_not_trained_on_is_refused(place: Path) -> None:
    (place / "photos" / "bird").mkdir()
    draw(place / "photos" / "bird" / "0.png", 1)
    for act in (run, plan):
        with pytest.raises(RunFolderError, match=r"not trained on \('bird'\); .*--embedder pretrained"):
            act(place / "photos", out=place / "run", holdout=0.1)  # type: ignore[operator]
    assert len(load_selection(RunFolder.open(place / "run"))) == 18


def test_another_folder_is_no_moved_one(place: Path) -> None:
    (place / "others").mkdir()
    for number in range(4):
        draw(place / "others" / f"{number}.png", number)
    (place / "photos").rename(place / "hidden")
    with pytest.raises(RunFolderError, match="holds a run of"):
        run(place / "others", out=place / "run")
    assert RunFolder.open(place / "run").read()["source"]["spec"] == str(place / "photos")


def test_what_needs_no_images_works_without_the_source(place: Path) -> None:
    shutil.rmtree(place / "photos")
    rows = export(place / "run", "indices", place / "rows")
    assert len(np.load(place / "rows" / "indices.npy")) == len(kept(place))
    assert any("is not there" in note for note in rows.notes)
    export(place / "run", "csv", place / "kept.csv")
    page = report(place / "run").read_text()
    assert "This page has no pictures" in page
    explain(place / "run", kept(place)[0])
    assert main(["export", str(place / "run"), "--format", "folder", "--to", str(place / "kept")]) == 2


def test_review_and_leaks_go_on_with_what_is_there(place: Path) -> None:
    lost = kept(place)[0]
    (place / "photos" / lost).unlink()
    draw(place / "photos" / "cat" / "0a.png", 1)
    folder = RunFolder.open(place / "run")
    embeddings = load_embeddings(folder)
    originals = open_originals(folder, embeddings)
    assert originals.note is not None
    assert f"1 new (cat/0a.png), 1 gone ({lost})" in originals.note
    gone = embeddings.ids.tolist().index(lost)
    assert [position for position in range(len(embeddings)) if originals.missing(position)] == [gone]
    other = (gone + 1) % len(embeddings)
    assert originals.read(other) == (place / "photos" / embeddings.ids[other]).read_bytes()
    (place / "test" / "cat").mkdir(parents=True)
    draw(place / "test" / "cat" / "a.png", 2)
    assert len(leaks(place / "run", place / "test", threshold=2.0, out=place / "leaks")) == 1


def test_a_corrected_class_is_named(place: Path) -> None:
    name = next(one for one in kept(place) if one.startswith("cat/"))
    (place / "photos" / name).rename(place / "photos" / "dog" / "was-cat.png")
    notes = export(place / "run", "folder", place / "kept").notes
    assert any(f"{name} is dog/was-cat.png" in one for one in notes)
    assert "cat/was-cat.png" in exported(place)  # by the class that the run knows, which the note tells


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("cat/live.HEIC", "one of the .heic images that can't be read here; convert it to JPEG or PNG"),
        ("notes.txt", "one of the files that are not images"),
        ("cat/._0.png", "hidden files are"),
    ],
)
def test_explain_says_why_a_file_was_passed_over(place: Path, name: str, why: str) -> None:
    shutil.copy(place / "photos" / kept(place)[0], place / "photos" / name)
    with pytest.raises(UsageError) as refused:
        explain(place / "run", name)
    assert f"{name} took no part: it was skipped (" in str(refused.value)
    assert why in str(refused.value)
    with pytest.raises(UsageError, match="no such id"):
        explain(place / "run", "cat/never.png")


def test_explain_knows_new_and_renamed_files(place: Path) -> None:
    photos = place / "photos" / "cat"
    draw(photos / "new.png", 1)
    old = photos / "0.png"
    old.rename(photos / "holiday.png")
    with pytest.raises(UsageError, match=f"holiday.png is cat/{old.name} of the run under another name"):
        explain(place / "run", "cat/holiday.png")
    with pytest.raises(UsageError, match=r"cat/new\.png was added since the run was made"):
        explain(place / "run", "cat/new.png")


@pytest.mark.parametrize("labelled", [True, False])
def test_an_exported_selection_beside_the_images_labels_nothing(place: Path, labelled: bool) -> None:
    """Like README's own `tenpercent export RUN --format csv --to kept.csv`, called beside the photos."""
    folder = place / "photos" if labelled else place / "photos" / "cat"
    export(place / "run", "csv", folder.parent / "kept.csv")
    found = open_source(folder)
    assert isinstance(found, ImageSource)
    assert found.class_names == (("cat", "dog") if labelled else ())
