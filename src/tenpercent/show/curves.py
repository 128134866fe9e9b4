"""The merges as curves of height against the fraction removed, with the cut found on each."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .figures import Curve
from .tables import Columns, Groups, Ints

if TYPE_CHECKING:
    from ..select.merges import Merges


def curves_of(merges: Merges, columns: Columns, groups: Groups) -> tuple[tuple[int, ...], list[Curve]]:
    """Return a curve for each class that was clustered by itself, or a single one for all images.

    Each curve ends where its class is complete to: beyond it merges could be missing.

    Returns:
        The codes of the classes (empty for a single curve of all) and the curves.
    """
    a: Ints = np.asarray(merges.a)
    height = np.asarray(merges.height, dtype=np.float64)
    if str(merges.within) == "all" or not columns.labelled:
        taken = len(columns) - len(groups)
        return (), [_curve(height, len(columns), taken)]
    codes = np.unique(columns.labels).tolist()
    ordered = [code for code in codes if code >= 0] + [code for code in codes if code < 0]
    curves = []
    merged = columns.labels[a]
    for code in ordered:
        images = int(np.count_nonzero(columns.labels == code))
        taken = images - int(np.count_nonzero(groups.label == code))
        curves.append(_curve(height[merged == code], images, taken))
    return tuple(ordered), curves


def _curve(height: np.ndarray, images: int, taken: int) -> Curve:
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
