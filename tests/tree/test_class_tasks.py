"""Classes clustered as tasks: the bytes of one process, wherever and in whatever order the tasks are done."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tenpercent as tp
from examples import some as examples
from hard_vectors import KINDS, hard_vectors
from shuffled import Shuffled
from tenpercent.data.store.embeddings import Embeddings
from tenpercent.data.store.run_folder import RunFolder, Stage
from tenpercent.decisions.constraints import Constraints
from tenpercent.errors import LockedError, RunFolderError, UsageError
from tenpercent.linkage import pairs
from tenpercent.linkage.memory import MemoryBudgetError, Resources
from tenpercent.tasks.task import Capacity, Engine, Runner, Share, Task, running_on
from tenpercent.tree import class_tasks, clustering
from tenpercent.tree.merges import Merges, uncut

FILES = ("merges.parquet", "merges.counted.parquet", "selection.parquet")


@dataclass(frozen=True)
class Kept:
    """An engine that is open already."""

    runner: Runner

    def opened(self, _: Path) -> AbstractContextManager[Runner]:
        return nullcontext(self.runner)


@pytest.fixture(scope="module")
def processes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """Two processes, for all tests."""
    with tp.Processes(2).opened(tmp_path_factory.mktemp("two")) as runner:
        yield Kept(runner)


def stored(folder: Path) -> dict[str, bytes]:
    """The files that must have the same bytes."""
    return {name: (folder / name).read_bytes() for name in FILES if (folder / name).exists()}


def merges_of(tree: Merges, cut: tp.Cut, folder: Path, engine: Engine | None = None) -> dict[str, bytes]:
    """What saving a tree writes, deepened with a folder for tasks."""
    folder.mkdir()
    with running_on(engine, folder):
        made = tree.deepened(cut, Resources(scratch=folder / "scratch"))
    made.save(folder / "merges.parquet")
    return stored(folder)


@settings(max_examples=examples(25), deadline=None)
@given(
    kind=st.sampled_from(KINDS),
    sizes=st.lists(st.integers(1, 40), min_size=1, max_size=8),
    seed=st.integers(0, 10**9),
    keep=st.sampled_from([0.9, 0.5, 0.2]),
    together=st.integers(1, 9),
    decided=st.booleans(),
    alone=st.sampled_from([30, 10_000]),
)
def test_neither_order_nor_number_of_machines_shows(
    kind: str, sizes: list[int], seed: int, keep: float, together: int, decided: bool, alone: int
) -> None:
    random = np.random.default_rng(seed)
    labels = random.permutation(np.repeat(np.arange(len(sizes)), sizes))
    tree = uncut(Embeddings.from_numpy(hard_vectors(kind, len(labels), 4, seed), labels=labels))
    if decided:
        apart = np.unique(np.sort(random.integers(0, len(labels), (9, 2)), axis=1), axis=0)
        tree = tree.under(Constraints(apart[apart[:, 0] < apart[:, 1]], np.array([0])))
    engine = Shuffled(seed, Capacity(together, Share(1, 100 << 20), Share(3, 300 << 20)))
    with TemporaryDirectory() as place, pytest.MonkeyPatch.context() as patch:
        patch.setattr(class_tasks, "ALONE", alone)  # images: larger classes are done in pieces
        expected = merges_of(tree, tp.Cut(keep), Path(place) / "one")
        assert merges_of(tree, tp.Cut(keep), Path(place) / "many", engine) == expected


@pytest.fixture
def labelled(vectors: Path) -> dict[str, Any]:
    return {"source": vectors, "options": tp.SourceOptions(labels=vectors.with_name("labels.npy"))}


def test_a_run_by_processes_has_the_bytes_of_one(
    labelled: dict[str, Any], tmp_path: Path, processes: Engine
) -> None:
    tp.run(**labelled, out=tmp_path / "one", keep=0.8)
    tp.run(**labelled, out=tmp_path / "many", keep=0.8, engine=processes)
    assert stored(tmp_path / "many") == stored(tmp_path / "one") and len(stored(tmp_path / "one")) == 3
    assert not (tmp_path / "many" / "scratch").exists()
    for name, engine in (("one", None), ("many", processes)):  # deeper, from counts
        tp.cluster(tmp_path / name, 0.2, engine=engine)
    assert stored(tmp_path / "many") == stored(tmp_path / "one")


class KilledError(Exception):
    """The caller is killed here."""


def killing(after: int) -> Shuffled:
    """An engine whose caller is killed after some tasks."""
    engine = Shuffled()

    def before(_: Task) -> None:
        if len(engine.done) == after:
            raise KilledError

    engine.before = before
    return engine


def test_a_run_begun_one_way_is_continued_the_other_way(
    labelled: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tp.embed(**labelled, out=tmp_path / "run")
    shutil.copytree(tmp_path / "run", tmp_path / "one")
    tp.cluster(tmp_path / "one", 0.5)
    # begun by tasks: only what is missing is clustered here
    shutil.copytree(tmp_path / "run", tmp_path / "tasks first")
    with pytest.raises(KilledError):
        tp.cluster(tmp_path / "tasks first", 0.5, engine=killing(2))
    calls = []
    first = clustering.first_merges
    with monkeypatch.context() as patch:
        patch.setattr(clustering, "first_merges", lambda *a, **k: calls.append(1) or first(*a, **k))
        tp.cluster(tmp_path / "tasks first", 0.5)
    assert len(calls) == 1
    # begun here: only what is missing becomes a task
    with monkeypatch.context() as patch:
        patch.setattr(clustering, "first_merges", lambda *a, **k: _killed_at_third(calls, first, *a, **k))
        with pytest.raises(KilledError):
            tp.cluster(tmp_path / "run", 0.5)
    engine = Shuffled()
    tp.cluster(tmp_path / "run", 0.5, engine=engine)
    assert 1 <= len(engine.done) <= 2
    assert stored(tmp_path / "run") == stored(tmp_path / "tasks first") == stored(tmp_path / "one")


def _killed_at_third(calls: list[int], first: Any, *arguments: Any, **named: Any) -> Any:
    calls.append(1)
    if len(calls) > 3:
        raise KilledError
    return first(*arguments, **named)


def test_a_class_too_large_for_its_share_gets_a_machine(labelled: dict[str, Any], tmp_path: Path) -> None:
    tp.embed(**labelled, out=tmp_path / "run")
    refused = []

    def before(task: Task) -> None:
        if task.name == "class 1" and not task.alone:
            refused.append(task)
            raise MemoryBudgetError("it", needed=9, allowed=8, fits=3, n=20)

    engine = Shuffled(before=before, capacity_is=Capacity(2, Share(1, 150 << 20), Share(2, 300 << 20)))
    tp.cluster(tmp_path / "run", 0.5, engine=engine)
    assert len(refused) == 1
    assert {task.name: task.alone for task in engine.done} == {
        "class 0": False,
        "class 1": True,
        "class 2": False,
    }
    (share,) = (task.function.args[1] for task in engine.done if task.alone)  # type: ignore[attr-defined]
    assert share == engine.capacity_is.alone


def test_all_together_are_done_in_pieces_by_all_tasks(
    vectors: Path, tmp_path: Path, processes: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(class_tasks, "ALONE", 50)
    tp.run(vectors, out=tmp_path / "one", keep=0.8)
    tp.run(vectors, out=tmp_path / "many", keep=0.8, engine=processes)
    engine = Shuffled()
    tp.run(vectors, out=tmp_path / "shuffled", keep=0.8, engine=engine)
    assert stored(tmp_path / "many") == stored(tmp_path / "shuffled") == stored(tmp_path / "one")
    assert {"comparing group 0", "merging share 0"} <= {task.name for task in engine.done}
    assert not (tmp_path / "many" / "scratch").exists()
    for name, place in (("one", None), ("many", processes)):  # deeper, from counts
        tp.cluster(tmp_path / name, 0.3, engine=place)
    assert stored(tmp_path / "many") == stored(tmp_path / "one")


def test_classes_that_fit_no_machine_are_done_in_pieces(
    labelled: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(class_tasks, "ALONE", 20)
    tp.embed(**labelled, out=tmp_path / "run")
    shutil.copytree(tmp_path / "run", tmp_path / "one")
    tp.cluster(tmp_path / "one", 0.5)

    def before(task: Task) -> None:
        if task.name == "class 1":
            raise MemoryBudgetError("it", needed=9, allowed=8, fits=3, n=20)

    engine = Shuffled(before=before)
    tp.cluster(tmp_path / "run", 0.5, engine=engine)
    assert {"class 2", "comparing group 0"} <= {task.name for task in engine.done}
    assert stored(tmp_path / "run") == stored(tmp_path / "one")


def test_what_fits_no_machine_is_said_of_the_cut(labelled: dict[str, Any], tmp_path: Path) -> None:
    tp.embed(**labelled, out=tmp_path / "run")
    small = Shuffled(capacity_is=Capacity(3, Share(1, 1000), Share(2, 3000)))
    with pytest.raises(
        MemoryBudgetError, match=r"^--keep 0.5 needs about .*MiB, and 3 KiB may be used; give --memory"
    ):
        tp.cluster(tmp_path / "run", 0.5, engine=small)


def test_one_class_alone_is_one_task_with_a_machine_for_itself(vectors: Path, tmp_path: Path) -> None:
    tp.embed(vectors, out=tmp_path / "run")
    engine = Shuffled()
    tp.cluster(tmp_path / "run", 0.5, engine=engine)
    assert [task.alone for task in engine.done] == [True]


def test_a_full_disk_is_one_line_and_finished_classes_stay(
    labelled: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tp.embed(**labelled, out=tmp_path / "run")
    engine = Shuffled(seed=1)
    write = class_tasks.write_part

    def full(path: Path, finished: Any) -> None:
        if len(engine.done) == 2:
            raise OSError(28, "No space left on device", str(path))
        write(path, finished)

    with monkeypatch.context() as patch:
        patch.setattr(class_tasks, "write_part", full)
        with pytest.raises(
            RunFolderError, match=r"can't write .*/part-[0-9a-f-]+\.parquet: No space left on device .*free"
        ):
            tp.cluster(tmp_path / "run", 0.5, engine=engine)
    again = Shuffled()
    tp.cluster(tmp_path / "run", 0.5, engine=again)
    assert len(again.done) == 1


def test_the_second_driver_is_told_who_works(
    labelled: dict[str, Any], tmp_path: Path, processes: Engine
) -> None:
    tp.embed(**labelled, out=tmp_path / "run")
    run = RunFolder.open(tmp_path / "run")
    with run.lock(Stage.CLUSTER), pytest.raises(LockedError, match="the cluster stage is held by process"):
        tp.cluster(tmp_path / "run", 0.5, engine=processes)


def test_what_a_task_spills_goes_to_the_run_folder(
    labelled: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tp.embed(**labelled, out=tmp_path / "run")
    monkeypatch.setattr(clustering, "MAY_SPILL", 0.0)
    monkeypatch.setattr(pairs, "SECONDS", -1.0)  # whatever is found is written
    spilled: list[Path] = []
    where = pairs.PairStore._where
    monkeypatch.setattr(pairs.PairStore, "_where", lambda store: spilled.append(where(store)) or spilled[-1])
    tp.cluster(tmp_path / "run", 0.5, engine=Shuffled())
    assert len(spilled) >= 3
    assert all((tmp_path / "run" / "scratch") in place.parents for place in spilled)
    assert not (tmp_path / "run" / "scratch").exists()


def test_an_engine_without_a_run_folder_is_refused(processes: Engine) -> None:
    embeddings = Embeddings.from_numpy(np.eye(4))
    with pytest.raises(UsageError, match="give one, or leave out engine"):
        tp.cluster(embeddings, engine=tp.Processes(2))
