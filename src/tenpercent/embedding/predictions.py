"""Predictions of a network for a labelled set, without augmentation."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from ..data.store.embeddings import in_batches
from .augment import Ints, PixelSource, View
from .precision import Choice
from .settings import SMALL

TOP = 5  # with more than twice as many classes, the five most probable ones are compared as well
SMALL_BATCH, LARGE_BATCH = 256, 32


@dataclass(frozen=True, eq=False)
class EvaluationPixels:
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
class Predictions:
    """Predictions of a network, compared with the labels.

    Attributes:
        correct: bool[k], whether the most probable class is the label.
        among_top: bool[k], whether the label is among the five most probable classes; None up to ten classes.
        loss: the mean cross-entropy, without smoothing or class weights.
    """

    correct: npt.NDArray[np.bool_]
    among_top: npt.NDArray[np.bool_] | None
    loss: float

    @property
    def accuracy(self) -> float:
        """Fraction of correct predictions, 0 to 1."""
        return float(self.correct.mean())


def predict(
    network: nn.Module, view: View, choice: Choice, device: torch.device, evaluation: EvaluationPixels
) -> Predictions:
    """Return the predictions of `network` for an evaluation set; it is left in the mode it was in.

    Args:
        network: returns logits; on `device`.
        view: the view for the network; the centre of the images, without augmentation.
        choice: precision and memory layout.
        device: the device of the network.
        evaluation: the evaluation set, of one image or more.
    """
    was_training = network.training
    network.eval()
    batch = LARGE_BATCH if max(view.resize or view.crop) > SMALL else SMALL_BATCH
    order = [evaluation.places[cut] for cut in in_batches(len(evaluation.places), batch)]
    correct: list[torch.Tensor] = []
    among: list[torch.Tensor] = []
    loss = 0.0
    with torch.inference_mode():
        for places, images in zip(order, evaluation.pixels.batches(order), strict=True):
            plain = view.plain(images.to(device)).contiguous(memory_format=choice.layout)
            with choice.autocast(device):
                logits = network(plain)
                if evaluation.mirrored:
                    logits = (logits + network(plain.flip(3).contiguous(memory_format=choice.layout))) / 2
            labels = torch.from_numpy(evaluation.labels[places]).to(device)
            loss += float(cross_entropy(logits.float(), labels, reduction="sum"))
            correct.append((logits.argmax(1) == labels).cpu())
            if logits.shape[1] > 2 * TOP:
                among.append((logits.topk(TOP, 1).indices == labels[:, None]).any(1).cpu())
    network.train(was_training)
    among_top = torch.cat(among).numpy() if among else None
    return Predictions(torch.cat(correct).numpy(), among_top, loss / len(evaluation.places))
