"""A small cache whose values are made once each, by whoever asks first, while others wait for that one."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from functools import lru_cache
from threading import Lock
from typing import Generic, TypeVar

Value = TypeVar("Value")


class Memo(Generic[Value]):
    """Keeps the values asked for last; safe for threads."""

    def __init__(self, most: int) -> None:
        """Take how many values to keep, one at least."""
        self._lock = Lock()

        @lru_cache(max(1, most))
        def slot(_: Hashable) -> tuple[Lock, list[Value]]:
            return Lock(), []

        self._slot = slot

    def get(self, key: Hashable, make: Callable[[], Value]) -> Value:
        """Return the value of `key`; make it where it is not here. What `make` raises is not kept."""
        with self._lock:  # of two at once, each would be given a slot of its own
            lock, made = self._slot(key)
        with lock:
            if not made:
                made.append(make())
            return made[0]

    def __len__(self) -> int:
        return self._slot.cache_info().currsize
