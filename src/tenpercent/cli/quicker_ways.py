"""Quicker ways to embed the same images, each with its estimated time, for a dry run to list."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ..embedding.settings import Precision, SelfSupervised, Supervised, Timm
from ..evaluation.presets import preset

if TYPE_CHECKING:
    from ..embedding.encoders import Embedder
    from ..embedding.estimate import Estimate, Sample

LONG = 60.0  # seconds below which no quicker way is sought
WORTH = 0.7  # the largest share of the time that is worthwhile
BUDGET = 0.5  # seconds of timing for each way
PRESET, PRETRAINED = "quick", "timm:resnet18"
SIDE = 64  # up to this side photos get the network for small images
PRESET_SIDE = 32  # the side that the preset was made for


@dataclass(frozen=True)
class Way:
    """Another way to embed: its flags, its total seconds, and its other costs."""

    flags: str
    seconds: float
    but: str


def quicker(sample: Sample, embedder: Embedder, expected: Estimate) -> list[Way]:
    """Return the ways that take at most `WORTH` of the expected time, the quickest first; none where that is short."""
    if expected.seconds < LONG:
        return []
    found = (way for way in _ways(sample, embedder, expected) if way.seconds <= WORTH * expected.seconds)
    return sorted(found, key=lambda way: way.seconds)


def suits(size: tuple[int, int]) -> bool:
    """Return whether the network of the quick preset takes images of a size."""
    from ..embedding.fast import LEAST
    from ..embedding.networks import SMALL

    return LEAST <= min(size) <= max(size) <= SMALL


def _ways(sample: Sample, embedder: Embedder, expected: Estimate) -> Iterator[Way]:
    from ..embedding.estimate import estimate_from
    from ..embedding.networks import SMALL

    large = max(sample.found.pixels.size) > SMALL
    own = preset(PRESET).training
    if isinstance(embedder, Supervised) and embedder.network != own.network:
        at = replace(own, side=PRESET_SIDE) if large else own
        seen = sample.at(PRESET_SIDE) if large else sample
        if suits(seen.found.pixels.size):
            flags = f"--preset {PRESET}" + (f" --side {PRESET_SIDE}" if large else "")
            yield Way(flags, estimate_from(seen, at, BUDGET).seconds, "a narrow network, lower accuracy")
    if not isinstance(embedder, Supervised | SelfSupervised):
        if isinstance(embedder, Timm) and not embedder.finetune and embedder.precision == Precision.AUTO:
            half = replace(embedder, precision=Precision.BFLOAT16)
            yield Way(
                "--precision bf16",
                estimate_from(sample, half, BUDGET).seconds,
                "vectors of 3 digits, not of 7",
            )
        if isinstance(embedder, Timm) and embedder.finetune:
            plain = replace(embedder, finetune=False)
            yield Way(
                "no --finetune", estimate_from(sample, plain, BUDGET).seconds, "the weights as they come"
            )
        return
    original = sample.found.sizes.max()
    if original > SMALL or isinstance(embedder, SelfSupervised):
        model = Timm(PRETRAINED.partition(":")[2])
        seconds = estimate_from(sample, model, BUDGET).seconds
        yield Way(f"--embedder {PRETRAINED}", seconds, "pretrained: weights from the hub, or --weights FILE")
    if large and embedder.network is None:
        small = estimate_from(sample.at(SIDE), replace(embedder, side=SIDE), BUDGET).seconds
        yield Way(f"--side {SIDE}", small, "photos seen small, by the network for small images")
    if expected.epochs > 1:
        half_as_long = expected.epochs // 2
        seconds = expected.seconds - expected.stages["train"] * (1 - half_as_long / expected.epochs)
        yield Way(f"--epochs {half_as_long}", seconds, "a network trained for less long")
