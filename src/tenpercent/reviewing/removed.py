"""List of removed images, as JSON: each with its representative, the farthest first."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..selection.selection import Selection
from .listing import with_missing
from .state import State
from .views import with_keeper


def removed_view(state: State, selection: Selection, page: tuple[int, int]) -> dict[str, Any]:
    """Return a page of the removed images.

    Args:
        state: the run.
        selection: the whole cut.
        page: offset and number of images.
    """
    offset, limit = page
    gone = np.flatnonzero(~selection.kept_by_id)
    d = selection.dissimilarity[gone]
    order = np.lexsort((gone, -np.where(np.isnan(d), np.inf, d)))  # those without a representative first
    shown = gone[order[offset : offset + limit]]
    images = [
        with_keeper(state, p, int(selection.representative[p]), float(selection.dissimilarity[p]))
        for p in shown.tolist()
    ]
    return {
        "total": len(gone),
        "offset": offset,
        "images": with_missing(state, images),
        "version": state.version,
    }
