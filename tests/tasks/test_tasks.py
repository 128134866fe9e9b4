"""Tasks: files written whole, done once, again where a process was killed, and errors that reach the caller."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import time
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import pytest

from tenpercent.embedding.origin import OtherOriginError
from tenpercent.errors import RunFolderError, TenpercentError, UsageError
from tenpercent.linkage.memory import MemoryBudgetError
from tenpercent.tasks import processes
from tenpercent.tasks.processes import OwnProcesses, Processes
from tenpercent.tasks.task import RETRIES, Task, complete, current_runner, perform, running_on


@pytest.fixture(scope="module")
def two() -> Iterator[OwnProcesses]:
    runner = OwnProcesses(2)  # also on a machine of one CPU
    yield runner
    runner.end()


def twice(inputs: Sequence[Path], output: Path) -> None:
    output.write_text("".join(path.read_text() for path in inputs) * 2)


def killed(kills: int, log: Path, inputs: Sequence[Path], output: Path) -> None:
    """Kill this process the first few times."""
    with log.open("a") as file:
        file.write("x")
    output.write_text("half")
    if log.stat().st_size <= kills:
        os.kill(os.getpid(), signal.SIGKILL)
    twice(inputs, output)


def refused(_: Sequence[Path], output: Path) -> None:
    output.write_text("half")
    raise MemoryBudgetError("all merges", needed=9, allowed=8, fits=3, n=10)


def full(_: Sequence[Path], output: Path) -> None:
    output.write_text("half")
    raise OSError(28, os.strerror(28), str(output))


def faulty(_: Sequence[Path], __: Path) -> None:
    raise ZeroDivisionError("a fault")


class UnpicklableError(Exception):
    """Exception that can be sent, and not be made again from its message."""

    def __init__(self, row: int, column: int) -> None:
        super().__init__(f"row {row}")


def odd(_: Sequence[Path], __: Path) -> None:
    raise UnpicklableError(3, 4)


def waiting(other: Path, _: Sequence[Path], output: Path) -> None:
    """End when another task has, or after half a minute."""
    end = time.monotonic() + 30
    while not other.exists() and time.monotonic() < end:
        time.sleep(0.01)
    output.write_text("done")


def some(folder: Path, count: int) -> list[Task]:
    """Tasks that double a file each; every third wants the machine for itself."""
    for number in range(count):
        (folder / f"in-{number}").write_text(str(number))
    return [
        Task(f"file {n}", twice, (folder / f"in-{n}",), folder / f"out-{n}", alone=n % 3 == 0)
        for n in range(count)
    ]


def test_tasks_are_done_once_each(two: OwnProcesses, tmp_path: Path) -> None:
    tasks = some(tmp_path, 7)
    tasks[4].output.write_text("was there")
    assert sorted(one.task.name for one in two.run(tasks)) == [task.name for task in tasks]
    texts = [task.output.read_text() for task in tasks]
    assert texts == ["00", "11", "22", "33", "was there", "55", "66"]
    assert not list(tmp_path.glob("*.partial"))


@pytest.mark.parametrize("kills", [1, RETRIES])
def test_a_task_whose_process_is_killed_is_done_again(two: OwnProcesses, tmp_path: Path, kills: int) -> None:
    tasks = some(tmp_path, 3)
    unlucky = Task("unlucky", partial(killed, kills, tmp_path / "log"), tasks[0].inputs, tmp_path / "out")
    complete(two, [*tasks, unlucky])
    assert (tmp_path / "out").read_text() == "00" and tasks[2].output.read_text() == "22"
    assert (tmp_path / "log").stat().st_size == kills + 1


def test_a_task_that_kills_every_process_is_given_up_in_one_line(two: OwnProcesses, tmp_path: Path) -> None:
    deadly = Task("class 3", partial(killed, 99, tmp_path / "log"), (), tmp_path / "out")
    with pytest.raises(
        TenpercentError, match=r"^class 3 was given up: its process was killed 4 times; .*again"
    ):
        complete(two, [deadly])
    assert not (tmp_path / "out").exists()
    complete(two, some(tmp_path, 2))  # the place still serves


def test_an_error_of_a_task_reaches_the_caller_whole_and_the_others_are_done(
    two: OwnProcesses, tmp_path: Path
) -> None:
    tasks = some(tmp_path, 4)
    found = {
        one.task.name: one.error for one in two.run([Task("bad", refused, (), tmp_path / "bad"), *tasks])
    }
    error = found.pop("bad")
    assert isinstance(error, MemoryBudgetError) and (error.needed, error.fits, error.n) == (9, 3, 10)
    assert str(error) == str(MemoryBudgetError("all merges", needed=9, allowed=8, fits=3, n=10))
    assert set(found.values()) == {None} and len(found) == 4
    assert not (tmp_path / "bad").exists() and not list(tmp_path.glob("*.partial"))


def test_a_full_disk_is_one_line_that_names_the_file(two: OwnProcesses, tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match=r"can't write .*/out: No space left on device .*free"):
        complete(two, [Task("a", full, (), tmp_path / "out")])
    assert not list(tmp_path.iterdir())


def test_a_lost_input_is_one_line_that_names_it(two: OwnProcesses, tmp_path: Path) -> None:
    with pytest.raises(
        RunFolderError, match=r"/gone is missing on \S+ \(class 3\); give the same command again"
    ):
        complete(two, [Task("class 3", twice, (tmp_path / "gone",), tmp_path / "out")])


def test_a_fault_of_a_function_is_raised_as_it_is(two: OwnProcesses, tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError, match="a fault"):
        complete(two, [Task("a", faulty, (), tmp_path / "out"), *some(tmp_path, 3)])
    complete(two, some(tmp_path, 3))


def test_a_fault_comes_with_its_traceback_and_its_process_ends(tmp_path: Path) -> None:
    before = multiprocessing.active_children()
    with (
        Processes(1).opened(tmp_path) as fresh,
        pytest.raises(RuntimeError, match="UnpicklableError: row 3") as found,
    ):
        complete(fresh, [Task("a", odd, (), tmp_path / "out")])
    assert "in odd" in "".join(found.value.__notes__)
    assert set(multiprocessing.active_children()) <= set(before)


def test_no_process_waits_for_the_first_task_of_another(tmp_path: Path) -> None:
    last = tmp_path / "out-2"
    tasks = [
        Task("long", partial(waiting, last), (), tmp_path / "long"),
        *(Task(f"{n}", twice, (), tmp_path / f"out-{n}") for n in range(3)),
    ]
    fresh = OwnProcesses(2)
    assert [one.task.name for one in fresh.run(tasks)][-1] == "long"
    fresh.end()


def test_stages_find_the_place_only_within_its_context(tmp_path: Path) -> None:
    with running_on(None, tmp_path):
        assert current_runner() is None
    with running_on(Processes(1), tmp_path):
        assert isinstance(current_runner(), OwnProcesses)
    assert current_runner() is None


def test_the_same_task_may_be_done_twice(tmp_path: Path) -> None:
    (task,) = some(tmp_path, 1)
    perform(task)
    before = task.output.stat().st_mtime_ns
    perform(task)
    assert task.output.stat().st_mtime_ns == before


@pytest.mark.parametrize("workers", [0, -1, 257])
def test_a_number_of_processes_out_of_range_is_refused(workers: int) -> None:
    with pytest.raises(UsageError, match=rf"--workers is {workers}; it must be from 1 to 256"):
        Processes(workers)


def test_no_more_processes_than_cpus_are_planned_and_started(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "cpus", lambda: 3)
    caplog.set_level("INFO", "tenpercent")
    for workers in (2, 3, 4, 256):
        caplog.clear()
        engine = Processes(workers)
        with engine.opened(tmp_path) as runner:
            assert runner.capacity(1 << 30) == engine.size(1 << 30)
        assert engine.size(1 << 30).together == min(workers, 3)
        said = f"working in 3 processes, one a CPU, not in {workers}"
        assert caplog.messages == ([said] if workers > 3 else [])


def test_errors_keep_their_attributes_between_processes() -> None:
    error = pickle.loads(pickle.dumps(OtherOriginError("the source", "give --embedder")))
    assert (error.differ, str(error)) == ("the source", "give --embedder")
    assert error.__notes__ == OtherOriginError("the source", "give --embedder").__notes__
