"""The web application: each call of the table answered in a thread, its errors as one line of JSON."""

from __future__ import annotations

import contextlib
import errno
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
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from ..errors import LockedError, TenpercentError, UsageError, one_line
from ..images.decode import Unreadable
from .asked import Asked, RefusedError
from .calls import CALLS, Call
from .downloads import as_csv, as_lines
from .guard import HEADERS, Guard
from .openapi import description
from .originals import GoneError
from .page_files import PageFile, page_files
from .pictures import SIDES, Picture
from .review import Review, check_room
from .views import checked_position

log = logging.getLogger("tenpercent")

AT_ONCE = max(2, os.cpu_count() or 2)  # calls that compute at once; more would only wait for each other
DISK = (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS)
FRESH = 60  # seconds that a browser shows a picture without asking whether its file is there still
Endpoint = Callable[[Request], Awaitable[Response]]


def make_app(run_folder: Path, token: str, hosts: Iterable[str] = ()) -> Starlette:
    """Return the application that serves one run folder.

    Args:
        run_folder: the run.
        token: the secret that opens it.
        hosts: names that may stand in ``Host`` beside those of the loopback (see `Guard`).

    Raises:
        TenpercentError: the run can't be looked at.
    """
    review = Review.of(run_folder)
    files = page_files()

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        review.hub.open()
        Thread(target=review.warm, name="review-warm", daemon=True).start()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(review.hub.watch, review.session.version)
            yield
            review.hub.close()
            tasks.cancel_scope.cancel()

    app = Starlette(
        routes=[
            Route("/", _file(files, "index.html")),
            Route("/page/{name:path}", _page(files)),
            *_routes(review),
        ],
        middleware=[Middleware(Guard, token=token, hosts=tuple(hosts))],
        exception_handlers={
            TenpercentError: _told,
            OSError: _of_the_disk,
            HTTPException: _http_error,
            Exception: _fault,
        },
        lifespan=lifespan,
    )
    app.router.redirect_slashes = False  # an address is right or not
    app.state.review = review
    return app


def answer(content: Any, status: int = 200) -> Response:
    """Return JSON in UTF-8; a half surrogate pair, which a file's name may hold, goes as JSON's own escape."""
    text = json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return Response(text.encode("utf-8", "backslashreplace"), status, media_type="application/json")


# ---- the calls -----------------------------------------------------------------------------------------------------


def _routes(review: Review) -> list[Route]:
    computing, drawing = anyio.CapacityLimiter(AT_ONCE), anyio.CapacityLimiter(AT_ONCE)
    special: dict[str, Callable[[Call], Endpoint]] = {
        "/api/images/{p}/picture": lambda call: _picture(review, call, drawing),
        "/download/selection.csv": lambda call: _download(review, call, "selection.csv"),
        "/download/kept.txt": lambda call: _download(review, call, "kept.txt"),
        "/api/events": lambda _: _events(review),
        "/api/openapi.json": lambda _: _description,
    }
    return [
        Route(
            call.path,
            _call(review, call, computing) if call.answer is not None else special[call.path](call),
            methods=[call.method],
        )
        for call in CALLS
    ]


def _call(review: Review, call: Call, limiter: anyio.CapacityLimiter) -> Endpoint:
    async def endpoint(request: Request) -> Response:
        asked = await _asked(call, request)
        assert call.answer is not None
        content = await to_thread.run_sync(call.answer, review, asked, limiter=limiter)
        if isinstance(content, bytes):
            return Response(content, media_type=call.gives)
        return answer(content, call.status)

    return endpoint


async def _asked(call: Call, request: Request) -> Asked:
    if call.method == "POST":
        return Asked.of_body(call.body, await request.body(), request.headers.get("content-type", ""))
    return Asked.of_address(call.parameters, request.path_params, request.query_params)


