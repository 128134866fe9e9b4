"""The review server: every call on real runs, what two people decide, and what happens to a run while it is open."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tenpercent as tp
from reviewing import Page, flat, page, run_of_vectors, until
from tenpercent.data.store.run_folder import RunFolder
from tenpercent.errors import RunFolderError, StageError, UsageError
from tenpercent.reviewing import maps
from tenpercent.reviewing.cache import Cache
from tenpercent.reviewing.calls import CALLS
from tenpercent.reviewing.serve import serve
from tenpercent.reviewing.session import RunSession
from tenpercent.selection.nearest import nearest_outside
from tenpercent.selection.stored import load_decided


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The digits by their pixels, cut at 0.9: a run with pictures and labels."""
    out = tmp_path_factory.mktemp("review") / "digits"
    tp.embed("digits", out=out, embedder=flat)
    tp.cluster(out, 0.85)
    tp.select(out, keep=0.9)
    return out


@pytest.fixture(scope="module")
def looked(digits: Path) -> Iterator[Page]:
    """The page of a run that nobody decides about."""
    with page(digits) as found:
        yield found


@pytest.fixture
def run(digits: Path, tmp_path: Path) -> Path:
    """A copy to decide about."""
    return shutil.copytree(digits, tmp_path / "run")


@pytest.fixture
def opened(run: Path) -> Iterator[Page]:
    with page(run) as found:
        yield found


# ---- looking -------------------------------------------------------------------------------------------------------


def test_the_run(looked: Page, digits: Path) -> None:
    run = looked.get("/api/run")
    assert (run["n"], run["name"], run["has_images"], run["labelled"]) == (1437, "digits", True, True)
    assert [one["name"] for one in run["classes"]] == list("0123456789")
    assert sum(one["images"] for one in run["classes"]) == 1437
    assert (run["keep"], run["budget"], run["within"], run["layer"]) == (0.9, "class", "class", "end")
    assert run["deepest_keep"] < 0.9
    assert (run["version"], run["undo"], run["redo"], run["decisions_error"]) == (0, False, False, None)
    assert run["command"]["cli"] == f"tenpercent select {digits} --keep 0.9"
    assert not (digits / "decisions.sqlite").exists()


def test_a_cut_is_the_one_of_the_library(looked: Page, digits: Path) -> None:
    merges = load_decided(RunFolder.open(digits))
    for keep in (1.0, 0.97, 0.9, 0.86):
        found = looked.get("/api/cut", keep=keep)
        selection = tp.select(merges, keep=keep)
        sizes = np.bincount(selection.group)
        assert (found["kept"], found["removed"]) == (len(selection.kept), len(selection.removed))
        assert found["redundant_groups"] == int((sizes > 1).sum())
        assert found["largest"] == int(sizes.max())
        assert found["height"] == max(cut.height for cut in selection.classes)
        assert [one["kept"] for one in found["classes"]] == [cut.kept for cut in selection.classes]
        bits = np.unpackbits(np.frombuffer(looked.get("/api/kept", keep=keep), np.uint8), bitorder="little")
        assert bits[:1437].astype(bool).tolist() == selection.kept_by_id.tolist()


def test_a_threshold_cuts_as_well(looked: Page, digits: Path) -> None:
    threshold = looked.get("/api/cut", keep=0.9)["height"] * 0.4
    found = looked.get("/api/cut", threshold=threshold)
    assert found["kept"] == len(
        tp.select(load_decided(RunFolder.open(digits)), tp.Cut(threshold=threshold)).kept
    )
    assert f"--threshold {threshold}" in found["cli"]
    assert looked.get("/api/cut")["keep"] == 0.9


def test_the_commands_make_the_same_cut(opened: Page, run: Path) -> None:
    found = opened.get("/api/cut", keep=0.93)
    scope: dict[str, Any] = {}
    exec(found["python"], scope)
    assert len(scope["selection"].kept) == found["kept"]


def test_a_deeper_cut_than_the_tree_says_so(looked: Page) -> None:
    deepest = looked.get("/api/run")["deepest_keep"]
    for path in (
        "/api/cut",
        "/api/groups",
        "/api/images/0",
        "/api/groups/0",
        "/api/kept",
        "/download/kept.txt",
    ):
        answer = looked.get(path, 409, keep=deepest / 2)
        assert answer["can_deepen"] is True
        assert answer["deepest_keep"] == deepest
        assert "deepen" in answer["error"]
    assert looked.get("/api/cut", keep=deepest)["covered"]


@pytest.mark.parametrize(
    "query",
    [
        {"keep": 0},
        {"keep": 1.5},
        {"keep": "nan"},
        {"keep": "x"},
        {"keep": 0.9, "threshold": 0.1},
        {"threshold": -1},
        {"keep": "1_0"},
    ],
)
def test_a_cut_out_of_range_is_refused_in_a_line(looked: Page, query: dict[str, Any]) -> None:
    line = looked.get("/api/cut", 400, **query)["error"]
    assert "\n" not in line
    assert "keep" in line or "threshold" in line


