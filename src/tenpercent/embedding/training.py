"""Training of a network, on labels or without: checked, resumable, with its files in one folder."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from ..data.store.files import fingerprint, write_text
from ..errors import StageError, TrainingFailedError, UsageError, counted
from ..progress import is_quiet
from .augment import SAMPLE, Crops, Ints, PixelSource, View, spread
from .fast import FastNetwork
from .loop import CHECKPOINT, WEIGHTS, MappedPixels, TrainingJob, TrainingLength, run, threads
from .networks import ResNet, Size, TimmResNet, Unlabelled, build, check_fit
from .precision import Choice, choose
from .predictions import EvaluationPixels
from .processes import Devices, devices_for, launch
from .recipe import Flip
from .settings import Precision, SelfSupervised, Settings, Supervised, batch_of
from .training_files import FORMAT, SETTINGS, load_weights, read_curve, read_training_settings

SEEN = 1024  # images whose principal components the last layer on top of pretrained weights starts with
TINY = 16 * 16  # up to this many pixels one thread trains: see `threads_for`
PIXELS, EVALUATION = "pixels.bin", "evaluation.bin"  # while several processes train
IMAGES_SEEN = 500_000  # by default a training run passes over at most so many images ...
MOST_EPOCHS, LEAST_EPOCHS = 20, 10  # ... in at most 20 epochs, but at least 10 ...
LEAST_STEPS = 200  # ... and at least 200 batches
FURTHER_EPOCHS, FURTHER_STEPS = (
    3,
    50,
)  # without labels from pretrained weights: so many epochs, at least so many batches

log = logging.getLogger("tenpercent")


@dataclass(frozen=True, eq=False)
class Trained:
    """Trained network and everything needed to use it.

    Attributes:
        network: in evaluation mode, on `device`; for training from scratch it has ``features(x)`` and ``widths``.
        view: ``view.plain(images)`` makes uint8[k, 3, h, w] on `device` into what the network takes.
        choice: ``choice.autocast(device)`` is the context for its passes.
        device: its device.
        facts: facts for a run folder: network, epochs, steps, precision with rates, training accuracy, seconds.
    """

    network: nn.Module = field(repr=False)
    view: View
    choice: Choice
    device: torch.device
    facts: dict[str, Any]


@dataclass(frozen=True, eq=False)
class ClassificationTask:
    """Task: to predict the class of each image, randomly cropped and mirrored.

    Attributes:
        view: the view for the network.
        labels: int64[m], the code of each image's class.
        settings: the seed, and the recipe for flips, smoothing and class weights.
        weights: float32[C], of each class in the loss; None for equal weights of all images.
    """

    view: View
    labels: Ints
    settings: Settings
    weights: torch.Tensor | None = None

    def draw(self, random: np.random.Generator, places: Ints, epoch: int, size: Size) -> Crops:
        """Draw a crop for each image."""
        crops = self.view.draw(random, len(places), size)
        flip = self.settings.recipe.flip
        if flip is Flip.RANDOM:
            return crops
        if flip is Flip.NONE:
            return replace(crops, flip=np.zeros(len(places), np.bool_))
        first = np.random.default_rng(self.settings.seed).integers(0, 2, len(self.labels)).astype(np.bool_)
        return replace(crops, flip=first[places] ^ bool(epoch % 2))

    def inputs(self, images: torch.Tensor, drawn: Crops) -> torch.Tensor:
        """Return the crops, normalised."""
        return self.view.varied(images, drawn)

    def loss(self, outputs: torch.Tensor, places: Ints) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the mean cross-entropy of the logits, and the number of correct predictions.

        With class weights it is the weighted mean, so that rare classes count as much as frequent ones.
        """
        labels = torch.from_numpy(self.labels[places]).to(outputs.device)
        weights = None if self.weights is None else self.weights.to(outputs.device)
        loss = cross_entropy(outputs, labels, weights, label_smoothing=self.settings.recipe.smoothing)
        return loss, (outputs.argmax(1) == labels).sum()


def class_weights(labels: Ints, n_classes: int) -> npt.NDArray[np.float64]:
    """Return n / (C · n_c) for each class c, 0 for one without images (the article).

    Args:
        labels: int64[n], of the images trained on.
        n_classes: C.
    """
    counts = np.bincount(labels, minlength=n_classes)
    return np.divide(len(labels), n_classes * counts, out=np.zeros(n_classes), where=counts > 0)


