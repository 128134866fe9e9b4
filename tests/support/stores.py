"""Stores that answer late, with errors, or not at all: in memory, on the web, and S3's interface by moto."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from tenpercent.data.sources.remote import store


class HttpError(OSError):
    """Answer of a store with a status."""

    def __init__(self, status: int) -> None:
        super().__init__(f"answered {status}")
        self.status = status


class TestStore(MemoryFileSystem):
    """Objects in memory; each read of one is noted, and may fail.

    Attributes:
        reads: path, start and end of each.
        fail: called with the number of a read and its path; raises what the store answers.
    """

    __test__ = False
    cachable = False
    reads: ClassVar[list[tuple[str, int | None, int | None]]] = []
    fail: ClassVar[Callable[[int, str], None]] = staticmethod(lambda number, path: None)  # type: ignore[assignment]

    def cat_file(self, path: str, start: int | None = None, end: int | None = None, **more: Any) -> bytes:
        type(self).reads.append((path, start, end))
        type(self).fail(len(self.reads), path)
        found: bytes = super().cat_file(path, start, end, **more)
        return found

    @classmethod
    def bytes_read(cls) -> int:
        """Return the number of bytes that were asked for in parts."""
        return sum(end - start for _, start, end in cls.reads if start is not None and end is not None)


@contextmanager
def memory_store(monkeypatch: pytest.MonkeyPatch, cache: Path) -> Iterator[type[TestStore]]:
    """Let memory:// be a `TestStore`, empty, with no pauses between tries; lists are cached in `cache`."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
    monkeypatch.setattr(store, "FIRST_PAUSE", 0.0)
    fsspec.register_implementation("memory", TestStore, clobber=True)
    TestStore.store.clear()
    TestStore.pseudo_dirs[:] = [""]
    TestStore.reads, TestStore.fail = [], staticmethod(lambda number, path: None)  # type: ignore[assignment]
    yield TestStore
    fsspec.register_implementation("memory", MemoryFileSystem, clobber=True)


def upload(folder: Path, address: str) -> str:
    """Copy the files of a folder to a store, and return the address."""
    fs, root = fsspec.core.url_to_fs(address)
    for file in sorted(folder.rglob("*")):
        if file.is_file():
            fs.pipe_file(f"{root}/{file.relative_to(folder).as_posix()}", file.read_bytes())
    return address


class _Handler(SimpleHTTPRequestHandler):
    """Files of a folder, in ranges unless told otherwise; `token` must be in the query where there is one.

    Every `broken`-th request is answered with 500.
    """

    ranges, token, broken = True, "", 0
    count = itertools.count(1)

    def log_message(self, *_: Any) -> None: ...

    def do_GET(self) -> None:
        if self._is_refused():
            return None
        wanted = self.headers.get("Range", "")
        file = Path(self.translate_path(self.path))
        if not (wanted and self.ranges and file.is_file()):
            return super().do_GET()
        first, _, last = wanted.removeprefix("bytes=").partition("-")
        part = file.read_bytes()[int(first) : int(last) + 1]
        self.send_response(206)
        self.send_header("Content-Length", str(len(part)))
        self.end_headers()
        self.wfile.write(part)
        return None

    def do_HEAD(self) -> None:
        return None if self._is_refused() else super().do_HEAD()

    def _is_refused(self) -> bool:
        self.path, _, query = self.path.partition("?")
        wrong = 403 if self.token and query != f"X-Amz-Signature={self.token}" else 0
        wrong = 500 if self.broken and next(self.count) % self.broken == 0 else wrong
        if wrong:
            self.send_error(wrong)
        return wrong > 0


@contextmanager
def web_server(folder: Path, **how: Any) -> Iterator[str]:
    """Serve a folder on this machine as a `_Handler` does, and yield its address."""
    handler = type("Handler", (_Handler,), how)
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(handler, directory=str(folder)))
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
