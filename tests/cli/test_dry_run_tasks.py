"""Dry runs of work that is spread: what they say of tasks is what the run does."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tenpercent as tp
from shuffled import Shuffled
from tenpercent.cli.dry_run import plan
from tenpercent.cli.dry_run_tasks import describe_training_tasks, spread_clustering
from tenpercent.cli.main import main
from tenpercent.linkage.threads import cpus
from tenpercent.tasks.task import Capacity, Share, Task
from tenpercent.tree import class_tasks

TEN = Capacity(10, Share(1, 1 << 30), Share(4, 4 << 30))


def test_the_tasks_of_the_plan_are_those_of_the_run(vectors: Path, tmp_path: Path) -> None:
    request = {"out": tmp_path / "run", "options": tp.SourceOptions(labels=vectors.with_name("labels.npy"))}
    engine = Shuffled()
    said = str(plan(vectors, **request, engine=engine))
    found = re.search(
        r"tasks     (\d+) classes to cluster, a task each \((\d+) with a machine for itself\), 3 at", said
    )
    assert found is not None and "300 MiB a machine" in said and "1.9 KiB through the run folder" in said
    assert not (tmp_path / "run").exists()
    tp.run(vectors, **request, keep=1.0, engine=engine)
    first = {task.name: task.alone for task in reversed(engine.done)}
    assert (len(first), sum(first.values())) == (int(found[1]), int(found[2]))


def test_the_plan_of_pieces_says_groups_files_and_memory(
    vectors: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(class_tasks, "ALONE", 50)
    engine = Shuffled()
    found = plan(vectors, out=tmp_path / "run", engine=engine)
    said = re.search(
        r"(\d+) groups? of cells: about .* of files beside the vectors; 81 MiB in this process", str(found)
    )
    assert said is not None
    alone = plan(vectors, out=tmp_path / "run")
    assert found.disk_bytes - alone.disk_bytes > 60 * (8 * 4 + 40)  # vectors, and what is known of each
    assert found.memory_bytes > 3 * (80 << 20)  # this process, and the two tasks that a machine does at once
    tp.run(vectors, out=tmp_path / "run", engine=engine)
    assert len({task.name for task in engine.done if task.name.startswith("comparing group")}) == int(said[1])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_disk_of_the_plan_is_what_the_run_has_in_scratch(dtype: type, tmp_path: Path) -> None:
    rows = np.random.default_rng(0).standard_normal((3_000, 16))
    rows[2_400:] = rows[:600] + 0.01
    np.save(tmp_path / "v.npy", rows.astype(dtype))
    np.save(tmp_path / "l.npy", np.arange(3_000) % 600 % 7)
    request: dict[str, Any] = {"out": tmp_path / "run"}
    request["options"] = tp.SourceOptions(labels=tmp_path / "l.npy")
    most = 0

    def look(_: Task) -> None:
        nonlocal most
        files = (tmp_path / "run" / "scratch").rglob("*.npy")
        most = max(most, sum(file.stat().st_size for file in files))

    engine = Shuffled(before=look)
    here, there = (plan(tmp_path / "v.npy", **request, engine=place) for place in (None, engine))
    tp.run(tmp_path / "v.npy", **request, engine=engine)
    assert 0.99 * most < there.disk_bytes - here.disk_bytes <= most  # beside the merges, and without headers


def test_time_is_that_of_the_longest_task_or_of_all_together() -> None:
    alike = spread_clustering(np.full(100, 100), 256, 60.0, TEN)
    assert alike.seconds == pytest.approx(60 * cpus() / 10)
    one = spread_clustering(np.array([100]), 256, 60.0, TEN)
    assert one.seconds == pytest.approx(60 * cpus() / 4)
    large = spread_clustering(np.array([100, 1_000_000, 9_000]), 256, 60.0, TEN)
    assert large.seconds == pytest.approx(60 * cpus() / 10)
    assert (
        "3 classes to cluster, a task each (1 in pieces by all, 2 with a machine for itself), 10"
        in large.step
    )


def test_training_runs_take_a_gpu_each_where_there_are_some() -> None:
    assert describe_training_tasks(6, TEN) == "6 training runs, a task each, 10 at once: one CPU each"
    said = describe_training_tasks(6, TEN._replace(gpus=2))
    assert said == "6 training runs, a task each, 2 at once: a GPU each, of 2; timed here"


def test_a_dry_run_starts_nothing(vectors: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["--ray"], ["--workers", "64"]):
        assert main(["run", str(vectors), "--out", str(tmp_path / "run"), "--dry-run", *words]) == 0
        assert (
            f"1 class to cluster, a task each (1 with a machine for itself), {cpus()} at once"
            in capsys.readouterr().out
        )
    assert not (tmp_path / "run").exists()
