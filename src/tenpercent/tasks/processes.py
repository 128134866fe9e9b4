"""Runner of tasks in processes of this machine."""

from __future__ import annotations

import logging
import multiprocessing
import os
import pickle
import signal
import threading
import traceback
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Literal

from tqdm.auto import tqdm

from ..errors import TenpercentError, UsageError, counted
from ..linkage.memory import Resources
from ..linkage.threads import cpus
from .task import RETRIES, Capacity, Finished, Share, Task, answer, killed_again

STARTED: Literal["started"] = "started"  # a process says so before its first task
MOST = 256  # processes: more would only fill the memory

log = logging.getLogger("tenpercent")


@dataclass(frozen=True)
class Processes:
    """Processes of this machine as the place for tasks.

    Attributes:
        workers: their number, from 1 to 256; no more are started than there are CPUs.
    """

    workers: int

    def __post_init__(self) -> None:
        if not 1 <= self.workers <= MOST:
            raise UsageError(f"--workers is {self.workers}; it must be from 1 to {MOST}")

    @property
    def started(self) -> int:
        """Number of processes that are started: more than there are CPUs would only share the memory."""
        return min(self.workers, cpus())

    def size(self, memory: int | None) -> Capacity:
        """See `Engine`."""
        return OwnProcesses(self.started).capacity(memory)

    @contextmanager
    def opened(self, folder: Path) -> Iterator[OwnProcesses]:
        """Keep processes, which start with their first task and end with this context, or with this process."""
        if self.started < self.workers:
            log.info("working in %s, one a CPU, not in %d", counted(self.started, "process"), self.workers)
        runner = OwnProcesses(self.started)
        try:
            yield runner
        finally:
            runner.end()


@dataclass(eq=False)
class OwnProcesses:
    """Processes of this machine, each with a pipe of its own: where one is killed, its task alone is done again."""

    workers: int
    _idle: list[_Worker] = field(default_factory=list)

    def capacity(self, memory: int | None) -> Capacity:
        """See `Runner`."""
        whole = Resources(memory=memory).bytes
        each = Share(max(1, cpus() // self.workers), whole // self.workers)
        return Capacity(self.workers, each, Share(cpus(), whole))

    def run(self, tasks: Sequence[Task]) -> Iterator[Finished]:
        """See `Runner`; tasks that take the whole machine come first, one after the other."""
        yield from self._run([task for task in tasks if task.alone], 1)
        yield from self._run([task for task in tasks if not task.alone], self.workers)

    def _run(self, tasks: Sequence[Task], most: int) -> Iterator[Finished]:
        pending, kills = deque(tasks), Counter[Path]()
        running: dict[Connection, tuple[_Worker, Task]] = {}
        try:
            while pending or running:
                while pending and len(running) < most:
                    worker, task = self._idle.pop() if self._idle else _Worker(), pending.popleft()
                    worker.begin(task)
                    running[worker.connection] = worker, task
                for connection in wait(list(running)):
                    assert isinstance(connection, Connection)
                    worker, task = running[connection]
                    try:
                        said = worker.receive()
                    except EOFError:
                        del running[connection]
                        kills[task.output] += 1
                        worker.kill()
                        if kills[task.output] > RETRIES:
                            raise killed_again(task) from None
                        pending.appendleft(task)
                        continue
                    if said != STARTED:
                        del running[connection]
                        self._idle.append(worker)
                        yield Finished(task, said)
        finally:
            for worker, _ in running.values():
                worker.kill()

    def end(self) -> None:
        """End the processes."""
        while self._idle:
            self._idle.pop().kill()


class _Worker:
    """Process that does tasks, one after the other. It is spawned: the fork of a process with threads may hang."""

    def __init__(self) -> None:
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs,), daemon=True)
        self._process.start()
        theirs.close()  # so that its death ends the pipe
        self._started = False

    def begin(self, task: Task) -> None:
        """Give it a task."""
        with suppress(ConnectionError):  # it was killed meanwhile, which `receive` tells
            self.connection.send(task)

    def receive(self) -> Literal["started"] | TenpercentError | None:
        """Wait for what it says: first that it has started, then at the end of a task the error that it met.

        Raises:
            EOFError: it was killed.
            TenpercentError: it did not start.
            Exception: the task's function has a fault.
        """
        try:
            said: Literal["started"] | Exception | None = self.connection.recv()
        except (EOFError, ConnectionError):
            self._process.join()
            if not self._started and self._process.exitcode == 1:  # Python's own, after a traceback
                raise TenpercentError(
                    'a process for tasks did not start, see above; in a script, begin below if __name__ == "__main__":'
                ) from None
            raise EOFError from None
        self._started = True
        if isinstance(said, Exception) and not isinstance(said, TenpercentError):
            raise said
        return said

    def kill(self) -> None:
        """End it at once; its task leaves no file."""
        self._process.kill()
        self._process.join()
        self.connection.close()


def _serve(connection: Connection) -> None:
    """Do the tasks that come, until the process that sends them has ended."""
    tqdm.set_lock(threading.RLock())  # its own is a semaphore of the system, which a kill would leave there
    threading.Thread(target=_end_with_parent, daemon=True).start()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # ctrl-C reaches the parent too, which ends this one
    connection.send(STARTED)
    while True:
        try:
            connection.send(answer(connection.recv()))
        except (EOFError, ConnectionError):
            return
        except Exception as error:  # noqa: BLE001 – raised again where the task was asked for
            connection.send(_sendable(error))


def _sendable(error: Exception) -> Exception:
    """Return a fault with its traceback as a note; as a `RuntimeError` where pickle can't pass it on."""
    try:
        found: Exception = pickle.loads(pickle.dumps(error))
    except Exception:  # noqa: BLE001 – nearly anything, such as a missing argument
        found = RuntimeError(f"{type(error).__name__}: {error}")
    found.add_note("".join(traceback.format_exception(error)))
    return found


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
