"""Decisions: the log loses nothing and tells of contradictions, and trees under them equal the reference's."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tenpercent as tp
from examples import some
from hard_vectors import CONSTRAINTS, constraints, hard_inputs
from tenpercent.cli.main import main
from tenpercent.data.store.run_folder import RunFolder
from tenpercent.decisions.constraints import Constraints
from tenpercent.decisions.exchange import from_lines, to_lines
from tenpercent.decisions.log import ConflictError, DamagedDecisionsError, DecisionLog, ImageName, Kind
from tenpercent.decisions.meaning import constraints_of
from tenpercent.errors import RunFolderError, StageError, UsageError
from tenpercent.linkage.reference import complete_linkage
from tenpercent.selection.stored import load_decided, load_merges
from tenpercent.tree import rewalk
from tenpercent.tree.merges import Merges

A, B, C = ImageName("a", "1"), ImageName("b", "2"), ImageName("c", "3")


def of(vectors: Any, labels: Any = None, **more: Any) -> tp.Embeddings:
    return tp.Embeddings.from_numpy(np.asarray(vectors, dtype=np.float32), labels=labels, **more)


def decided(**arrays: Sequence[Any]) -> Constraints:
    given = {name: np.asarray(value, dtype=np.int64) for name, value in arrays.items()}
    if "apart" in given:
        given["apart"] = given["apart"].reshape(-1, 2)
    return Constraints(**given)


def merges_of(found: Merges) -> list[tuple[int, int, float]]:
    return list(zip(found.a.tolist(), found.b.tolist(), found.height.tolist(), strict=True))


def photos(n: int = 60, seed: int = 0) -> tp.Embeddings:
    """Two classes of vectors in tight little heaps."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(n // 4, 6))
    vectors = centres[rng.integers(0, len(centres), n)] + 0.05 * rng.normal(size=(n, 6))
    return of(vectors, labels=np.arange(n) % 2)


# ---- the log -----------------------------------------------------------------------------------------------------


def test_what_is_decided_is_there_for_the_next_process(tmp_path: Path) -> None:
    log = DecisionLog(tmp_path)
    assert (log.version, log.history(), log.can_undo, log.can_redo) == (0, (), False, False)
    assert not log.path.exists()
    made = log.add(Kind.APART, [A, B], "not the same cat")
    again = DecisionLog(tmp_path)
    assert again.history() == (made,) and made.number == 1 and made.images == (A, B)
    assert again.version == 1 and again.can_undo


def test_undo_and_redo_in_turn(tmp_path: Path) -> None:
    log = DecisionLog(tmp_path)
    one, two = log.add(Kind.KEEP, [A]), log.add(Kind.REMOVE, [B])
    assert log.undo() is not None and log.active() == (one,)
    undone = log.undo()
    assert undone is not None and undone.number == one.number and undone.undone
    assert log.active() == () and log.undo() is None
    first = log.redo()
    assert first is not None and first.number == one.number
    assert log.can_redo and log.redo() == two and log.redo() is None
    assert log.active() == (one, two)
    log.undo(one.number)
    assert log.active() == (two,)
    log.add(Kind.ACCEPT, [C])
    assert not log.can_redo and log.redo() is None
    assert log.version == 8 and len(log.history()) == 3


def test_the_second_of_two_that_contradict_each_other_sees_the_first(tmp_path: Path) -> None:
    log = DecisionLog(tmp_path)
    seen = log.version
    theirs = log.add(Kind.KEEP, [A, B])
    with pytest.raises(ConflictError, match="says the contrary of a") as caught:
        log.add(Kind.REMOVE, [B], seen=seen)
    assert caught.value.decision == theirs and caught.value.version == log.version
    assert log.add(Kind.REMOVE, [C], seen=seen).number == 2
    assert log.add(Kind.REMOVE, [B], seen=log.version).kind is Kind.REMOVE
    with pytest.raises(ConflictError):
        log.add(Kind.PREFER, [B], seen=2)


@pytest.mark.parametrize(
    ("kind", "images"), [(Kind.APART, [A]), (Kind.APART, [A, A]), (Kind.PREFER, [A, A]), (Kind.KEEP, [])]
)
def test_a_decision_names_as_many_images_as_it_is_about(
    tmp_path: Path, kind: Kind, images: list[ImageName]
) -> None:
    with pytest.raises(UsageError, match="name"):
        DecisionLog(tmp_path).add(kind, images)
    with pytest.raises(UsageError, match="2,000 is the most"):
        DecisionLog(tmp_path).add(Kind.KEEP, [A], "x" * 2001)
    assert not DecisionLog(tmp_path).path.exists()


