"""Objects and frames are called so: in what the commands print, in the report and on the review page."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import tenpercent as tp
from films import film
from reviewing import flat, page
from tenpercent import progress
from tenpercent.cli.main import main
from tenpercent.errors import worded

IMAGE = re.compile(r"(?<![\w./-])(?:an )?images?(?![\w/-])", re.IGNORECASE)
# Where images are meant: the paper's title, names of columns and settings, and what objects lie in.
MEANT = (
    "Image-Classification",
    "kind images",
    "options.images",
    "taken.",
    "in 4 images",
    "Of 4 images with",
    "objects of one image are",
    "pixels ",
)


def objects(folder: Path) -> dict[str, Any]:
    """Write four images with two boxes each, the last two images equal; return how to run them."""
    (folder / "images").mkdir()
    for name, seed in (("a", 1), ("b", 2), ("c", 3), ("d", 3)):
        noise = np.random.default_rng(seed).integers(0, 256, (20, 40, 3), np.uint8)
        Image.fromarray(noise).save(folder / "images" / f"{name}.png")
    boxes = [(number, number // 2, 20 * (number % 2)) for number in range(8)]
    content = {
        "images": [
            {"id": n, "file_name": f"{name}.png", "width": 40, "height": 20} for n, name in enumerate("abcd")
        ],
        "annotations": [
            {"id": n, "image_id": image, "category_id": 1 + n % 2, "bbox": [x, 0, 20, 20], "iscrowd": 0}
            for n, image, x in boxes
        ],
        "categories": [{"id": 1, "name": "left"}, {"id": 2, "name": "right"}],
    }
    (folder / "boxes.json").write_text(json.dumps(content))
    options = tp.SourceOptions(images=folder / "images", unit="object")
    return {"source": f"coco:{folder / 'boxes.json'}", "options": options}


def frames(folder: Path) -> dict[str, Any]:
    """Write a video of four scenes, one of them twice; return how to run it."""
    return {"source": film(folder / "clips" / "one.mp4", "abacd").parent}


@pytest.fixture(scope="module", params=[objects, frames], ids=["object", "frame"])
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A run of objects or frames, and what one of them is called."""
    folder = tmp_path_factory.mktemp("nouns")
    tp.run(out=folder / "run", keep=0.75, embedder=flat, **request.param(folder))
    return folder / "run", request.param.__name__.removesuffix("s")


def wrong(text: str) -> list[str]:
    """The lines of a text that say "image" where something else is meant."""
    lines = (" ".join(line.split()) for line in text.splitlines())
    return [line for line in lines if IMAGE.search(line) and not any(meant in line for meant in MEANT)]


def test_a_text_takes_another_noun_with_its_article() -> None:
    said = (
        "An image, an image's and two images; Image 3. image_column, --images, a.images, Image-Classification"
    )
    assert worded(said, "image") is said
    assert worded(said, "frame").startswith("A frame, a frame's and two frames; Frame 3. image_column")
    assert worded(said, "object").startswith("An object, an object's and two objects; Object 3.")
    assert worded(said, "object").endswith("image_column, --images, a.images, Image-Classification")


def test_commands_call_them_so(run: tuple[Path, str], capsys: pytest.CaptureFixture[str]) -> None:
    folder, noun = run
    first = str(tp.select(folder, keep=0.75).ids[0])
    calls = [["select", str(folder), "--keep", "0.75"], ["cluster", str(folder)], ["report", str(folder)]]
    calls += [["info", str(folder)], ["select", str(folder), "--threshold", "0.9", "--yes"]]
    for call in [*calls, ["explain", str(folder), first]]:
        assert main(call) == 0, call
        said = capsys.readouterr().out
        assert wrong(said) == [], call
        assert f"{noun}" in said or call[0] in ("report", "info"), call


