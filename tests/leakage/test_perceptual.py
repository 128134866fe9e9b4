"""Altered copies are found by their pictures, whatever the vectors say; and what is called near-identical is."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image, ImageEnhance, ImageOps
from scipy.ndimage import gaussian_filter

import tenpercent as tp
from tenpercent.cli.main import main
from tenpercent.data.sources.alignment import align
from tenpercent.data.sources.perceptual import SAME, SmallPictures, bits_apart, small_grey
from tenpercent.errors import StageError
from tenpercent.leakage import pictures as pictures_of_sets
from tenpercent.leakage.pictures import same_pictures
from tenpercent.reporting.provenance import training_accuracy
from tenpercent.reporting.unlike import UnlikePairs, near_identical

Picture = Image.Image


@cache
def scene(seed: int, side: int = 96) -> Picture:
    """A picture with detail of every size, as photographs have: noise whose power falls with frequency."""
    noise = np.random.default_rng(seed).standard_normal((3, side, side))
    layers = [gaussian_filter(noise, (0, s, s)) * s**1.5 for s in (1, 2, 4, 8, 16)]
    made = np.sum(layers, axis=0)
    made = 128 + 45 * (made - made.mean()) / made.std()
    return Image.fromarray(np.clip(made, 0, 255).astype(np.uint8).transpose(1, 2, 0))


def again(picture: Picture, **options: Any) -> Picture:
    """A picture encoded and decoded."""
    file = io.BytesIO()
    picture.save(file, **options)
    return Image.open(io.BytesIO(file.getvalue())).convert("RGB")


def cropped(picture: Picture, left: float, top: float, right: float, bottom: float) -> Picture:
    """A picture without some shares of its sides."""
    w, h = picture.size
    return picture.crop((round(left * w), round(top * h), round((1 - right) * w), round((1 - bottom) * h)))


KINDS: dict[str, Callable[[Picture], Picture]] = {
    "jpeg": lambda one: again(one, format="JPEG", quality=50),
    "webp": lambda one: again(one, format="WEBP", quality=60),
    "thumbnail": lambda one: again(one.resize((48, 48)), format="JPEG", quality=80),
    "wide": lambda one: one.resize((120, 96)),
    "crop": lambda one: cropped(one, 0.05, 0.05, 0.05, 0.05),
    "corner": lambda one: cropped(one, 0.08, 0.06, 0, 0),
    "one side": lambda one: cropped(one, 0, 0, 0.1, 0),
    "bright": lambda one: ImageEnhance.Brightness(one).enhance(1.3),
    "pale": lambda one: ImageEnhance.Contrast(one).enhance(0.6),
    "grey": lambda one: one.convert("L").convert("RGB"),
    "mirrored": ImageOps.mirror,
    "mirrored crop": lambda one: again(ImageOps.mirror(cropped(one, 0, 0.06, 0.04, 0)), format="JPEG"),
}


def small(pictures: list[Picture]) -> SmallPictures:
    return SmallPictures.of(np.stack([small_grey(np.asarray(one)) for one in pictures]))


def no_pairs() -> tuple[Any, Any]:
    return np.empty(0, np.int64), np.empty(0, np.int64)


# ---- two images ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_an_altered_copy_is_few_bits_apart_and_another_picture_is_not(kind: str) -> None:
    pictures = [scene(seed) for seed in range(8)]
    copies = small([KINDS[kind](one) for one in pictures])
    originals = small(pictures)
    assert bits_apart(copies, originals).max() <= 30
    assert bits_apart(originals, copies).max() <= 30  # whichever of the two is the part
    others = np.roll(np.arange(8), 1)
    assert bits_apart(copies, originals.take(others)).min() > 70


def test_the_hash_is_that_of_imagehash() -> None:
    import imagehash

    grey = small_grey(np.asarray(scene(3)))
    expected = imagehash.phash(Image.fromarray(grey), hash_size=16, highfreq_factor=2).hash.reshape(-1)
    assert SmallPictures.of(grey[None]).hashes[0].tolist() == expected.tolist()


def test_the_box_of_a_crop_is_found() -> None:
    whole = np.stack([np.asarray(scene(seed, 320).convert("L").resize((32, 32))) for seed in range(5)])
    part = np.stack(
        [
            np.asarray(cropped(scene(seed, 320), 0.1, 0.05, 0.05, 0).convert("L").resize((32, 32)))
            for seed in range(5)
        ]
    )
    box, likeness = align(part, whole)
    np.testing.assert_allclose(box, np.tile([0.05, 1.0, 0.1, 0.95], (5, 1)), atol=0.02)
    assert likeness.min() > 0.97


def test_images_of_one_colour_are_evidence_of_nothing() -> None:
    flat = small([Image.new("RGB", (40, 40), colour) for colour in ("white", "white", "black")])
    assert bits_apart(flat, flat).tolist() == [256] * 3
    assert len(same_pictures(flat, flat, (np.arange(3), np.arange(3)))[0]) == 0


# ---- two sets -----------------------------------------------------------------------------------------------------


def test_every_near_hash_is_found_whatever_the_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    pictures = [scene(seed) for seed in range(60)]
    train = small(pictures)
    kinds = list(KINDS.values())
    test = small([kinds[seed % len(kinds)](pictures[seed]) for seed in range(36)] + [scene(900), scene(901)])
    whole = same_pictures(test, train, no_pairs())
    assert whole[0].tolist() == whole[1].tolist() == list(range(36))
    monkeypatch.setattr(pictures_of_sets, "BLOCK", 5)
    monkeypatch.setattr(pictures_of_sets, "COLUMNS", 7)
    for one, other in zip(same_pictures(test, train, no_pairs()), whole, strict=True):
        assert one.tolist() == other.tolist()


def test_what_many_different_images_share_is_no_evidence() -> None:
    """Shirts on black: one shape, a little detail. A copy is found, its neighbours in shape are not."""
    shape = np.zeros((96, 96))
    shape[20:80, 30:66] = 200
    shape = gaussian_filter(shape, 2)

    def shirt(seed: int) -> Picture:
        detail = gaussian_filter(np.random.default_rng(seed).standard_normal((96, 96)), 1.5)
        return Image.fromarray(np.clip(shape * (1 + 0.15 * detail), 0, 255).astype(np.uint8)).convert("RGB")

    train = small([shirt(seed) for seed in range(300)])
    test = small([again(shirt(7), format="JPEG", quality=90), *(shirt(seed) for seed in range(1000, 1040))])
    apart = np.count_nonzero(test.hashes[:, None] != train.hashes[None], axis=2)
    assert (apart[1:].min(axis=1) <= SAME).sum() > 5  # else this tests nothing
    i, j, _ = same_pictures(test, train, no_pairs())
    assert (i.tolist(), j.tolist()) == ([0], [7])


def blind(images: Any) -> Any:
    """An embedder that sees nothing: near and far mean nothing by its vectors."""
    return np.stack([np.random.default_rng(int(image.sum())).standard_normal(8) for image in images])


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """40 training and 24 test pictures; 12 of the test set are copies of training images, one of each kind."""
    folder = tmp_path / "photos"
    for split, seeds in (("train", range(40)), ("test", range(100, 112))):
        (folder / split).mkdir(parents=True)
        for seed in seeds:
            scene(seed).save(folder / split / f"{seed:03d}.png")
    for number, kind in enumerate(KINDS.values()):
        kind(scene(number)).save(folder / "test" / f"copy-{number:02d}.png")
    return folder


def test_copies_are_found_by_their_pictures_and_nothing_else_is_counted(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = tp.leaks(photos, embedder=blind, out=tmp_path / "out")
    assert sorted(found.ids) == [f"test/copy-{number:02d}.png" for number in range(12)]
    assert found.same_picture == 12
    assert found.by_vector == 0
    table = found.table.to_pylist()
    assert {row["by"] for row in table} == {"picture"}
    assert all(0 <= row["hash_bits"] <= SAME for row in table)
    assert {(row["test_id"][-6:-4], row["train_id"][-6:-4]) for row in table} == {
        (f"{number:02d}", f"{number:02d}") for number in range(12)
    }
    page = (tmp_path / "out/leaks.html").read_text()
    assert page.count("<b>same picture</b>") == 12
    assert "Similar by vector only" in page
    assert (
        main(["leaks", str(tmp_path / "out/train"), str(tmp_path / "out/test"), "--out", str(tmp_path / "b")])
        == 0
    )
    said = capsys.readouterr().out
    assert (
        "12 of 24 test images (50.00%) have a near-duplicate among 40 training images: 12 the same picture"
        in said
    )
    assert "misses copies that are rotated" in said


def test_a_threshold_counts_what_is_near_by_vector_as_well(photos: Path, tmp_path: Path) -> None:
    found = tp.leaks(photos, embedder=blind, out=tmp_path / "out")
    assert found.similar is not None
    near = set(found.similar.pairs.i.tolist())
    assert near
    wide = tp.leaks(photos, embedder=blind, threshold=float(found.similar.threshold), out=tmp_path / "out")
    assert wide.similar is None
    assert set(wide.pairs.i.tolist()) == near | set(found.pairs.i.tolist())
    assert wide.by_vector == len(near - set(found.pairs.i.tolist()))
    by = wide.table["by"].to_pylist()
    assert by == sorted(by)  # picture before vector: the surest first


def test_without_images_that_is_said() -> None:
    vectors = np.random.default_rng(0).standard_normal((20, 4))
    found = tp.leaks(tp.Embeddings.from_numpy(vectors), tp.Embeddings.from_numpy(vectors[:5]), threshold=0.0)
    assert found.same_picture is None
    assert found.table["by"].to_pylist() == ["vector"] * 5
    assert found.table["hash_bits"].null_count == 5
    assert any("No perceptual hashes" in note for note in found.notes)


# ---- what is kept of the images -----------------------------------------------------------------------------------


def test_the_pictures_are_read_once(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = tp.leaks(photos, embedder=blind, out=tmp_path / "out")
    kept = tmp_path / "out/train/pictures/part-00000.parquet"
    assert len(pq.read_table(kept)) == 40
    monkeypatch.setattr("tenpercent.data.sources.small_pictures._read", None)  # reading would raise
    assert tp.leaks(photos, out=tmp_path / "out").table.equals(first.table)
    kept.write_bytes(kept.read_bytes()[:-100])
    with pytest.raises(StageError, match=r"part-00000\.parquet is damaged.*the images are then read again"):
        tp.leaks(photos, out=tmp_path / "out")


def test_parts_of_other_images_are_made_again(tmp_path: Path) -> None:
    from tenpercent.data.sources.small_pictures import small_pictures

    for name, seed in (("a", 0), ("b", 50)):
        (tmp_path / name).mkdir()
        for number in range(3):
            scene(seed + number).save(tmp_path / name / f"{number}.png")
    rows = np.arange(3)
    one, other = tp.open_source(tmp_path / "a"), tp.open_source(tmp_path / "b")
    made, gone = small_pictures(one, rows, ["x", "y", "z"], tmp_path / "kept")
    assert gone == 0
    changed, _ = small_pictures(other, rows, ["u", "v", "w"], tmp_path / "kept")
    assert (made.greys != changed.greys).any()
    (tmp_path / "b/1.png").unlink()
    again_, gone = small_pictures(other, rows, ["u", "v", "w"], tmp_path / "kept")
    assert gone == 0  # read before
    assert again_.greys.tolist() == changed.greys.tolist()
    missing, gone = small_pictures(other, rows, ["u", "v", "w"], None)
    assert gone == 1
    assert missing.flat().tolist() == [False, True, False]


def test_an_image_that_is_gone_takes_part_by_its_vector_and_is_counted(photos: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    tp.embed(photos, out=run, embedder=blind)
    (photos / "train/005.png").write_bytes(b"gone")
    found = tp.leaks(run, embedder=blind, out=tmp_path / "out")
    assert "1 training image could not be read again; compared by vector only." in found.notes
    assert len(found) == 11


# ---- near-identical images with different labels ------------------------------------------------------------------


def tint(images: Any) -> Any:
    """An embedder that takes pictures of one tint for alike."""
    return np.stack([image.mean((0, 1)) - 128 for image in images])


@pytest.fixture
def two_classes(tmp_path: Path) -> Path:
    """60 pictures of two classes; one cat is also a dog, in another encoding."""
    folder = tmp_path / "classes"
    for number in range(60):
        place = folder / ("cat", "dog")[number % 2]
        place.mkdir(parents=True, exist_ok=True)
        scene(number).save(place / f"{number:02d}.png")
    again(scene(0), format="JPEG", quality=60).save(folder / "dog/copy.png")
    return folder


def words_of(report: Path) -> str:
    return " ".join(re.sub(r"<[^>]*>", " ", report.read_text()).split())


def test_near_identical_is_only_what_is(two_classes: Path, tmp_path: Path) -> None:
    tp.run(two_classes, out=tmp_path / "run", embedder=tint, keep=0.5)
    words = words_of(tmp_path / "run/report.html")
    section = words[
        words.index("Close images with different labels") : words.index(
            "Rejected images", words.index("Close images with different labels")
        )
    ]
    close = int(re.search(r"1 near-identical, ([\d,]+) close for this network", section)[1])  # type: ignore[index]
    assert close == 2
    near = section[section.index("Near-identical images with different labels") :]
    near = near[: near.index("Different labels, close for this network")]
    assert "1 pair, 2 images" in near
    assert "copy.png" in near
    assert "training images right" not in section  # a function was trained on nothing


def test_what_the_network_has_right_is_said_where_it_was_trained_on_labels() -> None:
    def run(kind: str, right: float | None, finetune: bool = False) -> dict[str, Any]:
        settings = {"embedder": {"embedder": kind, "finetune": finetune}}
        return {"stages": {"embed": {"settings": settings, "train_accuracy": right}}}

    assert training_accuracy(run("supervised", 0.637)) == "64%"
    assert training_accuracy(run("supervised", 0.9996)) == "99.9%"
    assert training_accuracy(run("supervised", 1.0)) == "100.0%"
    assert training_accuracy(run("timm", 0.5, finetune=True)) == "50%"
    assert training_accuracy(run("timm", 0.5)) is None
    assert training_accuracy(run("selfsupervised", 0.9)) is None
    assert training_accuracy(run("supervised", None)) is None
    assert training_accuracy({}) is None


def test_a_gap_tells_copies_where_there_are_no_images() -> None:
    found = UnlikePairs(
        np.array([0, 1, 2]), np.array([3, 4, 5]), np.array([0.0, 0.1, 0.3]), radius=0.5, asked=0.5
    )
    rows = np.arange(6)
    assert near_identical(found, 0.18, None, rows)[0].tolist() == [True, True, False]
    assert near_identical(found, None, None, rows)[0].tolist() == [True, False, False]
