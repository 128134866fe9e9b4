"""Estimate of the time, memory and disk that embedding a source takes, from a few of its images; writes nothing."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy as np
import psutil
import torch
from torch import nn
from torch.autograd.graph import saved_tensors_hooks

from ..data.sources.source import ImageSource
from ..errors import counted, require_installed
from ..linkage.threads import cpus
from ..progress import quiet
from .augment import View
from .encoders import (
    Embedder,
    Encoder,
    FunctionEncoder,
    NetworkEncoder,
    TimmEncoder,
    is_trained,
    needs_labels,
    ready_encoder,
    side_of,
)
from .extract import check_labels
from .hub import describe_model
from .loop import LearningTask, threads
from .networks import build
from .pixels import Ints, Scan, describe, fit, look, memory_for_pixels, scan
from .precision import Choice, choose, float32_unless_set
from .processes import Devices, devices_for
from .recipe import shown_share
from .selfsupervised import ContrastiveTask, check_body, check_images, start_of
from .settings import LARGE, SMALL, Precision, SelfSupervised, Settings, Timm, batch_of
from .timing import IdleTimer, fastest, on_threads, shared
from .training import ClassificationTask, Trained, threads_for, training_length
from .weights import load_weights, model_view, untrained_model

BLOCKS, BLOCK = 4, 32  # images read: runs of consecutive rows, as Parquet is read a row group at a time
READ = 0.7  # seconds after which no further image is read, once two are known
MANY, FEW = 32, 2  # images of a measured step: of up to 64 pixels, and of larger ones
BUDGET = 1.0  # seconds after which no further step is measured
ROW_BYTES = 150  # of a part file beside the vectors: id, path, hash


@dataclass(frozen=True)
class Estimate:
    """Estimated cost of embedding on this machine.

    Attributes:
        stages: seconds of ``read``, ``train`` and ``extract``.
        width: values of a vector of the last layer.
        memory_bytes: peak memory.
        disk_bytes: size in the run folder.
        notes: the planned steps, one line each.
        epochs: of the training run; 0 for none.
    """

    stages: dict[str, float]
    width: int
    memory_bytes: int
    disk_bytes: int
    notes: tuple[str, ...]
    epochs: int = 0

    @property
    def seconds(self) -> float:
        """Total time."""
        return sum(self.stages.values())


@dataclass(frozen=True)
class Sample:
    """Sample of a source's images, and facts about all of them.

    Attributes:
        found: the sample, scanned.
        n: number of images of the source.
        labelled: number of labelled ones.
        classes: number of classes of the source.
        read: seconds in which one thread reads and decodes an image.
    """

    found: Scan
    n: int
    labelled: int
    classes: int
    read: float

    @classmethod
    def of(cls, source: ImageSource, embedder: Embedder, rows: Ints) -> Self:
        """Read about a hundred images, or as many as `READ` seconds allow.

        Args:
            source: the images.
            embedder: as for `extract.embed_source`.
            rows: int64[n], rows of the images.

        Raises:
            UsageError: the embedder needs labels that the images lack.
            TenpercentError: more than half of them can't be read.
        """
        check_labels(source, embedder, rows)
        side = side_of(embedder)
        with quiet():
            chosen, read = _readable(source, _spread(rows), side or LARGE)
            found = scan(source, chosen, side=side)
        labelled = 0 if source.labels is None else int((source.labels[rows] >= 0).sum())
        return cls(found, len(rows), labelled, max(len(source.class_names), 2), read)

    def at(self, side: int) -> Sample:
        """Return the same images at another side, if above 64 pixels."""
        pixels = self.found.pixels
        images = pixels.batch(np.arange(len(pixels))).permute(0, 2, 3, 1).numpy()
        kept = np.stack([fit(image, (side, side)) for image in images])
        smaller = replace(pixels, size=(side, side), native=False, kept=kept)
        return replace(self, found=replace(self.found, pixels=smaller))

    @property
    def bytes(self) -> int:
        """Size of the pixels of all images."""
        height, width = self.found.pixels.size
        return self.n * 3 * height * width

    def fits(self, embedder: Embedder) -> bool:
        """Return whether the pixels of all images are kept in memory for an embedder."""
        keeps = is_trained(embedder) or max(self.found.pixels.size) <= SMALL
        return keeps and self.bytes <= memory_for_pixels()


def estimate(sample: Sample, embedder: Embedder, budget: float = BUDGET) -> Estimate:
    """Estimate the cost of `extract.embed_source` from a few images and steps of the network.

    Takes some seconds, whatever the images and the network. The times are those of an idle machine, see `timing`.

    Args:
        sample: some of the images.
        embedder: as for `embed_source`. Weights that timm would download are replaced by random ones.
        budget: seconds after which no further step is measured.

    Raises:
        UsageError: `embed_source` would refuse these arguments.
    """
    n, pixels, fits = sample.n, sample.found.pixels, sample.fits(embedder)
    read = shared(sample.read, cpus())
    again = 0.0 if fits else read
    memory, train, weights, epochs = sample.bytes if fits else 0, 0.0, 0, 0
    encoder: Encoder
    if is_trained(embedder):
        step = time_step(embedder, sample, budget)
        view, few, budget = step.trained.view, step.images, budget / 2
        planned_for = sample.labelled if needs_labels(embedder) else n
        planned = training_length(planned_for, embedder)
        epochs, weights = (
            planned.epochs,
            3 * step.weights,
        )  # the weights, and the checkpoint with the optimiser's state
        train = planned.steps * planned_for / planned.batches * (step.seconds + again)
        memory += step.held * batch_of(embedder) + weights
        lasts = f"{counted(planned.epochs, 'epoch')}, {counted(planned.steps, 'step')}"
        notes = [
            f"{step.name}: {lasts} at {1 / step.seconds:,.0f} images/s in {step.trained.choice.precision}"
        ]
        encoder = NetworkEncoder(step.trained)
        count: int | None = threads_for(view.resize or view.crop, devices_for(embedder.devices))
    else:
        encoder, notes = _ready(embedder, sample)
        few = min(FEW, len(pixels))
        count = None if isinstance(encoder, FunctionEncoder) else torch.get_num_threads()
    prepare, transform = again, encoder.transform
    batch: Any
    if transform is None:
        batch = pixels.batch(np.arange(few) % len(pixels))
    else:
        timer = IdleTimer()
        batch = [pixels.made(position, transform) for position in range(few)]
        prepare = shared(timer.seconds / few, cpus())
    encode, widths = _encode(encoder, batch, few, count, budget)
    if not is_trained(embedder):
        notes[0] += f": {1 / (encode + prepare):,.0f} images/s"
    stages = {"read": n * read, "train": train, "extract": n * (encode + prepare)}
    return Estimate(
        stages=stages,
        width=widths[-1],
        memory_bytes=psutil.Process().memory_info().rss + memory,
        disk_bytes=n * (4 * sum(widths) + ROW_BYTES) + weights,
        notes=(
            describe(n, pixels.size, fits, memory_for_pixels()),
            *notes,
            ", ".join(f"{name} {seconds:.0f} s" for name, seconds in stages.items()),
        ),
        epochs=epochs,
    )


@dataclass(frozen=True, eq=False)
class TimedStep:
    """Timed training step.

    Attributes:
        seconds: time per image, over all steps of a training run.
        images: number of images of the step.
        held: bytes per image between forward and backward pass.
        weights: bytes of the network.
        name: name of the network.
        trained: the network as it is, for encoding.
    """

    seconds: float
    images: int
    held: int
    weights: int
    name: str
    trained: Trained = field(repr=False)


def time_step(
    embedder: Settings, sample: Sample, budget: float = BUDGET, count: int | None = None
) -> TimedStep:
    """Time a few training steps of a network on a sample.

    Args:
        embedder: the network to train.
        sample: the images.
        budget: seconds after which no further step is measured.
        count: threads; None for as many as a training run uses.
    """
    pixels, devices = sample.found.pixels, devices_for(embedder.devices)
    network, view, task = _task_of(embedder, sample)
    seen = view.resize or view.crop
    few = min(MANY if max(seen) <= SMALL else FEW, batch_of(embedder))
    places = np.arange(few) % len(pixels)
    shown = task, places, pixels.batch(places)
    with threads(threads_for(seen, devices)):  # as the training run will choose
        choice = choose(network, seen, devices.first, Precision(embedder.precision), budget)
    seconds, held = _step(network, shown, choice, devices, count or threads_for(seen, devices), budget)
    return TimedStep(
        seconds=seconds * shown_share(embedder.recipe) / few / devices.count,
        images=few,
        held=held // few,
        weights=sum(value.numel() * value.element_size() for value in network.state_dict().values()),
        name=_name(embedder, network),
        trained=Trained(network, view, choice, devices.first, {}),
    )


def _task_of(embedder: Settings, sample: Sample) -> tuple[nn.Module, View, LearningTask]:
    """Return the network with its initial weights, its view, and its task."""
    pixels = sample.found.pixels
    if isinstance(embedder, SelfSupervised):
        require_installed("lightly", "selfsupervised")
        check_body(embedder)
        check_images(embedder, pixels)
        unlabelled, given = start_of(embedder, pixels)
        view = given or View.of(pixels)
        return (
            unlabelled,
            view,
            ContrastiveTask(view, nn.MSELoss()),
        )  # the true loss is as cheap, and slow to import
    if isinstance(embedder, Timm):
        network = _timm(embedder, sample.classes)
        view = model_view(network, pixels)
    else:
        network = build(embedder.network, embedder.depth, sample.classes, pixels.size)
        view = View.of(pixels, embedder.recipe)
    return network, view, ClassificationTask(view, np.zeros(len(pixels), dtype=np.int64), embedder)


def _timm(embedder: Timm, n_classes: int = 0) -> nn.Module:
    """Return a model of timm with its local weights, or random ones in place of those from the hub."""
    network = untrained_model(embedder, n_classes)
    if embedder.weights is not None:
        load_weights(network, embedder.weights)
    return network


def _ready(embedder: Embedder, sample: Sample) -> tuple[Encoder, list[str]]:
    """Return the encoder of an embedder that needs no training, its name, and a note on its weights."""
    if not isinstance(embedder, Timm):
        encoder, facts = ready_encoder(embedder, sample.found.alike, None)
        return encoder, [str(facts["network"])]
    fetched = (
        ["its weights are downloaded from the hub unless they are cached"] if embedder.weights is None else []
    )
    encoder = TimmEncoder(_timm(embedder), float32_unless_set(embedder.precision), devices_for(1).first)
    return encoder, [describe_model(embedder), *fetched]


def _readable(source: ImageSource, rows: Ints, side: int) -> tuple[Ints, float]:
    """Return which of the rows can be read, as far as `READ` seconds allow, and the seconds per image."""
    timer, seconds, good = IdleTimer(), [], []
    for row in (
        rows.reshape(BLOCKS, -1).T.reshape(-1).tolist() if len(rows) == BLOCKS * BLOCK else rows.tolist()
    ):
        one = IdleTimer()
        readable = look(source, row, (side, side)).pixels is not None
        seconds.append(one.seconds)
        good += [row] if readable else []
        if len(good) >= FEW and timer.seconds > READ:
            break
    usual = seconds[BLOCKS:] or seconds  # the first of each run also open files and load decoders
    whole = len(seconds) == len(rows) and 2 * len(good) < len(rows)
    return (rows if whole else np.sort(np.asarray(good, dtype=np.int64))), sum(usual) / len(usual)


def _spread(rows: Ints) -> Ints:
    """Return a few runs of consecutive rows, evenly spread over all."""
    if len(rows) <= BLOCKS * BLOCK:
        return rows
    starts = np.linspace(0, len(rows) - BLOCK, BLOCKS).astype(np.int64)
    return rows[np.unique((starts[:, None] + np.arange(BLOCK)).reshape(-1))]


def _step(
    network: nn.Module,
    shown: tuple[LearningTask, Ints, torch.Tensor],
    choice: Choice,
    devices: Devices,
    count: int,
    budget: float,
) -> tuple[float, int]:
    """Return the seconds of a training step, and the bytes held between its two passes."""
    device, (task, places, images) = devices.first, shown
    network.to(device).to(memory_format=choice.layout).train()
    optimizer = torch.optim.SGD(network.parameters(), lr=0.0, momentum=0.9)

    def step() -> None:
        drawn = task.draw(np.random.default_rng(0), places, 0, (images.shape[2], images.shape[3]))
        inputs = task.inputs(images.to(device), drawn).contiguous(memory_format=choice.layout)
        with choice.autocast(device):
            loss, _ = task.loss(network(inputs), places)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        loss.item()  # waits for the device

    held: dict[int, int] = {}
    weights = {weight.untyped_storage().data_ptr() for weight in network.parameters()}

    def note(saved: torch.Tensor) -> torch.Tensor:
        storage = saved.untyped_storage()
        if storage.data_ptr() not in weights:
            held[storage.data_ptr()] = storage.nbytes()
        return saved

    with threads(1), saved_tensors_hooks(note, lambda saved: saved):
        step()
    seconds = fastest(step, budget) if device.type != "cpu" else on_threads(step, count, budget)
    return seconds, sum(held.values())


def _encode(
    encoder: Encoder, batch: Any, few: int, count: int | None, budget: float
) -> tuple[float, tuple[int, ...]]:
    """Return the seconds per image, and the width of each layer; with `count` threads, or as many as there are."""
    with threads(1):
        made = encoder.encode(batch)
    if count is None or torch.cuda.is_available():
        seconds = fastest(lambda: encoder.encode(batch), budget)
    else:
        seconds = on_threads(lambda: encoder.encode(batch), count, budget)
    return seconds / few, tuple(made[layer].shape[1] for layer in encoder.layers)


def _name(embedder: Settings, network: nn.Module) -> str:
    if isinstance(embedder, Timm) or (isinstance(embedder, SelfSupervised) and embedder.weights is not None):
        return describe_model(embedder)
    if isinstance(embedder, SelfSupervised):
        return f"{getattr(network, 'name', '')}, without labels"
    depth = getattr(network, "depth", None)
    return f"resnet-{depth}" if depth is not None else str(getattr(network, "name", embedder.network))
