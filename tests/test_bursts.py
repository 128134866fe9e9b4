"""Bursts of photos: at a threshold fixed on one set, the pairs of another set are found, all of them and no other."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageEnhance

import tenpercent as tp

SIZE = (320, 240)
FRAMES = 3
THRESHOLD = 0.11  # between the frames of a burst and different scenes in the set `fixed` below


def scenes(photo: Image.Image, rows: int, columns: int) -> list[Image.Image]:
    """Cut a photograph into scenes without overlap, without those that show next to nothing (sky, blur)."""
    width, height = photo.width // columns, photo.height // rows
    places = [(width * at, height * row) for row in range(rows) for at in range(columns)]
    cut = [photo.crop((left, top, left + width, top + height)) for left, top in places]
    return [scene for scene in cut if np.asarray(scene.convert("L")).std() > 30]


def frame(scene: Image.Image, random: np.random.Generator) -> Image.Image:
    """Return a scene as a camera takes it again: zoomed and shifted a little, with other light and noise."""
    share = random.uniform(0.96, 1)
    width, height = int(scene.width * share), int(scene.height * share)
    left, top = (int(random.integers(0, most + 1)) for most in (scene.width - width, scene.height - height))
    seen = scene.crop((left, top, left + width, top + height)).resize(SIZE, Image.Resampling.BICUBIC)
    lit = np.asarray(ImageEnhance.Brightness(seen).enhance(random.uniform(0.92, 1.08)), np.float32)
    return Image.fromarray(np.clip(lit + random.normal(0, 2, lit.shape), 0, 255).astype(np.uint8))


@pytest.mark.parametrize("name", ["fixed", "tested"])
def test_bursts_are_found_with_precision_and_recall_1(name: str, tmp_path: Path) -> None:
    datasets, cbook = pytest.importorskip("sklearn.datasets"), pytest.importorskip("matplotlib.cbook")
    if name == "fixed":
        flower = Image.fromarray(datasets.load_sample_image("flower.jpg"))
        hopper = Image.open(cbook.get_sample_data("grace_hopper.jpg", asfileobj=False)).convert("RGB")
        found, seed = scenes(flower, 2, 3) + scenes(hopper, 4, 3), 0
    else:
        found, seed = scenes(Image.fromarray(datasets.load_sample_image("china.jpg")), 3, 4), 1
    random, photos = np.random.default_rng(seed), tmp_path / name
    photos.mkdir()
    for number, scene in enumerate(found):
        for shot in range(FRAMES if number % 3 else 1):  # every third scene is taken once
            frame(scene, random).save(photos / f"{number:02d}-{shot}.jpg", quality=90)
    selection = tp.run(photos, out=tmp_path / "run", cut=tp.Cut(threshold=THRESHOLD))
    pairs = {
        pair for group in selection.groups() for pair in combinations(sorted(group["id"].to_pylist()), 2)
    }
    names = sorted(path.name for path in photos.iterdir())
    expected = {pair for pair in combinations(names, 2) if pair[0][:2] == pair[1][:2]}
    assert len(found) >= 8 and pairs == expected
