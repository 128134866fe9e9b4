"""What the review page takes in a real browser, as JSON: how soon it follows the slider, how smoothly it scrolls.

    python benchmarks/page.py --run RUN [--moves 60] [--out page.json]

RUN is a clustered run, e.g. the one that `benchmarks/review.py --load --run FOLDER` leaves in FOLDER/run. The server is
a process of its own, the browser Chromium without a screen, both on the same processors.

**Slider.** Moves to random fractions that the tree covers, half a second apart, and once more without a pause. The time
goes from the slider's event until the page holds the counts and the groups in view of the new cut, and until the frame
after that: without a screen Chromium draws on the processor.

**Scroll.** The list of groups is scrolled by 60 pixels a frame: the times between frames, which a screen of 60 frames a
second wants at 16.7 ms, and what of it is the page's own work (script, layout, style) on the browser's main thread.

**Map.** With `--map`: the seconds until it is laid out (once a run), and from a click until its points are drawn.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from playwright.sync_api import Page, sync_playwright
from review import SEED, SERVER, about, quantiles

ARGUMENTS = ("--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader")
MOVE = """async ([kept, words]) => {
    const slider = document.querySelector("#keep-slider");
    const counts = document.querySelector("#counts");
    const begun = performance.now();
    const there = new Promise((told, late) => {
        new MutationObserver((_, watcher) => {
            if (counts.querySelector("b")?.textContent !== words) return;
            watcher.disconnect();
            told((performance.now() - begun) / 1000);
        }).observe(counts, { childList: true });
        setTimeout(() => late(new Error(`it never said ${words}`)), 30000);
    });
    slider.value = kept;
    slider.dispatchEvent(new Event("input", { bubbles: true }));
    const content = await there;
    for (let frame = 0; frame < 2; frame += 1) await new Promise(requestAnimationFrame);
    return [content, (performance.now() - begun) / 1000];
}"""
SCROLL = """async (seconds) => {
    const frame = () => new Promise(requestAnimationFrame);
    const times = [];
    let before = await frame();
    const end = before + 1000 * seconds;
    while (before < end) {
        window.scrollBy(0, 60);
        const now = await frame();
        times.push((now - before) / 1000);
        before = now;
    }
    return times;
}"""
PAUSE = 500  # ms


def main() -> None:
    """Measure and write it down."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--moves", type=int, default=60)
    parser.add_argument("--seconds", type=float, default=10, help="of scrolling")
    parser.add_argument("--map", action="store_true", help="lay out the map and open it")
    parser.add_argument("--out", type=Path, default=Path("page.json"))
    given = parser.parse_args()
    command = [sys.executable, "-c", SERVER.format(run=str(given.run))]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        address = server.stdout.readline().strip()
        with sync_playwright() as started:
            chromium = shutil.which("chromium") or shutil.which("google-chrome")
            opened = started.chromium.launch(executable_path=chromium, args=list(ARGUMENTS))
            page = opened.new_page(viewport={"width": 1440, "height": 900})
            begun = time.perf_counter()
            page.goto(address)
            page.locator("#counts b").wait_for()
            found: dict[str, Any] = {"first screen, seconds": round(time.perf_counter() - begun, 2)}
            run = page.evaluate("fetch('api/run').then(answer => answer.json())")
            found |= {"images": run["n"], "browser": f"Chromium {opened.version}"}
            content, painted = moves(page, run, given.moves, PAUSE)
            found["slider, ms until the content"] = quantiles(content)
            found["slider, ms until the frame"] = quantiles(painted)
            content, _ = moves(page, run, given.moves, 0)
            found["slider without a pause, ms until the content"] = quantiles(content)
            found["scroll, ms a frame"] = scroll(page, given.seconds)
            if given.map:
                found["map, seconds"] = map_seconds(page)
            opened.close()
    finally:
        server.send_signal(signal.SIGINT)
        server.wait(30)
    given.out.write_text(json.dumps({"about": about(), **found}, indent=1) + "\n")
    print(json.dumps(found, indent=1))


def moves(page: Page, run: dict[str, Any], count: int, pause: int) -> tuple[list[float], list[float]]:
    """Return the seconds of each move until content and frame; the first few, which fill caches, are left out."""
    drawn = random.Random(SEED)
    n = run["n"]
    least = int(run["deepest_keep"] * n) + 1
    taken = []
    for _ in range(count + 3):
        kept = drawn.randrange(least, n)
        taken.append(page.evaluate(MOVE, [kept, f"{kept:,} kept"]))
        page.wait_for_timeout(pause)
    content, painted = zip(*taken[3:], strict=True)
    return list(content), list(painted)


def scroll(page: Page, seconds: float) -> dict[str, float]:
    """Return the times between frames, and the page's own work in each, in milliseconds."""
    session = page.context.new_cdp_session(page)
    session.send("Performance.enable")

    def work() -> float:
        found = {one["name"]: one["value"] for one in session.send("Performance.getMetrics")["metrics"]}
        return float(sum(found[f"{part}Duration"] for part in ("Script", "Layout", "RecalcStyle")))

    before = work()
    times = page.evaluate(SCROLL, seconds)
    own = (work() - before) / len(times)
    return {**quantiles(times), "frames": len(times), "own": round(1000 * own, 1)}


def map_seconds(page: Page) -> dict[str, float]:
    """Return how long the map takes to lay out, and to draw once it is."""
    page.locator("[data-view=map]").click()
    begun = time.perf_counter()
    offer = page.get_by_role("button", name="Compute the map")
    drawn = page.locator("#view-map canvas").first
    offer.or_(drawn).first.wait_for()
    laid = offer.is_visible()
    if laid:
        offer.click()
        drawn.wait_for(timeout=3_600_000)
    taken = {"laid out": round(time.perf_counter() - begun, 1)} if laid else {}
    page.reload()
    begun = time.perf_counter()
    drawn.wait_for(timeout=600_000)
    return {**taken, "drawn": round(time.perf_counter() - begun, 2)}


if __name__ == "__main__":
    main()
