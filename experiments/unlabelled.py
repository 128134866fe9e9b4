"""Does training without labels learn? kNN and linear accuracy on test images, before and after.

    python experiments/unlabelled.py CIFAR10 --out runs/unlabelled [--images 10000] [--tested 5000] [--depth 14]
        [--epochs 8]

CIFAR10 is a folder with ``train.parquet`` and ``test.parquet``. The first `--images` and `--tested` of them are taken.
Before is the network with its random weights (one step at a rate of 1e-9), after has been trained. Seed 0, one
training; the same call goes on where it was interrupted.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pyarrow.parquet as pq

import tenpercent as tp


def main() -> None:
    """Embed twice, probe and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("source", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--tested", type=int, default=5_000)
    parser.add_argument("--depth", type=int, default=14)
    parser.add_argument("--epochs", type=int, default=8)
    arguments = parser.parse_args()
    data = arguments.out / "data"
    data.mkdir(parents=True, exist_ok=True)
    for split, count in (("train", arguments.images), ("test", arguments.tested)):
        if not (data / f"{split}.parquet").exists():
            pq.write_table(
                pq.read_table(arguments.source / f"{split}.parquet").slice(0, count),
                data / f"{split}.parquet",
            )
    before = tp.SelfSupervised(depth=arguments.depth, steps=1, rate=1e-9, precision="float32")
    after = tp.SelfSupervised(depth=arguments.depth, epochs=arguments.epochs, precision="float32")
    for name, embedder in (("before", before), ("after", after)):
        tp.embed(data, out=arguments.out / name, embedder=embedder)
    found = tp.probe(
        [arguments.out / "before", arguments.out / "after"],
        layers=("start", "middle", "end"),
        out=arguments.out / "probe",
    )
    print(found)
    embedded = json.loads((arguments.out / "after" / "run.json").read_text())["stages"]["embed"]
    print(
        {
            name: embedded[name]
            for name in ("network", "epochs", "steps", "spread", "train_loss", "train_accuracy")
        }
    )
    print({name: embedded[name] for name in ("train_seconds", "machine", "versions")})


if __name__ == "__main__":
    main()