def by_selection(run: Path, keep: float) -> dict[int, list[tuple[int, bool, float]]]:
    """The groups of two or more of a selection: by smallest position the members, the representative first."""
    selection = tp.select(load_decided(RunFolder.open(run)), keep=keep)
    groups = {}
    for members in selection.group_members():
        shown = [(int(p), bool(selection.kept_by_id[p]), float(selection.dissimilarity[p])) for p in members]
        groups[int(min(members))] = shown
    return groups


@pytest.mark.parametrize("order", ["size", "tightest", "widest", "height", "class", "conflict"])
def test_the_list_of_groups(looked: Page, digits: Path, order: str) -> None:
    wanted = by_selection(digits, 0.87)
    found, offset = [], 0
    while True:
        part = looked.get("/api/groups", keep=0.87, order=order, offset=offset, limit=40)
        assert part["total"] == len(wanted)
        found += part["groups"]
        offset += len(part["groups"])
        if not part["groups"]:
            break
    assert {group["key"] for group in found} == set(wanted)
    for group in found:
        members = wanted[group["key"]]
        assert [(m["p"], m["role"] == "kept", m["d"]) for m in group["members"]] == members[:16]
        assert (group["size"], group["kept"], group["representative"]) == (len(members), 1, members[0][0])
        assert not group["conflict"]
        assert len({m["class_name"] for m in group["members"]}) == 1
    keys = {
        "size": [(-g["size"], g["diameter"], g["key"]) for g in found],
        "tightest": [(g["diameter"], -g["size"], g["key"]) for g in found],
        "widest": [(-g["diameter"], -g["size"], g["key"]) for g in found],
        "height": [(-g["diameter"], g["key"]) for g in found],
        "class": [(g["class_name"], -g["size"], g["diameter"], g["key"]) for g in found],
        "conflict": [(-g["size"], g["diameter"], g["key"]) for g in found],
    }[order]
    assert keys == sorted(keys)


def test_the_list_is_filtered(looked: Page) -> None:
    def groups(**query: Any) -> list[dict[str, Any]]:
        return list(looked.get("/api/groups", keep=0.86, limit=100, **query)["groups"])

    everything = groups()
    assert [g["key"] for g in groups(min_size=3)] == [g["key"] for g in everything if g["size"] >= 3]
    assert all(g["size"] == 2 for g in groups(max_size=2))
    assert {g["class_name"] for g in groups(**{"class": "4"})} == {"4"}
    assert all(any("12" in m["id"] for m in g["members"]) for g in groups(text="12"))
    assert groups(text="no such text") == []
    assert groups(decided="yes") == []
    assert len(groups(decided="no")) == len(everything)
    alone = looked.get("/api/groups", keep=0.9, min_size=1, limit=1)
    assert alone["total"] == looked.get("/api/cut", keep=0.9)["kept"]
    assert "class is" in looked.get("/api/groups", 400, keep=0.9, **{"class": "eleven"})["error"]
    assert "order" in looked.get("/api/groups", 400, keep=0.9, order="random")["error"]


def test_the_page_around_an_image_holds_its_group(looked: Page) -> None:
    total = looked.get("/api/groups", keep=0.88, limit=1)["total"]
    last = looked.get("/api/groups", keep=0.88, offset=total - 1)["groups"][0]
    found = looked.get("/api/groups", keep=0.88, limit=7, around=last["members"][-1]["p"])
    assert found["found"]
    assert found["offset"] == (total - 1) // 7 * 7
    assert last["key"] in {group["key"] for group in found["groups"]}
    shown = {m["p"] for g in looked.get("/api/groups", keep=0.88, limit=100)["groups"] for m in g["members"]}
    sizes = {
        p: looked.get(f"/api/images/{p}", keep=0.88)["group"]["size"] for p in range(60) if p not in shown
    }
    alone = min(p for p, size in sizes.items() if size == 1)
    assert looked.get("/api/groups", keep=0.88, around=alone)["found"] is False


def test_one_group_with_its_tree(looked: Page) -> None:
    deepest = looked.get("/api/run")["deepest_keep"]
    largest = looked.get("/api/groups", keep=deepest)["groups"][0]
    found = looked.get(f"/api/groups/{largest['members'][-1]['p']}", keep=deepest, limit=2, offset=1)
    assert found["key"] == largest["key"]
    assert found["members"] == largest["members"][1:3]
    tree, size = found["dendrogram"], found["size"]
    assert sorted(tree["order"]) == sorted(m["p"] for m in largest["members"])
    assert len(tree["merges"]) == size - 1
    assert tree["merges"][-1][4] == found["diameter"]
    heights = [bracket[4] for bracket in tree["merges"]]
    assert heights == sorted(heights)
    for x1, x2, h1, h2, height in tree["merges"]:
        assert 0 <= x1 < x2 <= size - 1
        assert max(h1, h2) <= height
    shallow = looked.get(f"/api/groups/{largest['key']}", keep=0.97)
    assert shallow["height_next"] is None or shallow["height_next"] >= shallow["diameter"]


