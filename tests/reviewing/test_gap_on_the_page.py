"""How deep a first run looks for the gap between copies and the rest, and what the review page says of it."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tenpercent as tp
from browsing import Look, look, served
from reviewing import page, run_of_vectors, until
from tenpercent.cli.main import main
from tenpercent.data.sources.options import SourceOptions
from tenpercent.errors import TenpercentError
from tenpercent.tree import deepening
from tenpercent.tree.gap import find_gap
from tenpercent.tree.merges_file import read_heights

FILES = ("merges.parquet", "selection.parquet")


def write(folder: Path, rows: np.ndarray, labels: np.ndarray | None = None) -> tuple[Path, SourceOptions]:
    """Write vectors and labels as files."""
    folder.mkdir(parents=True, exist_ok=True)
    np.save(folder / "vectors.npy", rows)
    if labels is None:
        return folder / "vectors.npy", SourceOptions()
    np.save(folder / "labels.npy", labels)
    return folder / "vectors.npy", SourceOptions(labels=folder / "labels.npy")


def with_copies(n: int, copies: int, width: int = 16, seed: int = 0) -> np.ndarray:
    """Random directions, the last `copies` of them copies of the first."""
    draw = np.random.default_rng(seed)
    rows = draw.standard_normal((n, width))
    rows[n - copies :] = rows[:copies] + 0.02 * draw.standard_normal((copies, width))
    return rows


# ---- how deep a run looks ------------------------------------------------------------------------------------------


def test_a_first_run_finds_the_gap_far_beyond_its_cut(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    vectors, _ = write(tmp_path, with_copies(340, 40))
    assert main(["run", str(vectors), "--out", str(tmp_path / "run"), "--keep", "0.95"]) == 0
    assert "have a gap: 40 up to" in capsys.readouterr().out


def test_a_first_run_by_a_threshold_below_the_gap_finds_it_too(tmp_path: Path) -> None:
    vectors, _ = write(tmp_path, with_copies(340, 40))
    tp.run(vectors, out=tmp_path / "run", cut=tp.Cut(threshold=0.0))
    found = find_gap(read_heights(tmp_path / "run" / "merges.parquet"))
    assert found is not None
    assert found.merges == 40


def test_one_tight_class_does_not_hide_the_gap_of_the_others(tmp_path: Path) -> None:
    """As many merges as its share needs are all copies there, so by count alone it would be complete to them only."""
    rows, tight = with_copies(340, 40), np.repeat(np.eye(16)[:3], [3, 3, 4], axis=0)
    labels = np.concatenate([np.arange(340) % 300 % 5, np.full(10, 5)])
    vectors, options = write(tmp_path, np.concatenate([rows, tight]), labels)
    tp.run(vectors, out=tmp_path / "run", keep=0.9, options=options)
    heights = read_heights(tmp_path / "run" / "merges.parquet")
    found = find_gap(heights)
    assert found is not None
    assert found.merges == 47


def test_a_stored_tree_that_reaches_the_cut_stays_as_it_is(tmp_path: Path) -> None:
    vectors, _ = write(tmp_path, with_copies(120, 20))
    run = tmp_path / "run"
    tp.embed(vectors, out=run)
    tp.cluster(run, keep=0.85)
    tp.select(run, keep=0.9)
    before = [(run / name).read_bytes() for name in FILES]
    tp.run(vectors, out=run, keep=0.9)
    assert [(run / name).read_bytes() for name in FILES] == before
    assert not tp.cluster(run, keep=0.85).covers(tp.Cut(0.3))


@pytest.mark.parametrize("cut", [tp.Cut(keep=0.9), tp.Cut(threshold=0.001)])
def test_a_larger_set_is_clustered_about_as_deep_as_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cut: tp.Cut
) -> None:
    vectors, _ = write(tmp_path, with_copies(120, 20))
    monkeypatch.setattr(deepening, "SMALL", 120 * 119 // 2 - 1)
    tp.run(vectors, out=tmp_path / "large", cut=cut)
    monkeypatch.setattr(deepening, "SMALL", 120 * 119 // 2)
    tp.run(vectors, out=tmp_path / "small", cut=cut)
    large, small = (tp.cluster(tmp_path / name, keep=0.95) for name in ("large", "small"))
    assert not large.covers(tp.Cut(0.8))
    assert small.covers(tp.Cut(0.3))
    assert (tmp_path / "large" / FILES[1]).read_bytes() == (tmp_path / "small" / FILES[1]).read_bytes()


def test_where_far_beyond_does_not_fit_the_tree_ends_at_the_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tenpercent.linkage.memory import MemoryBudgetError, Resources

    whole = deepening.deepened

    def short(merges: Any, cut: tp.Cut, resources: Resources) -> Any:
        if cut.keep == deepening.COPIES:
            raise MemoryBudgetError("0.3", needed=2, allowed=1, fits=1, n=2)
        return whole(merges, cut, resources)

    vectors, _ = write(tmp_path, with_copies(120, 20))
    monkeypatch.setattr(deepening, "deepened", short)
    tp.run(vectors, out=tmp_path / "run", keep=0.9)
    monkeypatch.undo()
    found = tp.cluster(tmp_path / "run", keep=0.85)
    assert not found.covers(tp.Cut(0.8))


# ---- what the page says of it --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def copies(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of 120 vectors, 20 of them copies, whose tree ends long before the gap."""
    folder = tmp_path_factory.mktemp("copies")
    run = run_of_vectors(folder, with_copies(120, 20), None, keep=0.9)
    tp.select(run, keep=0.95)
    return run


