"""Do the vectors know the classes of CIFAR-10? Pretrained, trained further without labels, and trained from scratch.

    python experiments/finetuned.py --data FOLDER [--train 10000] [--test 10000] [--only NAME ...] [--work FOLDER]
        [--to docs/data/finetuned.json]

FOLDER holds train.parquet and test.parquet of CIFAR-10. The first images of each file are taken, which lie there in
random order. `tenpercent probe` gives the accuracy of the 20 nearest neighbours. Killed, the same command resumes
in `--work`. Seconds are CPU seconds of all threads together, so that other programs hardly lengthen them.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

import tenpercent as tp
from tenpercent.data.store.environment import machine, versions
from tenpercent.data.store.run_folder import RunFolder, Stage
from tenpercent.embedding.by_labels import fine_tuned
from tenpercent.embedding.hub import MODEL, package_file

SEED = 0


def embedders() -> dict[str, Any]:
    """Return the contestants by name."""
    further = tp.Timm(MODEL, package_file(), side=96, finetune=True, seed=SEED, precision="float32")
    return {
        "pretrained": tp.Pretrained(),
        "trained further": fine_tuned(further, labelled=False),
        "from scratch": tp.SelfSupervised(depth=8, epochs=10, seed=SEED, precision="float32"),
    }


def main() -> None:
    """Embed and probe what is not done yet; print and store."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--train", type=int, default=10_000)
    parser.add_argument("--test", type=int, default=10_000)
    parser.add_argument("--only", nargs="*", help="some of the contestants, by name")
    parser.add_argument("--work", type=Path, default=Path("runs/finetuned"))
    parser.add_argument("--to", type=Path)
    arguments = parser.parse_args()
    arguments.work.mkdir(parents=True, exist_ok=True)
    train, test = (
        first(arguments.data / f"{name}.parquet", count, arguments.work)
        for name, count in (("train", arguments.train), ("test", arguments.test))
    )
    for name, embedder in embedders().items():
        if arguments.only is None or name in arguments.only:
            measure(name, embedder, train, test, arguments.work)
    found = {
        "train": arguments.train,
        "test": arguments.test,
        "seed": SEED,
        "contestants": {
            name: json.loads(path.read_text())
            for name in embedders()
            if (path := arguments.work / f"{name}.json").exists()
        },
        "machine": machine(),
        "versions": versions(),
    }
    print(json.dumps(found, indent=2))
    if arguments.to:
        arguments.to.write_text(json.dumps(found, indent=2) + "\n")


def first(file: Path, count: int, work: Path) -> Path:
    """Write the first images of a file into the working folder; return the path."""
    path = work / f"{file.stem}-{count}.parquet"
    if not path.exists():
        table = pq.read_table(file).slice(0, count)
        pq.write_table(table, path.with_suffix(".new"))
        path.with_suffix(".new").rename(path)
    return path


def measure(name: str, embedder: Any, train: Path, test: Path, work: Path) -> None:
    """Embed the training images, probe, and store the result; nothing where that is done."""
    path, run = work / f"{name}.json", work / name.replace(" ", "-")
    if path.exists():
        return
    began = time.process_time()
    tp.embed(train, out=run, embedder=embedder)
    spent = time.process_time() - began
    probed = tp.probe([run], test=str(test), out=work / f"probe-{name}")
    done = RunFolder.open(run).require(Stage.EMBED)
    (row,) = probed.rows
    made_by = {key: value for key, value in done.settings.made_by.items() if key != "weights"}  # a path
    result = {**asdict(row), "test_set": test.name, "cpu_seconds": round(spent), "embed": made_by}
    path.write_text(json.dumps(result, indent=2, default=str) + "\n")


if __name__ == "__main__":
    main()