def test_one_image(looked: Page, digits: Path) -> None:
    merges = load_decided(RunFolder.open(digits))
    selection = tp.select(merges, keep=0.86)
    for position in (0, 5, *np.flatnonzero(~selection.kept_by_id)[:6].tolist()):
        found = looked.get(f"/api/images/{position}", keep=0.86)
        assert found["id"] == selection.ids[position]
        assert (found["width"], found["height"], found["missing"], found["changed"]) == (8, 8, None, False)
        assert found["role"] == ("kept" if selection.kept_by_id[position] else "removed")
        assert found["d"] == selection.dissimilarity[position]
        assert found["representative"] == selection.representative[position]
        assert found["group"]["size"] == selection.group_size[position]
        other, d = nearest_outside(merges.embeddings.vectors, selection.group, np.asarray([position]))
        assert (found["nearest_outside"]["p"], found["nearest_outside"]["d"]) == (int(other[0]), float(d[0]))


def test_search_labels_and_downloads(looked: Page, digits: Path) -> None:
    found = looked.get("/api/search", text="99", limit=3)
    assert [image["id"] for image in found["images"]] == ["0099", "0199", "0299"]
    assert found["total"] == len([p for p in range(1437) if "99" in f"{p:04d}"])
    assert looked.get("/api/search", text="")["total"] == 0
    codes = np.frombuffer(looked.get("/api/labels", offset=10, limit=20), "<i2")
    selection = tp.select(load_decided(RunFolder.open(digits)), keep=0.9)
    assert selection.labels is not None
    assert codes.tolist() == selection.labels[10:30].tolist()
    rows = list(csv.DictReader(io.StringIO(looked.get("/download/selection.csv", keep=0.9).decode())))
    assert [row["id"] for row in rows if row["kept"] == "true"] == selection.kept.tolist()
    assert looked.get("/download/kept.txt", keep=0.9).decode().split() == selection.kept.tolist()


def test_the_description_names_every_call(looked: Page) -> None:
    found = looked.get("/api/openapi.json")
    described = {(path, method.upper()) for path, one in found["paths"].items() for method in one}
    assert described == {(call.path, call.method) for call in CALLS}
    assert found["openapi"].startswith("3.1")


def test_what_is_not_there(looked: Page) -> None:
    assert "nothing" in looked.get("/api/none", 404)["error"]
    assert "positions go from 0 to 1,436" in looked.get("/api/images/1437", 404)["error"]
    assert looked.get("/api/undo", 405)["error"] == "this address takes no GET"


# ---- deciding ------------------------------------------------------------------------------------------------------


def pair(opened: Page, keep: float = 0.9) -> tuple[int, int]:
    """The representative and the removed image of the tightest group of two."""
    group = opened.get("/api/groups", keep=keep, order="tightest", max_size=2)["groups"][0]
    return group["members"][0]["p"], group["members"][1]["p"]


def test_decisions_change_the_groups_and_can_be_taken_back(opened: Page) -> None:
    representative, other = pair(opened)
    group = opened.decide("prefer", other, keep=0.9, note="sharper")["group"]
    assert (group["representative"], group["decided"]) == (other, True)
    assert group["members"][0]["marks"] == ["prefer"]
    group = opened.decide("keep", representative, keep=0.9)["group"]
    assert [m["role"] for m in group["members"]] == ["kept", "kept too"]
    assert opened.get("/api/run")["counts_by_kind"] == {"prefer": 1, "keep": 1}
    cut = opened.get("/api/cut", keep=0.9)
    assert (cut["decided_groups"], cut["parted"]) == (1, 0)
    answer = opened.post("/api/undo")
    assert (answer["decision"]["kind"], answer["undo"], answer["redo"]) == ("keep", True, True)
    assert opened.get(f"/api/images/{representative}", keep=0.9)["role"] == "removed"
    assert opened.post("/api/redo")["decision"]["kind"] == "keep"
    assert opened.get(f"/api/images/{representative}", keep=0.9)["role"] == "kept too"
    assert opened.post("/api/undo", number=1)["decision"]["number"] == 1
    assert opened.get(f"/api/images/{representative}", keep=0.9)["role"] == "kept"
    listed = opened.get("/api/decisions")
    assert [(d["number"], d["undone"], d["note"]) for d in listed["decisions"]] == [
        (2, False, ""),
        (1, True, "sharper"),
    ]
    assert listed["decisions"][1]["images"] == [{"id": f"{other:04d}", "p": other}]


