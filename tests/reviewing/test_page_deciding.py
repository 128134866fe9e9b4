"""The review page in a real browser, deciding: representatives, never together, undo, by keyboard, two people."""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

import tenpercent as tp
from browsing import Look, look
from forked import start_command


def representative_of(seen: Look, position: int) -> int | None:
    found: int | None = seen.api(f"api/images/{position}?keep=0.75")["representative"]
    return found


def test_another_representative_undo_and_redo(seen: Look) -> None:
    representative, other = seen.positions()[:2]
    seen.click(other)
    seen.page.get_by_role("button", name="Make representative").click()
    seen.wait(f"document.querySelector('#feed .tile.kept[data-p=\"{other}\"]')")
    assert representative_of(seen, representative) == other
    seen.becomes(seen.page.locator("#decision-count").inner_text, "1")
    seen.page.locator("#undo").click()
    seen.wait(f"document.querySelector('#feed .tile.kept[data-p=\"{representative}\"]')")
    seen.becomes(seen.page.locator("#undo").is_disabled, True)
    seen.page.locator("#redo").click()
    seen.wait(f"document.querySelector('#feed .tile.kept[data-p=\"{other}\"]')")
    seen.page.reload()
    seen.wait(f"document.querySelector('#feed .tile.kept[data-p=\"{other}\"]')")


def test_two_images_never_together(seen: Look) -> None:
    one, other = seen.positions()[:2]
    seen.click(one)
    seen.page.locator(f"#feed [data-p='{other}']").click(modifiers=["Control"])
    seen.page.locator("#selection-bar").get_by_role("button", name="Never together").click()
    seen.page.get_by_text("2 images never together").first.wait_for()
    groups = [seen.api(f"api/images/{p}?keep=0.75")["group"]["key"] for p in (one, other)]
    assert groups[0] != groups[1]
    (decision,) = seen.api("api/decisions")["decisions"]
    assert (decision["kind"], [image["p"] for image in decision["images"]]) == ("apart", [one, other])


def test_everything_by_keyboard(seen: Look) -> None:
    page = seen.page
    one, other = seen.positions()[:2]
    page.locator(".skip").focus()
    page.keyboard.press("Enter")
    seen.wait(f"document.activeElement.dataset.p === '{one}'")
    page.keyboard.press("ArrowRight")
    seen.wait(f"document.querySelector('#feed .tile.active')?.dataset.p === '{other}'")
    for key, kind in (
        ("k", "keep"),
        ("r", "remove"),
        ("p", "prefer"),
        ("n", "apart"),
        ("Shift+N", "alone"),
        ("a", "accept"),
    ):
        page.locator("#side .image-name").wait_for()
        version = seen.api("api/run")["version"]
        page.keyboard.press(key)
        seen.wait(f"fetch('api/run').then(a => a.json()).then(run => run.version > {version})")
        assert seen.api("api/decisions")["decisions"][0]["kind"] == kind
        page.keyboard.press("u")
        seen.wait("fetch('api/run').then(a => a.json()).then(run => !run.undo)")
        seen.settle()  # the list is drawn again
        seen.becomes(lambda: page.evaluate("document.activeElement.dataset.p"), str(other))
    page.keyboard.press("?")
    page.get_by_role("heading", name="Help and keys").wait_for()
    page.keyboard.press("Escape")
    page.keyboard.press("m")
    page.locator("#note").fill("blurred <b>")
    page.get_by_role("button", name="Decide", exact=True).click()
    page.locator("#side .made q").wait_for()
    assert page.locator("#side .made q").inner_text().strip("“”") == "blurred <b>"
    page.keyboard.press("4")
    page.locator(".history li").first.wait_for()


