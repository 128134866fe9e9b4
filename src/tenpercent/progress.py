"""Progress of what takes longer than two seconds: a bar with rate and time left, silent in logs; and a stopwatch."""

from __future__ import annotations

import logging
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tqdm import TqdmWarning

# In a notebook without widgets the bars are text, which is no news for a person.
with warnings.catch_warnings():
    warnings.simplefilter("ignore", TqdmWarning)
    from tqdm.auto import tqdm

_quiet: ContextVar[bool] = ContextVar("quiet", default=False)
_watcher: ContextVar[Callable[[float], None] | None] = ContextVar("watcher", default=None)


@contextmanager
def quiet(on: bool = True) -> Iterator[None]:
    """Draw no bar within this context (``--quiet``, and every process but the first)."""
    token = _quiet.set(on)
    try:
        yield
    finally:
        _quiet.reset(token)


def is_quiet() -> bool:
    """Return whether bars are off here, for passing it on to another process."""
    return _quiet.get()


@contextmanager
def quiet_log(name: str) -> Iterator[None]:
    """Hide what a library logs below errors within this context."""
    logger = logging.getLogger(name)
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


@contextmanager
def watched(by: Callable[[float], None]) -> Iterator[None]:
    """Call `by` within this context with the finished fraction of each bar that is not quiet."""
    token = _watcher.set(by)
    try:
        yield
    finally:
        _watcher.reset(token)


if TYPE_CHECKING:  # the class has a parameter in its stubs only
    _Bar = tqdm[Any]
else:
    _Bar = tqdm


class _Watched(_Bar):
    """Bar that reports its progress, drawn or not."""

    def tell(self, by: Callable[[float], None], total: int, initial: int) -> None:
        self._by, self._of, self._seen = by, max(total, 1), initial

    def update(self, n: float | None = 1) -> bool | None:
        self._seen += int(n or 0)
        self._by(self._seen / self._of)
        return super().update(n)


def bar(total: int, description: str, unit: str, initial: int = 0) -> tqdm[Any]:
    """Return a bar to call ``update(k)`` on; it appears after two seconds, and only on a terminal."""
    watcher = None if _quiet.get() else _watcher.get()
    shown = _bar(tqdm if watcher is None else _Watched, total, description, unit, initial)
    if isinstance(shown, _Watched) and watcher is not None:
        shown.tell(watcher, total, initial)
    return shown


def _bar(kind: type[tqdm[Any]], total: int, description: str, unit: str, initial: int) -> tqdm[Any]:
    return kind(
        total=total,
        initial=initial,
        desc=description,
        unit=f" {unit}",
        unit_scale=total >= 1_000_000,
        delay=2,
        disable=True if _quiet.get() else None,
        dynamic_ncols=True,
        smoothing=0.1,
        leave=False,
    )


@dataclass
class Stopwatch:
    """Seconds since creation."""

    started: float = field(default_factory=time.perf_counter)

    @property
    def seconds(self) -> float:
        """Number of seconds that have passed."""
        return time.perf_counter() - self.started
