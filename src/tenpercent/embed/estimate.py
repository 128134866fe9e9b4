"""What embedding a source would take in time, memory and disk: measured on a few of its images, nothing written."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import psutil
import torch
from torch import nn

from ..errors import counted
from ..images.source import ImageSource
from ..progress import quiet
from .augment import View
from .encoders import (
    Embedder,
    Encoder,
    NetworkEncoder,
    TimmEncoder,
    is_trained,
    needs_labels,
    ready_encoder,
    side_of,
)
from .extract import check_labels
from .loop import Task
from .networks import SMALL, build
from .pixels import Ints, Scan, describe, memory_for_pixels, scan
from .precision import Choice, choose
from .processes import devices_for
from .recipe import shown_share
from .selfsupervised import Twins, check_images, check_network, start_of
from .settings import Precision, SelfSupervised, Settings, Supervised, Timm
from .training import Classes, Trained, length
from .weights import load_weights, model_view, untrained_model

BLOCKS, BLOCK = (
    4,
    32,
)  # images looked at: runs of consecutive rows, as a Parquet file is read a row group at a time
MANY = 1024  # images of a step that is measured, of small ones
FEW = 4  # images of more than 64 pixels that a network is timed with
ROW_BYTES = 150  # of a part file beside the vectors: id, path, hash
STEPS = 3


@dataclass(frozen=True)
class Estimate:
    """What embedding would take on this machine.

    Attributes:
        seconds: in all.
        width: values of a vector of the last layer.
        memory_bytes: at the peak.
        disk_bytes: in the run folder.
        notes: what would be done, a line each.
        stages: seconds of ``read``, ``train`` and ``extract``.
    """

    seconds: float
    width: int
    memory_bytes: int
    disk_bytes: int
    notes: tuple[str, ...]
    stages: dict[str, float]


@dataclass(frozen=True)
class _Sample:
    """A few images, and what is known of all from them.

    Attributes:
        found: the sample, scanned.
        n: images in all.
        shown: of those, how many a training is shown: those with a label where it takes labels.
        read: seconds to read and decode one.
        fits: whether the pixels of all fit into memory.
    """

    found: Scan
    n: int
    shown: int
    read: float
    fits: bool


@dataclass(frozen=True)
class _Measured:
    """What timing an embedder gave: seconds of training in all, seconds to encode an image, memory, sizes, words."""

    train: float
    encode: float
    memory: int
    weights: int
    widths: tuple[int, ...]
    notes: tuple[str, ...]


def estimate(source: ImageSource, embedder: Embedder, rows: Ints) -> Estimate:
    """Estimate what `extract.embed_source` would take, from about a hundred images and a few steps of the network.

    Args:
        source: the images.
        embedder: as for `embed_source`. Weights that timm would fetch are not fetched; random ones take their place.
        rows: int64[n], which images.

    Raises:
        UsageError: `embed_source` would refuse these.
        TenpercentError: more than half of the sample can't be read.
    """
    check_labels(source, embedder, rows)
    limit = memory_for_pixels()
    with quiet():
        large, side = is_trained(embedder), side_of(embedder)
        found = scan(source, _spread(rows), large=large, side=side)
        started = time.perf_counter()  # the first time also opens files and loads decoders
        scan(source, _spread(rows), large=large, side=side)
        read = (time.perf_counter() - started) / len(found.rows)
    size, n = found.pixels.size, len(rows)
    needed = n * 3 * size[0] * size[1]
    keeps = is_trained(embedder) or max(size) <= SMALL
    shown = n
    if needs_labels(embedder):
        assert source.labels is not None
        shown = int((source.labels[rows] >= 0).sum())
    sample = _Sample(found, n, shown, read, fits=keeps and needed <= limit)
    if isinstance(embedder, Supervised | SelfSupervised) or (
        isinstance(embedder, Timm) and embedder.finetune
    ):
        measured = _trained(embedder, sample, max(len(source.class_names), 2))
    else:
        measured = _ready(embedder, sample)
    stages = {"read": n * read, "train": measured.train, "extract": n * measured.encode}
    disk = n * (4 * sum(measured.widths) + ROW_BYTES) + measured.weights
    pixels = describe(n, size, sample.fits, limit)
    spent = ", ".join(f"{name} {seconds:.0f} s" for name, seconds in stages.items())
    return Estimate(
        seconds=sum(stages.values()),
        width=measured.widths[-1],
        memory_bytes=measured.memory + (needed if sample.fits else 0),
        disk_bytes=disk,
        notes=(pixels, *measured.notes, spent),
        stages=stages,
    )


def _trained(embedder: Settings, sample: _Sample, classes: int) -> _Measured:
    pixels = sample.found.pixels
    devices = devices_for(embedder.devices)
    network: nn.Module
    task: Task
    if isinstance(embedder, Timm):
        network = untrained_model(embedder, classes)
        if embedder.weights is not None:
            load_weights(network, embedder.weights)
        view = model_view(network, pixels)
    elif isinstance(embedder, SelfSupervised):
        check_network(embedder)
        check_images(embedder, pixels)
        network, given = start_of(embedder, pixels)
        view = given or View.of(pixels)
    else:
        network = build(embedder.network, embedder.depth, classes, pixels.size)
        view = View.of(pixels, embedder.recipe)
    labels = np.zeros(len(pixels), dtype=np.int64)
    task = Twins(view) if isinstance(embedder, SelfSupervised) else Classes(labels, view, embedder)
    seen = view.resize or view.crop
    choice = _choice(network, seen, devices.first, Precision(embedder.precision))
    few = min(MANY if max(seen) <= SMALL else FEW, embedder.batch)
    places = np.arange(few) % len(pixels)
    step, memory = _step(network, task, choice, devices.first, pixels.batch(places), places)
    planned = length(sample.shown, embedder)
    images = planned.steps * sample.shown / planned.batches
    step *= shown_share(embedder.recipe)
    train = images * (step / few / devices.count + (0 if sample.fits else sample.read))
    encoder = NetworkEncoder(Trained(network, view, choice, devices.first, {}))
    encode, widths = _encode(encoder, pixels.batch(places), few)
    lasts = f"{counted(planned.epochs, 'epoch')}, {counted(planned.steps, 'step')}"
    words = f"{lasts} at {few / step:,.0f} images/s in {choice.precision}"
    weights = sum(value.numel() * value.element_size() for value in network.state_dict().values())
    return _Measured(
        train=train,
        encode=encode + (0 if sample.fits else sample.read),
        memory=psutil.Process().memory_info().rss + memory * embedder.batch // few,
        weights=3 * weights,  # the weights, and the checkpoint with the optimiser's state
        widths=widths,
        notes=(f"{_name(embedder, network)}: {words}",),
    )


def _ready(embedder: Timm | nn.Module | Callable[[Any], Any], sample: _Sample) -> _Measured:
    found, notes = sample.found, []
    encoder: Encoder
    if isinstance(embedder, Timm):
        model = untrained_model(embedder)
        if embedder.weights is not None:
            load_weights(model, embedder.weights)
        else:
            notes.append("its weights would be fetched from the hub, unless they have been already")
        encoder = TimmEncoder(model, Choice(Precision.FLOAT32), devices_for(1).first)
        name = embedder.name
    else:
        encoder, facts = ready_encoder(embedder, found.alike, None)
        name = str(facts["network"])
    few = min(4 * FEW, len(found.rows))
    positions = np.arange(few)
    transform = encoder.transform
    started = time.perf_counter()
    pixels = found.pixels
    batches = pixels.batches([positions]) if transform is None else pixels.originals([positions], transform)
    batch: Any = next(batches)
    prepare = 0.0 if sample.fits and transform is None else (time.perf_counter() - started) / few
    encode, widths = _encode(encoder, batch, few)
    return _Measured(
        train=0.0,
        encode=encode + prepare,
        memory=psutil.Process().memory_info().rss,
        weights=0,
        widths=widths,
        notes=(f"{name}: {1 / encode:,.0f} images/s", *notes),
    )


def _spread(rows: Ints) -> Ints:
    """Return a few runs of consecutive rows, evenly spread over all."""
    if len(rows) <= BLOCKS * BLOCK:
        return rows
    starts = np.linspace(0, len(rows) - BLOCK, BLOCKS).astype(np.int64)
    return rows[np.unique((starts[:, None] + np.arange(BLOCK)).reshape(-1))]


def _choice(network: nn.Module, size: tuple[int, int], device: torch.device, wanted: Precision) -> Choice:
    """Return the precision as the training would choose it; of large networks that takes too long, so float32."""
    if wanted is Precision.AUTO and max(size) > SMALL:
        return Choice(Precision.FLOAT32)
    return choose(network, size, device, wanted)


def _step(
    network: nn.Module,
    task: Task,
    choice: Choice,
    device: torch.device,
    images: torch.Tensor,
    places: Ints,
) -> tuple[float, int]:
    """Return the seconds of a training step (the fastest of three) and the memory it takes."""
    network.to(device).to(memory_format=choice.layout).train()
    optimizer = torch.optim.SGD(network.parameters(), lr=0.0, momentum=0.9)
    seconds: list[float] = []
    process = psutil.Process()
    before = peak = process.memory_info().rss
    for _ in range(STEPS):
        started = time.perf_counter()
        drawn = task.draw(np.random.default_rng(0), places, 0, (images.shape[2], images.shape[3]))
        inputs = task.inputs(images.to(device), drawn).contiguous(memory_format=choice.layout)
        with choice.autocast(device):
            loss, _ = task.loss(network(inputs), places)
        peak = max(peak, process.memory_info().rss)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        loss.item()  # waits for the device
        seconds.append(time.perf_counter() - started)
    return min(seconds), peak - before


def _encode(encoder: Encoder, batch: Any, count: int) -> tuple[float, tuple[int, ...]]:
    """Return the seconds an image takes (the faster of two passes) and the width of each layer."""
    seconds: list[float] = []
    for _ in range(2):
        started = time.perf_counter()
        made = encoder.encode(batch)
        seconds.append(time.perf_counter() - started)
    return max(min(seconds), 1e-9) / count, tuple(made[layer].shape[1] for layer in encoder.layers)


def _name(embedder: Settings, network: nn.Module) -> str:
    if isinstance(embedder, Timm):
        return f"{embedder.name}, fine-tuned"
    if isinstance(embedder, SelfSupervised):
        return f"{getattr(network, 'name', '')}, without labels"
    depth = getattr(network, "depth", None)
    return f"resnet-{depth}" if depth is not None else str(getattr(network, "name", embedder.network))
