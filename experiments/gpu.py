"""What a GPU is wanted for, in one call that ends by itself: what is first is worth most, and written at once.

    python experiments/gpu.py cifar10 --data FOLDER --out runs/gpu --to RESULTS [--minutes 9]
    python experiments/gpu.py fashion --data FOLDER --out runs/gpu --to RESULTS [--minutes 9]

`cifar10` first finds the near pairs of made vectors by the filter of the GPU and by that of the CPU, whose results must
be the same bytes (`filters.json`). Then it trains on CIFAR-10 as Parquet, one trial of each arm before the next, by the
preset `fast` with the network `fast-wide`, 12 epochs, images at full size, in bfloat16. `fashion` trains on the idx
files of Fashion-MNIST by the article's protocol, one training run of each of three arms. The images lie on the device.
RESULTS gets the table of all training runs anew after each (`cifar10.parquet`, `fashion.parquet`). Called again, both
resume; torch.compile is not used. Without a GPU everything runs on the CPU, slowly.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import signal
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

import tenpercent as tp
from tenpercent.data.store.environment import machine, versions
from tenpercent.data.store.run_folder import RunFolder
from tenpercent.embedding.augment import PixelSource
from tenpercent.embedding.settings import SelfSupervised, Supervised
from tenpercent.evaluation.experiment import run_trials
from tenpercent.evaluation.preparation import EvaluationRequest, Preparation
from tenpercent.evaluation.presets import Protocol, preset
from tenpercent.evaluation.training import settled, train_once
from tenpercent.evaluation.trials import Trial
from tenpercent.linkage.accelerators import TorchFilter
from tenpercent.linkage.filters import PairFilter, SinglesFilter
from tenpercent.linkage.neighbors import neighbor_graph
from tenpercent.linkage.points import Points

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
SIZES = ["50000x64", "320000x512"]  # of the made vectors
GROUP, NOISE, RADIUS = (
    8,
    (0.01, 0.2),
    0.05,
)  # vectors a group, dissimilarities within one, and the search's radius
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Plan:
    """An experiment: protocol, embedder, the images among which arms choose, and arms with their fractions."""

    protocol: Protocol
    embedder: Supervised | SelfSupervised
    within: str
    arms: Sequence[tuple[str, float]]
    trials: int


def plan(name: str, steps: int | None) -> Plan:
    """Return the plan of that name; `steps` shortens every training run, for a test."""
    if name == "fashion":
        protocol = preset("article-fashion").protocol.override(precision="bf16", steps=steps)
        unlabelled = SelfSupervised(dim=64, depth=8, epochs=None if steps else 10, steps=steps)
        return Plan(protocol, unlabelled, "all", [("full", 1.0), ("semantic", 0.9), ("random", 0.9)], 1)
    fast = preset("fast").protocol.override(
        network="fast-wide", precision="bf16", epochs=None if steps else 12, steps=steps
    )
    training = replace(fast.training, recipe=replace(fast.training.recipe, small_steps=0.0))
    assert isinstance(training, Supervised)
    arms = [("full", 1.0), *((arm, keep) for keep in (0.9, 0.7) for arm in ("semantic", "random"))]
    arms += [("spread", keep) for keep in (0.7, 0.5, 0.3)]
    return Plan(replace(fast, training=training), training, "class", arms, 10)


def main() -> None:
    """Measure until everything is done or the time is up."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=("cifar10", "fashion"))
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("runs/gpu"), help="for the run folders")
    parser.add_argument("--to", type=Path, required=True, help="the folder that the results are copied to")
    parser.add_argument("--minutes", type=float, default=9, help="after which everything ends")
    parser.add_argument("--steps", type=int, help="of each training run, for a test")
    parser.add_argument("--sizes", nargs="*", default=SIZES, help="ROWSxVALUES of the made vectors")
    given = parser.parse_args()
    given.to.mkdir(parents=True, exist_ok=True)
    signal.signal(signal.SIGALRM, signal.default_int_handler)
    try:
        signal.setitimer(signal.ITIMER_REAL, 60 * given.minutes)
        if given.what == "cifar10":
            compare_filters(given.sizes, given.to / "filters.json")
        train(
            plan(given.what, given.steps),
            given.data,
            given.out / given.what,
            given.to / f"{given.what}.parquet",
        )
    except KeyboardInterrupt:
        print(f"ended after {given.minutes:g} minutes; the same command resumes")
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