def _picture(review: Review, call: Call, limiter: anyio.CapacityLimiter) -> Endpoint:
    def make(asked: Asked, known: str | None) -> Picture | str:
        state = review.session.state
        position, side = checked_position(state, asked["p"]), asked["side"]
        if side not in SIDES:
            raise RefusedError(400, f"side is {side}; give one of {', '.join(map(str, SIDES))}")
        if asked["of"] is not None and not state.embeddings.origin.startswith(asked["of"]):
            raise RefusedError(409, "the run was embedded anew; load the page again")
        name = str(state.embeddings.ids[position])
        try:
            tag = review.pictures.tag(state.originals, state.embeddings, position, side)
            if known == f'"{tag}"':
                return tag
            return review.pictures.picture(state.originals, state.embeddings, position, side)
        except (GoneError, Unreadable) as error:
            raise RefusedError(404, f"{name}: {error}") from None
        except OSError as error:
            raise RefusedError(404, f"{name}: the image can't be read ({error.strerror or error})") from None

    async def endpoint(request: Request) -> Response:
        asked = await _asked(call, request)
        found = await to_thread.run_sync(make, asked, request.headers.get("if-none-match"), limiter=limiter)
        tag = found if isinstance(found, str) else found.tag
        # Without an origin it is asked about again each time: after another embedding the position is another image's.
        kept = "no-cache" if asked["of"] is None else f"max-age={FRESH}"
        headers = {"ETag": f'"{tag}"', "Cache-Control": f"private, {kept}"}
        if isinstance(found, str):
            return Response(status_code=304, headers=headers)
        return Response(found.data, media_type=found.kind, headers=headers)

    return endpoint


def _download(review: Review, call: Call, name: str) -> Endpoint:
    async def endpoint(request: Request) -> Response:
        state, cut = await to_thread.run_sync(review.cut_of, await _asked(call, request))
        selection = await to_thread.run_sync(review.runs.selection, state, cut)
        pieces = as_csv(selection) if name.endswith(".csv") else as_lines(selection)
        headers = {"Content-Disposition": f'attachment; filename="{name}"'}
        return StreamingResponse(pieces, media_type=f"{call.gives}; charset=utf-8", headers=headers)

    return endpoint


def _events(review: Review) -> Endpoint:
    async def endpoint(_: Request) -> Response:
        check_room(review)
        headers = {"X-Accel-Buffering": "no"}  # a proxy in between is not to gather them
        return StreamingResponse(review.hub.stream(), media_type="text/event-stream", headers=headers)

    return endpoint


async def _description(_: Request) -> Response:
    return answer(description())


# ---- the page ------------------------------------------------------------------------------------------------------


def _page(files: dict[str, PageFile]) -> Endpoint:
    async def endpoint(request: Request) -> Response:
        return _sent(files.get(request.path_params["name"]), request)

    return endpoint


def _file(files: dict[str, PageFile], name: str) -> Endpoint:
    async def endpoint(request: Request) -> Response:
        return _sent(files.get(name), request)

    return endpoint


def _sent(file: PageFile | None, request: Request) -> Response:
    if file is None:
        raise HTTPException(404)
    headers = {"ETag": f'"{file.tag}"', "Cache-Control": "private, no-cache"}
    if request.headers.get("if-none-match") == headers["ETag"]:
        return Response(status_code=304, headers=headers)
    return Response(file.data, media_type=file.kind, headers=headers)


# ---- errors --------------------------------------------------------------------------------------------------------


async def _told(_: Request, error: Exception) -> Response:
    """Answer what a person can act on with its line."""
    if isinstance(error, RefusedError):
        return answer({"error": one_line(error), **error.more}, error.status)
    status = 400 if isinstance(error, UsageError) else 423 if isinstance(error, LockedError) else 409
    return answer({"error": one_line(error)}, status)


async def _of_the_disk(request: Request, error: Exception) -> Response:
    """Answer what a full disk or a folder that can't be written makes impossible."""
    assert isinstance(error, OSError)
    if error.errno not in DISK:
        log.error("%s failed", request.url.path, exc_info=error)
        return await _fault(request, error)
    line = f"{error.strerror}: {error.filename or 'the run folder'}; free some space, or make the folder writable"
    return answer({"error": line}, 409)


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    lines = {404: "there is nothing at this address", 405: f"{request.method} is not for this address"}
    found = answer({"error": lines.get(error.status_code, str(error.detail))}, error.status_code)
    found.headers.update(error.headers or {})
    return found


async def _fault(_: Request, error: Exception) -> Response:
    """Answer an error of this program; the server's log shows it whole. This one passes by the guard's headers."""
    found = answer({"error": f"the server failed ({type(error).__name__}); its log says more"}, 500)
    for name, value in HEADERS:
        found.headers[name.decode()] = value.decode()
    return found
