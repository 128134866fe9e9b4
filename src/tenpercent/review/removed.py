"""The list of what goes, as JSON: each image with the one kept for it, the farthest first."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..select.selection import Selection
from .listing import with_missing
from .state import State
from .views import image_name


def removed_view(state: State, selection: Selection, page: tuple[int, int]) -> dict[str, Any]:
    """Return a page of the images that go.

    Args:
        state: the run.
        selection: the whole cut.
        page: the offset, and how many images.
    """
    offset, limit = page
    gone = np.flatnonzero(~selection.kept_by_id)
    d = selection.dissimilarity[gone]
    order = np.lexsort((gone, -np.where(np.isnan(d), np.inf, d)))  # those without a keeper first
    shown = gone[order[offset : offset + limit]]
    images = []
    for p in shown.tolist():
        keeper = int(selection.representative[p])
        about: dict[str, Any] = {"keeper": None, "d": None}
        if keeper >= 0:
            about = {"keeper": image_name(state, keeper), "d": float(selection.dissimilarity[p])}
        images.append(image_name(state, p) | about)
    return {
        "total": len(gone),
        "offset": offset,
        "images": with_missing(state, images),
        "version": state.version,
    }