def test_a_damaged_file_is_told_and_left_as_it_is(tmp_path: Path) -> None:
    log = DecisionLog(tmp_path)
    log.add(Kind.KEEP, [A])
    for content in (b"no database" * 500, log.path.read_bytes()[:60] + b"\0" * 5000):
        log.path.write_bytes(content)
        for side in ("-wal", "-shm"):
            log.path.with_name(log.path.name + side).unlink(missing_ok=True)
        for ask in (log.history, lambda: log.add(Kind.KEEP, [B]), lambda: log.version, log.undo):
            with pytest.raises(DamagedDecisionsError, match="left as it is"):
                ask()
        assert log.path.read_bytes() == content


def test_a_file_whose_first_writer_was_killed_holds_no_decisions(tmp_path: Path) -> None:
    log = DecisionLog(tmp_path)
    with sqlite3.connect(log.path) as database:
        database.execute("PRAGMA journal_mode = WAL")
    assert (log.version, log.history(), log.can_undo) == (0, (), False)
    assert log.add(Kind.KEEP, [A]).number == 1


def test_a_newer_format_is_refused(tmp_path: Path) -> None:
    log = DecisionLog(tmp_path)
    log.add(Kind.KEEP, [A])
    with sqlite3.connect(log.path) as database:
        database.execute("PRAGMA user_version = 9")
    with pytest.raises(StageError, match="format 9"):
        log.history()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_can_not_be_written_can_be_read(tmp_path: Path) -> None:
    log = DecisionLog(tmp_path)
    made = log.add(Kind.KEEP, [A])
    tmp_path.chmod(0o500)
    try:
        assert log.history() == (made,)
        with pytest.raises(RunFolderError, match="nothing was lost"):
            log.add(Kind.KEEP, [B])
    finally:
        tmp_path.chmod(0o700)


