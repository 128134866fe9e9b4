"""What a network says of images without chance, and how often it is right."""

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

TOP = 5  # a network with more classes than twice that is also asked for its five best guesses
SMALL_BATCH, LARGE_BATCH = 256, 32


@dataclass(frozen=True, eq=False)
class Exam:
    """Images that a network is asked about, with the right answers.

    Attributes:
        pixels: m images.
        labels: int64[m], of those at `places` at least 0.
        places: int64[k], which of them are asked about.
        mirrored: whether the logits are the mean of those of the image and of its mirror image.
    """

    pixels: PixelSource
    labels: Ints
    places: Ints
    mirrored: bool = False


@dataclass(frozen=True, eq=False)
class Answers:
    """What a network said.

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
        """The share of right best guesses, 0 to 1."""
        return float(self.right.mean())


def ask(network: nn.Module, view: View, choice: Choice, device: torch.device, exam: Exam) -> Answers:
    """Return what `network` says of the images of an exam; it is left in the mode it was in.

    Args:
        network: gives logits; on `device`.
        view: what it takes; the centre of the images, without chance.
        choice: precision and layout.
        device: where it is.
        exam: one image or more.
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
