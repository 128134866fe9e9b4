"""Time that work takes on an idle machine, estimated from a few short repetitions on one that may be busy."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

from ..errors import counted

BUSY = 0.2  # the fraction of lost time from which it is reported
MOST = 10  # repetitions
GAIN = 0.75  # gain of each thread after the first: two make a training step 1.4 to 1.9 times as fast
KNOWN = 4  # up to this many threads the gain is assumed; more are timed, as few networks keep them busy


class IdleTimer:
    """Seconds of this thread since creation, without those in which others had its CPU.

    So two busy programs on two CPUs do not double the measurement: Linux counts for each thread how long it waited for
    a CPU. On other systems nothing is subtracted.
    """

    def __init__(self) -> None:
        self._began, self._waited = time.perf_counter(), _waited()

    @property
    def seconds(self) -> float:
        """Number of seconds as on an idle machine; waiting for a disk or a device counts."""
        waited = (
            _waited() - self._waited
        )  # first: a wait between the two readings may only lengthen what is measured
        return max(time.perf_counter() - self._began - waited, 1e-9)

    def busy(self) -> list[str]:
        """Return a line where others had the CPU for much of the time, or there are more tasks than CPUs."""
        share = (_waited() - self._waited) / (time.perf_counter() - self._began)
        count = os.cpu_count() or 1
        load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
        if share < BUSY and load < count:
            return []
        return [
            f"busy     the load is {load:.1f} on {counted(count, 'CPU')}: the times are for an idle machine; with this "
            "load it takes longer"
        ]


def fastest(work: Callable[[], object], budget: float) -> float:
    """Return the seconds of the fastest repetition; none begins after `budget` seconds."""
    end = time.perf_counter() + budget
    found: list[float] = []
    while not found or (len(found) < MOST and time.perf_counter() < end):
        timer = IdleTimer()
        work()
        found.append(timer.seconds)
    return min(found)


def on_threads(work: Callable[[], object], count: int, budget: float) -> float:
    """Return the seconds that torch needs for some work with `count` threads on an idle machine.

    One thread is timed: on a busy machine threads wait for each other, which hides their gain.
    """
    from .loop import threads  # loads torch

    with threads(1):
        single = fastest(work, budget)
    if count <= KNOWN:
        return shared(single, count)
    with threads(count):
        return min(max(fastest(work, budget), single / count), single)


def shared(seconds: float, count: int) -> float:
    """Return the time of work that takes `seconds` on one thread, shared by `count` threads."""
    return seconds / (1 + GAIN * (count - 1))


def _waited() -> float:
    """Return the seconds this thread was ready to run but had no CPU; 0 where the system does not count them."""
    path = Path("/proc/thread-self/schedstat")
    return int(path.read_bytes().split()[1]) / 1e9 if path.exists() else 0.0
