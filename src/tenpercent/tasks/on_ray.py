"""Runner of tasks on a cluster of Ray, whose machines all see the run folder."""

from __future__ import annotations

import logging
import os
import secrets
import shutil
import socket
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..data.store.environment import versions
from ..data.store.remains import TEMPORARY
from ..errors import (
    RunFolderError,
    TenpercentError,
    UsageError,
    cant_write,
    counted,
    one_line,
    reason_of,
    require,
)
from ..linkage.threads import cpus
from .processes import Processes
from .task import RETRIES, Capacity, Finished, Share, Task, answer, killed_again

LOCAL = "local"
SETTINGS = b"\x04"  # the type of the frame that both sides of HTTP/2, which gRPC speaks, begin with
GREETING = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0" + SETTINGS + b"\0\0\0\0\0"
ANSWERS = 10.0  # seconds in which an address must answer
CHECKED = 120.0  # seconds in which all machines must have been checked: each starts Python for it
PATIENCE = 30.0  # seconds without a finished task, after which to see whether there are machines

log = logging.getLogger("tenpercent")


@dataclass(frozen=True)
class Ray:
    """Cluster of Ray as the place for tasks. All of its machines must see the run folder by the same path.

    Attributes:
        address: of the cluster, ``HOST:PORT``; ``auto`` for the one that this machine belongs to; ``local`` to start
            one on this machine, which ends with the call.
    """

    address: str = LOCAL

    @contextmanager
    def opened(self, folder: Path) -> Iterator[OnRay]:
        """Connect to the cluster, and check its machines.

        Raises:
            MissingExtraError: Ray is not installed.
            UsageError: the address does not answer.
            TenpercentError: a machine has other versions, or does not see the folder.
        """
        with _connected(self.address) as ray:
            runner = OnRay(ray)
            runner.check(folder)
            yield runner

    def size(self, memory: int | None) -> Capacity:
        """See `Engine`; a cluster on this machine is not started for it."""
        if self.address == LOCAL:
            return Processes(cpus()).size(memory)
        with _connected(self.address) as ray:
            return OnRay(ray).capacity(memory)


@contextmanager
def _connected(address: str) -> Iterator[Any]:
    """Connect to a cluster, or use the connection that this program has."""
    os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")  # else it rebuilds the workers' environments
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    ray = require("ray", "ray")
    ours = not ray.is_initialized()
    if ours:
        _connect(ray, address)
    try:
        yield ray
    finally:
        if ours:
            ray.shutdown()


def _connect(ray: Any, address: str) -> None:
    """Connect to a cluster, or start one.

    Raises:
        UsageError: the address does not answer.
        TenpercentError: Ray did not start, or refuses: its own reason.
    """
    how: dict[str, Any] = {"address": address, "log_to_driver": False, "logging_level": logging.ERROR}
    if address == LOCAL:
        log.info("starting Ray on this machine")
        how |= {"num_cpus": cpus(), "include_dashboard": False}
    else:
        _check_answers(address)
    try:
        ray.init(**how)
    except (OSError, RuntimeError, ValueError) as error:
        remedy = "see that it runs (ray status), and that RAY_AUTH_MODE and the token here are the cluster's"
        remedy = "try again when this machine is less busy" if address == LOCAL else remedy
        raise TenpercentError(f"Ray at {address}: {one_line(error, 300)}; {remedy}") from None


def _check_answers(address: str) -> None:
    """Raise `UsageError` where no server of gRPC answers at HOST:PORT: Ray itself would wait for minutes."""
    host, colon, port = address.rpartition("://")[2].rpartition(":")
    if address == "auto":
        return
    if not colon or not port.isdecimal():
        raise UsageError(f"the address of Ray is {address!r}; give HOST:PORT, auto, or no address")
    try:
        with socket.create_connection((host, int(port)), ANSWERS) as server:
            if os.environ.get("RAY_USE_TLS", "0") == "0":
                server.sendall(GREETING)
                if server.recv(9)[3:4] != SETTINGS:
                    raise OSError("what answers is not Ray")
    except (OSError, OverflowError) as error:
        raise UsageError(
            f"{address} does not answer ({reason_of(error)}); see that the cluster runs (ray status), or "
            "start one with: ray start --head"
        ) from None


