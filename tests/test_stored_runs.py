"""Run folders made by version 0.1 open, resume and keep the rules they were read by, until --reread."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import tenpercent as tp
from stored_runs import unpack
from tenpercent.cli.main import main
from tenpercent.data.sources.options import RULES, SourceOptions
from tenpercent.data.store.files import write_table
from tenpercent.data.store.run_folder import RunFolder
from tenpercent.decisions.log import DecisionLog
from tenpercent.selection.stored import load_selection, open_images

RUNS = ("photos", "splits", "table", "vectors")
KEPT = ("merges.parquet", "embeddings/part-00000.parquet", "decided.parquet")


@pytest.fixture
def stored(tmp_path: Path) -> Path:
    return unpack(tmp_path / "stored")


def source(stored: Path, name: str) -> tuple[str, ...]:
    """What was given to `tenpercent run`."""
    if name == "vectors":
        return (
            str(stored / "vectors.npy"),
            *("--labels", str(stored / "labels.npy"), "--ids", str(stored / "ids.txt")),
        )
    return (str(stored / ("table.parquet" if name == "table" else name)),)


def digests(run: Path) -> dict[str, object]:
    """The bytes of each file; of the selection all but the sentences for people, whose words may change."""
    found: dict[str, object] = {
        name: hashlib.sha256((run / name).read_bytes()).hexdigest() for name in KEPT if (run / name).exists()
    }
    selection = pq.read_table(run / "selection.parquet")
    about = json.loads(selection.schema.metadata[b"tenpercent"])
    about.pop("notes")
    return {**found, "selection": (selection.to_pydict(), about)}


@pytest.mark.parametrize("name", RUNS)
def test_every_command_that_reads_opens_them_and_changes_nothing(
    stored: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    run = stored / "runs" / name
    before = digests(run)
    first = load_selection(RunFolder.open(run)).ids[0]
    for command in (["info", run], ["explain", run, first], ["report", run], ["decisions", run]):
        assert main([str(part) for part in command]) == 0, capsys.readouterr()
    assert main(["export", str(run), "--format", "csv", "--to", str(stored / "kept.csv")]) == 0
    assert digests(run) == before
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize("name", RUNS)
def test_the_same_command_resumes_them_with_the_same_bytes(stored: Path, name: str) -> None:
    run = stored / "runs" / name
    before = digests(run)
    holdout = ("--holdout", "0.2") if name == "photos" else ()
    assert main(["run", *source(stored, name), "--out", str(run), "--keep", "0.8", *holdout]) == 0
    after = digests(run)
    if name == "splits":  # its selection was made by a strategy that was removed since
        assert before.pop("selection") != after.pop("selection")
    assert after == before


def test_a_selection_by_a_removed_strategy_is_still_shown(
    stored: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = stored / "runs" / "splits"
    before = digests(run)
    assert main(["report", str(run)]) == 0
    assert "el2n" in (run / "report.html").read_text()
    capsys.readouterr()
    for command in (["select", "--strategy", "el2n", "--keep", "0.7"], ["evaluate", "--preset", "digits"]):
        assert main([command[0], str(run), *command[1:]]) == 2
        said = capsys.readouterr().err
        assert said.count("\n") == 1 and "strategy el2n was removed; evaluate your own list" in said
    assert digests(run) == before


def test_results_of_removed_strategies_are_still_shown(stored: Path) -> None:
    """Rows of training runs by another arm, as an older version stored them."""
    run = stored / "runs" / "photos"
    for old in sorted((run / "trainings").glob("semantic-*.parquet")):
        table = pq.read_table(old)
        column = table.schema.get_field_index("arm")
        about = {
            key: value
            for key, value in json.loads(table.schema.metadata[b"tenpercent"]).items()
            if key != "checksums"
        }
        changed = table.set_column(column, table.schema.field(column), pa.array(["el2n"]))
        write_table(old.with_name(old.name.replace("semantic", "el2n")), changed, about)
    asked = ["--keep", "0.8", "--trials", "2", "--depth", "8", "--steps", "4", "--batch", "8"]
    assert main(["evaluate", str(run), *asked]) == 0
    assert "el2n" in (run / "report.html").read_text()
    for name in ("table.csv", "table.md", "table.tex"):
        assert "el2n" in (run / "evidence" / name).read_text()
    assert pq.read_table(run / "results.parquet")["arm"].to_pylist().count("el2n") == 2


@pytest.mark.parametrize("name", RUNS)
def test_a_tree_of_then_is_deepened_as_one_of_now(stored: Path, name: str) -> None:
    run = stored / "runs" / name
    deep = tp.cluster(run, keep=0.3)
    shutil.rmtree(run / "scratch", ignore_errors=True)
    again = tp.cluster(deep.embeddings, keep=0.3, within=deep.within)
    assert deep.height.tolist() == again.height.tolist()
    assert deep.a.tolist() == again.a.tolist()


def test_their_sources_are_read_as_they_were(stored: Path) -> None:
    for name in ("photos", "splits", "table"):
        folder = RunFolder.open(stored / "runs" / name)
        opened = open_images(folder)  # raises where the fingerprint is another
        assert opened.decoding.rules == 1
        hashes = {
            row["id"]: row["row"]
            for row in pq.read_table(folder.path / KEPT[1], columns=["id", "row"]).to_pylist()
        }
        assert all(opened.ids[row] == name for name, row in hashes.items())


def test_embedding_again_by_the_recorded_rules_gives_the_recorded_vectors(stored: Path) -> None:
    """Also where it was interrupted: the network is there, the vectors are not."""
    run = stored / "runs" / "photos"
    before = tp.Embeddings.load(run / "embeddings")
    (run / "embeddings" / "part-00000.parquet").unlink()
    assert main(["embed", str(stored / "photos"), "--out", str(run), "--holdout", "0.2"]) == 0
    after = tp.Embeddings.load(run / "embeddings")
    assert after.ids.tolist() == before.ids.tolist()
    assert (after.hashes == before.hashes).all()
    np.testing.assert_allclose(after.vectors, before.vectors, atol=1e-4)  # another processor, other last bits


def test_one_line_says_what_this_version_reads_otherwise(
    stored: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = stored / "runs" / "splits"
    assert main(["run", str(stored / "splits"), "--out", str(run), "--keep", "0.8", "--dry-run"]) == 0
    said = capsys.readouterr().err
    assert said.count("--reread") == 1
    assert "7 images would be left out" in said  # 6 of Testing, a thumbnail
    assert (
        "Training/cat/images/0.png would be of 'cat', not of 'Training/cat/images'; 5 classes become 2"
        in said
    )
    assert main(["info", str(run)]) == 0
    assert "--reread" in capsys.readouterr().out


def test_pixels_that_differ_are_said(stored: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", str(stored / "runs" / "photos")]) == 0
    assert "sampled images would have other pixels" in capsys.readouterr().out


def test_reread_makes_the_run_anew_and_keeps_the_decisions(
    stored: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = stored / "runs" / "splits"
    kept = hashlib.sha256((run / "selection.parquet").read_bytes()).hexdigest()
    shutil.copy(stored / "runs" / "photos" / "decisions.sqlite", run / "decisions.sqlite")
    history = DecisionLog(run).history()
    command = ["run", str(stored / "splits"), "--out", str(run), "--keep", "0.8"]
    few = ["--depth", "8", "--steps", "2", "--batch", "8"]
    assert main([*command, *few, "--reread"]) == 0
    selection = load_selection(RunFolder.open(run))
    assert (selection.class_names, len(selection)) == (("cat", "dog"), 16)
    assert json.loads((run / "run.json").read_text())["source"]["options"] == {"rules": RULES}
    assert hashlib.sha256((run / "earlier/1/selection.parquet").read_bytes()).hexdigest() == kept
    assert DecisionLog(run).history() == history
    capsys.readouterr()
    assert main([*command, "--reread"]) == 0  # read by today's rules already: resumed
    assert "nothing to do" in capsys.readouterr().err
    assert not (run / "earlier" / "2").exists()


def test_a_reread_that_was_killed_is_finished_by_the_next(
    stored: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = stored / "runs" / "vectors"
    options = SourceOptions(labels=stored / "labels.npy", ids=stored / "ids.txt")

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(RunFolder, "_write", killed)
        with pytest.raises(KeyboardInterrupt):
            tp.run(stored / "vectors.npy", out=run, keep=0.8, options=options, reread=True)
    assert json.loads((run / "run.json").read_text())["source"]["options"].get("rules", 1) == 1
    tp.run(stored / "vectors.npy", out=run, keep=0.8, options=options, reread=True)
    assert json.loads((run / "run.json").read_text())["source"]["options"]["rules"] == RULES
    assert (run / "earlier/1/selection.parquet").exists()
