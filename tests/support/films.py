"""Small videos made by PyAV, of scenes of coarse noise that a network tells apart."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from PIL import Image

SIZE = (96, 64)  # width, height
UNIT = Fraction(1, 1000)


def scene(name: str, size: tuple[int, int] = SIZE) -> np.ndarray:
    """Return a picture for each letter: coarse noise in colours."""
    coarse = np.random.default_rng(ord(name)).integers(0, 256, (5, 7, 3)).astype(np.uint8)
    return np.asarray(Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC))


def film(
    path: Path,
    scenes: str,
    *,
    each: float = 1.0,
    rate: int = 10,
    times: Sequence[float] | None = None,
    turned: int = 0,
    keys: int = 20,
    options: dict[str, str] | None = None,
) -> Path:
    """Write a video that shows each scene for some seconds; a white bar in it grows with the frames.

    Args:
        path: the file; H.264 except in AVI and WebM.
        scenes: letters.
        each: seconds a scene.
        rate: frames a second.
        times: seconds of each frame, instead of even ones.
        turned: degrees by which players are to turn it counterclockwise.
        keys: frames from one key frame to the next.
        options: of the container.
    """
    codec = {".avi": "mpeg4", ".webm": "libvpx-vp9"}.get(path.suffix, "libx264")
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w", container_options=options or {}) as container:
        stream = container.add_stream(codec, rate=rate, options={"g": str(keys), "crf": "18"})
        stream.width, stream.height = SIZE
        stream.pix_fmt, stream.codec_context.time_base = "yuv420p", UNIT
        if turned:
            stream.set_display_rotation(turned)
        many = round(each * rate)
        for number in range(many * len(scenes)):
            picture = scene(scenes[number // many]).copy()
            picture[-4:, : 2 + number % SIZE[0]] = 255
            frame = av.VideoFrame.from_ndarray(picture, "rgb24")
            seconds = number / rate if times is None else times[number]
            frame.pts, frame.time_base = round(seconds * 1000), UNIT
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def scene_of(pixels: np.ndarray, among: str) -> str:
    """Return the letter of the scene that a frame shows."""
    height, width = pixels.shape[:2]
    return min(among, key=lambda name: np.abs(scene(name, (width, height)) - pixels.astype(float)).mean())
