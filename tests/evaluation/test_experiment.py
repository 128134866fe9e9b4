"""The experiment: its training runs, on which images, each once, by one process or several, killed or not."""

from __future__ import annotations

import json
import os
import socket
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

import tenpercent as tp
from forked import start
from tenpercent.data.store.files import write_table
from tenpercent.data.store.results import SCHEMA, read_trainings
from tenpercent.data.store.run_folder import RunFolder
from tenpercent.errors import StageError, TrainingFailedError, UsageError
from tenpercent.evaluation import claims as claiming
from tenpercent.evaluation.arms import Arms, check_arms, read_list
from tenpercent.evaluation.claims import Claims
from tenpercent.evaluation.experiment import TrialProgress, missing, progress_of, run_trials
from tenpercent.evaluation.results import Results, packed, unpacked
from tenpercent.evaluation.trials import Trial, plan_trials
from tenpercent.selection import by_strategy

PLAN = plan_trials(("full", "random", "semantic"), (0.9, 0.5), 3)


@dataclass(frozen=True)
class Outcome:
    """What a training comes to, in short."""

    accuracy: float = 0.5
    top5: float | None = None
    best_accuracy: float = 0.6
    loss: float = 1.0
    test_loss: float = 1.5
    class_accuracy: tuple[float, ...] = (0.25, 0.75, 0.5)
    removed_accuracy: float | None = None
    curve: tuple[dict[str, Any], ...] = ()
    steps: int = 10
    epochs: float = 1.0
    seconds: float = 0.1


