"""Options of a training run beside its learning rate, as plain frozen settings; nothing here imports torch."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Any, Self

from ..errors import UsageError, nearest


class Schedule(StrEnum):
    """Decay of the learning rate after its linear warm-up."""

    COSINE = "cosine"  # half a cosine towards 0 (the paper, section 4)
    LINEAR = "linear"  # a straight line towards 0
    DROPS = "drops"  # constant, multiplied by `drop_factor` at each of `drops`


class Flip(StrEnum):
    """Choice of the images that are mirrored, left to right, in training."""

    RANDOM = "random"  # each with probability ½ in every epoch
    ALTERNATE = "alternate"  # each in exactly every second epoch, starting at random
    NONE = "none"


class Statistics(StrEnum):
    """Source of the mean and deviation for normalising images."""

    DATA = "data"  # of the images trained on
    IMAGENET = "imagenet"


@dataclass(frozen=True)
class Recipe:
    """Options of a training run beside its rate, momentum and weight decay.

    Attributes:
        schedule: decay of the learning rate.
        warm_up: the fraction of all steps over which the rate rises; the paper's 2,500 of 100,000.
        drops: for `Schedule.DROPS`, the fractions of all steps at which the rate drops.
        drop_factor: the factor of each drop.
        nesterov: whether the momentum is Nesterov's.
        bias_rate: the rate of biases and normalisation scales, as a multiple of the others' rate.
        bias_decay: whether weight decay applies to those too.
        smoothing: label smoothing: the part of a label that is spread evenly over all classes.
        class_weights: whether the loss of class c has the weight n / (C · n_c), from the images trained on.
        pad: pixels by which a crop may extend over the edge; None for an eighth of the shorter side up to 64 pixels.
        flip: the images that are mirrored.
        statistics: source of the mean and deviation for normalising.
        small_steps: the fraction of all steps, the first ones, in which images are shown smaller: most can be learned
            from them, at a fraction of the time (Tan and Le, "EfficientNetV2", 2021, section 4).
        small_side: their height and width, as a fraction of the full size.
    """

    schedule: Schedule = Schedule.COSINE
    warm_up: float = 0.025
    drops: tuple[float, ...] = (0.6, 0.8)
    drop_factor: float = 0.1
    nesterov: bool = False
    bias_rate: float = 1.0
    bias_decay: bool = True
    smoothing: float = 0.0
    class_weights: bool = False
    pad: int | None = None
    flip: Flip = Flip.RANDOM
    statistics: Statistics = Statistics.DATA
    small_steps: float = 0.0
    small_side: float = 0.75

    def __post_init__(self) -> None:
        for name, kind in (("schedule", Schedule), ("flip", Flip), ("statistics", Statistics)):
            object.__setattr__(self, name, _member(name, kind, getattr(self, name)))
        object.__setattr__(self, "drops", tuple(self.drops))
        shares = {name: getattr(self, name) for name in ("warm_up", "smoothing", "small_steps")}
        for name, value in (*shares.items(), *(("a drop of the rate", drop) for drop in self.drops)):
            if not (math.isfinite(value) and 0 <= value < 1):
                raise UsageError(f"{name} is {value!r}; it must be a number from 0 to below 1")
        for name in ("drop_factor", "bias_rate"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0):
                raise UsageError(f"{name} is {value!r}; it must be a number above 0")
        if not (math.isfinite(self.small_side) and 0 < self.small_side <= 1):
            raise UsageError(f"small_side is {self.small_side!r}; it must be a number above 0, at most 1")
        if self.pad is not None and (not isinstance(self.pad, int) or self.pad < 0):
            raise UsageError(f"pad is {self.pad!r}; it must be a whole number of at least 0")

    def as_json(self) -> dict[str, Any]:
        """Return the options that differ from the default, so that new options leave stored recipes valid."""
        given = {
            one.name: getattr(self, one.name)
            for one in fields(self)
            if getattr(self, one.name) != one.default
        }
        return {name: list(value) if isinstance(value, tuple) else value for name, value in given.items()}

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> Self:
        """Return the recipe stored by `as_json`."""
        return cls(**content)


def _member(name: str, kind: type[StrEnum], value: str) -> StrEnum:
    known = [str(member) for member in kind]
    if value not in known:
        raise UsageError(f"{name} {value!r} is not one of {', '.join(known)}{nearest(str(value), known)}")
    return kind(value)


DEFAULT = Recipe()


def learning_rate(step: int, steps: int, highest: float, recipe: Recipe = DEFAULT) -> float:
    """Return the rate of `step` (from 0): linear warm-up to `highest`, then the recipe's schedule."""
    warm_up = round(recipe.warm_up * steps)
    if step < warm_up:
        return highest * (step + 1) / warm_up
    if recipe.schedule is Schedule.DROPS:
        passed = sum(step >= round(drop * steps) for drop in recipe.drops)
        return highest * float(recipe.drop_factor**passed)
    done = (step - warm_up) / (steps - warm_up)
    if recipe.schedule is Schedule.LINEAR:
        return highest * (1 - done)
    return highest * 0.5 * (1 + math.cos(math.pi * (step - warm_up) / (steps - warm_up)))


def shown_size(step: int, steps: int, size: tuple[int, int], recipe: Recipe = DEFAULT) -> tuple[int, int]:
    """Return height and width at which images of `size` are shown at `step` (from 0)."""
    if step >= round(recipe.small_steps * steps):
        return size
    height, width = size
    return round(recipe.small_side * height), round(recipe.small_side * width)


def shown_share(recipe: Recipe) -> float:
    """Return the fraction of all pixels that training shows: 1 where every image is shown at its full size."""
    return 1 - recipe.small_steps * (1 - recipe.small_side**2)
