"""Two selections of the same images side by side."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..errors import UsageError
from ..store.embeddings import Strings
from .selection import Selection


@dataclass(frozen=True, eq=False, repr=False)
class Comparison:
    """Which images two selections keep.

    Attributes:
        both: ids kept by both, in id order.
        only_a: ids kept by the first alone.
        only_b: ids kept by the second alone.
        none: ids kept by neither.
    """

    both: Strings
    only_a: Strings
    only_b: Strings
    none: Strings

    def __len__(self) -> int:
        return len(self.both) + len(self.only_a) + len(self.only_b) + len(self.none)

    def __str__(self) -> str:
        counts = (len(self.both), len(self.only_a), len(self.only_b), len(self.none))
        width = max(len(f"{count:,}") for count in counts)
        names = ("kept by both", "kept by the first only", "kept by the second only", "kept by none")
        lines = [
            f"{count:>{width},}  {count / len(self):6.1%}  {name}"
            for count, name in zip(counts, names, strict=True)
        ]
        return "\n".join([f"{len(self):,} images", *lines])

    __repr__ = __str__


def compare(a: Selection, b: Selection) -> Comparison:
    """Compare what two selections of the same images keep.

    Raises:
        UsageError: they are of different images.
    """
    if not np.array_equal(a.ids, b.ids):
        apart = np.setxor1d(a.ids, b.ids)
        raise UsageError(
            f"the selections are of {len(a):,} and {len(b):,} images and differ in {len(apart):,} of them "
            f"({apart[0]!r}, say); compare selections of the same images"
        )
    return Comparison(
        both=a.ids[a.kept_mask & b.kept_mask],
        only_a=a.ids[a.kept_mask & ~b.kept_mask],
        only_b=a.ids[~a.kept_mask & b.kept_mask],
        none=a.ids[~a.kept_mask & ~b.kept_mask],
    )
