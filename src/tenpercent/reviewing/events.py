"""Events of an open session, sent to every page: server-sent events."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import Any

from starlette.responses import Response, StreamingResponse

from .requests import RefusedError

POLL = 0.5  # seconds between checks of the log of decisions, which other processes write too
SIGN = 15.0  # seconds between signs of life on a quiet connection
WAITING = 200  # events that a slow page may lag behind; then it is disconnected and reconnects
MOST_PAGES = 200


class Hub:
    """Distributor of events to all listening pages. `publish` is thread-safe; the rest runs in the server's loop."""

    def __init__(self) -> None:
        self._pages: set[asyncio.Queue[str]] = set()
        self._loop: asyncio.AbstractEventLoop | None = None

    def open(self) -> None:
        """Start; to be called in the server's loop."""
        self._loop = asyncio.get_running_loop()

    def close(self) -> None:
        """End all streams; to be called in the server's loop."""
        self._loop = None
        self._hand_on(": the server ends\n\n")

    def publish(self, event: str, data: dict[str, Any]) -> None:
        """Send an event to all pages."""
        loop = self._loop
        if loop is not None:
            text = f"event: {event}\ndata: {json.dumps(data)}\n\n"
            with suppress(RuntimeError):  # the server has just ended: nobody listens
                loop.call_soon_threadsafe(self._hand_on, text)

    def listen(self) -> Response:
        """Return the stream of events for a page.

        Raises:
            RefusedError: too many pages listen already.
        """
        if len(self._pages) >= MOST_PAGES:
            raise RefusedError(429, f"{len(self._pages):,} pages listen already; close some")
        headers = {"X-Accel-Buffering": "no"}  # no buffering by a proxy in between
        return StreamingResponse(self._stream(), media_type="text/event-stream", headers=headers)

    async def _stream(self) -> AsyncIterator[str]:
        """Yield the events of one page, until the server ends or the page lags too far behind."""
        page: asyncio.Queue[str] = asyncio.Queue()
        self._pages.add(page)
        try:
            yield "retry: 1000\n\n"
            while self._loop is not None and page.qsize() <= WAITING:
                try:
                    yield await asyncio.wait_for(page.get(), SIGN)
                except TimeoutError:
                    yield ": still here\n\n"
        finally:
            self._pages.discard(page)

    async def watch(self, version: Callable[[], int]) -> None:
        """Send an event each time `version` changes; runs until cancelled."""
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
            if page.qsize() <= WAITING:
                page.put_nowait(text)
