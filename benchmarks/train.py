"""Compare one training with the network's own rate and with a plain loop, and two at once with one after the other.

All in one run, in interleaved rounds, so that a busy moment of the machine hits everyone alike; medians count:

- network: forward, backward and step on one batch that lies ready in memory, at the sizes that the preset shows its
  images at; nothing can be faster;
- ours: `tenpercent.evaluation.training.train_once`, its seconds of training, and those of its evaluations beside them;
- plain: a DataLoader with two workers over the same pixels, RandomCrop, RandomHorizontalFlip, Normalize, float32;
- two trainings in two processes with one thread each, and one after the other with all: of the presets, and of a
  ResNet-8 on images of 8 and of 32 pixels.

    python benchmarks/train.py [--images 2048] [--rounds 3] [--out benchmarks/train.json]
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from tenpercent.data.store.environment import machine, versions
from tenpercent.embedding.networks import build
from tenpercent.embedding.recipe import shown_size
from tenpercent.embedding.settings import Supervised
from tenpercent.embedding.training import batches_of
from tenpercent.evaluation.presets import PRESETS, Protocol
from tenpercent.evaluation.training import TrainingData, train_once
from tenpercent.progress import quiet

SIDES = (8, 32)  # pixels of the ResNet-8's images
CLASSES = 10
EPOCHS = 2  # of each training


class Made:
    """Random images in memory, as `tenpercent.embedding.pixels.Pixels` keeps them."""

    def __init__(self, count: int, side: int) -> None:
        random = np.random.default_rng(count)
        self.array = random.integers(0, 256, (count, side, side, 3), dtype=np.uint8)
        self.labels = np.arange(count) % CLASSES
        self.size = (side, side)

    def __len__(self) -> int:
        return len(self.array)

    def batches(self, order: Iterable[npt.NDArray[np.int64]]) -> Iterator[torch.Tensor]:
        for places in order:
            yield torch.from_numpy(self.array[places]).permute(0, 3, 1, 2)


class Plain(Dataset[tuple[torch.Tensor, int]]):
    """A data set as the tutorials write it."""

    def __init__(self, images: Made) -> None:
        self.images = images
        side = images.size[0]
        self.transform = transforms.Compose(
            [
                transforms.ToPILImage(),
                transforms.RandomCrop(side, padding=side // 8),
                transforms.RandomHorizontalFlip(),
                transforms.ToTensor(),
                transforms.Normalize((0.49, 0.48, 0.45), (0.25, 0.24, 0.26)),
            ]
        )

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, row: int) -> tuple[torch.Tensor, int]:
        return self.transform(self.images.array[row]), int(self.images.labels[row])


def step_rate(protocol: Protocol, batch: int, steps: int) -> float:
    """Return images a second of the network itself, forward, backward and step, on one batch in memory.

    Each size that the training shows is timed for itself, and counts as often as its `steps` show it.
    """
    training = protocol.training
    network = build(training.network, training.depth, CLASSES, (32, 32)).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    trained = [weights for weights in network.parameters() if weights.requires_grad]
    optimizer = torch.optim.SGD(trained, lr=0.01, momentum=0.9, weight_decay=1e-4)
    labels = torch.randint(0, CLASSES, (batch,))
    shown = Counter(shown_size(number, steps, (32, 32), training.recipe) for number in range(steps))
    timed = max(2, steps // 2 // len(shown))
    seconds = 0.0
    for size, count in shown.items():
        images = torch.randn(batch, 3, *size).contiguous(memory_format=torch.channels_last)
        for number in range(timed + 1):
            if number == 1:  # the first one prepares
                start = time.perf_counter()
            loss = cross_entropy(network(images), labels)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        seconds += count * (time.perf_counter() - start) / timed
    return steps * batch / seconds


def our_seconds(protocol: Protocol, images: Made, test: Made) -> tuple[float, float]:
    """Return the seconds of training, and all that `train_once` took."""
    data = TrainingData(images, images.labels, test, test.labels, CLASSES)
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        found = train_once(data, protocol, np.arange(len(images)), 0, Path(folder))
        return found.seconds, time.perf_counter() - start


def plain_rate(protocol: Protocol, images: Made) -> float:
    """Return images a second of the plain loop, of the last epoch."""
    training = protocol.training
    loader = DataLoader(
        Plain(images), batch_size=training.batch, shuffle=True, num_workers=2, persistent_workers=True
    )
    network = build(training.network, training.depth, CLASSES, (32, 32))
    trained = [weights for weights in network.parameters() if weights.requires_grad]
    optimizer = torch.optim.SGD(trained, lr=0.01, momentum=0.9, weight_decay=1e-4)
    start = 0.0
    for _ in range(EPOCHS):
        start = time.perf_counter()
        for inputs, labels in loader:
            optimizer.zero_grad()
            loss = cross_entropy(network(inputs), labels)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
    return len(images) / (time.perf_counter() - start)


def shortened(name: str) -> Protocol:
    """Return a preset with `EPOCHS` epochs, in float32."""
    preset = PRESETS[name].protocol
    return replace(preset.override(steps=None, epochs=EPOCHS, precision="float32"), evaluations=2)


def single(name: str, count: int) -> None:
    """Train once and print the seconds; what the processes of `at_once` run."""
    preset = name in PRESETS
    side = 32 if preset else int(name)
    small = Protocol(Supervised(depth=8, epochs=8, batch=64, precision="float32"), evaluations=1)
    images = Made(count, side)
    with quiet():
        print(our_seconds(shortened(name) if preset else small, images, Made(64, side))[0])


def at_once(name: str, count: int) -> dict[str, float]:
    """Return the seconds of two trainings: of both at once, one thread each, and one after the other."""
    call = [sys.executable, __file__, "--single", name, "--images", str(count)]
    one_thread = {**os.environ, "OMP_NUM_THREADS": "1"}
    both = [subprocess.Popen(call, env=one_thread, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    together = max(float(one.communicate()[0]) for one in both)
    after = sum(
        float(subprocess.run(call, stdout=subprocess.PIPE, text=True, check=True).stdout) for _ in range(2)
    )
    return {f"{named(name)}, at once": together, f"{named(name)}, one after the other": after}


def named(name: str) -> str:
    """Return what a training of `single` is called in the table."""
    return name if name in PRESETS else f"ResNet-8, {name} pixels"


def measure(names: list[str], count: int, rounds: int) -> Iterator[dict[str, float]]:
    """Yield what each round measures."""
    images, test = Made(count, 32), Made(256, 32)
    for number in range(rounds):
        values: dict[str, float] = {}
        for name in names:
            protocol = shortened(name)
            batch = protocol.training.batch
            steps = EPOCHS * batches_of(count, batch)
            before = step_rate(protocol, batch, steps)
            seconds, whole = our_seconds(protocol, images, test)
            after = step_rate(protocol, batch, steps)  # half before, half after: what drifts hits both
            values[f"{name}, network"] = 2 / (1 / before + 1 / after)
            values[f"{name}, ours"] = EPOCHS * count / seconds
            values[f"{name}, ours with all beside the training"] = EPOCHS * count / whole
            values[f"{name}, plain"] = plain_rate(protocol, images)
        for name in (*map(str, SIDES), *names):
            values |= at_once(name, count)
        print(f"round {number + 1}: " + ", ".join(f"{key} {value:.4g}" for key, value in values.items()))
        yield values


def main() -> None:
    """Measure, print a table, write JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--images", type=int, default=2048, help="of each round and contestant")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--presets", nargs="+", default=["paper-cifar", "fast"])
    parser.add_argument("--out", type=Path, default=Path("benchmarks/train.json"))
    parser.add_argument("--single", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.single:
        single(given.single, given.images)
        return
    rounds: list[dict[str, float]] = []
    with quiet():
        for values in measure(given.presets, given.images, given.rounds):
            rounds.append(values)
            content = summary(given.presets, given.images, rounds)
            # A round takes minutes: keep what is there.
            given.out.write_text(json.dumps(content, indent=1) + "\n")
    for name, value in {**content["medians"], **content["ratios"]}.items():
        print(f"{name:70} {value:10.2f}")


def summary(names: list[str], count: int, rounds: list[dict[str, float]]) -> dict[str, Any]:
    """Return what is written of all rounds so far: medians, ratios, and the rounds themselves."""
    pairs = [(f"{name}, network", f"{name}, ours") for name in names]
    pairs += [(f"{name}, ours", f"{name}, plain") for name in names]
    pairs += [
        (f"{named(name)}, one after the other", f"{named(name)}, at once")
        for name in (*map(str, SIDES), *names)
    ]
    return {
        "data": "random pixels; images a second, and seconds of two trainings",
        "images": count,
        "threads": torch.get_num_threads(),
        "machine": {**machine(), "system": platform.platform()},
        "versions": versions(),
        "medians": {
            name: round(statistics.median(values[name] for values in rounds), 2) for name in rounds[0]
        },
        "ratios": {
            f"{above} / {below}": round(
                statistics.median(values[above] / values[below] for values in rounds), 3
            )
            for above, below in pairs
        },
        "rounds": rounds,
    }


if __name__ == "__main__":
    main()
