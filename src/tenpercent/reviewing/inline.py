"""Review page inside a notebook: a server in a thread of the kernel, shown in a frame of one origin's pages."""

from __future__ import annotations

import importlib
import json
import logging
import os
import secrets
from contextlib import ExitStack, suppress
from html import escape
from pathlib import Path
from threading import Thread
from urllib.parse import urlsplit

from ..data.store.checks import as_path
from ..data.store.locks import stage_lock
from ..data.store.run_folder import RunFolder
from ..errors import UsageError, quoted, require
from .serve import END_AFTER, listen, make_server, page_address

log = logging.getLogger("tenpercent")

HEIGHT = 760  # pixels of the frame
# The page's cookie goes to frames of its own site alone: the same scheme and name, at any port.
NAMES = ("localhost", "127.0.0.1")
_SCRIPT = """
(() => {
  const frame = document.getElementById("ID"), here = location.origin, allowed = ORIGIN;
  if (here !== allowed) frame.replaceWith(`This notebook is shown at ${here}; the page may be shown at ${allowed} alone.
    Give origin="${here}", or open it in a tab.`);
})();
"""


class InlineReview:
    """The review page of a run, served by a thread until `close` or the end of the process.

    Attributes:
        run: the run folder.
        address: what opens the page in a tab, with its token.
        origin: the one origin whose pages may show it in a frame.
    """

    def __init__(self, run: Path, origin: str, port: int | None) -> None:
        """Start the server: see `open_review`."""
        require("starlette", "review")
        require("pydantic", "review")
        uvicorn = require("uvicorn", "review")
        from .app import make_app

        self.run, self.origin = run, origin
        token, host = secrets.token_urlsafe(32), str(urlsplit(origin).hostname)
        with ExitStack() as held:
            remedy = f"close it there, or run: tenpercent review {quoted(run)}"
            held.enter_context(stage_lock(run, "review", remedy))
            listeners = [held.enter_context(listener) for listener in listen(host, port)]
            self._server = make_server(uvicorn, make_app(run, token, framed_by=origin))
            self.address = page_address(host, listeners[0].getsockname()[1], token)
            # A daemon, as are the threads that it starts: none keeps the kernel from ending.
            given = {"sockets": listeners}
            self._thread = Thread(target=self._server.run, kwargs=given, name="review", daemon=True)
            self._thread.start()
            self._held = held.pop_all()

    def close(self) -> None:
        """End the server; the frame is dead from then on."""
        self._server.should_exit = True
        self._thread.join(END_AFTER + 5)
        self._held.close()
        if _OPEN.get(self.run) is self:
            del _OPEN[self.run]

    def __repr__(self) -> str:
        return f"InlineReview({self.address}, in frames of {self.origin})"

    def _repr_html_(self) -> str:
        name, address = f"tenpercent-{secrets.token_hex(4)}", escape(self.address, quote=True)
        script = _SCRIPT.replace("ID", name).replace("ORIGIN", json.dumps(self.origin))
        return (
            f"<iframe id='{name}' src='{address}' title='Review of {escape(str(self.run), quote=True)}' width='100%' "
            f"height='{HEIGHT}' style='border: 1px solid #8886; border-radius: 8px' allow='clipboard-write'></iframe>"
            f"<div><small><a href='{address}' target='_blank' rel='noopener'>Open in a tab</a></small></div>"
            f"<script>{script}</script>"
        )


_OPEN: dict[Path, InlineReview] = {}  # by run folder: of this process


def open_review(run: str | Path, *, origin: str | None = None, port: int | None = None) -> InlineReview:
    """Open the review page of a run inside a notebook: the last line of a cell shows it in a frame.

    A run that is open already is shown again by the same server; for another origin it is opened anew.

    Args:
        run: the run folder.
        origin: the address at which the browser shows the notebook, ``http://localhost:8888``, or all that stands in
            its address bar: pages from there, and from nowhere else, may hold the page in a frame. None for that of
            the Jupyter server that started this kernel.
        port: of the page; None for 8410, or the next free one.

    Returns:
        The page, with its `address` and `close`; it ends with the kernel.

    Raises:
        UsageError: no Jupyter server started this kernel, or the origin is not on this machine; the port is taken.
        LockedError: another process has opened the run in this way.
        MissingExtraError: Starlette, pydantic or uvicorn is not installed.
        TenpercentError: the run can't be opened.
    """
    folder = RunFolder.open(as_path(run, "the run folder")).path.resolve()
    framed_by = _checked(origin if origin is not None else _of_this_kernel(folder), folder)
    there = _OPEN.get(folder)
    if there is not None and there.origin == framed_by:
        log.warning("%s is open already; this is the same page", folder)
        return there
    if there is not None:
        log.warning("%s was open for %s; that page is closed now", folder, there.origin)
        there.close()
    _OPEN[folder] = InlineReview(folder, framed_by, port)
    return _OPEN[folder]


def _of_this_kernel(run: Path) -> str:
    """Return the address of the Jupyter server that started this kernel, from what Jupyter notes of its servers.

    Raises:
        UsageError: none did.
    """
    with suppress(ImportError, OSError, ValueError, KeyError):
        folder = Path(importlib.import_module("jupyter_core.paths").jupyter_runtime_dir())
        server = folder / f"jpserver-{os.environ['JPY_PARENT_PID']}.json"
        return str(json.loads(server.read_text(encoding="utf-8"))["url"])
    raise UsageError(
        "no Jupyter server started this process; give origin='http://localhost:8888', as the browser's address bar "
        f"has it, or run: tenpercent review {quoted(run)}"
    )


def _checked(origin: str, run: Path) -> str:
    """Return the origin of an address, in the form that browsers send."""
    with suppress(ValueError):  # not an address
        found = urlsplit(str(origin))
        if found.scheme == "http" and found.hostname in NAMES and found.username is None:
            return f"http://{found.hostname}" + (f":{found.port}" if found.port not in (None, 80) else "")
    raise UsageError(
        f"origin is {origin!r}; a frame works in notebooks at http://localhost:PORT or http://127.0.0.1:PORT, "
        "without a user name; "
        f"elsewhere run: tenpercent review {quoted(run)}, and open its address in a tab"
    )
