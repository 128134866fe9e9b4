"""Exports that were killed: the same command completes, and what is somebody else's stays untouched."""

from __future__ import annotations

import csv
import errno
import json
import os
import random
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import tenpercent as tp
from conftest import write_photos
from forked import command, start_command
from tenpercent.data.store.files import own_folder, write_text
from tenpercent.data.store.remains import held, is_abandoned, remains
from tenpercent.errors import RunFolderError, UsageError
from tenpercent.exporting import targets

FORMATS = ("indices", "folder", "csv", "hf", "webdataset", "labelstudio", "cvat", "fiftyone")
needs_locks = pytest.mark.skipif(os.name != "posix", reason="what a killed process left is told by its lock")


def flat(images: Any) -> np.ndarray:
    return np.stack([np.asarray(image, dtype=np.float32).reshape(-1) + 1.0 for image in images])


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A run for all exports, which change nothing in it."""
    out = tmp_path_factory.mktemp("made") / "run"
    tp.run(write_photos(out.parent / "photos"), out=out, keep=0.25, embedder=flat)
    before = snapshot(out)
    yield out
    assert snapshot(out) == before


def snapshot(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def killed_export(run: Path, form: str, to: Path, at: int) -> bool:
    """Export in a child that ends at its at-th change of the disk and clears up nothing; False if it finished."""
    child = os.fork()
    if child == 0:
        count = 0

        def counted(event: str, words: tuple[Any, ...]) -> None:
            nonlocal count
            path = str(words[0]) if words else ""
            if event in ("os.mkdir", "os.rename", "os.link", "os.rmdir", "os.remove", "shutil.copyfile") or (
                event == "open" and ".partial" in path and words[1] not in (None, "r", "rb")
            ):
                count += 1
                if count == at:
                    os._exit(9)

        sys.addaudithook(counted)
        try:
            tp.export(run, form, to)
            os._exit(0)
        except BaseException:  # noqa: BLE001 – the child ends here, whatever came
            os._exit(1)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert status in (0, 9)
    return status == 9


@needs_locks
@pytest.mark.parametrize("form", FORMATS)
def test_the_same_export_completes_wherever_it_was_killed(form: str, run: Path, tmp_path: Path) -> None:
    # Like voxel51/fiftyone#1780: what a failed attempt leaves keeps the next one of that name from being made.
    if form == "hf":
        pytest.importorskip("datasets")
    (tmp_path / "whole").mkdir()
    whole = tmp_path / "whole" / "kept"
    tp.export(run, form, whole)
    wanted = snapshot(whole.parent)
    moments = complete = 0
    for at in range(1, 200):
        place = tmp_path / f"at-{at}"
        place.mkdir()
        (place / "foreign.txt").write_text("mine")
        if not killed_export(run, form, place / "kept", at):
            break
        moments += 1
        if all((place / path.name).exists() for path in whole.parent.iterdir()):
            with pytest.raises(UsageError, match="never overwrites") as refused:
                tp.export(run, form, place / "kept")
            complete += "is complete: the export that wrote it was killed" in str(refused.value)
        else:
            tp.export(run, form, place / "kept")
        found = snapshot(place)
        assert found.pop("foreign.txt") == b"mine"
        assert found.keys() == wanted.keys(), at
        assert found == wanted
        assert {path.name for path in place.iterdir()} <= {"kept", "foreign.txt"}, at
    assert complete  # where what it was about to move is still written down
    assert moments >= {"indices": 3, "folder": 14, "csv": 3, "hf": 5, "webdataset": 4}.get(form, 4)


@needs_locks
def test_exports_killed_at_random_moments_from_outside(run: Path, tmp_path: Path) -> None:
    to, chance = tmp_path / "out" / "kept", random.Random(0)
    for _ in range(3):
        process = start_command("export", run, "--format", "folder", "--to", to)
        time.sleep(chance.uniform(0.05, 0.4))
        process.kill()
        if to.exists():
            break
    if not to.exists():
        done = command("export", run, "--format", "folder", "--to", to)
        assert done.returncode == 0, done.stderr
    tp.export(run, "folder", tmp_path / "whole")
    assert snapshot(to) == snapshot(tmp_path / "whole")
    assert [path.name for path in to.parent.iterdir()] == ["kept"]


@needs_locks
def test_a_foreign_folder_is_refused_and_untouched_even_beside_remains(run: Path, tmp_path: Path) -> None:
    for at in range(1, 200):  # up to the moment between the move and the end
        place = tmp_path / f"at-{at}"
        place.mkdir()
        assert killed_export(run, "folder", place / "kept", at)
        if (place / "kept").exists():
            break
    (left,) = place.glob(".kept.*.partial")
    (place / "kept").rename(tmp_path / "elsewhere")
    (place / "kept").mkdir()
    (place / "kept" / "mine.txt").write_text("mine")
    with pytest.raises(UsageError, match="is not empty and an export never overwrites"):
        tp.export(run, "folder", place / "kept")
    assert snapshot(place / "kept") == {"mine.txt": b"mine"}
    assert (tmp_path / "elsewhere" / "cat").is_dir()
    assert not left.exists()


def test_what_a_living_export_writes_is_left_alone(tmp_path: Path) -> None:
    with targets.building(tmp_path / "kept") as mine:
        (mine / "half").write_text("half")
        with targets.building(tmp_path / "kept") as other:
            assert other != mine
        targets.clear_remains(tmp_path / "kept")
        assert (mine / "half").read_text() == "half"
    assert list(tmp_path.iterdir()) == []


@needs_locks
def test_only_what_is_ours_counts_as_remains(tmp_path: Path) -> None:
    for name in (
        ".kept.12.partial",
        ".kept.12-0a1b2c3d.partial",
        ".kept.mine.partial",
        ".other.12.partial",
        "kept.12",
    ):
        (tmp_path / name).mkdir()
    (tmp_path / "target").mkdir()
    (tmp_path / ".kept.13.partial").symlink_to(tmp_path / "target")
    found = [path.name for path in remains(tmp_path / "kept", ".")]
    assert found == [".kept.12-0a1b2c3d.partial", ".kept.12.partial"]
    with held(tmp_path / ".kept.12.partial"):
        assert not is_abandoned(tmp_path / ".kept.12.partial")
    assert is_abandoned(tmp_path / ".kept.12.partial")


def test_a_name_as_long_as_a_file_system_takes(run: Path, tmp_path: Path) -> None:
    to = tmp_path / ("k" * 250)
    tp.export(run, "indices", to)
    assert sorted(path.name for path in to.iterdir()) == ["indices.npy", "indices.txt"]


def test_a_target_behind_a_link(run: Path, tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with pytest.raises(UsageError, match="exists already"):
        tp.export(run, "indices", tmp_path / "link")
    tp.export(run, "indices", tmp_path / "link" / "kept")
    assert (tmp_path / "real" / "kept" / "indices.npy").is_file()


@needs_locks
def test_leaks_and_probe_begin_again_where_they_were_killed_at_their_first_file(
    vectors: Path, tmp_path: Path
) -> None:
    np.save(tmp_path / "test.npy", np.load(vectors)[:20])
    for name, make in (
        ("leaks.json", lambda out: tp.leaks(vectors, tmp_path / "test.npy", out=out)),
        ("probe.json", lambda out: tp.probe([], out=out)),
    ):
        out = tmp_path / name.partition(".")[0]
        out.mkdir()
        (out / f"{name}.4242.partial").write_text('{"for')
        if name == "leaks.json":
            for left in ("leaks.html.77.partial", "leaks.parquet.78.partial"):
                (out / left).write_text("half")
            make(out)
            assert list(out.glob("*.partial")) == []
        else:
            assert own_folder(out, name, (), 1, "probe") == out
            assert [path.name for path in out.iterdir()] == [name]
        foreign = tmp_path / f"foreign-{name}"
        foreign.mkdir()
        (foreign / "mine.12.partial").write_text("mine")
        with pytest.raises(UsageError, match=r"is not empty|nothing to probe"):
            make(foreign)
        assert snapshot(foreign) == {"mine.12.partial": b"mine"}


@needs_locks
def test_tables_clear_what_was_left_of_them_alone(vectors: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "test.npy", np.load(vectors)[:20])
    found = tp.leaks(vectors, tmp_path / "test.npy")
    for ending in (".csv", ".parquet"):
        (tmp_path / f"pairs{ending}.99.partial").write_text("half")
        (tmp_path / f"others{ending}.99.partial").write_text("half")
        found.save(tmp_path / f"pairs{ending}")
        assert not (tmp_path / f"pairs{ending}.99.partial").exists()
        assert (tmp_path / f"others{ending}.99.partial").exists()


def test_a_file_that_is_being_written_is_held(tmp_path: Path) -> None:
    from tenpercent.data.store.files import replacing

    with replacing(tmp_path / "file.txt") as temporary:
        temporary.write_text("half")
        assert remains(tmp_path / "file.txt") == []
    write_text(tmp_path / "file.txt", "whole")
    assert [path.name for path in tmp_path.iterdir()] == ["file.txt"]


@pytest.mark.parametrize(
    ("number", "remedy"),
    [
        (errno.ENOSPC, "free some space"),
        (errno.EROFS, "make the folder writable"),
        (errno.EACCES, "make the folder writable"),
        (errno.EMFILE, "allow more open files"),
        (errno.EISDIR, "move away the folder of that name"),
    ],
)
def test_the_remedy_fits_what_keeps_a_file_from_being_written(
    number: int, remedy: str, tmp_path: Path
) -> None:
    from tenpercent.data.store.files import replacing

    with pytest.raises(RunFolderError, match=remedy), replacing(tmp_path / "file.txt"):
        raise OSError(number, os.strerror(number))
    assert list(tmp_path.iterdir()) == []


# ---- CSV -----------------------------------------------------------------------------------------------------------

HARD = [
    "=cmd|' /C calc'!A0.png",
    "+1+1.png",
    "-2+3.png",
    "@SUM(A1).png",
    "＝1.png",
    " =1.png",
    "NA",
    "007",
    "-1.5",
]
HARD += ["null", 'quo"te, comma', "1e5", "nan", "ok.png", "True", "'=1"]
READ = {"dtype": {"id": str, "path": str, "class_name": str, "representative": str}, "keep_default_na": False}


def test_ids_survive_csv_whatever_they_look_like(tmp_path: Path) -> None:
    # Like roboflow/inference#2578 and hhurz/tableExport.jquery.plugin#230, where a ' before them changes them.
    rows = np.eye(len(HARD), dtype=np.float32) + 0.1
    names = [f"class {number % 3}" if number % 5 else "=class" for number in range(len(HARD))]
    np.save(tmp_path / "vectors.npy", rows)
    (tmp_path / "ids.txt").write_text("\n".join(HARD) + "\n", encoding="utf-8")
    (tmp_path / "labels.txt").write_text("\n".join(names) + "\n", encoding="utf-8")
    options = tp.SourceOptions(ids=tmp_path / "ids.txt", labels=tmp_path / "labels.txt")
    tp.run(tmp_path / "vectors.npy", out=tmp_path / "run", keep=1.0, options=options)
    written = tp.export(tmp_path / "run", "csv", tmp_path / "kept.csv")
    back = pd.read_csv(tmp_path / "kept.csv", na_values=[""], **READ)
    assert back["id"].tolist() == HARD
    assert back["representative"].tolist() == HARD
    assert back["class_name"].tolist() == names
    with (tmp_path / "kept.csv").open(encoding="utf-8", newline="") as file:
        assert [row["id"] for row in csv.DictReader(file)] == HARD
    (note,) = written.notes
    formulas = {*HARD[:6], *(name for name, label in zip(HARD, names, strict=True) if label == "=class")}
    assert note.startswith(f"{len(formulas)} rows hold text that begins with =, +, - or @")


def test_harmless_ids_cause_no_caution(run: Path, tmp_path: Path) -> None:
    notes = tp.export(run, "csv", tmp_path / "kept.csv").notes
    assert not [note for note in notes if "spreadsheet" in note]


def test_the_table_of_leaks_says_it_too(
    vectors: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from tenpercent.cli.main import main

    np.save(tmp_path / "test.npy", np.load(vectors)[:3])
    (tmp_path / "ids.txt").write_text("=1\na\nb\n")
    words = [
        "leaks",
        vectors,
        tmp_path / "test.npy",
        "--test-ids",
        tmp_path / "ids.txt",
        "--out",
        tmp_path / "out",
    ]
    assert main([*map(str, words), "--table", str(tmp_path / "pairs.csv")]) == 0
    assert "spreadsheet takes it for a formula" in capsys.readouterr().out
    assert "=1" in pd.read_csv(tmp_path / "pairs.csv", dtype=str)["test_id"].tolist()


# ---- what is left out is said --------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", FORMATS)
def test_an_export_says_what_could_not_be_read(
    form: str, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from tenpercent.cli.main import main

    if form == "hf":
        pytest.importorskip("datasets")
    assert main(["export", str(run), "--format", form, "--to", str(tmp_path / "kept")]) == 0
    said = capsys.readouterr().out
    assert "1 image rejected:\n  cat/broken.jpg: " in said


def test_an_export_says_what_is_held_out(photos: Path, tmp_path: Path) -> None:
    (photos / "cat" / "broken.jpg").unlink()
    tp.run(photos, out=tmp_path / "run", keep=0.5, embedder=flat, holdout=0.25)
    notes = tp.export(tmp_path / "run", "indices", tmp_path / "kept").notes
    assert notes == ("12 images held out for evaluation, and not exported.",)
    assert len(json.loads((tmp_path / "run" / "run.json").read_text())["stages"]) == 4