@pytest.fixture
def run(copies: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(copies, tmp_path / "run"))


def test_the_server_tells_the_gap_and_the_scale(run: Path) -> None:
    with page(run) as opened:
        told = opened.get("/api/run")
        assert told["gap"] == {
            "exact": "",
            "found": None,
            "looked_to": pytest.approx(0.001, abs=0.01),
            "whole": False,
        }
        assert told["typical"] == pytest.approx(1.0, abs=0.1)
        opened.post("/api/deepen", 202, keep=0.5)
        assert until(opened, "/api/deepen")["state"] == "ready"
        found = opened.get("/api/run")["gap"]["found"]
        assert found["merges"] == 20
        assert found["below"] < found["threshold"] < found["above"]
        opened.decide("apart", 0, 100)
        assert opened.get("/api/run")["gap"]["found"] == found, "decisions are no part of it"


def test_exact_duplicates_are_noted_and_are_no_gap(tmp_path: Path) -> None:
    rows = np.random.default_rng(3).standard_normal((40, 4))
    with page(run_of_vectors(tmp_path, np.concatenate([rows, rows[:2]]), None, keep=0.5)) as opened:
        told = opened.get("/api/run")
    assert told["gap"]["found"] is None
    assert told["gap"]["exact"] == "2 images are exact duplicates of another (equal vectors)."


def test_the_page_looks_farther_until_it_finds_the_gap_and_cuts_there(seen: Look) -> None:
    gap = seen.page.locator("#gap")
    gap.get_by_text("There is no gap up to").wait_for()
    assert "apart on average." in gap.inner_text()
    assert seen.page.locator("#gap-mark").is_hidden()
    gap.get_by_role("button", name="Search further").click()
    gap.get_by_text("There is a gap: 20 images have a near-duplicate").wait_for()
    assert "19 of 120" not in seen.page.locator("#headline").inner_text()
    gap.get_by_role("button", name="Cut in the gap").click()
    gap.get_by_text("This cut is in the gap.").wait_for()
    assert gap.get_by_role("button", name=re.compile("Cut|Search")).count() == 0
    at = seen.api("api/run")["gap"]["found"]["threshold"]
    asked = f"Asked to group images up to {at:g} apart: 20 of 120 images go"
    seen.becomes(seen.page.locator("#headline").inner_text, asked)
    share = "name => document.querySelector(name[0]).style.getPropertyValue(name[1])"
    mark, place = (
        float(seen.page.evaluate(share, name)) for name in (["#gap-mark", "--at"], ["#cut", "--place-share"])
    )
    assert mark == pytest.approx(place, abs=1e-6)


def test_the_gap_is_a_way_back_from_beyond_the_tree(run: Path, address: str, chromium: Any) -> None:
    tp.cluster(run, keep=0.6)
    seen = look(chromium, address)
    seen.ready()
    seen.page.locator("#keep-number").fill("40")
    seen.page.keyboard.press("Enter")
    seen.page.locator("#deeper").wait_for()
    seen.page.locator("#gap").get_by_role("button", name="Cut in the gap").click()
    seen.page.locator("#deeper").wait_for(state="detached")
    at = seen.api("api/run")["gap"]["found"]["threshold"]
    asked = f"Asked to group images up to {at:g} apart: 20 of 120 images go"
    seen.becomes(seen.page.locator("#headline").inner_text, asked)


def test_a_look_farther_that_fails_says_so_and_can_be_tried_again(
    seen: Look, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(*_: object) -> None:
        raise TenpercentError("there is no room")

    monkeypatch.setattr("tenpercent.reviewing.review.deepen", failing)
    button = seen.page.locator("#gap").get_by_role("button", name="Search further")
    button.click()
    seen.page.get_by_text("Deepening the tree failed: there is no room").wait_for()
    button.and_(seen.page.locator(":enabled")).wait_for()


def test_a_whole_tree_without_a_gap_offers_nothing(run: Path, address: str, chromium: Any) -> None:
    rows = np.random.default_rng(3).standard_normal((40, 4))
    plain = run_of_vectors(run.parent / "plain", rows, None, keep=0.01)
    with served(plain) as at:
        seen = look(chromium, at)
        gap = seen.page.locator("#gap")
        gap.get_by_text("There is no gap up to").wait_for()
        assert gap.get_by_role("button", name=re.compile("Cut|Search")).count() == 0
