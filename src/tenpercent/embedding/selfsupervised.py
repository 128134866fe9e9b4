"""Self-supervised training: a network learns to recognise the other view of an image among those of all others.

SimCLR (Chen et al., 2020, arXiv 2002.05709): the loss is `lightly`'s, and the views are made by `views`.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from torch import nn

from ..data.store.files import fingerprint
from ..errors import TenpercentError, UsageError, require
from .augment import Ints, PixelSource, View
from .hub import config_of
from .loop import TrainingJob
from .networks import Layered, Size, TimmBody, TimmResNet, Unlabelled, build
from .settings import SelfSupervised, Timm
from .training import Trained, known_by, run_job, seeded, training_length
from .views import Strength, Variations, draw, views
from .weights import load_weights, model_view, untrained_model

TEMPERATURE = 0.2
COLLAPSED = 0.01  # below this spread all images have nearly the same vector
SAMPLE = 1000  # images from which the spread is computed, evenly spaced


@dataclass(frozen=True, eq=False)
class ViewPair:
    """Variations for the two views of each image of a batch."""

    first: Variations
    second: Variations

    def part(self, which: slice) -> ViewPair:
        """Return the variations of some of the images."""
        return ViewPair(self.first.part(which), self.second.part(which))


@dataclass(frozen=True, eq=False)
class ContrastiveTask:
    """Task: to tell the other view of each image from all other views of the batch.

    Attributes:
        view: the view for the network.
        criterion: the loss of two sets of vectors, float[k, d] each, of the views of the same images in the same order.
    """

    view: View
    criterion: nn.Module = field(default_factory=lambda: _contrast())

    def draw(self, random: np.random.Generator, places: Ints, epoch: int, size: Size) -> ViewPair:
        """Draw two views of each image."""
        strength = Strength.of(size)
        return ViewPair(draw(random, len(places), strength), draw(random, len(places), strength))

    def inputs(self, images: torch.Tensor, drawn: ViewPair) -> torch.Tensor:
        """Return the first views of all images and then the second ones, normalised."""
        size = self.view.resize or self.view.crop
        both = [views(images, variations, size) for variations in (drawn.first, drawn.second)]
        return self.view.normalised(torch.cat(both))

    def loss(self, outputs: torch.Tensor, places: Ints) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the mean contrastive loss, and the number of images nearest to their other view; views count half."""
        first, second = outputs.float().chunk(2)
        with torch.no_grad():
            unit = nn.functional.normalize(torch.cat([first, second]), dim=1)
            likeness = (unit @ unit.T).fill_diagonal_(-2)
            other = torch.arange(len(unit), device=unit.device).roll(len(first))
            found = (likeness.argmax(1) == other).sum() / 2
        loss: torch.Tensor = self.criterion(first, second)
        return loss, found


def train_unlabelled(pixels: PixelSource, settings: SelfSupervised, folder: Path) -> Trained:
    """Train a network on images without labels, resume that, or load the finished network.

    Args:
        pixels: m images, all of which are used.
        settings: network, dim, length and so on.
        folder: for the files of the training run, see `loop.TrainingJob`.

    Returns:
        The network with `facts`, among them ``spread`` (see `spread`).

    Raises:
        UsageError: see `check_images`; or the weights are not those of the network.
        StageError: the folder holds another training run.
        TenpercentError: the loss became nan or infinite, or the vectors collapsed.
    """
    check_images(settings, pixels)
    network, view = start_of(settings, pixels)
    trained = run_job(
        TrainingJob(
            pixels=pixels,
            places=np.arange(len(pixels), dtype=np.int64),
            network=network,
            task=ContrastiveTask,
            settings=settings,
            length=training_length(len(pixels), settings),
            origin=fingerprint([known_by(settings), list(pixels.size), len(pixels)]),
            folder=folder,
            view=view,
        )
    )
    found = spread(trained, pixels)
    if found < COLLAPSED and not _all_equal(pixels):
        raise TenpercentError(
            f"training collapsed: all images have nearly the same vector (spread {found:.2g}, below {COLLAPSED:g}); "
            "train in another folder with more --epochs or another --seed"
        )
    return replace(trained, facts={**trained.facts, "dim": settings.dim, "spread": round(found, 4)})


