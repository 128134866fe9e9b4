"""Training loop: steps on this process's part of each batch, a checkpoint at each mark and every half minute."""

from __future__ import annotations

import copy
import io
import json
import logging
import math
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, Self, cast

import numpy as np
import torch
from safetensors.torch import save
from torch import nn
from torch.nn.functional import interpolate

from ..data.store.files import replacing, write_text
from ..errors import StageError, one_line
from ..progress import bar, quiet
from .augment import Ints, PixelSource, View
from .networks import Size
from .precision import Choice
from .predictions import EvaluationPixels, predict
from .recipe import learning_rate, shown_size
from .settings import Settings

if TYPE_CHECKING:
    from .processes import TrainingProcess

log = logging.getLogger("tenpercent")

CHECKPOINT = "checkpoint.pt"
CURVE = "curve.json"
WEIGHTS = "weights.safetensors"
SAVE_AFTER = 30.0  # seconds of training that a kill may cost, beside the checkpoint being written
AGREE_EVERY = 10  # steps, where several processes must agree on whether a checkpoint is due

Curve = list[dict[str, Any]]


@dataclass(frozen=True, eq=False)
class MappedPixels:
    """Pixels in a file that several processes map into memory, since passing them would copy them.

    Attributes:
        path: a file that contains only uint8[m, h, w, 3].
        count: m.
        size: height and width.
        noun: what one of them is called.
    """

    path: Path
    count: int
    size: Size
    noun: str = "image"

    @classmethod
    def write(cls, pixels: PixelSource, path: Path) -> Self:
        """Write the pixels of any source."""
        count, size = len(pixels), pixels.size
        order = np.array_split(np.arange(count), -(-count // 256))
        with replacing(path) as temporary, temporary.open("wb") as file:
            for images in pixels.batches(order):
                file.write(images.permute(0, 2, 3, 1).contiguous().numpy().data)
        return cls(path, count, size, pixels.noun)

    def __len__(self) -> int:
        return self.count

    def batches(self, order: Iterable[Ints]) -> Iterator[torch.Tensor]:
        """Yield uint8[k, 3, h, w], channels last in memory, for each array of positions in `order`."""
        mapped = np.memmap(self.path, np.uint8, "r", shape=(self.count, *self.size, 3))
        for places in order:
            yield torch.from_numpy(mapped[places]).permute(0, 3, 1, 2)


class LearningTask(Protocol):
    """Learning task of a network: its inputs for a batch, and its loss."""

    def draw(self, random: np.random.Generator, places: Ints, epoch: int, size: Size) -> Any:
        """Draw the random choices for the images at `places`, of `size`; the result has ``part(slice)`` for some."""
        ...

    def inputs(self, images: torch.Tensor, drawn: Any) -> torch.Tensor:
        """Return the input of the network for uint8[k, 3, h, w]: float32[m, 3, height, width], m ≥ k."""
        ...

    def loss(self, outputs: torch.Tensor, places: Ints) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the mean loss over the k images at `places`, and the number of correct predictions."""
        ...


@dataclass(frozen=True)
class TrainingLength:
    """Length of a training run.

    Attributes:
        epochs: passes over the images, the last one possibly partial.
        batches: number per epoch, all of nearly the same size.
        steps: total number of batches.
        marks: increasing, the last is `steps`: numbers of steps after which the curve gets an entry; empty for the ends
            of the epochs.
    """

    epochs: int
    batches: int
    steps: int
    marks: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if not self.marks:
            ends = tuple(min((epoch + 1) * self.batches, self.steps) for epoch in range(self.epochs))
            object.__setattr__(self, "marks", ends)


@dataclass(frozen=True, eq=False)
class TrainingJob:
    """One training run: images, network, task and the folder for its files; pickled where there are several processes.

    Attributes:
        pixels: m images.
        places: int64[n], positions of the images to train on.
        network: the network with its initial weights.
        task: the learning task, given the view.
        settings: seed, rates, momentum, weight decay, devices, precision, recipe.
        length: steps, and marks of the curve.
        origin: a fingerprint of everything that the weights depend on.
        folder: for ``settings.json``, ``curve.json``, ``weights.safetensors`` and, during the run, ``checkpoint.pt``.
        view: the view for the network; None until it is chosen as in training from scratch.
        evaluation: the evaluation set for each mark but the last, where the run is done; None for none.
        n_classes: the required number of logits for images of this size; None where the output is something else.
        choice: precision and memory layout; None until it is chosen.
        threads: number per process.
    """

    pixels: PixelSource
    places: Ints
    network: nn.Module = field(repr=False)
    task: Callable[[View], LearningTask]
    settings: Settings
    length: TrainingLength
    origin: str
    folder: Path
    view: View | None = None
    evaluation: EvaluationPixels | None = None
    n_classes: int | None = None
    choice: Choice | None = None
    threads: int = 1

    def images_after(self, steps: int) -> int:
        """Return the number of images shown in the first steps."""
        return steps * len(self.places) // self.length.batches


def run(fabric: TrainingProcess, job: TrainingJob, hidden: bool) -> str | None:
    """Train in this process, from the checkpoint if there is one; the first process writes.

    Args:
        fabric: this process among those that train.
        job: the training run, with view and choice.
        hidden: whether to hide progress bars.

    Returns:
        None, or the reason why training failed: the same in all processes, so that none waits for another.
    """
    with (
        threads(job.threads),
        quiet(hidden or fabric.global_rank > 0),
        torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True),
    ):
        return _run(fabric, job)


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Let torch compute with `count` threads within this context."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@dataclass
class _Progress:
    """State of a training run.

    Attributes:
        step: steps done.
        curve: one entry per mark passed.
        totals: float64[3] on the device: for this process's images since the last mark, the sum of the losses, the
            number of correct predictions, and the number of images.
        seconds: of training since the last mark.
    """

    step: int
    curve: Curve
    totals: torch.Tensor
    seconds: float


def _run(fabric: TrainingProcess, job: TrainingJob) -> str | None:
    view, choice, settings, length, device = job.view, job.choice, job.settings, job.length, fabric.device
    assert view is not None
    assert choice is not None
    task = job.task(view)
    network = copy.deepcopy(job.network)
    network.to(device, memory_format=choice.layout).train()  # type: ignore[call-overload]
    optimizer, factors = make_optimizer(network, settings)
    at = _resume(job, network, optimizer, device)
    if fabric.global_rank > 0:
        at.totals.zero_()  # the checkpoint has the sums of all processes
    wrapped, optimizer = fabric.setup(network, optimizer)
    total, done = job.images_after(length.steps), job.images_after(at.step)
    words = f"training, {math.ceil(length.steps / length.batches)} epochs"
    started = saved = time.perf_counter()
    with bar(total, words, f"{job.pixels.noun}s", initial=min(done, total)) as progress:
        for number, places, drawn, images in _batches(job, task, at.step, fabric):
            rate = learning_rate(number, length.steps, settings.rate, settings.recipe)
            for group, factor in zip(optimizer.param_groups, factors, strict=True):
                group["lr"] = rate * factor
            inputs = _shown(task.inputs(images.to(device), drawn), number, job)
            with fabric.autocast():
                outputs = wrapped(inputs.contiguous(memory_format=choice.layout))
                loss, right = task.loss(outputs, places)
            optimizer.zero_grad()
            fabric.backward(loss)
            optimizer.step()
            with torch.no_grad():
                at.totals[0] += loss * len(places)
                at.totals[1] += right
                at.totals[2] += len(places)
            at.step = number + 1
            progress.update(job.images_after(at.step) - job.images_after(number))
            marked = at.step == length.marks[len(at.curve)]
            if not marked and not _is_due(fabric, at.step, saved):
                continue
            at.totals = cast(torch.Tensor, fabric.all_reduce(at.totals, reduce_op="sum"))
            at.seconds += time.perf_counter() - started
            if not math.isfinite(float(at.totals[0])):
                return _failure(job, at)
            if marked:
                at.curve.append(_entry(job, at, rate))
                if job.evaluation is not None and at.step < length.steps and fabric.global_rank == 0:
                    found = predict(network, view, choice, device, job.evaluation)
                    at.curve[-1] |= {"test_accuracy": found.accuracy, "test_loss": found.loss}
                at.totals.zero_()
                at.seconds = 0.0
            if fabric.global_rank == 0:
                _save(job.folder, network, optimizer, at)
            else:
                at.totals.zero_()
            fabric.barrier()
            started = saved = time.perf_counter()
    if fabric.global_rank == 0:
        state = {name: value.cpu().contiguous() for name, value in network.state_dict().items()}
        with replacing(job.folder / WEIGHTS) as temporary:
            temporary.write_bytes(save(state))
    fabric.barrier()
    return None


def _shown(inputs: torch.Tensor, step: int, job: TrainingJob) -> torch.Tensor:
    """Return the images at the size that the recipe sets for this step."""
    whole = (inputs.shape[2], inputs.shape[3])
    size = shown_size(step, job.length.steps, whole, job.settings.recipe)
    return inputs if size == whole else interpolate(inputs, size, mode="bilinear", antialias=True)


def make_optimizer(network: nn.Module, settings: Settings) -> tuple[torch.optim.Optimizer, list[float]]:
    """Return the optimiser of the trainable weights, and each of its groups' multiple of the learning rate."""
    recipe = settings.recipe
    trained = [weights for weights in network.parameters() if weights.requires_grad]
    groups: list[dict[str, Any]] = [{"params": trained}]
    factors = [1.0]
    if recipe.bias_rate != 1 or not recipe.bias_decay:
        groups = [{"params": [weights for weights in trained if weights.ndim > 1]}]
        biases = [weights for weights in trained if weights.ndim <= 1]
        groups += [{"params": biases, "weight_decay": settings.weight_decay if recipe.bias_decay else 0.0}]
        factors = [1.0, recipe.bias_rate]
    optimizer = torch.optim.SGD(
        groups,
        lr=settings.rate,
        momentum=settings.momentum,
        weight_decay=settings.weight_decay,
        nesterov=recipe.nesterov,
    )
    return optimizer, factors


def _batches(
    job: TrainingJob, task: LearningTask, step: int, fabric: TrainingProcess
) -> Iterator[tuple[int, Ints, Any, torch.Tensor]]:
    """Yield number, places, random choices and images of each step from `step` on: this process's part of its batch.

    All randomness follows from (seed, epoch), for whole batches, however many processes there are.
    """
    rank, world, length = fabric.global_rank, fabric.world_size, job.length
    while step < length.steps:
        epoch, first = divmod(step, length.batches)
        random = np.random.default_rng([job.settings.seed, epoch])
        shuffled = job.places[random.permutation(len(job.places))]
        order = np.array_split(shuffled, length.batches)[: length.steps - epoch * length.batches]
        drawn = [task.draw(random, places, epoch, job.pixels.size) for places in order]
        parts = [slice(len(places) * rank // world, len(places) * (rank + 1) // world) for places in order]
        mine = [places[part] for places, part in zip(order, parts, strict=True)][first:]
        for number, images in enumerate(job.pixels.batches(mine), first):
            yield step, mine[number - first], drawn[number].part(parts[number]), images
            step += 1


def _is_due(fabric: TrainingProcess, step: int, saved: float) -> bool:
    """Return whether a checkpoint is due between two marks: the same in all processes."""
    if fabric.world_size == 1:
        return time.perf_counter() - saved > SAVE_AFTER
    return step % AGREE_EVERY == 0 and fabric.broadcast(time.perf_counter() - saved > SAVE_AFTER)


def _entry(job: TrainingJob, at: _Progress, rate: float) -> dict[str, Any]:
    """Return the entry of the curve for the steps since the last mark."""
    summed, right, count = at.totals.tolist()
    epochs = at.step / job.length.batches
    return {
        "epoch": math.ceil(epochs) if job.evaluation is None else epochs,
        **({} if job.evaluation is None else {"step": at.step}),
        "loss": summed / count,
        "accuracy": right / count,
        "rate": rate,
        "seconds": round(at.seconds, 3),
    }


def _failure(job: TrainingJob, at: _Progress) -> str:
    # An embedding's folder keeps its settings; training runs of an evaluation have files of their own.
    where = "in another folder " if job.evaluation is None else ""
    epoch = math.ceil(at.step / job.length.batches)
    return (
        f"the loss became {float(at.totals[0])} in epoch {epoch} at a learning rate of {job.settings.rate:g}; train "
        f"{where}with a lower rate or with precision float32"
    )


def _save(folder: Path, network: nn.Module, optimizer: torch.optim.Optimizer, at: _Progress) -> None:
    state = {
        "network": network.state_dict(),
        "optimizer": optimizer.state_dict(),
        "curve": json.dumps(at.curve),
        "step": at.step,
        "totals": at.totals,
        "seconds": at.seconds,
    }
    written = io.BytesIO()  # torch's own writing to a file hides that the disk is full
    torch.save(state, written)
    # The curve first: if a kill comes between the two, the steps are repeated, and their curve with them. In the other
    # order the curve would lack an entry for good.
    write_text(folder / CURVE, json.dumps(at.curve, indent=1) + "\n")
    with replacing(folder / CHECKPOINT) as temporary:
        temporary.write_bytes(written.getbuffer())


def _resume(
    job: TrainingJob, network: nn.Module, optimizer: torch.optim.Optimizer, device: torch.device
) -> _Progress:
    """Load the checkpoint, if there is one, and return the state."""
    totals = torch.zeros(3, dtype=torch.float64 if device.type != "mps" else torch.float32, device=device)
    path = job.folder / CHECKPOINT
    if not path.exists():
        return _Progress(0, [], totals, 0.0)
    try:
        state = torch.load(path, map_location=device, weights_only=True)
        network.load_state_dict(state["network"])
        optimizer.load_state_dict(state["optimizer"])
        curve: Curve = json.loads(state["curve"])
    except Exception as error:  # torch's unpickler raises nearly anything on a damaged file
        raise StageError(
            f"{path} is damaged ({one_line(error, 200)}); delete it to train from scratch"
        ) from error
    if "step" not in state:  # written when checkpoints were made at the ends of epochs only
        return _Progress(min(len(curve) * job.length.batches, job.length.steps), curve, totals, 0.0)
    return _Progress(state["step"], curve, state["totals"], state["seconds"])
