"""A run folder's own files are read with mistrust: whatever is damaged is one line that names it, or does no harm."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import damage_runs as harm
import tenpercent as tp
from conftest import write_vectors
from examples import some
from tenpercent.cli.main import main
from tenpercent.data.store.checksums import checksum
from tenpercent.data.store.files import write_table
from tenpercent.data.store.left_out import read_held_out
from tenpercent.data.store.run_folder import RunFolder
from tenpercent.data.store.typed import problem
from tenpercent.decisions.exchange import from_lines, to_lines
from tenpercent.decisions.log import Decision, DecisionLog, ImageName, Kind
from tenpercent.errors import RunFolderError, StageError, UsageError

SAMPLED = some(10)  # of some 3,000 damages: all are tried by damage_runs.py


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The runs of version 0.1, which have no checksums."""
    return harm.unpacked(tmp_path_factory.mktemp("stored")) / "runs"


@pytest.fixture(scope="module")
def new(stored: Path) -> Path:
    """The run of photos with checksums, as this version writes them."""
    shutil.copytree(stored / "photos", stored / "new")
    return harm.with_checksums(stored / "new")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of 60 ready vectors in three classes."""
    folder = tmp_path_factory.mktemp("made")
    vectors = write_vectors(folder)
    call = ["run", str(vectors), "--labels", str(vectors.with_name("labels.npy")), "--keep", "0.8"]
    assert main([*call, "--out", str(folder / "run"), "--quiet"]) == 0
    return folder / "run"


@pytest.fixture
def run(made: Path, tmp_path: Path) -> Path:
    """A copy of it to damage."""
    return Path(shutil.copytree(made, tmp_path / "run"))


def told(capsys: pytest.CaptureFixture[str], *call: object) -> str:
    """Return the one line that a command fails with."""
    capsys.readouterr()
    assert main([*map(str, call), "--quiet"]) in (1, 2)
    line = capsys.readouterr().err
    assert line.startswith("tenpercent: error: ") and line.count("\n") == 1
    return line


def change(path: Path, name: str, make: Callable[[list[Any]], list[Any]], *, checksums: bool = True) -> None:
    """Change the values of a column of a table, whose checksums stay as they are, or are taken out of `run.json`."""
    table = pq.read_table(path)
    place, kind = table.column_names.index(name), table[name].type
    changed = table.set_column(place, name, pa.array(make(table[name].to_pylist()), kind))
    pq.write_table(changed.replace_schema_metadata(table.schema.metadata), path)
    record = path.parent / "run.json"
    if not checksums:
        content = json.loads(record.read_text())
        record.write_text(json.dumps({key: value for key, value in content.items() if key != "checksums"}))


@pytest.mark.parametrize("checksums", [False, True])
@pytest.mark.parametrize(
    ("value", "said"),
    [(None, "column a has 1 nulls"), (-1, "holds -1, below 0"), (10**12, "holds 1000000000000, above 59")],
)
def test_positions_out_of_range_reach_no_compiled_code(
    run: Path, value: int | None, said: str, checksums: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    # like numba/numba#4436 and #304: compiled code reads beyond an array, and at a negative position from its end
    change(run / "merges.parquet", "a", lambda a: [value, *a[1:]], checksums=checksums)
    for call in (["select", run, "--keep", "0.5"], ["explain", run, "00"], ["cluster", run, "--keep", "0.3"]):
        line = told(capsys, *call)
        assert said in line and f"tenpercent cluster {run}" in line


@pytest.mark.parametrize(
    ("name", "make", "said"),
    [
        ("height", lambda h: [-0.1, *h[1:]], "below 0"),
        ("height", lambda h: [*h[:-1], float("nan")], "holds nan"),
        ("height", lambda h: h[::-1], "not in ascending order"),
        ("b", lambda b: [b[1], b[0], *b[2:]], "is damaged"),
    ],
)
def test_merges_that_are_no_tree_are_refused_without_checksums(
    run: Path, name: str, make: Any, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    change(run / "merges.parquet", name, make, checksums=False)
    assert said in told(capsys, "select", run, "--keep", "0.5")


def test_the_remedy_of_damaged_merges_works(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = (run / "selection.parquet").read_bytes()
    (run / "merges.parquet").write_bytes((run / "merges.parquet").read_bytes()[:-9])
    assert "delete it, then make it again with: tenpercent cluster" in told(
        capsys, "select", run, "--keep", "0.8"
    )
    (run / "merges.parquet").unlink()
    assert main(["cluster", str(run), "--quiet"]) == 0
    assert main(["select", str(run), "--keep", "0.8", "--quiet"]) == 0
    assert (run / "selection.parquet").read_bytes() == before


def test_a_turned_vector_is_found(new: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = Path(shutil.copytree(new, tmp_path / "run"))
    part = run / "embeddings" / "part-00000.parquet"
    change(part, "end", lambda rows: [[-x for x in rows[0]], *rows[1:]])
    line = told(capsys, "cluster", run, "--keep", "0.4")
    assert "part-00000.parquet is damaged (column end: it differs from what was written" in line
    assert f"tenpercent embed SOURCE --out {run}" in line


def test_every_flipped_bit_of_the_vectors_is_found(new: Path, tmp_path: Path) -> None:
    part = tmp_path / "embeddings" / "part-00000.parquet"
    shutil.copytree(new / "embeddings", part.parent)
    shutil.copy(new / "run.json", tmp_path / "run.json")
    whole, content = tp.Embeddings.load(part.parent), part.read_bytes()
    dice = random.Random(0)
    found = 0
    for place in dice.sample(range(len(content)), 60):
        changed = bytearray(content)
        changed[place] ^= 1 << dice.randrange(8)
        part.write_bytes(bytes(changed))
        try:
            loaded = tp.Embeddings.load(part.parent)
        except (StageError, UsageError):
            found += 1
        else:
            np.testing.assert_array_equal(loaded.vectors, whole.vectors)
            assert loaded.ids.tolist() == whole.ids.tolist() and loaded.origin == whole.origin
    assert found > 20


def test_parts_of_two_networks_are_not_mixed(new: Path, stored: Path, tmp_path: Path) -> None:
    shutil.copytree(new / "embeddings", tmp_path / "embeddings")
    other = next((stored / "splits" / "embeddings").glob("part-*"))
    shutil.copy(other, tmp_path / "embeddings" / "part-00001.parquet")
    with pytest.raises(StageError, match=r"part-00001.* made of other images or settings"):
        tp.Embeddings.load(tmp_path / "embeddings")


def test_runs_of_the_first_version_open_without_checksums(stored: Path, tmp_path: Path) -> None:
    for name in ("photos", "splits", "table", "vectors"):
        run = Path(shutil.copytree(stored / name, tmp_path / name))
        kept = pq.read_table(run / "selection.parquet")["kept"].to_pylist()
        found = tp.Selection.load(run / "selection.parquet")
        assert found.kept_by_id.tolist() == kept
        assert main(["report", str(run), "--quiet"]) == 0


# ---- run.json --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("where", "value", "said"),
    [
        (["stages"], [], "stages is [], not an object"),
        (["stages", "cluster"], [], "stages.cluster is []"),
        (["stages", "cluster", "settings", "layer"], "start", "not those of its fingerprint"),
        (["stages", "cluster", "merges"], "7", "stages.cluster.merges is '7', not a whole number"),
        (["stages", "select", "kept"], None, "stages.select.kept is None"),
        (["stages", "dance"], {}, "stages.dance"),
        (["source"], None, "source is None"),
        (["source", "n"], True, "source.n is True"),
        (["source", "kind"], "sound", "source.kind is 'sound'"),
        (["source", "options"], {"labels": 5.5}, "labels"),
        (["source", "options"], {"label": "x"}, "'label' of the source is unknown"),
        (["format"], "1", "format is '1'"),
    ],
)
def test_run_json_is_typed(
    run: Path, where: list[str], value: Any, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    # like huggingface/datasets#2195 and #4919: a key that is gone or changed is a KeyError deep inside
    content = json.loads((run / "run.json").read_text())
    at = content
    for key in where[:-1]:
        at = at[key]
    at[where[-1]] = value
    (run / "run.json").write_text(json.dumps(content))
    for call in (["explain", run, "00"], ["select", run, "--keep", "0.5"], ["report", run]):
        assert said in told(capsys, *call)


def test_types_of_json() -> None:
    assert problem(True, int) == "it is True, not a whole number"
    assert problem(1, bool) == "it is 1, not true or false"
    assert problem(float("nan"), float) is not None
    assert problem(2**70, int) is not None
    assert problem([1, "x"], list[int]) == "it[1] is 'x', not a whole number"
    assert problem(None, int | None) is None
    assert problem("1", int | None) == "it is '1', not a whole number"


# ---- checksums -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "values",
    [
        pa.array([1, None, 3], pa.int64()),
        pa.array(["a", None, "", "äö"]),
        pa.array([True, False, None]),
        pa.array([[1.0, 2.0], [3.0, 4.0]], pa.list_(pa.float32(), 2)),
        pa.array([[1.0], None, []], pa.list_(pa.float64())),
        pa.array([[{"x": 1, "y": "a"}], [{"x": None, "y": "b"}]]),
        pa.array([b"\0", b""]),
    ],
)
def test_a_checksum_is_of_the_values_alone(values: pa.Array, tmp_path: Path) -> None:
    whole = pa.chunked_array([values])
    apart = pa.chunked_array([values[:1], values[1:1], values[1:]], values.type)
    assert checksum(whole) == checksum(apart)
    write_table(tmp_path / "x.parquet", pa.table({"x": whole}), {})
    assert checksum(pq.read_table(tmp_path / "x.parquet")["x"]) == checksum(whole)
    assert checksum(pa.chunked_array([values[1:]])) != checksum(whole)
    assert checksum(pa.chunked_array([values.take(pa.array([1, 0, *range(2, len(values))]))])) != checksum(
        whole
    )


# ---- decisions -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("statement", harm.STATEMENTS)
def test_a_damaged_file_of_decisions_names_the_cause(
    statement: str, new: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copy(new / "run.json", tmp_path / "run.json")
    shutil.copy(new / "decisions.sqlite", tmp_path / "decisions.sqlite")
    whole = DecisionLog(tmp_path).history()
    harm._execute(
        tmp_path / "decisions.sqlite", statement
    )  # like marcboeker/gmail-to-sqlite#15: no such column
    try:
        assert DecisionLog(tmp_path).history() == whole
    except RunFolderError:
        line = told(capsys, "decisions", tmp_path)
        assert "decisions.sqlite" in line and "space" not in line


def test_nothing_is_written_into_another_programs_database(tmp_path: Path) -> None:
    path = tmp_path / "decisions.sqlite"
    harm._execute(path, "CREATE TABLE bookmarks (id INTEGER)")
    before = path.read_bytes()
    with pytest.raises(RunFolderError, match="a database of something else"):
        DecisionLog(tmp_path).add(Kind.KEEP, [ImageName("x")])
    with pytest.raises(RunFolderError, match="a database of something else"):
        DecisionLog(tmp_path).history()
    assert len(path.read_bytes()) == len(before)


def test_decisions_come_back_whatever_their_text_holds() -> None:
    # like wbolster/jsonlines#53 and datalad/datalad#3523: splitlines splits at more than line ends
    odd = Decision(1, "2026", Kind.KEEP, (ImageName("a\u2028b\x85c", None),), "note\x1d\u2029")
    assert from_lines(to_lines([odd])) == (odd,)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("number", "1"),
        ("undone", "false"),
        ("images", "cat"),
        ("images", [{"id": 5, "hash": None}]),
        ("kind", 3),
    ],
)
def test_lines_of_other_types_are_no_decisions(key: str, value: Any) -> None:
    line = json.loads(to_lines([Decision(1, "2026", Kind.KEEP, (ImageName("a"),))])) | {key: value}
    with pytest.raises(UsageError, match="line 1 of the file is not a decision"):
        from_lines(json.dumps(line))


def test_damaged_decisions_are_no_error_of_the_server(
    new: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # like simonw/datasette#582: one malformed database, and every page is a 500
    from reviewing import page

    run = Path(shutil.copytree(new, tmp_path / "run"))
    harm._execute(run / "decisions.sqlite", "UPDATE decisions SET kind = 'burn'")
    with page(run) as opened:
        assert "'burn'" in opened.get("/api/run")["decisions_error"]
        assert "'burn'" in opened.get("/api/decisions")["error"]


def test_weights_that_are_damaged_name_themselves(new: Path, tmp_path: Path) -> None:
    # like lyogavin/airllm#93: "HeaderTooLarge" does not say that a file is damaged, nor which
    from tenpercent.embedding.networks import build
    from tenpercent.embedding.training_files import load_weights

    run = Path(shutil.copytree(new, tmp_path / "run"))
    weights = run / "training" / "weights.safetensors"
    content = bytearray(weights.read_bytes())
    for place in (0, len(content) - 3):
        weights.write_bytes(content[:place] + bytes([content[place] ^ 64]) + content[place + 1 :])
        with pytest.raises(StageError, match=r"weights\.safetensors is damaged"):
            load_weights(build(None, 8, 2, (12, 16)), run / "training")


def test_a_hold_out_that_is_gone_is_missed(new: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(new, tmp_path / "run"))
    (run / "holdout.parquet").unlink()
    with pytest.raises(StageError, match=r"holdout\.parquet is gone"):
        read_held_out(RunFolder.open(run))


# ---- everything ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("checked", [False, True])
def test_damages_end_in_a_line_or_do_no_harm(stored: Path, new: Path, tmp_path: Path, checked: bool) -> None:
    run = new if checked else stored / "photos"
    dice = random.Random(7)
    chosen = dice.sample(list(harm.damages(run, 7, 20)), SAMPLED)
    expected: dict[str, harm.Outcome] = {}
    wrong = []
    for damage in chosen:
        command = dice.choice(harm.commands_of(damage))
        if command not in expected:
            nothing = harm.Damage("run.json", "nothing", lambda _: None)
            expected[command] = harm.tried(run, tmp_path / "run", nothing, command)
            assert expected[command].status == (2 if command == "absent" else 0), expected[command].error
        outcome = harm.tried(run, tmp_path / "run", damage, command)
        fault = harm.fault(outcome, expected[command], checked=checked)
        if fault is not None:
            wrong.append(f"{command}, {damage}: {fault}")
    assert wrong == []
