"""Embed a data set with a preset, `fast` and CIFAR-10 unless told otherwise, and test its network on the test images.

    python experiments/fast.py --data FOLDER --out runs/fast [--preset fast] [--to docs/evidence]

FOLDER has the splits train and test: CIFAR-10 as Parquet, or the idx files of Fashion-MNIST for `fashion-fast`. The run
folder serves everything else (`tenpercent evaluate`, `review`); called again after a kill it resumes. The test set
decides nothing here: how long, and with which rates, was tried on 5,000 of the training images (see LOG.md). With
`--to` what was found is written there as `fast.json`, by the name of the preset.
"""

from __future__ import annotations

import argparse
import json
import platform
import shlex
from pathlib import Path
from typing import Any

import numpy as np
from proof import command

from tenpercent.data.sources.opening import open_source
from tenpercent.data.sources.options import SourceOptions
from tenpercent.data.sources.source import ImageSource
from tenpercent.data.store.environment import machine, versions
from tenpercent.data.store.run_folder import RunFolder
from tenpercent.embedding.of_run import trained_network
from tenpercent.embedding.pixels import scan
from tenpercent.embedding.predictions import EvaluationPixels, predict


def main() -> None:
    """Embed, ask, print and write JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("runs/fast"))
    parser.add_argument("--preset", default="fast")
    parser.add_argument("--to", type=Path, help="the folder that the result is to be written to")
    given = parser.parse_args()
    command("run", given.data, f"--split train --preset {given.preset} --out {shlex.quote(str(given.out))}")
    run = RunFolder.open(given.out)
    found = {
        "test_accuracy": test_accuracy(run, given.data, mirrored=False),
        "test_accuracy_mirrored": test_accuracy(run, given.data, mirrored=True),
        "embedding": run.read()["stages"]["embed"],
        "training_curve": json.loads((run.training / "curve.json").read_text()),
        "machine": {**machine(), "system": platform.platform()},
        "versions": versions(),
    }
    print(
        f"{100 * found['test_accuracy']:.2f}% of the test images, {100 * found['test_accuracy_mirrored']:.2f}% with "
        f"mirror images, after {seconds(found['training_curve']):.0f} s of training"
    )
    if given.to is not None:
        given.to.mkdir(parents=True, exist_ok=True)
        (given.to / f"{given.preset}.json").write_text(json.dumps(found, indent=1) + "\n")


def test_accuracy(run: RunFolder, data: Path, *, mirrored: bool) -> float:
    """Return the share of the test images that a run's embedding network classifies rightly.

    Args:
        run: a run folder with a network trained on labels.
        data: has a split ``test``.
        mirrored: whether each image is asked about together with its mirror image.
    """
    source = open_source(data, SourceOptions(split="test"))
    if not isinstance(source, ImageSource) or source.labels is None:
        raise SystemExit(f"{data} holds no labelled images")
    found, trained = scan(source, np.arange(len(source))), trained_network(run)
    labels = source.labels[found.rows]
    evaluation = EvaluationPixels(found.pixels, labels, np.arange(len(labels)), mirrored)
    return predict(trained.network, trained.view, trained.choice, trained.device, evaluation).accuracy


def seconds(curve: list[dict[str, Any]]) -> float:
    """Return how long a training took."""
    return float(sum(epoch["seconds"] for epoch in curve))


if __name__ == "__main__":
    main()
