"""The review page in a real browser, looked at: the first screen, slider, filters, map, narrow, dark, names, axe."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tenpercent as tp
from browsing import Look, look, make_run, served
from tenpercent.cli.main import main
from tenpercent.reviewing import maps


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = make_run(tmp_path_factory.mktemp("looking"))
    next((made.parent / "photos" / "plain").glob("02.png")).unlink()  # one file is gone since
    return made


@pytest.fixture(scope="module")
def address(run: Path) -> Iterator[str]:
    with served(run) as found:
        yield found


def test_the_first_screen_says_what_it_is_and_shows_the_groups(seen: Look) -> None:
    page = seen.page
    assert "token" not in page.url
    seen.becomes(page.locator("h1").inner_text, "Asked to keep 75%: 12 of 48 images go")
    lead = page.locator("#lead").inner_text()
    assert lead.startswith("The last merge is at ") and "outlined in green is kept" in lead
    assert page.locator("#keep-number").input_value() == "75.0"
    first = seen.tiles(0).first
    assert first.locator(".role").inner_text() == "kept"
    assert page.locator("#feed").bounding_box()["y"] < 500


def test_the_slider_takes_counts_and_groups_along(seen: Look) -> None:
    page = seen.page
    slider = page.locator("#keep-slider")
    slider.focus()
    for _ in range(4):
        page.keyboard.press("ArrowRight")
    seen.wait("document.querySelector('#counts b')?.textContent === '40 kept'")
    assert "8 removed" in seen.counts()
    assert "40 of 48 images" in slider.get_attribute("aria-valuetext")
    seen.wait("document.querySelector('#feed').firstChild.getAttribute('aria-setsize') === '8'")
    page.locator("#keep-number").fill("100")
    page.keyboard.press("Enter")
    page.get_by_text("There are no groups at this cut").wait_for()
    seen.becomes(page.locator("h1").inner_text, "Asked to keep 100%: all 48 images stay")


def test_beyond_the_tree_it_offers_to_go_deeper_and_does(seen: Look) -> None:
    page = seen.page
    deepest = seen.api("api/run")["deepest_keep"]
    page.locator("#keep-number").fill(str(100 * deepest - 20))
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Deepen the tree").click()
    page.locator("#deeper").wait_for(state="detached")
    seen.wait("document.querySelector('h1').textContent.startsWith('Asked to keep')")
    assert seen.api("api/run")["deepest_keep"] < deepest


def test_filters_orders_and_search(seen: Look) -> None:
    page = seen.page
    page.locator("#filter-order").select_option("tightest")
    seen.wait("document.querySelectorAll('.card:not(.waiting)').length > 1")
    diameters = [group["diameter"] for group in seen.api("api/groups?keep=0.75&order=tightest")["groups"]]
    assert diameters == sorted(diameters)
    page.locator("#show-filters").click()
    page.locator("#filter-class").select_option(label="plain (16)")
    seen.wait("[...document.querySelectorAll('.card h3')].every(title => title.textContent === 'plain')")
    page.locator("#filter-text").fill("no such name")
    page.get_by_text("No group passes the filters").wait_for()
    page.get_by_role("button", name="Clear the filters").click()
    seen.tiles(0).first.wait_for()
    wanted = seen.api("api/groups?keep=0.75")["groups"][-1]["members"][-1]
    page.locator("#find-image").fill(wanted["id"])
    page.locator("#find-list [role=option]").first.wait_for()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    seen.wait(f"document.activeElement.dataset.p === '{wanted['p']}'")


def test_enter_before_the_answer_takes_no_image_of_an_earlier_search(seen: Look) -> None:
    page = seen.page
    seen.tiles(0).first.wait_for()
    first, second = (seen.api("api/groups?keep=0.75")["groups"][at]["members"][0] for at in (0, -1))
    page.locator("#find-image").fill(first["id"])
    page.locator("#find-list [role=option]").first.wait_for()
    waiting: list[Any] = []
    # The answer stays away until Enter was pressed.
    page.route("**/api/search*", lambda route: waiting.append(route))
    page.locator("#find-image").fill(second["id"])
    seen.becomes(lambda: len(waiting), 1)
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "find-image"
    for request in waiting:
        request.continue_()
    seen.wait(f"document.activeElement.dataset.p === '{second['p']}'")
    page.unroute("**/api/search*")  # other tests take this tab


def test_names_are_text_and_never_markup(seen: Look) -> None:
    page = seen.page
    seen.tiles(0).first.wait_for()
    names = page.locator(".card h3").all_inner_texts()
    assert any("<script>" in name for name in names)
    image = seen.api("api/search?text=onerror")["images"][0]
    page.goto(page.url.split("#")[0] + f"#image={image['p']}")
    page.reload()
    page.locator("#side .image-name").get_by_text(image["id"], exact=True).wait_for()
    assert page.evaluate("window.hacked") is None
    assert "hacked" not in page.title()


def test_a_file_that_is_gone_is_said(seen: Look) -> None:
    gone = seen.api("api/search?text=plain/02.png")["images"][0]
    seen.page.goto(seen.page.url.split("#")[0] + f"#image={gone['p']}")
    seen.page.reload()
    seen.page.locator("#side .big .frame.words").wait_for()


def test_a_reload_comes_back_to_the_same_place(seen: Look) -> None:
    page = seen.page
    page.locator("#keep-number").fill("80")
    page.keyboard.press("Enter")
    seen.wait("document.querySelector('#counts b')?.textContent === '38 kept'")
    position = seen.positions(1)[1]
    seen.click(position)
    seen.wait("location.hash.includes('image=')")
    page.reload()
    seen.wait("document.querySelector('#counts b')?.textContent === '38 kept'")
    seen.wait(f"document.querySelector('#feed .tile.active')?.dataset.p === '{position}'")
    kept = "performance.getEntriesByType('resource').filter(one => one.name.includes('/page/'))"
    assert page.evaluate(f"{kept}.map(one => one.transferSize).filter(bytes => bytes > 0)") == []
    assert page.evaluate(f"{kept}.length") > 40


def test_two_images_beside_each_other_and_by_turns(seen: Look) -> None:
    page = seen.page
    seen.click(seen.positions()[1])
    page.keyboard.press("c")
    page.locator(".stage figure").nth(1).wait_for()
    page.keyboard.press("f")
    before = page.locator(".stage .front figcaption").inner_text()
    page.keyboard.press("f")
    seen.becomes(lambda: page.locator(".stage .front figcaption").inner_text() != before, True)
    page.keyboard.press("Escape")
    page.locator(".stage").wait_for(state="detached")


def test_the_map_is_laid_out_and_a_lasso_selects(seen: Look, monkeypatch: pytest.MonkeyPatch) -> None:
    corners = np.linspace(2000, 63000, 48).astype(np.uint16)
    made = maps.Projection(corners, corners[::-1].copy(), "a line")  # what is tested is the page, not UMAP
    monkeypatch.setattr(maps, "project", lambda vectors, tell: made)
    page = seen.page
    page.locator("[data-view=map]").click()
    page.get_by_role("button", name="Compute the map").click()
    page.locator(".points").wait_for()
    page.get_by_role("button", name="Lasso").click()
    box = page.locator(".points").bounding_box()
    left, top, right, low = (
        box["x"] + 3,
        box["y"] + 3,
        box["x"] + box["width"] - 3,
        box["y"] + box["height"] - 3,
    )
    page.mouse.move(left, top)
    page.mouse.down()
    for x, y in ((right, top), (right, low), (left, low), (left, top)):
        page.mouse.move(x, y, steps=3)
    page.mouse.up()
    seen.wait("document.querySelector('#selection-bar b')?.textContent === '48 selected'")
    page.keyboard.press("Escape")
    page.locator("#selection-bar").wait_for(state="hidden")


def test_points_are_found_as_a_plain_search_finds_them(seen: Look) -> None:
    found = seen.page.evaluate(
        """async (file) => {
            const { Grid, within } = await import(file);
            let seed = 7;
            const draw = () => (seed = (seed * 48271) % 2147483647) % 65536;
            const points = Uint16Array.from({ length: 6000 }, () => (draw() >> 8) << 8);  // ties in plenty
            const grid = new Grid(points);
            const plain = (x, y, radius) => {
                let best = -1, least = radius * radius;
                for (let p = 0; p < 3000; p += 1) {
                    const far = (points[2 * p] - x) ** 2 + (points[2 * p + 1] - y) ** 2;
                    if (far < least) [best, least] = [p, far];
                }
                return best;
            };
            let wrong = 0;
            for (let trial = 0; trial < 300; trial += 1) {
                const at = [draw(), draw(), draw() / 8];
                if (grid.nearest(...at) !== plain(...at)) wrong += 1;
            }
            const box = within(points, [[9999, 9999], [50001, 9999], [50001, 30001], [9999, 30001]]);
            const inside = (p) => points[2 * p] > 9999 && points[2 * p] < 50001
                && points[2 * p + 1] > 9999 && points[2 * p + 1] < 30001;
            const expected = [...Array(3000).keys()].filter(inside);
            return [wrong, box.length > 0 && box.join() === expected.join()];
        }""",
        seen.module("points.js"),
    )
    assert found == [0, True]


def test_a_list_longer_than_browsers_allow_is_reached_to_its_end(seen: Look) -> None:
    found = seen.page.evaluate(
        """async (file) => {
            const { Viewport } = await import(file);
            const root = document.querySelector("#feed");
            root.replaceChildren();
            const view = new Viewport(root, () => {});
            view.layout({ tile: 88, gap: 8 });
            const count = 900000;
            view.setCount(count);
            const height = root.clientHeight;
            const frame = () => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
            scrollTo(0, 1e9);
            await frame();
            const end = view.range(count)[1];
            scrollBy(0, -300);
            await frame();
            const near = view.range(count)[1];
            scrollTo(0, 0);
            await frame();
            const first = view.range(count)[0];
            view.toIndex(count / 2, count);
            const [from, to] = view.range(count);
            return { height, end, near: end - near, first, middle: from <= count / 2 && count / 2 < to };
        }""",
        seen.module("viewport.js"),
    )
    assert found["height"] < 10_000_000
    assert (found["end"], found["first"], found["middle"]) == (900_000, 0, True)
    assert found["near"] < 20  # a small step stays small


def test_no_width_scrolls_sideways(chromium: Any, address: str) -> None:
    opened = look(chromium, address, width=360, height=800)
    opened.ready()
    opened.tiles(0).nth(1).click()
    opened.page.locator(".image-name").wait_for()
    for width in (360, 768, 2560):
        opened.page.set_viewport_size({"width": width, "height": 800})
        for part in ("document.documentElement", "document.querySelector('.panel').parentNode"):
            assert opened.page.evaluate(f"{part}.scrollWidth <= {part}.clientWidth"), (width, part)
    opened.leave()


def test_dark_is_dark_and_the_toggle_holds(chromium: Any, address: str) -> None:
    opened = look(chromium, address, color_scheme="dark")
    opened.ready()
    ground = "getComputedStyle(document.body).backgroundColor"
    assert opened.page.evaluate(ground) == "rgb(19, 21, 23)"
    opened.page.locator("#theme").click()
    opened.becomes(lambda: opened.page.evaluate(ground), "rgb(251, 251, 250)")
    opened.page.reload()
    opened.ready()
    assert opened.page.evaluate(ground) == "rgb(251, 251, 250)"
    opened.leave()


@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 1280), ("light", 360)])
def test_axe_finds_nothing(chromium: Any, address: str, scheme: str, width: int) -> None:
    reason = "this test needs axe-playwright-python"
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason=reason).Axe()
    opened = look(chromium, address, color_scheme=scheme, width=width, height=860)
    page = opened.page
    opened.ready()

    def check(what: str) -> None:
        found = axe.run(page).response["violations"]
        said = [(one["id"], [node["html"] for node in one["nodes"]]) for one in found]
        assert not said, f"{what}: {said}"

    page.locator("#show-filters").click()
    check("groups")
    page.locator("[data-view=decisions]").click()
    page.locator("#decisions-title").wait_for()
    check("decisions")
    page.locator("[data-view=groups]").click()
    page.locator("#help").click()
    check("help")
    page.keyboard.press("Escape")
    page.locator("#export").click()
    check("export")
    page.keyboard.press("Escape")
    opened.tiles(0).nth(1).click()
    page.locator(".image-name").wait_for()
    check("an image")
    opened.leave()


def test_what_is_exported_is_what_is_on_screen(seen: Look, run: Path) -> None:
    page = seen.page
    page.locator("#keep-number").fill("87.5")
    page.keyboard.press("Enter")
    seen.wait("document.querySelector('#counts b')?.textContent === '42 kept'")
    page.locator("#export").click()
    kept = []
    for name in ("kept.txt", "selection.csv"):
        with page.expect_download() as coming:
            page.locator(f"a[download='{name}']").click()
        kept.append(Path(coming.value.path()).read_text(encoding="utf-8").splitlines())
    ids, table = kept
    assert len(ids) == 42 and len(table) == 49
    (command,) = page.locator("[aria-label=Command] code").all_inner_texts()
    page.get_by_role("button", name="Store in the run folder").click()
    page.get_by_text("Stored: 42 kept, 6 removed.").wait_for()
    stored = tp.Selection.load(run / "selection.parquet")
    assert stored.ids[stored.kept_by_id].tolist() == ids
    assert main(shlex.split(command)[1:]) == 0
    again = tp.Selection.load(run / "selection.parquet")
    assert again.table.equals(stored.table)
    tp.select(run, keep=0.75)  # as the other tests find it, in any order


def test_who_wants_no_motion_sees_none(chromium: Any, address: str) -> None:
    for motion, name in (("no-preference", "rise"), ("reduce", "none")):
        opened = look(chromium, address, reduced_motion=motion)
        opened.ready()
        opened.page.locator("#export").click()
        opened.page.get_by_role("button", name="Copy: Command").click()
        toast = opened.page.locator(".toast").first
        assert toast.evaluate("toast => getComputedStyle(toast).animationName") == name
        opened.leave()


def test_a_server_that_is_gone_is_told_and_found_again(chromium: Any, run: Path) -> None:
    with served(run) as address:
        opened = look(chromium, address)
        opened.ready()
        port = int(address.split(":")[2].split("/")[0])
    opened.page.get_by_text("The server does not answer").first.wait_for()
    with served(run, port):
        opened.page.get_by_text("The server does not answer").wait_for(state="detached")
        opened.leave()


@pytest.mark.parametrize(("width", "height"), [(390, 844), (800, 700), (1280, 700)])
def test_the_bars_leave_room_and_cover_no_field(chromium: Any, address: str, width: int, height: int) -> None:
    seen = look(chromium, address, width=width, height=height)
    seen.ready()
    page = seen.page
    page.evaluate("scrollTo(0, 600)")
    page.keyboard.press("/")
    page.locator("#find-image").fill("1")
    page.locator("#find-list [role=option]").first.wait_for()
    field, found, bar = (page.locator(name).bounding_box() for name in ("#find-image", "#find-list", "#cut"))
    assert field and found and bar
    assert bar["y"] + bar["height"] <= field["y"] < found["y"]
    assert found["x"] >= 0 and found["x"] + found["width"] <= width
    page.keyboard.press("Escape")
    page.evaluate("document.activeElement.blur()")
    page.locator("#several").click()
    seen.tiles(0).nth(1).click()
    page.evaluate("scrollTo(0, 600)")
    page.wait_for_timeout(100)
    shown = [page.locator(name).bounding_box() for name in ("#cut", "#selection-bar")]
    assert shown[0] and shown[1]
    covered = shown[0]["y"] + shown[0]["height"] + height - shown[1]["y"]
    assert covered < 0.4 * height
    seen.leave()


def test_a_name_breaks_after_a_separator(seen: Look) -> None:
    seen.tiles(0).first.wait_for()
    lines = seen.page.evaluate(
        """async (file) => {
            const { fitted, linesOf } = await import(file);
            return [
                linesOf("IMG_078_bright.jpg", 13), linesOf("IMG_078_bright.jpg", 12), linesOf("abcdefghij", 4),
                fitted("IMG_078_bright.jpg", { letters: 12, lines: 2 }),
                fitted("abcdefghijklmnopqrstuvwxyz", { letters: 4, lines: 2 }),
            ];
        }""",
        seen.module("names.js"),
    )
    assert lines == [2, 2, 3, "IMG_078_bright.jpg", "ab…vwxyz"]
