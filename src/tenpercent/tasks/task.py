"""A task: a function from named files to one file, written whole; a task whose file is there is done.

So a task that is done twice, or again after its process, its machine or the caller was killed, harms nothing: the same
inputs give the same bytes.
"""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

from ..data.store.files import replacing
from ..errors import RunFolderError, TenpercentError
from ..progress import quiet

RETRIES = 3  # times that a task is done again after its process was killed

log = logging.getLogger("tenpercent")


@dataclass(frozen=True)
class Task:
    """Function from named files to one file.

    Attributes:
        name: what it makes, in words: ``class 3``.
        function: a function of a module, or a `functools.partial` of one with plain settings; it is called with the
            inputs and the path to write. Equal inputs and settings give equal bytes.
        inputs: the files it reads, by absolute paths: another machine may do it.
        output: the file it makes, likewise; its name holds the fingerprint of inputs and settings.
        alone: whether it takes all CPUs and all memory of a machine.
        gpu: whether it takes a GPU where the machines of a cluster have some.
    """

    name: str
    function: Callable[[Sequence[Path], Path], None]
    inputs: tuple[Path, ...]
    output: Path
    alone: bool = False
    gpu: bool = False


class Share(NamedTuple):
    """Part of a machine that a task may use: its threads, and bytes of memory."""

    threads: int
    memory: int


class Capacity(NamedTuple):
    """Size of the place where tasks are done.

    Attributes:
        together: number of tasks done at once.
        each: the share of one of them.
        alone: the share of a task that is `Task.alone`.
        gpus: number of GPUs, of which a task that is `Task.gpu` takes one; 0 where tasks are given none.
    """

    together: int
    each: Share
    alone: Share
    gpus: int = 0


class Finished(NamedTuple):
    """Finished task, with the error of its function where it met one."""

    task: Task
    error: TenpercentError | None = None


class Runner(Protocol):
    """Place where tasks are done."""

    def capacity(self, memory: int | None) -> Capacity:
        """Return its size; `memory` limits the bytes used on each machine, None for half of what is free."""
        ...

    def run(self, tasks: Sequence[Task]) -> Iterator[Finished]:
        """Do tasks in any order, and yield each when its file is there, or its function met an error.

        Raises:
            TenpercentError: a task's process was killed again and again, or no machine is left.
        """
        ...


class Engine(Protocol):
    """Choice of the place where tasks are done."""

    def size(self, memory: int | None) -> Capacity:
        """Return its size, as `Runner.capacity` does, without starting anything that lasts."""
        ...

    def opened(self, folder: Path) -> AbstractContextManager[Runner]:
        """Start or join it, for files in `folder`, and leave it at the end.

        Raises:
            TenpercentError: it can't be reached, or is not fit for the work.
        """
        ...


_runner: ContextVar[Runner | None] = ContextVar("runner", default=None)


@contextmanager
def running_on(engine: Engine | None, folder: Path) -> Iterator[None]:
    """Let the stages within this context do their tasks there; None for this process, without tasks."""
    if engine is None:
        yield
        return
    with engine.opened(folder) as runner:
        token = _runner.set(runner)
        try:
            yield
        finally:
            _runner.reset(token)


def current_runner() -> Runner | None:
    """Return the place for tasks in this context; None for this process, without tasks."""
    return _runner.get()


def answer(task: Task) -> TenpercentError | None:
    """Do a task in a process that does nothing else, and return the error that it met."""
    log.setLevel(logging.ERROR)  # the process that asks for tasks tells the rest
    try:
        with quiet():
            perform(task)
    except TenpercentError as error:
        return error
    return None


def perform(task: Task) -> None:
    """Do a task in this process, unless its file is there.

    Raises:
        RunFolderError: an input is missing, or the file can't be written.
    """
    if task.output.exists():
        return
    lost = next((path for path in task.inputs if not path.exists()), None)
    if lost is not None:
        raise RunFolderError(
            f"{lost} is missing on {socket.gethostname()} ({task.name}); give the same command again: it makes it anew"
        )
    with replacing(task.output) as temporary:
        task.function(task.inputs, temporary)


def complete(runner: Runner, tasks: Iterable[Task]) -> None:
    """Do all tasks; files of those that are done stay where one meets an error.

    Raises:
        TenpercentError: the first error that a task met.
    """
    for finished in runner.run(list(tasks)):
        if finished.error is not None:
            raise finished.error


def killed_again(task: Task, why: str = "") -> TenpercentError:
    """Return the error for a task whose process was killed each time it was done."""
    return TenpercentError(
        f"{task.name} was given up: its process was killed {RETRIES + 1} times{why}; see that the machine has memory "
        "for it (--memory), then give the same command again: it resumes"
    )
