"""Threads of our own, one tile each, with the BLAS kept to one thread."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from threading import Lock
from typing import TypeVar

from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped]

AHEAD = 8  # tasks a thread that are under way or done and not yet taken: no more results wait in memory

Task = TypeVar("Task")
Result = TypeVar("Result")


def cpus() -> int:
    """Return how many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class _OneBlasThread:
    """A limit that several threads may ask for at once: the first sets it, the last takes it back."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._inside = 0

    @contextmanager
    def __call__(self) -> Iterator[None]:
        with self._lock:
            if self._inside == 0:
                self._limit = _blas().limit(limits=1, user_api="blas")
            self._inside += 1
        try:
            yield
        finally:
            with self._lock:
                self._inside -= 1
                if self._inside == 0:
                    self._limit.restore_original_limits()


one_blas_thread = _OneBlasThread()


@cache
def _blas() -> ThreadpoolController:
    return ThreadpoolController()  # looks through all loaded libraries, too slow for once a class


def in_threads(work: Callable[[Task], Result], tasks: Iterable[Task], threads: int) -> Iterator[Result]:
    """Yield work(task) for each task, in order, computed by several threads."""
    listed = list(tasks)
    workers = min(threads, len(listed))
    if workers <= 1:
        yield from map(work, listed)
        return
    pool = ThreadPoolExecutor(workers)
    begun: deque[Future[Result]] = deque()
    try:
        for task in listed:
            begun.append(pool.submit(work, task))
            if len(begun) == workers * AHEAD:
                yield begun.popleft().result()
        while begun:
            yield begun.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)  # on ctrl-C the tasks not yet begun are dropped
