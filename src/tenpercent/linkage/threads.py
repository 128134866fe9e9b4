"""Threads with one tile each, and BLAS limited to one thread."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from threading import Lock
from typing import TypeVar

from threadpoolctl import (  # type: ignore[import-untyped]
    OpenBLASController,
    ThreadpoolController,
)

AHEAD = 8  # tasks per thread that are running or done and not yet taken: bounds the results in memory

Task = TypeVar("Task")
Result = TypeVar("Result")


def cpus() -> int:
    """Return the number of CPUs that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class _OneBlasThread:
    """Limit that several threads may set at once: the first sets it, the last resets it.

    A process forked meanwhile starts without it: the threads that set it are not in the child and would never reset
    it, and a lock that one of them held would never be released.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._inside = 0
        self._process = 0  # counts forks, so that a thread of the parent resets nothing in the child
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(
                before=self._lock.acquire, after_in_parent=self._lock.release, after_in_child=self._reset
            )

    @contextmanager
    def __call__(self) -> Iterator[None]:
        with self._lock:
            process = self._process
            if self._inside == 0:
                _let_any_thread_set()
                self._limit = _blas().limit(limits=1, user_api="blas")
            self._inside += 1
        try:
            yield
        finally:
            with self._lock:
                if process == self._process:
                    self._leave()

    def _leave(self) -> None:
        self._inside -= 1
        if self._inside == 0:
            self._take_back()

    def _take_back(self) -> None:
        _let_any_thread_set()
        self._limit.restore_original_limits()
        _let_any_thread_set()

    def _reset(self) -> None:
        """Reset the limit in a child; its parent holds the lock while it forks, so both are consistent."""
        self._process += 1
        if self._inside:
            self._inside = 0
            self._take_back()
        self._lock.release()


one_blas_thread = _OneBlasThread()


def _let_any_thread_set() -> None:
    """Let this thread set limits: threadpoolctl may silently ignore all threads but the first that did."""
    clear = getattr(OpenBLASController, "clear_controlling_thread", None)
    if clear is not None:
        clear(force=True)


@cache
def _blas() -> ThreadpoolController:
    return ThreadpoolController()  # inspects all loaded libraries, too slow for once a class


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
