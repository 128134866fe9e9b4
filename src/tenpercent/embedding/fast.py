"""Small network that learns images of 16 to 64 pixels in few epochs, for CPUs.

After the speed records for CIFAR-10 (Page, "How to Train Your ResNet", 2018; Jordan, "94% on CIFAR-10 in 3.29 Seconds
on a Single GPU", arXiv 2404.00498), from which it takes the whitening first layer, convolutions that begin as the
identity, early pooling and normalisation without scales, and the widths of the widest. The others' are ours.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.functional import gelu, max_pool2d

from .settings import FAST_WIDTHS

LEAST = 16  # pixels per side: three poolings leave one
PATCH = 2  # pixels per side of the patches that the first layer whitens
SCALE = 1 / 9  # of the logits
NOISE = 5e-4  # added to the variances of the patches, so that the faintest are not amplified
# Directions of less variance are not used: grey images have 4 that vary, and 8 of rounding errors.
FAINT = NOISE / 10
FORGETTING = 0.1  # weight of the newest batch in the running statistics


class Group(nn.Module):
    """Two 3×3 convolutions, the first one pooled, each followed by normalisation and GELU."""

    def __init__(self, width_in: int, width: int) -> None:
        super().__init__()
        self.conv1 = _convolution(width_in, width)
        self.norm1 = _normalisation(width)
        self.conv2 = _convolution(width, width)
        self.norm2 = _normalisation(width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return float[k, width, h // 2, w // 2] for float[k, width_in, h, w]."""
        x = gelu(self.norm1(max_pool2d(self.conv1(x), 2)))
        return gelu(self.norm2(self.conv2(x)))


class FastNetwork(nn.Module):
    """Fixed whitening layer, three groups of two convolutions, maximum over space, and classifier.

    Attributes:
        name: ``fast``, ``fast-narrow`` or ``fast-wide``.
        widths: the number of values of each layer of `features`.
    """

    def __init__(self, n_classes: int, name: str = "fast") -> None:
        super().__init__()
        self.name = name
        directions = 3 * PATCH * PATCH
        widths = FAST_WIDTHS[name]
        self.widths = {"start": 2 * directions, "middle": widths[1], "end": widths[2]}
        self.whitening = nn.Conv2d(3, 2 * directions, PATCH)
        self.whitening.weight.requires_grad_(False)
        self.groups = nn.ModuleList(
            Group(width_in, width)
            for width_in, width in zip((2 * directions, *widths[:-1]), widths, strict=True)
        )
        self.classifier = nn.Linear(widths[2], n_classes, bias=False)
        nn.init.zeros_(self.whitening.bias)  # type: ignore[arg-type]

    def whiten(self, images: torch.Tensor) -> None:
        """Set the first layer so that its outputs over the patches of these images are uncorrelated, of variance 1.

        Each direction occurs twice, with both signs, as a GELU follows. Where some are fainter than `FAINT`, as in grey
        images, the others occur again in their place, the strongest first: normalisation would amplify their rounding
        errors, and gradients explode.

        Args:
            images: float32[k, 3, h, w], normalised.
        """
        patches = images.double().unfold(2, PATCH, 1).unfold(3, PATCH, 1).permute(0, 2, 3, 1, 4, 5)
        flat = patches.reshape(-1, 3 * PATCH * PATCH)
        variances, directions = torch.linalg.eigh(flat.T @ flat / len(flat))
        filters = (directions / (variances + NOISE).sqrt()).T.reshape(-1, 3, PATCH, PATCH).float()
        faint = min(int((variances < FAINT).sum()), len(filters) - 1)
        if faint:
            strongest = filters.flip(0)[: len(filters) - faint]
            filters[:faint] = strongest[torch.arange(faint) % len(strongest)]
        with torch.no_grad():
            self.whitening.weight.copy_(torch.cat([filters, -filters]))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the logits, float[k, n_classes], of normalised images float[k, 3, h, w]."""
        x = gelu(self.whitening(x))
        for group in self.groups:
            x = group(x)
        logits: torch.Tensor = self.classifier(x.amax((2, 3))) * SCALE
        return logits

    def features(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return the pooled layers of normalised images float[k, 3, h, w].

        ``start`` after the whitening layer, ``middle`` after the second group, ``end`` the input of the classifier: the
        maximum over space, not the mean.
        """
        start = gelu(self.whitening(x))
        middle = self.groups[1](self.groups[0](start))
        end = self.groups[2](middle)
        return {"start": start.mean((2, 3)), "middle": middle.mean((2, 3)), "end": end.amax((2, 3))}


def _convolution(width_in: int, width: int) -> nn.Conv2d:
    """Return a convolution whose first channels pass on the input, and whose others are random filters."""
    convolution = nn.Conv2d(width_in, width, 3, padding=1, bias=False)
    with torch.no_grad():
        nn.init.dirac_(convolution.weight[: min(width_in, width)])
    return convolution


def _normalisation(width: int) -> nn.BatchNorm2d:
    norm = nn.BatchNorm2d(width, momentum=FORGETTING)
    norm.weight.requires_grad_(False)  # the next convolution scales
    return norm
