"""The review page in a real browser after its list has changed: what is active, what is acted on, what is said."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import tenpercent as tp
from browsing import Look, look, served
from reviewing import flat, run_of_vectors

# ---- a decision after another list ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of 300 vectors in three classes, in groups of two to four, each of another diameter."""
    generator = np.random.default_rng(5)
    centres = generator.standard_normal((100, 16))
    rows = np.repeat(centres, 3, axis=0)
    rows += generator.standard_normal(rows.shape) * np.repeat(np.linspace(0.01, 0.2, 100), 3)[:, None]
    labels = np.repeat(np.arange(100) % 3, 3)
    made = run_of_vectors(tmp_path_factory.mktemp("many"), rows.astype(np.float32), labels, keep=0.3)
    tp.select(made, tp.Cut(keep=0.6))
    return made


@pytest.fixture
def opened(chromium: Any, many: Path, tmp_path: Path) -> Any:
    with served(Path(shutil.copytree(many, tmp_path / "run"))) as address:
        found = look(chromium, address)
        found.ready()
        yield found
        found.leave()
        assert found.faults == []


def choose(selector: str, value: str) -> Callable[[Look], None]:
    return lambda seen: seen.page.locator(selector).select_option(value)


def in_each_order(seen: Look) -> None:
    active = seen.page.locator("#side .image-name").inner_text()
    for name in ("tightest", "widest", "height", "class"):
        choose("#filter-order", name)(seen)
        seen.settle()
        assert seen.page.locator("#side .image-name").all_inner_texts() in ([active], []), name


def write(selector: str, text: str) -> Callable[[Look], None]:
    def change(seen: Look) -> None:
        if not seen.page.locator(selector).is_visible():
            seen.page.locator("#show-filters").click()
        seen.page.locator(selector).fill(text)
        seen.page.keyboard.press("Enter")

    return change


def filtered(value: str) -> Callable[[Look], None]:
    def change(seen: Look) -> None:
        seen.page.locator("#show-filters").click()
        seen.page.locator("#filter-class").select_option(value)

    return change


def scrolled(seen: Look) -> None:
    seen.page.evaluate("scrollTo(0, 100000)")


def by_another(seen: Look) -> None:
    """Somebody on a second page takes the active image out of its group, and a selected one with it."""
    other = look(seen.page.context.browser, seen.address)
    other.ready()
    other.page.evaluate(
        """async () => {
            const run = await (await fetch("api/run")).json();
            for (const index of [0, 1]) {
                const card = document.querySelector(`.card[data-index="${index}"]`);
                const images = [...card.querySelectorAll("[data-p]")].slice(0, 2).map((tile) => Number(tile.dataset.p));
                const body = { kind: "apart", images, seen: run.version + index, origin: run.origin };
                const headers = { "Content-Type": "application/json" };
                await fetch("api/decisions", { method: "POST", headers, body: JSON.stringify(body) });
            }
        }"""
    )
    other.leave()
    seen.wait("document.querySelector('#decision-count').textContent === '2'")


CHANGES = {
    "orders": in_each_order,
    "text": write("#filter-text", "7"),
    "class": filtered("1"),
    "size": write("#filter-min_size", "3"),
    "shallower": write("#keep-number", "80"),
    "deeper": write("#keep-number", "45"),
    "beyond the tree": write("#keep-number", "20"),
    "threshold": write("#threshold-number", "0.01"),
    "scrolled": scrolled,
    "another page": by_another,
}


def decisions(seen: Look) -> list[tuple[str, set[str]]]:
    found = seen.api("api/decisions")["decisions"]
    return [(one["kind"], {image["id"] for image in one["images"]}) for one in found]


def visible(seen: Look) -> set[str]:
    """The ids seen to be selected: marked in the list, or named by the bar; where there are none, that in the panel."""
    marked = seen.page.evaluate(
        """[...document.querySelectorAll("#feed .tile[aria-selected=true]")].filter((tile) => {
            const { top, bottom } = tile.getBoundingClientRect();
            return bottom > 0 && top < innerHeight;
        }).map((tile) => tile.title)"""
    )
    named = seen.page.locator("#selection-bar .chosen").evaluate_all(
        "all => all.map((one) => one.title.slice(5, -4))"
    )
    return set(marked) | set(named) or set(seen.page.locator("#side .image-name").all_inner_texts())


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_nothing_is_removed_that_is_not_seen_to_be_selected(opened: Look, change: Any) -> None:
    page = opened.page
    tiles = page.locator("#feed .tile")
    opened.click(opened.positions(0)[0])
    tiles.nth(2).click(modifiers=["Control"])
    tiles.nth(4).click(modifiers=["Shift"])
    active = tiles.nth(4).get_attribute("title")
    opened.wait("document.querySelectorAll('#feed .tile[aria-selected=true]').length === 3")
    page.locator("#side .image-name").get_by_text(active, exact=True).wait_for()
    change(opened)
    opened.settle()
    shown = page.locator("#side .image-name").all_inner_texts()
    assert shown in ([active], []), "another image became active"
    ringed = page.locator("#feed .tile.active").evaluate_all("tiles => tiles.map((tile) => tile.title)")
    assert ringed in ([active], [])
    may = visible(opened)
    before = len(decisions(opened))
    page.evaluate("document.activeElement.matches('input, select') && document.activeElement.blur()")
    page.keyboard.press("r")
    opened.settle()
    for kind, images in decisions(opened)[: len(decisions(opened)) - before]:
        assert kind == "remove" and images <= may, (images, may)


