"""Tasks on three nodes of Ray: the bytes of one process, whatever is lost, and one line where nothing helps."""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tenpercent as tp
from ray_nodes import add_node, nodes
from tenpercent.cli.main import main
from tenpercent.errors import MissingExtraError, RunFolderError, TenpercentError, UsageError
from tenpercent.tasks import on_ray
from tenpercent.tasks.on_ray import OnRay
from tenpercent.tasks.task import RETRIES, Task, complete
from tenpercent.tree import class_tasks, together

pytest.importorskip("ray", reason="Ray is not installed: pip install 'tenpercent[ray]'")


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    from ray import cloudpickle

    cloudpickle.register_pickle_by_value(sys.modules[__name__])  # which the nodes can't import
    with nodes(3) as found:
        yield found


@pytest.fixture
def runner(cluster: Any, tmp_path: Path) -> Iterator[OnRay]:
    with tp.Ray(cluster.address).opened(tmp_path) as opened:
        yield opened


def written(text: str, _: Sequence[Path], output: Path) -> None:
    output.write_text(text)


def killed(kills: int, log: Path, _: Sequence[Path], output: Path) -> None:
    """Kill this process the first few times."""
    with log.open("a") as file:
        file.write("x")
    if log.stat().st_size <= kills:
        os.kill(os.getpid(), signal.SIGKILL)
    output.write_text("done")


def waiting(log: Path, go: Path, _: Sequence[Path], output: Path) -> None:
    """Say on which node this is done, and wait until a node is lost, for ever if it is this one."""
    import ray

    node = ray.get_runtime_context().get_node_id()
    with log.open("a") as file:
        file.write(f"{node}\n")
    while not go.exists() or go.read_text() == node:
        time.sleep(0.02)
    output.write_text("done")


def faulty(_: Sequence[Path], __: Path) -> None:
    raise ZeroDivisionError("a fault")


def full(_: Sequence[Path], output: Path) -> None:
    output.write_text("half")
    raise OSError(28, os.strerror(28), str(output))