def embeddings(n: int = 120, classes: int = 3) -> tp.Embeddings:
    random = np.random.default_rng(0)
    labels = np.arange(n) % classes
    labels[: n // 4] = 0  # classes of different sizes
    return tp.Embeddings.from_numpy(random.normal(size=(n, 6)).astype(np.float32), labels=labels)


def arms_of(found: tp.Embeddings, **lists: Any) -> Arms:
    tree = tp.cluster(found, 0.5)
    cut = {"budget": "class", "min_per_class": 1}
    trees: Any = SimpleNamespace(tree=lambda least, embedding, layer: tree, layer="end", cut=cut)
    return Arms(found, trees, 0.5, lists)


def results_in(folder: Path, about: str = "images") -> Results:
    return Results(RunFolder(folder), about)


@dataclass
class Trainer:
    """Notes what it is asked to train on, and does so at once."""

    seen: list[tuple[tuple[int, ...], int]] = field(default_factory=list)
    fails: int = -1

    def __call__(self, positions: Any, seed: int, folder: Path) -> Any:
        self.seen.append((tuple(positions.tolist()), seed))
        if len(self.seen) == self.fails:
            raise TrainingFailedError("the loss became nan in epoch 1")
        return Outcome()


# ---- the plan ----------------------------------------------------------------------------------------------------


def test_a_plan_has_every_trial_once_and_comparable_ones_first() -> None:
    trials = PLAN
    assert len(trials) == len(set(trials)) == 3 * (1 + 2 * 2)
    assert [trial.trial for trial in trials] == sorted(trial.trial for trial in trials)
    assert Counter((trial.arm, trial.fraction) for trial in trials) == dict.fromkeys(
        [("full", 1.0), *((a, f) for a in ("random", "semantic") for f in (0.9, 0.5))], 3
    )
    several = plan_trials(("full", "random", "semantic"), (0.9,), 2, layers=("start", "end"), embeddings=3)
    assert Counter(trial.arm for trial in several) == {"full": 2, "random": 2, "semantic": 12}


def test_seeds_and_names_differ_and_stay() -> None:
    trials = plan_trials(("full", "random", "semantic", "a/b", "a_b"), (0.9, 0.5), 4, ("start", "end"), 2)
    assert (
        len({trial.name for trial in trials}) == len({trial.seed("run") for trial in trials}) == len(trials)
    )
    assert all("/" not in trial.name and 0 <= trial.seed("run") < 2**31 for trial in trials)
    assert Trial(3, 0, "end", 0.9, "random").seed("run") == 1128355656
    assert Trial(3, 0, "end", 0.9, "random").seed("other") != Trial(3, 0, "end", 0.9, "random").seed("run")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((("full", "full"), (0.9,), 1), "--arms names full twice"),
        ((("random",), (0.9, 0.9), 1), "--keep names 0.9 twice"),
        ((("random",), (1.0,), 1), "--keep is 1.0"),
        ((("random",), (0.0,), 1), "--keep is 0.0"),
        ((("random",), (0.9,), 0), "--trials is 0"),
        ((("random",), (), 1), "no fraction"),
        (((), (0.9,), 1), "no arms"),
    ],
)
def test_a_plan_that_makes_no_sense(arguments: Any, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        plan_trials(*arguments)


# ---- the arms ----------------------------------------------------------------------------------------------------


def test_what_each_arm_trains_on() -> None:
    found = embeddings()
    arms = arms_of(found)
    assert found.labels is not None
    kept = np.flatnonzero(tp.select(tp.cluster(found, 0.5), keep=0.5).kept_by_id)
    assert arms.positions(Trial(0, 0, "end", 1.0, "full"), 1).tolist() == list(range(120))
    semantic = [arms.positions(Trial(t, 0, "end", 0.5, "semantic"), t).tolist() for t in range(2)]
    assert semantic[0] == semantic[1] == kept.tolist()
    draws = [arms.positions(Trial(0, 0, "end", 0.5, "random"), seed) for seed in (1, 1, 2)]
    assert draws[0].tolist() == draws[1].tolist() != draws[2].tolist()
    for draw in draws:
        assert len(np.unique(draw)) == len(draw)
        assert np.bincount(found.labels[draw]).tolist() == np.bincount(found.labels[kept]).tolist()


def test_every_image_is_drawn_as_often() -> None:
    found = embeddings(40, 2)
    arms = arms_of(found)
    trial = Trial(0, 0, "end", 0.5, "random")
    often = np.bincount(np.concatenate([arms.positions(trial, seed) for seed in range(2000)]), minlength=40)
    assert found.labels is not None
    for code in (0, 1):
        mine = often[found.labels == code] / 2000
        assert np.abs(mine - mine.mean()).max() < 5 * np.sqrt(0.25 / 2000)


def test_images_without_a_label_are_not_trained_on() -> None:
    labels = np.asarray([0, 1, -1] * 20)
    found = tp.Embeddings.from_numpy(np.random.default_rng(0).normal(size=(60, 4)), labels=labels)
    for arm, fraction in (("full", 1.0), ("random", 0.5), ("semantic", 0.5)):
        chosen = arms_of(found).positions(Trial(0, 0, "end", fraction, arm), 0)
        assert found.labels is not None and (found.labels[chosen] >= 0).all()


def test_lists_of_rows_and_ids(tmp_path: Path) -> None:
    ids = [f"cats/{9 - k}\u2028.png" for k in range(10)]
    found = tp.Embeddings.from_numpy(np.random.default_rng(0).normal(size=(10, 4)), ids=ids)
    np.save(tmp_path / "rows.npy", np.asarray([7, 0, 3]))
    np.save(tmp_path / "ids.npy", np.asarray([ids[7], ids[0], ids[3]]))
    (tmp_path / "rows.txt").write_text("7\n0\n\n3\n")
    (tmp_path / "ids.txt").write_text("\n".join([ids[7], ids[0], ids[3]]))
    (tmp_path / "rows.csv").write_text("other,row\nx,7\ny,0\nz,3\n")
    (tmp_path / "ids.csv").write_text(f"id\n{ids[7]}\n{ids[0]}\n{ids[3]}\n")
    for path in sorted(tmp_path.iterdir()):
        assert sorted(found.rows[read_list(path, found)].tolist()) == [0, 3, 7], path.name


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("none.txt", None, "can't read"),
        ("empty.txt", "\n", "names no images"),
        ("twice.txt", "1\n2\n1\n", "twice"),
        ("far.txt", "1\n120\n", "which is not an image"),
        ("columns.csv", "a,b\n1,2\n", "its columns are a, b"),
        ("words.csv", "row\nx\n", "can't read"),
        ("short.csv", "other,row\nx,1\ny\n", "line 2 below the names of the columns has no row"),
        ("one-class.txt", "0\n3\n", "images of 1 class; training takes two or more"),
    ],
)
def test_lists_that_cannot_be_used(name: str, content: str | None, said: str, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / name).write_text(content)
    with pytest.raises(UsageError, match=said):
        read_list(tmp_path / name, embeddings())


