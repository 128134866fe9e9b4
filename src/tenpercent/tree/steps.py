"""Merges as a list to cut: which of them a cut takes, and which it lacks."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from ..data.store.embeddings import Ints
from .allotment import allot
from .cut import Budget, Cut

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

ALL = -2  # the code of the one class that holds every image; −1 is the class of the images without a label


@dataclass(frozen=True, eq=False)
class Steps:
    """Merges as a list to cut: the class of each, in order of (height, a, b).

    Attributes:
        sizes: int64[c], images of each class.
        smallest: int64[c], position in id order of each class's first image.
        of_class: int64[m], the index of each merge's class.
        height: float64[m], ascending.
        complete_to: float64[c], every merge of the class with height ≤ it is included; inf for the whole tree.
    """

    sizes: Ints
    smallest: Ints
    of_class: Ints
    height: Floats
    complete_to: Floats

    def taken(self, cut: Cut, further: Ints | None = None) -> Bools:
        """Return which merges `cut` takes, bool[m]; requires that the merges go deep enough (`missing` is empty).

        Args:
            cut: the cut.
            further: number of additional merges of each class, int64[c], or of all with a global budget, int64[1].
        """
        if cut.keep is not None and cut.budget is Budget.CLASS:
            depths = self.depths(cut) if further is None else self.depths(cut) + further
            return self._rank < depths[self.of_class]
        allowed = self.allowed(cut)
        if cut.threshold is not None:
            return allowed & (self.height <= cut.threshold)
        removals = self.removals(cut) if further is None else self.removals(cut) + int(further[0])
        return allowed & (np.cumsum(allowed) <= removals)

    def missing(self, cut: Cut, spare: Ints | None = None) -> list[DeeperClass]:
        """Return what must still be clustered before `cut` can be taken, class by class; empty for nothing.

        For a global budget the answer may take a second round: first enough merges, whose height bounds the
        cut from above, then every class up to that height.

        Args:
            cut: the cut.
            spare: number of additional merges that each class must have, int64[c]; None for none.
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

    def allowed(self, cut: Cut) -> Bools:
        """Return the merges that leave each class its minimum, bool[m]."""
        return self._rank < self._limits(cut)[self.of_class]

    def removals(self, cut: Cut) -> int:
        """Return the number of images that a cut by `keep` removes."""
        n = int(self.sizes.sum())
        return n - cut.wanted(n)

    def depths(self, cut: Cut) -> Ints:
        """Return the number of merges of each class that a budget per class takes, int64[c]."""
        wanted = cut.wanted(int(self.sizes.sum()))
        return self.sizes - allot(self.sizes, self.smallest, wanted, cut.min_per_class)

    def _up_to_count(self, cut: Cut, more: Ints) -> list[DeeperClass]:
        depths = np.minimum(self.depths(cut) + more, self.sizes - 1)
        short = np.isfinite(self.complete_to) & (self._stored() < depths)
        return [DeeperClass(int(c), merges=int(depths[c])) for c in np.flatnonzero(short)]

    def _deeper(self, cut: Cut) -> list[DeeperClass]:
        """Return requests for the other classes where constraints leave some fewer merges than their share."""
        stored, limits = self._stored(), self._limits(cut)
        short = np.isfinite(self.complete_to) & (stored < limits)
        return [
            DeeperClass(int(c), merges=int(min(2 * stored[c] + 1, limits[c]))) for c in np.flatnonzero(short)
        ]

    def _up_to_height(self, cut: Cut, height: float) -> list[DeeperClass]:
        short = (self.complete_to < height) & (self._stored() < self._limits(cut))
        return [DeeperClass(int(c), height=height) for c in np.flatnonzero(short)]

    def _limits(self, cut: Cut) -> Ints:
        """Return the number of merges of each class that leave it its minimum."""
        return self.sizes - np.minimum(cut.min_per_class, self.sizes)

    def _stored(self) -> Ints:
        return np.bincount(self.of_class, minlength=len(self.sizes))

    @cached_property
    def _rank(self) -> Ints:
        """Number of each merge within its class, from 0."""
        order = np.argsort(self.of_class, kind="stable")
        starts = np.cumsum(self._stored()) - self._stored()
        rank = np.empty(len(self.of_class), dtype=np.int64)
        rank[order] = np.arange(len(order)) - starts[self.of_class[order]]
        return rank


@dataclass(frozen=True)
class DeeperClass:
    """Class to cluster deeper: at least `merges` merges of it, or all up to `height`."""

    index: int
    merges: int | None = None
    height: float | None = None
