"""One picture takes at most three times the memory of its own pixels, and pictures decoded at once share a budget."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

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
