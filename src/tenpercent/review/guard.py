"""What stands before every call: who may ask, from where, how much, and what each answer forbids the browser."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import json
import socket
from collections.abc import Iterable
from urllib.parse import parse_qs, urlsplit

from starlette.types import ASGIApp, Message, Receive, Scope, Send

MOST_BODY = 64 * 1024
LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
ANY = frozenset({"0.0.0.0", "::"})  # addresses that listen to everybody
READS = frozenset({"GET", "HEAD"})

HEADERS = (
    (
        b"content-security-policy",
        b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
        b"font-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"x-robots-tag", b"noindex"),
)


def cookie_name(token: str) -> str:
    """Return the name of the cookie that holds the token.

    Cookies know no ports: two servers of one machine would overwrite each other's if both had one name.
    """
    return f"tenpercent-{hashlib.blake2b(token.encode(), digest_size=4).hexdigest()}"


class Guard:
    """An ASGI application around another, which lets through only who holds the token and comes from a known host.

    The printed address carries the token once; it is answered with a cookie and the address without it.
    """

    def __init__(self, app: ASGIApp, token: str, hosts: Iterable[str] = ()) -> None:
        """Take the application to guard.

        Args:
            app: what answers.
            token: the secret.
            hosts: names that may stand in ``Host`` beside those of this machine's loopback; ``0.0.0.0`` allows
                all addresses in numbers, and this machine's own names: a page from elsewhere that has its name lead
                here (DNS rebinding) still comes under that name.
        """
        self._app, self._token, self._cookie = app, token.encode(), cookie_name(token)
        named = {host.strip("[]").lower() for host in hosts}
        self._any = bool(named & ANY)
        own = {socket.gethostname().lower(), socket.getfqdn().lower()} if self._any else set()
        self._hosts = LOOPBACK | named | own

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or hand on, one connection."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif scope["type"] == "http":
            await self._http(scope, receive, _with_headers(send))
        else:
            await send({"type": "websocket.close", "code": 1008})

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = _Headers(scope)
        reads = scope["method"] in READS
        refused = self._stranger(headers, reads)
        if refused is not None:
            await _refuse(send, 403, refused)
            return
        given = parse_qs(scope["query_string"].decode("latin-1")).get("token")
        if reads and given is not None and scope["path"] == "/":
            await self._welcome(send, given[-1])
        elif not self._known(headers):
            line = "this page needs its token; open the address that tenpercent review printed"
            await _refuse(send, 403, line, as_page=scope["path"] == "/")
        elif reads:
            await self._app(scope, receive, send)
        else:
            await self._with_body(scope, headers, receive, send)

    def _stranger(self, headers: _Headers, reads: bool) -> str | None:
        """Return why a request comes from the wrong place, or None."""
        host = headers.only("host")
        name = None if host is None else _name(host)
        if host is None or name is None or not self._is_here(name):
            return f"the host {(host or '')[:80]!r} is not this machine; open the address that was printed"
        if reads:
            return None
        origin = headers.only("origin")
        if headers.count("origin") and (origin is None or not _same_place(origin, host)):
            return (
                f"the origin {(origin or '')[:80]!r} is another than {host[:80]!r}; decide on the page itself"
            )
        if headers.only("sec-fetch-site") == "cross-site":
            return "another site's page has sent this; decide on the page itself"
        return None

    def _is_here(self, name: str) -> bool:
        return name in self._hosts or (self._any and _is_address(name))

    def _known(self, headers: _Headers) -> bool:
        """Whether the cookie holds the token."""
        for line in headers.all("cookie"):
            for pair in line.split(";"):
                name, _, value = pair.strip().partition("=")
                if name == self._cookie and hmac.compare_digest(value.encode("latin-1"), self._token):
                    return True
        return False

    async def _welcome(self, send: Send, given: str) -> None:
        """Turn the right token into a cookie, and lead to the same page without it."""
        if not hmac.compare_digest(given.encode("utf-8", "surrogatepass"), self._token):
            line = "the token is wrong; open the address that tenpercent review printed last"
            await _refuse(send, 403, line, as_page=True)
            return
        # Without a path the cookie is for the folder of this address, which behind a notebook's proxy is not "/".
        cookie = f"{self._cookie}={self._token.decode()}; HttpOnly; SameSite=Strict"
        headers = [(b"location", b"./"), (b"set-cookie", cookie.encode()), (b"content-length", b"0")]
        await send({"type": "http.response.start", "status": 303, "headers": headers})
        await send({"type": "http.response.body", "body": b""})

    async def _with_body(self, scope: Scope, headers: _Headers, receive: Receive, send: Send) -> None:
        """Read a body of a decent size and hand it on whole."""
        line = f"the body has more than {MOST_BODY:,} bytes; send less at once"
        length = headers.only("content-length") or "0"
        if not length.isdecimal() or int(length[:20]) > MOST_BODY:
            await _refuse(send, 413, line)
            return
        body, more = b"", True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            body += message.get("body", b"")
            more = message.get("more_body", False)
            if len(body) > MOST_BODY:
                await _refuse(send, 413, line)
                return
        await self._app(scope, _replayed(body, receive), send)


class _Headers:
    """The headers of a request, names in lower case."""

    def __init__(self, scope: Scope) -> None:
        self._pairs = [
            (name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in scope["headers"]
        ]

    def all(self, name: str) -> list[str]:
        return [value for key, value in self._pairs if key == name]

    def count(self, name: str) -> int:
        return len(self.all(name))

    def only(self, name: str) -> str | None:
        """The value of a header that is there exactly once."""
        found = self.all(name)
        return found[0] if len(found) == 1 else None


def _name(host: str) -> str | None:
    """Return the name of a ``Host`` without its port, in lower case; None where it is none."""
    try:
        parts = urlsplit(f"//{host}")
        _ = parts.port  # raises where it is no number
    except ValueError:
        return None
    if parts.path or parts.query or parts.fragment or "@" in host:
        return None
    return parts.hostname


def _same_place(origin: str, host: str) -> bool:
    """Whether an ``Origin`` names the host and port of ``Host``; without a port, the usual one of its scheme."""
    try:
        one, other = urlsplit(origin), urlsplit(f"//{host}")
        usual = {"http": 80, "https": 443}.get(one.scheme)
        return usual is not None and (one.hostname, one.port or usual) == (
            other.hostname,
            other.port or usual,
        )
    except ValueError:
        return False


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _with_headers(send: Send) -> Send:
    """Return `send`, which adds the headers that every answer has."""

    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            own = {name.lower() for name, _ in message.get("headers", ())}
            usual = [*HEADERS, (b"cache-control", b"no-store")]
            added = [(name, value) for name, value in usual if name not in own]
            message = {**message, "headers": [*message.get("headers", ()), *added]}
        await send(message)

    return sending


def _replayed(body: bytes, receive: Receive) -> Receive:
    """Return what gives the body that was read already, and then what comes after it."""
    waiting = [body]

    async def receiving() -> Message:
        if waiting:
            return {"type": "http.request", "body": waiting.pop(), "more_body": False}
        return await receive()

    return receiving


async def _refuse(send: Send, status: int, line: str, as_page: bool = False) -> None:
    """Answer with one line, as a page where a person would see it."""
    if as_page:
        # The line is one of this module's own, without anything of the request.
        body = f'<!doctype html><html lang="en"><meta charset="utf-8"><title>tenpercent</title><p>{line}.'.encode()
        kind = b"text/html; charset=utf-8"
    else:
        body, kind = json.dumps({"error": line}).encode(), b"application/json"
    headers = [(b"content-type", kind), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
