"""Random views of images for training without labels: crop, flip, colours and blur, a whole batch at a time.

The transformations are those of SimCLR (Chen et al., 2020, arXiv 2002.05709, appendix A), drawn for each image. They
work on tensors, on the device: image by image through Pillow they would take longer than the network.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional

from .networks import Size
from .settings import SMALL

GREY = np.array([0.299, 0.587, 0.114], dtype=np.float32)  # luminance of red, green and blue (ITU-R BT.601)
FLIPPED, JITTERED, GREYED, BLURRED = 0.5, 0.8, 0.2, 0.5  # fractions of the views
SIGMA = (0.1, 2.0)  # of the blur, in pixels
ASPECT = (3 / 4, 4 / 3)

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Strength:
    """Strength of the variations of a view.

    Attributes:
        area: the least fraction of the image's area that a crop shows.
        light: brightness, contrast and saturation are multiplied by 1 − light to 1 + light.
        hue: hues are rotated by up to this fraction of a circle.
        blur: whether half of the views are blurred.
    """

    area: float
    light: float
    hue: float
    blur: bool

    @classmethod
    def of(cls, size: Size) -> Strength:
        """Return SimCLR's strength for images of a size: half the colours, no blur and no tiny crop up to 64 pixels."""
        return cls(0.2, 0.4, 0.1, False) if max(size) <= SMALL else cls(0.08, 0.8, 0.2, True)


@dataclass(frozen=True, eq=False)
class Variations:
    """Variations that make a view of each image of a batch.

    Attributes:
        place: float32[k, 2, 3], from positions in the view to positions in the image, both from −1 to 1.
        colour: float32[k, 3, 3], by which each pixel's colour is multiplied ...
        shift: float32[k], ... and the multiple of the image's mean brightness that is added.
        sigma: float32[k], of the blur in pixels; 0 for none.
    """

    place: Floats
    colour: Floats
    shift: Floats
    sigma: Floats

    def part(self, which: slice) -> Variations:
        """Return the variations of some of the images."""
        return Variations(self.place[which], self.colour[which], self.shift[which], self.sigma[which])


def draw(random: np.random.Generator, count: int, strength: Strength) -> Variations:
    """Draw the variations for views of `count` images."""
    area = random.uniform(strength.area, 1.0, count)
    aspect = np.exp(random.uniform(math.log(ASPECT[0]), math.log(ASPECT[1]), count))
    width, height = np.minimum(np.sqrt(area * aspect), 1.0), np.minimum(np.sqrt(area / aspect), 1.0)
    place = np.zeros((count, 2, 3))
    place[:, 0, 0] = np.where(random.random(count) < FLIPPED, -width, width)
    place[:, 1, 1] = height
    place[:, 0, 2] = (1 - width) * random.uniform(-1, 1, count)
    place[:, 1, 2] = (1 - height) * random.uniform(-1, 1, count)
    jittered = random.random(count) < JITTERED
    bright, contrast, saturation = np.where(
        jittered, random.uniform(1 - strength.light, 1 + strength.light, (3, count)), 1.0
    )
    turn = np.where(jittered, random.uniform(-strength.hue, strength.hue, count), 0.0)
    saturation[random.random(count) < GREYED] = 0.0
    blurred = strength.blur * (random.random(count) < BLURRED)
    return Variations(
        place=place.astype(np.float32),
        colour=((bright * contrast)[:, None, None] * colours(saturation, turn)).astype(np.float32),
        shift=(bright * (1 - contrast)).astype(np.float32),
        sigma=(blurred * random.uniform(*SIGMA, count)).astype(np.float32),
    )


def colours(saturation: npt.NDArray[np.float64], turn: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return colour matrices: rotate the hue around the axis of greys, then change the saturation.

    Args:
        saturation: float64[k], 0 for grey, 1 for unchanged.
        turn: float64[k], fractions of a circle.

    Returns:
        float64[k, 3, 3]; greys stay unchanged.
    """
    axis = np.full((3, 3), 1 / 3)
    across = np.array([[0, -1, 1], [1, 0, -1], [-1, 1, 0]]) / np.sqrt(3)
    angle = 2 * np.pi * turn[:, None, None]
    turned = axis + np.cos(angle) * (np.eye(3) - axis) + np.sin(angle) * across
    share = saturation[:, None, None]
    kept: npt.NDArray[np.float64] = (share * np.eye(3) + (1 - share) * np.tile(GREY, (3, 1))) @ turned
    return kept


def views(images: torch.Tensor, variations: Variations, size: Size) -> torch.Tensor:
    """Return a view of each image.

    Args:
        images: uint8[k, 3, h, w] on any device.
        variations: one per image.
        size: height and width of the views.

    Returns:
        float32[k, 3, *size], values from 0 to 255, not normalised.
    """
    device = images.device
    place, colour, shift, sigma = (
        torch.from_numpy(given).to(device)
        for given in (variations.place, variations.colour, variations.shift, variations.sigma)
    )
    count = len(images)
    where = functional.affine_grid(place, [count, 3, *size], align_corners=False)
    plain = images.to(torch.float32, memory_format=torch.contiguous_format)
    out = functional.grid_sample(plain, where, padding_mode="reflection", align_corners=False).flatten(2)
    mean = (torch.from_numpy(GREY).to(device) @ out).mean(1)
    out = torch.baddbmm((shift * mean)[:, None, None], colour, out).clamp_(0, 255).view(count, 3, *size)
    return blurred(out, sigma) if bool((variations.sigma > 0).any()) else out


def blurred(images: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
    """Return images blurred by a Gaussian each, down the columns and then along the rows.

    Args:
        images: float32[k, c, h, w].
        sigma: float32[k], in pixels; 0 leaves an image as it is.
    """
    count, channels, height, width = images.shape
    reach = int(3 * SIGMA[1])
    steps = torch.arange(-reach, reach + 1, device=images.device)
    weights = torch.exp(-0.5 * (steps / sigma.clamp(min=1e-3)[:, None]) ** 2)
    weights = (weights / weights.sum(1, keepdim=True)).repeat_interleave(channels, 0)
    flat = images.reshape(1, count * channels, height, width)
    down = functional.pad(flat, (0, 0, reach, reach), mode="reflect")
    down = functional.conv2d(down, weights[:, None, :, None], groups=count * channels)
    along = functional.pad(down, (reach, reach, 0, 0), mode="reflect")
    out = functional.conv2d(along, weights[:, None, None, :], groups=count * channels)
    return out.view(count, channels, height, width)
