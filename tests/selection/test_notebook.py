"""A selection in a notebook: its groups, by a slider of their diameter."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

import tenpercent as tp
from tenpercent.data.sources.options import SourceOptions
from tenpercent.data.store.embeddings import Embeddings
from tenpercent.tree.merges import cluster


def many() -> tp.Selection:
    """A selection with 40 pairs, each wider than the one before."""
    rng = np.random.default_rng(0)
    centres = np.repeat(rng.normal(size=(40, 30)), 2, axis=0)
    return tp.run(centres + rng.normal(size=(80, 30)) * np.linspace(0.01, 0.2, 80)[:, None], keep=0.5)


def test_reprs_say_the_counts_and_escape_ids() -> None:
    vectors = np.array([[1, 0], [1, 1e-4], [0, 1]])
    selection = tp.select(
        cluster(Embeddings.from_numpy(vectors, ids=["<b>'\"&", "b", "c"])), tp.Cut(threshold=0.1)
    )
    assert repr(selection) == "Selection(2 of 3 images kept, 1 removed, redundant groups: 1 (largest 2))"
    html = selection._repr_html_()
    assert "2 of 3 images kept" in html and "&lt;b&gt;&#x27;&quot;&amp;" in html and "<b>'" not in html


def test_a_notebook_shows_pictures_where_the_source_opens() -> None:
    random = np.random.default_rng(0)
    ids = tp.open_source("digits").ids[:50]
    embeddings = Embeddings.from_numpy(random.normal(size=(50, 3)), ids=ids)
    selection = tp.select(cluster(embeddings), keep=0.5).with_source(
        "digits", SourceOptions().as_json(), 1437
    )
    html = selection._repr_html_()
    assert 2 <= html.count("<img src='data:image/png;base64,") <= 72
    gone = selection.with_source("/nowhere/at/all", {}, 50)._repr_html_()
    assert "<img" not in gone and "no pictures: " in gone


def test_groups_are_taken_evenly_by_their_diameter_and_that_is_said() -> None:
    selection = many()
    html = selection._repr_html_()
    widths = [float(part.partition("'")[0]) for part in html.split("data-diameter='")[1:]]
    known = np.unique(selection.group_diameter[~selection.kept_by_id])
    assert len(widths) == 12 and widths == sorted(widths)
    assert np.allclose([widths[0], widths[-1]], known[[0, -1]], rtol=0.01)
    assert "12 of 40 groups, evenly by their diameter" in html and html.count("' hidden><small>") == 9
    few = tp.run(np.repeat(np.eye(2), 2, axis=0), keep=0.5)._repr_html_()
    assert "<input" not in few and "<script" not in few and "evenly" not in few
    assert (
        "group"
        not in tp.run(np.eye(3), keep=1.0)._repr_html_().partition("</style>")[2].partition("groups: 0")[2]
    )


def test_a_notebook_without_widgets_gets_no_warning() -> None:
    script = (
        "import sys, types; found = types.SimpleNamespace(config={'IPKernelApp': 1})\n"
        "sys.modules['IPython'] = types.SimpleNamespace(get_ipython=lambda: found)\n"
        "import tenpercent.progress"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stderr == ""


def test_the_slider_moves_through_the_groups(chromium: Any, tmp_path: Path) -> None:
    from playwright.sync_api import expect

    page = tmp_path / "cell.html"
    page.write_text(f"<!doctype html>{many()._repr_html_()}{many()._repr_html_()}", encoding="utf-8")
    opened = chromium.new_page()
    opened.goto(page.as_uri())
    first, second = opened.locator("body > div").all()
    visible = first.locator(".group:visible")
    expect(visible).to_have_count(3)
    widest = first.locator("output").inner_text()
    assert widest.endswith(str(visible.last.get_attribute("data-diameter")))
    first.locator("input").fill("0")
    tightest = f"diameter {visible.first.get_attribute('data-diameter')} to "
    expect(first.locator("output")).to_contain_text(tightest)
    assert first.locator(".group").first.is_visible() and first.locator(".group").last.is_hidden()
    expect(second.locator("output")).to_have_text(widest)  # each cell has its own
    opened.close()
