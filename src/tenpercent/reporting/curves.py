"""Merges as curves of height against the fraction removed, with the cut found on each."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..selection.arrays import SelectionArrays
from ..tree.merges import Merges
from .figures import MergeCurve
from .tables import Floats, SelectionGroups


def curves_of(
    merges: Merges, selection: SelectionArrays, groups: SelectionGroups
) -> tuple[tuple[int, ...], list[MergeCurve]]:
    """Return a curve for each class that was clustered by itself, or a single one for all images.

    Each curve ends at the height up to which its class is complete: beyond it merges could be missing.

    Returns:
        The codes of the classes (empty for a single curve of all) and the curves.
    """
    labels = selection.codes
    if str(merges.within) == "all" or not np.any(labels >= 0):
        return (), [
            _cut_as(selection, 0, _curve(merges.height, len(selection), len(selection) - len(groups)))
        ]
    merged = labels[merges.a]
    order = np.lexsort((merges.height, merged))
    images, left = np.bincount(labels + 1), np.bincount(groups.label + 1)
    codes = (*np.flatnonzero(images[1:]).tolist(), *([-1] if images[0] else []))
    first, last = (np.searchsorted(merged[order], codes, side) for side in ("left", "right"))
    return codes, [
        _cut_as(
            selection,
            code,
            _curve(
                merges.height[order[start:end]], int(images[code + 1]), int(images[code + 1] - left[code + 1])
            ),
        )
        for code, start, end in zip(codes, first.tolist(), last.tolist(), strict=True)
    ]


def _curve(height: Floats, images: int, taken: int) -> MergeCurve:
    fraction = np.arange(1, len(height) + 1, dtype=np.float64) / max(images, 1)
    return MergeCurve(fraction, np.sort(height), min(taken, len(height)))


def _cut_as(selection: SelectionArrays, code: int, curve: MergeCurve) -> MergeCurve:
    """Return a curve with its cut: around locked images that is a height, not a number of merges."""
    if selection.locked is None:
        return curve
    height = next((cut.height for cut in selection.classes if cut.code == code), selection.classes[0].height)
    return replace(curve, cut=int(np.searchsorted(curve.height, height, side="right")))


def extremes(codes: tuple[int, ...], curves: list[MergeCurve]) -> tuple[int | None, int | None]:
    """Return the curves cut at the greatest and the smallest height, or None twice where there are fewer than two."""
    cut = [(curve.height[curve.cut - 1], at) for at, curve in enumerate(curves) if curve.cut]
    if len(codes) < 2 or len(cut) < 2:
        return None, None
    return max(cut)[1], min(cut)[1]


def height_at(merges: Merges, count: int) -> float:
    """Return the height of merge number `count` of all classes in one order, or of the last there is."""
    height = np.sort(merges.height)
    return float(height[min(count, len(height)) - 1]) if len(height) and count else 0.0
