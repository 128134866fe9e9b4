"""Web application: each call of the table answered in a thread, its errors as one line of JSON."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import logging
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from pathlib import Path
from threading import Thread
from typing import Any

import anyio
from anyio import to_thread
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from ..errors import LockedError, TenpercentError, UsageError, one_line
from .calls import CALLS, PICTURE, ApiCall
from .guard import HEADERS, Guard
from .requests import MOST_BODY, TAG, RequestError, of_address, of_body
from .review import Review

log = logging.getLogger("tenpercent")

FOLDER = Path(__file__).resolve().parent / "page"
KINDS = {".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
AT_ONCE = max(2, os.cpu_count() or 2)  # calls computing at once; more would only wait for each other
DISK = (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS)
Endpoint = Callable[[Request], Awaitable[Response]]


def make_app(
    run_folder: Path, token: str, hosts: Iterable[str] = (), framed_by: str | None = None
) -> Starlette:
    """Return the application that serves one run folder.

    Args:
        run_folder: the run.
        token: the secret that opens it.
        hosts: names allowed in ``Host`` beside those of the loopback (see `Guard`).
        framed_by: the one origin whose pages may show the page in a frame.

    Raises:
        TenpercentError: the run can't be opened.
    """
    review, page = Review(run_folder), _page(token)
    computing, drawing = anyio.CapacityLimiter(AT_ONCE), anyio.CapacityLimiter(AT_ONCE)

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        review.events.open()
        Thread(target=review.warm, name="review-warm", daemon=True).start()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(review.events.watch, review.session.version)
            yield
            review.events.close()
            tasks.cancel_scope.cancel()

    def route(call: ApiCall[Any]) -> Route:
        endpoint = _endpoint(review, call, drawing if call.gives == PICTURE else computing)
        return Route(call.path, endpoint, methods=[call.method])

    app = Starlette(
        routes=[Route("/", page), Route("/page/{name:path}", page), *map(route, CALLS)],
        middleware=[Middleware(Guard, token=token, hosts=tuple(hosts), framed_by=framed_by)],
        exception_handlers={
            TenpercentError: _told,
            OSError: _of_the_disk,
            HTTPException: _http_error,
            ClientDisconnect: _gone,
            Exception: _fault,
        },
        lifespan=lifespan,
    )
    app.router.redirect_slashes = False  # no redirects: an address is right or wrong
    app.state.review = review
    return app


def answer(content: Any, status: int = 200) -> Response:
    """Return JSON in UTF-8; a lone surrogate, which a file's name may hold, is sent as JSON's own escape."""
    text = json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return Response(text.encode("utf-8", "backslashreplace"), status, media_type="application/json")


# ---- the calls and the page ----------------------------------------------------------------------------------------


def _endpoint(review: Review, call: ApiCall[Any], limiter: anyio.CapacityLimiter) -> Endpoint:
    async def endpoint(request: Request) -> Response:
        if call.method == "POST":
            kind = request.headers.get("content-type", "")
            asked = of_body(call.takes, await _body(request), kind)
        else:
            known = {TAG: request.headers.get(TAG, "")}
            asked = of_address(call.takes, {**request.query_params, **known, **request.path_params})
        content = await to_thread.run_sync(call.answer, review, asked, limiter=limiter)
        if isinstance(content, Response):
            return content
        if isinstance(content, bytes):
            return Response(content, media_type=call.gives)
        return answer(content, call.status)

    return endpoint


async def _body(request: Request) -> bytes:
    """Read a body of limited size.

    Raises:
        RequestError: it is larger.
    """
    line = f"the body has more than {MOST_BODY:,} bytes; send less at once"
    length = request.headers.get("content-length", "0")
    if not length.isdecimal() or int(length[:20]) > MOST_BODY:
        raise RequestError(413, line)
    body = b""
    async for piece in request.stream():
        body += piece
        if len(body) > MOST_BODY:
            raise RequestError(413, line)
    return body


def _page(token: str) -> Endpoint:
    files = page_files(token)

    async def endpoint(request: Request) -> Response:
        file = files.get(request.path_params.get("name", "index.html"))
        if file is None:
            raise HTTPException(404)
        return file

    return endpoint


def page_files(token: str, folder: Path = FOLDER) -> dict[str, Response]:
    """Read the page's files once, by name: a client's name is looked up among them, never used as a path.

    All but ``index.html`` lie in a folder whose name changes with their contents, so that a browser keeps them
    without asking again, and with the token: no server before this one can have put anything there. All modules
    are named in ``index.html``, else a browser finds them one import after the other.
    """
    read = {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.suffix in KINDS and not path.name.startswith((".", "_"))
    }
    seal = hashlib.blake2b(token.encode(), digest_size=16)
    for name, data in read.items():
        seal.update(b"%b %d " % (name.encode(), len(data)) + data)
    place, index = seal.hexdigest(), read.pop("index.html").decode()
    imported = [name for name in read if name.endswith(".js") and f"page/{name}" not in index]
    links = "\n".join(f'<link rel="modulepreload" href="page/{name}">' for name in imported)
    index = index.replace("<!-- modules -->", links).replace('"page/', f'"page/{place}/')
    kept = {"Cache-Control": "private, max-age=31536000, immutable"}
    return {
        "index.html": Response(index, media_type="text/html"),
        **{
            f"{place}/{name}": Response(data, headers=kept, media_type=KINDS[Path(name).suffix])
            for name, data in read.items()
        },
    }


# ---- errors --------------------------------------------------------------------------------------------------------


async def _told(_: Request, error: Exception) -> Response:
    """Answer an expected error with its line."""
    if isinstance(error, RequestError):
        return answer({"error": one_line(error), **error.more}, error.status)
    status = 400 if isinstance(error, UsageError) else 423 if isinstance(error, LockedError) else 409
    return answer({"error": one_line(error)}, status)


async def _of_the_disk(request: Request, error: Exception) -> Response:
    """Answer a call that a full disk or a read-only folder makes impossible."""
    assert isinstance(error, OSError)
    if error.errno not in DISK:
        log.error("%s failed", request.url.path, exc_info=error)
        return await _fault(request, error)
    line = f"{error.strerror}: {error.filename or 'the run folder'}; free some space, or make the folder writable"
    return answer({"error": line}, 409)


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    lines = {404: "there is nothing at this address", 405: f"this address takes no {request.method}"}
    found = answer({"error": lines.get(error.status_code, str(error.detail))}, error.status_code)
    found.headers.update(error.headers or {})
    return found


async def _gone(_: Request, _error: Exception) -> Response:
    """Answer a page that was closed before its body arrived; nobody reads it."""
    return Response(status_code=400)


async def _fault(_: Request, error: Exception) -> Response:
    """Answer an internal error, which the server's log shows in full; this answer lacks the guard's headers."""
    found = answer({"error": f"the server failed ({type(error).__name__}); its log says more"}, 500)
    found.headers.update(HEADERS)
    return found
