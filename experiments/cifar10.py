"""The whole flow on the real CIFAR-10, and what came out of it for the docs.

    python experiments/cifar10.py --data FOLDER --out runs/cifar10 --epochs 30

FOLDER holds ``train.parquet`` and ``test.parquet`` in the layout of the Hugging Face data set. Called again it
resumes. Each stage is a process of its own, so that its time and memory can be measured. It writes
``docs/data/cifar10.json`` (counts, Table 1, largest groups, accuracy of the embedding network on the test images,
seconds and peak memory of each stage, versions, machine) and three galleries to ``docs/pictures``. The text of
``docs/cifar10.md`` is written by hand from them.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterable
from dataclasses import asdict
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from fast import test_accuracy
from PIL import Image

import tenpercent as tp
from tenpercent.data.store.run_folder import RunFolder
from tenpercent.reporting.gallery import class_groups, largest, tightest
from tenpercent.reporting.tables import groups_of, redundancy_table
from tenpercent.selection.stored import load_selection, open_images

ROOT = Path(__file__).resolve().parent.parent
sys.path.append(str(ROOT / "tools"))
from group_picture import group_picture  # noqa: E402 – found by the line above

DOCS = ROOT / "docs"
DEPTH = 32


def main() -> None:
    """Run, measure, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="holds train.parquet and test.parquet")
    parser.add_argument("--out", type=Path, default=Path("runs/cifar10"), help="the run folder")
    parser.add_argument("--epochs", type=int, default=30, help="of the embedding network")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    out, train = str(arguments.out), str(arguments.data / "train.parquet")
    length = ["--depth", str(DEPTH), "--epochs", str(arguments.epochs), "--seed", str(arguments.seed)]
    stages = {
        "embed": [train, "--out", out, *length],
        "cluster": [out, "--keep", "0.85"],
        "select": [out, "--keep", "0.9"],
        "report": [out],
    }
    for stage, words in stages.items():
        measured(arguments.out, stage, words)
    run = RunFolder.open(arguments.out)
    selection = load_selection(run)
    found = facts(run, selection, test_accuracy(run, arguments.data, mirrored=False))
    (DOCS / "data" / "cifar10.json").write_text(json.dumps(found, indent=2, ensure_ascii=False) + "\n")
    draw_galleries(run, selection)
    print(
        f"test accuracy {found['test_accuracy']:.4f}; wrote {DOCS / 'data' / 'cifar10.json'} and three galleries"
    )


def measured(out: Path, stage: str, words: list[str]) -> None:
    """Run one stage in a process of its own, unless that is done, and keep its time and peak memory beside the run."""
    path = out.with_name(out.name + "-measured.json")
    known = json.loads(path.read_text()) if path.exists() else {}
    if stage in known:
        return
    started = time.perf_counter()
    child = subprocess.Popen([sys.executable, "-m", "tenpercent", stage, *words])
    _, status, usage = os.wait4(child.pid, 0)
    if status:
        raise SystemExit(f"{stage} ended with {os.waitstatus_to_exitcode(status)}")
    known[stage] = {"seconds": round(time.perf_counter() - started, 1), "peak_mib": usage.ru_maxrss // 1024}
    path.write_text(json.dumps(known))


def facts(run: RunFolder, selection: tp.Selection, accuracy: float) -> dict[str, Any]:
    """Return the figures of the docs page."""
    groups = groups_of(selection)
    rows, overall = redundancy_table(selection, groups)
    sizes, counts = np.unique(groups.size, return_counts=True)
    return {
        "counts": {"images": len(selection), "kept": len(selection.kept), "removed": len(selection.removed)},
        "test_accuracy": accuracy,
        "groups_by_size": dict(zip(sizes.tolist(), counts.tolist(), strict=True)),
        "classes": [asdict(cut) for cut in selection.classes],
        "table_1": [asdict(row) for row in (*rows, overall)],
        "largest_groups": [
            [str(selection.ids[position]) for position in groups.of(group)] for group in largest(groups, 5)
        ],
        "measured": json.loads(run.path.with_name(run.path.name + "-measured.json").read_text()),
        "training_curve": json.loads((run.training / "curve.json").read_text()),
        "stages": run.read()["stages"],
    }


def draw_galleries(run: RunFolder, selection: tp.Selection) -> None:
    """Draw the largest groups, the tightest, and of each class two one above the other."""
    source = open_images(run)
    groups = groups_of(selection)
    (DOCS / "pictures").mkdir(exist_ok=True)

    def rows(chosen: Iterable[int]) -> list[Image.Image]:
        return [Image.open(BytesIO(group_picture(source, selection, group, side=64))) for group in chosen]

    pairs = [sheet(rows(pair), 1) for _, pair in class_groups(groups, limit=10, each=2, shown=set())]
    galleries = {
        "largest": sheet(rows(largest(groups, 8)), 1),
        "tightest": sheet(rows(tightest(groups, 24)), 4),
        "classes": sheet(pairs, 2),
    }
    for name, gallery in galleries.items():
        gallery.quantize(256).save(DOCS / "pictures" / f"cifar10-{name}.png", optimize=True)


def sheet(pictures: list[Image.Image], across: int) -> Image.Image:
    """Put pictures into rows of `across`, left-aligned, each column as wide and each row as high as it must be."""
    wide = [max(picture.width for picture in pictures[at::across]) for at in range(across)]
    high = [
        max(picture.height for picture in pictures[at : at + across])
        for at in range(0, len(pictures), across)
    ]
    page = Image.new("RGB", (sum(wide), sum(high)), "white")
    for at, picture in enumerate(pictures):
        page.paste(picture, (sum(wide[: at % across]), sum(high[: at // across])))
    return page


if __name__ == "__main__":
    main()
