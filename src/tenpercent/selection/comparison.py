"""Two selections of the same images side by side."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..data.store.checks import check_kind
from ..data.store.ids import as_given
from ..errors import UsageError, counted
from ..tree.steps import Bools
from .selection import Selection


@dataclass(frozen=True, eq=False, repr=False)
class SelectionComparison:
    """The images that two selections keep.

    Attributes:
        both: ids kept by both, in id order; numbers where they were given as whole numbers, like the others.
        only_a: ids kept by the first alone.
        only_b: ids kept by the second alone.
        none: ids kept by neither.
    """

    both: npt.NDArray[Any]
    only_a: npt.NDArray[Any]
    only_b: npt.NDArray[Any]
    none: npt.NDArray[Any]

    def __len__(self) -> int:
        return len(self.both) + len(self.only_a) + len(self.only_b) + len(self.none)

    def __str__(self) -> str:
        of = {
            "both": self.both,
            "the first only": self.only_a,
            "the second only": self.only_b,
            "none": self.none,
        }
        width = max(len(f"{len(ids):,}") for ids in of.values())
        lines = [f"{len(ids):>{width},}  {len(ids) / len(self):6.1%}  kept by {by}" for by, ids in of.items()]
        return "\n".join([counted(len(self), "image"), *lines])

    __repr__ = __str__


def compare(a: Selection | str | Path, b: Selection | str | Path) -> SelectionComparison:
    """Compare what two selections of the same images keep; a run folder stands for its selection.

    Raises:
        UsageError: they are of different images, or not selections.
        StageError: a run folder has no selection.
    """
    a, b = (Selection.load(one) if isinstance(one, str | Path) else one for one in (a, b))
    for one in (a, b):
        check_kind(
            one, Selection, "what is compared", "two selections: tp.select(run), tp.select(merges, keep=0.9)"
        )
    if not np.array_equal(a.ids, b.ids):
        apart = np.setxor1d(a.ids, b.ids)
        raise UsageError(
            f"the selections are of {len(a):,} and {len(b):,} images and differ in {len(apart):,} of them "
            f"({apart[0]!r}, say); compare selections of the same images"
        )

    def ids(where: Bools) -> npt.NDArray[Any]:
        return as_given(a.ids[where], a.number_ids and b.number_ids)

    in_a, in_b = a.kept_by_id, b.kept_by_id
    return SelectionComparison(
        both=ids(in_a & in_b), only_a=ids(in_a & ~in_b), only_b=ids(~in_a & in_b), none=ids(~in_a & ~in_b)
    )
