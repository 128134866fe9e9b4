"""Translation of the log of decisions to constraints on embeddings: images match by id, else by content."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from ..data.store.embeddings import Embeddings, Ints
from ..data.store.ids import paired
from .constraints import Constraints
from .log import ANSWERS, Decision, ImageName, Kind


class Meaning(NamedTuple):
    """Constraints from decisions, and the images that were not found.

    Attributes:
        constraints: constraints on the embeddings.
        unmatched: the images that are not among the embeddings, neither by id nor by content, each once.
    """

    constraints: Constraints
    unmatched: tuple[ImageName, ...]


def constraints_of(decisions: Sequence[Decision], embeddings: Embeddings) -> Meaning:
    """Return the constraints of the decisions in force on these embeddings; of two about one image the later counts.

    Args:
        decisions: in the order they were made; undone ones are ignored.
        embeddings: an image whose id is gone, or is that of other content now, is matched by content; of several, one
            that no decision names by its id goes first, then one with a similar path (`ids.paired`).
    """
    holding = [decision for decision in decisions if not decision.undone]
    place = places(holding, embeddings)
    keep: set[int] = set()
    remove: set[int] = set()
    alone: set[int] = set()
    prefer: dict[int, None] = {}  # in order
    apart: set[tuple[int, int]] = set()
    for decision in holding:
        found = [place[image] for image in decision.images if image in place]
        if decision.kind is Kind.REMOVE:
            remove.update(found)
            keep.difference_update(found)
            alone.difference_update(found)
            for position in found:
                prefer.pop(position, None)
            continue
        if decision.kind is Kind.APART:
            if len(set(found)) == 2:
                apart.add((min(found), max(found)))
            continue
        if decision.kind in ANSWERS or decision.kind is Kind.ACCEPT:
            continue
        remove.difference_update(found)
        if decision.kind is Kind.KEEP:
            keep.update(found)
        elif decision.kind is Kind.ALONE:
            alone.update(found)
        else:
            for position in found:
                prefer.pop(position, None)
                prefer[position] = None
    constraints = Constraints(
        apart=np.asarray(sorted(apart), dtype=np.int64).reshape(-1, 2),
        alone=_sorted(alone),
        keep=_sorted(keep),
        remove=_sorted(remove),
        prefer=np.asarray(list(prefer), dtype=np.int64),
    )
    named = dict.fromkeys(image for decision in holding for image in decision.images)
    return Meaning(constraints, tuple(image for image in named if image not in place))


def places(decisions: Iterable[Decision], embeddings: Embeddings) -> dict[ImageName, int]:
    """Return the position in id order of each image that decisions name, omitting those not found."""
    named = dict.fromkeys(image for decision in decisions for image in decision.images)
    ids = embeddings.ids
    found: dict[ImageName, int] = {}
    for image in named:
        at = int(np.searchsorted(ids, np.asarray([image.id], dtype=object))[0])
        if at < len(ids) and ids[at] == image.id:
            found[image] = at
    hashes = embeddings.hashes
    if hashes is None:
        return found
    lost = [
        image
        for image in named
        if image.hash is not None and (image not in found or hashes[found[image]] != image.hash)
    ]
    by_hash = _by_hash(embeddings, {str(image.hash) for image in lost})
    moved = {image for image in lost if image.hash in by_hash}
    taken = {at for image, at in found.items() if image not in moved}
    for image in lost:
        same = by_hash.get(str(image.hash), [])
        free = {str(ids[at]): at for at in same if at not in taken} or {str(ids[at]): at for at in same}
        if free:
            found[image] = free[paired([image.id], free)[image.id]]
            taken.add(found[image])
    return found


def _by_hash(embeddings: Embeddings, wanted: set[str]) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    assert embeddings.hashes is not None
    for position, code in enumerate(embeddings.hashes.tolist()):
        if code in wanted:
            found.setdefault(code, []).append(position)
    return found


def _sorted(positions: set[int]) -> Ints:
    return np.asarray(sorted(positions), dtype=np.int64)
