"""The review page in a notebook: one origin may hold it in a frame, one server a run, none outlives its kernel."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from types import SimpleNamespace
from typing import Any

import pytest
from starlette.testclient import TestClient

import tenpercent as tp
from reviewing import BASE, TOKEN, page
from tenpercent.errors import LockedError, RunFolderError, UsageError
from tenpercent.reviewing.app import make_app
from tenpercent.reviewing.guard import HEADERS

HERE = "http://localhost:8888"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from conftest import write_vectors

    out = tmp_path_factory.mktemp("notebook") / "run"
    tp.run(write_vectors(out.parent), out=out, keep=0.7)
    return out


@pytest.fixture
def parents(tmp_path: Path) -> Iterator[tuple[Path, list[int]]]:
    """Two servers of one folder of pages, as notebook servers are; their folder and ports."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None: ...

    servers = [
        ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path))) for _ in range(2)
    ]
    for server in servers:
        Thread(target=server.serve_forever, daemon=True).start()
    yield tmp_path, [server.server_address[1] for server in servers]
    for server in servers:
        server.shutdown()
        server.server_close()


def test_every_answer_names_the_one_origin_that_may_frame_it(run: Path) -> None:
    with TestClient(make_app(run, TOKEN, framed_by=HERE), base_url=BASE, follow_redirects=False) as client:
        answers = [client.get("/api/run"), client.get("/", params={"token": TOKEN}), client.get("/")]
        answers += [client.get("/api/run"), client.get("/page/none"), client.put("/api/run")]
        assert {answer.status_code for answer in answers} == {403, 303, 200, 404, 405}
        for answer in answers:
            (policy,) = answer.headers.get_list("content-security-policy")
            assert policy == HEADERS["content-security-policy"].replace(
                "ancestors 'none'", f"ancestors {HERE}"
            )
    with page(run) as opened:
        assert opened.client.get("/").headers["content-security-policy"].endswith("frame-ancestors 'none'")


def test_a_frame_opens_in_pages_of_its_origin_and_in_no_other(
    run: Path, parents: tuple[Path, list[int]], chromium: Any
) -> None:
    folder, (port, other) = parents
    allowed = f"http://localhost:{port}"
    review = tp.open_review(run, origin=f"{allowed}/lab/tree/a.ipynb?token=x", port=0)
    (folder / "notebook.html").write_text(f"<!doctype html>{review._repr_html_()}")
    (folder / "bare.html").write_text(f"<!doctype html><iframe src='{review.address}'></iframe>")
    seen = chromium.new_context().new_page()
    try:
        seen.goto(f"{allowed}/notebook.html")
        seen.frame_locator("iframe").locator("#counts b").wait_for()
        seen.frame_locator("iframe").locator(".card").first.wait_for()
        for stranger in (f"http://localhost:{other}", f"http://127.0.0.1:{port}"):
            seen.goto(f"{stranger}/bare.html")  # whose cookie the browser has by now
            frame = seen.frames[1]
            frame.wait_for_url("chrome-error:**")
            assert frame.locator("#counts").count() == 0
            seen.goto(f"{stranger}/notebook.html")
            said = seen.get_by_text(
                f"This notebook is shown at {stranger}; the page may be shown at {allowed}"
            )
            said.wait_for()
            assert seen.locator("iframe").count() == 0
    finally:
        seen.context.close()
        review.close()


def test_a_second_call_shows_the_same_page_and_another_origin_replaces_it(
    run: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first = tp.open_review(run, origin=HERE, port=0)
    try:
        with caplog.at_level(logging.WARNING, "tenpercent"):
            assert tp.open_review(str(run), origin=f"{HERE}/lab") is first
            assert caplog.messages == [f"{run.resolve()} is open already; this is the same page"]
            second = tp.open_review(run, origin="http://127.0.0.1:8888", port=0)
        assert second.origin == "http://127.0.0.1:8888" and second.address != first.address
        assert f"{run.resolve()} was open for {HERE}; that page is closed now" in caplog.messages
        assert not first._thread.is_alive()
    finally:
        second.close()
    second.close()  # a second time does nothing
    again = tp.open_review(run, origin=HERE, port=0)
    assert again is not first and again is not second
    again.close()


CODE = """
import sys, tenpercent as tp
print(tp.open_review(sys.argv[1], origin="http://localhost", port=0), flush=True)
input()
"""


def test_another_process_is_told_and_a_page_ends_with_its_kernel(run: Path) -> None:
    command = [sys.executable, "-c", CODE, str(run)]
    kernel = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert kernel.stdin is not None and kernel.stdout is not None
    assert kernel.stdout.readline().endswith("in frames of http://localhost)\n")
    with pytest.raises(
        LockedError, match=f"held by process {kernel.pid} .*; close it there, or run: tenpercent"
    ):
        tp.open_review(run, origin=HERE)
    kernel.stdin.close()  # `input` fails: the process ends without closing the page
    kernel.wait(20)
    tp.open_review(run, origin=HERE, port=0).close()


def test_the_origin_is_that_of_the_server_that_started_the_kernel(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = SimpleNamespace(jupyter_runtime_dir=lambda: str(tmp_path))
    monkeypatch.setitem(sys.modules, "jupyter_core", SimpleNamespace(paths=paths))
    monkeypatch.setitem(sys.modules, "jupyter_core.paths", paths)
    monkeypatch.setenv("JPY_PARENT_PID", "17")
    none = "no Jupyter server started this process; give origin='http://localhost:8888'"
    with pytest.raises(UsageError, match=none):
        tp.open_review(run)
    (tmp_path / "jpserver-17.json").write_text(
        json.dumps({"url": "http://localhost:8901/user/x/", "pid": 17})
    )
    review = tp.open_review(run, port=0)
    assert review.origin == "http://localhost:8901"
    assert review.address.startswith("http://localhost:")
    review.close()
    monkeypatch.delenv("JPY_PARENT_PID")
    with pytest.raises(UsageError, match=none):
        tp.open_review(run)


@pytest.mark.parametrize(
    "origin",
    [
        "*",
        "'self'",
        "",
        8888,
        "localhost:8888",
        "https://localhost:8888",
        "http://*:8888",
        "http://localhost:*",
        "http://localhost.evil.example",
        "http://evil.example@evil.example/localhost",
        "http://x@localhost:8888",
        "http://localhost:8888; script-src *",
        "vscode-webview://1a2b",
        "http://[::1]:8888",
    ],
)
def test_no_origin_but_a_notebook_on_this_machine_is_taken(run: Path, origin: Any) -> None:
    with pytest.raises(UsageError, match="a frame works in notebooks at http://localhost:PORT") as refused:
        tp.open_review(run, origin=origin)
    shown = "@" not in str(origin)  # it may be a token
    assert (
        (f"origin is {origin!r}; " if shown else "without a user name") in str(refused.value)
        and "x@" not in str(refused.value)
        and "\n" not in str(refused.value)
    )


def test_a_folder_without_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match="not a run folder"):
        tp.open_review(tmp_path, origin=HERE)
