"""A small cache whose values are made once each, by the first caller, while others wait."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from functools import lru_cache
from threading import Lock
from typing import Generic, TypeVar

Value = TypeVar("Value")


class Cache(Generic[Value]):
    """A thread-safe cache of the most recently used values."""

    def __init__(self, most: int) -> None:
        """Set the number of values to keep, at least 1."""
        self._lock = Lock()

        @lru_cache(max(1, most))
        def slot(_: Hashable) -> tuple[Lock, list[Value]]:
            return Lock(), []

        self._slot = slot

    def get(self, key: Hashable, make: Callable[[], Value]) -> Value:
        """Return the value of `key`; make it where it is missing. Errors of `make` are not cached."""
        with self._lock:  # two callers at once would each get a slot of their own
            lock, made = self._slot(key)
        with lock:
            if not made:
                made.append(make())
            return made[0]

    def __len__(self) -> int:
        return self._slot.cache_info().currsize
