"""A real browser before the real server: one browser for all tests, a server for each."""

from __future__ import annotations

import os
import shutil
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import urljoin

import numpy as np
import pytest
import uvicorn
from PIL import Image

import tenpercent as tp
from reviewing import TOKEN, flat
from tenpercent.reviewing.app import make_app

playwright = pytest.importorskip("playwright.sync_api", reason="the browser tests need playwright")

# Without a window's parts a page takes less CPU.
BROWSERS = ("chromium-headless-shell", "chromium", "google-chrome")
CHROMIUM = os.environ.get("TENPERCENT_CHROMIUM") or next(filter(None, map(shutil.which, BROWSERS)), None)
# WebGL without a GPU; all else is drawn without it, which takes a quarter less.
ARGUMENTS = (
    "--no-sandbox",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--disable-gpu-compositing",
)
SPARE: list[Any] = []  # a page of the open browser that somebody has left
PORTS = [0]  # of the servers so far; 0 is any
SCRIPT = "<script>window.hacked = 1;document.title = 'hacked'"
MARKUP = "<img src=x onerror='window.hacked = 2'>"
PATIENCE = 10_000  # ms: a slow machine is no failure
QUIET = 0.2  # seconds without a request: then the page has drawn what it asked for


def make_run(folder: Path) -> Path:
    """Make a run of 48 small photos in three classes, each photo twice with a little noise; some names are markup."""
    generator = np.random.default_rng(3)
    for name in (SCRIPT, "قطط 🐈", "plain"):
        (folder / "photos" / name).mkdir(parents=True)
        base = generator.integers(0, 256, (8, 12, 12, 3))
        for number in range(16):
            noise = generator.integers(-3, 4, (12, 12, 3)) * (1 + number % 8)
            pixels = np.clip(base[number % 8] + noise, 0, 255).astype(np.uint8)
            stem = f"{MARKUP}{number:02d}" if number == 1 else f"{number:02d}"
            Image.fromarray(pixels).save(folder / "photos" / name / f"{stem}.png")
    out = folder / "run"
    tp.embed(folder / "photos", out=out, embedder=flat)
    tp.cluster(out, 0.6)
    tp.select(out, tp.Cut(keep=0.75))
    return out


