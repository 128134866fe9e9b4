"""Which member of a group should stay: the one nearest to its centre, the farthest, or any? Trainings answer.

    python experiments/representatives.py --run runs/cifar10 [--keep 0.5 0.3] [--trials 3] [--preset quick]

RUN is a run folder that is clustered (experiments/proof.py makes one). All three keep one image of
each group of the same cut, so they differ in nothing else; `semantic` keeps the nearest. The lists are written to
RUN/lists as row numbers of the source, and are arms of `tenpercent evaluate` under the names `farthest-50`, `any-50`,
and so on; called again it goes on where it was.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt

import tenpercent as tp
from tenpercent.cluster.distances import unit_vectors
from tenpercent.select.stored import load_merges
from tenpercent.store.run import RunFolder

Ints = npt.NDArray[np.int64]


def main() -> None:
    """Write the lists and evaluate them."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--keep", type=float, nargs="+", default=[0.5, 0.3])
    parser.add_argument("--trials", type=int, default=3)
    parser.add_argument("--preset", default="quick")
    given = parser.parse_args()
    merges = load_merges(RunFolder.open(given.run)).deepened(min(given.keep))
    folder = given.run / "lists"
    folder.mkdir(exist_ok=True)
    arms = ["semantic"]
    for keep in given.keep:
        selection = merges.select(keep)
        for name, chosen in choices(selection, merges.embeddings).items():
            path = folder / f"{name}-{100 * keep:g}.npy"
            np.save(path, selection.source_rows[chosen])
            arms.append(f"{path.stem}={path}")
    words = ["evaluate", str(given.run), "--preset", given.preset, "--trials", str(given.trials)]
    words += ["--keep", *map(str, given.keep), "--arms", *arms]
    raise SystemExit(subprocess.run([sys.executable, "-m", "tenpercent", *words]).returncode)


def choices(selection: tp.Selection, embeddings: tp.Embeddings) -> dict[str, Ints]:
    """Return one position of each group, by two choices: the farthest from the group's centre, and any (seed 0)."""
    units, group = unit_vectors(embeddings.vectors), selection.group
    centres = np.zeros((group.max() + 1, units.shape[1]))
    np.add.at(centres, group, units)
    off = -np.einsum("ij,ij->i", units, unit_vectors(centres)[group])
    return {
        "farthest": first_of_each(group, np.lexsort((selection.ids, -off))),
        "any": first_of_each(group, np.random.default_rng(0).permutation(len(group))),
    }


def first_of_each(group: Ints, order: Ints) -> Ints:
    """Return the position of each group that comes first in an order, ascending."""
    _, first = np.unique(group[order], return_index=True)
    return np.sort(order[first])


if __name__ == "__main__":
    main()