class OnRay:
    """Cluster of Ray that this process is connected to."""

    def __init__(self, ray: Any) -> None:
        self._ray = ray
        self._answer = ray.remote(max_retries=RETRIES)(answer)

    def _nodes(self) -> list[dict[str, Any]]:
        """Return the living nodes that have CPUs.

        Raises:
            TenpercentError: there is none.
        """
        found = [node for node in self._ray.nodes() if node["Alive"] and node["Resources"].get("CPU", 0) >= 1]
        if not found:
            raise TenpercentError(
                "the cluster of Ray has no machine with CPUs; add one with: ray start --address ADDRESS; then give the "
                "same command again: it resumes"
            )
        return found

    def capacity(self, memory: int | None) -> Capacity:
        """See `Runner`; a task that is alone takes no more than the smallest node has, so any can do it."""
        nodes = [node["Resources"] for node in self._nodes()]
        sizes = [(int(node["CPU"]), memory or int(node["memory"]) // 2) for node in nodes]
        a_cpu, least = min(size // threads for threads, size in sizes), min(threads for threads, _ in sizes)
        gpus = sum(int(node.get("GPU", 0)) for node in nodes)
        return Capacity(
            sum(threads for threads, _ in sizes), Share(1, a_cpu), Share(least, a_cpu * least), gpus
        )

    def run(self, tasks: Sequence[Task]) -> Iterator[Finished]:
        """See `Runner`."""
        errors, size = self._ray.exceptions, self.capacity(None)
        alone, gpus = size.alone.threads, bool(size.gpus)
        running = {
            self._answer.options(
                num_cpus=alone if task.alone else 1, num_gpus=int(gpus and task.gpu), name=task.name
            ).remote(task): task
            for task in sorted(tasks, key=lambda task: not task.alone)
        }
        try:
            while running:
                done, _ = self._ray.wait(list(running), timeout=PATIENCE)
                if not done:
                    self._nodes()  # raises where no machine is left
                for one in done:
                    task = running.pop(one)
                    try:
                        error = self._ray.get(one)
                    except errors.RayTaskError as fault:
                        raise fault.as_instanceof_cause() from None
                    except errors.RayError as lost:
                        raise killed_again(task, f" ({one_line(lost, 100)})") from None
                    yield Finished(task, error)
        finally:
            for one in running:
                self._ray.cancel(one, force=True)

    def check(self, folder: Path) -> None:
        """Check that every machine sees the folder, can write to it, and has the versions of this one.

        Raises:
            TenpercentError: the first that does not, by name.
        """
        nodes, ours = self._nodes(), _versions()
        with _probe(folder) as probe:
            for node, found in zip(nodes, self._seen_by(nodes, probe), strict=True):
                name = f"machine {node['NodeManagerHostname']} ({node['NodeManagerAddress']})"
                if isinstance(found, str):
                    raise RunFolderError(f"{name} {found}")
                for package, version in ours.items():
                    if found[package] != version:
                        raise TenpercentError(
                            f"{name} has {package} {found[package]}, and this one {version}; install the same on all"
                        )
        threads = sum(int(node["Resources"]["CPU"]) for node in nodes)
        log.info("working on %s of Ray with %s", counted(len(nodes), "machine"), counted(threads, "CPU"))

    def _seen_by(self, nodes: Sequence[dict[str, Any]], probe: Path) -> Iterator[dict[str, str] | str]:
        """Yield the versions of each machine, or in words why it is not fit."""
        ours = _versions()
        strategy = self._ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy
        look = self._ray.remote(num_cpus=0, max_retries=RETRIES)(_look)
        begun = [
            look.options(scheduling_strategy=strategy(node["NodeID"], soft=False)).remote(probe)
            for node in nodes
        ]
        for node, one in zip(nodes, begun, strict=True):
            try:
                yield self._ray.get(one, timeout=CHECKED)
            except self._ray.exceptions.GetTimeoutError:
                yield f"did not answer within {CHECKED:.0f} s; see that it is free and sees {probe.parent}"
            except self._ray.exceptions.RayError as error:
                if node["NodeID"] not in {living["NodeID"] for living in self._nodes()}:
                    yield ours  # it is lost meanwhile, so nothing will be done there
                    continue
                last = str(error).strip().splitlines()[-1]
                yield f"can't run tenpercent ({one_line(last, 200)}); install the same there as here"


@contextmanager
def _probe(folder: Path) -> Iterator[Path]:
    """Make a folder in the run folder that every machine must see."""
    probe = folder.absolute() / f"{secrets.token_hex(4)}{TEMPORARY}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.mkdir()
    except OSError as error:
        raise RunFolderError(f"{cant_write(folder, error)}, or choose another folder") from None
    try:
        yield probe
    finally:
        shutil.rmtree(probe, ignore_errors=True)
        with suppress(OSError):
            folder.rmdir()  # only where it is empty: nothing was begun


def _look(probe: Path) -> dict[str, str] | str:
    """Return the versions of this machine, or in words why the run folder can't be used here."""
    folder = probe.parent
    if not probe.is_dir():
        return f"does not see the run folder {folder}; put it where all machines see it by the same path"
    try:
        tempfile.TemporaryFile(dir=probe).close()
    except OSError as error:
        return f"can't write to the run folder {folder} ({reason_of(error)}); make it writable there"
    return _versions()


def _versions() -> dict[str, str]:
    """Return the versions that must be the same on all machines."""
    return {name: known for name in ("tenpercent", "python", "numpy") if (known := versions().get(name))}