@contextmanager
def served(run: Path, port: int | None = None) -> Iterator[str]:
    """Serve a run in a thread; gives the address that opens it, with the port of the server before if it is free.

    A browser that meets the same address again starts no process for it, and has compiled its scripts.
    """
    # Named as TCP, see `serve._listening`: else each answer waits 40 ms for its second half.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(("127.0.0.1", PORTS[-1] if port is None else port))
    except OSError:
        if port is not None:
            raise
        listener.bind(("127.0.0.1", 0))
    PORTS.append(listener.getsockname()[1])
    listener.listen()  # a browser that is faster than the server waits instead of being refused
    config = uvicorn.Config(make_app(run, TOKEN), log_level="warning", timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    thread = Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/?token={TOKEN}"
    finally:
        server.should_exit = True
        thread.join(10)
        listener.close()


@contextmanager
def browser() -> Iterator[Any]:
    """Start Chromium, or skip."""
    if CHROMIUM is None:
        pytest.skip("there is no Chromium; install it, or name it in TENPERCENT_CHROMIUM")
    with playwright.sync_playwright() as started:
        chromium = started.chromium.launch(executable_path=CHROMIUM, args=list(ARGUMENTS))
        try:
            yield chromium
        finally:
            SPARE.clear()
            chromium.close()


@dataclass
class Look:
    """One page as somebody looks at it.

    Attributes:
        page: Playwright's page.
        address: what opened it.
        faults: errors of its scripts, and what its policy refused.
        asking: its requests that have no answer yet, without the stream of events, which never ends.
    """

    page: Any
    address: str
    faults: list[str] = field(default_factory=list)
    asking: set[Any] = field(default_factory=set)

    def __post_init__(self) -> None:
        """Listen to the page."""
        self.listeners: dict[str, Callable[[Any], None]] = {
            "request": lambda sent: None if sent.url.endswith("api/events") else self.asking.add(sent),
            "requestfinished": lambda done: self.asking.discard(done),
            "requestfailed": lambda done: self.asking.discard(done),
            "pageerror": lambda error: self.faults.append(str(error)),
            "console": lambda said: self.faults.append(said.text) if "Security Policy" in said.text else None,
        }
        for event, listener in self.listeners.items():
            self.page.on(event, listener)

    def leave(self) -> None:
        """Leave it as good as new for the next `look`: a page of its own takes a second of CPU."""
        for event, listener in self.listeners.items():
            self.page.remove_listener(event, listener)
        self.page.unroute_all(behavior="ignoreErrors")
        self.page.evaluate("localStorage.clear()")
        with suppress(playwright.Error):  # its server may be gone
            # Of the same origin, under the same policy: what is opened next needs no process of its own.
            self.page.goto(urljoin(self.address, "/left"))
        self.page.mouse.move(0, 0)
        self.page.context.clear_cookies()
        SPARE.append(self.page)

    def ready(self) -> None:
        """Wait until counts and groups are there."""
        self.page.locator("#counts b").wait_for()

    def tiles(self, group: int = 0) -> Any:
        """The images of a group in the list."""
        return self.page.locator(f".card[data-index='{group}'] .tile")

    def positions(self, group: int = 0) -> list[int]:
        """Their positions, the representative's first."""
        self.tiles(group).first.wait_for()
        return [int(p) for p in self.tiles(group).evaluate_all("nodes => nodes.map(node => node.dataset.p)")]

    def click(self, position: int, **how: Any) -> None:
        """Click an image in the list and wait until the panel shows it."""
        tile = self.page.locator(f"#feed [data-p='{position}']")
        name = tile.get_attribute("title")
        tile.click(**how)
        if not how and self.page.locator("#side").is_visible():
            self.page.locator("#side .image-name").get_by_text(name, exact=True).wait_for()

    def api(self, path: str) -> Any:
        """Ask the server in the page's name."""
        return self.page.evaluate("path => fetch(path).then(answer => answer.json())", path)

    def module(self, name: str) -> str:
        """The address of one of the page's modules."""
        return str(self.page.locator(f"link[href$='/{name}']").evaluate("node => node.href"))

    def wait(self, expression: str) -> None:
        """Wait until an expression of the page holds; Playwright's own way needs `eval`, which the page forbids."""
        # In one call: one every 30 ms takes more CPU than the page that is waited for.
        came = self.page.evaluate(
            f"""async end => {{
                while (!(await ({expression}))) {{
                    if (end < Date.now()) return false;
                    await new Promise((told) => setTimeout(told, 20));
                }}
                return true;
            }}""",
            1000 * time.time() + PATIENCE,
        )
        assert came, f"it never came to {expression}"

    def becomes(self, read: Callable[[], Any], wanted: Any) -> None:
        """Wait until what is read is as wanted: the page draws its parts by answers that come in any order."""
        end = time.monotonic() + PATIENCE / 1000
        while (found := read()) != wanted:
            assert time.monotonic() < end, f"{found!r} never came to be {wanted!r}"
            self.page.wait_for_timeout(30)

    def settle(self) -> None:
        """Wait until the page has asked for nothing for a while."""
        end = time.monotonic() + PATIENCE / 1000
        quiet_since = time.monotonic()
        while time.monotonic() - quiet_since < QUIET:
            assert time.monotonic() < end, f"no answer to {[request.url for request in self.asking]}"
            self.page.wait_for_timeout(30)
            if self.asking:
                quiet_since = time.monotonic()

    def counts(self) -> str:
        """The counts beside the slider."""
        return str(self.page.locator("#counts").inner_text())


def look(opened: Any, address: str, width: int = 1280, height: int = 860, **media: str) -> Look:
    """Open a page in a browser, one that was left if there is one; `media` are color_scheme and reduced_motion."""
    page = SPARE.pop() if SPARE else opened.new_context().new_page()
    page.set_default_timeout(PATIENCE)
    page.set_viewport_size({"width": width, "height": height})
    page.emulate_media(**{"color_scheme": "light", "reduced_motion": "no-preference", **media})
    found = Look(page, address)
    page.goto(address)
    return found
