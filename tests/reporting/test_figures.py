"""The plots: well-formed, the same bytes every time, at home on a page with others, light or dark."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import numpy as np
import pytest

from tenpercent.reporting.figures import COLOURS, MergeCurve, curve_figure, sizes_figure

SIZES, COUNTS = np.array([2, 3, 9]), np.array([1000, 20, 1])


def curve(k: int = 50, cut: int = 10) -> MergeCurve:
    return MergeCurve(np.arange(1, k + 1) / 100, np.linspace(0.001, 0.05, k), cut)


def draw(name: str) -> list[str]:
    return [
        sizes_figure(SIZES, COUNTS, f"{name}1", largest=9, most=1000),
        sizes_figure(np.array([2, 700]), np.array([3, 1]), f"{name}2", largest=700, most=3, width=560),
        curve_figure([curve(), curve(cut=20), curve(cut=0)], f"{name}3", high=1, low=0, width=760),
        curve_figure([curve()], f"{name}4", high=None, low=None, width=340),
    ]


def test_the_same_figure_has_the_same_bytes() -> None:
    assert draw("a") == draw("a")


def test_figures_are_well_formed_and_have_words() -> None:
    for text in draw("a"):
        root = ElementTree.fromstring(text)
        assert root.get("role") == "img"
        assert len(root.get("aria-label", "")) > 20
        assert "<style" not in text  # a style sheet in one figure would hold for the whole page
        assert "<metadata" not in text


def test_ids_of_two_figures_never_meet_and_all_references_lead_somewhere() -> None:
    found = [set(re.findall(r' id="([^"]+)"', text)) for text in (*draw("a"), *draw("b"))]
    assert sum(map(len, found)) == len(set().union(*found))
    for text, ids in zip((*draw("a"), *draw("b")), found, strict=True):
        used = set(re.findall(r"url\(#([^)]+)\)", text)) | set(re.findall(r'href="#([^"]+)"', text))
        assert used <= ids


def test_every_colour_is_the_pages() -> None:
    for text in draw("a"):
        assert not re.search(r"#[0-9a-fA-F]{6}\b", re.sub(r"(url\(|href=\")#[^)\"]+", "", text))
        assert set(re.findall(r"var\(--[a-z]+\)", text)) <= set(COLOURS.values())


def test_the_words_say_what_is_drawn() -> None:
    bars, _, curves, single = draw("a")
    assert "1,021 groups of 2 to 9 images" in bars
    assert "3 curves" in curves
    assert "cut is at 15.0% removed" in curves
    assert "1 curve." in single
    assert "at height 0.01" in single


@pytest.mark.parametrize("sizes", [[], [2], [2, 100_000]])
def test_odd_sizes_draw(sizes: list[int]) -> None:
    given = np.array(sizes, dtype=np.int64)
    text = sizes_figure(given, np.ones_like(given), "x", largest=max(sizes, default=2), most=1)
    ElementTree.fromstring(text)


def test_a_thousand_curves_stay_small() -> None:
    text = curve_figure([curve(500)] * 1000, "x", high=0, low=1, width=760)
    assert len(text) < 1_500_000
