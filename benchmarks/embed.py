"""Compare the rates of training and extraction with the network's own, and with a plain torchvision loop.

All in one run, in interleaved rounds, so that a busy moment of the machine hits everyone alike; medians count:

- network: forward, backward and step (or forward only) on one batch that lies ready in memory; nothing can be faster;
- ours: `tenpercent.embedding.training.train` and `encoders.NetworkEncoder`, as a run uses them;
- plain: PIL images, RandomCrop, RandomHorizontalFlip, ToTensor, Normalize, a DataLoader with two workers, float32.

    python benchmarks/embed.py [--data FOLDER_WITH_PARQUET] [--out benchmarks/embed.json]
"""

from __future__ import annotations

import argparse
import io
import json
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from tenpercent.data.sources.opening import open_source
from tenpercent.data.sources.source import ImageSource
from tenpercent.data.store.environment import machine, versions
from tenpercent.embedding.encoders import NetworkEncoder
from tenpercent.embedding.networks import ResNet
from tenpercent.embedding.pixels import Pixels, scan
from tenpercent.embedding.precision import Choice
from tenpercent.embedding.settings import Precision, Supervised
from tenpercent.embedding.training import Trained, train
from tenpercent.progress import quiet

CPU = torch.device("cpu")


class Plain(Dataset[tuple[torch.Tensor, int]]):
    """A data set as the tutorials write it."""

    def __init__(self, source: ImageSource, count: int) -> None:
        self.source, self.count = source, count
        self.transform = transforms.Compose(
            [
                transforms.RandomCrop(32, padding=4),
                transforms.RandomHorizontalFlip(),
                transforms.ToTensor(),
                transforms.Normalize((0.49, 0.48, 0.45), (0.25, 0.24, 0.26)),
            ]
        )

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, row: int) -> tuple[torch.Tensor, int]:
        raw = self.source.read(row)
        image = Image.open(io.BytesIO(raw)) if isinstance(raw, bytes) else Image.fromarray(raw)
        assert self.source.labels is not None
        return self.transform(image.convert("RGB")), int(self.source.labels[row])


def random_source(count: int) -> ImageSource:
    """Return images of CIFAR-10's size without its data."""
    random = np.random.default_rng(0)
    array = random.integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)
    ids = tuple(f"{row:06d}" for row in range(count))
    labels = random.integers(0, 10, count)
    names = tuple(f"class {code}" for code in range(10))
    return ImageSource("random", ids, (None,) * count, labels, names, read=lambda row: array[row])


def step_rate(network: nn.Module, choice: Choice, batch: int, steps: int) -> float:
    """Return images a second of the network itself, forward, backward and step, on one batch in memory."""
    network.to(memory_format=choice.layout).train()
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9, weight_decay=1e-4)
    images = torch.randn(batch, 3, 32, 32).contiguous(memory_format=choice.layout)
    labels = torch.randint(0, 10, (batch,))

    def step() -> None:
        with choice.autocast(CPU):
            loss = cross_entropy(network(images), labels)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    return timed(step, steps) * batch


def forward_rate(network: ResNet, choice: Choice, batch: int, steps: int) -> float:
    """Return images a second of the network's forward pass to its layers, on one batch in memory."""
    network.to(memory_format=choice.layout).eval()
    images = torch.randn(batch, 3, 32, 32).contiguous(memory_format=choice.layout)

    def step() -> None:
        with torch.inference_mode(), choice.autocast(CPU):
            network.features(images)

    return timed(step, steps) * batch


def timed(step: Callable[[], None], steps: int) -> float:
    """Return steps a second, after one that warms up."""
    step()
    start = time.perf_counter()
    for _ in range(steps):
        step()
    return steps / (time.perf_counter() - start)


def training_rate(pixels: Pixels, labels: Any, depth: int, choice: Choice) -> tuple[float, Trained]:
    """Return images a second of our training, second epoch of two, and what it trained."""
    settings = Supervised(depth=depth, epochs=2, precision=choice.precision)
    with tempfile.TemporaryDirectory() as folder:
        trained = train(pixels, labels, 10, settings, Path(folder))
        curve = json.loads((Path(folder) / "curve.json").read_text())
    return len(pixels) / curve[1]["seconds"], trained