def test_apart_alone_remove_and_accept(opened: Page, run: Path) -> None:
    representative, other = pair(opened)
    opened.decide("apart", representative, other)
    assert (
        opened.get(f"/api/groups/{representative}", keep=0.9)["key"]
        != opened.get(f"/api/groups/{other}", keep=0.9)["key"]
    )
    opened.decide("alone", other)
    assert opened.get(f"/api/images/{other}", keep=0.9)["group"]["size"] == 1
    gone = opened.decide("remove", other, keep=0.9)
    assert (gone["group"]["kept"], gone["group"]["representative"]) == (0, None)
    found = opened.get(f"/api/images/{other}", keep=0.9)
    assert (found["role"], found["d"], found["representative"]) == ("removed", None, None)
    group = opened.get("/api/groups", keep=0.9)["groups"][0]
    group = opened.decide("accept", *[m["p"] for m in group["members"]], keep=0.9)["group"]
    assert group["accepted"]
    shown = opened.get("/api/groups", keep=0.9, decided="yes", min_size=1)
    assert {g["key"] for g in shown["groups"]} >= {group["key"]}
    found, selection = (
        opened.get("/api/cut", keep=0.9),
        tp.select(load_decided(RunFolder.open(run)), keep=0.9),
    )
    assert (found["kept"], found["removed"]) == (len(selection.kept), len(selection.removed))
    assert [one["kept"] for one in found["classes"]] == [cut.kept for cut in selection.classes]
    assert any("decisions in force" in note for note in found["notes"])
    bits = np.unpackbits(np.frombuffer(opened.get("/api/kept", keep=0.9), np.uint8), bitorder="little")
    assert bits[:1437].astype(bool).tolist() == selection.kept_by_id.tolist()


def test_of_two_contrary_decisions_the_second_sees_the_first(opened: Page, run: Path) -> None:
    with page(run) as other:
        origin, seen = other.get("/api/run")["origin"], 0
        opened.decide("keep", 7)
        answer = other.post("/api/decisions", 409, kind="remove", images=[7], seen=seen, origin=origin)
        assert answer["conflict"]["kind"] == "keep"
        assert answer["conflict"]["images"] == [{"id": "0007", "p": 7}]
        again = other.post(
            "/api/decisions", kind="remove", images=[7], seen=answer["version"], origin=origin, keep=0.9
        )
        assert again["group"]["kept"] == 0
        time.sleep(0.15)  # the other server shares one look at the disk among requests
        assert opened.get("/api/images/7", keep=0.9)["role"] == "removed"


@pytest.mark.parametrize(
    ("body", "line"),
    [
        ({"kind": "burn"}, "kind is"),
        ({"images": []}, "images is"),
        ({"images": [1437]}, "no image 1,437"),
        ({"images": [1, 1]}, "different images"),
        ({"images": ["1"]}, "images is"),
        ({"images": [True]}, "images is"),
        ({"images": list(range(1001))}, "1 to 1,000"),
        ({"kind": "prefer", "images": [1, 1]}, "different images"),
        ({"kind": "apart", "images": [1]}, "2 different images"),
        ({"note": "x" * 2001}, "note is"),
        ({"note": "\ud800"}, "note is"),
        ({"seen": None}, "seen is missing"),
        ({"origin": None}, "origin is missing"),
        ({"keep": 2}, "keep is"),
    ],
)
def test_decisions_that_are_none(looked: Page, body: dict[str, Any], line: str) -> None:
    good = {"kind": "keep", "images": [1], "seen": 0, "origin": looked.get("/api/run")["origin"]}
    content = json.dumps({**good, **body})
    answer = looked.client.post(
        "/api/decisions", content=content, headers={"content-type": "application/json"}
    )
    assert answer.status_code in (400, 404)
    assert line in answer.json()["error"]
    assert looked.get("/api/decisions")["total"] == 0


def test_a_decision_about_other_embeddings_is_refused(looked: Page) -> None:
    answer = looked.post("/api/decisions", 409, kind="keep", images=[1], seen=0, origin="of before")
    assert "embedded again" in answer["error"]


def test_decisions_outlast_the_server_and_another_tree(opened: Page, run: Path) -> None:
    representative, other = pair(opened)
    opened.decide("apart", representative, other)
    tp.cluster(run, keep=0.7)
    with page(run) as again:
        assert again.get("/api/run")["counts_by_kind"] == {"apart": 1}
        assert (
            again.get(f"/api/groups/{representative}", keep=0.75)["key"]
            != again.get(f"/api/groups/{other}", keep=0.75)["key"]
        )