def test_rows_are_rows_in_whatever_order_some_are_ids_too(tmp_path: Path) -> None:
    ids = [f"{k:02}" for k in range(20)]  # "10" is a row and an id, "7" a row alone
    found = tp.Embeddings.from_numpy(np.random.default_rng(0).normal(size=(20, 4)), ids=ids)
    for text in ("7\n10\n", "10\n7\n"):
        (tmp_path / "rows.txt").write_text(text)
        assert found.rows[read_list(tmp_path / "rows.txt", found)].tolist() == [7, 10]


def test_a_name_stays_with_the_list_that_it_had(tmp_path: Path) -> None:
    found, first, second = embeddings(), np.asarray([1, 5, 8]), np.asarray([1, 5, 9])
    arms = arms_of(found, mine=first)
    results = results_in(tmp_path)
    run_trials(plan_trials((), (), 2, lists=(("mine", 3 / 120),)), arms, results, "protocol", Trainer())
    arms.check_lists(results.rebuild())
    arms_of(found, other=second).check_lists(results.rebuild())
    with pytest.raises(
        UsageError, match=r"--arms mine: 2 training runs of this name .* give the list another"
    ):
        arms_of(found, mine=second).check_lists(results.rebuild())


def test_a_list_has_a_random_rival_of_its_size() -> None:
    lists = (("a", 0.4), ("b", 0.4), ("c", 0.9), ("all", 1.0))
    trials = plan_trials(("random",), (0.9,), 1, lists=lists)
    assert [trial.fraction for trial in trials if trial.arm == "random"] == [0.4, 0.9]
    assert [trial.arm for trial in plan_trials(("full",), (), 1, lists=lists)] == [
        "full",
        "a",
        "b",
        "c",
        "all",
    ]
    assert len(plan_trials(("full", "random"), (), 1, lists=lists)) == 7
    with pytest.raises(UsageError, match="no fraction"):
        plan_trials(("semantic",), (), 1, lists=lists)


def test_a_matrix_is_no_list(tmp_path: Path) -> None:
    np.save(tmp_path / "matrix.npy", np.zeros((2, 2)))
    with pytest.raises(UsageError, match="shape"):
        read_list(tmp_path / "matrix.npy", embeddings())


def test_an_unknown_arm_is_refused() -> None:
    with pytest.raises(
        UsageError, match=r"--arms names 'semantics'; known are full, .*did you mean semantic"
    ):
        check_arms(("full", "semantics"))
    with pytest.raises(UsageError, match="mixed has the value '7'"):
        check_arms(("mixed:7",))
    check_arms(("full", "random", "semantic", "kcenter", "mixed:0.5", "spread"))
    with pytest.raises(
        UsageError, match="el2n was removed; evaluate your own list of images with --arms el2n=FILE"
    ):
        check_arms(("el2n",))
    with pytest.raises(UsageError, match=r"needs difficulty scores, .* and give --arms ccs=EXPORTED"):
        check_arms(("ccs:0.2",))


