"""The guard of the review server: no token, no answer; strangers, large bodies and foreign origins stay out."""

from __future__ import annotations

import re
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient
from starlette.types import Message
from starlette.websockets import WebSocketDisconnect

from reviewing import BASE, TOKEN, Page, call, page, raw, run_of_vectors
from tenpercent.reviewing.app import FOLDER, make_app, page_files
from tenpercent.reviewing.guard import HEADERS, cookie_name
from tenpercent.reviewing.requests import MOST_BODY

POSTS = ("/api/decisions", "/api/undo", "/api/redo", "/api/map", "/api/deepen", "/api/select")
SCRIPT = next(f"/page/{name}" for name in page_files(TOKEN) if name.endswith("/api.js"))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rows = np.random.default_rng(0).standard_normal((40, 6)).astype(np.float32)
    return run_of_vectors(tmp_path_factory.mktemp("guard"), rows, np.arange(40) % 2)


@pytest.fixture(scope="module")
def opened(run: Path) -> Iterator[Page]:
    with page(run) as found:
        yield found


@pytest.fixture(scope="module")
def app(run: Path) -> Starlette:
    return make_app(run, TOKEN)


@pytest.fixture(scope="module")
def stranger(run: Path) -> Iterator[TestClient]:
    with TestClient(make_app(run, TOKEN), base_url=BASE, follow_redirects=False) as client:
        yield client


# ---- the token -----------------------------------------------------------------------------------------------------


def test_the_token_becomes_a_cookie_and_leaves_the_address(run: Path) -> None:
    with TestClient(make_app(run, TOKEN), base_url=BASE, follow_redirects=False) as client:
        answer = client.get("/", params={"token": TOKEN})
        assert (answer.status_code, answer.headers["location"]) == (303, "./")
        cookie = answer.headers["set-cookie"]
        assert cookie.split(";")[0] == f"{cookie_name(TOKEN)}={TOKEN}"
        assert "HttpOnly" in cookie
        assert "SameSite=Strict" in cookie
        assert "Domain" not in cookie
        assert client.get("/api/run").status_code == 200


@pytest.mark.parametrize(
    "token",
    [
        "",
        "wrong",
        TOKEN + "x",
        TOKEN[:-1],
        TOKEN.upper(),
        "ü",
        "%00",
        "\ud800".encode("utf-8", "surrogatepass").decode("latin-1"),
    ],
)
def test_a_wrong_token_opens_nothing(stranger: TestClient, token: str) -> None:
    answer = stranger.get("/", params={"token": token})
    assert answer.status_code == 403
    assert "set-cookie" not in answer.headers
    assert (
        stranger.get(
            "/api/run", headers={"cookie": f"{cookie_name(TOKEN)}={token.encode('ascii', 'ignore').decode()}"}
        ).status_code
        == 403
    )


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/api/run",
        SCRIPT,
        "/api/images/0/picture",
        "/download/kept.txt",
        "/api/openapi.json",
        "/nothing",
        "/api/events",
    ],
)
def test_nothing_answers_without_the_token(stranger: TestClient, path: str) -> None:
    answer = stranger.get(path)
    assert answer.status_code == 403
    assert TOKEN not in answer.text


@pytest.mark.parametrize("path", ["/api/run?token=" + TOKEN, SCRIPT + "?token=" + TOKEN])
def test_the_token_counts_at_the_front_door_alone(stranger: TestClient, path: str) -> None:
    assert stranger.get(path).status_code == 403


def test_posts_need_the_cookie_as_well(stranger: TestClient) -> None:
    for path in POSTS:
        assert stranger.post(path, json={}).status_code == 403
        assert stranger.post(f"{path}?token={TOKEN}", json={}).status_code == 403


def test_two_servers_have_two_cookies() -> None:
    assert cookie_name("one") != cookie_name("two")


def test_a_socket_is_not_opened(opened: Page) -> None:
    with pytest.raises(WebSocketDisconnect), opened.client.websocket_connect("/api/events"):
        pass


# ---- who asks, and from where --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "host",
    ["localhost", "127.0.0.1", "[::1]", "localhost:1", "127.0.0.1:8888", "[::1]:65535", "LOCALHOST:80"],
)
def test_hosts_of_this_machine_at_any_port(opened: Page, host: str) -> None:
    assert (
        opened.client.get(
            "/api/run", headers={"host": host, "cookie": f"{cookie_name(TOKEN)}={TOKEN}"}
        ).status_code
        == 200
    )


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:8410",
        "127.0.0.1.evil.example",
        "localhost.evil.example",
        "127.0.0.2",
        "192.168.1.5",
        "",
        "localhost@evil.example",
        "evil.example/localhost",
        "localhost:x",
        "[::1",
        "0.0.0.0",
        "127.0.0.1, evil.example",
        "localhost#evil.example",
        "localhost?x",
        "localhost:123456",
    ],
)
def test_other_hosts_are_turned_away(opened: Page, host: str) -> None:
    answer = opened.client.get("/api/run", headers={"host": host, "cookie": f"{cookie_name(TOKEN)}={TOKEN}"})
    assert answer.status_code == 403
    assert "error" in answer.json()


