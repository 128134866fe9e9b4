"""How fast photos are embedded: beside decoding and network alone, and beside a plain loop of timm and a DataLoader.

    python benchmarks/photos.py [--count 1000] [--large 100] [--rounds 3] [--json benchmarks/photos.json]

Photos are crops of the two that scikit-learn brings, with noise, as JPEGs of 500 × 375 and 4000 × 3000 pixels, seed 0.
Contestants take turns, each on all CPUs. `bound` is 1 / (1/d + 1/n), where d and n are the rates of decoding alone and
of the network alone. A whole `tenpercent run`, report included, gives seconds and the peak of its memory.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from sklearn.datasets import load_sample_images

from tenpercent.data.decoding.decode import decode_for
from tenpercent.data.sources.opening import open_source
from tenpercent.data.sources.source import content_hash
from tenpercent.data.store.environment import machine, versions
from tenpercent.data.store.run_folder import RunFolder, Stage
from tenpercent.embedding.one_by_one import embed_each
from tenpercent.embedding.pretrained import PretrainedNetwork
from tenpercent.linkage.threads import cpus

NOISE = 6.0  # deviation of the noise: smooth pictures would be decoded too fast


def main() -> None:
    """Measure all contestants in turn, print and store."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--count", type=int, default=1000, help="photos of 500 × 375")
    parser.add_argument("--large", type=int, default=100, help="photos of 4000 × 3000")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    found: dict[str, Any] = {
        "machine": machine(),
        "versions": versions(),
        "seed": 0,
        "rounds": arguments.rounds,
    }
    for size, count in (((500, 375), arguments.count), ((4000, 3000), arguments.large)):
        with tempfile.TemporaryDirectory() as folder:
            photos = Path(folder) / "photos"
            make(photos, count, size)
            name = f"{size[0]}x{size[1]}"
            found[name] = {"images": count, **compare(photos, Path(folder), arguments.rounds)}
            print(name, json.dumps(found[name], indent=2))
            if arguments.json:
                arguments.json.write_text(json.dumps(found, indent=2) + "\n")


def make(folder: Path, count: int, size: tuple[int, int]) -> None:
    """Write JPEGs of random crops with noise."""
    folder.mkdir()
    random = np.random.default_rng(0)
    photos = [Image.fromarray(image) for image in load_sample_images().images]
    noise = random.normal(0, NOISE, (size[1], size[0], 3)).astype(np.float32)
    for number in range(count):
        photo = photos[number % len(photos)]
        width = int(random.integers(photo.width // 3, photo.width))
        height = width * 2 // 3
        left, top = (
            int(random.integers(0, most + 1)) for most in (photo.width - width, photo.height - height)
        )
        crop = photo.crop((left, top, left + width, top + height)).resize(size, Image.Resampling.BICUBIC)
        pixels = np.clip(np.asarray(crop, np.float32) + np.roll(noise, number, axis=0), 0, 255).astype(
            np.uint8
        )
        Image.fromarray(pixels).save(folder / f"{number:05d}.jpg", quality=90)


def compare(photos: Path, folder: Path, rounds: int) -> dict[str, Any]:
    """Return images a second of each contestant, mean and deviation over the rounds, and the ratios."""
    source, network = open_source(photos), PretrainedNetwork()
    images = [
        decode_for(source.read(row), source.decoding, np.array, network.least)
        for row in range(min(len(source), 64))
    ]
    runs = iter(range(rounds))
    contestants: dict[str, Callable[[], int]] = {
        "decoding": lambda: on_threads(lambda row: decode(source, row, network.least), range(len(source))),
        "network": lambda: on_threads(
            lambda row: network.vector(images[row % len(images)]), range(len(source))
        ),
        "both": lambda: embed(source, network, folder / f"run-{next(runs)}"),
        "timm": lambda: plain_loop(photos),
    }
    rates: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(rounds):
        for name, work in contestants.items():
            started = time.perf_counter()
            count = work()
            rates[name].append(count / (time.perf_counter() - started))
    bounds = [1 / (1 / d + 1 / n) for d, n in zip(rates["decoding"], rates["network"], strict=True)]
    seconds, memory = whole_run(photos, folder / "whole")
    return {
        "images_per_second": {name: mean_and_deviation(values) for name, values in rates.items()},
        "of_bound": mean_and_deviation(
            [rate / bound for rate, bound in zip(rates["both"], bounds, strict=True)]
        ),
        "times_timm": mean_and_deviation([a / b for a, b in zip(rates["both"], rates["timm"], strict=True)]),
        "whole_run_seconds": round(seconds, 1),
        "whole_run_peak_bytes": memory,
    }


def on_threads(work: Callable[[int], object], rows: range) -> int:
    """Do some work for each row on all CPUs, and return the number of rows."""
    with ThreadPoolExecutor(cpus()) as pool:
        return sum(1 for _ in pool.map(work, rows))


def decode(source: Any, row: int, least: int) -> None:
    """Read, hash and decode one image."""
    raw = source.read(row)
    content_hash(raw)
    decode_for(raw, source.decoding, len, least)


def embed(source: Any, network: PretrainedNetwork, folder: Path) -> int:
    """Embed all images into a new run folder."""
    run = RunFolder.at(folder)
    with run.lock(Stage.EMBED):
        return int(embed_each(source, run, network, np.arange(len(source)), {"embedder": "pretrained"})["n"])


def plain_loop(photos: Path) -> int:
    """Embed the images as a script of torch would: an ImageFolder of timm's transforms, two workers, batches of 64."""
    import timm
    import torch
    from torch.utils.data import DataLoader, Dataset

    model = timm.create_model(
        "tf_efficientnet_lite0", num_classes=0
    ).eval()  # the weights don't change the speed
    transform = timm.data.create_transform(**timm.data.resolve_model_data_config(model), is_training=False)
    files = sorted(photos.iterdir())

    class Photos(Dataset[Any]):
        def __len__(self) -> int:
            return len(files)

        def __getitem__(self, at: int) -> Any:
            return transform(Image.open(files[at]).convert("RGB"))

    with torch.inference_mode():
        return sum(len(model(batch)) for batch in DataLoader(Photos(), batch_size=64, num_workers=2))


def whole_run(photos: Path, out: Path) -> tuple[float, int]:
    """Return seconds and peak bytes of the command, report included."""
    script = (
        "import re, sys\n"
        "from tenpercent.cli.main import main\n"
        "status = main(sys.argv[1:])\n"
        "print(re.search(r'VmHWM:\\s+(\\d+)', open('/proc/self/status').read())[1])\n"
        "sys.exit(status)"
    )
    started = time.perf_counter()
    command = [sys.executable, "-c", script, "run", str(photos), "--out", str(out)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return time.perf_counter() - started, int(done.stdout.split()[-1]) * 1024


def mean_and_deviation(values: list[float]) -> list[float]:
    """Return both, rounded to three digits."""
    return [float(f"{value:.3g}") for value in (statistics.mean(values), statistics.pstdev(values))]


if __name__ == "__main__":
    main()
