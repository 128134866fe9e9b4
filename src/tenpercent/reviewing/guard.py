"""Guard in front of every call: checks who asks and from where, and sets the headers that restrict the browser."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import re
import socket
from collections.abc import Iterable, Mapping
from contextlib import suppress
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders, QueryParams
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
ANY = frozenset({"0.0.0.0", "::"})  # addresses that listen on all interfaces
READS = frozenset({"GET", "HEAD"})
HOST = re.compile(r"(\[[0-9a-f.:]+\]|[^\s,/?#@:\[\]]+)(:[0-9]{0,5})?")  # a name and an optional port
USUAL = {"http": 80, "https": 443}  # ports

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
    "font-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors "
)
HEADERS = {
    "content-security-policy": f"{POLICY}'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "x-robots-tag": "noindex",
}


def cookie_name(token: str) -> str:
    """Return the name of the cookie that holds the token.

    Cookies ignore ports: two servers on one machine would overwrite each other's under one name.
    """
    return f"tenpercent-{hashlib.blake2b(token.encode(), digest_size=4).hexdigest()}"


class Guard:
    """An ASGI application around another, which admits only requests with the token and from a known host.

    The printed address carries the token once; it is answered with a cookie and the address without it.
    """

    def __init__(
        self, app: ASGIApp, token: str, hosts: Iterable[str] = (), framed_by: str | None = None
    ) -> None:
        """Wrap an application.

        Args:
            app: the application.
            token: the secret.
            hosts: names allowed in ``Host`` beside those of this machine's loopback; ``0.0.0.0`` allows
                all numeric addresses, and this machine's own names: a foreign page whose name is pointed here (DNS
                rebinding) still comes under that name.
            framed_by: the one origin whose pages may show this one in a frame, checked by the caller; None for none.
        """
        self._headers = {**HEADERS, "cache-control": "no-store"}
        if framed_by is not None:
            self._headers["content-security-policy"] = POLICY + framed_by
        self._app, self._token, self._cookie = app, token.encode(), cookie_name(token)
        named = {host.strip("[]").lower() for host in hosts}
        self._any = bool(named & ANY)
        own = {socket.gethostname().lower(), socket.getfqdn().lower()} if self._any else set()
        self._hosts = LOOPBACK | named | own

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer or pass on one connection."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif scope["type"] == "http":
            await (self._own_answer(scope) or self._app)(scope, receive, _with_headers(send, self._headers))
        else:
            await send({"type": "websocket.close", "code": 1008})

    def _own_answer(self, scope: Scope) -> Response | None:
        """Return the answer to a request that is refused, or brings the token; None for others."""
        headers, reads, front = Headers(scope=scope), scope["method"] in READS, scope["path"] == "/"
        refused = self._stranger(headers, reads)
        if refused is not None:
            return _refusal(refused)
        given = QueryParams(scope["query_string"]).get("token")
        if reads and front and given:
            return self._welcome(given)
        if not self._known(headers):
            line = "this page needs its token; open the address that tenpercent review printed"
            return _refusal(line, as_page=front)
        return None

    def _stranger(self, headers: Headers, reads: bool) -> str | None:
        """Return why the origin of a request is wrong, or None."""
        host = _only(headers, "host") or ""
        named = HOST.fullmatch(host.lower())
        if named is None or not self._is_here(named[1].strip("[]")):
            return f"the host {host[:80]!r} is not this machine; open the printed address"
        if reads:
            return None
        origin = _only(headers, "origin") or ""
        if "origin" in headers and not _same_place(origin, host):
            return f"the origin {origin[:80]!r} is not {host[:80]!r}; decide on the page itself"
        if _only(headers, "sec-fetch-site") == "cross-site":
            return "the request comes from another site; decide on the page itself"
        return None

    def _is_here(self, name: str) -> bool:
        return name in self._hosts or (self._any and _is_address(name))

    def _known(self, headers: Headers) -> bool:
        """Return whether a cookie holds the token; a proxy's page may send several of the name."""
        pairs = (
            pair.strip().partition("=") for line in headers.getlist("cookie") for pair in line.split(";")
        )
        return any(name == self._cookie and self._is_token(value) for name, _, value in pairs)

    def _is_token(self, given: str) -> bool:
        return hmac.compare_digest(given.encode("utf-8", "surrogatepass"), self._token)

    def _welcome(self, given: str) -> Response:
        """Turn the right token into a cookie, and redirect to the same page without it."""
        if not self._is_token(given):
            return _refusal(
                "the token is wrong; open the address that tenpercent review printed last", as_page=True
            )
        # Without a path the cookie is for the folder of this address, which behind a notebook's proxy is not "/".
        cookie = f"{self._cookie}={self._token.decode()}; HttpOnly; SameSite=Strict"
        return RedirectResponse("./", 303, {"set-cookie": cookie})


def _only(headers: Headers, name: str) -> str | None:
    """Return the value of a header that occurs exactly once, else None."""
    found = headers.getlist(name)
    return found[0] if len(found) == 1 else None


def _same_place(origin: str, host: str) -> bool:
    """Return whether an ``Origin`` names the host and port of ``Host``; the default port where it names none."""
    with suppress(ValueError):  # not an address
        one, other = urlsplit(origin), urlsplit(f"//{host}")
        usual = USUAL.get(one.scheme)
        ports = (one.port or usual, other.port or usual)
        return usual is not None and one.hostname == other.hostname and ports[0] == ports[1]
    return False


def _is_address(name: str) -> bool:
    with suppress(ValueError):
        return bool(ipaddress.ip_address(name))
    return False


def _with_headers(send: Send, usual: Mapping[str, str]) -> Send:
    """Return `send`, which adds the headers that every answer has."""

    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in usual.items():
                headers.setdefault(name, value)
        await send(message)

    return sending


def _refusal(line: str, as_page: bool = False) -> Response:
    """Return an answer of one line, as a page where a person will see it."""
    if not as_page:
        return JSONResponse({"error": line}, 403)
    # The line is one of this module's own, without anything of the request.
    page = f'<!doctype html><html lang="en"><meta charset="utf-8"><title>tenpercent</title><p>{line}.'
    return HTMLResponse(page, 403)
