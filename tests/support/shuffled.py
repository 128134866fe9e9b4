"""A place for tasks in this process, which does them in a random order, and some twice."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from tenpercent.errors import TenpercentError
from tenpercent.tasks.task import Capacity, Finished, Share, Task, perform

THREE = Capacity(3, Share(1, 100 << 20), Share(2, 300 << 20))


@dataclass
class Shuffled:
    """Engine and runner in one; what it did, in order, is in `done`."""

    seed: int = 0
    capacity_is: Capacity = THREE
    before: Callable[[Task], None] = lambda _: None
    done: list[Task] = field(default_factory=list)

    def size(self, memory: int | None) -> Capacity:
        return self.capacity(memory)

    @contextmanager
    def opened(self, _: Path) -> Iterator[Shuffled]:
        yield self

    def capacity(self, _: int | None) -> Capacity:
        return self.capacity_is

    def run(self, tasks: Sequence[Task]) -> Iterator[Finished]:
        random = Random(self.seed)
        for task in random.sample(tasks, len(tasks)):
            try:
                self.before(task)
                perform(task)
                if random.random() < 0.3:  # by a machine that was thought lost
                    first = task.output.read_bytes()
                    task.output.unlink()
                    perform(task)
                    assert task.output.read_bytes() == first
            except TenpercentError as error:
                yield Finished(task, error)
            else:
                self.done.append(task)
                yield Finished(task)
