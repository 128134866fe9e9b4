"""Requests made at random from the description of the calls: none of them makes the server fail."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import tenpercent as tp
from examples import some
from fuzzing import requests
from reviewing import Page, flat, page, run_of_vectors
from tenpercent.reviewing.calls import description

DESCRIPTION = description()
DESCRIPTION["paths"].pop("/api/events")  # never ends
DESCRIPTION["paths"]["/api/map"].pop("post")  # compiles for half a minute
MOST = 1_000_000


@pytest.fixture
def pages(tmp_path: Path) -> Iterator[tuple[Page, Page]]:
    """Those of a run of vectors and of one with pictures."""
    rows = np.random.default_rng(0).integers(-1, 2, (60, 4)).astype(np.float32) + 0.25
    tp.run("digits", out=tmp_path / "digits", keep=0.9, embedder=flat)
    vectors = run_of_vectors(tmp_path, rows, np.arange(60) % 3 - 1)
    with page(vectors) as one, page(tmp_path / "digits") as other:
        for opened in (one, other):
            opened.run = opened.get("/api/run")
        yield one, other


def test_no_request_makes_the_server_fail(pages: tuple[Page, Page]) -> None:
    seen: dict[str, set[bool]] = {}  # which calls were answered, and whether well

    @settings(
        max_examples=some(900), deadline=None, derandomize=True, suppress_health_check=list(HealthCheck)
    )
    @given(data=st.data(), opened=st.sampled_from(pages))
    def ask(data: st.DataObject, opened: Page) -> None:
        _ask(data, opened, seen)

    ask()
    calls = {f"{method.upper()} {path}" for path, one in DESCRIPTION["paths"].items() for method in one}
    assert calls - seen.keys() <= {"GET /api/openapi.json"}
    # What is taken back may come to nothing at all; there is no map, and vectors have no pictures.
    assert {call for call in calls if True not in seen.get(call, {True})} <= {"GET /api/map/points"}


def _ask(data: st.DataObject, opened: Page, seen: dict[str, set[bool]]) -> None:
    known = {"origin": opened.run["origin"], "seen": 2**40, "class": "1"}
    asked: dict[str, Any] = data.draw(requests(DESCRIPTION, 40, known))
    headers = {"content-type": asked["kind"]} if asked["method"] == "POST" else {}
    answer = opened.client.request(asked["method"], asked["path"], content=asked["content"], headers=headers)
    assert answer.status_code in (200, 202, 304, 400, 404, 405, 409, 413, 415, 423), answer.text[:300]
    seen.setdefault(asked["call"], set()).add(answer.status_code < 400)
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
