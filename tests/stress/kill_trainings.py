"""Kills evaluations with SIGKILL at random moments, one process or one of two, and compares what they end with.

    python tests/stress/kill_trainings.py --kills 20 --seed 0

Each round takes a fresh copy of a small run, kills `tenpercent evaluate` in it at a random moment, in every third round
a second process that shares the folder goes on meanwhile, and the same command is called until it ends. Every row must
be that of an undisturbed evaluation, but for the time it took. Exit status 1 if one differs or anything is left behind.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pyarrow.parquet as pq

TIMES = ("seconds", "machine")
KEPT = ["--keep", "0.8", "0.5", "--trials", "1"]
HOW = ["--depth", "8", "--steps", "30", "--batch", "16", "--precision", "float32", "--quiet"]


def command(out: Path, *words: str) -> subprocess.Popen[bytes]:
    """Start a command in a process group of its own, so that a kill takes all of it."""
    whole = [sys.executable, "-m", "tenpercent", *words]
    return subprocess.Popen(
        [*whole, str(out)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True
    )


def ended(process: subprocess.Popen[bytes]) -> None:
    """Wait for a command; exit with what it said where it failed."""
    said, _ = process.communicate()
    if process.returncode not in (0, -signal.SIGKILL):
        sys.exit(f"a command failed with status {process.returncode}: {said.decode()}")


def evaluate(out: Path) -> subprocess.Popen[bytes]:
    """Start the evaluation of a run."""
    return command(out, "evaluate", *KEPT, *HOW, "--arms", "full", "random", "semantic", "--")


def rows(out: Path) -> list[dict[str, Any]]:
    """Return what is known of each training, without the time that it took."""
    found = pq.read_table(out / "results.parquet").to_pylist()
    for row in found:
        row["curve"] = [{**entry, "seconds": None} for entry in row["curve"]]
    return [{name: repr(value) for name, value in row.items() if name not in TIMES} for row in found]


def photos(folder: Path) -> None:
    """Make noisy images whose brightest third tells the class."""
    rng = np.random.default_rng(0)
    for split, each in (("train", 20), ("test", 6)):
        for code in range(3):
            (folder / split / f"class{code}").mkdir(parents=True)
            for number in range(each):
                pixels = rng.integers(0, 120, (24, 24, 3)).astype(np.uint8)
                pixels[code * 8 : code * 8 + 8] += 100
                PIL.Image.fromarray(pixels).save(folder / split / f"class{code}" / f"{number:03d}.png")


def left_behind(out: Path) -> list[str]:
    """Return what should not be there any more when all is done."""
    folder = out / "trainings"
    return [path.name for path in folder.iterdir() if path.suffix not in (".parquet", ".lock")]


def main() -> int:
    """Kill, compare, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    rng = random.Random(arguments.seed)
    wrong = 0
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        photos(root / "photos")
        base, calm = root / "base", root / "calm"
        words = ["--depth", "8", "--steps", "8", "--batch", "16", "--precision", "float32", "--quiet"]
        ended(command(base, "run", str(root / "photos"), *words, "--out"))
        shutil.copytree(base, calm)
        start = time.perf_counter()
        ended(evaluate(calm))
        lasted, expected = time.perf_counter() - start, rows(calm)
        print(f"undisturbed: {len(expected)} trainings in {lasted:.1f} s")
        for round_ in range(arguments.kills):
            out = root / f"round{round_}"
            shutil.copytree(base, out)
            first, second = evaluate(out), evaluate(out) if round_ % 3 == 2 else None
            moment = rng.uniform(0.0, lasted)
            time.sleep(moment)
            done = len(list((out / "trainings").glob("*.parquet"))) if (out / "trainings").exists() else 0
            if first.poll() is None:
                os.killpg(first.pid, signal.SIGKILL)
            ended(first)
            if second is not None:
                ended(second)
            ended(evaluate(out))
            same, left = rows(out) == expected, left_behind(out)
            wrong += not same or bool(left)
            beside = " beside another process" if second is not None else ""
            print(
                f"killed after {moment:5.1f} s, {done:2d} done{beside}: {'same' if same else 'DIFFERENT'} {left or ''}"
            )
            shutil.rmtree(out)
    print(f"{arguments.kills - wrong} of {arguments.kills} ended with the same rows and nothing left behind")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