def test_undo_with_nothing_to_undo(opened: Page) -> None:
    assert opened.post("/api/undo")["decision"] is None
    assert opened.post("/api/redo")["decision"] is None
    assert opened.post("/api/undo", number=9)["decision"] is None


def test_a_damaged_file_of_decisions_is_told_and_left_alone(opened: Page, run: Path) -> None:
    opened.decide("keep", 3)
    whole = (run / "decisions.sqlite").read_bytes()
    (run / "decisions.sqlite").write_bytes(b"no database at all" * 300)
    for name in ("decisions.sqlite-wal", "decisions.sqlite-shm"):
        (run / name).unlink(missing_ok=True)
    with page(run) as found:
        about = found.get("/api/run")
        assert "damaged" in about["decisions_error"]
        assert about["decisions_error"] in about["notes"]
        assert found.get("/api/cut", keep=0.9)["kept"] > 0
        assert "damaged" in found.get("/api/decisions")["error"]
        for path, body in (
            ("/api/decisions", {"kind": "keep", "images": [1], "seen": -1, "origin": about["origin"]}),
            ("/api/undo", {}),
            ("/api/redo", {}),
        ):
            assert "damaged" in found.post(path, 409, **body)["error"]
        assert (run / "decisions.sqlite").read_bytes() == b"no database at all" * 300
        (run / "decisions.sqlite").write_bytes(whole)
        time.sleep(0.15)
        assert found.get("/api/run")["counts_by_kind"] == {"keep": 1}


