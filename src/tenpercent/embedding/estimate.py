"""Estimate of the time, memory and disk that embedding a source takes, from a few of its images; writes nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy as np
import psutil
import torch
from torch import nn
from torch.autograd.graph import saved_tensors_hooks

from ..data.sources.source import ImageSource
from ..errors import counted, require_installed
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
from .loop import Task, threads
from .networks import SMALL, build
from .pixels import Ints, Scan, describe, fit, look, memory_for_pixels, scan, workers
from .precision import PAYS, Choice
from .processes import Devices, devices_for
from .recipe import shown_share
from .selfsupervised import Twins, check_body, check_images, start_of
from .settings import LARGE, Precision, SelfSupervised, Settings, Supervised, Timm
from .timing import Watch, fastest, on_threads, shared
from .training import Classes, Trained, length, threads_for
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
        seconds: total time.
        width: values of a vector of the last layer.
        memory_bytes: peak memory.
        disk_bytes: size in the run folder.
        notes: the planned steps, one line each.
        stages: seconds of ``read``, ``train`` and ``extract``.
        epochs: of the training run; 0 for none.
    """

    seconds: float
    width: int
    memory_bytes: int
    disk_bytes: int
    notes: tuple[str, ...]
    stages: dict[str, float]
    epochs: int = 0


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

        Raises:
            TenpercentError: more than half of them can't be read.
        """
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


@dataclass(frozen=True)
class _Measured:
    """Measurements of an embedder: total seconds of training, seconds to encode an image, memory, sizes, notes."""

    train: float
    encode: float
    memory: int
    weights: int
    widths: tuple[int, ...]
    notes: tuple[str, ...]
    epochs: int = 0


def estimate(source: ImageSource, embedder: Embedder, rows: Ints) -> Estimate:
    """Estimate the cost of `extract.embed_source` from a few images and steps of the network.

    Takes some seconds, whatever the images and the network. The times are those of an idle machine, see `timing`.

    Args:
        source: the images.
        embedder: as for `embed_source`. Weights that timm would download are replaced by random ones.
        rows: int64[n], rows of the images.

    Raises:
        UsageError: `embed_source` would refuse these arguments.
        TenpercentError: more than half of the sample can't be read.
    """
    check_labels(source, embedder, rows)
    return estimate_from(Sample.of(source, embedder, rows), embedder)


def estimate_from(sample: Sample, embedder: Embedder, budget: float = BUDGET) -> Estimate:
    """Estimate from a sample of the source; no step is measured after `budget` seconds."""
    n, size = sample.n, sample.found.pixels.size
    fits = sample.fits(embedder)
    if isinstance(embedder, Supervised | SelfSupervised) or (
        isinstance(embedder, Timm) and embedder.finetune
    ):
        measured = _trained(embedder, sample, budget)
    else:
        measured = _ready(embedder, sample, budget)
    read = shared(sample.read, workers())
    stages = {"read": n * read, "train": measured.train, "extract": n * measured.encode}
    spent = ", ".join(f"{name} {seconds:.0f} s" for name, seconds in stages.items())
    return Estimate(
        seconds=sum(stages.values()),
        width=measured.widths[-1],
        memory_bytes=measured.memory + (sample.bytes if fits else 0),
        disk_bytes=n * (4 * sum(measured.widths) + ROW_BYTES) + measured.weights,
        notes=(describe(n, size, fits, memory_for_pixels()), *measured.notes, spent),
        stages=stages,
        epochs=measured.epochs,
    )


@dataclass(frozen=True, eq=False)
class Step:
    """Timed training step.

    Attributes:
        seconds: time per image, over all steps of a training run.
        held: bytes per image between forward and backward pass.
        weights: bytes of the network.
        name: name of the network.
        trained: the network as it is, for encoding.
    """

    seconds: float
    held: int
    weights: int
    name: str
    trained: Trained = field(repr=False)


def time_step(embedder: Settings, sample: Sample, budget: float = BUDGET, count: int | None = None) -> Step:
    """Time a few training steps of a network on a sample.

    Args:
        embedder: the network to train.
        sample: the images.
        budget: seconds after which no further step is measured.
        count: threads; None for as many as a training run uses.
    """
    pixels, devices = sample.found.pixels, devices_for(embedder.devices)
    network, view, task = _lesson(embedder, sample)
    seen = view.resize or view.crop
    few = _few(view, embedder)
    places = np.arange(few) % len(pixels)
    shown = task, places, pixels.batch(places)
    choice, seconds, held = _step(
        network, shown, embedder, devices, count or threads_for(seen, devices), budget
    )
    return Step(
        seconds=seconds * shown_share(embedder.recipe) / few / devices.count,
        held=held // few,
        weights=sum(value.numel() * value.element_size() for value in network.state_dict().values()),
        name=_name(embedder, network),
        trained=Trained(network, view, choice, devices.first, {}),
    )


def _few(view: View, embedder: Settings) -> int:
    return min(MANY if max(view.resize or view.crop) <= SMALL else FEW, embedder.batch)


def _trained(embedder: Settings, sample: Sample, budget: float) -> _Measured:
    step = time_step(embedder, sample, budget)
    view, choice = step.trained.view, step.trained.choice
    n = sample.labelled if needs_labels(embedder) else sample.n
    planned = length(n, embedder)
    again = 0.0 if sample.fits(embedder) else shared(sample.read, workers())
    few = _few(view, embedder)
    images = sample.found.pixels.batch(np.arange(few) % len(sample.found.pixels))
    count = threads_for(view.resize or view.crop, devices_for(embedder.devices))
    encode, widths = _encode(NetworkEncoder(step.trained), images, few, count, budget / 2)
    lasts = f"{counted(planned.epochs, 'epoch')}, {counted(planned.steps, 'step')}"
    return _Measured(
        train=planned.steps * n / planned.batches * (step.seconds + again),
        encode=encode + again,
        memory=psutil.Process().memory_info().rss + step.held * embedder.batch + 3 * step.weights,
        weights=3 * step.weights,  # the weights, and the checkpoint with the optimiser's state
        widths=widths,
        notes=(f"{step.name}: {lasts} at {1 / step.seconds:,.0f} images/s in {choice.precision}",),
        epochs=planned.epochs,
    )


def _lesson(embedder: Settings, sample: Sample) -> tuple[nn.Module, View, Task]:
    """Return the network with its initial weights, its view, and its task."""
    pixels = sample.found.pixels
    if isinstance(embedder, SelfSupervised):
        require_installed("lightly", "selfsupervised")
        check_body(embedder)
        check_images(embedder, pixels)
        unlabelled, given = start_of(embedder, pixels)
        view = given or View.of(pixels)
        return unlabelled, view, Twins(view, nn.MSELoss())  # the true loss is as cheap, and slow to import
    labels = np.zeros(len(pixels), dtype=np.int64)
    if isinstance(embedder, Timm):
        network = untrained_model(embedder, sample.classes)
        if embedder.weights is not None:
            load_weights(network, embedder.weights)
        view = model_view(network, pixels)
    else:
        network = build(embedder.network, embedder.depth, sample.classes, pixels.size)
        view = View.of(pixels, embedder.recipe)
    return network, view, Classes(labels, view, embedder)


def _ready(embedder: Timm | nn.Module | Callable[[Any], Any], sample: Sample, budget: float) -> _Measured:
    found, notes = sample.found, []
    encoder: Encoder
    if isinstance(embedder, Timm):
        model = untrained_model(embedder)
        if embedder.weights is not None:
            load_weights(model, embedder.weights)
        else:
            notes.append("its weights would be fetched from the hub, unless they have been already")
        precision = Precision(embedder.precision)
        choice = Choice(Precision.FLOAT32 if precision is Precision.AUTO else precision)
        encoder = TimmEncoder(model, choice, devices_for(1).first)
        name = embedder.name
    else:
        encoder, facts = ready_encoder(embedder, found.alike, None)
        name = str(facts["network"])
    few = min(FEW, len(found.rows))
    transform = encoder.transform
    batch: Any
    if transform is None:
        batch, prepare = found.pixels.batch(np.arange(few)), 0.0 if sample.fits(embedder) else sample.read
    else:
        watch = Watch()
        batch = [found.pixels.made(position, transform) for position in range(few)]
        prepare = watch.seconds / few
    count = None if isinstance(encoder, FunctionEncoder) else torch.get_num_threads()
    encode, widths = _encode(encoder, batch, few, count, budget)
    encode += shared(prepare, workers())
    return _Measured(
        train=0.0,
        encode=encode,
        memory=psutil.Process().memory_info().rss,
        weights=0,
        widths=widths,
        notes=(f"{name}: {1 / encode:,.0f} images/s", *notes),
    )


def _readable(source: ImageSource, rows: Ints, side: int) -> tuple[Ints, float]:
    """Return which of the rows can be read, as far as `READ` seconds allow, and the seconds per image."""
    watch, seconds, good = Watch(), [], []
    for row in (
        rows.reshape(BLOCKS, -1).T.reshape(-1).tolist() if len(rows) == BLOCKS * BLOCK else rows.tolist()
    ):
        one = Watch()
        readable = look(source, row, (side, side)).pixels is not None
        seconds.append(one.seconds)
        good += [row] if readable else []
        if len(good) >= FEW and watch.seconds > READ:
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
    shown: tuple[Task, Ints, torch.Tensor],
    settings: Settings,
    devices: Devices,
    count: int,
    budget: float,
) -> tuple[Choice, float, int]:
    """Return the precision, the seconds of a training step, and the bytes held between its two passes."""
    device, (task, places, images) = devices.first, shown
    network.to(device).to(memory_format=torch.channels_last).train()
    optimizer = torch.optim.SGD(network.parameters(), lr=0.0, momentum=0.9)

    def step(choice: Choice) -> None:
        drawn = task.draw(np.random.default_rng(0), places, 0, (images.shape[2], images.shape[3]))
        inputs = task.inputs(images.to(device), drawn).contiguous(memory_format=choice.layout)
        with choice.autocast(device):
            loss, _ = task.loss(network(inputs), places)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        loss.item()  # waits for the device

    def seconds(choice: Choice) -> float:
        if device.type != "cpu":
            return fastest(lambda: step(choice), budget)
        return on_threads(lambda: step(choice), count, budget)

    wanted = Precision(settings.precision)
    plain = Choice(Precision.FLOAT32 if wanted is Precision.AUTO else wanted)
    held: dict[int, int] = {}
    weights = {weight.untyped_storage().data_ptr() for weight in network.parameters()}

    def note(saved: torch.Tensor) -> torch.Tensor:
        storage = saved.untyped_storage()
        if storage.data_ptr() not in weights:
            held[storage.data_ptr()] = storage.nbytes()
        return saved

    with threads(1), saved_tensors_hooks(note, lambda saved: saved):
        step(plain)
    found = seconds(plain)
    if wanted is Precision.AUTO and device.type in ("cpu", "cuda"):
        other = Choice(Precision.BFLOAT16)
        faster = seconds(other)
        if found >= PAYS * faster:  # as the training run will choose
            return other, faster, sum(held.values())
    return plain, found, sum(held.values())


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
    if isinstance(embedder, Timm):
        return f"{embedder.name}, fine-tuned"
    if isinstance(embedder, SelfSupervised):
        return f"{getattr(network, 'name', '')}, without labels"
    depth = getattr(network, "depth", None)
    return f"resnet-{depth}" if depth is not None else str(getattr(network, "name", embedder.network))