def test_a_host_that_was_asked_for_is_known_and_no_other(run: Path) -> None:
    cookie = {"cookie": f"{cookie_name(TOKEN)}={TOKEN}"}
    with page(run, ("box.example",)) as opened:
        assert opened.client.get("/api/run", headers={"host": "box.example:9", **cookie}).status_code == 200
        assert opened.client.get("/api/run", headers={"host": "10.0.0.7", **cookie}).status_code == 403
    with page(run, ("0.0.0.0",)) as opened:
        for host in ("10.0.0.7:8410", "[fe80::1]", socket.gethostname()):
            assert opened.client.get("/api/run", headers={"host": host, **cookie}).status_code == 200
        assert opened.client.get("/api/run", headers={"host": "evil.example", **cookie}).status_code == 403


@pytest.mark.parametrize(
    "origin",
    [
        "http://evil.example",
        "null",
        "http://127.0.0.1:9999",
        "http://localhost:8410",
        "https://127.0.0.1:8410.evil.example",
        "file://",
        "",
        "http://127.0.0.1:x",
        "127.0.0.1:8410",
        "http://127.0.0.1",
    ],
)
def test_a_post_from_another_origin_does_nothing(opened: Page, origin: str) -> None:
    for path in POSTS:
        answer = opened.client.post(path, json={}, headers={"origin": origin})
        assert answer.status_code == 403, path
    assert opened.get("/api/decisions")["total"] == 0


def test_a_post_from_the_page_itself_or_without_an_origin_is_heard(opened: Page) -> None:
    for headers in ({"origin": BASE}, {"origin": "https://127.0.0.1:8410"}, {}):
        assert opened.client.post("/api/undo", json={}, headers=headers).status_code == 200
    headers = {"origin": "https://localhost", "host": "localhost", "cookie": f"{cookie_name(TOKEN)}={TOKEN}"}
    assert opened.client.post("/api/undo", json={}, headers=headers).status_code == 200


def test_a_post_that_another_site_sent_without_an_origin_is_not(opened: Page) -> None:
    answer = opened.client.post("/api/undo", json={}, headers={"sec-fetch-site": "cross-site"})
    assert answer.status_code == 403


def test_other_methods_are_not_for_these_addresses(opened: Page) -> None:
    for method in ("PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"):
        answer = opened.client.request(method, "/api/run")
        assert answer.status_code == 405
        assert (
            opened.client.request(method, "/api/run", headers={"origin": "http://evil.example"}).status_code
            == 403
        )


# ---- what is sent --------------------------------------------------------------------------------------------------


def test_a_large_body_is_refused_whether_it_says_so_or_not(opened: Page) -> None:
    just, over = b" " * (MOST_BODY - 2) + b"{}", b" " * MOST_BODY + b"{}"
    json = {"content-type": "application/json"}
    assert opened.client.post("/api/undo", content=just, headers=json).status_code == 200
    assert opened.client.post("/api/undo", content=over, headers=json).status_code == 413

    def pieces() -> Iterator[bytes]:
        for _ in range(100):
            yield b" " * 1024

    assert opened.client.post("/api/undo", content=pieces(), headers=json).status_code == 413
    wrong = {**json, "content-length": "9" * 30}
    assert opened.client.post("/api/undo", content=b"{}", headers=wrong).status_code == 413


@pytest.mark.parametrize(
    "kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", ""]
)
def test_what_a_form_of_another_site_can_send_is_not_taken(opened: Page, kind: str) -> None:
    answer = opened.client.post("/api/undo", content=b"{}", headers={"content-type": kind})
    assert answer.status_code == 415


@pytest.mark.parametrize("body", [b"", b"{}", b'{"number": null}'])
def test_bodies_that_say_nothing_are_fine_where_nothing_is_needed(opened: Page, body: bytes) -> None:
    assert (
        opened.client.post(
            "/api/undo", content=body, headers={"content-type": "application/json; charset=utf-8"}
        ).status_code
        == 200
    )


