"""Cluster on three nodes of Ray while workers, nodes and drivers are killed and writes fail; compare the bytes.

    python tests/stress/fault_ray.py [--faults 50] [--seed 0]

One cluster lives through all of it: a node that is lost is followed by a new one. A command that ends with an error
must have said one line, and the same command must resume.
"""

from __future__ import annotations

import argparse
import hashlib
import random
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import psutil

ROOT = Path(__file__).resolve().parents[2]
CLASSES, ROWS, WIDTH = 40, 60_000, 32
FAULTS = ("worker", "worker", "node", "driver", "write")


def made(folder: Path) -> list[str]:
    """Make vectors full of near-duplicates, and return the words that embed them."""
    generator = np.random.default_rng(0)
    rows = generator.normal(size=(ROWS // 3, WIDTH)).astype(np.float32)
    copies = rows + generator.normal(scale=0.05, size=rows.shape).astype(np.float32)
    np.save(folder / "v.npy", np.concatenate([rows, rows, copies]))
    np.save(folder / "l.npy", np.tile(np.arange(ROWS // 3) % CLASSES, 3))
    return ["embed", str(folder / "v.npy"), "--labels", str(folder / "l.npy"), "--out", str(folder / "base")]


def called(*words: str) -> subprocess.Popen[str]:
    """Start a command."""
    return subprocess.Popen(
        [sys.executable, "-m", "tenpercent", *words],
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def bytes_of(run: Path) -> str:
    """Return a hash of what must be the same."""
    names = ("merges.parquet", "merges.counted.parquet")
    return hashlib.sha256(b"".join((run / name).read_bytes() for name in names)).hexdigest()


def at_work(cluster: Any) -> list[psutil.Process]:
    """Return the processes that do tasks."""
    raylets = [node.all_processes["raylet"][0].process.pid for node in cluster.list_all_nodes()]
    found = [child for pid in raylets for child in psutil.Process(pid).children()]
    return [one for one in found if one.is_running() and one.name().startswith("ray::class")]


def fault(kind: str, cluster: Any, driver: subprocess.Popen[str], chance: random.Random) -> bool:
    """Do harm; return whether there was something to harm."""
    from ray_nodes import add_node

    if kind == "driver":
        driver.kill()
    elif kind == "node":
        cluster.remove_node(chance.choice(sorted(cluster.worker_nodes, key=str)), allow_graceful=False)
        add_node(cluster)
    else:
        workers = at_work(cluster)
        if not workers:
            return False
        victim = chance.choice(workers)
        try:
            if kind == "worker":
                victim.kill()
            else:  # as on a full disk: what it writes from now on is cut off
                victim.rlimit(resource.RLIMIT_FSIZE, (1000, 1000))
        except psutil.NoSuchProcess:
            return False
    return True


def disturbed(run: Path, address: str, cluster: Any, chance: random.Random, most: int) -> Counter[str]:
    """Cluster a run with a few faults on the way, until it is done; return what was done to it."""
    done: Counter[str] = Counter()
    most = min(most, chance.randint(1, 3))
    while True:
        driver = called("cluster", str(run), "--keep", "0.4", "--ray", address)
        while driver.poll() is None:
            if sum(done.values()) < most and list(run.glob("scratch/cluster-*/class-*.npy")):
                time.sleep(chance.uniform(0, 2))
                kind = chance.choice(FAULTS)
                done[kind] += fault(kind, cluster, driver, chance)
                print(f"  {time.strftime('%H:%M:%S')} {kind}", flush=True)
            time.sleep(0.05)
        _, said = driver.communicate()
        if driver.returncode == 0:
            return +done
        last = said.strip().splitlines()[-1:] or [""]
        if driver.returncode > 0 and ("Traceback" in said or not last[0].startswith("tenpercent: error: ")):
            raise SystemExit(f"no clear line, but:\n{said}")
        print(f"  ended ({driver.returncode}), and again: {last[0][:150]}", flush=True)


def main() -> int:
    """Do harm, compare; return 1 where something else came out."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--faults", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    sys.path.append(str(ROOT / "tests" / "support"))
    from ray_nodes import nodes

    print(f"seed {given.seed}", flush=True)
    chance, total, wrong = random.Random(given.seed), Counter[str](), 0
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        assert called(*made(folder)).wait() == 0
        shutil.copytree(folder / "base", folder / "one")
        assert called("cluster", str(folder / "one"), "--keep", "0.4").wait() == 0
        expected = bytes_of(folder / "one")
        with nodes(3) as cluster:
            while sum(total.values()) < given.faults:
                run = folder / "run"
                shutil.copytree(folder / "base", run)
                done = disturbed(run, cluster.address, cluster, chance, given.faults - sum(total.values()))
                same = bytes_of(run) == expected and not (run / "scratch").exists()
                total, wrong = total + done, wrong + (not same)
                print(
                    f"{sum(total.values()):3} faults; {dict(done)}: {'the same' if same else 'SOMETHING ELSE'}",
                    flush=True,
                )
                shutil.rmtree(run)
    print(f"{dict(total)}: {'all the same' if not wrong else f'{wrong} TIMES SOMETHING ELSE'}")
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
