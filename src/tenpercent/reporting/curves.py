"""Merges as curves of height against the fraction removed, with the cut found on each."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .figures import Curve
from .tables import Columns, Floats, Groups, Ints

if TYPE_CHECKING:
    from ..tree.merges import Merges


def curves_of(merges: Merges, columns: Columns, groups: Groups) -> tuple[tuple[int, ...], list[Curve]]:
    """Return a curve for each class that was clustered by itself, or a single one for all images.

    Each curve ends at the height up to which its class is complete: beyond it merges could be missing.

    Returns:
        The codes of the classes (empty for a single curve of all) and the curves.
    """
    a: Ints = np.asarray(merges.a)
    height = np.asarray(merges.height, dtype=np.float64)
    if str(merges.within) == "all" or not columns.labelled:
        taken = len(columns) - len(groups)
        return (), [_curve(height, len(columns), taken)]
    merged = columns.labels[a]
    order = np.lexsort((height, merged))
    codes = np.unique(columns.labels)
    codes = np.concatenate([codes[codes >= 0], codes[codes < 0]])
    first = np.searchsorted(merged[order], codes, "left")
    last = np.searchsorted(merged[order], codes, "right")
    images, left = np.bincount(columns.labels + 1), np.bincount(groups.label + 1)
    curves = [
        _curve(height[order[start:end]], int(images[code + 1]), int(images[code + 1] - left[code + 1]))
        for code, start, end in zip(codes.tolist(), first.tolist(), last.tolist(), strict=True)
    ]
    return tuple(codes.tolist()), curves


def _curve(height: Floats, images: int, taken: int) -> Curve:
    fraction = np.arange(1, len(height) + 1, dtype=np.float64) / max(images, 1)
    return Curve(fraction, np.sort(height), min(taken, len(height)))


def extremes(codes: tuple[int, ...], curves: list[Curve]) -> tuple[int | None, int | None]:
    """Return the curves cut at the greatest and the smallest height, or None twice where there are fewer than two."""
    cut = [(curve.height[curve.cut - 1], at) for at, curve in enumerate(curves) if curve.cut]
    if len(codes) < 2 or len(cut) < 2:
        return None, None
    return max(cut)[1], min(cut)[1]


def height_at(merges: Merges, count: int) -> float:
    """Return the height of merge number `count` of all classes in one order, or of the last there is."""
    height = np.sort(np.asarray(merges.height, dtype=np.float64))
    return float(height[min(count, len(height)) - 1]) if len(height) and count else 0.0
