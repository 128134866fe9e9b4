"""Kill workers and the driver of a clustering in pieces, at random, and compare with the one in memory.

    python tests/stress/kill_pieces.py [--rows 60000] [--kills 10] [--seed 0]

The rows are drawn from the bundled digits with noise; with TENPERCENT_CIFAR10 they are CIFAR-10's. Each round takes
another depth and other pieces. In half of the kills the driver goes, and its workers with it; in the others a worker.
"""

from __future__ import annotations

import argparse
import hashlib
import multiprocessing
import os
import random
import signal
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import psutil

from kill_walk import rows
from tenpercent.linkage.linkage import Linkage, first_merges
from tenpercent.linkage.pieces.plan import Pieces
from tenpercent.tasks.processes import Processes
from tenpercent.tree.together import AllTogether, first_merges_by_tasks

ROUNDS = 4
KEEPS = (0.9, 0.5, 0.75, 0.95)


def digest(found: Linkage) -> str:
    """What came out, in short."""
    parts = (found.a, found.b, found.height)
    return hashlib.sha256(b"".join(part.tobytes() for part in parts)).hexdigest()


def drive(vectors: Path, merges: int, pieces: Pieces, folder: Path) -> None:
    """Be the driver, and write what came out."""
    with Processes(pieces.together).opened(folder) as runner:
        found = first_merges_by_tasks(AllTogether(vectors, merges=merges), pieces, folder, runner)
    (folder / "found").write_text(digest(found))


def disturbed(
    vectors: Path, merges: int, pieces: Pieces, folder: Path, chance: random.Random, kills: int
) -> str:
    """Cluster with so many kills, and return what came out."""
    context = multiprocessing.get_context("spawn")
    while True:
        driver = context.Process(target=drive, args=(vectors, merges, pieces, folder))
        driver.start()
        while driver.is_alive() and kills:
            time.sleep(chance.uniform(0.5, 4.0))
            try:
                workers = psutil.Process(driver.pid).children()
                one = chance.choice([driver.pid, *([chance.choice(workers).pid] if workers else [])])
                os.kill(one, signal.SIGKILL)
            except (ProcessLookupError, psutil.NoSuchProcess):
                continue
            kills -= 1
            print("killed", "the driver" if one == driver.pid else "a worker", flush=True)
        driver.join()
        if driver.exitcode == 0:
            return (folder / "found").read_text()


def main() -> int:
    """Kill, go on, compare; return 1 where something else came out."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rows", type=int, default=60_000)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    chance, real = random.Random(given.seed), os.environ.get("TENPERCENT_CIFAR10")
    made = np.load(Path(real) / "resnet32-train.npy")[: given.rows] if real else rows(given.rows)
    wrong = 0
    for keep in KEEPS[:ROUNDS]:
        pieces = Pieces(
            shard=chance.randint(5_000, len(made)),
            groups=chance.randint(1, 12),
            together=chance.randint(1, 3),
            memory=1 << chance.randint(27, 30),
        )
        merges = len(made) - round(keep * len(made))
        print(f"keep {keep} of {len(made):,}: {pieces}", flush=True)
        with tempfile.TemporaryDirectory() as folder:
            vectors = Path(folder) / "vectors.npy"
            np.save(vectors, made)
            found = disturbed(vectors, merges, pieces, Path(folder), chance, given.kills // ROUNDS)
        same = found == digest(first_merges(made, merges=merges))
        print("the same" if same else "SOMETHING ELSE")
        wrong += not same
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
