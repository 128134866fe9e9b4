"""Pairs of a test and a training image, with what they were found by."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property

import numpy as np
import numpy.typing as npt

from ..data.store.embeddings import Ints, frozen

NOT_SAME = -1  # in place of the number of differing bits: the two are not one picture

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


class MatchKind(IntEnum):
    """The criterion that a pair was found by; of several, the surest."""

    FILE = 0
    PICTURE = 1
    VECTOR = 2


@dataclass(frozen=True, eq=False)
class ImagePairs:
    """Pairs of a test and a training image, the surest first.

    Equal files come first, then equal pictures by the number of bits that differ; ties are in the order of
    (dissimilarity, test id, train id).

    Attributes:
        i: int64[p], the position of each pair's test image, in id order.
        j: int64[p], that of its training image.
        dissimilarity: float64[p].
        equal: bool[p], whether the two files are equal, byte by byte; None where files are not known.
        bits: int64[p], number of bits of 256 in which the perceptual hashes differ, −1 where the two are not one
            picture; None where there are no images to compare.
    """

    i: Ints
    j: Ints
    dissimilarity: Floats
    equal: Bools | None
    bits: Ints | None

    def __post_init__(self) -> None:
        for name in ("i", "j", "dissimilarity", "equal", "bits"):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, frozen(getattr(self, name)))

    def __len__(self) -> int:
        return len(self.i)

    @classmethod
    def sorted(cls, i: Ints, j: Ints, d: Floats, equal: Bools | None, bits: Ints | None) -> ImagePairs:
        """Return pairs in their order."""
        pairs = cls(i, j, d, equal, bits)
        apart = 0 if bits is None else bits
        return pairs.take(
            np.lexsort((j, i, d, np.where(pairs.kind == MatchKind.PICTURE, apart, 0), pairs.kind))
        )

    @cached_property
    def kind(self) -> Ints:
        """Criterion that each pair was found by: `MatchKind`, int64[p]."""
        kind = np.full(len(self), MatchKind.VECTOR, dtype=np.int64)
        if self.bits is not None:
            kind[self.bits != NOT_SAME] = MatchKind.PICTURE
        if self.equal is not None:
            kind[self.equal] = MatchKind.FILE
        return kind

    def take(self, at: Ints | Bools) -> ImagePairs:
        """Return the pairs at some places."""
        equal = None if self.equal is None else self.equal[at]
        bits = None if self.bits is None else self.bits[at]
        return ImagePairs(self.i[at], self.j[at], self.dissimilarity[at], equal, bits)

    @cached_property
    def first(self) -> Ints:
        """First pair of each test image; int64[k], ascending."""
        return np.sort(np.unique(self.i, return_index=True)[1]).astype(np.int64)


@dataclass(frozen=True, eq=False)
class SimilarPairs:
    """Pairs with similar vectors that don't count: the pictures differ, or the hash can't tell.

    Attributes:
        limit: the largest dissimilarity.
        pairs: the pairs.
    """

    limit: float
    pairs: ImagePairs

    @property
    def threshold(self) -> str:
        """Limit in four digits, rounded up, so that as a threshold it includes all of the pairs."""
        return f"{self.limit * (1 + 5e-4):.4g}"

    @property
    def images(self) -> int:
        """Number of test images with such a pair."""
        return len(self.pairs.first)
