"""How many views a second are made for training without labels, by `lightly` image by image and here by the batch.

    python benchmarks/views.py [--side 32] [--repeat 5]

A batch of 256 random images, seed 0; prints views a second, mean and deviation, beside the network's own rate.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch
from lightly.transforms import SimCLRTransform
from PIL import Image

from tenpercent.data.store.environment import machine, versions
from tenpercent.embedding.networks import ResNet
from tenpercent.embedding.settings import SMALL
from tenpercent.embedding.views import Strength, draw, views

BATCH = 256


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--side", type=int, default=32, help="of the images, in pixels")
    parser.add_argument("--repeat", type=int, default=5, help="measurements of each")
    arguments = parser.parse_args()
    side, size = arguments.side, (arguments.side, arguments.side)
    small = side <= SMALL
    random = np.random.default_rng(0)
    array = random.integers(0, 256, (BATCH, side, side, 3), dtype=np.uint8)
    pictures, batch = [Image.fromarray(image) for image in array], torch.from_numpy(array).permute(0, 3, 1, 2)
    strength = Strength.of(size)
    theirs = SimCLRTransform(
        input_size=side,
        cj_strength=0.5 if small else 1.0,
        min_scale=strength.area,
        gaussian_blur=0.5 if strength.blur else 0.0,
    )
    print(f"{machine()}, {versions()}, {torch.get_num_threads()} threads")
    show(
        "lightly, an image at a time", lambda: [theirs(one) for one in pictures], 2 * BATCH, arguments.repeat
    )
    show(
        "here, a batch at a time",
        lambda: views(batch, draw(random, BATCH, strength), size),
        BATCH,
        arguments.repeat,
    )
    for depth in (8, 32) if small else ():
        network = ResNet(depth, 10).to(memory_format=torch.channels_last)
        inputs = torch.randn(BATCH, 3, *size).to(memory_format=torch.channels_last)
        name = f"forward and backward, resnet-{depth}"
        show(name, lambda net=network, given=inputs: net(given).sum().backward(), BATCH, arguments.repeat)


def show(name: str, work: Callable[[], object], count: int, repeat: int) -> None:
    """Print how many of `count` are done a second."""
    work()
    rates = []
    for _ in range(repeat):
        started = time.perf_counter()
        work()
        rates.append(count / (time.perf_counter() - started))
    print(f"{name:<36} {statistics.mean(rates):>8,.0f} ± {statistics.stdev(rates):,.0f} a second")


if __name__ == "__main__":
    main()