@pytest.mark.parametrize(
    "body",
    [
        b"[]",
        b"1",
        b"null x",
        b"\xff\xfe",
        b"{",
        b'{"number": NaN}',
        b'{"number": 1e999}',
        b'{"number": "1"}',
        b'{"number": true}',
        b'{"number": 99999999999999999999}',
        b"[" * 60_000,
    ],
)
def test_bodies_that_are_no_object_of_such_values_are_not(opened: Page, body: bytes) -> None:
    answer = opened.client.post("/api/undo", content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 400, answer.text
    assert "\n" not in answer.json()["error"]


def test_a_page_that_leaves_before_its_body_has_come_is_no_failure(app: Starlette) -> None:
    told: list[int] = []

    async def send(message: Message) -> None:
        told.append(message.get("status", 0))

    async def receive() -> Message:
        return {"type": "http.disconnect"}

    cookie = f"{cookie_name(TOKEN)}={TOKEN}".encode()
    headers = [(b"host", b"localhost"), (b"cookie", cookie), (b"content-type", b"application/json")]
    scope = {"type": "http", "method": "POST", "path": "/api/undo", "query_string": b"", "headers": headers}
    call(app, scope, receive, send)
    assert told[0] == 400


def test_a_value_without_a_letter_is_not_given(opened: Page) -> None:
    usual = opened.get("/api/groups")
    assert opened.client.get("/api/groups?order=&limit=&keep=&decided=&class=&unknown=").json() == usual
    assert "p is 'x'" in opened.get("/api/images/x", 400)["error"]
    assert opened.get("/api/images/0", 400, keep="-1")["error"] == "keep is -1.0; give a number from 0 to 1"
    line = opened.get("/api/search", 400, limit="1e1")["error"]
    assert line == "limit is '1e1'; give a whole number from 1 to 200"


# ---- what a browser may keep --------------------------------------------------------------------------------------


def test_a_browser_keeps_files_that_no_other_server_can_have_given_it(opened: Page, tmp_path: Path) -> None:
    """Whatever listened here before may have left anything in the browser, under any address it could guess."""
    assert opened.client.get(SCRIPT).headers["cache-control"] == "private, max-age=31536000, immutable"
    for path in ("/", "/api/run"):
        assert opened.client.get(path).headers["cache-control"] == "no-store"
    shutil.copytree(FOLDER, tmp_path / "page")
    assert set(page_files(TOKEN, tmp_path / "page")) == set(page_files(TOKEN))
    (tmp_path / "page" / "api.js").write_text("// another version")
    for others in (page_files("another token"), page_files(TOKEN, tmp_path / "page")):
        assert set(others) & set(page_files(TOKEN)) == {"index.html"}


def test_all_scripts_are_named_at_once(opened: Page) -> None:
    """Found by their imports alone, they would come one after the other."""
    index = opened.client.get("/").text
    scripts = {name for name in page_files(TOKEN) if name.endswith(".js")}
    assert len(scripts) > 40
    assert sorted(re.findall(r'(?:src|modulepreload" href)="page/(.+?\.js)"', index)) == sorted(scripts)


# ---- what every answer forbids -------------------------------------------------------------------------------------


def test_every_answer_carries_the_headers(opened: Page, stranger: TestClient) -> None:
    asked = [
        "/",
        SCRIPT,
        "/page/none",
        "/api/run",
        "/api/cut?keep=2",
        "/api/images/0/picture",
        "/download/kept.txt",
        "/none",
    ]
    answers = [client.get(path) for client in (opened.client, stranger) for path in asked]
    answers += [stranger.get("/", params={"token": token}) for token in (TOKEN, "x")]
    answers += [
        opened.client.post("/api/undo", json={}, headers={"origin": "null"}),
        opened.client.put("/api/run"),
    ]
    for answer in answers:
        for name, value in HEADERS.items():
            assert answer.headers.get_list(name) == [value], answer.url
        assert answer.headers["cache-control"]
    policy = HEADERS["content-security-policy"]
    assert "unsafe" not in policy
    assert "default-src 'none'" in policy


def test_a_failure_of_the_server_carries_them_too(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tenpercent.reviewing.session import RunSession

    app = make_app(run, TOKEN)
    with TestClient(app, base_url=BASE, raise_server_exceptions=False) as client:
        client.get("/", params={"token": TOKEN})
        monkeypatch.setattr(RunSession, "refresh", lambda self: 1 / 0)
        app.state.review.session._looked = -1e9
        answer = client.get("/api/run")
    assert answer.status_code == 500
    assert "ZeroDivisionError" in answer.json()["error"]
    assert answer.headers["content-security-policy"]


@pytest.mark.parametrize(
    "path",
    [
        "/page/../serve.py",
        "/page/..%2fserve.py",
        "/page/%2e%2e/serve.py",
        "/page//etc/passwd",
        "/page/%2fetc%2fpasswd",
        "/page/..\\serve.py",
        "/page/",
        "/page/index.html%00.js",
        "/page/./index.html",
        "/page/page_files.py",
        "/page/api.js",
        SCRIPT.replace("/api.js", "/../api.js"),
        "//etc/passwd",
        "/api/images/../../run.json",
        "/api/images/%2e%2e%2f%2e%2e%2frun.json/picture",
        "/api/images//etc/passwd/picture",
        "/run.json",
        "/decisions.sqlite",
        "/page/.hidden",
    ],
)
def test_no_path_of_a_client_leads_anywhere(app: Starlette, path: str) -> None:
    assert raw(app, "/api/run") == raw(app, "/page/index.html") == raw(app, SCRIPT) == 200
    assert raw(app, path) in (400, 404)


@pytest.mark.parametrize(
    "position", ["-1", "40", "1e3", "0x1", "١٢٣", "9" * 5000, "abc", "1.0", "0/../1", " 1"]
)
def test_an_image_is_named_by_its_position_alone(app: Starlette, position: str) -> None:
    assert raw(app, f"/api/images/{position}") in (400, 404)
