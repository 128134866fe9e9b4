"""Requests made at random from the description of the calls: none of them makes the server fail."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import tenpercent as tp
from fuzzing import requests
from reviewing import Page, flat, page, run_of_vectors
from tenpercent.reviewing.calls import description

DESCRIPTION = description()
DESCRIPTION["paths"].pop("/api/events")  # never ends
DESCRIPTION["paths"]["/api/map"].pop("post")  # compiles for half a minute
MOST = 1_000_000
SEEN: dict[str, set[bool]] = {}  # which calls were answered, and whether well


@pytest.fixture(scope="module", params=["vectors", "digits"])
def opened(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    folder = tmp_path_factory.mktemp("fuzz")
    if request.param == "vectors":
        rows = np.random.default_rng(0).integers(-1, 2, (60, 4)).astype(np.float32) + 0.25
        run = run_of_vectors(folder, rows, np.arange(60) % 3 - 1)
    else:
        run = folder / "digits"
        tp.run("digits", out=run, keep=0.9, embedder=flat)
    with page(run) as found:
        found.run = found.get("/api/run")
        yield found


@settings(max_examples=900, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_no_request_makes_the_server_fail(opened: Page, data: st.DataObject) -> None:
    known = {"origin": opened.run["origin"], "seen": 2**40, "class": "1"}
    asked: dict[str, Any] = data.draw(requests(DESCRIPTION, 40, known))
    headers = {"content-type": asked["kind"]} if asked["method"] == "POST" else {}
    answer = opened.client.request(asked["method"], asked["path"], content=asked["content"], headers=headers)
    assert answer.status_code in (200, 202, 304, 400, 404, 405, 409, 413, 415, 423), answer.text[:300]
    SEEN.setdefault(asked["call"], set()).add(answer.status_code < 400)
    assert len(answer.content) < MOST
    assert answer.headers["x-content-type-options"] == "nosniff"
    kind = answer.headers.get("content-type", "")
    if answer.status_code >= 400:
        line = json.loads(answer.content)["error"]
        assert line
        assert "\n" not in line
        assert "Traceback" not in line
    elif kind == "application/json":
        json.loads(answer.content, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))


def test_every_call_was_asked_for_and_most_of_them_well() -> None:
    calls = {f"{method.upper()} {path}" for path, one in DESCRIPTION["paths"].items() for method in one}
    assert calls - SEEN.keys() <= {"GET /api/openapi.json"}
    # What is taken back may come to nothing at all; there is no map, and vectors have no pictures.
    assert {call for call in calls if True not in SEEN.get(call, {True})} <= {"GET /api/map/points"}
