"""Server-sent events to every page, and the jobs whose progress they carry."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from threading import Lock, Thread
from typing import Any

from starlette.responses import Response, StreamingResponse

from ..errors import TenpercentError, one_line
from .requests import RequestError

log = logging.getLogger("tenpercent")

POLL = 0.5  # seconds between checks of the log of decisions, which other processes write too
SIGN = 15.0  # seconds between signs of life on a quiet connection
WAITING = 200  # events that a slow page may lag behind; then it is disconnected and reconnects
MOST_PAGES = 200
TELL_EVERY = 0.2  # seconds between progress events of a job

Tell = Callable[[float | None], None]


class PageEvents:
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
            RequestError: too many pages listen already.
        """
        if len(self._pages) >= MOST_PAGES:
            raise RequestError(429, f"{len(self._pages):,} pages are open already; close some")
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


class BackgroundJob:
    """One kind of work too long for an answer, done in a thread, at most once at a time.

    Attributes:
        name: of its events.
        state: ``none``, ``computing``, ``ready`` or ``failed``.
        done: from 0 to 1, or None where that is not known.
        error: the reason of a failure, else empty.
    """

    def __init__(self, name: str, events: PageEvents) -> None:
        self.name, self.state, self.error = name, "none", ""
        self.done: float | None = None
        self._events, self._lock, self._told = events, Lock(), 0.0

    def start(self, work: Callable[[Tell], dict[str, Any]]) -> None:
        """Start the work in a thread.

        Args:
            work: takes a callback for its progress, and returns the content of the last event beside its state.

        Raises:
            RequestError: it is running already.
        """
        with self._lock:
            if self.state == "computing":
                raise RequestError(409, f"the {self.name} job is already running; wait for it")
            self.state, self.done, self.error = "computing", 0.0, ""
        self._publish({})
        # A daemon: ctrl-C ends the server at once, and the next run resumes from the part of the tree computed.
        Thread(target=self._run, args=(work,), name=f"review-{self.name}", daemon=True).start()

    def view(self) -> dict[str, Any]:
        """Return its progress."""
        return {"state": self.state, "done": self.done, "error": self.error or None}

    def _run(self, work: Callable[[Tell], dict[str, Any]]) -> None:
        more: dict[str, Any] = {}
        try:
            more = work(self._tell)
            self.done, self.state = 1.0, "ready"
        except TenpercentError as error:
            self._fail(one_line(error))
        except MemoryError:
            self._fail("out of memory; close other programs")
        except Exception as error:
            log.exception("the %s failed", self.name)
            self._fail(f"{type(error).__name__}: {one_line(error)}")
        self._publish(more)

    def _fail(self, line: str) -> None:
        self.error, self.done, self.state = line, None, "failed"

    def _tell(self, done: float | None) -> None:
        self.done = None if done is None else min(max(done, 0.0), 1.0)
        if time.monotonic() - self._told >= TELL_EVERY:
            self._told = time.monotonic()
            self._publish({})

    def _publish(self, more: dict[str, Any]) -> None:
        self._events.publish(self.name, {**self.view(), **more})