def test_a_run_on_three_nodes_has_the_bytes_of_one_process(
    cluster: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    generator = np.random.default_rng(0)
    rows = generator.integers(1, 4, (600, 3)).astype(np.float32)  # ties and equal rows
    np.save(tmp_path / "v.npy", rows)
    np.save(tmp_path / "l.npy", generator.integers(0, 7, 600))
    words = [str(tmp_path / "v.npy"), "--labels", str(tmp_path / "l.npy"), "--keep", "0.8"]
    assert main(["run", *words, "--out", str(tmp_path / "one")]) == 0
    assert main(["run", *words, "--out", str(tmp_path / "three"), "--ray", cluster.address]) == 0
    assert "working on 3 machines of Ray with 3 CPUs" in capsys.readouterr().err
    assert main(["cluster", str(tmp_path / "one"), "--keep", "0.1"]) == 0
    assert main(["cluster", str(tmp_path / "three"), "--keep", "0.1", "--ray", cluster.address]) == 0
    one, three = ({path.name for path in (tmp_path / name).iterdir()} for name in ("one", "three"))
    assert one == three > {"merges.parquet", "selection.parquet"}
    for name in one - {"run.json", "report.html", "locks"}:  # which hold times
        assert (tmp_path / "three" / name).read_bytes() == (tmp_path / "one" / name).read_bytes()


def test_all_together_on_three_nodes_have_the_bytes_of_one_process(
    cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(class_tasks, "ALONE", 1000)  # images: more are done in pieces
    rows = np.random.default_rng(1).integers(1, 9, (4000, 4)).astype(np.float32)
    np.save(tmp_path / "v.npy", rows)
    words = [str(tmp_path / "v.npy"), "--keep", "0.7"]
    assert main(["run", *words, "--out", str(tmp_path / "one")]) == 0
    done = []
    each = together.first_merges_by_tasks
    monkeypatch.setattr(class_tasks, "first_merges_by_tasks", lambda *a: done.append(a) or each(*a))
    assert main(["run", *words, "--out", str(tmp_path / "three"), "--ray", cluster.address]) == 0
    assert done
    for name in ("merges.parquet", "selection.parquet"):
        assert (tmp_path / "three" / name).read_bytes() == (tmp_path / "one" / name).read_bytes()


def test_faults_on_the_way(runner: OnRay, tmp_path: Path) -> None:
    """In one connection, which takes a second or two: kills, a full disk, a fault of the function."""
    others = [Task(f"file {n}", partial(written, str(n)), (), tmp_path / f"out-{n}") for n in range(5)]
    unlucky = Task("unlucky", partial(killed, RETRIES, tmp_path / "log"), (), tmp_path / "unlucky")
    complete(runner, [unlucky, *others])
    assert (tmp_path / "unlucky").read_text() == "done" and (tmp_path / "log").stat().st_size == RETRIES + 1
    assert [task.output.read_text() for task in others] == ["0", "1", "2", "3", "4"]
    deadly = Task("class 3", partial(killed, 99, tmp_path / "log"), (), tmp_path / "deadly")
    with pytest.raises(
        TenpercentError, match=r"^class 3 was given up: its process was killed 4 times \(.*resumes"
    ):
        complete(runner, [deadly])
    with pytest.raises(RunFolderError, match=r"can't write .*/full: No space left on device .*free"):
        complete(runner, [Task("a", full, (), tmp_path / "full")])
    with pytest.raises(ZeroDivisionError, match="a fault"):
        complete(runner, [Task("a", faulty, (), tmp_path / "faulty")])


def test_a_node_lost_at_work_loses_nothing(cluster: Any, tmp_path: Path) -> None:
    """All four nodes are at work when one of them is lost."""
    extra = add_node(cluster)
    log, go = tmp_path / "log", tmp_path / "go"
    tasks = [Task(f"file {n}", partial(waiting, log, go), (), tmp_path / f"out-{n}") for n in range(6)]

    def lose() -> None:
        while not log.exists() or extra.node_id not in log.read_text():
            time.sleep(0.02)
        cluster.remove_node(extra, allow_graceful=False)
        go.with_name("going").write_text(extra.node_id)
        go.with_name("going").rename(go)

    with tp.Ray(cluster.address).opened(tmp_path) as runner:
        losing = threading.Thread(target=lose)
        losing.start()
        complete(runner, tasks)
        losing.join()
    assert all(task.output.read_text() == "done" for task in tasks)
    at = log.read_text().split()
    assert extra.node_id in at and len(at) > len(tasks)


# ---- what is refused at the start --------------------------------------------------------------------------------


def test_nothing_of_ray_is_imported_without_it() -> None:
    import subprocess

    words = "import sys, tenpercent as tp; tp.Ray(); tp.run; from tenpercent.cli.main import main; "
    subprocess.run([sys.executable, "-c", f"{words}assert 'ray' not in sys.modules"], check=True)


def test_ray_that_is_not_installed_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with (
        pytest.raises(MissingExtraError, match=r"^ray is not installed; .* pip install 'tenpercent\[ray\]'$"),
        tp.Ray().opened(tmp_path / "run"),
    ):
        pass
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("silent", [False, True])
def test_an_address_that_does_not_answer_is_one_line(silent: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(on_ray, "ANSWERS", 0.2)
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        if silent:
            server.listen()
        address = f"127.0.0.1:{server.getsockname()[1]}"
        reason = "timed out" if silent else "Connection refused"
        with (
            pytest.raises(UsageError, match=rf"^{address} does not answer \({reason}\); .* ray start --head"),
            tp.Ray(address).opened(Path("run")),
        ):
            pass


@pytest.mark.parametrize("address", ["somewhere", "host:port", ":"])
def test_what_is_no_address_is_said(address: str) -> None:
    with pytest.raises(UsageError, match="give HOST:PORT, auto, or no address"):
        on_ray._check_answers(address)


def test_a_machine_that_does_not_see_the_folder_says_so(tmp_path: Path) -> None:
    assert on_ray._look(tmp_path) == on_ray._versions()
    assert on_ray._look(tmp_path / "a" / "b") == (
        f"does not see the run folder {tmp_path / 'a'}; put it where all machines see it by the same path"
    )


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (
            {"numpy": "1.0"},
            r"machine box-2 \(10.0.0.2\) has numpy 1.0, and this one \S+; install the same on all",
        ),
        ({"python": "3.9.1"}, r"machine box-2 \(10.0.0.2\) has python 3.9.1, and this one"),
        ("does not see the run folder", r"machine box-2 \(10.0.0.2\) does not see the run folder"),
    ],
)
def test_a_machine_that_is_not_fit_is_named(
    found: Any, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Connected(OnRay):
        def __init__(self) -> None:
            pass

        def _nodes(self) -> list[dict[str, Any]]:
            return [
                {
                    "NodeManagerHostname": f"box-{n}",
                    "NodeManagerAddress": f"10.0.0.{n}",
                    "Resources": {"CPU": 1},
                }
                for n in (1, 2)
            ]

        def _seen_by(self, *_: Any) -> Iterator[Any]:
            ours = on_ray._versions()
            yield ours
            yield {**ours, **found} if isinstance(found, dict) else found

    with pytest.raises(TenpercentError, match=said):
        Connected().check(tmp_path / "run")
    assert not (tmp_path / "run").exists()
