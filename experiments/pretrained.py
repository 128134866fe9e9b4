"""Do the vectors of the pretrained network know the classes of CIFAR-10? 20 nearest neighbours, on small images.

    python experiments/pretrained.py --data FOLDER [--train 10000] [--test 10000] [--to docs/data/pretrained.json]

FOLDER holds train.parquet and test.parquet of CIFAR-10. The first images of each file are taken, which lie there in
random order; nothing else is random.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

import numpy as np

import tenpercent as tp
from tenpercent.data.store.embeddings import Embeddings
from tenpercent.data.store.environment import machine, versions
from tenpercent.data.store.run_folder import RunFolder, Stage
from tenpercent.embedding.one_by_one import embed_each
from tenpercent.embedding.pretrained import PretrainedNetwork

K = 20


def main() -> None:
    """Embed both sets, let the neighbours vote, print and store."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--train", type=int, default=10_000)
    parser.add_argument("--test", type=int, default=10_000)
    parser.add_argument("--to", type=Path)
    arguments = parser.parse_args()
    train = embedded(arguments.data / "train.parquet", arguments.train)
    test = embedded(arguments.data / "test.parquet", arguments.test)
    right = float(np.mean(vote(train, test) == test.labels))
    found = {
        "k": K,
        "train": len(train),
        "test": len(test),
        "accuracy": round(right, 4),
        "deviation": round((right * (1 - right) / len(test)) ** 0.5, 4),
        "machine": machine(),
        "versions": versions(),
    }
    print(json.dumps(found, indent=2))
    if arguments.to:
        arguments.to.write_text(json.dumps(found, indent=2) + "\n")


def embedded(file: Path, count: int) -> Embeddings:
    """Return the vectors of the first images of a file."""
    source = tp.open_source(file)
    with tempfile.TemporaryDirectory() as folder:
        run = RunFolder.at(Path(folder) / "run")
        with run.lock(Stage.EMBED):
            embed_each(
                source,
                run,
                PretrainedNetwork(),
                np.arange(min(count, len(source))),
                {"embedder": "pretrained"},
            )
        return Embeddings.load(run.embeddings)


def vote(train: Embeddings, test: Embeddings) -> np.ndarray:
    """Return the class that most of the `K` nearest training vectors have, the smaller one of a draw."""
    rows, labels = unit(train.vectors), np.asarray(train.labels)
    nearest = np.argpartition(-(unit(test.vectors) @ rows.T), K, axis=1)[:, :K]
    return np.array([np.bincount(labels[near]).argmax() for near in nearest])


def unit(vectors: np.ndarray) -> np.ndarray:
    """Return rows of length 1."""
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


if __name__ == "__main__":
    main()
