"""Kill a clustering at random moments of its join and its walk, go on each time, and compare with an undisturbed one.

    python tests/stress/kill_walk.py [--rows 160000] [--kills 5] [--seed 0]

The rows are drawn from the bundled digits with noise. The memory is little, so that a shell is walked in many pieces;
what is found is kept every second, so that kills meet all of it.
"""

from __future__ import annotations

import argparse
import hashlib
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
KEPT_EVERY = 1.0  # seconds
DEPTH = 0.6  # of all merges
MEMORY_A_ROW = 1200  # bytes


def rows(count: int) -> np.ndarray:
    """Return made vectors, float32[count, 64]."""
    sys.path.append(str(ROOT / "benchmarks"))
    from made import more_rows, near_neighbours, real

    vectors, labels = real(None)
    return np.concatenate(list(more_rows(vectors, near_neighbours(vectors, labels), count)))


def clustered(path: Path, scratch: Path | None) -> None:
    """Cluster, and print what came out: what a process of its own runs."""
    from tenpercent.linkage import growth, pairs
    from tenpercent.linkage import scratch as kept
    from tenpercent.linkage.linkage import first_merges
    from tenpercent.linkage.memory import Resources

    kept.SECONDS = pairs.SECONDS = KEPT_EVERY
    growth._Growth.dense_pays = lambda *_: False  # type: ignore[method-assign]
    vectors = np.load(path, mmap_mode="r")
    resources = Resources(memory=MEMORY_A_ROW * len(vectors), threads=2, scratch=scratch)
    found = first_merges(vectors, merges=int(DEPTH * len(vectors)), resources=resources)
    assert found.counted is not None
    parts = (found.a, found.b, found.height, *found.counted)
    print(len(found), hashlib.sha256(b"".join(part.tobytes() for part in parts)).hexdigest())


def main() -> int:
    """Kill, go on, compare; return 1 where something else came out."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rows", type=int, default=160_000)
    parser.add_argument("--kills", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--child", nargs="+", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        clustered(*given.child, *[None] * (2 - len(given.child)))
        return 0
    with tempfile.TemporaryDirectory() as folder:
        vectors, scratch = Path(folder) / "rows.npy", Path(folder) / "scratch"
        np.save(vectors, rows(given.rows))
        call = [sys.executable, __file__, "--child", str(vectors)]
        begun = time.perf_counter()
        expected = subprocess.run(call, stdout=subprocess.PIPE, text=True, check=True).stdout
        seconds = time.perf_counter() - begun
        print(f"undisturbed: {seconds:.0f} s, {expected.strip()}")
        chance = random.Random(given.seed)
        for _ in range(given.kills):
            process = subprocess.Popen([*call, str(scratch)], stdout=subprocess.PIPE, text=True)
            time.sleep(chance.uniform(0.3, 0.9) * seconds)
            process.send_signal(signal.SIGKILL)
            process.wait()
            standing = next(scratch.glob("walk-*/standing.npz"), None)
            where = "in the join" if standing is None else f"at {len(np.load(standing)['d']):,} merges"
            print("killed", where)
        found = subprocess.run([*call, str(scratch)], stdout=subprocess.PIPE, text=True, check=True).stdout
        left = list(scratch.iterdir())
    print(f"gone on: {found.strip()}")
    print("the same" if found == expected and not left else f"SOMETHING ELSE, and left behind: {left}")
    return int(found != expected or bool(left))


if __name__ == "__main__":
    sys.exit(main())
