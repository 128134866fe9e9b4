"""Jobs too long for an answer: one thread each, progress sent to every page."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from threading import Lock, Thread
from typing import Any

from ..errors import TenpercentError, one_line
from .events import Hub
from .requests import RefusedError

log = logging.getLogger("tenpercent")

TELL_EVERY = 0.2  # seconds between progress events

Tell = Callable[[float | None], None]


class Job:
    """One kind of work, done at most once at a time.

    Attributes:
        name: of its events.
        state: ``none``, ``computing``, ``ready`` or ``failed``.
        done: from 0 to 1, or None where that is not known.
        error: the reason of a failure, else empty.
    """

    def __init__(self, name: str, hub: Hub) -> None:
        self.name, self.state, self.error = name, "none", ""
        self.done: float | None = None
        self._hub, self._lock, self._told = hub, Lock(), 0.0

    def start(self, work: Callable[[Tell], dict[str, Any]]) -> None:
        """Start the work in a thread.

        Args:
            work: takes a callback for its progress, and returns the content of the last event beside its state.

        Raises:
            RefusedError: it is running already.
        """
        with self._lock:
            if self.state == "computing":
                raise RefusedError(409, f"the {self.name} is being computed already; wait for it")
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
        self._hub.publish(self.name, {**self.view(), **more})