# ---- the panel -----------------------------------------------------------------------------------------------------


def test_the_panel_is_emptied_when_the_filters_leave_its_image_out(seen: Look) -> None:
    page = seen.page
    seen.click(seen.positions(0)[1])
    name = page.locator("#side .image-name").inner_text()
    page.locator("#show-filters").click()
    page.locator("#filter-text").fill(name[:-4])
    seen.settle()
    assert page.locator("#side .image-name").inner_text() == name
    page.locator("#filter-text").fill("no such name")
    page.locator("#side .hint").wait_for()
    page.keyboard.press("Tab")
    page.locator("#clear-filters").click()
    seen.settle()
    assert page.locator("#side .image-name").count() == 0


def test_the_panel_says_that_its_image_is_not_in_the_list(seen: Look) -> None:
    page = seen.page
    seen.click(seen.positions(0)[1])
    page.locator("#keep-number").fill("100")
    page.keyboard.press("Enter")
    page.locator("#side .verdict").get_by_text("alone in its group at this cut").wait_for()
    page.locator("#keep-number").fill("75")
    page.keyboard.press("Enter")
    page.locator("#side").get_by_text("Group of 2 images").wait_for()
    page.locator("#show-filters").click()
    page.locator("#filter-min_size").fill("3")
    page.locator("#side .hint").wait_for()
    page.locator("#find-image").fill(page.locator("#filter-class option").nth(1).inner_text().split(" ")[0])
    page.locator("#find-list [role=option]").first.click()
    page.locator("#side").get_by_text("Not in the list: the filters hide its group.").wait_for()
    page.locator("#side").get_by_role("button", name="Clear the filters").click()
    seen.wait("document.querySelectorAll('.card:not(.waiting)').length > 1")


def test_names_are_whole_in_the_panel_and_among_what_goes(seen: Look) -> None:
    page = seen.page
    for group in range(2):
        seen.click(seen.positions(group)[1])
        names = page.locator("#side .member-tiles .id")
        names.first.wait_for()
        tiles = page.locator("#side .member-tiles .tile")
        wanted = [title.split("/")[-1] for title in tiles.evaluate_all("all => all.map((one) => one.title)")]
        assert names.all_inner_texts() == wanted
        assert names.evaluate_all("all => all.every((one) => one.scrollWidth <= one.clientWidth)")
    page.locator("[data-view=removed]").click()
    goers = page.locator(".pair .id")
    goers.first.wait_for()
    titles = page.locator(".pair .tile").evaluate_all("all => all.map((one) => one.title)")
    assert goers.all_inner_texts() == titles and all("/" in title for title in titles)


# ---- where the cut is ----------------------------------------------------------------------------------------------


def place_of(seen: Look) -> dict[str, Any]:
    found: dict[str, Any] = seen.page.evaluate(
        """(() => {
            const [slider, number] = ["#keep-slider", "#keep-number"].map((name) => document.querySelector(name));
            return {
                kept: Number(slider.value), least: Number(slider.min), said: slider.getAttribute("aria-valuetext"),
                number: number.value, hint: number.placeholder,
            };
        })()"""
    )
    return found


def test_a_threshold_beyond_the_tree_shows_where_the_cut_is(seen: Look) -> None:
    page = seen.page
    for threshold in ("0.5", "2"):
        page.locator("#keep-number").fill("90")
        page.keyboard.press("Enter")
        seen.wait("document.querySelector('#counts b')?.textContent === '43 kept'")
        page.locator("#notes").get_by_text("decisions").wait_for(state="detached")
        page.locator("#threshold-number").fill(threshold)
        page.keyboard.press("Enter")
        page.locator("#deeper").wait_for()
        found = place_of(seen)
        assert found["kept"] == found["least"]
        assert found["number"] == "" and found["hint"] == "< 60.0" and found["said"] == "keep < 60.0%"
        assert page.locator("#feed-state").is_hidden()
    page.get_by_role("button", name="Deepen the tree").click()
    page.locator("#deeper").wait_for(state="detached")
    seen.settle()
    kept = seen.api("api/cut?threshold=2")["kept"]
    found = place_of(seen)
    assert found["kept"] == kept == 3 and found["number"] == "6.3" and found["hint"] == ""


