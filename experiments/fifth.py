"""A fifth of CIFAR-10, where images are scarce and training runs short: accuracy against fraction, by strategy.

    python experiments/fifth.py --data FOLDER --out runs/fifth [--until 1] [--to docs/evidence]

FOLDER holds CIFAR-10 as Parquet, with the splits train and test. The first 1,000 training images of each class are all
that embedding, selection and training runs see; all 10,000 test images are tested on. A training run shows each image
more than twice as often as those of experiments/proof.py and takes half as long. Called again, it resumes,
also from the table `fifth.parquet` in the folder of `--to`. Its rows of `el2n`, `forgetting` and `ccs` are of an
earlier version, which took their scores from the training of the embedding.
"""

from __future__ import annotations

import shlex
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from proof import arguments, carry_out, command

EACH = 1000  # images of a class
TRAINING = "--preset quick --epochs 12"  # of the embedding too: the paper keeps them alike
STEPS = [
    "--keep 0.9 --trials 5 --arms full random semantic",
    "--keep 0.8 --trials 4 --arms full random semantic",
    "--keep 0.7 0.5 0.3 --trials 3 --arms full random semantic mixed spread",
    "--keep 0.7 --trials 3 --arms mixed:0.43",
    "--keep 0.5 --trials 3 --arms mixed:0",
    "--keep 0.9 0.5 --trials 3 --arms spread kcenter graph-remove graph-add semdedup",
    "--keep 0.3 --trials 1 --arms graph-add",
    "--keep 0.95 0.9 0.8 --trials 3 --arms semantic --layer start middle",
]


def main() -> None:
    """Take the fifth, embed, evaluate step by step, report."""
    given = arguments(__doc__, Path("runs/fifth"), len(STEPS)).parse_args()
    data = given.out.with_name(given.out.name + "-images")
    take(given.data, data)
    command("run", data, f"--split train {TRAINING} --out {shlex.quote(str(given.out))}")
    steps = [f"{TRAINING} {step}" for step in STEPS[: given.until]]
    carry_out(given.out, steps, None if given.to is None else given.to / "fifth.parquet")


def take(source: Path, folder: Path) -> None:
    """Write the first images of each class, and all test images, unless that is done."""
    folder.mkdir(parents=True, exist_ok=True)
    for split in ("train", "test"):
        path = folder / f"{split}.parquet"
        if path.exists():
            continue
        table = pq.read_table(source / f"{split}.parquet")
        if split == "train":
            table = first_of_each(table)
        pq.write_table(table, path.with_suffix(".part"), row_group_size=1000)
        path.with_suffix(".part").rename(path)


def first_of_each(table: pa.Table) -> pa.Table:
    """Return the first `EACH` rows of each label, in the order of the table."""
    labels = table["label"].to_numpy()
    rows = [np.flatnonzero(labels == label)[:EACH] for label in pc.unique(table["label"]).to_pylist()]
    return table.take(np.sort(np.concatenate(rows)))


if __name__ == "__main__":
    main()
