"""What happens while a page is open, told to every page: server-sent events."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import Any

POLL = 0.5  # seconds between two looks at the log of decisions, which other processes write too
SIGN = 15.0  # seconds after which a quiet connection says that it lives
WAITING = 200  # events that a slow page may lag behind; then it is cut off and connects anew
MOST_PAGES = 200


class Hub:
    """Hands events on to all pages that listen. `publish` is safe for threads; the rest runs in the server's loop."""

    def __init__(self) -> None:
        self._pages: set[asyncio.Queue[str | None]] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closed = False

    def __len__(self) -> int:
        """How many pages listen."""
        return len(self._pages)

    @property
    def full(self) -> bool:
        """Whether no further page may listen."""
        return len(self._pages) >= MOST_PAGES

    def publish(self, event: str, data: dict[str, Any]) -> None:
        """Tell all pages."""
        if self._loop is not None and not self._closed:
            text = f"event: {event}\ndata: {json.dumps(data)}\n\n"
            with suppress(RuntimeError):  # the server has just ended, and nobody listens
                self._loop.call_soon_threadsafe(self._hand_on, text)

    def close(self) -> None:
        """End all streams; to be called in the server's loop."""
        self._closed = True
        for page in self._pages:
            page.put_nowait(None)

    def open(self) -> None:
        """Begin; to be called in the server's loop."""
        self._loop, self._closed = asyncio.get_running_loop(), False

    async def stream(self, first: str = "") -> AsyncIterator[str]:
        """Yield what one page is told, until the server ends or the page lags too far behind."""
        page: asyncio.Queue[str | None] = asyncio.Queue()
        self._pages.add(page)
        try:
            yield f"retry: 1000\n\n{first}"
            while not self._closed:
                try:
                    text = await asyncio.wait_for(page.get(), SIGN)
                except TimeoutError:
                    text = ": still here\n\n"
                if text is None or page.qsize() > WAITING:
                    return
                yield text
        finally:
            self._pages.discard(page)

    async def watch(self, version: Callable[[], int]) -> None:
        """Tell the pages each time `version` gives another number; runs until it is cancelled."""
        before: int | None = None
        while True:
            if self._pages:
                now = await asyncio.to_thread(version)
                if before is not None and now != before:
                    self.publish("decisions", {"version": now})
                before = now
            await asyncio.sleep(POLL)

    def _hand_on(self, text: str) -> None:
        for page in self._pages:
            if page.qsize() <= WAITING + 1:
                page.put_nowait(text)
