"""Cut that decisions make no higher: each class ends with the merge that it would end with without them."""

from __future__ import annotations

import numpy as np

from .cut import Budget, Cut
from .merge_table import MergeTable
from .steps import Bools


def no_higher(merges: MergeTable, bare: MergeTable, taken: Bools, cut: Cut) -> Bools:
    """Return which merges come no later than the last one that a cut takes of another tree, bool[m].

    Args:
        merges: of the tree under decisions.
        bare: of the tree without them.
        taken: bool[k], which of the bare merges the cut takes.
        cut: with a budget per class, each class has its own last merge; with a global one there is one for all.
    """
    by_class = cut.budget is Budget.CLASS
    width = len(merges.classes) if by_class else 1
    last = np.full(width, -1)
    at = np.flatnonzero(taken)
    last[bare.steps.of_class[at] if by_class else np.zeros(len(at), dtype=np.int64)] = (
        at  # the last written stays
    )
    of = merges.steps.of_class if by_class else np.zeros(len(merges), dtype=np.int64)
    end, none = last[of], last[of] < 0
    if not len(bare):
        return ~none
    before = merges.height < bare.height[end]
    level = merges.height == bare.height[end]
    earlier = (merges.a < bare.a[end]) | ((merges.a == bare.a[end]) & (merges.b <= bare.b[end]))
    return np.asarray(~none & (before | (level & earlier)))
