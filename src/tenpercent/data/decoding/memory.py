"""Memory limit for pictures that are decoded at the same time: large ones wait for each other."""

from __future__ import annotations

from functools import cache
from threading import Condition
from types import TracebackType

import psutil

_COUNTED = 2**23  # bytes; smaller pictures are not counted
_freed = Condition()  # of an RLock: `wait_for` changes what is held while it has it
_held = 0


@cache
def budget() -> int:
    """Return the bytes that pictures may take while decoded: a quarter of the memory free at the first one."""
    return int(psutil.virtual_memory().available // 4)


class Reservation:
    """Memory of one picture, released at the end of a ``with`` block; thread-safe.

    A picture that needs more than the whole budget is decoded alone.
    """

    def __init__(self) -> None:
        """Hold nothing yet."""
        self._bytes = 0

    def __enter__(self) -> Reservation:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        self._change(0)

    def wait_for(self, size: int) -> None:
        """Wait until `size` bytes are free beside those that others hold, and hold them. Call it once."""
        if size < _COUNTED:
            return
        with _freed:
            _freed.wait_for(lambda: _held == 0 or _held + size <= budget())
            self._change(size)

    def _change(self, size: int) -> None:
        global _held
        if size == self._bytes:
            return
        with _freed:
            _held += size - self._bytes
            self._bytes = size
            _freed.notify_all()
