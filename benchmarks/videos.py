"""Rate at which frames of videos are read, beside PyAV's own loop over all frames.

    python benchmarks/videos.py [SECONDS] [FILE ...]

Without files it makes one of 1280 × 720 pixels, in H.264 with a key frame every 10 s. Both decode by all threads and
convert the frames that are taken to RGB. Five times each, in turn; prints mean and standard deviation.
"""

from __future__ import annotations

import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np

from tenpercent.data.sources.opening import open_source
from tenpercent.data.sources.options import SourceOptions
from tenpercent.data.sources.source import ImageSource

ROUNDS, SIZE, RATE = 5, (1280, 720), 25


def made(path: Path, seconds: int) -> Path:
    """Write a video of moving noise."""
    rng = np.random.default_rng(0)
    noise = np.kron(rng.integers(0, 256, (100, 200, 3)), np.ones((16, 16, 1))).astype(np.uint8)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(
            "libx264", rate=RATE, options={"preset": "veryfast", "g": str(10 * RATE)}
        )
        (stream.width, stream.height), stream.pix_fmt = SIZE, "yuv420p"
        for number in range(seconds * RATE):
            left, top = 3 * number % 1900, 2 * number % 800
            view = noise[top : top + SIZE[1], left : left + SIZE[0]]
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(view), "rgb24")))
        container.mux(stream.encode(None))
    return path


def by_pyav(path: Path, chosen: set[int]) -> int:
    """Decode all frames of a video, and convert those at some places; return the number decoded."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        for number, frame in enumerate(container.decode(stream)):
            if number in chosen:
                frame.to_ndarray(format="rgb24")
    return number + 1


def by_source(path: Path, fps: float) -> int:
    """Open a video as a source and read its images in order; return their number."""
    source = open_source(path, SourceOptions(fps=fps))
    assert isinstance(source, ImageSource)
    for row in range(len(source)):
        source.read(row)
    return len(source)


def timed(work: Callable[[], int]) -> tuple[float, float]:
    """Return the seconds that passed, and those of all CPUs, which other work on the machine changes less."""
    start, busy = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - start, time.process_time() - busy


def main(seconds: int, files: list[Path]) -> None:
    """Print a table."""
    print(f"PyAV {av.__version__}, {os.cpu_count()} CPUs, {platform.machine()}, {ROUNDS} rounds in turn")
    with tempfile.TemporaryDirectory() as folder:
        for path in files or [made(Path(folder) / "noise.mp4", seconds)]:
            n = by_pyav(path, set())
            for fps, every in ((1000.0, 1), (1.0, RATE)):
                pairs = [
                    (
                        timed(lambda: by_pyav(path, set(range(0, n, every)))),  # noqa: B023
                        timed(lambda: by_source(path, fps)),  # noqa: B023
                    )
                    for _ in range(ROUNDS)
                ]
                print(f"{path.name}, {n:,} frames, --fps {fps:g}, in frames a second:")
                for at, unit in enumerate(("", " of CPU time")):
                    own, ours = n / np.array(pairs)[:, :, at].T
                    for name, rates in (("PyAV", own), ("tenpercent", ours), ("ratio", ours / own)):
                        print(f"  {name + unit:24} {rates.mean():.4g} ± {rates.std(ddof=1):.2g}")


if __name__ == "__main__":
    numbers = [one for one in sys.argv[1:] if one.isdecimal()]
    main(int(numbers[0]) if numbers else 40, [Path(one) for one in sys.argv[1:] if not one.isdecimal()])
