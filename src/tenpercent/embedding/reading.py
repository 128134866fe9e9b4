"""Reading of images by threads, ahead of whoever takes them, in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from ..data.sources.source import ImageSource
from ..data.store.rejected import Rejected
from ..errors import TenpercentError
from ..linkage.threads import cpus

Item = TypeVar("Item")
Result = TypeVar("Result")


def in_order(
    function: Callable[[Item], Result], items: Iterable[Item], ahead: int, threads: int | None = None
) -> Generator[Result, None, None]:
    """Yield ``function(item)`` for each item in order; threads work at most `ahead` items before the caller.

    Without `threads` there is one a CPU.
    """
    with ThreadPoolExecutor(threads or cpus(), thread_name_prefix="decode") as pool:
        waiting: deque[Future[Result]] = deque()
        try:
            for item in items:
                waiting.append(pool.submit(function, item))
                if len(waiting) > ahead:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def check_most(rejected: Sequence[Rejected], n: int, source: ImageSource, why: str) -> None:
    """Raise `TenpercentError` where more than half of n images, or of those that they are among, are rejected.

    Args:
        rejected: the rejected ones.
        n: the number of images.
        source: their source.
        why: "can't be read", for example.
    """
    n = source.among or n
    if 2 * len(rejected) > n:
        raise TenpercentError(
            f"{len(rejected):,} of {n:,} images of {source.spec} {why}, more than half (the first: "
            f"{rejected[0].id!r}, {rejected[0].reason}); repair the source or name another, or choose another embedder "
            "and another run folder"
        )
