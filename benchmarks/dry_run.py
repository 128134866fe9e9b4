"""How long a dry run takes and how steady its estimate is, beside nothing and beside two busy processes.

    python benchmarks/dry_run.py [--data FOLDER_WITH_CIFAR10] [--rounds 2] [--out benchmarks/dry_run.json]

Photographs are crops of the two that scikit-learn brings, enlarged to 3000 × 2000 pixels (seed 0). Each dry run is a
process of its own, conditions in turn: A B A B. Prints seconds on the clock, seconds of the processor, and the
estimate; the figures are in docs/embeddings.md.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from sklearn.datasets import load_sample_images

from tenpercent.data.store.environment import machine, versions

CALL = """
import json, sys
from tenpercent.cli.parser import build_parser
from tenpercent.cli.values import cut_of, embedder_of, options_of
from tenpercent.cli.dry_run import plan
given = build_parser().parse_args(["run", *sys.argv[1:], "--dry-run", "--quiet"])
found = plan(given.source, out=given.out, embedder=embedder_of(given), options=options_of(given), cut=cut_of(given))
print(json.dumps({"estimate": found.seconds}))
"""


def make_photos(folder: Path, count: int) -> None:
    """Write photographs of two classes below ``labelled`` and as links in ``flat``."""
    pictures, values = load_sample_images().images, np.random.default_rng(0)
    (folder / "flat").mkdir()
    for number in range(count):
        picture = pictures[number % 2]
        height, width = picture.shape[:2]
        y, x = values.integers(0, height // 3), values.integers(0, width // 3)
        crop = picture[y : y + 2 * height // 3, x : x + 2 * width // 3]
        path = folder / "labelled" / "ab"[number % 2] / f"{number:04d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(crop).resize((3000, 2000), Image.Resampling.BICUBIC).save(path, quality=90)
        (folder / "flat" / path.name).hardlink_to(path)


@contextmanager
def busy(count: int) -> Iterator[None]:
    """Let `count` other processes compute meanwhile."""
    others = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for one in others:
            one.kill()
            one.wait()


def dry_run(words: list[str]) -> dict[str, Any]:
    """Return the estimate, and what it took with all imports."""
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run([sys.executable, "-c", CALL, *words], capture_output=True, text=True, check=True)
    seconds = time.perf_counter() - started
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    load = os.getloadavg()[0]
    return {"seconds": seconds, "processor": used, "load": load, **json.loads(done.stdout.splitlines()[-1])}


def table(rows: list[dict[str, Any]]) -> str:
    """Return the rows as a Markdown table."""
    lines = [
        "| source | busy processes | load | seconds | of the processor | estimate, s |",
        "|---|---|---|---|---|---|",
    ]
    for row in rows:
        figures = (
            f"{row['load']:.1f} | {row['seconds']:.0f} | {row['processor']:.1f} | {row['estimate']:,.0f}"
        )
        lines.append(f"| {row['what']} | {row['busy']} | {figures} |")
    return "\n".join(lines)


def main() -> None:
    """Measure, print a table, write JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, help="folder with CIFAR-10 as Parquet; left out if not given")
    parser.add_argument("--photos", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/dry_run.json"))
    given = parser.parse_args()
    found: list[dict[str, Any]] = []
    about = {"photos": given.photos, "machine": machine(), "versions": versions()}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_photos(folder, given.photos)
        asked = {
            "photos without labels": [f"{folder}/flat"],
            "photos in two classes": [f"{folder}/labelled"],
            "photos, timm:resnet18": [f"{folder}/flat", "--embedder", "timm:resnet18"],
            "photos, --side 64": [f"{folder}/flat", "--side", "64"],
            "photos, --side 256": [f"{folder}/flat", "--side", "256"],
        }
        if given.data:
            asked |= {
                "CIFAR-10": [str(given.data)],
                "CIFAR-10, --preset quick": [str(given.data), "--preset", "quick"],
            }
        for what, words in asked.items():
            for number in range(given.rounds):
                for count in (0, 2):
                    with busy(count):
                        row = dry_run([*words, "--out", f"{folder}/none"])
                    found.append({"what": what, "round": number, "busy": count, **row})
                    print(
                        f"{what:26} {count} busy (load {row['load']:4.1f}): {row['seconds']:5.1f} s, "
                        f"{row['processor']:5.1f} s of the processor, estimate {row['estimate']:8.0f} s",
                        flush=True,
                    )
                    given.out.write_text(json.dumps({**about, "rows": found}, indent=1) + "\n")
    print(f"\n{table(found)}")


if __name__ == "__main__":
    main()
