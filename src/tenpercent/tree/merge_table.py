"""Merges with the embeddings they join, as plain data, and what they lack for a cut."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from ..data.store.embeddings import Embeddings, Ints
from ..decisions.constraints import NONE, Constraints
from ..linkage.walk import PairCounts
from .cut import Cut, Within
from .steps import DeeperClass, Floats, Steps


@dataclass(frozen=True, eq=False, repr=False)
class MergeTable:
    """First merges of the tree of each class, in one order of (height, a, b).

    Attributes:
        embeddings: the vectors, in id order.
        within: class by class, or all images together.
        a, b: int64[m], positions in id order of the pair that closed each merge, a < b.
        height: float64[m], the dissimilarity of that pair, ascending.
        classes: int64[c], the codes of the classes in order; −1 holds the images without a label, −2 all images.
        complete_to: float64[c], every merge of the class with height ≤ it is included; inf for the whole tree, −1
            for a class without requested merges.
        counts: by the code of a class, the number of pairs that the walk had seen between its clusters when the merges
            ended, the clusters by their largest positions in id order; a deeper cut resumes from them where known.
        constraints: decisions about images: the merges are those of the tree under them.
        bare: the tree without them, where they changed it.
    """

    embeddings: Embeddings
    within: Within
    a: Ints
    b: Ints
    height: Floats
    classes: Ints
    complete_to: Floats
    counts: Mapping[int, PairCounts] = field(default_factory=dict)
    constraints: Constraints = NONE
    bare: MergeTable | None = None

    def __post_init__(self) -> None:
        for array in (self.a, self.b, self.height, self.classes, self.complete_to):
            array.flags.writeable = False

    @cached_property
    def class_index(self) -> Ints:
        """Position in `classes` of each image's class, int64[n]."""
        labels = self.embeddings.labels
        if self.within is Within.ALL or labels is None:
            return np.zeros(len(self.embeddings), dtype=np.int64)
        return np.searchsorted(self.classes, labels)

    @cached_property
    def sizes(self) -> Ints:
        """Number of images of each class, int64[c]."""
        return np.bincount(self.class_index, minlength=len(self.classes))

    @cached_property
    def steps(self) -> Steps:
        """Merges as a list to cut."""
        smallest = np.empty(len(self.classes), dtype=np.int64)
        smallest[self.class_index[::-1]] = np.arange(len(self.embeddings))[
            ::-1
        ]  # the last to be written stays
        return Steps(self.sizes, smallest, self.class_index[self.a], self.height, self.complete_to)

    def __len__(self) -> int:
        """Return the number of merges."""
        return len(self.a)

    def _spare(self) -> Ints | None:
        """Return the extra merges that each class needs for images that stay beside their representative."""
        if not len(self.constraints.keep):
            return None
        return np.bincount(self.class_index[self.constraints.keep], minlength=len(self.classes))

    def covers(self, cut: Cut) -> bool:
        """Return whether a cut needs no further clustering."""
        return not self.missing(cut)

    def missing(self, cut: Cut) -> list[DeeperClass]:
        """Return what must still be clustered before `cut` can be taken, class by class; empty for nothing."""
        if cut.holds_height:  # the tree under constraints is as deep as that without, and cut no higher
            return (self.bare or self).steps.missing(cut)
        return self.steps.missing(cut, self._spare())

    @cached_property
    def fingerprint(self) -> str:
        """Fingerprint that the counts beside the stored merges name, so that they match no others."""
        made_of = f"{self.embeddings.origin} {self.within}{self.constraints.links}"
        digest = hashlib.blake2b(made_of.encode(), digest_size=8)
        for array in (self.a, self.b, self.height, self.classes, self.complete_to):
            digest.update(np.ascontiguousarray(array).data)
        return digest.hexdigest()
