"""Dissimilarities between images, and the nearest image outside a group, fast enough for a waiting user."""

from __future__ import annotations

from functools import cached_property

import numpy as np
import numpy.typing as npt

from ..data.store.embeddings import Embeddings, Ints, in_batches
from ..linkage.filters import relative_margin
from ..selection.nearest import nearest_outside
from ..tree.gap import mean_dissimilarity

ROWS = 65_536  # vectors searched at a time


class OutsideSearch:
    """A search among all images of some embeddings."""

    def __init__(self, embeddings: Embeddings) -> None:
        """Store the embeddings; nothing is computed yet."""
        self.embeddings = embeddings

    @cached_property
    def typical(self) -> float | None:
        """Mean dissimilarity of two images; None for a single image."""
        return mean_dissimilarity(self.embeddings.vectors)

    @cached_property
    def _scale(self) -> npt.NDArray[np.float32]:
        """Reciprocal of each vector's length, float32[n]."""
        vectors = self.embeddings.vectors
        scale = np.empty(len(vectors), dtype=np.float32)
        for part in in_batches(len(vectors), ROWS):
            scale[part] = 1.0 / np.linalg.norm(vectors[part].astype(np.float64), axis=1)
        return scale

    def outside(self, members: Ints, position: int) -> tuple[int, float] | None:
        """Return the nearest image that is not in the same group with its dissimilarity; None where there is none.

        A product in float32 drops what is farther than its rounding could explain; `nearest_outside` decides among the
        rest, so the results are equal.

        Args:
            members: int64[k], the images of the group.
            position: the image of them to search from.
        """
        vectors, margin = self.embeddings.vectors, np.float32(4 * relative_margin(self.embeddings.width))
        asked = np.asarray(vectors[position], dtype=np.float32) * self._scale[position]
        cosine = np.full(len(vectors), -np.inf, dtype=np.float32)
        for part in in_batches(len(vectors), ROWS):
            cosine[part] = (vectors[part].astype(np.float32, copy=False) @ asked) * self._scale[part]
        cosine[members] = -np.inf
        closest = cosine.max()
        if closest == -np.inf:
            return None
        near = np.flatnonzero((cosine >= closest - margin) & (cosine > -np.inf))
        near = np.union1d(near, [position])
        at = int(np.searchsorted(near, position))
        group = np.arange(len(near)) + 1
        group[at] = 0
        found, dissimilarity = nearest_outside(vectors[near], group, np.asarray([at]))
        return int(near[found[0]]), float(dissimilarity[0])