def default_epochs(n: int, batch: int) -> int:
    """Return the default length: 20 epochs while that is at most 500,000 images, at least 10, and at least 200 batches.

    So 10 epochs for CIFAR's 50,000 images and 20 for the 1,437 digits.
    """
    batches = batches_of(n, batch)
    return max(min(MOST_EPOCHS, IMAGES_SEEN // n), LEAST_EPOCHS, math.ceil(LEAST_STEPS / batches))


def training_length(n: int, settings: Settings) -> TrainingLength:
    """Return the length of the training run on `n` images."""
    batches = batches_of(n, batch_of(settings))
    if settings.steps is not None:
        return TrainingLength(math.ceil(settings.steps / batches), batches, settings.steps)
    further = isinstance(settings, SelfSupervised) and settings.weights is not None
    usual = max(FURTHER_EPOCHS, math.ceil(FURTHER_STEPS / batches)) if further else None
    epochs = settings.epochs or usual or default_epochs(n, batch_of(settings))
    return TrainingLength(epochs, batches, epochs * batches)


def threads_for(size: Size, devices: Devices) -> int:
    """Return the number of threads per training process; the last bits of the weights depend on it.

    One for images of up to 16 × 16 pixels: there the work of a thread between two synchronisations is so little that a
    second one gains little on an idle machine and costs half the speed on a busy one (`benchmarks/threads.py`).
    """
    if size[0] * size[1] <= TINY:
        return 1
    return max(1, torch.get_num_threads() // (devices.count if devices.kind == "cpu" else 1))


def train(
    pixels: PixelSource,
    labels: Ints,
    n_classes: int,
    settings: Settings,
    folder: Path,
    start: tuple[nn.Module, View] | None = None,
    length: TrainingLength | None = None,
    evaluation: EvaluationPixels | None = None,
) -> Trained:
    """Train a network, resume an interrupted training run, or load the finished network.

    SGD with momentum and, unless the recipe says otherwise, a linear warm-up over 2.5% of the steps and a cosine to 0,
    random crops and flips (the paper, section 4). Order and augmentation follow from (seed, epoch), so an interrupted
    training run ends with the same weights on the same machine and number of threads; at most an epoch or half a minute
    is lost, whichever is less.

    Args:
        pixels: m images.
        labels: int64[m], codes below `n_classes`; images with −1 are not used.
        n_classes: outputs of the classifier.
        settings: `Supervised`, or `Timm` together with `start`.
        folder: for ``settings.json``, ``curve.json``, ``weights.safetensors`` and, during the run, ``checkpoint.pt``.
        start: the network to fine-tune and its view; None to train from scratch.
        length: steps, and marks of the curve; None for those of the settings, at the ends of epochs.
        evaluation: the evaluation set for each mark but the last, where the run is done.

    Raises:
        UsageError: fewer than two classes, more devices than the images or the machine allow, or a network that does
            not fit the images.
        StageError: the folder holds another training run.
        TrainingFailedError: the loss became nan or infinite.
    """
    places = np.flatnonzero(labels >= 0)
    classes = len(np.unique(labels[places]))
    if classes < 2:
        raise UsageError(
            f"training on labels needs at least 2 classes, got {classes}; use --embedder pretrained"
        )
    with seeded(settings.seed):
        network = start[0] if start is not None else _from_scratch(settings, n_classes, pixels.size)
    known: list[Any] = [known_by(settings), list(pixels.size), labels.tolist(), n_classes]
    usual = training_length(len(places), settings)
    if length not in (None, usual) or evaluation is not None:
        known.append(None if length is None else [length.steps, list(length.marks)])
        known.append(None if evaluation is None else evaluation.labels[evaluation.places].tolist())
    weights = None
    if settings.recipe.class_weights:
        weights = torch.from_numpy(class_weights(labels[places], n_classes)).float()
    return run_job(
        TrainingJob(
            pixels=pixels,
            places=places,
            network=network,
            task=partial(ClassificationTask, labels=labels, settings=settings, weights=weights),
            settings=settings,
            length=length or usual,
            origin=fingerprint(known),
            folder=folder,
            view=None if start is None else start[1],
            evaluation=evaluation,
            n_classes=n_classes if start is None else None,
        )
    )


def run_job(job: TrainingJob) -> Trained:
    """Train, resume an interrupted training run, or load the finished network.

    Raises:
        UsageError: more devices than the images or the machine allow.
        StageError: the folder holds another training run.
        TrainingFailedError: the loss became nan or infinite.
    """
    pixels, settings, length, folder, network = job.pixels, job.settings, job.length, job.folder, job.network
    devices = devices_for(settings.devices)
    if len(job.places) // length.batches < 2 * devices.count:
        raise UsageError(
            f"{len(job.places)} images in batches of {batch_of(settings)} are too few for {devices.count} devices, "
            "which need at least two images each; use fewer devices"
        )
    view, choice = _stored(folder, job.origin) or _begin(job, devices)
    if not (folder / WEIGHTS).exists():
        lasts = f"{counted(length.epochs, 'epoch')}, {counted(length.steps, 'step')}"
        log.info("training for %s, in %s", lasts, choice.precision)
        if isinstance(network, FastNetwork):
            sample = next(iter(pixels.batches([spread(job.places, SAMPLE)])))
            network.whiten(view.plain(sample))
        if isinstance(network, Unlabelled) and isinstance(settings, SelfSupervised) and settings.weights:
            parts = np.array_split(spread(job.places, SEEN), -(-min(len(job.places), SEEN) // 64))
            network.begin(view.plain(images) for images in pixels.batches(parts))
        job = replace(job, view=view, choice=choice, threads=threads_for(pixels.size, devices))
        if devices.count > 1:
            job = replace(job, pixels=MappedPixels.write(pixels, folder / PIXELS))
            if job.evaluation is not None:
                mapped = MappedPixels.write(job.evaluation.pixels, folder / EVALUATION)
                job = replace(job, evaluation=replace(job.evaluation, pixels=mapped))
        failure = launch(devices, choice, partial(run, hidden=is_quiet()), job)
        for path in (PIXELS, EVALUATION):
            (folder / path).unlink(missing_ok=True)
        if failure is not None:
            raise TrainingFailedError(failure)
    for path in (CHECKPOINT, PIXELS, EVALUATION):  # a kill may leave them after the weights were complete
        (folder / path).unlink(missing_ok=True)
    load_weights(network, folder)
    network.to(devices.first, memory_format=choice.layout).eval()  # type: ignore[call-overload]
    return Trained(network, view, choice, devices.first, _facts(network, choice, devices, length, folder))


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Set torch's random state to that of a seed within this context; the earlier state is restored."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


def _from_scratch(settings: Settings, n_classes: int, size: Size) -> nn.Module:
    if not isinstance(settings, Supervised):
        raise UsageError(f"{settings} needs a network with weights to start from; give it as `start`")
    return build(settings.network, settings.depth, n_classes, size)


def known_by(settings: Settings) -> dict[str, Any]:
    """Return the settings that the weights depend on: a weights file by its hash, not its path."""
    return {key: value for key, value in settings.as_json().items() if key != "weights"}


def _begin(job: TrainingJob, devices: Devices) -> tuple[View, Choice]:
    """Choose view and precision, and store them: a resumed run must not choose again."""
    pixels, settings = job.pixels, job.settings
    view = View.of(pixels, settings.recipe, job.places) if job.view is None else job.view
    seen = view.resize or view.crop
    if job.n_classes is not None:
        name = getattr(settings, "network", None) or type(job.network).__name__
        check_fit(job.network, name, job.n_classes, seen)
    with threads(threads_for(seen, devices)):
        choice = choose(job.network, seen, devices.first, Precision(settings.precision))
    content = {
        "format": FORMAT,
        "origin": job.origin,
        "settings": settings.as_json(),
        "view": view.as_json(),
        "choice": choice.as_json(),
    }
    write_text(job.folder / SETTINGS, json.dumps(content, indent=2) + "\n")
    return view, choice


def _stored(folder: Path, origin: str) -> tuple[View, Choice] | None:
    """Return what `_begin` stored, or None where there is nothing yet."""
    if not (folder / SETTINGS).exists():
        return None
    content, view, choice = read_training_settings(folder)
    known = content["origin"]
    if known == origin:
        return view, choice
    raise StageError(
        f"{folder} holds a training run with other images or settings ({known}, not {origin}); "
        "choose another --out, or delete it to train again"
    )


def batches_of(n: int, batch: int) -> int:
    """Return the number of batches for n images: equal to within one image, at most `batch`, none of a single one."""
    return max(1, min(math.ceil(n / batch), n // 2))


def _facts(
    network: nn.Module, choice: Choice, devices: Devices, length: TrainingLength, folder: Path
) -> dict[str, Any]:
    curve = read_curve(folder)
    settings = read_training_settings(folder)[0]["settings"]
    name = settings.get("name") or settings.get("network")
    if isinstance(network, ResNet):
        name = f"resnet-{network.depth}"
    elif isinstance(network, TimmResNet | FastNetwork | Unlabelled):
        name = network.name
    return {
        "network": name,
        "epochs": length.epochs,
        "steps": length.steps,
        "precision": str(choice.precision),
        "channels_last": choice.channels_last,
        "rates": choice.rates,
        "device": devices.kind,
        "devices": devices.count,
        "train_loss": curve[-1]["loss"],
        "train_accuracy": curve[-1].get("accuracy"),
        "train_seconds": round(sum(epoch["seconds"] for epoch in curve), 3),
    }
