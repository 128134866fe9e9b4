"""Pictures of the review page: right side up, re-encoded, never the file itself, kept on disk where that works."""

from __future__ import annotations

import errno
import io
import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import tenpercent as tp
from reviewing import Page, page
from tenpercent.data.decoding.decode import decode
from tenpercent.reviewing.pictures import PictureCache

EVIL = b'<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"><script>alert(2)</script></svg>'
WIDE, TALL = (96, 48), (48, 96)


def means(images: Any) -> np.ndarray:
    """An embedder of few numbers, for images of any size."""
    return np.stack([np.asarray(image, dtype=np.float32).mean((0, 1)) + 1.0 for image in images])


def photo(seed: int, size: tuple[int, int] = WIDE) -> Image.Image:
    small = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    return Image.fromarray(small).resize(size, Image.Resampling.BICUBIC)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of a flat folder of odd images, in ``run`` beside ``photos``."""
    base = tmp_path_factory.mktemp("pictures")
    folder = base / "photos"
    folder.mkdir()
    turned = Image.Exif()
    turned[0x0112] = 6
    photo(0).save(folder / "a-turned.jpg", exif=turned, quality=95)
    photo(1).convert("L").save(folder / "b-grey.png")
    Image.fromarray(np.linspace(0, 65535, 96 * 48).reshape(48, 96).astype(np.uint16)).save(
        folder / "c-deep.png"
    )
    photo(2).quantize(8).save(folder / "d-palette.png")
    clear = photo(3).convert("RGBA")
    clear.putalpha(0)
    clear.save(folder / "e-clear.png")
    photo(4).convert("CMYK").save(folder / "f-cmyk.jpg")
    photo(5, (3000, 2000)).save(folder / "g-large.jpg", quality=90)
    photo(6).save(folder / "h-webp.webp")
    photo(7).save(folder / "i-first.gif", save_all=True, append_images=[photo(8)])
    big = Image.Exif()
    big[0x0112] = 8
    photo(9, (2000, 1000)).save(folder / "j-large-turned.jpg", exif=big)
    photo(10).save(folder / "k spaces & <b>.png")
    tp.run(folder, out=base / "run", keep=0.6, embedder=means)
    return base


@pytest.fixture
def base(made: Path, tmp_path: Path) -> Path:
    """A copy to do things to; the run knows the images by where they were, so they lie there."""
    shutil.copytree(made, tmp_path / "base", ignore=shutil.ignore_patterns("review"))
    run = tmp_path / "base" / "run" / "run.json"
    run.write_text(run.read_text().replace(str(made), str(tmp_path / "base")))
    return tmp_path / "base"


def by_name(opened: Page) -> dict[str, int]:
    run = opened.get("/api/run")
    return {opened.get(f"/api/images/{p}")["id"]: p for p in range(run["n"])}


def shown(opened: Page, position: int, side: int) -> Image.Image:
    answer = opened.client.get(f"/api/images/{position}/picture", params={"side": side})
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] in ("image/jpeg", "image/png")
    picture = Image.open(io.BytesIO(answer.content))
    picture.load()
    assert max(picture.size) <= side
    assert not picture.getexif()
    return picture.convert("RGB")


def test_every_kind_of_image_looks_as_it_should(made: Path) -> None:
    with page(made / "run") as opened:
        names = by_name(opened)
        assert len(names) == 11
        for name, position in names.items():
            pixels = decode((made / "photos" / name).read_bytes())
            about = opened.get(f"/api/images/{position}")
            assert (about["height"], about["width"]) == pixels.shape[:2], name
            assert about["bytes"] == (made / "photos" / name).stat().st_size
            for side in (160, 320, 1024):
                picture = shown(opened, position, side)
                assert abs(picture.width / picture.height - pixels.shape[1] / pixels.shape[0]) < 0.02, name
                whole = Image.fromarray(pixels).resize(picture.size, Image.Resampling.BOX)
                off = np.abs(np.asarray(picture, dtype=float) - np.asarray(whole, dtype=float)).mean()
                assert off < 12, (name, side, off)  # swapped channels or a wrong turn are 30 and more
        turned = shown(opened, names["a-turned.jpg"], 160)
        assert turned.height > turned.width
        assert np.asarray(shown(opened, names["e-clear.png"], 160)).min() > 250  # transparent is white


def test_a_picture_is_asked_for_by_size_and_tag(made: Path) -> None:
    with page(made / "run") as opened:
        origin = opened.get("/api/run")["origin"]
        answer = opened.client.get("/api/images/0/picture", params={"side": 160})
        assert answer.headers["cache-control"] == "private, no-cache"
        tag = answer.headers["etag"]
        again = opened.client.get(
            "/api/images/0/picture", params={"side": 160}, headers={"if-none-match": tag}
        )
        assert (again.status_code, again.content) == (304, b"")
        other = opened.client.get(
            "/api/images/0/picture", params={"side": 320}, headers={"if-none-match": tag}
        )
        assert other.status_code == 200
        kept = opened.client.get("/api/images/0/picture", params={"side": 160, "of": origin[:12]})
        assert kept.headers["cache-control"] == "private, max-age=60"
        assert "again" in opened.get("/api/images/0/picture", 409, of="0123")["error"]
        for side in (161, 0, -1, "x", 10**9):
            assert "side is" in opened.get("/api/images/0/picture", 400, side=side)["error"]


def replaced_by_link(file: Path, target: Path) -> None:
    file.unlink()
    file.symlink_to(target)


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (lambda file: file.unlink(), "moved or deleted"),
        (lambda file: file.write_bytes(EVIL), "not an image"),
        (lambda file: file.write_bytes(b"<html><script>alert(1)</script></html>"), "not an image"),
        (lambda file: file.write_bytes(b""), "empty"),
        (lambda file: file.write_bytes(b"\xff\xd8\xff\xe0" + b"x" * 999), "broken"),
        (lambda file: file.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"), "not an image"),
        (lambda file: replaced_by_link(file, Path("/etc/passwd")), "link"),
        (lambda file: replaced_by_link(file, file.parent.parent / "outside.png"), "link"),
        (lambda file: replaced_by_link(file, file.parent / "nowhere.png"), "moved or deleted"),
        (lambda file: (file.unlink(), file.mkdir()), ""),
    ],
)
@pytest.mark.parametrize("before", [False, True])
def test_what_is_no_image_of_the_run_any_more_is_not_shown(
    base: Path, change: Callable[[Path], Any], line: str, before: bool
) -> None:
    photo(99).save(base / "outside.png")
    file = base / "photos" / "a-turned.jpg"
    if before:
        change(file)
    with page(base / "run") as opened:
        if not before:
            assert opened.client.get("/api/images/0/picture").status_code == 200
            change(file)
        answer = opened.client.get("/api/images/0/picture")
        assert answer.status_code == 404
        assert answer.headers["content-type"] == "application/json"
        assert answer.json()["error"].startswith("a-turned.jpg: ")
        assert line in answer.json()["error"] or before
        assert b"<script>" not in answer.content
        about = opened.get("/api/images/0")
        assert about["missing"]
        assert about["id"] == "a-turned.jpg"
        opened.decide("remove", 0)
        assert opened.get("/api/images/0")["marks"] == ["remove"]


def test_images_that_were_deleted_are_missing_and_the_others_are_shown(base: Path) -> None:
    for name in ("a-turned.jpg", "b-grey.png"):
        (base / "photos" / name).unlink()
    with page(base / "run") as opened:
        run = opened.get("/api/run")
        assert "2 gone (a-turned.jpg, b-grey.png)" in run["images_note"]
        assert run["images_note"] in run["notes"]
        groups = opened.get("/api/groups", min_size=1, limit=100)["groups"]
        missing = {member["id"] for group in groups for member in group["members"] if member["missing"]}
        assert missing == {"a-turned.jpg", "b-grey.png"}
        names = by_name(opened)
        assert shown(opened, names["d-palette.png"], 160).size == (96, 48)  # rows have moved, names have not


def test_a_file_that_was_changed_is_shown_as_it_is_and_told(base: Path) -> None:
    with page(base / "run") as opened:
        position = by_name(opened)["b-grey.png"]
        shown(opened, position, 160)
        Image.new("RGB", (32, 64), "red").save(base / "photos" / "b-grey.png")
        assert shown(opened, position, 160).getpixel((5, 5))[0] > 240  # type: ignore[index]
        assert opened.get(f"/api/images/{position}")["changed"] is True


def test_a_folder_that_is_gone_leaves_a_page_without_pictures(base: Path) -> None:
    (base / "photos").rename(base / "elsewhere")
    with page(base / "run") as opened:
        run = opened.get("/api/run")
        assert run["has_images"] is False
        assert run["images_note"].startswith(f"No pictures: {base / 'photos'}, which ")
        assert f"tenpercent run PLACE --out {base / 'run'}" in run["images_note"]
        assert opened.get("/api/cut")["kept"] == 7
        assert "No pictures" in opened.get("/api/images/0/picture", 404)["error"]


# ---- on disk -------------------------------------------------------------------------------------------------------


def kept(run: Path) -> list[Path]:
    return [path for path in (run / "review" / "pictures").rglob("*") if path.is_file()]


def test_pictures_are_kept_whole_and_found_again(base: Path) -> None:
    with page(base / "run") as opened:
        for position in range(11):
            shown(opened, position, 160)
    files = kept(base / "run")
    assert len(files) == 11
    assert not [path for path in files if path.name.endswith(".partial")]
    with page(base / "run") as opened:
        first = opened.get("/api/images/0/picture")
        for path in files:  # what a machine that lost power may leave
            path.write_bytes(path.read_bytes()[:50])
        assert opened.get("/api/images/0/picture") == first


def test_the_folder_does_not_grow_without_end(base: Path) -> None:
    with page(base / "run") as opened:
        pictures = opened.client.app.state.review.pictures  # type: ignore[attr-defined]
        pictures.most = 20_000
        for side in (160, 320, 1024):
            for position in range(11):
                shown(opened, position, side)
                held = sum(path.stat().st_size for path in kept(base / "run"))
                assert held <= 20_000


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS])
def test_a_full_disk_costs_time_and_no_picture(
    base: Path, code: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(self: Path, data: bytes) -> int:
        raise OSError(code, "no room", str(self))

    monkeypatch.setattr(Path, "write_bytes", full)
    with page(base / "run") as opened, caplog.at_level(logging.WARNING, "tenpercent"):
        for _ in range(2):
            for position in range(5):
                shown(opened, position, 160)
    assert [record.message for record in caplog.records if "pictures" in record.message] == [
        f"pictures can't be cached in {base / 'run' / 'review' / 'pictures'} (no room); each is made again"
    ]
    assert kept(base / "run") == []


def test_a_picture_is_another_where_anything_of_it_is(base: Path) -> None:
    with page(base / "run") as opened:
        state = opened.client.app.state.review.session.state  # type: ignore[attr-defined]
        pictures = PictureCache(base / "x")
        tags = {
            pictures.tag(state.originals, state.embeddings, p, side) for p in range(11) for side in (160, 320)
        }
        assert len(tags) == 22
