"""Server of the review page: start it, print its address, and end it with ctrl-C."""

from __future__ import annotations

import errno
import logging
import os
import secrets
import socket
import sys
import webbrowser
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any

from ..errors import UsageError, require

if TYPE_CHECKING:
    from starlette.applications import Starlette

log = logging.getLogger("tenpercent")

PORT = 8410
TRIED = 50  # ports from the first on
LOOPBACK = ("127.0.0.1", "localhost", "::1")
END_AFTER = 2  # seconds that calls in progress get when the server ends


def serve(
    run: str | Path,
    port: int | None = None,
    host: str = "127.0.0.1",
    *,
    browser: bool = True,
    say: Callable[[str], None] = print,
) -> None:
    """Serve the review page of a run until ctrl-C.

    Args:
        run: the run folder.
        port: to listen on; None for 8410, or the next free one.
        host: the address to listen on; ``0.0.0.0`` for all, which admits other machines that have the token.
        browser: open the page where there is a browser and a screen.
        say: called with the address, which is all that is needed to open the page.

    Raises:
        UsageError: the port is taken or out of its range, the host is not an address of this machine.
        MissingExtraError: Starlette or uvicorn is not installed.
        TenpercentError: the run can't be opened.
    """
    require("starlette", "review")
    require("pydantic", "review")
    uvicorn = require("uvicorn", "review")
    from .app import make_app

    token = secrets.token_urlsafe(32)
    with ExitStack() as held:
        listeners = [held.enter_context(listener) for listener in listen(host, port)]
        hosts = () if host in LOOPBACK else (host,)
        app = make_app(Path(run), token, hosts)
        address = page_address(host, listeners[0].getsockname()[1], token)
        if hosts:
            log.warning(
                "listening on %s: whoever reaches this machine with the address below can see the images and decide; "
                "the connection is not encrypted",
                host,
            )
        server = make_server(uvicorn, app)
        say(address)
        sys.stdout.flush()  # a program may be waiting for it
        if browser:  # it may be faster than the server: requests to a listening socket wait
            Thread(target=_open, args=(address,), daemon=True).start()
        with suppress(
            KeyboardInterrupt
        ):  # the server has ended by then: it handles the signal, and passes it on last
            server.run(sockets=listeners)


def make_server(uvicorn: Any, app: Starlette) -> Any:
    """Return a server that closes the pages' event streams before it ends."""

    class Server(uvicorn.Server):  # type: ignore[misc]
        async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
            app.state.review.events.close()
            await super().shutdown(sockets=sockets)

    config = uvicorn.Config(
        app,
        access_log=False,
        log_level="warning",
        lifespan="on",
        ws="none",
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=END_AFTER,
        timeout_keep_alive=30,
    )
    return Server(config)


def listen(host: str, port: int | None) -> list[socket.socket]:
    """Return sockets that listen on a free port: on both addresses of ``localhost``, else one.

    Raises:
        UsageError: there is none, or the one asked for is in use.
    """
    if port is not None and not 0 <= port <= 65_535:
        raise UsageError(f"--port is {port}; it must be from 0 (any free one) to 65,535")
    for tried in [port] if port is not None else range(PORT, PORT + TRIED):
        try:
            return _bound(host.strip("[]"), tried)
        except OSError as error:
            if isinstance(error, socket.gaierror) or port is not None:
                raise UsageError(_why(host, tried, error)) from None
            last = _why(host, tried, error)
    raise UsageError(f"no port from {PORT} to {PORT + TRIED - 1} is free ({last}); give one with --port")


def _bound(host: str, port: int) -> list[socket.socket]:
    first = _listener(host, port)
    if host != "localhost":
        return [first]
    try:  # a browser asks there too, with the token: nobody else may answer
        return [first, _listener("::1", first.getsockname()[1])]
    except OSError as error:
        if error.errno in (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL):
            return [first]  # no IPv6 here
        first.close()
        raise


def _listener(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # Named as TCP: else asyncio leaves Nagle's algorithm on, and each answer waits 40 ms for its second half.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        if os.name == "posix":
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(128)
    except OSError:
        listener.close()
        raise
    return listener


def _why(host: str, port: int, error: OSError) -> str:
    if isinstance(error, socket.gaierror):
        return f"--host {host} is not an address of this machine; leave it out, or give 0.0.0.0"
    return f"can't listen on {host}:{port} ({error.strerror}); give another --port, or leave it out for a free one"


def page_address(host: str, port: int, token: str) -> str:
    """Return the address to open: by loopback where the server listens to all."""
    shown = "127.0.0.1" if host in ("0.0.0.0", "::") else host
    return f"http://{f'[{shown}]' if ':' in shown else shown}:{port}/?token={token}"


def _open(address: str) -> None:
    """Open the page in a browser, where there is a screen to show it on."""
    has_screen = sys.platform in ("darwin", "win32") or any(
        os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY")
    )
    if has_screen:
        with suppress(webbrowser.Error):  # no browser: the address is printed
            webbrowser.open(address)
