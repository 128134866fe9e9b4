"""Seconds that Ray adds: clustering class by class, without and through a cluster that runs, in pairs.

    python benchmarks/overhead.py --data FOLDER [--rounds 5] [--keep 0.9] [--json FILE]

The vectors are CIFAR-10's. Each round clusters a fresh copy of one run folder by both commands, as a user gives them,
one after the other; the merges must be the same bytes. The cluster has a node of one CPU for each CPU of this machine.
Both are seconds of the clock, so other work on the machine counts; its share is printed. The first pair is left out.
"""

from __future__ import annotations

import argparse
import json
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from made import real
from measure import Elsewhere

from tenpercent.linkage.threads import cpus

ROOT = Path(__file__).resolve().parent.parent


def tenpercent(*words: str | Path) -> float:
    """Run a command, and return its seconds."""
    begun = time.perf_counter()
    subprocess.run([sys.executable, "-m", "tenpercent", *map(str, words)], check=True, capture_output=True)
    return time.perf_counter() - begun


def one_pair(base: Path, keep: float, address: str) -> tuple[float, float]:
    """Return the seconds without Ray and with it."""
    seconds, merges = [], []
    for more in ((), ("--ray", address)):
        run = base.with_name("run")
        shutil.copytree(base, run)
        seconds.append(tenpercent("cluster", run, "--keep", str(keep), *more))
        merges.append((run / "merges.parquet").read_bytes())
        shutil.rmtree(run)
    assert merges[0] == merges[1]
    return seconds[0], seconds[1]


def sentence(measured: dict[str, Any]) -> str:
    """Return what docs/scale.md says."""
    without, through = zip(*measured["pairs"], strict=True)
    more = [b - a for a, b in measured["pairs"]]
    return (
        f"{statistics.median(without):.1f} s without and {statistics.median(through):.1f} s through Ray, "
        f"{statistics.median(more):.1f} s more ({min(more):.1f} to {max(more):.1f} in {len(more)} pairs)"
    )


def main() -> None:
    """Measure the pairs."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, help="folder of CIFAR-10; without it, scikit-learn's digits")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--keep", type=float, default=0.9)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    sys.path.append(str(ROOT / "tests" / "support"))
    import ray

    from ray_nodes import nodes

    vectors, labels = real(given.data)
    versions = f"Python {platform.python_version()}, numpy {np.__version__}, Ray {ray.__version__}"
    machine = f"{platform.machine()}, {cpus()} CPUs, {versions}"
    print(f"{machine}; {len(vectors):,} vectors, keep {given.keep}")
    with tempfile.TemporaryDirectory() as place, nodes(cpus()) as cluster:
        folder = Path(place)
        np.save(folder / "v.npy", vectors)
        np.save(folder / "l.npy", labels)
        tenpercent("embed", folder / "v.npy", "--labels", folder / "l.npy", "--out", folder / "base")
        one_pair(folder / "base", given.keep, cluster.address)
        pairs = []
        with Elsewhere() as others:
            for _ in range(given.rounds):
                pairs.append(one_pair(folder / "base", given.keep, cluster.address))
                print(f"{pairs[-1][0]:.2f} s without, {pairs[-1][1]:.2f} s through Ray", flush=True)
    measured = {"machine": machine, "n": len(vectors), "keep": given.keep, "pairs": pairs}
    measured |= {"others": round(others.share, 3)}
    print(
        f"{sentence(measured)}; {others.share:.0%} of the CPUs' time went to others, the nodes of Ray among them"
    )
    if given.json:
        given.json.write_text(json.dumps(measured, indent=2) + "\n")


if __name__ == "__main__":
    main()
