"""Train the preset `fast` on CIFAR-10 and write what it reached, in which time; killed and called again it goes on.

    python experiments/fast.py --data FOLDER --out runs/fast [--epochs 10] [--seed 0]

FOLDER holds CIFAR-10 as Parquet, with the splits train and test. The test set decides nothing here: how long, and with
which rates, was tried on 4,000 of the training images (see LOG.md).
"""

from __future__ import annotations

import argparse
import json
import platform
from dataclasses import asdict
from pathlib import Path

import numpy as np

from tenpercent.embed.pixels import scan
from tenpercent.evaluate.presets import preset
from tenpercent.evaluate.training import TrainingData, train_once
from tenpercent.images.options import SourceOptions
from tenpercent.images.source import ImageSource
from tenpercent.images.sources import open_source
from tenpercent.store.run import machine, versions


def opened(folder: Path, split: str) -> ImageSource:
    """Return one split of the data."""
    source = open_source(folder, SourceOptions(split=split))
    assert isinstance(source, ImageSource)
    return source


def main() -> None:
    """Train, print and write JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True, help="for the training, and what came out of it")
    parser.add_argument("--epochs", type=int, help="in the place of the preset's")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    train, test = opened(given.data, "train"), opened(given.data, "test")
    assert train.labels is not None and test.labels is not None
    pixels, test_pixels = (scan(source, np.arange(len(source))).pixels for source in (train, test))
    data = TrainingData(
        pixels, train.labels[pixels.rows], test_pixels, test.labels[test_pixels.rows], len(train.class_names)
    )
    protocol = preset("fast").protocol.override(epochs=given.epochs)
    name = f"{protocol.fingerprint}-seed-{given.seed}"
    found = train_once(data, protocol, np.arange(len(pixels)), given.seed, given.out / name)
    content = {
        "protocol": protocol.as_json(),
        "seed": given.seed,
        "outcome": asdict(found),
        "machine": {**machine(), "system": platform.platform()},
        "versions": versions(),
    }
    (given.out / f"{name}.json").write_text(json.dumps(content, indent=1) + "\n")
    print(
        f"test accuracy {100 * found.accuracy:.2f}% after {found.epochs:g} epochs, {found.seconds:.0f} s of training"
    )


if __name__ == "__main__":
    main()
