"""A page's view of the review server, in process: the cookie, the right host, and calls by name."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
from starlette.applications import Starlette
from starlette.testclient import TestClient
from starlette.types import Message, Receive, Scope, Send

import tenpercent as tp
from tenpercent.data.sources.options import SourceOptions
from tenpercent.reviewing.app import make_app
from tenpercent.reviewing.guard import cookie_name

TOKEN = "a-token-of-the-tests"
BASE = "http://127.0.0.1:8410"


class Page:
    """One page that is open."""

    def __init__(self, client: TestClient) -> None:
        self.client = client
        self.run: dict[str, Any] = {}

    def get(self, path: str, status: int = 200, **query: Any) -> Any:
        answer = self.client.get(path, params=query)
        assert answer.status_code == status, answer.text
        assert len(answer.content) < 1_000_000 or path.startswith("/download")
        return answer.json() if answer.headers.get("content-type") == "application/json" else answer.content

    def post(self, path: str, status: int = 200, **body: Any) -> Any:
        answer = self.client.post(path, json=body)
        assert answer.status_code == status, answer.text
        return answer.json()

    def decide(self, kind: str, *images: int, status: int = 200, **more: Any) -> Any:
        """Decide as somebody who has seen all that was decided, unless `seen` says otherwise."""
        self.run = self.get("/api/run")
        known = {"seen": self.run["version"], "origin": self.run["origin"], **more}
        return self.post("/api/decisions", status, kind=kind, images=list(images), **known)


def raw(app: Starlette, path: str) -> int:
    """Ask for an address exactly as it stands, which no client does; return the status of the answer."""
    status: list[int] = []

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start":
            status.append(message["status"])

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    scope = {
        "type": "http",
        "method": "GET",
        "path": unquote(path),
        "raw_path": path.encode(),
        "query_string": b"",
        "headers": [(b"host", b"127.0.0.1"), (b"cookie", f"{cookie_name(TOKEN)}={TOKEN}".encode())],
        "http_version": "1.1",
        "scheme": "http",
    }
    call(app, scope, receive, send)
    return status[0]


def call(app: Starlette, scope: Scope, receive: Receive, send: Send) -> None:
    """Call an application in a thread of its own: this one's loop is Playwright's where a browser is open."""
    with ThreadPoolExecutor(1) as thread:
        thread.submit(asyncio.run, app(scope, receive, send)).result()


@contextmanager
def page(run: Path, hosts: tuple[str, ...] = ()) -> Iterator[Page]:
    """Open the page of a run, with the token taken for the cookie."""
    with TestClient(make_app(run, TOKEN, hosts), base_url=BASE, follow_redirects=False) as client:
        assert client.get("/", params={"token": TOKEN}).status_code == 303
        yield Page(client)


def until(opened: Page, path: str, seconds: float = 120) -> dict[str, Any]:
    """Wait for work to end."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found: dict[str, Any] = opened.get(path)
        if found["state"] != "computing":
            return found
        time.sleep(0.05)
    raise AssertionError(f"{path} takes longer than {seconds} s")


def run_of_vectors(folder: Path, vectors: np.ndarray, labels: np.ndarray | None, keep: float = 0.5) -> Path:
    """Make a run of ready vectors, clustered and not selected; return its folder."""
    folder.mkdir(parents=True, exist_ok=True)
    np.save(folder / "vectors.npy", vectors)
    options = SourceOptions()
    if labels is not None:
        np.save(folder / "labels.npy", labels)
        options = SourceOptions(labels=folder / "labels.npy")
    tp.embed(folder / "vectors.npy", out=folder / "run", options=options)
    tp.cluster(folder / "run", keep)
    return folder / "run"


def flat(images: Any) -> np.ndarray:
    """An embedder of a line: pixels in a row, of images of one size."""
    return np.stack([np.asarray(image, dtype=np.float32).reshape(-1) + 1.0 for image in images])