def test_a_full_or_locked_file_of_decisions_is_a_line(
    opened: Page, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened.decide("keep", 3)
    monkeypatch.setattr("tenpercent.decisions.log.WAIT", 0.05)
    holder = sqlite3.connect(run / "decisions.sqlite", isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    answer = opened.decide("keep", 4, status=409)
    assert "locked" in answer["error"]
    holder.execute("ROLLBACK")
    holder.close()
    opened.decide("keep", 4)


@pytest.mark.skipif(os.name != "posix", reason="needs folder permissions")
def test_a_folder_that_can_t_be_written_shows_all_and_decides_nothing(run: Path, tmp_path: Path) -> None:
    """Root may write anywhere, so the folder is looked at by somebody else."""
    script, other = tmp_path / "look.py", shutil.copytree(run, tmp_path / "other")
    script.write_text(
        "import os, sys, logging\n"
        "logging.basicConfig()\n"
        f"sys.path.insert(0, {str(Path(__file__).parents[1] / 'support')!r})\n"
        "from reviewing import page\n"
        f"with page({str(other)!r}) as found:\n"  # as root: what is loaded late must be loaded before
        "    found.get('/api/groups', keep=0.9), found.get('/api/images/1/picture'), found.decide('keep', 1)\n"
        "    found.post('/api/select', keep=0.9)\n"
        "os.setuid(65534) if os.getuid() == 0 else None\n"
        f"with page({str(run)!r}) as found:\n"
        "    assert found.get('/api/cut', keep=0.9)['kept'] > 0\n"
        "    assert found.get('/api/images/1/picture').startswith(b'\\x89PNG')\n"
        "    print(found.decide('keep', 1, status=409)['error'])\n"
        "    print(found.post('/api/select', 409, keep=0.9)['error'])\n"
    )
    for path in (run, *run.rglob("*")):
        path.chmod(0o555 if path.is_dir() else 0o444)
    for parent in tmp_path.parents:  # those that pytest has made for root alone
        if parent.name.startswith(("pytest-", "popen-")):
            parent.chmod(0o755)
    tmp_path.chmod(0o755)
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path / "numba")}
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, env=environment)
    for path in (run, *run.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    if "Permission denied: '/root" in done.stderr or "No module named" in done.stderr:
        pytest.skip(f"nobody else can run this interpreter here: {done.stderr[-300:]}")
    assert done.returncode == 0, done.stderr
    decided, selected = done.stdout.splitlines()
    assert "writable" in decided
    assert "Permission denied" in selected
    assert "writable" in selected
    assert done.stderr.count("pictures can't be cached") == 1
    assert not (run / "decisions.sqlite").exists()


# ---- the run changes while it is open ------------------------------------------------------------------------------


def test_events_tell_other_pages(opened: Page) -> None:
    with opened.client.stream("GET", "/api/events") as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        lines = stream.iter_lines()
        assert next(lines) == "retry: 1000"
        other = threading.Timer(0.2, lambda: opened.decide("keep", 5))
        other.start()
        told = [line for line in (next(lines) for _ in range(4)) if line]
        other.join()
    assert told[:2] == ["event: decisions", 'data: {"version": 1}']


def test_events_tell_of_what_another_process_decides(opened: Page, run: Path) -> None:
    from tenpercent.decisions.log import DecisionLog, ImageName, Kind

    with opened.client.stream("GET", "/api/events") as stream:
        lines = stream.iter_lines()
        next(lines)
        threading.Timer(1.2, lambda: DecisionLog(run).add(Kind.KEEP, [ImageName("0005")])).start()
        told = [line for line in (next(lines) for _ in range(4)) if line]
    assert told[:2] == ["event: decisions", 'data: {"version": 1}']
    assert opened.get("/api/images/5", keep=0.9)["marks"] == ["keep"]


@pytest.mark.parametrize("decided", [False, True])
def test_deepening(opened: Page, run: Path, decided: bool) -> None:
    if decided:
        opened.decide("apart", *pair(opened))
        opened.decide("keep", 11, 12)
    assert opened.post("/api/deepen", 202, keep=0.6)["state"] in ("computing", "ready")
    found = until(opened, "/api/deepen")
    assert (found["state"], found["error"]) == ("ready", None)
    assert found["deepest_keep"] <= 0.6
    selection = tp.select(load_decided(RunFolder.open(run)), keep=0.6)
    assert opened.get("/api/cut", keep=0.6)["kept"] == len(selection.kept)
    assert opened.get("/api/run")["keep"] == 0.9  # what was selected stays
    assert opened.post("/api/deepen", 202, keep=0.65)["state"] == "ready"


def test_deepening_that_is_refused_says_why(opened: Page, run: Path) -> None:
    from tenpercent.data.store.run_folder import Stage

    with RunFolder.open(run).lock(Stage.CLUSTER):
        opened.post("/api/deepen", 202, keep=0.6)
        found = until(opened, "/api/deepen")
    assert found["state"] == "failed"
    assert "held by" in found["error"]
    with RunFolder.open(run).lock(Stage.SELECT):
        assert "held by" in opened.post("/api/select", 423, keep=0.9)["error"]


def test_selecting_stores_what_select_stores(opened: Page, run: Path) -> None:
    opened.decide("keep", 1)
    found = opened.post("/api/select", keep=0.88)
    stored = tp.Selection.load(run / "selection.parquet")
    assert (found["kept"], found["removed"]) == (len(stored.kept), len(stored.removed))
    assert opened.get("/api/run")["keep"] == 0.88
    assert "deepen" in opened.post("/api/select", 409, keep=0.3)["error"]


def test_a_selection_made_elsewhere_shows(opened: Page, run: Path) -> None:
    tp.select(run, tp.Cut(keep=0.95, min_per_class=3))
    time.sleep(0.15)
    found = opened.get("/api/run")
    assert (found["keep"], found["min_per_class"]) == (0.95, 3)
    assert "--min-per-class 3" in found["command"]["cli"]
    tp.select_by(run, 0.9, strategy="random")
    time.sleep(0.15)
    found = opened.get("/api/run")
    assert found["strategy"] == "random"
    assert any("chosen by random" in note for note in found["notes"])


def test_the_map(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int] = []

    def project(vectors: np.ndarray, tell: Any) -> maps.Projection:
        made.append(len(vectors))
        tell(0.5)
        ramp = np.arange(len(vectors), dtype=np.uint16)
        return maps.Projection(ramp, ramp[::-1].copy(), "a ramp")

    monkeypatch.setattr("tenpercent.reviewing.maps.project", project)
    with page(run) as opened:
        assert opened.get("/api/map")["state"] == "none"
        assert "no map yet" in opened.get("/api/map/points", 409)["error"]
        opened.post("/api/map", 202)
        assert until(opened, "/api/map")["method"] == "a ramp"
        points = np.frombuffer(opened.get("/api/map/points", offset=2, limit=3), "<u2").reshape(-1, 2)
        assert points.tolist() == [[2, 1434], [3, 1433], [4, 1432]]
        assert opened.post("/api/map", 202)["state"] == "ready"
    with page(run) as opened:
        assert opened.get("/api/map")["state"] == "ready"
        (run / "review" / "map.parquet").write_bytes(b"broken")
    with page(run) as opened:
        assert opened.get("/api/map")["state"] == "none"
        opened.post("/api/map", 202)
        assert until(opened, "/api/map")["state"] == "ready"
    assert made == [1437, 1437]


def test_a_map_that_fails_says_why(opened: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "umap", None)
    opened.post("/api/map", 202)
    found = until(opened, "/api/map")
    assert found["state"] == "failed"
    assert "pip install 'tenpercent[review]'" in found["error"]


def test_the_projection_is_the_same_each_time_and_keeps_neighbours(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(3)
    of = rng.integers(0, 4, 300)
    vectors = (rng.standard_normal((4, 16))[of] + 0.1 * rng.standard_normal((300, 16))).astype(np.float32)
    vectors[10:14] = vectors[10]
    told: list[float | None] = []
    monkeypatch.setattr(maps, "SAMPLE", 200)
    one, two = maps.project(vectors, told.append), maps.project(vectors, told.append)
    assert one.x.tobytes() + one.y.tobytes() == two.x.tobytes() + two.y.tobytes()
    assert "200 images drawn at random" in one.method
    assert told[-1] == 1.0
    points = np.column_stack([one.x, one.y]).astype(float)
    d = np.linalg.norm(points[:, None] - points[None], axis=2)
    np.fill_diagonal(d, np.inf)
    assert (of[d.argmin(axis=1)] == of).mean() > 0.95
    few = maps.project(vectors[:3], told.append)
    assert "too few" in few.method
    assert max(few.x.max(), few.y.max()) == maps.SIDE


# ---- runs of every kind --------------------------------------------------------------------------------------------


def test_vectors_alone_without_labels_or_a_selection(tmp_path: Path) -> None:
    rows = np.random.default_rng(1).integers(-1, 2, (60, 4)).astype(np.float32) + 0.5
    with page(run_of_vectors(tmp_path, rows, None)) as opened:
        run = opened.get("/api/run")
        assert (run["has_images"], run["labelled"], run["classes"], run["keep"]) == (False, False, [], 0.9)
        assert "has no images" in run["images_note"]
        assert any("Nothing has been selected yet" in note for note in run["notes"])
        assert opened.get("/api/cut", keep=0.6)["kept"] == 36
        group = opened.get("/api/groups", keep=0.6)["groups"][0]
        assert not any(member["missing"] for member in group["members"])
        assert "has no images" in opened.get("/api/images/0/picture", 404)["error"]
        assert opened.get("/api/images/0", keep=0.6)["missing"] is None
        opened.decide("prefer", group["members"][1]["p"])
        assert set(np.frombuffer(opened.get("/api/labels"), "<i2").tolist()) == {-1}


def test_labels_that_conflict_within_groups(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    rows = rng.standard_normal((50, 5)).astype(np.float32)
    rows[25:] = rows[:25] + 0.01 * rng.standard_normal((25, 5)).astype(np.float32)
    labels = rng.integers(-1, 3, 50)
    np.save(tmp_path / "v.npy", rows)
    np.save(tmp_path / "l.npy", labels)
    tp.embed(tmp_path / "v.npy", out=tmp_path / "run", options=tp.SourceOptions(labels=tmp_path / "l.npy"))
    tp.cluster(tmp_path / "run", 0.4, within="all")
    with page(tmp_path / "run") as opened:
        groups = opened.get("/api/groups", keep=0.5, order="conflict", limit=100)["groups"]
        flags = [group["conflict"] for group in groups]
        assert flags == sorted(flags, reverse=True)
        assert any(flags)
        assert not all(flags)
        for group in groups:
            assert group["conflict"] == (len({m["class_name"] for m in group["members"]} - {None}) > 1)
        selection = tp.select(load_decided(RunFolder.open(tmp_path / "run")), keep=0.5)
        kept = [int(np.sum(labels[selection.kept_by_id] == code)) for code in range(3)]
        assert [one["kept"] for one in opened.get("/api/cut", keep=0.5)["classes"]] == kept


def test_one_image_alone(tmp_path: Path) -> None:
    with page(run_of_vectors(tmp_path, np.ones((1, 3), np.float32), None)) as opened:
        assert opened.get("/api/cut", keep=opened.get("/api/run")["deepest_keep"])["kept"] == 1
        assert opened.get("/api/groups")["total"] == 0
        assert opened.get("/api/images/0")["nearest_outside"] is None
        opened.post("/api/map", 202)
        assert until(opened, "/api/map")["state"] == "ready"


def test_all_images_equal(tmp_path: Path) -> None:
    with page(run_of_vectors(tmp_path, np.ones((30, 3), np.float32), None, 0.1)) as opened:
        found = opened.get("/api/cut", keep=0.1)
        assert (found["kept"], found["height"]) == (3, 0.0)
        assert opened.get("/api/groups", keep=0.1)["groups"][0]["diameter"] == 0.0


def test_names_that_look_like_more_than_names(tmp_path: Path) -> None:
    names = [
        "<script>alert(1)</script>",
        "../../etc/passwd",
        "\u202egnp.exe",
        "👩\u200d👩\u200d👧",
        "a" * 3000,
        "=cmd()",
    ]
    names += ['quote"d, comma', "שלום"]
    rows = np.random.default_rng(4).standard_normal((8, 3)).astype(np.float32)
    np.save(tmp_path / "v.npy", rows)
    (tmp_path / "i.txt").write_text("\n".join(names), encoding="utf-8")
    tp.embed(tmp_path / "v.npy", out=tmp_path / "run", options=tp.SourceOptions(ids=tmp_path / "i.txt"))
    tp.cluster(tmp_path / "run", 0.2)
    with page(tmp_path / "run") as opened:
        answer = opened.client.get("/api/groups", params={"keep": 0.25, "min_size": 1})
        assert answer.headers["content-type"] == "application/json"
        shown = {member["id"] for group in answer.json()["groups"] for member in group["members"]}
        assert shown == set(names)
        assert opened.get("/api/search", text="<SCRIPT>")["total"] == 1
        rows = list(csv.DictReader(io.StringIO(opened.get("/download/selection.csv", keep=0.5).decode())))
        assert {row["id"] for row in rows} == set(names)


def test_runs_that_can_t_be_looked_at_are_refused_before_anything_listens(
    tmp_path: Path, digits: Path
) -> None:
    with pytest.raises(RunFolderError, match="not a run folder"):
        serve(tmp_path / "none", browser=False)
    rows = np.random.default_rng(0).standard_normal((9, 3)).astype(np.float32)
    np.save(tmp_path / "v.npy", rows)
    tp.embed(tmp_path / "v.npy", out=tmp_path / "bare")
    with pytest.raises(StageError, match="tenpercent cluster"):
        serve(tmp_path / "bare", browser=False)
    newer = shutil.copytree(digits, tmp_path / "newer")
    content = json.loads((newer / "run.json").read_text())
    (newer / "run.json").write_text(json.dumps({**content, "format": 99}))
    with pytest.raises(RunFolderError, match="update tenpercent"):
        serve(newer, browser=False)


# ---- the process ---------------------------------------------------------------------------------------------------


def started(run: Path, *arguments: str) -> subprocess.Popen[str]:
    given = ", ".join([repr(str(run)), "browser=False", *arguments])
    code = f"from tenpercent.reviewing.serve import serve\nserve({given})"
    return subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def test_the_address_is_all_that_is_needed_and_ctrl_c_ends(run: Path) -> None:
    import signal

    import httpx2

    process = started(run)
    assert process.stdout is not None
    address = process.stdout.readline().strip()
    assert address.startswith("http://127.0.0.1:")
    with httpx2.Client(follow_redirects=True) as client:
        found = client.get(address)
        assert found.status_code == 200
        assert "token" not in str(found.url)
        assert client.get(str(found.url) + "api/run").json()["n"] == 1437
        with client.stream("GET", str(found.url) + "api/events") as stream:
            next(stream.iter_lines())
            process.send_signal(signal.SIGINT)
            assert process.wait(10) == 0
    assert process.stderr is not None
    assert process.stderr.read() == ""


def test_a_taken_port_is_passed_over_unless_it_was_asked_for(run: Path) -> None:
    import socket

    from tenpercent.reviewing import serve as module

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(UsageError, match=f"127.0.0.1:{port}.*another --port"):
            serve(run, port, browser=False)
        old, module.PORT = module.PORT, port
        try:
            with module.listen("127.0.0.1", None)[0] as found:
                assert found.getsockname()[1] > port
        finally:
            module.PORT = old
    with pytest.raises(UsageError, match="65,535"):
        serve(run, 70_000, browser=False)
    with pytest.raises(UsageError, match="not an address of this machine"):
        serve(run, host="no.such.host.invalid", browser=False)


def test_a_missing_extra_names_the_command(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    with pytest.raises(UsageError, match=r"pip install 'tenpercent\[review\]'"):
        serve(run, browser=False)


def test_importing_tenpercent_loads_no_web_code() -> None:
    web = {"starlette", "pydantic", "uvicorn", "umap", "anyio"}
    code = f"import sys, tenpercent, tenpercent.cli.main; print({web} & {{*sys.modules}})"
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "set()"
    )


# ---- the small parts -----------------------------------------------------------------------------------------------


def test_a_memo_makes_each_value_once() -> None:
    memo: Cache[int] = Cache(2)
    made: list[int] = []

    def make(value: int) -> int:
        time.sleep(0.02)
        made.append(value)
        return value

    threads = [threading.Thread(target=lambda: memo.get("a", lambda: make(1))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert made == [1]
    with pytest.raises(ZeroDivisionError):
        memo.get("b", lambda: 1 // 0)
    assert memo.get("b", lambda: make(2)) == 2
    memo.get("c", lambda: make(3))
    assert len(memo) == 2
    assert memo.get("a", lambda: make(4)) == 4


def test_a_session_reads_no_more_than_has_changed(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    session = RunSession(run)
    first = session.state
    tp.select(run, keep=0.95)
    session.refresh()
    assert session.state is not first
    assert session.state.embeddings is first.embeddings
    assert session.state.merges is first.merges
    tp.cluster(run, keep=0.7)
    session.refresh()
    assert session.state.embeddings is first.embeddings
    assert session.state.merges is not first.merges
