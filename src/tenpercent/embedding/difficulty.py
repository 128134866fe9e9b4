"""Difficulty of each image, recorded during training: the error of the prediction, and how often it was forgotten.

The error is that of EL2N (Paul et al., "Deep Learning on a Data Diet", 2021, arXiv 2107.07075), forgetting that of
Toneva et al. ("An Empirical Study of Example Forgetting", 2019, arXiv 1812.05159). Both are measured in a training run
that takes place anyway, on the images as the network sees them, randomly cropped and mirrored.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import torch
from torch.nn.functional import one_hot, softmax

from ..data.store.embeddings import Ints
from ..data.store.scores import write_scores


@dataclass(eq=False)
class Difficulty:
    """Observations of m images so far.

    Attributes:
        labels: int64[m] on the device.
        now: float32[2, m], of the current epoch: 0 not seen yet, 1 predicted wrongly, 2 correctly; and the length of
            the difference between probabilities and label.
        before: float32[5, m], of the finished epochs: how often an image was seen; the last prediction, as in `now`;
            how often a correct prediction was followed by a wrong one; whether one was correct; the sum of the lengths
            over the first half of the epochs.
        early: number of epochs in that half.
    """

    labels: torch.Tensor
    now: torch.Tensor
    before: torch.Tensor
    early: int

    @classmethod
    def of(cls, labels: Ints, epochs: int, device: torch.device) -> Self:
        """Return the observations at the start of a training run: none."""
        m = len(labels)
        return cls(
            torch.from_numpy(labels).to(device),
            torch.zeros(2, m, device=device),
            torch.zeros(5, m, device=device),
            math.ceil(epochs / 2),
        )

    @torch.no_grad()
    def note(self, logits: torch.Tensor, places: Ints) -> None:
        """Record the logits of a batch, float[k, C], of the images at `places`."""
        which = torch.from_numpy(places).to(self.labels.device)
        labels = self.labels[which]
        truth = one_hot(labels, logits.shape[1])
        self.now[0, which] = 1.0 + (logits.argmax(1) == labels)
        self.now[1, which] = (softmax(logits.float(), 1) - truth).norm(dim=1)

    def end_epoch(self, epoch: int) -> None:
        """Add the observations of an epoch, from 1, to those of the epochs before."""
        guess, error = self.now
        times, last, forgotten, ever, errors = self.before
        times += guess > 0
        forgotten += (last == 2) & (guess == 1)
        ever += (ever == 0) & (guess == 2)
        if epoch <= self.early:
            errors += error
        last.copy_(torch.where(guess > 0, guess, last))
        self.now.zero_()

    def state(self) -> dict[str, torch.Tensor]:
        """Return the state for a checkpoint."""
        return {"now": self.now, "before": self.before}

    def load(self, state: dict[str, torch.Tensor]) -> None:
        """Restore the state of a checkpoint."""
        self.now.copy_(state["now"])
        self.before.copy_(state["before"])

    def write(self, folder: Path, places: Ints) -> None:
        """Write the scores of the images at `places`, which were trained on; larger is harder.

        ``el2n`` is the mean length of the error over the first half of the epochs, ``forgetting`` how often an image
        was predicted wrongly after a correct prediction or, if it never was predicted correctly, how often it was seen;
        both are nan for an image that was never seen.
        """
        times, _, forgotten, ever, errors = self.before.cpu().double().numpy()[:, places]
        shown = times > 0  # a training run of less than one epoch does not show all
        scores = {
            "el2n": np.where(shown, errors / np.clip(times, 1, self.early), np.nan),
            "forgetting": np.where(shown, np.where(ever > 0, forgotten, times), np.nan),
        }
        write_scores(folder, places, scores)
