"""Locks of a run folder: one a stage, and one of `run.json`; the kernel's own, so they end with their process."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from ...errors import LockedError, RunFolderError
from .files import remove_temporaries, write_text
from .typed import built, parsed


@dataclass(frozen=True)
class LockHolder:
    """Process that holds the lock of a stage."""

    pid: int
    host: str
    since: str


@contextmanager
def stage_lock(run: Path, stage: str, remedy: str = "wait for it or choose another --out") -> Iterator[None]:
    """Hold a stage of a run folder.

    Raises:
        LockedError: another process holds it; the message names it.
    """
    folder = _folder(run)
    # Whichever thread ends the stage may release it.
    lock, holder = FileLock(folder / f"{stage}.lock", thread_local=False), folder / f"{stage}.holder.json"
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise LockedError(f"{run}: the {stage} stage is held by {_said(holder)}; {remedy}") from None
    try:
        who = LockHolder(os.getpid(), socket.gethostname(), time.strftime("%H:%M:%S"))
        write_text(holder, json.dumps(asdict(who)))
        remove_temporaries(holder)
        yield
    finally:
        holder.unlink(missing_ok=True)
        lock.release()


@contextmanager
def record_lock(record: Path) -> Iterator[None]:
    """Hold `run.json` for a moment.

    Raises:
        LockedError: another process has held it for a minute.
    """
    lock = FileLock(_folder(record.parent) / "run.lock")
    try:
        lock.acquire(timeout=60)
    except Timeout:
        raise LockedError(f"{record} has been held for a minute; stop the process that hangs on it") from None
    try:
        yield
    finally:
        lock.release()


def _folder(run: Path) -> Path:
    folder = run / "locks"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunFolderError(f"can't write {run}: {error.strerror}; choose another --out") from None
    return folder


def _said(path: Path) -> str:
    try:
        who = built(LockHolder, parsed(path.read_bytes(), LockHolder))
    except (OSError, ValueError):
        return "another process"
    return f"process {who.pid} on {who.host} since {who.since}"