def test_beyond_the_tree_nothing_of_another_cut_is_left(seen: Look) -> None:
    page = seen.page
    seen.click(seen.positions(0)[1])
    name = page.locator("#side .image-name").inner_text()
    for view in ("groups", "removed"):
        page.locator(f"button[data-view={view}]").click()
        page.locator("#keep-number").fill("30")
        page.keyboard.press("Enter")
        page.locator("#deeper").wait_for()
        page.locator("#side").get_by_text("The tree does not reach this cut yet").wait_for()
        assert page.locator(f"#view-{view}").is_hidden() and page.locator("#lead").inner_text() == ""
        assert "is beyond the computed tree" in page.title()
        seen.becomes(page.locator("#threshold-number").input_value, "")
        page.evaluate("document.activeElement.blur()")
        for key in ("r", "c", "m", "a"):
            page.keyboard.press(key)
            page.locator(".toast.bad").get_by_text("not on screen").first.wait_for()
        page.locator("#keep-number").fill("75")
        page.keyboard.press("Enter")
        page.locator("#side .image-name").get_by_text(name, exact=True).wait_for()
    assert seen.api("api/decisions")["decisions"] == []


def test_no_note_of_another_cut_is_left_where_it_lies_deeper(seen: Look) -> None:
    page = seen.page
    seen.click(seen.positions(0)[1])
    page.keyboard.press("n")
    page.locator("#notes").get_by_text("decisions in force").wait_for()
    page.locator("#keep-number").fill("20")
    page.keyboard.press("Enter")
    page.locator("#deeper").wait_for()
    assert page.locator("#notes").inner_text() == ""
    assert page.locator("#decided-so-far").inner_text() == ""
    page.locator("#keep-number").fill("80")
    page.keyboard.press("Enter")
    page.locator("#notes").get_by_text("decisions in force").wait_for()


# ---- what is offered -----------------------------------------------------------------------------------------------


def offered(seen: Look) -> set[str]:
    options = seen.page.locator("#filter-order option:not([hidden])")
    return set(options.evaluate_all("all => all.map((one) => one.value)"))


def test_orders_are_offered_where_they_tell_groups_apart(seen: Look, chromium: Any, run: Path) -> None:
    seen.becomes(lambda: offered(seen), {"tightest", "widest", "height", "class"})
    tp.cluster(run, 0.6, within="all")
    with served(run) as address:
        other = look(chromium, address)
        other.ready()
        other.becomes(lambda: "conflict" in offered(other), True)
        other.leave()


ROOM_OF_THE_HINT = """(() => {
    const field = document.querySelector("#find-image");
    const style = getComputedStyle(field);
    const pen = document.createElement("canvas").getContext("2d");
    pen.font = style.font;
    const inner = field.clientWidth - parseFloat(style.paddingLeft) - parseFloat(style.paddingRight);
    return inner - pen.measureText(field.placeholder).width;
})()"""


def test_the_hint_of_the_search_is_whole(seen: Look) -> None:
    for width in (390, 800, 1280, 1600):
        seen.page.set_viewport_size({"width": width, "height": 800})
        assert seen.page.evaluate(ROOM_OF_THE_HINT) >= 0, width


# ---- a folder that is gone -----------------------------------------------------------------------------------------


def test_a_run_whose_folder_is_gone_says_so_and_shows_names(chromium: Any, tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    folder = tmp_path / "photos" / "cat"
    folder.mkdir(parents=True)
    base = generator.integers(0, 256, (6, 12, 12, 3))
    for number in range(12):
        pixels = np.clip(base[number % 6] + generator.integers(-3, 4, (12, 12, 3)), 0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{number:02d}.png")
    tp.embed(tmp_path / "photos", out=tmp_path / "run", embedder=flat)
    tp.cluster(tmp_path / "run", 0.5)
    tp.select(tmp_path / "run", tp.Cut(keep=0.5))
    shutil.rmtree(tmp_path / "photos")
    with served(tmp_path / "run") as address:
        opened = look(chromium, address)
        opened.ready()
        page = opened.page
        (line,) = page.locator("#notes li").all_inner_texts()
        assert line.startswith(f"No pictures: {tmp_path / 'photos'}")
        assert f"tenpercent run PLACE --out {tmp_path / 'run'}" in line
        assert opened.tiles(0).first.locator(".frame").inner_text().startswith("cat/")
        opened.click(opened.positions(0)[1])
        assert "vectors only" not in page.locator("#side .big").inner_text()
        assert "is not there" in page.locator("#side .big").inner_text()
        page.keyboard.press("k")
        opened.wait("document.querySelector('#decision-count').textContent === '1'")
        assert opened.faults == []
        opened.leave()
