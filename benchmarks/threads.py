"""How torch's threads fare on a busy machine: one training alone, and two at once, by threads and waiting policy.

    python benchmarks/threads.py [--side 32] [--steps 8]

Each training is a process of its own (ResNet-32, batches of 128 random images, seed 0); it prints images a second.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time

VARIANTS = {
    "all threads": {},
    "all threads, passive waiting": {"OMP_WAIT_POLICY": "PASSIVE"},
    "one thread": {"OMP_NUM_THREADS": "1"},
}


def main() -> None:
    """Run every variant alone and doubled, and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--side", type=int, default=32, help="of the images, in pixels")
    parser.add_argument("--steps", type=int, default=8, help="that are timed")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        print(rate(arguments.side, arguments.steps))
        return
    for name, variables in VARIANTS.items():
        for count in (1, 2):
            rates = together(count, variables, arguments.side, arguments.steps)
            print(
                f"{name:<30} {count} at once: {' and '.join(f'{found:.0f}' for found in rates)} images/s each"
            )


def together(count: int, variables: dict[str, str], side: int, steps: int) -> list[float]:
    """Return the rate of each of `count` trainings that run at the same time."""
    words = [sys.executable, __file__, "--child", "--side", str(side), "--steps", str(steps)]
    children = [
        subprocess.Popen(words, env={**os.environ, **variables}, stdout=subprocess.PIPE, text=True)
        for _ in range(count)
    ]
    return [float(child.communicate()[0]) for child in children]


def rate(side: int, steps: int) -> float:
    """Return the images a second of forward, backward and step on one batch that lies ready."""
    import torch
    from torch.nn.functional import cross_entropy

    from tenpercent.embedding.networks import ResNet

    torch.manual_seed(0)
    network = ResNet(32, 10).to(memory_format=torch.channels_last).train()
    images = torch.randn(128, 3, side, side).contiguous(memory_format=torch.channels_last)
    labels = torch.randint(0, 10, (128,))
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9)
    for step in range(steps + 1):
        if step == 1:  # the first one warms up
            started = time.perf_counter()
        optimizer.zero_grad()
        cross_entropy(network(images), labels).backward()
        optimizer.step()
    return 128 * steps / (time.perf_counter() - started)


if __name__ == "__main__":
    main()
