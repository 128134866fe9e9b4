"""The review page in a real browser: what is selected, what a decision acts on, and what goes in its stead."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from browsing import Look, make_run, served
from reviewing import page


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(tmp_path_factory.mktemp("selecting"))


@pytest.fixture
def run(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "run"))


@pytest.fixture
def address(run: Path) -> Iterator[str]:
    with served(run) as found:
        yield found


def decided(seen: Look) -> list[tuple[str, list[int]]]:
    """The decisions, the newest first, with their images."""
    return [
        (one["kind"], [image["p"] for image in one["images"]])
        for one in seen.api("api/decisions")["decisions"]
    ]


def settle(seen: Look, number: int) -> None:
    """Wait until so many decisions hold and the list is drawn after them."""
    seen.wait(f"document.querySelector('#decision-count').textContent === '{number}'")
    seen.page.wait_for_timeout(300)


def selected(seen: Look) -> list[int]:
    """The images of the list that are marked as selected."""
    marked = seen.page.locator("#feed .tile[aria-selected=true]")
    return sorted(int(p) for p in marked.evaluate_all("nodes => nodes.map(node => node.dataset.p)"))


# ---- what a decision acts on ---------------------------------------------------------------------------------------


def test_a_selection_starts_empty(seen: Look) -> None:
    seen.click(seen.positions(0)[1])
    seen.page.keyboard.press("n")
    settle(seen, 1)
    seen.page.locator("#several").click()
    assert selected(seen) == []
    wanted = [seen.positions(group)[1] for group in (1, 2, 3)]
    for position in wanted:
        seen.page.locator(f"#feed [data-p='{position}']").click()
    assert seen.page.locator("#selection-bar b").inner_text() == "3 selected"
    assert selected(seen) == sorted(wanted)
    seen.page.keyboard.press("r")
    settle(seen, 2)
    assert decided(seen)[0] == ("remove", wanted)


def test_what_a_decision_took_out_of_the_list_joins_no_selection(seen: Look) -> None:
    seen.click(seen.positions(0)[1])
    seen.page.locator("[data-action=apart]").click()
    settle(seen, 1)
    wanted = [seen.positions(group)[1] for group in (0, 1)]
    for position in wanted:
        seen.page.locator(f"#feed [data-p='{position}']").click(modifiers=["Control"])
    assert selected(seen) == sorted(wanted)
    seen.page.keyboard.press("k")
    settle(seen, 2)
    assert decided(seen)[0] == ("keep", wanted)


def test_nothing_is_selected_after_a_decision_or_another_list(seen: Look) -> None:
    page = seen.page
    one, two = seen.positions(0)[1], seen.positions(1)[1]
    page.locator("#several").click()
    for position in (one, two):
        page.locator(f"#feed [data-p='{position}']").click()
    page.keyboard.press("k")
    settle(seen, 1)
    assert selected(seen) == []
    page.keyboard.press("r")
    page.get_by_text("Select an image first").wait_for()
    assert decided(seen) == [("keep", [one, two])]
    page.locator(f"#feed [data-p='{one}']").click()
    page.locator("#show-filters").click()
    page.locator("#filter-class").select_option(label="plain (16)")
    page.get_by_text("1 image selected no longer").wait_for()
    page.keyboard.press("Escape")
    assert page.locator("#selection-bar").is_hidden()


def test_the_bar_shows_who_is_selected_and_lets_one_out(seen: Look) -> None:
    page = seen.page
    one, two = seen.positions(0)[1], seen.positions(1)[1]
    seen.click(one)
    page.locator(f"#feed [data-p='{two}']").click(modifiers=["Control"])
    assert page.locator("#selection-bar .chosen").count() == 2
    assert page.locator("#side .actions-grid [data-action=remove]").is_hidden()
    page.locator("#selection-bar .chosen").first.click()
    assert selected(seen) == [two]


def test_the_ring_is_on_the_group_that_the_panel_shows(seen: Look) -> None:
    page = seen.page
    first = seen.positions(0)
    seen.click(first[1])
    page.keyboard.press("n")
    settle(seen, 1)
    looked = page.locator("#feed .card.has-active .tile.active")
    name = looked.get_attribute("title")
    page.locator("#side .image-name").get_by_text(name, exact=True).wait_for()
    assert looked.evaluate("tile => tile === document.activeElement")
    assert int(looked.get_attribute("data-p")) not in first
    page.keyboard.press("u")
    page.locator(f"#feed .card.has-active .tile.active[data-p='{first[1]}']").wait_for()
    name = page.locator(f"#feed [data-p='{first[1]}']").get_attribute("title")
    page.locator("#side .image-name").get_by_text(name, exact=True).wait_for()


def test_no_toast_offers_to_undo_what_is_not_the_last(seen: Look) -> None:
    page = seen.page
    offers = page.locator(".toast").get_by_role("button", name="Undo")
    seen.click(seen.positions(0)[1])
    page.keyboard.press("k")
    settle(seen, 1)
    page.keyboard.press("p")
    settle(seen, 2)
    assert offers.count() == 1
    page.keyboard.press("u")
    settle(seen, 1)
    assert offers.count() == 0


# ---- keepers in bulk -----------------------------------------------------------------------------------------------


def test_keepers_of_several_groups_at_once(seen: Look) -> None:
    page = seen.page
    wanted = [seen.positions(group)[1] for group in (0, 1, 2)]
    page.locator("#several").click()
    for position in wanted:
        page.locator(f"#feed [data-p='{position}']").click()
    page.get_by_role("button", name="Make keepers").click()
    page.get_by_text("3 images made keepers").wait_for()
    assert decided(seen) == [("prefer", wanted)]
    for position in wanted:
        seen.wait(f"document.querySelector('#feed .tile.kept[data-p=\"{position}\"]')")
    page.keyboard.press("u")
    seen.wait("document.querySelector('#decision-count').hidden")


def test_two_keepers_of_one_group_are_refused_by_name(seen: Look) -> None:
    page = seen.page
    both, other = seen.positions(0)[:2], seen.positions(1)[1]
    page.locator("#several").click()
    for position in (other, *both):
        page.locator(f"#feed [data-p='{position}']").click()
    page.keyboard.press("p")
    page.get_by_text("are in one group of 2 images").wait_for()
    said = page.locator(".toast.bad").inner_text()
    assert all(seen.api(f"api/images/{p}?keep=0.75")["id"] in said for p in both)
    assert decided(seen) == []


def test_the_server_takes_keepers_of_several_groups(run: Path) -> None:
    with page(run) as opened:
        groups = opened.get("/api/groups", keep=0.75)["groups"]
        ones = [group["members"][1]["p"] for group in groups[:3]]
        opened.decide("prefer", *ones, keep=0.75)
        for position in ones:
            assert opened.get(f"/api/images/{position}", keep=0.75)["keeper"] == position
        pair = [member["p"] for member in groups[3]["members"]]
        refused = opened.decide("prefer", *pair, keep=0.75, status=400)
        assert "one keeper" in refused["error"]
        apart: Any = opened.get("/api/cut", keep=1.0)
        assert apart["removed"] == 0
        opened.decide("prefer", *pair, keep=1.0)  # where nothing is merged they are two groups
