"""Constraints from decisions: images to keep, to remove, to be representatives, or not to share a group."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from ..data.store.embeddings import Ints
from ..data.store.files import fingerprint

WORDS = {  # one, several
    "apart": ("pair never together", "pairs never together"),
    "alone": ("image never grouped with another", "images never grouped with another"),
    "keep": ("image always kept", "images always kept"),
    "remove": ("image always removed", "images always removed"),
    "prefer": ("representative chosen", "representatives chosen"),
}


def _none() -> Ints:
    return np.empty(0, dtype=np.int64)


def _no_pairs() -> Ints:
    return np.empty((0, 2), dtype=np.int64)


@dataclass(frozen=True, eq=False)
class Constraints:
    """Constraints, as positions in id order.

    Attributes:
        apart: int64[k, 2], pairs that never share a group, x < y, unique, sorted.
        alone: int64[k], images that share a group with no other, ascending.
        keep: int64[k], images that stay beside the representative of their group, ascending.
        remove: int64[k], images to remove, ascending; in none of the others but `apart`.
        prefer: int64[k], images that represent their group; of several in one group the last does.
    """

    apart: Ints = field(default_factory=_no_pairs)
    alone: Ints = field(default_factory=_none)
    keep: Ints = field(default_factory=_none)
    remove: Ints = field(default_factory=_none)
    prefer: Ints = field(default_factory=_none)

    def __post_init__(self) -> None:
        for array in (self.apart, self.alone, self.keep, self.remove, self.prefer):
            array.flags.writeable = False

    def __len__(self) -> int:
        """Return the number of images and pairs that are constrained."""
        return sum(len(array) for array in (self.apart, self.alone, self.keep, self.remove, self.prefer))

    @property
    def links(self) -> str:
        """Fingerprint of the constraints that change the tree, "" where there are none."""
        if not len(self.apart) and not len(self.alone):
            return ""
        return fingerprint([self.apart.tolist(), self.alone.tolist()])

    @property
    def fingerprint(self) -> str:
        """Fingerprint of all constraints, "" where there are none."""
        if not len(self):
            return ""
        parts = (self.apart, self.alone, self.keep, self.remove, self.prefer)
        return fingerprint([part.tolist() for part in parts])

    @property
    def counts(self) -> dict[str, int]:
        """Number of constraints of each kind."""
        named = {
            "apart": self.apart,
            "alone": self.alone,
            "keep": self.keep,
            "remove": self.remove,
            "prefer": self.prefer,
        }
        return {name: len(array) for name, array in named.items() if len(array)}

    @property
    def words(self) -> str:
        """Constraints in words: ``1 pair never together, 2 representatives chosen``."""
        return ", ".join(f"{n:,} {WORDS[name][n > 1]}" for name, n in self.counts.items())

    @property
    def counted(self) -> Ints:
        """Images that make a group keep more or fewer than one image, ascending; int64[k]."""
        return np.union1d(self.keep, self.remove)

    @property
    def standing(self) -> Ints:
        """Images that decide which of their group stay, ascending; int64[k]."""
        return np.union1d(self.counted, self.prefer)


NONE = Constraints()