def start_of(settings: SelfSupervised, pixels: PixelSource) -> tuple[Unlabelled, View | None]:
    """Return the network with its initial weights, random or from a file, and the view that belongs to a file's.

    Raises:
        UsageError: the weights are not those of the network.
    """
    network = network_for(settings, pixels.size)
    if settings.weights is None:
        return network, None
    model = timm_part(network)
    load_weights(model, settings.weights)
    view, side = model_view(model, pixels), settings.side
    return network, view if side is None else replace(view, resize=(side, side))


def timm_part(network: Unlabelled) -> nn.Module:
    """Return the model of timm within a network, which has another last layer."""
    assert isinstance(network.body, TimmResNet | TimmBody)
    model: nn.Module = network.body.body
    return model


def network_for(settings: SelfSupervised, size: Size) -> Unlabelled:
    """Return the network with random weights determined by the seed.

    Args:
        settings: its name or depth, and its width.
        size: height and width of the images.

    Raises:
        UsageError: there is no such network, or its last layer has fewer values than `dim`.
    """
    with seeded(settings.seed):
        body: Layered | TimmBody
        if settings.network is None or settings.weights is None or settings.network.startswith("resnetv2_"):
            found = build(settings.network, settings.depth, 0, size)
            assert isinstance(found, Layered)  # the names that `check_network` lets through
            body = found
        else:
            timm = Timm(settings.network, side=settings.side, seed=settings.seed)
            body = TimmBody(settings.network, untrained_model(timm))
        return Unlabelled(body, settings.dim, pretrained=settings.weights is not None)


def check_images(settings: SelfSupervised, pixels: PixelSource) -> None:
    """Raise `UsageError` for a single image, or a `dim` too large for the network for images of this size."""
    if len(pixels) < 2:
        raise UsageError(
            f"self-supervised training needs at least 2 images, got {len(pixels)}; give more, or use "
            "--embedder pretrained"
        )
    with torch.device("meta"):  # no weights are allocated
        network_for(settings, pixels.size)


def check_network(settings: SelfSupervised) -> None:
    """Raise `UsageError` for an unsuitable network, weights or dim, or where the library for training is missing.

    Without a named network, the images determine the network, and `dim` is checked once it is known.
    """
    require("lightly.loss", "selfsupervised")
    check_body(settings)


def check_body(settings: SelfSupervised) -> None:
    """Raise `UsageError` for an unsuitable network, weights or dim."""
    if settings.network is None:
        with torch.device("meta"):  # the depth is checked, no weights are allocated
            build(None, settings.depth, 0, (1, 1))
        return
    if settings.weights is not None:
        config_of(settings.network)
    network = network_for(settings, (1, 1))
    if settings.weights is not None:
        load_weights(timm_part(network), settings.weights)


def spread(trained: Trained, pixels: PixelSource) -> float:
    """Return the spread of the vectors over the sphere: 0 where all have one direction, 1 where none prevails.

    It is the root of the summed variances of the unit vectors' values, √(1 − |mean|²), over up to 1,000 images.
    """
    network = trained.network
    assert isinstance(network, Unlabelled)
    chosen = _sample(pixels)
    total, count = torch.zeros(network.widths["end"], dtype=torch.float64), 0
    for images in pixels.batches(np.array_split(chosen, -(-len(chosen) // 64))):
        with torch.inference_mode(), trained.choice.autocast(trained.device):
            plain = trained.view.plain(images.to(trained.device))
            end = network.features(plain.contiguous(memory_format=trained.choice.layout))["end"]
        total += nn.functional.normalize(end.cpu().double(), dim=1).sum(0)
        count += len(images)
    return float((1 - (total / count).square().sum()).clamp(min=0).sqrt())


def _sample(pixels: PixelSource) -> Ints:
    return np.linspace(0, len(pixels) - 1, min(len(pixels), SAMPLE)).round().astype(np.int64)


def _all_equal(pixels: PixelSource) -> bool:
    """Return whether the images of the spread are all equal: then their vectors should be, too."""
    chosen = _sample(pixels)
    first = next(iter(pixels.batches([chosen[:1]])))
    return all(
        bool((images == first).all()) for images in pixels.batches(np.array_split(chosen, len(chosen)))
    )


def _contrast() -> nn.Module:
    """Return the contrastive loss of `lightly`, which takes the two views of a batch (NT-Xent)."""
    loss: nn.Module = require("lightly.loss", "selfsupervised").NTXentLoss(temperature=TEMPERATURE)
    return loss
