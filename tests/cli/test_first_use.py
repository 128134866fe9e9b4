"""What somebody meets who uses the commands for the first time: plain counts, reasons and remedies that fit."""

from __future__ import annotations

import errno
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

import tenpercent as tp
from tenpercent.cli.main import main
from tenpercent.data.sources.first_line import account, describe_taken
from tenpercent.data.sources.listing import list_folder
from tenpercent.data.sources.opening import open_source
from tenpercent.data.sources.options import SourceOptions
from tenpercent.data.store.files import write_table
from tenpercent.data.store.records import SourceRecord
from tenpercent.data.store.run_folder import RunFolder
from tenpercent.errors import RunFolderError, TenpercentError, counted, reason_of
from tenpercent.exporting.targets import building
from tenpercent.selection.confirmation import confirm, confirmed_by
from tenpercent.tree.gap import describe_gap, precise_height, said_height


def photos(folder: Path, names: tuple[str, ...]) -> Path:
    """Write small pictures, each of another colour."""
    for number, name in enumerate(names):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (12, 12), (40 * number, 90, 200)).save(path)
    return folder


def run_at(folder: Path) -> Path:
    """Write a run folder as it lies on disk, with a thumbnail in it."""
    RunFolder.create(folder, SourceRecord("x", "y"))
    return photos(folder, ("pictures/0.jpg", "pictures/1.jpg"))


@pytest.mark.parametrize(
    ("number", "said"), [(0, "0 classes"), (1, "1 class"), (2, "2 classes"), (1200, "1,200 classes")]
)
def test_a_count_agrees_with_its_noun(number: int, said: str) -> None:
    assert counted(number, "class") == said
    assert counted(1, "epoch") == "1 epoch" and counted(3, "epoch") == "3 epochs"
    assert counted(2, "stretch") == "2 stretches" and counted(2, "box") == "2 boxes"


@pytest.mark.parametrize("place", ["runs/x", "run", "a/b/c"])
def test_a_run_folder_within_its_source_is_no_part_of_it(tmp_path: Path, place: str) -> None:
    source = photos(tmp_path / "photos", ("a.png", "b.png"))
    before = open_source(str(source), SourceOptions())
    run_at(source / place)
    after = open_source(str(source), SourceOptions())
    assert after.ids == before.ids and after.labels is None
    assert "skipped: 1 run folder" in describe_taken(account(after))
    assert len(list_folder(source, SourceOptions(rules=1)).images) == 4  # as version 0.1 read it


def test_a_folder_of_pictures_with_a_file_run_json_is_read(tmp_path: Path) -> None:
    source = photos(tmp_path / "photos", ("cat/a.png", "dog/b.png"))
    (source / "cat" / "run.json").write_text("{}")
    assert len(open_source(str(source), SourceOptions()).ids) == 2


def test_a_dry_run_refuses_the_folders_that_a_run_would_refuse(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    vectors = tmp_path / "v.npy"
    np.save(vectors, np.random.default_rng(0).normal(size=(9, 3)))
    full = photos(tmp_path / "full", ("a.png",))
    for out in (vectors, full):
        said = []
        for dry in ((), ("--dry-run",)):
            assert main(["run", str(vectors), "--out", str(out), *dry]) == 1
            said.append(capsys.readouterr().err.splitlines()[-1])
        assert said[0] == said[1] and "choose another --out" in said[0]
    new = tmp_path / "new"
    assert main(["run", str(vectors), "--out", str(new), "--dry-run"]) == 0 and not new.exists()


def test_a_folder_that_a_killed_run_began_is_taken(tmp_path: Path) -> None:
    (tmp_path / "run" / "locks").mkdir(parents=True)
    assert RunFolder.at(tmp_path / "run").path == tmp_path / "run"
    (tmp_path / "file").write_text("")
    with pytest.raises(RunFolderError, match="is a file, not a folder"):
        RunFolder.at(tmp_path / "file")


@pytest.mark.parametrize(
    ("command", "file"),
    [
        (("select", "RUN"), "--keep-ids"),
        (("select", "RUN", "--strategy", "ccs"), "--scores"),
        (("decisions", "RUN"), "--import"),
        (("bench",), None),
    ],
)
def test_a_missing_file_is_named_once_and_in_words(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], command: tuple[str, ...], file: str | None
) -> None:
    vectors = np.random.default_rng(0).normal(size=(12, 3))
    np.save(tmp_path / "v.npy", vectors)
    run = str(tmp_path / "run")
    tp.run(tmp_path / "v.npy", out=run)
    missing = str(tmp_path / "missing.npy")
    words = [run if word == "RUN" else word for word in command]
    assert main([*words, *([] if file is None else [file]), missing]) == 2
    said = capsys.readouterr().err
    assert "No such file or directory" in said and "Errno" not in said and said.count(missing) == 1


