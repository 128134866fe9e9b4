"""Changes between two cuts, compared only where they differ."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..data.store.embeddings import Ints
from ..tree.cut import Hold
from .groups import Groups
from .listing import with_missing
from .state import State
from .views import image_name, with_keeper

MOST_NAMED = 12  # images of each sort


def change_view(state: State, before: Groups, after: Groups, decided: list[int]) -> dict[str, Any]:
    """Return the images that become kept or removed from one cut to another.

    Args:
        state: the run after the change.
        before, after: the cuts, of the same images.
        decided: the images that a decision in between names.
    """
    gone, left = _removed(before, after, np.asarray(decided, dtype=np.int64))
    back, instead = np.setdiff1d(gone, left), np.setdiff1d(left, gone)
    return {
        "back": [image_name(state, int(p)) for p in back[:MOST_NAMED]],
        "n_back": len(back),
        "instead": _with_keepers(state, after, instead[:MOST_NAMED]),
        "n_instead": len(instead),
    }


def refill_view(state: State, keep: float | None) -> dict[str, Any]:
    """Return the images also removed at a fraction where decisions hold the count, not the height.

    Raises:
        RefusedError: the tree is not deep enough.
    """
    low, full = (state.checked(keep, None, hold) for hold in (Hold.HEIGHT, Hold.COUNT))
    found = change_view(state, state.groups(low), state.groups(full), [])
    return {**found, "version": state.version}


def _removed(before: Groups, after: Groups, seeds: Ints) -> tuple[Ints, Ints]:
    """Return the images removed in each of two cuts, among those whose group differs."""
    n = before.forest.n
    one, other = (g.forest.a[g.taken] * n + g.forest.b[g.taken] for g in (before, after))
    differing = np.setxor1d(one, other)
    found = np.unique(np.concatenate([differing // n, differing % n, seeds]))
    size = -1
    while len(found) != size:
        size = len(found)
        for groups in (before, after):
            found = np.union1d(found, groups.members(np.unique(groups.of(found)))[0])
    return _gone(before, found), _gone(after, found)


def _gone(groups: Groups, positions: Ints) -> Ints:
    if not len(positions):
        return positions
    standing = groups.standing(np.unique(groups.of(positions)))
    return np.sort(standing.members[~standing.kept])


def _with_keepers(state: State, groups: Groups, positions: Ints) -> list[dict[str, Any]]:
    """Return removed images, each with its representative."""
    found = []
    for position in positions.tolist():
        standing = groups.standing(groups.of(np.asarray([position])))
        d = float(standing.dissimilarity[standing.members == position][0])
        found.append(with_keeper(state, position, int(standing.representative[0]), d))
    return with_missing(state, found)
