"""Preparation of uint8 pixels for a network: crop, flip and normalise, a whole batch at a time on its device."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Any, Protocol, Self

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional

from .networks import Size
from .recipe import DEFAULT, Recipe, Statistics
from .settings import SMALL

CROP = 7 / 8  # of the side of larger images: 224 of 256 pixels
SAMPLE = 4096  # images, evenly spaced, from which mean and deviation are computed
# Mean and deviation of each channel for models of ImageNet, on the scale 0 to 255.
IMAGENET = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)

Ints = npt.NDArray[np.int64]


class PixelSource(Protocol):
    """Images of one size, as in `pixels.Pixels`."""

    @property
    def noun(self) -> str:
        """What one of them is called: see `ImageSource.noun`."""
        ...

    @property
    def size(self) -> Size:
        """Height and width."""
        ...

    def __len__(self) -> int: ...

    def batches(self, order: Iterable[Ints]) -> Iterator[torch.Tensor]:
        """Yield uint8[k, 3, h, w], channels last in memory, for each array of positions in `order`."""
        ...


@dataclass(frozen=True, eq=False)
class Crops:
    """Crops of the images of a batch.

    Attributes:
        top, left: int64[k], the crop's corner; below zero it extends over the edge.
        flip: bool[k], whether it is mirrored, left to right.
    """

    top: Ints
    left: Ints
    flip: npt.NDArray[np.bool_]

    def part(self, which: slice) -> Crops:
        """Return the crops of some of the images."""
        return Crops(self.top[which], self.left[which], self.flip[which])


@dataclass(frozen=True)
class View:
    """Conversion of pixels to the float32 images that a network takes.

    Attributes:
        mean, std: of each channel, on the scale 0 to 255.
        crop: height and width of what the network sees, before `resize`.
        pad: pixels by which a training crop may extend over the edge; they show the image mirrored there.
        resize: height and width that the crop is scaled to (for models with a fixed size), or None.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    crop: Size
    pad: int
    resize: Size | None = None

    @classmethod
    def of(
        cls,
        pixels: PixelSource,
        recipe: Recipe = DEFAULT,
        places: Ints | None = None,
    ) -> Self:
        """Return the view for training from scratch.

        Up to 64 pixels the crop is the image itself, extending over the edge as the recipe says, else by an eighth
        of its shorter side (4 of 32, as in the paper's CIFAR experiments); for larger ones seven eighths of the canvas,
        224 of 256. Mean and deviation are those of the data (4,096 images, evenly spaced, or all if fewer), or
        ImageNet's.

        Args:
            pixels: m images.
            recipe: gives `pad`, and the source of mean and deviation.
            places: int64[k], the images to compute these from; None for all.
        """
        height, width = pixels.size
        small = max(height, width) <= SMALL
        crop = (height, width) if small else (int(CROP * height), int(CROP * width))
        mean, std = (
            IMAGENET if recipe.statistics is Statistics.IMAGENET else channel_statistics(pixels, places)
        )
        pad = min(height, width) // 8 if recipe.pad is None else recipe.pad
        return cls(mean, std, crop, pad if small else 0)

    def plain(self, images: torch.Tensor) -> torch.Tensor:
        """Return the centre of the images, normalised.

        Args:
            images: uint8[k, 3, h, w] on any device.

        Returns:
            float32[k, 3, *(resize or crop)], channels last in memory.
        """
        top, left = (images.shape[2] - self.crop[0]) // 2, (images.shape[3] - self.crop[1]) // 2
        return self._resized(images[:, :, top : top + self.crop[0], left : left + self.crop[1]])

    def draw(self, random: np.random.Generator, count: int, size: Size) -> Crops:
        """Draw a crop for each of `count` images of `size`, mirrored with probability ½."""
        height, width = size
        return Crops(
            top=random.integers(-self.pad, height - self.crop[0] + self.pad + 1, count),
            left=random.integers(-self.pad, width - self.crop[1] + self.pad + 1, count),
            flip=random.integers(0, 2, count).astype(np.bool_),
        )

    def varied(self, images: torch.Tensor, crops: Crops) -> torch.Tensor:
        """Return the crops of the images, normalised.

        Args:
            images: uint8[k, 3, h, w] on any device.
            crops: one per image.

        Returns:
            float32[k, 3, *(resize or crop)], channels last in memory.
        """
        count, _, height, width = images.shape
        rows = _mirrored(crops.top[:, None] + np.arange(self.crop[0]), height)
        columns = _mirrored(crops.left[:, None] + np.arange(self.crop[1]), width)
        columns[crops.flip] = columns[crops.flip, ::-1]
        starts = torch.from_numpy((rows + np.arange(count)[:, None] * height) * width).to(images.device)
        index = starts[:, :, None] + torch.from_numpy(columns).to(images.device)[:, None, :]
        flat = images.permute(0, 2, 3, 1).reshape(count * height * width, 3)
        chosen = flat.index_select(0, index.reshape(-1)).view(count, *self.crop, 3)
        return self._resized(chosen.permute(0, 3, 1, 2))

    def normalised(self, images: torch.Tensor) -> torch.Tensor:
        """Return images with values from 0 to 255, normalised, channels last in memory, at their own size."""
        mean = torch.tensor(self.mean, device=images.device).view(3, 1, 1)
        std = torch.tensor(self.std, device=images.device).view(3, 1, 1)
        return images.to(torch.float32, memory_format=torch.channels_last, copy=True).sub_(mean).div_(std)

    def as_json(self) -> dict[str, Any]:
        """Return the view as a run folder stores it, for `from_json`."""
        return asdict(self)

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> Self:
        """Return the view stored by `as_json`."""
        given: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in content.items()}
        return cls(**given)

    def _resized(self, images: torch.Tensor) -> torch.Tensor:
        out = self.normalised(images)
        if self.resize is not None and self.resize != self.crop:
            out = functional.interpolate(out, self.resize, mode="bilinear", antialias=True)
        return out


def spread(places: Ints, count: int) -> Ints:
    """Return `count` of the places, evenly spaced, or all where there are fewer."""
    return places[np.linspace(0, len(places) - 1, min(len(places), count)).round().astype(np.int64)]


def channel_statistics(
    pixels: PixelSource, places: Ints | None = None
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return mean and standard deviation of each channel on the scale 0 to 255; a deviation is at least 1.

    They are computed from counts of the 256 values, so neither order nor batches matter.

    Args:
        pixels: m images.
        places: int64[k], positions of the images; None for all.
    """
    chosen = spread(np.arange(len(pixels)) if places is None else places, SAMPLE)
    counts = np.zeros((3, 256), dtype=np.int64)
    for images in pixels.batches(np.array_split(chosen, -(-len(chosen) // 256))):
        for channel in range(3):
            counts[channel] += torch.bincount(images[:, channel].reshape(-1), minlength=256).cpu().numpy()
    values = np.arange(256)
    share = counts / counts.sum(1, keepdims=True)
    mean = share @ values
    std = np.sqrt(np.maximum(share @ values**2 - mean**2, 1.0))
    return tuple(mean.tolist()), tuple(std.tolist())


def _mirrored(index: Ints, side: int) -> Ints:
    """Return positions mirrored into [0, side), for those up to `side` − 1 beyond."""
    found: Ints = (side - 1) - np.abs((side - 1) - np.abs(index))
    return found
