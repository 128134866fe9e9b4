"""Evaluation of a network on a labelled set, without augmentation."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from .augment import Ints, PixelSource, View
from .networks import SMALL
from .precision import Choice

TOP = 5  # a network with more than twice as many classes is also tested for its five best guesses
SMALL_BATCH, LARGE_BATCH = 256, 32


@dataclass(frozen=True, eq=False)
class Exam:
    """Evaluation set: images with their labels.

    Attributes:
        pixels: m images.
        labels: int64[m], at least 0 for those at `places`.
        places: int64[k], positions of the images to evaluate.
        mirrored: whether to average the logits of each image and its mirror image.
    """

    pixels: PixelSource
    labels: Ints
    places: Ints
    mirrored: bool = False


@dataclass(frozen=True, eq=False)
class Answers:
    """Predictions of a network, compared with the labels.

    Attributes:
        right: bool[k], whether the best guess is the label.
        among: bool[k], whether the label is among the five best guesses; None up to ten classes.
        loss: the mean cross-entropy, without smoothing or class weights.
    """

    right: npt.NDArray[np.bool_]
    among: npt.NDArray[np.bool_] | None
    loss: float

    @property
    def accuracy(self) -> float:
        """Fraction of correct best guesses, 0 to 1."""
        return float(self.right.mean())


def ask(network: nn.Module, view: View, choice: Choice, device: torch.device, exam: Exam) -> Answers:
    """Return the predictions of `network` for an evaluation set; it is left in the mode it was in.

    Args:
        network: returns logits; on `device`.
        view: the view for the network; the centre of the images, without augmentation.
        choice: precision and memory layout.
        device: the device of the network.
        exam: the evaluation set, of one image or more.
    """
    was_training = network.training
    network.eval()
    large = max(view.resize or view.crop) > SMALL
    order = _pieces(exam.places, LARGE_BATCH if large else SMALL_BATCH)
    right: list[torch.Tensor] = []
    among: list[torch.Tensor] = []
    loss = 0.0
    with torch.inference_mode():
        for places, images in zip(order, exam.pixels.batches(order), strict=True):
            plain = view.plain(images.to(device)).contiguous(memory_format=choice.layout)
            with choice.autocast(device):
                logits = network(plain)
                if exam.mirrored:
                    logits = (logits + network(plain.flip(3).contiguous(memory_format=choice.layout))) / 2
            labels = torch.from_numpy(exam.labels[places]).to(device)
            loss += float(cross_entropy(logits.float(), labels, reduction="sum"))
            right.append((logits.argmax(1) == labels).cpu())
            if logits.shape[1] > 2 * TOP:
                among.append((logits.topk(TOP, 1).indices == labels[:, None]).any(1).cpu())
    network.train(was_training)
    found = torch.cat(among).numpy() if among else None
    return Answers(torch.cat(right).numpy(), found, loss / len(exam.places))


def _pieces(places: Ints, batch: int) -> list[Ints]:
    return [places[start : start + batch] for start in range(0, len(places), batch)]
