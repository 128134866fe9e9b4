"""What checking that an image is whole costs, beside opening and decoding it with Pillow alone.

    .venv/bin/python benchmarks/whole.py

Processor time of one thread, the least of nine rounds; both ways in one run, since a shared machine's pace changes.
"""

from __future__ import annotations

import io
import time
from collections.abc import Callable

import numpy as np
from PIL import Image

from tenpercent.data.decoding.jpeg import load_jpeg
from tenpercent.data.decoding.pillow import open_image
from tenpercent.data.decoding.whole import checked

SIDES = (32, 224, 640, 2000)
KINDS: tuple[tuple[str, str, dict[str, object]], ...] = (
    ("JPEG", "JPEG", {"quality": 90}),
    ("progressive JPEG", "JPEG", {"quality": 90, "progressive": True}),
    ("JPEG with restart markers", "JPEG", {"quality": 90, "restart_marker_rows": 1}),
    ("PNG", "PNG", {}),
    ("WebP", "WEBP", {"quality": 90}),
)


def photo(side: int) -> Image.Image:
    """Soft shapes with some noise."""
    chance = np.random.default_rng(0)
    soft = Image.fromarray(chance.integers(0, 256, (side // 16 + 1, side // 16 + 1, 3), dtype=np.uint8))
    values = np.asarray(soft.resize((side, side), Image.Resampling.BICUBIC)) + chance.normal(
        0, 6, (side, side, 3)
    )
    return Image.fromarray(np.clip(values, 0, 255).astype(np.uint8))


def plain(raw: bytes) -> None:
    """Open and load."""
    image = open_image(raw)
    assert image is not None
    image.load()


def with_check(raw: bytes) -> None:
    """Check, open and load."""
    raw = checked(raw)
    image = open_image(raw)
    assert image is not None
    if image.format == "JPEG":
        load_jpeg(image, raw)
    else:
        image.load()


def least(work: Callable[[bytes], None], raw: bytes, times: int) -> float:
    """Return microseconds an image, the least of the rounds."""
    rounds = []
    for _ in range(9):
        start = time.thread_time()
        for _ in range(times):
            work(raw)
        rounds.append((time.thread_time() - start) / times * 1e6)
    return min(rounds)


def main() -> None:
    """Print a line a kind and size."""
    for side in SIDES:
        for name, kind, options in KINDS:
            out = io.BytesIO()
            photo(side).save(out, kind, **options)
            raw = out.getvalue()
            times = max(1, 100_000 // side**2)
            alone, both = least(plain, raw, times), least(with_check, raw, times)
            print(
                f"{side}×{side} {name}: {alone:,.0f} µs alone, {both:,.0f} checked, ratio {both / alone:.3f}"
            )


if __name__ == "__main__":
    main()
