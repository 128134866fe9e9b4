"""How much can be removed: the dissimilarity of removed images to those kept for them, at each threshold."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ..selection.by_tree import select
from ..selection.selection import Selection
from ..tree.cut import Cut
from ..tree.gap import without_exact
from ..tree.merges import Merges
from ..tree.merges_file import complete_heights
from .tables import Floats

CUTS = 32  # thresholds of the curve
LEVELS = (1 / 8, 1 / 4, 1 / 2, 1)  # shares of the merges at whose heights groups are shown
BEND = 0.1  # least distance of the knee from the chord, both axes from 0 to 1: a straighter curve has none


@dataclass(frozen=True, eq=False)
class RemovalCurve:
    """Cuts of one tree by thresholds, from the lowest to the highest.

    Attributes:
        threshold: float64[k], ascending.
        fraction: float64[k], of the images that each removes.
        largest, mean: float64[k], dissimilarity of its removed images to the image kept for each.
    """

    threshold: Floats
    fraction: Floats
    largest: Floats
    mean: Floats

    @property
    def knee(self) -> int | None:
        """The cut after which the largest dissimilarity rises fastest; None for a curve without a bend.

        It is the point farthest below the chord between the ends of the curve (V. Satopää et al., Finding a "Kneedle"
        in a Haystack, 2011).
        """
        if len(self.threshold) < 3:
            return None
        x, y = (np.ptp(axis) for axis in (self.fraction, self.largest))
        if not x or not y:
            return None
        below = (self.fraction - self.fraction[0]) / x - (self.largest - self.largest[0]) / y
        return int(below.argmax()) if below.max() >= BEND else None


def removal_curve(merges: Merges) -> RemovalCurve:
    """Cut a tree by thresholds up to which it is complete, and measure the images removed.

    Only groups that changed since the cut before are looked at again.
    """
    heights = complete_heights(merges.height, merges.complete_to)
    m, n = len(heights), len(merges.embeddings)
    counts = np.concatenate([np.linspace(1, m, CUTS), np.geomspace(1, m, CUTS // 2)]) if m else np.empty(0)
    thresholds = np.unique(heights[counts.round().astype(np.int64) - 1])
    gone, apart = np.zeros(n, dtype=bool), np.zeros(n)
    found, before = [], np.zeros(len(merges), dtype=bool)
    for threshold in thresholds.tolist():
        part = merges.partition(Cut(threshold=threshold))
        changed = part.group[merges.a[part.taken & ~before]]
        members = part.with_representatives(np.union1d(changed, part.decided))
        gone[members.members] = ~members.kept
        apart[members.members] = np.nan_to_num(members.dissimilarity)  # none is kept: removed by decision
        before = part.taken
        removed = apart[gone]
        del part, members  # before those of the next cut are made
        found.append((gone.mean(), removed.max(initial=0.0), removed.mean() if len(removed) else 0.0))
    fraction, largest, mean = np.array(found).reshape(-1, 3).T
    return RemovalCurve(thresholds, fraction, largest, mean)


def levels(merges: Merges) -> Iterator[tuple[float, Selection]]:
    """Return four cuts from shallow to deep with their thresholds in two digits; fewer where some group nothing.

    Each is made when it is asked for, and held by nobody but its user.
    """
    heights = without_exact(complete_heights(merges.height, merges.complete_to))
    if not len(heights):
        return iter(())
    places = {max(0, round(share * len(heights)) - 1) for share in LEVELS}
    thresholds = sorted({_rounded_down(float(heights[place])) for place in places})
    cuts = ((threshold, select(merges, Cut(threshold=threshold))) for threshold in thresholds)
    return filter(lambda found: found[1].group_size.max() > 1, cuts)


def _rounded_down(height: float) -> float:
    step = 10.0 ** (np.floor(np.log10(height)) - 1)
    return float(f"{np.floor(height / step + 1e-9) * step:.2g}")