# ---- the filter ------------------------------------------------------------------------------------------------------


def compare_filters(sizes: Sequence[str], path: Path) -> None:
    """Find near pairs by numpy's float32 and by the device's bfloat16; write times, and whether the bytes are equal."""
    found: dict[str, Any] = {"device": name_of_device(), "machine": machine(), "versions": versions()}
    for size in sizes:
        rows, width = map(int, size.split("x"))
        points = Points.of(made(rows, width))
        single, short = (measured(points, which) for which in (SinglesFilter(), TorchFilter(DEVICE)))
        found[size] = {"float32": single, "bf16": short, "same": single["bytes"] == short["bytes"]}
        print(size, json.dumps(found[size]), flush=True)
        path.write_text(json.dumps(found, indent=2) + "\n")


def measured(points: Points, which: PairFilter) -> dict[str, Any]:
    """Return the seconds of a search for near pairs, the second of two, with their number and a hash of all."""
    for _ in range(2):
        begun = time.perf_counter()
        graph = neighbor_graph(points, RADIUS, multiply=which)
        seconds = time.perf_counter() - begun
    digest = hashlib.blake2b(b"".join(one.tobytes() for one in (graph.i, graph.j, graph.d)), digest_size=8)
    return {"seconds": round(seconds, 3), "pairs": len(graph), "bytes": digest.hexdigest()}


def made(rows: int, width: int) -> npt.NDArray[np.float32]:
    """Return vectors in groups of `GROUP`, some tighter than others: float32[rows, width] (seed 0)."""
    random = np.random.default_rng(0)
    centres = random.standard_normal((-(-rows // GROUP), width), dtype=np.float32)
    centres /= np.linalg.norm(centres, axis=1, keepdims=True)
    spread = np.sqrt(random.uniform(*NOISE, (len(centres), 1)) / width).astype(np.float32)
    group = np.arange(rows) % len(centres)
    return centres[group] + spread[group] * random.standard_normal((rows, width), dtype=np.float32)


def name_of_device() -> str:
    """Return the name of the GPU."""
    return torch.cuda.get_device_name() if DEVICE == "cuda" else DEVICE


# ---- training runs ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class DevicePixels:
    """Images on the device: uint8[m, 3, h, w]."""

    kept: torch.Tensor
    noun: str = "image"

    @classmethod
    def of(cls, pixels: PixelSource) -> DevicePixels:
        """Copy the images of any source there."""
        order = np.array_split(np.arange(len(pixels)), -(-len(pixels) // 1000))
        return cls(torch.cat([images.to(DEVICE) for images in pixels.batches(order)]))

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""
        return self.kept.shape[2], self.kept.shape[3]

    def __len__(self) -> int:
        return len(self.kept)

    def batches(self, order: Iterable[Ints]) -> Iterator[torch.Tensor]:
        """Yield the images at each array of positions."""
        for places in order:
            yield self.kept[torch.from_numpy(places).to(DEVICE)]


def train(what: Plan, data: Path, out: Path, table: Path) -> None:
    """Embed and cluster, then train on one arm after the other; the table is copied after each."""
    tp.embed(data, out=out, embedder=what.embedder)
    fractions = sorted({keep for _, keep in what.arms} - {1.0})
    tp.cluster(out, fractions[0], within=what.within)
    request = EvaluationRequest(
        tuple(fractions), tuple(dict.fromkeys(arm for arm, _ in what.arms)), what.trials
    )
    ready = Preparation.of(RunFolder.open(out), request)
    images, key = ready.data(None), ready.key(what.protocol)
    there = replace(
        images, pixels=DevicePixels.of(images.pixels), test_pixels=DevicePixels.of(images.test_pixels)
    )
    once: Callable[..., Any] = partial(
        train_once, there, settled(there, what.protocol, ready.precision_path(what.protocol))
    )
    for number in range(what.trials):
        for arm, keep in what.arms:
            begun = time.perf_counter()
            if run_trials([Trial(number, 0, "end", keep, arm)], ready.arms, ready.results, key, once):
                shutil.copy(ready.results.run.results, table)
                print(
                    f"{arm} {100 * keep:g}%, trial {number + 1}: {time.perf_counter() - begun:.1f} s",
                    flush=True,
                )


if __name__ == "__main__":
    main()