def test_a_process_that_is_killed_right_after_a_decision_has_lost_none(tmp_path: Path) -> None:
    program = (
        "import os, signal, sys; from pathlib import Path\n"
        "from tenpercent.decisions.log import DecisionLog, ImageName, Kind\n"
        "log = DecisionLog(Path(sys.argv[1]))\n"
        "for k in range(20): log.add(Kind.KEEP, [ImageName(str(k))])\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    ended = subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=False)
    assert ended.returncode == -signal.SIGKILL
    assert [d.images[0].id for d in DecisionLog(tmp_path).active()] == [str(k) for k in range(20)]


def test_decisions_travel_as_lines_and_come_once(tmp_path: Path) -> None:
    log = DecisionLog(tmp_path)
    log.add(Kind.APART, [A, ImageName("ünder/ש🐈.png", None)], "why")
    log.add(Kind.REMOVE, [C])
    log.undo()
    lines = to_lines(log.history())
    assert from_lines(lines) == log.history()
    other = DecisionLog(tmp_path / "other")
    other.path.parent.mkdir()
    assert other.take_over(from_lines(lines)) == 2 and other.take_over(from_lines(lines)) == 0
    assert [(d.kind, d.images, d.undone, d.time) for d in other.history()] == [
        (d.kind, d.images, d.undone, d.time) for d in log.history()
    ]
    with pytest.raises(UsageError, match="line 2 of the file is not a decision"):
        from_lines(lines.splitlines()[0] + '\n{"kind": "keep"}')


# ---- what they mean ----------------------------------------------------------------------------------------------


def hashed(ids: Sequence[str], hashes: Sequence[str]) -> tp.Embeddings:
    found = of(np.eye(len(ids)) + 1, ids=list(ids))
    from dataclasses import replace

    return replace(found, hashes=np.asarray(list(hashes), dtype=object))


def test_the_later_decision_about_an_image_holds(tmp_path: Path) -> None:
    log = DecisionLog(tmp_path)
    for kind, images in (
        (Kind.REMOVE, [A, B]),
        (Kind.KEEP, [A]),
        (Kind.PREFER, [B]),
        (Kind.PREFER, [C]),
        (Kind.PREFER, [B]),
        (Kind.APART, [C, A]),
        (Kind.ALONE, [C]),
        (Kind.REMOVE, [C]),
    ):
        log.add(kind, images)
    found, unmatched = constraints_of(log.active(), hashed("abc", "123"))
    assert (found.keep.tolist(), found.remove.tolist(), found.prefer.tolist()) == ([0], [2], [1])
    assert found.apart.tolist() == [[0, 2]] and found.alone.tolist() == [] and unmatched == ()
    log.undo()
    found, _ = constraints_of(log.active(), hashed("abc", "123"))
    assert (found.alone.tolist(), found.prefer.tolist()) == ([2], [2, 1])


def test_an_image_that_moved_is_known_by_its_content(tmp_path: Path) -> None:
    log = DecisionLog(tmp_path)
    log.add(Kind.KEEP, [A])
    log.add(Kind.REMOVE, [B])
    log.add(Kind.ALONE, [ImageName("gone", "9")])
    log.add(Kind.ALONE, [ImageName("nameless")])
    # b is still there and its copy is not meant; a has moved to z; equal files: the one not named by id.
    found, unmatched = constraints_of(log.active(), hashed(["b", "copy", "z"], ["2", "2", "1"]))
    assert found.keep.tolist() == [2] and found.remove.tolist() == [0]
    assert [image.id for image in unmatched] == ["gone", "nameless"]
    found, _ = constraints_of(log.active(), hashed(["b", "y", "z"], ["1", "1", "1"]))
    assert found.keep.tolist() == [1]


# ---- the tree under them -----------------------------------------------------------------------------------------


@settings(max_examples=some(75), deadline=None)
@given(
    hard_inputs(most=40),
    st.sampled_from(CONSTRAINTS),
    st.integers(0, 3),
    st.floats(0, 1),
    st.booleans(),
    st.integers(0, 10**6),
)
def test_a_tree_walked_again_is_the_references(
    vectors: Any, kind: str, alone: int, depth: float, by_component: bool, seed: int
) -> None:
    vectors = vectors.astype(np.float32)
    vectors[~vectors.any(axis=1)] = 1.0
    n = len(vectors)
    rng = np.random.default_rng(seed)
    pairs = constraints(kind, vectors, seed)
    apart = np.empty((0, 2), dtype=np.int64) if pairs is None else np.unique(np.sort(pairs, axis=1), axis=0)
    single = np.sort(rng.choice(n, size=min(alone, n), replace=False))
    free = tp.cluster(of(vectors), keep=max(1 / n, depth))
    whole, rewalk.WHOLE = rewalk.WHOLE, 0 if by_component else rewalk.WHOLE
    try:
        found = free.under(decided(apart=apart, alone=single))
    finally:
        rewalk.WHOLE = whole
    rest = np.setdiff1d(np.arange(n), single)
    local = rewalk.inside(apart, rest)
    whole_tree = []
    if len(rest):
        tree = complete_linkage(vectors[rest], cannot_link=local)
        columns = (rest[tree.a].tolist(), rest[tree.b].tolist(), tree.height.tolist())
        whole_tree = list(zip(*columns, strict=True))
    reach = free.complete_to[0]
    assert merges_of(found) == [merge for merge in whole_tree if merge[2] <= reach]
    assert merges_of(found.deepened(tp.Cut(1 / n))) == whole_tree


def test_a_pair_that_never_met_changes_nothing_and_others_only_their_class() -> None:
    free = tp.cluster(photos(), keep=0.5)
    group = free.partition(tp.Cut(keep=0.5)).group
    far = next((x, y) for x in range(60) for y in range(x + 2, 60, 2) if group[x] != group[y])
    assert merges_of(free.under(decided(apart=[far]))) == merges_of(free)
    near = (int(free.a[0]), int(free.b[0]))
    found = free.under(decided(apart=[near]))
    assert merges_of(found) != merges_of(free)
    untouched = free.class_index[free.a] != free.class_index[near[0]]
    kept = found.class_index[found.a] != found.class_index[near[0]]
    assert [m for m, is_in in zip(merges_of(free), untouched, strict=True) if is_in] == [
        m for m, is_in in zip(merges_of(found), kept, strict=True) if is_in
    ]
    assert merges_of(tp.cluster(photos(), keep=0.5).under(decided(apart=[near]))) == merges_of(found)
    with pytest.raises(ValueError, match="begin with those under none"):
        found.under(decided(apart=[far]))


# ---- the cut under them ------------------------------------------------------------------------------------------


@settings(max_examples=some(30), deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([0.9, 0.6, 0.4]), st.sampled_from(["class", "global"]))
def test_the_number_kept_stays_where_it_can(seed: int, keep: float, budget: str) -> None:
    rng = np.random.default_rng(seed)
    found = photos(seed=seed)
    n = len(found)
    picked = rng.permutation(n)
    held = decided(
        keep=np.sort(picked[: rng.integers(0, 6)]),
        remove=np.sort(picked[10 : 10 + rng.integers(0, 6)]),
        prefer=picked[20 : 20 + rng.integers(0, 6)],
    )
    selection = tp.select(tp.cluster(found, keep=0.5).under(held), tp.Cut(keep, budget=budget))
    assert selection.kept_by_id[held.keep].all() and not selection.kept_by_id[held.remove].any()
    part = tp.cluster(found, keep=0.2).under(held).partition(tp.Cut(keep, budget=budget))
    assert part.n_kept == selection.kept_by_id.sum()
    assert np.array_equal(part.group, selection.group)
    classes = np.arange(n) % 2 if budget == "class" else np.zeros(n, dtype=np.int64)
    for code in np.unique(classes).tolist():
        own = classes == code
        wanted, stay = round(keep * own.sum()), int(selection.kept_by_id[own].sum())
        untouched = len(np.unique(selection.group[own])) == own.sum()
        assert stay == wanted or (stay < wanted and untouched) or stay == wanted + 1
    for group in np.unique(selection.group):
        members = np.flatnonzero(selection.group == group)
        keeper = selection.representative[members[0]]
        preferred = [p for p in held.prefer.tolist() if p in members]
        if np.isin(members, held.remove).all():
            assert keeper == -1 and np.isnan(selection.dissimilarity[members]).all()
        else:
            assert selection.kept_by_id[keeper] and keeper not in held.remove
            assert not preferred or keeper == preferred[-1]
            also = set(members[selection.kept_by_id[members]].tolist()) - {int(keeper)}
            assert also == set(np.intersect1d(members, held.keep).tolist()) - {int(keeper)}
    order = np.arange(len(part.size))
    standing = part.with_representatives(order)
    representative = np.empty(n, dtype=np.int64)
    representative[standing.members] = np.repeat(standing.representative, part.size)
    assert np.array_equal(representative, selection.representative)


def test_without_decisions_a_partition_is_the_selection() -> None:
    merges = tp.cluster(photos(), keep=0.3)
    for keep in (1.0, 0.8, 0.3):
        part, selection = merges.partition(tp.Cut(keep)), tp.select(merges, keep=keep)
        assert part.n_kept == len(selection.kept) and np.array_equal(part.group, selection.group)
        assert np.array_equal(part.diameter[part.group], selection.group_diameter)
        standing = part.with_representatives(np.arange(len(part.size)))
        assert np.array_equal(np.sort(standing.members[standing.kept]), np.flatnonzero(selection.kept_by_id))
    with pytest.raises(StageError, match="deepen"):
        merges.partition(tp.Cut(0.1))


# ---- in a run folder ---------------------------------------------------------------------------------------------


@pytest.fixture
def run(tmp_path: Path) -> Path:
    vectors = photos(80).vectors
    np.save(tmp_path / "v.npy", vectors)
    np.save(tmp_path / "l.npy", np.arange(80) % 2)
    out = tmp_path / "run"
    assert (
        main(
            [
                "run",
                str(tmp_path / "v.npy"),
                "--labels",
                str(tmp_path / "l.npy"),
                "--out",
                str(out),
                "--quiet",
            ]
        )
        == 0
    )
    return out


def decide(run: Path, kind: Kind, *positions: int) -> None:
    ids = load_merges(RunFolder.open(run)).embeddings.ids
    DecisionLog(run).add(kind, [ImageName(str(ids[p])) for p in positions])


def test_every_command_honours_decisions(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = tp.Selection.load(run / "selection.parquet")
    together = np.flatnonzero(before.group_size > 1)
    x = int(together[0])
    y = int(np.flatnonzero(before.group == before.group[x])[1])
    gone = int(np.flatnonzero(before.group_size == 1)[0])
    decide(run, Kind.APART, x, y)
    decide(run, Kind.REMOVE, gone)
    held = {path.name: path.read_bytes() for path in run.glob("*.parquet")}
    assert main(["report", str(run)]) == 0
    assert f"in the stored selection after: tenpercent select {run} --keep 0.9" in capsys.readouterr().err
    assert "1 pair never together, 1 image always removed" in (run / "report.html").read_text()
    assert main(["export", str(run), "--format", "csv", "--to", str(tmp_path / "read.csv"), "--quiet"]) == 0
    assert main(["explain", str(run), str(before.ids[gone])]) == 0
    assert "outside the guarantee" in capsys.readouterr().out
    assert {path.name: path.read_bytes() for path in run.glob("*.parquet")} == held
    assert main(["select", str(run), "--keep", "0.9"]) == 0
    after = tp.Selection.load(run / "selection.parquet")
    assert after.group[x] != after.group[y] and not after.kept_by_id[gone]
    assert after.representative[gone] == -1 and after.table["representative"].null_count == 1
    assert (
        len(after.kept) == len(before.kept)
        and "decisions in force: 1 pair never together, 1 image always removed" in after.notes
    )
    for keep in ("0.8", "0.5", "0.3"):
        assert main(["select", str(run), "--keep", keep, "--quiet"]) == 0
        cut = tp.Selection.load(run / "selection.parquet")
        assert (
            cut.group[x] != cut.group[y]
            and not cut.kept_by_id[gone]
            and len(cut.kept) == round(float(keep) * 80)
        )
    stored = (run / "decided.parquet").read_bytes()
    assert main(["select", str(run), "--keep", "0.9", "--quiet"]) == 0
    assert (run / "decided.parquet").read_bytes() == stored
    again = tp.Selection.load(run / "selection.parquet")
    assert again.table.equals(after.table)
    assert main(["explain", str(run), str(after.ids[gone])]) == 0
    assert "outside the guarantee" in capsys.readouterr().out
    assert main(["export", str(run), "--format", "csv", "--to", str(tmp_path / "all.csv"), "--quiet"]) == 0
    assert (tmp_path / "all.csv").read_bytes() == (tmp_path / "read.csv").read_bytes()
    assert main(["select", str(run), "--keep", "0.9", "--ignore-decisions", "--quiet"]) == 0
    free = tp.Selection.load(run / "selection.parquet")
    assert free.table.equals(before.table) and free.notes == before.notes


def test_decisions_hold_for_other_embeddings_of_the_images(run: Path, tmp_path: Path) -> None:
    decide(run, Kind.APART, 0, 2)
    lines = tmp_path / "decisions.jsonl"
    assert main(["decisions", str(run), "--export", str(lines)]) == 0
    assert json.loads(lines.read_text())["kind"] == "apart"
    np.save(tmp_path / "w.npy", photos(80, seed=0).vectors[:, ::-1] + 0.01)
    other = tmp_path / "other"
    assert main(["run", str(tmp_path / "w.npy"), "--out", str(other), "--quiet"]) == 0
    assert main(["decisions", str(other), "--import", str(lines)]) == 0
    assert main(["select", str(other), "--keep", "0.05", "--quiet"]) == 0
    cut = tp.Selection.load(other / "selection.parquet")
    assert cut.group[0] != cut.group[2]


def test_a_tree_under_decisions_that_is_lost_is_made_again(run: Path) -> None:
    free = tp.Selection.load(run / "selection.parquet")
    x = int(np.flatnonzero(free.group_size > 1)[0])
    decide(run, Kind.ALONE, x)
    tp.select(run, keep=0.2)
    stored = merges_of(load_decided(RunFolder.open(run)))
    assert len(stored) > len(load_merges(RunFolder.open(run)))
    (run / "decided.parquet").unlink()
    tp.select(run, keep=0.2)
    assert merges_of(load_decided(RunFolder.open(run))) == stored
    decide(run, Kind.ALONE, x + 1)
    assert merges_of(load_decided(RunFolder.open(run))) != stored
    DecisionLog(run).undo()
    assert merges_of(load_decided(RunFolder.open(run))) == stored


def test_wrong_input_is_one_clear_line(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["decisions", str(run)]) == 0
    assert "Nothing is decided yet" in capsys.readouterr().out
    (tmp_path / "bad.jsonl").write_text("{}\n")
    for flags, words in (
        (["--import", str(tmp_path / "bad.jsonl")], "line 1"),
        (["--import", str(tmp_path / "none.jsonl")], "can't read"),
        (["--export", str(tmp_path / "bad.jsonl")], "is there already"),
    ):
        assert main(["decisions", str(run), *flags]) == 2
        err = capsys.readouterr().err
        assert words in err and err.count("\n") == 1
    decide(run, Kind.KEEP, 3)
    assert main(["decisions", str(run)]) == 0
    assert "keep" in capsys.readouterr().out
    (run / "decisions.sqlite").write_bytes(b"nothing of the kind" * 300)
    assert main(["select", str(run), "--keep", "0.9"]) == 1
    err = capsys.readouterr().err
    assert "damaged" in err and err.count("\n") == 1
    assert main(["select", str(run), "--keep", "0.9", "--ignore-decisions", "--quiet"]) == 0
