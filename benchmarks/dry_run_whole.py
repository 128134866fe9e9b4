"""The time that a dry run tells for the whole command, beside the time that the command takes, at two sizes.

    python benchmarks/dry_run_whole.py [--rounds 3]

Photographs are blurred noise of 320 × 240 pixels (seed 0), embedded by the pretrained network. On one CPU seconds of
the CPU are nearly those of an idle machine. Prints both and their ratio; within 0.5 to 2 is the aim.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

PROCESS = """
import os, sys, time
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
import tenpercent as tp
from tenpercent.cli.dry_run import plan
source, out, dry = sys.argv[1:]
if dry:
    print(plan(source, out=out, embedder=tp.Pretrained()).seconds)
else:
    tp.run(source, out=out, embedder="pretrained")
    print(time.process_time())
"""


def write_photos(folder: Path, count: int) -> Path:
    """Write `count` JPEG files of blurred noise."""
    draw = np.random.default_rng(0)
    folder.mkdir()
    for number in range(count):
        small = draw.integers(0, 256, (6, 8, 3), np.uint8)
        Image.fromarray(small).resize((320, 240)).save(folder / f"{number}.jpg")
    return folder


def main() -> None:
    """Print a line for each size and round."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as place:
        for count in (20, 300):
            source = write_photos(Path(place) / str(count), count)
            for number in range(rounds):
                run = Path(place) / f"run-{count}-{number}"
                told, taken = (
                    float(subprocess.check_output([sys.executable, "-c", PROCESS, source, run, dry]))
                    for dry in ("dry", "")
                )
                print(f"{count:>4} photos: told {told:.1f} s, took {taken:.1f} s, ratio {told / taken:.2f}")


if __name__ == "__main__":
    main()