@pytest.mark.parametrize("arm", ["kcenter", "spread", "mixed:0.5"])
def test_every_strategy_is_an_arm(arm: str) -> None:
    found = embeddings()
    arms = arms_of(found)
    chosen = [arms.positions(Trial(0, 0, "end", 0.5, arm), seed) for seed in (3, 3)]
    expected = tp.select_by(found, 0.5, strategy=arm, seed=3).kept_by_id
    assert chosen[0].tolist() == chosen[1].tolist() == np.flatnonzero(expected).tolist()


@pytest.mark.parametrize("arm", ["kcenter", "graph-add"])
def test_an_arm_that_grows_step_by_step_is_chosen_once_a_class(
    arm: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[int] = []
    chosen = by_strategy._Task.chosen
    monkeypatch.setattr(
        by_strategy._Task, "chosen", lambda self, one: (made.append(one.code), chosen(self, one))[1]
    )
    found = embeddings()
    arms = arms_of(found)
    classes = len(set(found.labels.tolist()))  # type: ignore[union-attr]
    for keep, again in ((0.5, classes), (0.9, classes), (0.3, 0), (0.9, 0)):
        expected = np.flatnonzero(tp.select_by(found, keep, strategy=arm).kept_by_id)
        made.clear()
        assert arms.positions(Trial(0, 0, "end", keep, arm), 3).tolist() == expected.tolist()
        assert len(made) == again


# ---- training runs and their results ---------------------------------------------------------------------------------


def test_each_training_is_done_once_and_has_a_row(tmp_path: Path) -> None:
    found, trainer = embeddings(), Trainer()
    results = results_in(tmp_path)
    assert run_trials(PLAN, arms_of(found), results, "p", trainer) == 15
    assert progress_of(PLAN, results, "p") == TrialProgress(15, (), ())
    table = results_in(tmp_path).rebuild()
    assert len(table) == 15
    rows = {(r["arm"], r["fraction"], r["trial"]): r for r in table.to_pylist()}
    assert rows["semantic", 0.5, 2]["n"] == 60 and rows["full", 1.0, 0]["n"] == 120
    for row in rows.values():
        positions = [seen for seen, seed in trainer.seen if seed == row["seed"]]
        assert [found.rows[list(p)].tolist() for p in positions] == [unpacked(row["kept"], 120).tolist()]
    more = Trainer()
    wider = plan_trials(("full", "random", "semantic"), (0.9, 0.5, 0.7), 4)
    assert missing(wider, results, "p") == 28 - 15
    assert run_trials(wider, arms_of(found), results, "p", more) == len(more.seen) == 28 - 15
    assert run_trials(PLAN, arms_of(found), results, "other", Trainer()) == 15
    assert len(results_in(tmp_path).rebuild()) == 28 + 15


def test_a_training_that_fails_is_marked_and_others_go_on(tmp_path: Path) -> None:
    trainer = Trainer(fails=4)
    assert run_trials(PLAN, arms_of(embeddings()), results_in(tmp_path), "p", trainer) == 15
    found = progress_of(PLAN, results_in(tmp_path), "p")
    assert found.done == 14 and len(found.failed) == 1 and "nan" in found.failed[0][1]
    rows = results_in(tmp_path).rebuild().to_pylist()
    failed = [row for row in rows if row["status"] == "failed"]
    assert len(failed) == 1 and failed[0]["accuracy"] is None and "nan" in failed[0]["reason"]
    assert run_trials(PLAN, arms_of(embeddings()), results_in(tmp_path), "p", Trainer()) == 0


def test_an_interruption_leaves_whole_rows_and_the_rest_is_trained_later(tmp_path: Path) -> None:
    class Stopped(Trainer):
        def __call__(self, positions: Any, seed: int, folder: Path) -> Any:
            folder.mkdir(parents=True)
            (folder / "checkpoint").write_text("half")
            if len(self.seen) == 6:
                raise KeyboardInterrupt
            (folder / "checkpoint").unlink()
            folder.rmdir()
            return super().__call__(positions, seed, folder)

    with pytest.raises(KeyboardInterrupt):
        run_trials(PLAN, arms_of(embeddings()), results_in(tmp_path), "p", Stopped())
    assert len(results_in(tmp_path).rebuild()) == 6
    assert len(list((tmp_path / "trainings").glob("*/checkpoint"))) == 1  # to go on from
    assert not list((tmp_path / "trainings").glob("*.claim"))
    assert run_trials(PLAN, arms_of(embeddings()), results_in(tmp_path), "p", Trainer()) == 9
    assert not list((tmp_path / "trainings").glob("*/checkpoint"))


def test_what_a_kill_left_after_the_row_is_cleared(tmp_path: Path) -> None:
    trial, results, arms = PLAN[0], results_in(tmp_path), arms_of(embeddings())
    run_trials([trial], arms, results, "p", Trainer())
    path = results.path(trial, "p")
    (results.folder / path.stem).mkdir()
    (results.folder / path.stem / "weights.safetensors").write_text("whole")
    (results.folder / f"{path.name}.123.partial").write_text("half")
    assert run_trials([trial], arms, results, "p", Trainer()) == 0
    assert [left.name for left in results.folder.iterdir() if left.suffix in ("", ".partial")] == []


def test_results_of_other_images_or_versions_are_refused(tmp_path: Path) -> None:
    run_trials(PLAN[:1], arms_of(embeddings()), results_in(tmp_path), "p", Trainer())
    with pytest.raises(StageError, match="of other images"):
        results_in(tmp_path, "others").rebuild()
    (path,) = (tmp_path / "trainings").glob("*.parquet")
    write_table(path, results_in(tmp_path).rebuild(), {"format": 99, "images": "images"})
    with pytest.raises(StageError, match="has format 99"):
        results_in(tmp_path).rebuild()
    path.write_bytes(b"PAR1")
    with pytest.raises(StageError, match="damaged"):
        results_in(tmp_path).rebuild()


@pytest.mark.parametrize("old", [(0,), (1,), (0, 1)])
def test_results_of_an_earlier_version_with_fewer_columns_are_added_to(
    old: tuple[int, ...], tmp_path: Path
) -> None:
    results = results_in(tmp_path)
    run_trials(PLAN[:2], arms_of(embeddings()), results, "p", Trainer())
    for path in (results.path(PLAN[number], "p") for number in old):
        fewer = pq.read_table(path).drop_columns(["split", "tested", "pool"]).replace_schema_metadata(None)
        write_table(path, fewer, {"format": 1, "images": "images"})
    assert run_trials(PLAN[:3], arms_of(embeddings()), results_in(tmp_path), "p", Trainer()) == 1
    table = read_trainings(tmp_path / "results.parquet", "images")
    assert table.column_names == SCHEMA.names and len(table) == 3


def test_a_file_is_read_again_only_where_another_process_has_changed_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    results, read = results_in(tmp_path), []

    def reading(path: Path, about: str) -> Any:
        read.append(path)
        return read_trainings(path, about)

    monkeypatch.setattr("tenpercent.evaluation.results.read_trainings", reading)
    run_trials(PLAN[:3], arms_of(embeddings()), results, "p", Trainer())
    assert sorted(read) == sorted(tmp_path.glob("trainings/*.parquet"))
    results.path(PLAN[1], "p").unlink()
    run_trials(PLAN[:3], arms_of(embeddings()), results_in(tmp_path), "p", lambda *_: Outcome(accuracy=0.25))
    read.clear()
    assert results.read()["accuracy"].to_pylist().count(0.25) == 1
    assert read == [results.path(PLAN[1], "p")]


def test_rows_are_packed_without_loss() -> None:
    random = np.random.default_rng(0)
    for n in (1, 7, 8, 9, 1000):
        rows = np.sort(random.choice(n, n // 2, replace=False))
        assert unpacked(packed(rows, n), n).tolist() == rows.tolist()


# ---- several processes -------------------------------------------------------------------------------------------


def test_a_claim_is_held_by_one(tmp_path: Path) -> None:
    claims = Claims(tmp_path)
    with claims.claim("a") as ours, Claims(tmp_path).claim("a") as theirs, claims.claim("b") as other:
        assert (ours, theirs, other) == (True, False, True)
        assert claims.holder("a") == f"process {os.getpid()} on {socket.gethostname()}"
    assert claims.holder("a") is None
    assert [path.name for path in tmp_path.iterdir()] == ["claims.lock"]


@pytest.mark.parametrize(
    ("who", "age", "free"),
    [
        ({"pid": 2**22 + 1, "started": 0.0, "host": "here"}, 0, True),  # its process is gone
        ({"pid": "ours", "started": 5.0, "host": "here"}, 0, True),  # another process has its number now
        ({"pid": 1, "started": 0.0, "host": "elsewhere"}, 10, False),  # alive as far as one can tell
        ({"pid": 1, "started": 0.0, "host": "elsewhere"}, 100, True),  # no sign of life for too long
    ],
)
def test_stale_claims_are_taken_over(who: dict[str, Any], age: float, free: bool, tmp_path: Path) -> None:
    path = tmp_path / "a.claim"
    who["host"] = socket.gethostname() if who["host"] == "here" else who["host"]
    who["pid"] = os.getpid() if who["pid"] == "ours" else who["pid"]
    path.write_text(json.dumps({**who, "token": "x"}))
    os.utime(path, (time.time() - age,) * 2)
    with Claims(tmp_path).claim("a") as ours:
        assert ours == free


def test_what_others_are_at_is_told(tmp_path: Path) -> None:
    results = results_in(tmp_path)
    with Claims(results.folder).claim(results.path(PLAN[3], "p").stem):
        assert run_trials(PLAN, arms_of(embeddings()), results, "p", Trainer()) == 14
        found = progress_of(PLAN, results, "p")
    assert found == TrialProgress(14, (), ((PLAN[3], f"process {os.getpid()} on {socket.gethostname()}"),))


def test_half_a_claim_is_free(tmp_path: Path) -> None:
    (tmp_path / "a.claim").write_text('{"pid": ')
    with Claims(tmp_path).claim("a") as ours:
        assert ours


def test_a_claim_gives_signs_of_life_and_is_left_to_who_took_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claiming, "BEAT", 0.02)
    path = tmp_path / "a.claim"
    with Claims(tmp_path).claim("a"):
        os.utime(path, (0, 0))
        end = time.monotonic() + 5
        while path.stat().st_mtime < 1 and time.monotonic() < end:
            time.sleep(0.01)
        assert path.stat().st_mtime > 1
        path.write_text(json.dumps({"pid": 1, "started": 0.0, "host": "elsewhere", "token": "theirs"}))
    assert json.loads(path.read_text())["token"] == "theirs"


class SlowTrainer:
    """Takes a moment, and notes in a file of its own what it trained."""

    def __init__(self, notes: Path) -> None:
        self.notes = notes

    def __call__(self, positions: Any, seed: int, folder: Path) -> Any:
        with self.notes.open("a") as file:
            file.write(f"{seed}\n")
        time.sleep(0.02)
        return Outcome()


def share(folder: Path, number: int) -> None:
    """What each of several processes does."""
    trainer = SlowTrainer(folder / f"notes-{number}")
    run_trials(PLAN, arms_of(embeddings()), results_in(folder), "p", trainer)


def test_processes_share_the_trials(tmp_path: Path) -> None:
    for process in [start(share, tmp_path, number) for number in range(2)]:
        done = process.wait()
        assert done.returncode == 0, done.stderr
    seeds = "".join(path.read_text() for path in tmp_path.glob("notes-*")).split()
    assert len(seeds) == len(set(seeds)) == 15
    assert len(results_in(tmp_path).rebuild()) == 15
