"""A progress bar with rate and time left for whatever takes longer than two seconds; silent in logs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from tqdm.auto import tqdm

_quiet: ContextVar[bool] = ContextVar("quiet", default=False)


@contextmanager
def quiet(on: bool = True) -> Iterator[None]:
    """Within this context no bar is drawn (``--quiet``, and every process but the first)."""
    token = _quiet.set(on)
    try:
        yield
    finally:
        _quiet.reset(token)


def is_quiet() -> bool:
    """Return whether bars are off here, for handing it on to another process."""
    return _quiet.get()


def bar(total: int, description: str, unit: str, initial: int = 0) -> tqdm[Any]:
    """Return a bar to call ``update(k)`` on; it appears after two seconds, and only on a terminal."""
    return tqdm(
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
