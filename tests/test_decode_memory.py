"""One picture takes at most three times the memory of its own pixels, and pictures decoded at once share a budget."""

from __future__ import annotations

import io
import subprocess
import sys
import time
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tenpercent.images import decode_memory
from tenpercent.images.decode import Unreadable, decode, decode_for
from tenpercent.images.options import Decoding

pytest.importorskip("resource")

SIDE = 3000
MEASURE = """
import resource, sys
from pathlib import Path
from tenpercent.images.decode import decode
small, large = (Path(name).read_bytes() for name in sys.argv[1:])
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
decode(small)  # loads the plug-ins
before = peak()
pixels = decode(large)
print((peak() - before) / pixels.nbytes)
"""


def picture(mode: str, side: int) -> Image.Image:
    ramp = (np.add.outer(np.arange(side), np.arange(side)) // 40 % 256).astype(np.uint8)
    if mode == "I;16":
        return Image.fromarray(ramp.astype(np.uint16) * 257)
    if mode == "F":
        return Image.fromarray(ramp.astype(np.float32) / 255)
    rgba = Image.fromarray(np.stack([ramp, ramp[::-1], 255 - ramp, ramp], axis=2))
    return rgba.convert("RGB").quantize(64) if mode == "P" else rgba.convert(mode)


@pytest.mark.parametrize(
    ("mode", "kind", "options"),
    [
        ("RGBA", "PNG", {}),
        ("LA", "PNG", {}),
        ("P", "PNG", {"transparency": bytes(range(64))}),
        ("L", "PNG", {}),
        ("RGB", "PNG", {}),
        ("I;16", "PNG", {}),
        ("RGB", "JPEG", {}),
        ("RGB", "JPEG", {"progressive": True}),
        ("CMYK", "JPEG", {}),
        ("RGB", "TIFF", {"turned": True}),
        ("RGBA", "PNG", {"turned": True}),
        ("F", "TIFF", {}),
    ],
)
def test_a_picture_takes_three_times_its_pixels_at_most(
    mode: str, kind: str, options: dict[str, object], tmp_path: Path
) -> None:
    settings = dict(options)
    if settings.pop("turned", False):
        exif = Image.Exif()
        exif[0x0112] = 6
        settings["exif"] = exif
    for name, side in (("small", 8), ("large", SIDE)):
        picture(mode, side).save(
            tmp_path / name, kind, **({"compress_level": 1} if kind == "PNG" else {}), **settings
        )
    run = subprocess.run(
        [sys.executable, "-c", MEASURE, str(tmp_path / "small"), str(tmp_path / "large")],
        capture_output=True,
        text=True,
        check=True,
    )
    assert float(run.stdout) < 3.0


def test_arrays_take_little_beside_their_pixels() -> None:
    """numpy tells tracemalloc what it takes."""
    for array in (
        np.zeros((2000, 2000, 4), np.uint8),
        np.zeros((2000, 2000), np.uint16),
        np.zeros((2000, 2000, 3), np.float32),
    ):
        tracemalloc.start()
        pixels = decode(array)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 2.5 * pixels.nbytes, array.dtype


def png(side: int) -> bytes:
    out = io.BytesIO()
    picture("RGB", side).save(out, "PNG", compress_level=1)
    return out.getvalue()


def most_at_once(raw: bytes, budget: int, monkeypatch: pytest.MonkeyPatch) -> int:
    """Return how many of eight threads held the pixels of this image at the same time."""
    monkeypatch.setattr(decode_memory, "budget", lambda: budget)
    inside: list[int] = []
    counts: list[int] = []

    def use(pixels: np.ndarray) -> None:
        inside.append(1)
        counts.append(len(inside))
        time.sleep(0.02)
        inside.pop()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: decode_for(raw, Decoding(), use), range(16)))
    assert decode_memory._held == 0
    return max(counts)


def test_large_pictures_wait_for_each_other_and_small_ones_do_not(monkeypatch: pytest.MonkeyPatch) -> None:
    large, size = png(1000), 9 * 1000**2
    assert most_at_once(large, 1, monkeypatch) == 1  # more than the whole budget: one at a time
    assert most_at_once(large, 2 * size, monkeypatch) == 2
    assert most_at_once(large, 100 * size, monkeypatch) > 2
    assert most_at_once(png(100), 1, monkeypatch) > 2


def test_a_picture_that_fails_gives_its_memory_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decode_memory, "budget", lambda: 1)
    raw = png(1000)
    for _ in range(3):
        with pytest.raises(Unreadable):
            decode(raw[: len(raw) // 2])

    def broken(pixels: np.ndarray) -> None:
        raise KeyError("of a caller")

    with pytest.raises(KeyError):
        decode_for(raw, Decoding(), broken)
    assert decode(raw).shape == (1000, 1000, 3)
    assert decode_memory._held == 0
