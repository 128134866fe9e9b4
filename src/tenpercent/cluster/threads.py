"""Threads of our own, one tile each, with the BLAS kept to one thread."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from functools import cache
from typing import Any, TypeVar

from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped]

Task = TypeVar("Task")
Result = TypeVar("Result")


def cpus() -> int:
    """Return how many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def one_blas_thread() -> AbstractContextManager[Any]:
    """Keep BLAS to one thread while the context lasts, in the whole process."""
    context: AbstractContextManager[Any] = _blas().limit(limits=1, user_api="blas")
    return context


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
    try:
        yield from pool.map(work, listed)
    finally:
        pool.shutdown(cancel_futures=True)  # on ctrl-C the tasks not yet begun are dropped
