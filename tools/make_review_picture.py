"""Take the picture of the review page: a run is served, opened in Chromium and photographed.

python tools/make_review_picture.py RUN
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

PICTURE = Path(__file__).resolve().parents[1] / "docs" / "pictures" / "review.png"
SIZE = {"width": 1280, "height": 860}
ORDER = "size"  # the largest groups first


def main(run: str) -> None:
    """Serve a run, wait until its pictures are there, and write the PNG."""
    command = [sys.executable, "-m", "tenpercent", "review", run, "--no-browser"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as server:
        try:
            assert server.stdout is not None
            said = (re.search(r"http://\S+", line) for line in server.stdout)
            photograph(next(found[0] for found in said if found))
        finally:
            server.terminate()


def photograph(address: str) -> None:
    """Open the page, look at an image of the first group, and write what is seen."""
    with sync_playwright() as started:
        chromium = started.chromium.launch(
            executable_path=shutil.which("chromium-headless-shell") or shutil.which("chromium"),
            args=["--no-sandbox", "--hide-scrollbars"],
        )
        page = chromium.new_page(viewport=SIZE, color_scheme="light")
        page.goto(address)
        page.locator("#counts b").wait_for()
        page.locator(".order select").select_option(ORDER)
        page.locator("#feed .tile img").first.wait_for()
        page.locator("#feed .tile").nth(1).click()
        page.locator("#side .image-name").wait_for()
        page.wait_for_timeout(3000)  # until all pictures are drawn
        page.screenshot(path=PICTURE)
        chromium.close()


if __name__ == "__main__":
    main(sys.argv[1])
