"""A COCO file of many boxes, opened as a source of images and of objects: seconds, and the largest memory.

    python benchmarks/boxes.py [--boxes 2000000] [--images 200000] [--polygons] [--json FILE]

The file is made in a temporary folder, beside images that are empty, as opening only lists them; with --polygons each
box has one of eight points. Each opening is a process of its own; memory is its largest resident set, in which the
mapped file counts.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

SIDE = 1000  # of the images, in pixels
CLASSES = 80
UNITS = ("image", "object")


def write_set(file: Path, boxes: int, images: int, *, polygons: bool) -> None:
    """Write a COCO file: boxes at random, as many in each image; its lines one by one, so that memory stays small."""
    draws = np.random.default_rng(0)
    with file.open("w", encoding="utf-8") as out:
        out.write('{"images": [')
        for number in range(images):
            name = f"{number:07d}.jpg"
            (file.parent / name).touch()
            one = {"id": number, "file_name": name, "width": SIDE, "height": SIDE}
            out.write(f"{',' * (number > 0)}\n{json.dumps(one)}")
        out.write('],\n"annotations": [')
        for number in range(boxes):
            x, y, width, height = draws.uniform(1, SIDE / 2, 4).round(2).tolist()
            right, low = round(x + width, 2), round(y + height, 2)
            outline = [[x, y, right, y, right, low, x, low] * 2] if polygons else []
            one = {
                "id": number,
                "image_id": number % images,
                "category_id": 1 + number % CLASSES,
                "bbox": [x, y, width, height],
                "area": round(width * height, 2),
                "iscrowd": 0,
                "segmentation": outline,
            }
            out.write(f"{',' * (number > 0)}\n{json.dumps(one)}")
        kinds = [{"id": number + 1, "name": f"class {number}"} for number in range(CLASSES)]
        out.write(f'],\n"categories": {json.dumps(kinds)}}}\n')


def opened(file: Path, unit: str) -> dict[str, float]:
    """Open the set in this process; return the seconds, the memory and the number of entries."""
    from tenpercent.data.sources.opening import open_source
    from tenpercent.data.sources.options import SourceOptions

    before, started = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.perf_counter()
    source = open_source(f"coco:{file}", SourceOptions(images=file.parent, unit=unit))
    seconds = time.perf_counter() - started
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {"n": len(source), "seconds": seconds, "gb": most * 1024 / 1e9, "gb_before": before * 1024 / 1e9}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--boxes", type=int, default=2_000_000)
    parser.add_argument("--images", type=int, default=200_000)
    parser.add_argument("--polygons", action="store_true")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--open", nargs=2, help=argparse.SUPPRESS)  # what the further processes do
    asked = parser.parse_args()
    if asked.open is not None:
        print(json.dumps(opened(Path(asked.open[0]), asked.open[1])))
        return
    found = {"boxes": asked.boxes, "images": asked.images, "polygons": asked.polygons, "cpus": os.cpu_count()}
    found |= {"python": platform.python_version(), "machine": platform.machine()}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "annotations.json"
        write_set(file, asked.boxes, asked.images, polygons=asked.polygons)
        found["mb"] = file.stat().st_size / 1e6
        for unit in UNITS:
            command = [sys.executable, __file__, "--open", str(file), unit]
            made = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
            found[unit] = json.loads(made.stdout)
            print(
                f"{asked.boxes:,} boxes in {asked.images:,} images, {found['mb']:.0f} MB, by {unit}: "
                f"{found[unit]['seconds']:.1f} s, {found[unit]['gb']:.2f} GB ({found[unit]['gb_before']:.2f} before)",
                flush=True,
            )
    if asked.json is not None:
        asked.json.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
