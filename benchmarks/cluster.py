"""Time the exact clustering beside scikit-learn and fastcluster on real vectors, all in one run.

    .venv/bin/python benchmarks/cluster.py --data FOLDER [--keep 0.9] [--repeats 5] [--out benchmarks/cluster.json]

FOLDER holds `resnet32-train.npy` (float32 [50000, 64]) and `train.parquet` with a `label` column. scikit-learn and
fastcluster always build the whole tree of a class, whatever is kept of it; that is what the paper's procedure costs.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import psutil
import pyarrow.parquet as pq

from tenpercent.cluster.linkage import first_merges
from tenpercent.store.files import write_text

DATA = Path(__file__).parents[1] / "../shared/data/cifar10"
Classes = list[npt.NDArray[np.float32]]


def seconds(work: Callable[[], Any], repeats: int) -> dict[str, Any]:
    """Time `work` several times, after one call that is not counted (it loads what numba compiled)."""
    begun = time.perf_counter()
    work()
    first = time.perf_counter() - begun
    taken = []
    for _ in range(repeats):
        begun = time.perf_counter()
        work()
        taken.append(time.perf_counter() - begun)
    return {
        "first": round(first, 3),
        "median": round(statistics.median(taken), 3),
        "all": [round(t, 3) for t in taken],
    }


def engine(classes: Classes, keep: float) -> Callable[[], None]:
    """Return the work: the merges that leave a fraction `keep` of each class."""

    def work() -> None:
        for vectors in classes:
            first_merges(vectors, merges=len(vectors) - round(keep * len(vectors)))

    return work


def with_sklearn(classes: Classes, keep: float) -> Callable[[], None]:
    from sklearn.cluster import AgglomerativeClustering

    def work() -> None:
        for vectors in classes:
            clusters = round(keep * len(vectors))
            AgglomerativeClustering(clusters, metric="cosine", linkage="complete").fit(vectors)

    return work


def with_fastcluster(classes: Classes) -> Callable[[], None]:
    import fastcluster

    def work() -> None:
        for vectors in classes:
            fastcluster.linkage(vectors.astype(np.float64), "complete", "cosine")

    return work


def machine() -> dict[str, Any]:
    """Say what ran this: processor, cores, memory, versions."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    model = next(
        (line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.processor()
    )
    names = ("tenpercent", "numpy", "scipy", "numba", "scikit-learn", "fastcluster")
    return {
        "processor": model,
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory GiB": round(psutil.virtual_memory().total / 2**30, 1),
        "load at the start": [round(load, 2) for load in psutil.getloadavg()],
        "python": sys.version.split()[0],
        "versions": {name: version(name) for name in names},
    }


def main() -> None:
    """Run all rows, print a table, write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--data", type=Path, default=DATA, help="folder of resnet32-train.npy and train.parquet"
    )
    parser.add_argument("--keep", type=float, default=0.9)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--out", type=Path, default=None, help="write the result here as JSON")
    options = parser.parse_args()
    if not (options.data / "resnet32-train.npy").exists():
        parser.error(f"{options.data} holds no resnet32-train.npy; name its folder with --data")

    vectors = np.load(options.data / "resnet32-train.npy")
    labels = pq.read_table(options.data / "train.parquet", columns=["label"])["label"].to_numpy()
    classes = [vectors[labels == label] for label in np.unique(labels)]
    about = machine()
    rows = {
        "tenpercent, class by class": seconds(engine(classes, options.keep), options.repeats),
        "tenpercent, all together": seconds(engine([vectors], options.keep), options.repeats),
        "scikit-learn, class by class": seconds(with_sklearn(classes, options.keep), options.repeats),
        "fastcluster, class by class": seconds(with_fastcluster(classes), options.repeats),
    }
    ours = rows["tenpercent, class by class"]["median"]
    print(f"{len(vectors):,} × {vectors.shape[1]}, keep {options.keep}, median of {options.repeats}")
    for name, row in rows.items():
        ratio = f"{row['median'] / ours:6.1f} ×" if "class by class" in name else ""
        print(f"  {name:32s} {row['median']:8.2f} s {ratio:>9s}   (first call {row['first']:.2f} s)")
    if options.out is not None:
        result = {
            "keep": options.keep,
            "rows": len(vectors),
            "width": vectors.shape[1],
            "machine": about,
            "seconds": rows,
        }
        write_text(options.out, json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