def test_a_reason_is_what_an_error_says_where_it_has_no_number() -> None:
    assert reason_of(FileNotFoundError(2, "No such file or directory", "x")) == "No such file or directory"
    assert reason_of(ValueError("odd\nbytes")) == "odd bytes" and reason_of(OSError("torn")) == "torn"


@pytest.mark.parametrize(
    ("number", "remedy"),
    [(2, "; choose another"), (28, "; free some space"), (13, "; make the folder writable")],
)
def test_an_export_names_the_remedy_that_fits(tmp_path: Path, number: int, remedy: str) -> None:
    with pytest.raises(TenpercentError, match=f"can't write .*{remedy}"), building(tmp_path / "kept"):
        raise OSError(number, "x")


def test_a_full_disk_is_told_in_our_words_with_what_is_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As pyarrow words it."""

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "Error writing bytes to file. Detail: [errno 28] No space left on device")

    monkeypatch.setattr("pyarrow.parquet.ParquetWriter", full)
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=4096))
    with pytest.raises(RunFolderError) as said:
        write_table(tmp_path / "new" / "a.parquet", pa.table({"x": [1]}), {})
    assert str(said.value) == (
        f"can't write {tmp_path / 'new' / 'a.parquet'}: No space left on device (4 KiB free); free some space "
        "there, or choose another folder"
    )


def test_small_heights_are_told_apart() -> None:
    assert [precise_height(x) for x in (0, 2.44e-6, 3.5e-6, 0.000999, 0.0012, 0.433901)] == [
        "0",
        "2.44e−06",
        "3.50e−06",
        "9.99e−04",
        "0.001200",
        "0.433901",
    ]
    assert said_height(1.3e-6) == "1.3e−06" and said_height(0.46) == "0.46"


def test_an_explanation_tells_copies_from_near_copies(tmp_path: Path) -> None:
    angle = np.array([0.0, 0.001, 1.0, 2.0, 3.0])
    vectors = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    selection = tp.select(tp.cluster(tp.Embeddings.from_numpy(vectors)), keep=0.8)
    said = str(selection.explain(0)) + str(selection.explain(1))
    assert "5.00e−07" in said and "0.000000" not in said


def test_sentences_on_gaps_use_one_minus_sign_and_plain_words_for_few_images() -> None:
    rising = describe_gap(np.linspace(1e-7, 2.4e-6, 30), 40)
    assert "2.1e−06" in rising and "e-0" not in rising
    few = "There are too few images to see a gap between copies and the rest."
    assert describe_gap(np.array([0.1]), 2) == few
    assert describe_gap(np.array([0.1, 0.2, 0.3]), 4) == few


def test_info_says_that_a_report_is_older_than_the_selection(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.save(tmp_path / "vectors.npy", np.random.default_rng(0).standard_normal((20, 4)))
    run = str(tmp_path / "run")

    def told() -> str:
        assert main(["info", run]) == 0
        return next(line for line in capsys.readouterr().out.splitlines() if line.startswith("report"))

    tp.embed(tmp_path / "vectors.npy", out=run)
    assert told() == "report   not done yet"
    tp.cluster(run)
    tp.select(run, keep=0.9)
    tp.report(run)
    assert told().startswith("report   20")
    tp.select(run, keep=0.8)
    assert told() == f"report   not of this selection; update it with: tenpercent report {run}"


@pytest.mark.parametrize(("threshold", "meant"), [(0.95, True), (0.1, False), (0.49, False)])
def test_a_similarity_is_guessed_only_where_it_would_be_one(threshold: float, meant: bool) -> None:
    vectors = np.ones((20, 3)) + np.random.default_rng(0).normal(size=(20, 3)) * 0.01
    selection = tp.select(
        tp.cluster(tp.Embeddings.from_numpy(vectors), threshold=threshold), tp.Cut(threshold=threshold)
    )
    asked: list[str] = []
    with confirmed_by(asked.append):
        confirm(selection, threshold, "image")
    assert "removes 19 of 20 images" in asked[0]
    assert ("if you mean a similarity" in asked[0]) is meant
