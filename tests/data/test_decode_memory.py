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
from PIL import Image, features

from tenpercent.data.decoding import memory as decode_memory
from tenpercent.data.decoding.decode import Unreadable, bytes_a_pixel, decode, decode_for
from tenpercent.data.sources.options import Decoding

SIDE = 3000
STATUS = Path("/proc/self/status")
# Not `ru_maxrss`: Linux hands a process the peak of the one that started it.
MEASURE = """
import re, sys
from pathlib import Path
from tenpercent.data.decoding.decode import decode
small, large = (Path(name).read_bytes() for name in sys.argv[1:])
def status(name): return 1024 * int(re.search(name + r":\\s+(\\d+)", Path("/proc/self/status").read_text())[1])
decode(small)  # loads the plug-ins
before = status("VmRSS")
pixels = decode(large)
print((status("VmHWM") - before) / pixels.nbytes)
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
    assert measured(mode, kind, options, tmp_path) < 3.0


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("WEBP", {"quality": 80}),
        ("WEBP", {"lossless": True, "method": 0}),
        ("AVIF", {"speed": 10}),
        ("JPEG", {"progressive": True, "subsampling": 0, "quality": 95}),
    ],
)
def test_what_decoders_take_beyond_that_is_counted(
    kind: str, options: dict[str, object], tmp_path: Path
) -> None:
    if kind == "AVIF" and not features.check("avif"):
        pytest.skip("this Pillow has no AVIF")
    taken = measured("RGB", kind, options, tmp_path)
    with Image.open(tmp_path / "large") as opened:
        assert 3 * taken < bytes_a_pixel(opened) + 0.5


def measured(mode: str, kind: str, options: dict[str, object], folder: Path) -> float:
    """Encode a picture, decode it in a process of its own; return the peak of memory in sizes of its RGB pixels."""
    if not STATUS.is_file():
        pytest.skip("the peak of memory is read from /proc")
    settings = dict(options)
    if settings.pop("turned", False):
        exif = Image.Exif()
        exif[0x0112] = 6
        settings["exif"] = exif
    for name, side in (("small", 8), ("large", SIDE)):
        picture(mode, side).save(
            folder / name, kind, **({"compress_level": 1} if kind == "PNG" else {}), **settings
        )
    run = subprocess.run(
        [sys.executable, "-c", MEASURE, str(folder / "small"), str(folder / "large")],
        capture_output=True,
        text=True,
        check=True,
    )
    found = float(run.stdout)
    assert found > 1, "less than the pixels alone"
    return found


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
    large, size = png(1000), 10 * 1000**2
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
