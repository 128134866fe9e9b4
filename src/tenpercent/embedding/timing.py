"""How long work takes on a free machine, told from a few short repetitions on one that may be busy."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

from ..errors import counted
from .loop import threads

BUSY = 0.2  # the share of the time from which on it is said
MOST = 10  # repetitions
GAIN = 0.75  # what each thread after the first adds: two make a training step 1.4 to 1.9 times as fast
KNOWN = 4  # up to so many threads that is taken for granted; more are timed, as few networks keep them busy


class Watch:
    """Seconds of this thread since it was made, without those in which others had its processor.

    So two busy programs on two processors do not double what is measured: Linux counts for each thread how long it
    waited for a processor. Elsewhere nothing is left out.
    """

    def __init__(self) -> None:
        self._began, self._waited = time.perf_counter(), _waited()

    @property
    def seconds(self) -> float:
        """As on a free machine; waiting for a disk or a device counts."""
        return max(time.perf_counter() - self._began - (_waited() - self._waited), 1e-9)

    def busy(self) -> list[str]:
        """Return a line where others had the processor for much of the time, or more is to be done than there are."""
        share = (_waited() - self._waited) / (time.perf_counter() - self._began)
        count = os.cpu_count() or 1
        load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
        if share < BUSY and load < count:
            return []
        return [
            f"busy     the load is {load:.1f} on {counted(count, 'processor')}: the times are those of a free machine, "
            "beside such a load it takes longer"
        ]


def fastest(work: Callable[[], object], budget: float) -> float:
    """Return the seconds of the fastest repetition; none begins after `budget` seconds."""
    end = time.perf_counter() + budget
    found: list[float] = []
    while not found or (len(found) < MOST and time.perf_counter() < end):
        watch = Watch()
        work()
        found.append(watch.seconds)
    return min(found)


def on_threads(work: Callable[[], object], count: int, budget: float) -> float:
    """Return the seconds that work of torch takes with `count` threads on a free machine.

    One thread is timed: threads of a busy machine wait for each other, and what they gain can't be told there.
    """
    with threads(1):
        single = fastest(work, budget)
    if count <= KNOWN:
        return shared(single, count)
    with threads(count):
        return min(max(fastest(work, budget), single / count), single)


def shared(seconds: float, count: int) -> float:
    """Return what work of so many seconds takes when `count` threads share it."""
    return seconds / (1 + GAIN * (count - 1))


def _waited() -> float:
    """Return for how many seconds this thread was ready to run and had no processor; 0 where no one counts."""
    path = Path("/proc/thread-self/schedstat")
    return int(path.read_bytes().split()[1]) / 1e9 if path.exists() else 0.0
