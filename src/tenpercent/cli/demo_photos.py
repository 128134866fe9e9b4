"""Photographs for the demo: scenes out of those that scikit-learn and Matplotlib bundle, most of them taken twice."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image, ImageEnhance

from ..errors import require

SIZE = (320, 240)
PLAIN = 30  # standard deviation of the grey values up to which a scene shows next to nothing (sky, blur)
THRESHOLD = 0.11  # between the frames of a scene and different scenes (tests/test_bursts.py)


def scenes(photo: Image.Image, rows: int, columns: int) -> list[Image.Image]:
    """Cut a photograph into scenes without overlap, without those that show next to nothing."""
    width, height = photo.width // columns, photo.height // rows
    places = [(width * at, height * row) for row in range(rows) for at in range(columns)]
    cut = [photo.crop((left, top, left + width, top + height)) for left, top in places]
    return [scene for scene in cut if np.asarray(scene.convert("L")).std() > PLAIN]


def frame(scene: Image.Image, random: np.random.Generator) -> Image.Image:
    """Return a scene as a camera takes it again: zoomed and shifted a little, with other light and noise."""
    share = random.uniform(0.96, 1)
    width, height = int(scene.width * share), int(scene.height * share)
    left, top = (int(random.integers(0, most + 1)) for most in (scene.width - width, scene.height - height))
    seen = scene.crop((left, top, left + width, top + height)).resize(SIZE, Image.Resampling.BICUBIC)
    lit = np.asarray(ImageEnhance.Brightness(seen).enhance(random.uniform(0.92, 1.08)), np.float32)
    return Image.fromarray(np.clip(lit + random.normal(0, 2, lit.shape), 0, 255).astype(np.uint8))


def write_bursts(folder: Path, found: list[Image.Image], frames: int, seed: int) -> None:
    """Write so many frames of each scene, and one of every third, as JPEG files."""
    random = np.random.default_rng(seed)
    for number, scene in enumerate(found):
        for shot in range(frames if number % 3 else 1):
            frame(scene, random).save(folder / f"{number:02d}-{shot}.jpg", quality=90)


def bundled() -> Iterator[tuple[str, Image.Image]]:
    """Yield the photographs that installed packages bundle, with their names."""
    datasets, cbook = require("sklearn.datasets", "images"), require("matplotlib.cbook", "images")
    for name in ("china", "flower"):
        yield name, Image.fromarray(datasets.load_sample_image(f"{name}.jpg"))
    hopper = Image.open(cbook.get_sample_data("grace_hopper.jpg", asfileobj=False))
    yield "hopper", hopper.convert("RGB")


def demo_photos(folder: Path) -> Path:
    """Write the photographs of the demo, unless they are there; return their folder."""
    if not folder.exists():
        shapes = {"china": (3, 4), "flower": (2, 3), "hopper": (4, 3)}
        found = [scene for name, photo in bundled() for scene in scenes(photo, *shapes[name])]
        begun = folder.with_name(f"{folder.name}.partial")  # a kill leaves no folder that looks whole
        shutil.rmtree(begun, ignore_errors=True)
        begun.mkdir(parents=True)
        write_bursts(begun, found, frames=2, seed=1)
        begun.rename(folder)
    return folder
