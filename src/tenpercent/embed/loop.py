"""The training loop: epochs of steps on this process's part of each batch, a checkpoint after each epoch."""

from __future__ import annotations

import copy
import io
import json
import math
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, Self, cast

import numpy as np
import torch
from safetensors.torch import save
from torch import nn

from ..progress import bar, quiet
from ..store.files import replacing, write_text
from .augment import Ints, PixelSource
from .networks import Size
from .precision import Choice
from .settings import Settings

if TYPE_CHECKING:
    from lightning_fabric import Fabric

CHECKPOINT = "checkpoint.pt"
CURVE = "curve.json"
WEIGHTS = "weights.safetensors"
WARM_UP = 0.025  # of all steps: the paper's 2,500 of 100,000

Curve = list[dict[str, Any]]


@dataclass(frozen=True, eq=False)
class MappedPixels:
    """Pixels in a file that several processes map into memory, as handing them over by copy would multiply them.

    Attributes:
        path: a file of nothing but uint8[m, h, w, 3].
        count: m.
        size: height and width.
    """

    path: Path
    count: int
    size: Size

    @classmethod
    def write(cls, pixels: PixelSource, path: Path) -> Self:
        """Write the pixels of any source."""
        count, size = len(pixels), pixels.size
        order = np.array_split(np.arange(count), -(-count // 256))
        with replacing(path) as temporary, temporary.open("wb") as file:
            for images in pixels.batches(order):
                file.write(images.permute(0, 2, 3, 1).contiguous().numpy().data)
        return cls(path, count, size)

    def __len__(self) -> int:
        return self.count

    def batches(self, order: Iterable[Ints]) -> Iterator[torch.Tensor]:
        """Yield uint8[k, 3, h, w], channels last in memory, for each array of positions in `order`."""
        mapped = np.memmap(self.path, np.uint8, "r", shape=(self.count, *self.size, 3))
        for places in order:
            yield torch.from_numpy(mapped[places]).permute(0, 3, 1, 2)


class Task(Protocol):
    """What a network learns: what it is shown of a batch, and its loss."""

    def draw(self, random: np.random.Generator, count: int, size: Size) -> Any:
        """Draw what chance decides for `count` images of `size`; its ``part(slice)`` is that of some of them."""
        ...

    def inputs(self, images: torch.Tensor, drawn: Any) -> torch.Tensor:
        """Return what the network is given for uint8[k, 3, h, w]: float32[m, 3, height, width], m ≥ k."""
        ...

    def loss(self, outputs: torch.Tensor, places: Ints) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the mean loss over the k images at `places`, and how many of them came out right."""
        ...


@dataclass(frozen=True, eq=False)
class Job:
    """All that a process needs to train; where there are several it is pickled for each.

    Attributes:
        pixels: m images.
        places: int64[n], those to train on.
        task: what to learn.
        network: with its first weights.
        choice: precision and layout.
        settings: seed, rate, momentum, weight decay.
        batches: of an epoch.
        steps: in all.
        threads: of each process.
        folder: for checkpoint, curve and weights.
        quiet: no bars.
    """

    pixels: PixelSource
    places: Ints
    task: Task
    network: nn.Module
    choice: Choice
    settings: Settings
    batches: int
    steps: int
    threads: int
    folder: Path
    quiet: bool


def learning_rate(step: int, steps: int, highest: float) -> float:
    """Return the rate of `step` (from 0): linear warm-up to `highest`, then half a cosine towards 0 (the paper, 4)."""
    warm_up = round(WARM_UP * steps)
    if step < warm_up:
        return highest * (step + 1) / warm_up
    return highest * 0.5 * (1 + math.cos(math.pi * (step - warm_up) / (steps - warm_up)))


def run_epochs(fabric: Fabric, job: Job) -> str | None:
    """Train in this process, from the checkpoint if there is one; the first process writes.

    Returns:
        None, or why the training failed: the same in all processes, so that none waits for another.
    """
    with (
        threads(job.threads),
        quiet(job.quiet or fabric.global_rank > 0),
        torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True),
    ):
        return _run_epochs(fabric, job)


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Within this context torch computes with `count` threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _run_epochs(fabric: Fabric, job: Job) -> str | None:
    settings, device = job.settings, fabric.device
    network = copy.deepcopy(job.network)
    network.to(device, memory_format=job.choice.layout).train()  # type: ignore[call-overload]
    optimizer = torch.optim.SGD(
        network.parameters(),
        lr=settings.rate,
        momentum=settings.momentum,
        weight_decay=settings.weight_decay,
    )
    curve = _resume(job.folder / CHECKPOINT, network, optimizer, device)
    wrapped, optimizer = fabric.setup(network, optimizer)
    epochs = math.ceil(job.steps / job.batches)
    total = job.steps * len(job.places) // job.batches
    done = len(curve) * len(job.places)
    with bar(total, f"training, {epochs} epochs", "images", initial=min(done, total)) as progress:
        for epoch in range(len(curve), epochs):
            started = time.perf_counter()
            found = _epoch(fabric, job, wrapped, optimizer, epoch, progress.update)
            curve.append({"epoch": epoch + 1, **found, "seconds": round(time.perf_counter() - started, 3)})
            if not math.isfinite(found["loss"]):
                return (
                    f"the loss became {found['loss']} in epoch {epoch + 1} at a learning rate of {settings.rate:g}; "
                    "train in another folder with a lower rate or with precision float32"
                )
            if fabric.global_rank == 0:
                _save(job.folder, network, optimizer, curve)
            fabric.barrier()
    if fabric.global_rank == 0:
        state = {name: value.cpu().contiguous() for name, value in network.state_dict().items()}
        with replacing(job.folder / WEIGHTS) as temporary:
            temporary.write_bytes(save(state))
    fabric.barrier()
    return None


def _epoch(
    fabric: Fabric,
    job: Job,
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    epoch: int,
    advance: Any,
) -> dict[str, float]:
    """Run one epoch; everything random follows from (seed, epoch), for whole batches, however many fabric."""
    settings, device, rank, world = (
        job.settings,
        fabric.device,
        fabric.global_rank,
        fabric.world_size,
    )
    random = np.random.default_rng([settings.seed, epoch])
    first = epoch * job.batches
    order = np.array_split(job.places[random.permutation(len(job.places))], job.batches)[: job.steps - first]
    drawn = [job.task.draw(random, len(places), job.pixels.size) for places in order]
    parts = [slice(len(places) * rank // world, len(places) * (rank + 1) // world) for places in order]
    mine = [places[part] for places, part in zip(order, parts, strict=True)]
    totals = torch.zeros(3, dtype=torch.float64 if device.type != "mps" else torch.float32, device=device)
    rate = 0.0
    for number, images in enumerate(job.pixels.batches(mine)):
        rate = learning_rate(first + number, job.steps, settings.rate)
        for group in optimizer.param_groups:
            group["lr"] = rate
        inputs = job.task.inputs(images.to(device), drawn[number].part(parts[number]))
        with fabric.autocast():
            outputs = network(inputs.contiguous(memory_format=job.choice.layout))
            loss, right = job.task.loss(outputs, mine[number])
        optimizer.zero_grad()
        fabric.backward(loss)
        optimizer.step()
        with torch.no_grad():
            totals[0] += loss * len(images)
            totals[1] += right
            totals[2] += len(images)
        advance(len(order[number]))
    summed, found, count = cast(torch.Tensor, fabric.all_reduce(totals, reduce_op="sum")).tolist()
    return {"loss": summed / count, "accuracy": found / count, "rate": rate}


def _save(folder: Path, network: nn.Module, optimizer: torch.optim.Optimizer, curve: Curve) -> None:
    state = {
        "network": network.state_dict(),
        "optimizer": optimizer.state_dict(),
        "curve": json.dumps(curve),
    }
    written = io.BytesIO()  # torch's own writing to a file hides that the disk is full
    torch.save(state, written)
    # The curve first: after a kill between the two the epoch is repeated, its curve too. The other way round the
    # curve would lack an epoch that nothing repeats.
    write_text(folder / CURVE, json.dumps(curve, indent=1) + "\n")
    with replacing(folder / CHECKPOINT) as temporary:
        temporary.write_bytes(written.getbuffer())


def _resume(path: Path, network: nn.Module, optimizer: torch.optim.Optimizer, device: torch.device) -> Curve:
    """Take up the checkpoint, if there is one, and return its curve: one entry an epoch done."""
    if not path.exists():
        return []
    state = torch.load(path, map_location=device, weights_only=True)
    network.load_state_dict(state["network"])
    optimizer.load_state_dict(state["optimizer"])
    curve: Curve = json.loads(state["curve"])
    return curve
