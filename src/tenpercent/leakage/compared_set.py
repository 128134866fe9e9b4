"""One of the two sets that are compared: its vectors, its images where they are there, and its classes."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa

from ..data.sources.perceptual import SmallPictures
from ..data.sources.source import ImageSource
from ..data.store.embeddings import Embeddings, Strings


@dataclass(frozen=True, eq=False)
class ComparedSet:
    """One of the two sets.

    Attributes:
        spec: its origin, in words.
        embeddings: its vectors, in id order.
        source: its images, for pictures and exports; None where there are none, or no longer.
        network: the identity of the network that made the vectors; None where unknown.
        rejected: id, row and reason of the rejected images.
        held_out: number of images that its run holds out.
        pictures: the images as used for perceptual hashes, in id order; None where there are none.
        unreadable: number of them that can no longer be read.
    """

    spec: str
    embeddings: Embeddings
    source: ImageSource | None = field(default=None, repr=False)
    network: dict[str, Any] | None = None
    rejected: pa.Table | None = field(default=None, repr=False)
    held_out: int = 0
    pictures: SmallPictures | None = field(default=None, repr=False)
    unreadable: int = 0

    def __len__(self) -> int:
        return len(self.embeddings)

    @cached_property
    def label_names(self) -> Strings:
        """Name of each image's class, None where it has no label."""
        labels = self.embeddings.labels
        if labels is None:
            return np.full(len(self), None, dtype=object)
        return np.asarray([*self.embeddings.class_names, None], dtype=object)[labels]

    @cached_property
    def class_names(self) -> set[str]:
        """Names of the classes with images in the set."""
        return set(self.label_names.tolist()) - {None}
