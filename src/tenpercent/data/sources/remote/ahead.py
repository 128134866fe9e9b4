"""Fetching ahead, by threads, of what is likely to be read next: whole objects, or blocks of large ones."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache
from threading import Lock
from typing import TypeVar

from .store import Store

THREADS = 32  # requests at a time
OBJECTS, OBJECT_BYTES = 64, 64 * 2**20  # objects fetched ahead, and their size together, at most
NEAR = 8  # numbers that reading in order may be off by, since several threads read; and so many reads to be sure of it
BLOCK = 2 * 2**20
BLOCKS_AHEAD, BLOCKS_HELD = 8, 64  # of one object; of all in memory
SURE = 2  # reads in neighbouring blocks after which an object is read on

Result = TypeVar("Result")


@cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(THREADS, thread_name_prefix="fetch")


def every(function: Callable[[str], Result], names: Sequence[str]) -> list[Result]:
    """Return the result of a function for each name; many are called at a time."""
    return list(_pool().map(function, names))


class ReadAhead:
    """Objects by number, of which those after the last one are fetched while they are read in about their order."""

    def __init__(
        self, fetch: Callable[[int], bytes], sizes: Sequence[int], order: Sequence[int] | None = None
    ) -> None:
        """Set how an object is fetched.

        Args:
            fetch: called with its number.
            sizes: of the objects, in bytes.
            order: in which they will be read, those that will be; None for the order of their numbers.
        """
        self._fetch, self._sizes = fetch, sizes
        self._order = range(len(sizes)) if order is None else order
        self._place = {number: place for place, number in enumerate(self._order)}
        self._coming: dict[int, Future[bytes]] = {}
        self._last, self._next, self._in_order = -1, 0, 0 if order is None else NEAR
        self._lock = Lock()

    def only(self, order: Sequence[int]) -> ReadAhead:
        """Return the same for some of the objects, in another order."""
        return ReadAhead(self._fetch, self._sizes, order)

    def __call__(self, number: int) -> bytes:
        """Return an object."""
        at = self._place.get(number)
        if at is None:
            return self._fetch(number)
        with self._lock:
            found = self._coming.pop(at, None)
            self._in_order = self._in_order + 1 if abs(at - self._last) <= NEAR or found else 0
            self._last, self._next = at, max(at + 1, self._next if self._in_order else 0)
            self._drop(at - 2 * NEAR, self._next if self._in_order else at)
            if self._in_order >= NEAR:
                self._send()
        return self._fetch(number) if found is None else found.result()

    def _drop(self, first: int, end: int) -> None:
        """Forget what was fetched and is not wanted any more: objects outside of a range."""
        for at in [at for at in self._coming if not first <= at < end]:
            self._coming.pop(at).cancel()

    def _send(self) -> None:
        """Fetch further objects, those of which none was asked for yet."""
        held = sum(self._sizes[self._order[at]] for at in self._coming)
        while self._next < len(self._order) and len(self._coming) < OBJECTS:
            number = self._order[self._next]
            held += self._sizes[number]
            if held > OBJECT_BYTES:
                return
            self._coming[self._next] = _pool().submit(self._fetch, number)
            self._next += 1


class Blocks:
    """Parts of a store's objects. One that is read on is fetched in blocks, some ahead; else as asked."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._held: OrderedDict[tuple[str, int], Future[bytes]] = OrderedDict()
        # Of each object: its last block, and reads in a row near it.
        self._last: dict[str, tuple[int, int]] = {}
        self._lock = Lock()

    def read(self, name: str, start: int, size: int) -> bytes:
        """Return bytes of an object.

        Raises:
            FileNotFoundError, SourceError: see `Store.get`.
        """
        if size <= 0:
            return b""
        first, last = start // BLOCK, (start + size - 1) // BLOCK
        with self._lock:
            before, times = self._last.get(name, (-1, 0))
            times = times + 1 if abs(first - before) <= 1 else 0
            self._last[name] = last, times
            read_on = times >= SURE
            if not read_on and any((name, at) not in self._held for at in range(first, last + 1)):
                wanted = None
            else:
                ahead = BLOCKS_AHEAD if read_on else 0
                wanted = [self._block(name, at) for at in range(first, last + 1 + ahead)][: last + 1 - first]
        if wanted is None:
            return self._store.get(name, start, start + size)
        parts = []
        for at, block in zip(range(first, last + 1), wanted, strict=True):
            parts.append(
                self._result(name, at, block)[max(start - at * BLOCK, 0) : start + size - at * BLOCK]
            )
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _block(self, name: str, at: int) -> Future[bytes]:
        key = name, at
        if key not in self._held:
            start, end = at * BLOCK, min((at + 1) * BLOCK, self._store.entries[name].st_size or 0)
            if start < end:
                self._held[key] = _pool().submit(self._store.get, name, start, end)
        if key in self._held:
            self._held.move_to_end(key)
            while len(self._held) > BLOCKS_HELD:
                self._held.popitem(last=False)
            return self._held[key]
        return Future()  # beyond its end

    def _result(self, name: str, at: int, block: Future[bytes]) -> bytes:
        try:
            return block.result()
        except BaseException:
            with self._lock:
                self._held.pop((name, at), None)  # so that it is fetched again
            raise
