"""A small cache whose values are made once each, by whoever asks first, while others wait for that one."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from threading import Lock
from typing import Generic, TypeVar

Value = TypeVar("Value")


class _Slot(Generic[Value]):
    def __init__(self) -> None:
        self.lock = Lock()
        self.made: list[Value] = []


class Memo(Generic[Value]):
    """Keeps the values asked for last; safe for threads."""

    def __init__(self, most: int) -> None:
        """Take how many values to keep, one at least."""
        self.most = max(1, most)
        self._slots: OrderedDict[Hashable, _Slot[Value]] = OrderedDict()
        self._lock = Lock()

    def get(self, key: Hashable, make: Callable[[], Value]) -> Value:
        """Return the value of `key`; make it where it is not here. What `make` raises is not kept."""
        with self._lock:
            slot = self._slots.setdefault(key, _Slot())
            self._slots.move_to_end(key)
            while len(self._slots) > self.most:
                self._slots.popitem(last=False)
        with slot.lock:
            if not slot.made:
                slot.made.append(make())
            return slot.made[0]

    def __len__(self) -> int:
        return len(self._slots)