def test_several_with_shift_and_a_whole_group(seen: Look) -> None:
    page = seen.page
    one = seen.positions(0)[0]
    last = seen.positions(1)[1]
    seen.click(one)
    page.locator(f"#feed [data-p='{last}']").click(modifiers=["Shift"])
    seen.becomes(page.locator("#selection-bar b").inner_text, f"{len(seen.positions(0)) + 2} selected")
    page.keyboard.press("Escape")
    seen.click(one)
    page.keyboard.press("g")
    page.get_by_text("kept too.").first.wait_for()
    assert seen.api("api/groups?keep=0.75&decided=yes")["groups"][0]["kept"] == len(seen.positions(0))


def test_a_second_tab_follows(seen: Look, chromium: Any, address: str) -> None:
    other = look(chromium, address)
    other.ready()
    position = seen.positions()[1]
    other.tiles(0).first.wait_for()
    seen.click(position)
    seen.page.keyboard.press("p")
    other.wait(f"document.querySelector('#feed .tile.kept[data-p=\"{position}\"]')")
    other.becomes(other.page.locator("#decision-count").inner_text, "1")
    other.leave()


def test_of_two_contrary_decisions_the_second_sees_the_first(seen: Look, chromium: Any, address: str) -> None:
    position = seen.positions()[1]
    seen.click(position)
    seen.page.route("**/api/events", lambda route: route.abort())
    # This page is held back: it has not heard of what the other decides.
    seen.page.route("**/api/run", lambda route: route.abort())
    other = look(chromium, address)
    other.ready()
    other.click(position)
    origin = other.api("api/run")["origin"]
    sent = """([origin, p]) => fetch('api/decisions', {method: 'POST', headers: {'Content-Type': 'application/json'},
        body: JSON.stringify({kind: 'remove', images: [p], note: 'a double', seen: 0, origin})}).then(a => a.status)"""
    assert other.page.evaluate(sent, [origin, position]) == 200
    other.leave()
    seen.page.keyboard.press("k")
    seen.page.get_by_role("heading", name="decided otherwise").wait_for()
    assert "a double" in seen.page.locator("dialog").inner_text()
    seen.page.unroute("**/api/run")
    seen.page.get_by_role("button", name="Replace it with mine").click()
    seen.page.get_by_text("kept too.").first.wait_for()
    assert seen.api("api/decisions")["decisions"][0]["kind"] == "keep"


@contextmanager
def killed_at_the_end(run: Path) -> Iterator[str]:
    """Serve in a process of its own, and end that with kill -9; gives the address."""
    server = start_command("review", run, "--port", 0, "--no-browser")
    written = server.said / "out"
    try:
        while not (found := re.search(r"(http://\S+)\n", written.read_text() if written.exists() else "")):
            assert not server.ended(), server.wait().stderr
            time.sleep(0.02)
        yield found[1]
    finally:
        server.kill()


def columns(images: Any) -> np.ndarray:
    """Another embedder: the sums of the columns."""
    return np.stack([np.asarray(image, dtype=np.float32).sum(0).reshape(-1) + 1.0 for image in images])


def test_a_decision_outlasts_kill_9_and_a_new_embedding(chromium: Any, made: Path, run: Path) -> None:
    with killed_at_the_end(run) as address:
        opened = look(chromium, address)
        opened.ready()
        _, other = opened.positions()[:2]
        opened.click(other)
        opened.page.get_by_role("button", name="Make representative").click()
        opened.page.locator("#decision-count").get_by_text("1", exact=True).wait_for()
    opened.leave()
    shutil.rmtree(run / "embeddings")  # as embed says, where there are embeddings made with other settings
    tp.embed(made.parent / "photos", out=run, embedder=columns)
    tp.cluster(run, 0.6)
    tp.select(run, tp.Cut(keep=0.75))
    with killed_at_the_end(run) as address:
        opened = look(chromium, address)
        opened.ready()
        opened.becomes(opened.page.locator("#decision-count").inner_text, "1")
        assert opened.api(f"api/images/{other}?keep=0.75")["representative"] == other
        opened.leave()
    assert tp.Selection.load(run / "selection.parquet").kept_by_id[other]
