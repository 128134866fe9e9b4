"""The review page in a real browser: what is selected, what a decision acts on, and what is removed instead."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import tenpercent as tp
from browsing import Look, look, served
from reviewing import flat, page, until
from tenpercent.cli.main import main


def decided(seen: Look) -> list[tuple[str, list[int]]]:
    """The decisions, the newest first, with their images."""
    return [
        (one["kind"], [image["p"] for image in one["images"]])
        for one in seen.api("api/decisions")["decisions"]
    ]


def settle(seen: Look, number: int) -> None:
    """Wait until so many decisions hold and the list is drawn after them."""
    seen.wait(f"document.querySelector('#decision-count').textContent === '{number}'")
    seen.settle()


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
    seen.becomes(lambda: selected(seen), [])
    wanted = [seen.positions(group)[1] for group in (1, 2, 3)]
    for position in wanted:
        seen.page.locator(f"#feed [data-p='{position}']").click()
    seen.becomes(seen.page.locator("#selection-bar b").inner_text, "3 selected")
    seen.becomes(lambda: selected(seen), sorted(wanted))
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
    seen.becomes(lambda: selected(seen), sorted(wanted))
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
    seen.becomes(lambda: selected(seen), [])
    page.keyboard.press("r")
    page.get_by_text("Select an image first").wait_for()
    assert decided(seen) == [("keep", [one, two])]
    page.locator(f"#feed [data-p='{one}']").click()
    page.locator("#show-filters").click()
    page.locator("#filter-class").select_option(label="plain (16)")
    page.get_by_text("1 image is no longer selected").wait_for()
    page.keyboard.press("Escape")
    page.locator("#selection-bar").wait_for(state="hidden")


def test_the_bar_shows_who_is_selected_and_lets_one_out(seen: Look) -> None:
    page = seen.page
    one, two = seen.positions(0)[1], seen.positions(1)[1]
    seen.click(one)
    page.locator(f"#feed [data-p='{two}']").click(modifiers=["Control"])
    seen.becomes(page.locator("#selection-bar .chosen").count, 2)
    page.locator("#side .actions-grid [data-action=remove]").wait_for(state="hidden")
    page.locator("#selection-bar .chosen").first.click()
    seen.becomes(lambda: selected(seen), [two])


def test_the_ring_is_on_the_group_that_the_panel_shows(seen: Look) -> None:
    page = seen.page
    first = seen.positions(0)
    seen.click(first[1])
    page.keyboard.press("n")
    settle(seen, 1)
    looked = page.locator("#feed .card.has-active .tile.active")
    name = looked.get_attribute("title")
    page.locator("#side .image-name").get_by_text(name, exact=True).wait_for()
    seen.becomes(lambda: looked.evaluate("tile => tile === document.activeElement"), True)
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
    seen.becomes(offers.count, 1)
    page.keyboard.press("u")
    settle(seen, 1)
    seen.becomes(offers.count, 0)


def test_an_outcome_takes_the_place_of_the_one_before_and_of_errors(seen: Look) -> None:
    page = seen.page
    page.locator("#several").click()
    page.keyboard.press("r")
    page.locator(".toast.bad").wait_for()
    page.locator("#several").click()
    seen.click(seen.positions(0)[1])
    page.keyboard.press("k")
    settle(seen, 1)
    seen.becomes(page.locator(".toast.bad").count, 0)
    page.keyboard.press("u")
    seen.wait("document.querySelector('#decision-count').hidden")
    page.locator(".toast.outcome").get_by_text("Undone").wait_for()
    assert page.locator(".toast").count() == 1


# ---- representatives in bulk ---------------------------------------------------------------------------------------


def test_representatives_of_several_groups_at_once(seen: Look) -> None:
    page = seen.page
    wanted = [seen.positions(group)[1] for group in (0, 1, 2)]
    page.locator("#several").click()
    for position in wanted:
        page.locator(f"#feed [data-p='{position}']").click()
    page.get_by_role("button", name="Make representatives").click()
    page.get_by_text("3 images made representatives").first.wait_for()
    assert decided(seen) == [("prefer", wanted)]
    for position in wanted:
        seen.wait(f"document.querySelector('#feed .tile.kept[data-p=\"{position}\"]')")
    page.keyboard.press("u")
    seen.wait("document.querySelector('#decision-count').hidden")


def test_two_representatives_of_one_group_are_refused_by_name(seen: Look) -> None:
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


def test_the_server_takes_representatives_of_several_groups(run: Path) -> None:
    with page(run) as opened:
        groups = opened.get("/api/groups", keep=0.75)["groups"]
        ones = [group["members"][1]["p"] for group in groups[:3]]
        opened.decide("prefer", *ones, keep=0.75)
        for position in ones:
            assert opened.get(f"/api/images/{position}", keep=0.75)["representative"] == position
        pair = [member["p"] for member in groups[3]["members"]]
        refused = opened.decide("prefer", *pair, keep=0.75, status=400)
        assert "one representative" in refused["error"]
        apart: Any = opened.get("/api/cut", keep=1.0)
        assert apart["removed"] == 0
        opened.decide("prefer", *pair, keep=1.0)  # where nothing is merged they are two groups


# ---- who goes instead ----------------------------------------------------------------------------------------------


def groups_of(seen: Look, query: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = seen.api(f"api/groups?limit=100&{query}")["groups"]
    return found


def test_a_refused_group_lets_fewer_go_and_says_who_could_go_instead(seen: Look) -> None:
    page = seen.page
    one, other = seen.positions(0)
    before = {tuple(group["members"][k]["p"] for k in (0, 1)) for group in groups_of(seen, "keep=0.75")}
    seen.click(other)
    page.keyboard.press("n")
    page.get_by_text("is kept now; no other image is removed instead").wait_for()
    seen.wait("document.querySelector('#counts b')?.textContent === '37 kept'")
    held = {
        tuple(group["members"][k]["p"] for k in (0, 1)) for group in groups_of(seen, "keep=0.75&hold=height")
    }
    assert held == before - {(one, other)}
    refill = seen.api("api/refill?keep=0.75&hold=height")
    (goes,) = refill["further"]["instead"]
    box = page.locator("#refill")
    box.get_by_text(goes["id"].split("/")[-1]).first.wait_for()
    box.get_by_role("button", name="Remove 1 more, to keep 75%").click()
    seen.wait("document.querySelector('#counts b')?.textContent === '36 kept'")
    box.get_by_text("is removed instead").wait_for()
    box.get_by_text(goes["id"].split("/")[-1]).first.wait_for()
    seen.wait("location.hash.includes('hold=count')")
    page.reload()
    seen.wait("document.querySelector('#counts b')?.textContent === '36 kept'")
    box.get_by_role("button", name="Remove 1 fewer instead").click()
    seen.wait("document.querySelector('#counts b')?.textContent === '37 kept'")


def test_the_server_tells_what_decisions_change_of_any_cut(run: Path) -> None:
    """Of a cut far down too, where a decision makes others go at the same height; by a threshold as well."""
    with page(run) as opened:
        opened.post("/api/deepen", 202, keep=0.0625)
        until(opened, "/api/deepen")
        cuts: list[dict[str, Any]] = [{"keep": 0.3, "hold": hold} for hold in ("height", "count")]
        cuts.append({"threshold": opened.get("/api/cut", keep=0.6)["height"]})
        before = [{image["p"] for image in opened.get("/api/removed", **cut)["images"]} for cut in cuts]
        for number in (0, 1):
            group = opened.get("/api/groups", **cuts[0])["groups"][number]
            opened.decide("apart", *(member["p"] for member in group["members"][:2]))
        for cut, removed in zip(cuts, before, strict=True):
            after = {image["p"] for image in opened.get("/api/removed", **cut)["images"]}
            told = opened.get("/api/refill", **cut)
            assert [image["p"] for image in told["back"]] == sorted(removed - after)
            assert [image["p"] for image in told["instead"]] == sorted(after - removed)
        full = {image["p"] for image in opened.get("/api/removed", **cuts[1])["images"]}
        low = {image["p"] for image in opened.get("/api/removed", **cuts[0])["images"]}
        further = opened.get("/api/refill", **cuts[0])["further"]
        assert [image["p"] for image in further["instead"]] == sorted(full - low)
        assert opened.get("/api/refill", **cuts[2])["further"] is None


def test_the_notice_and_the_box_say_the_same_of_who_goes_instead(seen: Look) -> None:
    page = seen.page
    page.locator("#threshold-number").fill("2")
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Deepen the tree").click()
    page.locator("#deeper").wait_for(state="detached")
    for field, value in (("#keep-number", "20"), ("#threshold-number", "0.4")):
        page.locator(field).fill(value)
        page.keyboard.press("Enter")
        seen.settle()
        seen.becomes(lambda: len(seen.positions(0)) > 2, True)
        seen.click(seen.positions(0)[1])
        page.keyboard.press("n")
        said = page.locator(".toast.outcome p", has_text="kept now").inner_text().split(". ", 1)[1]
        page.locator("#refill").get_by_text(f"By your decision, {said}").wait_for()
        page.keyboard.press("u")
        page.locator("#refill section").wait_for(state="detached")


def test_what_decisions_bring_back_is_stored_as_shown(seen: Look, run: Path) -> None:
    page = seen.page
    seen.click(seen.positions(0)[1])
    page.keyboard.press("n")
    seen.wait("document.querySelector('#counts b')?.textContent === '37 kept'")
    page.locator("#export").click()
    (command,) = page.locator("[aria-label=Command] code").all_inner_texts()
    page.get_by_role("button", name="Store in the run folder").click()
    page.get_by_text("Stored: 37 kept, 11 removed.").wait_for()
    stored = tp.Selection.load(run / "selection.parquet")
    assert main(shlex.split(command)[1:]) == 0
    assert tp.Selection.load(run / "selection.parquet").table.equals(stored.table)


def test_at_the_edge_of_the_tree_a_decision_empties_no_list(seen: Look) -> None:
    page = seen.page
    page.locator("#keep-number").fill("60")
    page.keyboard.press("Enter")
    seen.wait("document.querySelector('#counts b')?.textContent === '29 kept'")
    seen.click(seen.positions(0)[1])
    page.keyboard.press("n")
    seen.wait("document.querySelector('#counts b')?.textContent === '30 kept'")
    seen.becomes(lambda: page.locator(".card:not(.waiting)").count() > 3, True)
    assert page.locator("#feed").is_visible() and page.locator("#deeper").count() == 0
    page.locator("#refill").get_by_text("The tree ends here").wait_for()
    page.locator("#refill").get_by_role("button", name="Deepen the tree").click()
    page.locator("#refill").get_by_role("button", name="Remove 1 more").click()
    seen.wait("document.querySelector('#counts b')?.textContent === '29 kept'")
    page.locator("#feed").wait_for()


def test_an_address_that_fills_up_beyond_the_tree_lets_fewer_go(chromium: Any, address: str) -> None:
    opened = look(chromium, address)
    opened.ready()
    opened.click(opened.positions(0)[1])
    opened.page.keyboard.press("n")
    settle(opened, 1)
    opened.page.goto("about:blank")
    opened.page.goto(address.split("?")[0] + "#keep=0.6&hold=count")
    opened.page.get_by_text("The tree ends here, so fewer images are removed than asked").wait_for()
    opened.wait("document.querySelector('#counts b')?.textContent === '30 kept'")
    opened.becomes(lambda: opened.page.locator(".card:not(.waiting)").count() > 3, True)
    assert opened.faults == []
    opened.leave()


def test_what_was_said_of_a_cut_goes_with_it(seen: Look) -> None:
    page = seen.page
    for leave in ("[", "#threshold-number"):
        seen.click(seen.positions(0)[1])
        page.keyboard.press("n")
        said = page.locator(".toast.outcome", has_text="kept now")
        said.wait_for()
        if leave == "[":
            page.keyboard.press(leave)
        else:
            page.locator(leave).fill("0.1")
            page.keyboard.press("Enter")
        said.wait_for(state="detached", timeout=5000)  # sooner than it goes by itself
        seen.settle()


def test_a_decision_that_ends_beyond_the_tree_says_what_the_page_then_shows(run: Path) -> None:
    with page(run) as opened:
        one, other = (
            member["p"] for member in opened.get("/api/groups", keep=0.6)["groups"][0]["members"][:2]
        )
        change = opened.decide("apart", one, other, keep=0.6, hold="count")["change"]
        shown = opened.get("/api/refill", keep=0.6, hold="height")
        assert change["n_back"] > 0 and change == {name: shown[name] for name in change}
        assert opened.get("/api/cut", 409, keep=0.6, hold="count")["can_deepen"]


def test_the_answer_to_a_decision_says_who_goes_instead(run: Path) -> None:
    with page(run) as opened:
        group = opened.get("/api/groups", keep=0.75)["groups"][0]
        one, other = (member["p"] for member in group["members"])
        before = {image["p"] for image in opened.get("/api/removed", keep=0.75)["images"]}
        change = opened.decide("apart", one, other, keep=0.75)["change"]
        after = {image["p"] for image in opened.get("/api/removed", keep=0.75)["images"]}
        assert [image["p"] for image in change["back"]] == sorted(before - after) == [other]
        assert [image["p"] for image in change["instead"]] == sorted(after - before)
        assert change["n_instead"] == 1
        swapped = opened.get("/api/groups", keep=0.75)["groups"][0]["members"]
        change = opened.decide("prefer", swapped[1]["p"], keep=0.75, hold="height")["change"]
        assert [image["p"] for image in change["back"]] == [swapped[1]["p"]]
        assert [image["p"] for image in change["instead"]] == [swapped[0]["p"]]


# ---- words and what was missing ------------------------------------------------------------------------------------


def test_a_cut_by_dissimilarity_stands_beside_the_slider(seen: Look) -> None:
    page = seen.page
    heights = sorted(group["diameter"] for group in groups_of(seen, "keep=0.75"))
    threshold = (heights[4] + heights[5]) / 2
    page.locator("#threshold-number").fill(str(threshold))
    page.keyboard.press("Enter")
    seen.wait("document.querySelector('#counts b')?.textContent === '43 kept'")
    seen.becomes(page.locator("#keep-number").input_value, "89.6")
    seen.wait("location.hash.includes('threshold=')")
    page.reload()
    seen.wait("document.querySelector('#counts b')?.textContent === '43 kept'")
    page.locator("#export").click()
    (command,) = page.locator("[aria-label=Command] code").all_inner_texts()
    assert "--threshold" in command
    with page.expect_download() as coming:
        page.locator("a[download='kept.txt']").click()
    assert len(Path(coming.value.path()).read_text(encoding="utf-8").splitlines()) == 43
    page.keyboard.press("Escape")
    page.locator("#keep-number").fill("75")
    page.keyboard.press("Enter")
    seen.wait("document.querySelector('#counts b')?.textContent === '36 kept'")
    shown = page.locator("#threshold-number").input_value
    seen.becomes(lambda: abs(float(shown()) - heights[-1]) < 0.01 * heights[-1], True)


def test_a_threshold_beyond_the_tree_offers_to_go_deeper(seen: Look) -> None:
    page = seen.page
    page.locator("#threshold-number").fill("0.5")
    page.keyboard.press("Enter")
    page.get_by_text("Dissimilarity 0.5000 is beyond the computed tree").wait_for()
    page.get_by_role("button", name="Deepen the tree").click()
    page.locator("#deeper").wait_for(state="detached")
    kept = seen.api("api/cut?threshold=0.5")["kept"]
    seen.wait(f"document.querySelector('#counts b')?.textContent === '{kept} kept'")


def test_what_goes_is_listed_beside_what_is_kept_for_it(seen: Look) -> None:
    page = seen.page
    page.locator("[data-view=removed]").click()
    page.locator(".pair").first.wait_for()
    shown = page.locator(".pair .tile.removed").evaluate_all(
        "nodes => nodes.map(node => Number(node.dataset.p))"
    )
    api = seen.api("api/removed?keep=0.75&hold=height&limit=200")
    assert shown == [image["p"] for image in api["images"]] and len(shown) == 12
    far = [image["d"] for image in api["images"]]
    assert far == sorted(far, reverse=True)
    page.locator(".pair .tile.removed").first.click()
    page.locator("#side .image-name").get_by_text(api["images"][0]["id"], exact=True).wait_for()
    page.keyboard.press("k")
    seen.wait("document.querySelectorAll('.pair .tile.removed').length === 11")


def test_several_are_selected_among_what_goes(seen: Look) -> None:
    page = seen.page
    seen.click(seen.positions(0)[1])
    page.locator("[data-view=removed]").click()
    goes = page.locator(".pair .tile.removed")
    goes.first.wait_for()
    shown = [int(p) for p in goes.evaluate_all("nodes => nodes.map(node => node.dataset.p)")]
    page.locator("#view-removed").get_by_role("button", name="Select several").click()
    page.locator("#selection-bar").get_by_text("None selected").wait_for()
    for number in (3, 1):
        goes.nth(number).click()
    seen.becomes(page.locator("#selection-bar b").inner_text, "2 selected")
    marked = page.locator(".pair .tile[aria-selected=true]")
    seen.becomes(
        lambda: {int(p) for p in marked.evaluate_all("nodes => nodes.map(node => node.dataset.p)")},
        {shown[3], shown[1]},
    )
    page.keyboard.press("k")
    settle(seen, 1)
    assert decided(seen) == [("keep", [shown[3], shown[1]])]
    seen.becomes(goes.count, 10)
    goes.nth(0).click()
    goes.nth(2).click(modifiers=["Shift"])
    seen.becomes(page.locator("#selection-bar b").inner_text, "3 selected")
    page.keyboard.press("Escape")
    goes.nth(0).click()
    page.keyboard.press("ArrowRight")
    seen.becomes(
        lambda: page.locator(".pair .tile").nth(1).evaluate("tile => tile === document.activeElement"), True
    )
    page.locator(".pair .tile.active").nth(0).wait_for()
    page.keyboard.press("Space")
    seen.becomes(page.locator("#selection-bar b").inner_text, "2 selected")


def test_the_bar_of_an_empty_selection_goes_with_its_list(seen: Look) -> None:
    page = seen.page
    for view in ("removed", "map", "decisions"):
        page.locator("button[data-view=groups]").click()
        page.locator("#several").click()
        page.locator("#selection-bar").get_by_text("None selected").wait_for()
        page.locator(f"[data-view={view}]").click()
        page.locator("#selection-bar").wait_for(state="hidden")


def test_what_was_decided_is_counted(seen: Look) -> None:
    page = seen.page
    seen.becomes(page.locator("#decided-so-far").inner_text, "0 of 12 decided")
    seen.click(seen.positions(0)[1])
    page.keyboard.press("a")
    page.get_by_text("1 of 12 decided").wait_for()
    seen.click(seen.positions(1)[1])
    page.keyboard.press("n")
    page.get_by_text("2 of 12 decided").wait_for()


def test_orders_that_show_the_same_are_not_both_offered(seen: Look) -> None:
    order = seen.page.locator("#filter-order")
    seen.becomes(lambda: order.locator("option:not([hidden])").all_inner_texts()[0], "tightest first")
    seen.becomes(order.input_value, "tightest")
    order.select_option("widest")
    seen.wait("document.querySelectorAll('.card:not(.waiting)').length > 1")
    assert order.input_value() == "widest"


def test_why_an_image_is_not_in_the_list_is_said(seen: Look) -> None:
    page = seen.page
    alone = next(p for p in range(48) if seen.api(f"api/groups/{p}?keep=0.75")["size"] == 1)
    grouped = groups_of(seen, "keep=0.75&class=plain")[0]["members"][0]
    for position, words in (
        (alone, "alone at this cut"),
        (grouped["p"], "filters hide its group of 2 images"),
    ):
        name = seen.api(f"api/images/{position}?keep=0.75")["id"]
        page.locator("#find-image").fill(name)
        page.locator("#find-list").get_by_title(name, exact=True).wait_for()  # no option of the search before
        page.keyboard.press("Enter")
        page.get_by_text(words).wait_for()
        if position == alone:
            page.locator("#show-filters").click()
            page.locator("#filter-text").fill("no such name")
            page.get_by_text("No group passes the filters").wait_for()
    page.locator(".toast").get_by_role("button", name="Clear the filters").click()
    seen.wait(f"document.activeElement.dataset.p === '{grouped['p']}'")


def test_the_hatched_end_and_decisions_are_explained(seen: Look) -> None:
    page = seen.page
    page.locator("#beyond").wait_for()
    assert "not computed yet" in page.locator("#beyond").inner_text()
    seen.click(seen.positions(0)[1])
    page.keyboard.press("n")
    page.locator("#notes").get_by_text("decisions in force: 1 pair never together").wait_for()


@pytest.mark.parametrize("end", ["_bright.png", "_photograph_of_the_day.png"])
def test_long_names_take_the_room_there_is(chromium: Any, tmp_path: Path, end: str) -> None:
    generator = np.random.default_rng(0)
    folder = tmp_path / "photos" / "n02123045"
    folder.mkdir(parents=True)
    base = generator.integers(0, 256, (6, 12, 12, 3))
    for number in range(12):
        pixels = np.clip(base[number % 6] + generator.integers(-3, 4, (12, 12, 3)), 0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"n02123045_{number:04d}{end}")
    tp.embed(tmp_path / "photos", out=tmp_path / "run", embedder=flat)
    tp.cluster(tmp_path / "run", 0.5)
    tp.select(tmp_path / "run", tp.Cut(keep=0.5))
    with served(tmp_path / "run") as address:
        opened = look(chromium, address)
        opened.ready()
        opened.tiles(0).first.wait_for()
        name = opened.tiles(0).first.locator(".id")
        assert name.inner_text().startswith("n02123045_") and name.inner_text().endswith(end)
        assert "…" not in name.inner_text()
        assert name.evaluate("node => node.scrollHeight <= node.clientHeight")
        opened.leave()


def test_groups_are_not_accepted_while_images_of_others_are_selected(seen: Look) -> None:
    page = seen.page
    page.locator("#several").click()
    for group in (0, 1):
        page.locator(f"#feed [data-p='{seen.positions(group)[1]}']").click()
    for key in ("a", "g"):
        page.keyboard.press(key)
        page.get_by_text("clear the selection first").first.wait_for()
    assert decided(seen) == []


def test_what_is_out_of_sight_is_not_decided_about(chromium: Any, address: str) -> None:
    opened = look(chromium, address, width=900, height=500)
    opened.ready()
    page = opened.page
    opened.tiles(0).nth(1).click()
    page.locator(".sheet-close").click()
    page.evaluate("scrollTo(0, 100000)")
    page.wait_for_timeout(300)
    for keys in ("r", "g", "a", "m", "c", "f", "3r"):  # 3 is the map, which shows no image before it is made
        for key in keys:
            page.keyboard.press(key)
        page.get_by_text("not on screen").wait_for()
        assert page.locator("dialog").count() == 0 and decided(opened) == []
        page.evaluate("document.querySelector('#toasts').replaceChildren()")
    opened.leave()


def test_a_key_may_come_before_the_panel_shows_its_image(seen: Look) -> None:
    one, other = seen.positions(0)[:2]
    seen.page.route("**/api/groups/*", lambda route: None)  # the panel waits
    seen.tiles(0).nth(1).click()
    seen.page.keyboard.press("n")
    seen.wait("document.querySelector('#decision-count').textContent === '1'")
    assert decided(seen) == [("apart", [other, one])]


def test_a_note_for_several_is_about_none_of_their_groups(seen: Look) -> None:
    page = seen.page
    page.locator("#several").click()
    for group in (0, 1):
        page.locator(f"#feed [data-p='{seen.positions(group)[1]}']").click()
    page.keyboard.press("m")
    page.locator("dialog").get_by_text("About 2 images.").wait_for()
    offered = page.locator(".choices label").all_inner_texts()
    assert "Keep" in offered and not {"Keep whole group", "Accept group"} & set(offered)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_in_what_is_new(chromium: Any, address: str, scheme: str) -> None:
    reason = "this test needs axe-playwright-python"
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason=reason).Axe()
    opened = look(chromium, address, color_scheme=scheme)
    opened.ready()
    page = opened.page

    def check(what: str) -> None:
        found = axe.run(page).response["violations"]
        said = [(one["id"], [node["html"] for node in one["nodes"]]) for one in found]
        assert not said, f"{what}: {said}"

    opened.click(opened.positions(0)[1])
    page.keyboard.press("n")
    page.locator("#refill section").wait_for()
    page.locator("#several").click()
    opened.tiles(0).first.click()
    check("a selection, and who would go instead")
    page.locator("[data-view=removed]").click()
    page.locator(".pair").first.wait_for()
    check("removed images")
    opened.leave()


def test_a_selection_ends_where_another_view_begins(seen: Look) -> None:
    seen.tiles(0).nth(1).click()
    seen.tiles(1).nth(1).click(modifiers=["Control"])
    seen.page.locator("#selection-bar").wait_for()
    seen.page.locator("[data-view=removed]").click()
    seen.page.locator("#selection-bar").wait_for(state="hidden")


def test_another_order_makes_no_other_image_active(seen: Look) -> None:
    page = seen.page
    seen.click(seen.positions(0)[1])
    seen.wait("location.hash.includes('image=')")
    image = page.evaluate("location.hash")
    name = page.locator("#side .image-name").inner_text()
    page.evaluate("""() => {
        const order = document.querySelector("#filter-order");
        order.value = "widest";
        order.dispatchEvent(new Event("change"));
    }""")
    seen.wait("location.hash.includes('order=widest')")
    seen.settle()
    assert page.locator("#side .image-name").inner_text() == name
    assert image[1:] in page.evaluate("location.hash")


def test_a_number_out_of_range_is_refused_aloud(seen: Look) -> None:
    page = seen.page
    for field, wrong, said in (
        ("#threshold-number", ("3", "-1", ""), "Dissimilarity is from 0 to 2."),
        ("#keep-number", ("0", "-5", "200", ""), "Keep is above 0 and at most 100%."),
    ):
        before = page.locator(field).input_value()
        for value in wrong:
            page.locator(field).fill(value)
            page.keyboard.press("Enter")
            page.locator(".toast.bad").get_by_text(said).wait_for()
            seen.becomes(page.locator(field).input_value, before)
            page.locator(".toast.bad").get_by_role("button", name="Dismiss").click()
