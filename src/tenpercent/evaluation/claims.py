"""Claims on trials: files with a heartbeat, so that several processes share the trials of a folder."""

from __future__ import annotations

import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
from filelock import FileLock

BEAT = 5.0  # seconds between heartbeats
STALE = 60.0  # seconds without one, after which a claim is free: the process hangs, or its machine is gone


class Claims:
    """The claims of one folder, ``NAME.claim`` each: JSON with process, host and a token.

    A claim lives as long as its file is touched. One whose process is known to be gone, on this machine, is free at
    once. A process that was suspended for longer than `STALE` may find its claim taken. Both then train the same, since
    a trial is determined by its seed; the first to finish writes the row and clears up, the other moves on.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        # Looking at a claim and replacing it must be one step, else two processes take over the same one.
        self._lock = FileLock(folder / "claims.lock")

    def holder(self, name: str) -> str | None:
        """Return the holder of a claim, in words, or None."""
        claim = self._path(name)
        try:
            age = time.time() - claim.stat().st_mtime
            who = json.loads(claim.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None  # none, or one that a kill left half-written
        if age > STALE or _is_gone(who):
            return None
        return f"process {who['pid']} on {who['host']}"

    @contextmanager
    def claim(self, name: str) -> Iterator[bool]:
        """Hold a claim within this context; yield whether it was free."""
        token = uuid.uuid4().hex
        with self._lock:
            free = self.holder(name) is None
            if free:
                self._path(name).write_text(
                    json.dumps(
                        {
                            "pid": os.getpid(),
                            "started": psutil.Process().create_time(),
                            "host": socket.gethostname(),
                            "token": token,
                        }
                    ),
                    encoding="utf-8",
                )
        if not free:
            yield False
            return
        stop = threading.Event()
        beating = threading.Thread(target=self._beat, args=(name, token, stop), daemon=True)
        beating.start()
        try:
            yield True
        finally:
            stop.set()
            beating.join()
            with self._lock:
                if self._is_ours(name, token):
                    self._path(name).unlink(missing_ok=True)

    def _beat(self, name: str, token: str, stop: threading.Event) -> None:
        while not stop.wait(BEAT):
            if not self._is_ours(name, token):
                return
            try:
                os.utime(self._path(name))
            except FileNotFoundError:
                return

    def _is_ours(self, name: str, token: str) -> bool:
        try:
            return bool(json.loads(self._path(name).read_text(encoding="utf-8"))["token"] == token)
        except (OSError, ValueError, KeyError):
            return False

    def _path(self, name: str) -> Path:
        return self.folder / f"{name}.claim"


def _is_gone(who: dict[str, Any]) -> bool:
    """Return whether the process of a claim ran on this machine and has ended."""
    if who["host"] != socket.gethostname():
        return False
    try:
        return bool(abs(psutil.Process(who["pid"]).create_time() - who["started"]) > 1.0)
    except psutil.NoSuchProcess:
        return True