def extraction_rate(pixels: Pixels, trained: Trained) -> float:
    """Return images a second of our extraction."""
    encoder = NetworkEncoder(trained)
    order = [
        np.arange(start, min(start + encoder.batch, len(pixels)))
        for start in range(0, len(pixels), encoder.batch)
    ]

    def step() -> None:
        for images in pixels.batches(order):
            encoder.encode(images)

    return timed(step, 1) * len(pixels)


def plain_rate(source: ImageSource, count: int, depth: int) -> float:
    """Return images a second of the plain loop, second epoch of two."""
    loader = DataLoader(
        Plain(source, count), batch_size=128, shuffle=True, num_workers=2, persistent_workers=True
    )
    network = ResNet(depth, 10)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9, weight_decay=1e-4)
    start = 0.0
    for _ in range(2):
        start = time.perf_counter()
        for images, labels in loader:
            optimizer.zero_grad()
            loss = cross_entropy(network(images), labels)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
    return count / (time.perf_counter() - start)


def measure(source: ImageSource, count: int, depth: int, rounds: int) -> list[dict[str, float]]:
    """Return the rates of each round."""
    assert source.labels is not None
    rows = np.arange(count)
    pixels, labels = scan(source, rows).pixels, source.labels[:count]
    found = []
    for number in range(rounds):
        rates: dict[str, float] = {}
        for precision in (Precision.FLOAT32, Precision.BFLOAT16):
            choice = Choice(precision)
            steps = max(2, count // 128 // 2)
            network = ResNet(depth, 10)
            before = step_rate(network, choice, 128, steps)
            ours, trained = training_rate(pixels, labels, depth, choice)
            after = step_rate(network, choice, 128, steps)  # half before, half after: what drifts hits both
            rates[f"{precision} network training"] = 2 / (1 / before + 1 / after)
            rates[f"{precision} our training"] = ours
            batch = NetworkEncoder(trained).batch
            before = forward_rate(network, choice, batch, steps)
            rates[f"{precision} our extraction"] = extraction_rate(pixels, trained)
            after = forward_rate(network, choice, batch, steps)
            rates[f"{precision} network forward"] = 2 / (1 / before + 1 / after)
        rates["plain training"] = plain_rate(source, count, depth)
        found.append(rates)
        print(f"round {number + 1}: " + ", ".join(f"{name} {rate:.0f}" for name, rate in rates.items()))
    return found


def summary(rounds: list[dict[str, float]]) -> dict[str, Any]:
    """Return the median rates, and the medians of the ratios within each round."""

    def ratio(above: str, below: str) -> float:
        return round(statistics.median(rates[above] / rates[below] for rates in rounds), 3)

    ratios = {}
    for precision in ("float32", "bf16"):
        ratios[f"{precision} our training / network"] = ratio(
            f"{precision} our training", f"{precision} network training"
        )
        ratios[f"{precision} our extraction / network"] = ratio(
            f"{precision} our extraction", f"{precision} network forward"
        )
        ratios[f"{precision} our training / plain"] = ratio(f"{precision} our training", "plain training")
    medians = {name: round(statistics.median(rates[name] for rates in rounds), 1) for name in rounds[0]}
    return {"images_per_second": medians, "ratios": ratios}


def main() -> None:
    """Measure, print a table, write JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--data", type=Path, help="folder with CIFAR-10 as Parquet; random pixels if left out"
    )
    parser.add_argument("--out", type=Path, default=Path("benchmarks/embed.json"))
    parser.add_argument("--images", type=int, default=2048, help="of each round and contestant")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--depth", type=int, default=32)
    given = parser.parse_args()
    source = open_source(given.data) if given.data else random_source(given.images)
    assert isinstance(source, ImageSource)
    with quiet():
        rounds = measure(source, given.images, given.depth, given.rounds)
    found = summary(rounds)
    print(f"\n{'images/s, median of ' + str(given.rounds) + ' rounds':44}")
    for name, rate in found["images_per_second"].items():
        print(f"{name:44} {rate:10.0f}")
    for name, value in found["ratios"].items():
        print(f"{name:44} {value:10.2f}")
    content = {
        "data": "CIFAR-10" if given.data else "random",
        "images": given.images,
        "depth": given.depth,
        "threads": torch.get_num_threads(),
        "machine": {**machine(), "system": platform.platform()},
        "versions": versions(),
        **found,
        "rounds": rounds,
    }
    given.out.write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
