"""A cut of the merges: what was asked for, checked once, and which merges it takes."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from numbers import Integral, Real
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from ..data.store.embeddings import Ints
from ..errors import UsageError, nearest
from .allotment import allot

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

ALL = -2  # the code of the one class that holds every image; −1 is the class of the images without a label


class Within(StrEnum):
    """Where merges may happen: inside each class only, or among all images."""

    CLASS = "class"
    ALL = "all"


class Budget(StrEnum):
    """How `keep` is spent: the same fraction of every class, or the lowest merges of all classes together."""

    CLASS = "class"
    GLOBAL = "global"


class Hold(StrEnum):
    """What decisions about images leave as it is: how many stay, or how high each class is cut."""

    COUNT = "count"  # an image that a decision brings back is made up for by a merge further up
    HEIGHT = "height"  # nothing is merged that would not be without decisions: fewer go, or more


Choice = TypeVar("Choice", Within, Budget, Hold)


@dataclass(frozen=True)
class CheckedCut:
    """What to take of the merges: exactly one of `keep` and `threshold` is set.

    Attributes:
        keep: the fraction of images to keep, in (0, 1].
        threshold: take every merge with height ≤ this.
        budget: how `keep` is spent.
        min_per_class: no class goes below this number of images (or its size).
        hold: what decisions leave as it is where `keep` cuts; a threshold holds the height.
    """

    keep: float | None
    threshold: float | None = None
    budget: Budget = Budget.CLASS
    min_per_class: int = 1
    hold: Hold = Hold.COUNT

    @classmethod
    def of(
        cls,
        keep: object = None,
        threshold: object = None,
        budget: object = None,
        min_per_class: object = 1,
        hold: object = None,
    ) -> CheckedCut:
        """Check what a caller gave.

        Raises:
            UsageError: a value out of its range, both or neither of `keep` and `threshold`, or a budget
                beside a threshold.
        """
        if (keep is None) == (threshold is None):
            what = (
                "neither keep nor threshold"
                if keep is None
                else f"both keep {keep!r} and threshold {threshold!r}"
            )
            raise UsageError(f"{what} given; give exactly one, e.g. keep=0.9")
        if threshold is not None and budget is not None:
            raise UsageError(
                f"budget {str(budget)!r} says how keep is spent and means nothing beside a threshold; leave it out"
            )
        return cls(
            keep=None if keep is None else checked_keep(keep),
            threshold=None if threshold is None else checked_threshold(threshold),
            budget=Budget.CLASS if budget is None else checked_choice(budget, Budget, "budget"),
            min_per_class=_checked_minimum(min_per_class),
            hold=Hold.COUNT if hold is None else checked_choice(hold, Hold, "hold"),
        )

    @property
    def asked(self) -> dict[str, Any]:
        """The cut as `Merges.select` and its like take it."""
        budget = None if self.keep is None else self.budget
        return {
            "keep": self.keep,
            "threshold": self.threshold,
            "budget": budget,
            "min_per_class": self.min_per_class,
            "hold": self.hold,
        }

    @property
    def holds_height(self) -> bool:
        """Whether `keep` says how high each class is cut, and decisions change how many stay."""
        return self.keep is not None and self.hold is Hold.HEIGHT

    def wanted(self, n: int) -> int:
        """The number of images out of `n` that `keep` asks for."""
        if self.keep is None:
            raise ValueError("a threshold asks for no number of images")
        return round(self.keep * n)


def checked_keep(keep: object) -> float:
    """Return `keep` as a float.

    Raises:
        UsageError: it is not a number in (0, 1].
    """
    value = _real(keep)
    if value is None or not 0 < value <= 1:
        remedy = "e.g. 0.9 to keep nine images in ten"
        if value is not None and 1 < value <= 100:
            remedy = f"{value / 100:g} where {value:g} percent is meant"
        elif value == 0:
            remedy = "as every class keeps at least one image, e.g. 0.1"
        raise UsageError(f"keep is {keep!r}; it must be a number above 0 and at most 1, {remedy}")
    return value


def checked_threshold(threshold: object) -> float:
    """Return `threshold` as a float.

    Raises:
        UsageError: it is not a number in [0, 2].
    """
    value = _real(threshold)
    if value is None or not 0 <= value <= 2:
        raise UsageError(
            f"threshold is {threshold!r}; it must be a number from 0 (equal) to 2 (opposite), e.g. 0.01"
        )
    return value + 0.0  # −0.0 is 0.0


def checked_choice(value: object, kind: type[Choice], name: str) -> Choice:
    """Return `value` as a member of the enum `kind`.

    Raises:
        UsageError: it is none of them.
    """
    known = [str(member) for member in kind]
    if not isinstance(value, str) or value not in known:
        raise UsageError(f"{name} is {value!r}; it must be {' or '.join(known)}{nearest(str(value), known)}")
    return kind(value)


def _checked_minimum(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, Integral) or not 1 <= int(value) < 2**63:
        raise UsageError(f"min_per_class is {value!r}; it must be a whole number from 1 to 2^63 − 1")
    return int(value)


def _real(value: object) -> float | None:
    """Return a number as a float, anything else (text, bool, a number too large for a float) as None."""
    if not isinstance(value, Real) or isinstance(value, bool | np.bool_):
        return None
    try:
        return float(value)
    except OverflowError:
        return None


# ---- which merges ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Steps:
    """Merges seen as a list to cut: the class of each, in order of (height, a, b).

    Attributes:
        sizes: int64[c], images of each class.
        smallest: int64[c], position in id order of each class's first image.
        of_class: int64[m], the index of each merge's class.
        height: float64[m], ascending.
        complete_to: float64[c], every merge of the class with height ≤ it is here; inf for the whole tree.
    """

    sizes: Ints
    smallest: Ints
    of_class: Ints
    height: Floats
    complete_to: Floats

    def taken(self, cut: CheckedCut, further: Ints | None = None) -> Bools:
        """Return which merges `cut` takes, bool[m]; supposes that the merges go deep enough (`missing` is empty).

        Args:
            cut: the cut.
            further: how many merges more of each class, int64[c], or of all with a global budget, int64[1].
        """
        if cut.keep is not None and cut.budget is Budget.CLASS:
            depths = self.depths(cut) if further is None else self.depths(cut) + further
            return self._rank < depths[self.of_class]
        allowed = self.allowed(cut)
        if cut.threshold is not None:
            return allowed & (self.height <= cut.threshold)
        removals = self.removals(cut) if further is None else self.removals(cut) + int(further[0])
        return allowed & (np.cumsum(allowed) <= removals)

    def missing(self, cut: CheckedCut, spare: Ints | None = None) -> list[Request]:
        """Return what must still be clustered before `cut` can be taken, class by class; empty when nothing.

        For a global budget the answer may take a second round: first enough merges, whose height bounds the
        cut from above, then every class up to that height.

        Args:
            cut: the cut.
            spare: how many merges more of each class must be there, int64[c]; None for none.
        """
        if cut.threshold is not None:
            return self._up_to_height(cut, cut.threshold)
        more = np.zeros(len(self.sizes), dtype=np.int64) if spare is None else spare
        if cut.budget is Budget.CLASS:
            return self._up_to_count(cut, more)
        wanted = min(self.removals(cut) + int(more.sum()), int(self._limits(cut).sum()))
        heights = self.height[self.allowed(cut)]
        if len(heights) < wanted:
            return self._up_to_count(cut, more) or self._deeper(cut)
        return self._up_to_height(cut, float(heights[wanted - 1])) if wanted else []

    def allowed(self, cut: CheckedCut) -> Bools:
        """Return the merges that leave each class its minimum, bool[m]."""
        return self._rank < self._limits(cut)[self.of_class]

    def removals(self, cut: CheckedCut) -> int:
        """Return how many images a cut by `keep` removes."""
        n = int(self.sizes.sum())
        return n - cut.wanted(n)

    def depths(self, cut: CheckedCut) -> Ints:
        """Return how many merges of each class a budget a class takes, int64[c]."""
        wanted = cut.wanted(int(self.sizes.sum()))
        return self.sizes - allot(self.sizes, self.smallest, wanted, cut.min_per_class)

    def _up_to_count(self, cut: CheckedCut, more: Ints) -> list[Request]:
        depths = np.minimum(self.depths(cut) + more, self.sizes - 1)
        short = np.isfinite(self.complete_to) & (self._stored() < depths)
        return [Request(int(c), merges=int(depths[c])) for c in np.flatnonzero(short)]

    def _deeper(self, cut: CheckedCut) -> list[Request]:
        """Where constraints leave some classes fewer merges than their share, the others make up for it."""
        stored, limits = self._stored(), self._limits(cut)
        short = np.isfinite(self.complete_to) & (stored < limits)
        return [Request(int(c), merges=int(min(2 * stored[c] + 1, limits[c]))) for c in np.flatnonzero(short)]

    def _up_to_height(self, cut: CheckedCut, height: float) -> list[Request]:
        short = (self.complete_to < height) & (self._stored() < self._limits(cut))
        return [Request(int(c), height=height) for c in np.flatnonzero(short)]

    def _limits(self, cut: CheckedCut) -> Ints:
        """Merges of each class that leave it its minimum."""
        return self.sizes - np.minimum(cut.min_per_class, self.sizes)

    def _stored(self) -> Ints:
        return np.bincount(self.of_class, minlength=len(self.sizes))

    @cached_property
    def _rank(self) -> Ints:
        """The number of each merge within its class, from 0."""
        order = np.argsort(self.of_class, kind="stable")
        starts = np.cumsum(self._stored()) - self._stored()
        rank = np.empty(len(self.of_class), dtype=np.int64)
        rank[order] = np.arange(len(order)) - starts[self.of_class[order]]
        return rank


@dataclass(frozen=True)
class Request:
    """A class to cluster deeper: at least `merges` merges of it, or all up to `height`."""

    index: int
    merges: int | None = None
    height: float | None = None