def test_commands_that_train_compare_and_check_call_them_so(
    run: tuple[Path, str], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, noun = run
    first = str(tp.select(folder, keep=0.75).ids[0])
    (tmp_path / "locked.txt").write_text(f"{first}\n")
    answers = iter("yyyynnnnq")
    monkeypatch.setattr("builtins.input", lambda _: next(answers))
    locked = ["--locked", str(tmp_path / "locked.txt")]
    limits = ["--max-redundant", "0", "--threshold", "0.9", "--junit", str(tmp_path / "junit.xml")]
    other = folder.with_name("other")
    shutil.copytree(folder, other, dirs_exist_ok=True)
    calls = [
        (0, ["next", str(folder), *locked, "--n", "2"]),
        (2, ["next", str(folder), *locked, "--n", "99"]),
        (2, ["explain", str(folder), "unknown"]),
        (0, ["calibrate", str(folder)]),
        (1, ["check", str(folder), *limits, "--summary", str(tmp_path / "summary.md")]),
        (2, ["check", str(folder), "--max-redundant", "0"]),
        (0, ["leaks", str(folder), str(other), "--out", str(tmp_path / "leaks")]),
    ]
    if noun == "object":
        monkeypatch.chdir(tmp_path)
        calls.append((0, ["evaluate", str(folder), "--network", "head", "--trials", "3", "--keep", "0.75"]))
        calls.append((0, ["evaluate", str(folder), "--network", "head", "--dry-run"]))
    for status, call in calls:
        assert main(call) == status, call
        said = capsys.readouterr()
        assert wrong(said.out + said.err) == [], call
    for name in ("junit.xml", "summary.md"):
        written = (tmp_path / name).read_text(encoding="utf-8")
        assert f"redundant {noun}s" in written and wrong(written) == []
    page = (tmp_path / "leaks" / "leaks.html").read_text(encoding="utf-8")
    assert f"test {noun}s have a near-duplicate" in page


def test_bars_count_them_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    units = set()
    draw = progress._bar

    def drawn(kind: Any, total: int, description: str, unit: str, initial: int) -> Any:
        units.add(unit)
        return draw(kind, total, description, unit, initial)

    monkeypatch.setattr(progress, "_bar", drawn)
    tp.run(out=tmp_path / "run", keep=0.75, embedder=flat, **objects(tmp_path))
    tp.select(tmp_path / "run", tp.Cut(keep=0.75, representative="sharpest"))
    tp.export(tmp_path / "run", "folder", tmp_path / "kept")
    assert {"objects"} <= units <= {"objects", "pairs"}
    units.clear()
    tp.export(tmp_path / "run", "coco", tmp_path / "coco")  # writes whole images
    assert "images" in units


def test_the_report_calls_them_so(run: tuple[Path, str]) -> None:
    folder, noun = run
    tp.select(folder, keep=0.75)
    text = tp.report(folder).read_text(encoding="utf-8")
    shown = re.sub(r"<style>.*?</style>|data:image/[^\"]*", "", text, flags=re.DOTALL)
    said = re.sub(r"</?(?:tr|p|li|h\d|figcaption|div|section)[^>]*>", "\n", shown)
    plain = re.sub(r"<[^>]*>", " ", said)
    assert wrong(plain) == []
    assert wrong("\n".join(re.findall(r"(?:alt|aria-label|title)=\"([^\"]*)\"", shown))) == []
    assert f"{noun}s removed" in plain and f"the {noun} outlined in green" in plain.lower()


def test_the_review_page_calls_them_so(run: tuple[Path, str], chromium: Any) -> None:
    from browsing import look, served

    folder, noun = run
    with page(folder) as opened:
        assert opened.get("/api/run")["noun"] == noun
    with served(folder) as address:
        seen = look(chromium, address)
        seen.ready()
        seen.tiles().first.wait_for()
        names = (
            "nodes => nodes.flatMap(node => [node.ariaLabel, node.title, node.placeholder]).filter(Boolean)"
        )
        said = [seen.page.locator("body").inner_text(), *seen.page.locator("*").evaluate_all(names)]
        for view in ("removed", "decisions", "groups"):
            seen.page.locator(f"[data-view={view}]").click()
            seen.settle()
            said.append(seen.page.locator(f"#view-{view}").inner_text())
        seen.page.keyboard.press("?")
        seen.page.get_by_role("dialog").wait_for()
        said.append(seen.page.get_by_role("dialog").inner_text())
        assert wrong("\n".join(said)) == []
        assert seen.page.get_by_placeholder(f"Find {worded('an image', noun)}").is_visible()
        assert seen.faults == []
        seen.leave()
