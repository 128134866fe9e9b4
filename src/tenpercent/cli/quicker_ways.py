"""Quicker ways to embed the same images, each with its estimated time, for a dry run to list."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from ..embedding.settings import SMALL, Precision, SelfSupervised, Supervised, Timm
from ..evaluation.presets import preset
from ..linkage.threads import cpus

if TYPE_CHECKING:
    from ..embedding.encoders import Embedder
    from ..embedding.estimate import Estimate, Sample

LONG = 60.0  # seconds below which no quicker way is sought
WORTH = 0.7  # the largest share of the time that is worthwhile
BUDGET = 0.5  # seconds of timing for each way
PRESET = "quick"
SIDE = 64  # up to this side photos get the network for small images
PRESET_SIDE = 32  # the side that the preset was made for


@dataclass(frozen=True)
class Way:
    """Another way to embed: its flags, its total seconds, and its drawback."""

    flags: str
    seconds: float
    but: str


def quicker(sample: Sample, embedder: Embedder, expected: Estimate) -> list[Way]:
    """Return the ways that take at most `WORTH` of the expected time, the quickest first; none where that is short."""
    from ..embedding.estimate import estimate

    if expected.seconds < LONG:
        return []
    found = [
        Way(flags, estimate(seen, other, BUDGET).seconds, but)
        for flags, seen, other, but in _others(sample, embedder)
    ]
    trains = isinstance(embedder, Supervised | SelfSupervised)
    if isinstance(embedder, SelfSupervised) or (trains and sample.found.sizes.max() > SMALL):
        found.append(Way("--embedder pretrained", _pretrained(sample), "not trained on these images"))
    if trains and expected.epochs > 1:
        half = expected.epochs // 2
        seconds = expected.seconds - expected.stages["train"] * (1 - half / expected.epochs)
        found.append(Way(f"--epochs {half}", seconds, "shorter training"))
    return sorted(
        (way for way in found if way.seconds <= WORTH * expected.seconds), key=lambda way: way.seconds
    )


def suits(size: tuple[int, int]) -> bool:
    """Return whether the network of the quick preset takes images of a size."""
    from ..embedding.fast import LEAST

    return LEAST <= min(size) <= max(size) <= SMALL


def _pretrained(sample: Sample) -> float:
    """Return the seconds in which the pretrained network embeds all images."""
    from ..embedding.pretrained import PretrainedNetwork
    from ..embedding.timing import fastest

    network, image = PretrainedNetwork(), sample.found.pixels.made(0, np.array)
    return sample.n * (sample.read + fastest(lambda: network.vector(image), BUDGET)) / cpus()


def _others(sample: Sample, embedder: Embedder) -> Iterator[tuple[str, Sample, Embedder, str]]:
    """Yield other embedders: the flags, the sample at the size they see, the embedder, its drawback."""
    large = max(sample.found.pixels.size) > SMALL
    own = preset(PRESET).training
    if isinstance(embedder, Timm):
        if not embedder.finetune and embedder.precision == Precision.AUTO:
            half = replace(embedder, precision=Precision.BFLOAT16)
            yield "--precision bf16", sample, half, "vectors of 3 digits instead of 7"
        if embedder.finetune:
            yield "no --finetune", sample, replace(embedder, finetune=False), "the model's own weights"
    if isinstance(embedder, Supervised) and embedder.network != own.network:
        seen = sample.at(PRESET_SIDE) if large else sample
        if suits(seen.found.pixels.size):
            flags = f"--preset {PRESET}" + (f" --side {PRESET_SIDE}" if large else "")
            other = replace(own, side=PRESET_SIDE) if large else own
            yield flags, seen, other, "narrow network, lower accuracy"
    if not isinstance(embedder, Supervised | SelfSupervised):
        return
    if large and embedder.network is None:
        but = "small photos, by the network for small images"
        yield f"--side {SIDE}", sample.at(SIDE), replace(embedder, side=SIDE), but
