"""Dissimilarities of one point to all points: the bits of `dissimilarities`, many pairs at a time."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from .distances import Doubles, Positions
from .farthest import COLUMNS, ROWS, add_squares
from .kernels import kernel

Panels = npt.NDArray[np.float64]  # [p, d, COLUMNS]: points as columns, side by side


class Grid(NamedTuple):
    """Points laid out for comparison with one another.

    Attributes:
        units: float64[n, d], the points.
        panels: float64[p, d, COLUMNS], the same points as columns; zeros fill the last panel.
    """

    units: Doubles
    panels: Panels


def grid_of(units: Doubles) -> Grid:
    """Lay points out.

    Args:
        units: float64[n, d], from `unit_vectors`.
    """
    n, width = units.shape
    count = -(-n // COLUMNS)
    panels = np.zeros((count, width, COLUMNS))
    for p in range(count):
        block = units[p * COLUMNS : (p + 1) * COLUMNS]
        panels[p, :, : len(block)] = block.T
    return Grid(np.ascontiguousarray(units), panels)


@kernel
def fill_rows(units: Doubles, rows: Positions, panels: Panels, n: int, sums: Doubles, found: Doubles) -> None:
    """Fill found[r, c] with the dissimilarity of units[rows[r]] and point c of the panels.

    Args:
        units: float64[m, d], some points.
        rows: int32[r], positions of the rows.
        panels: float64[p, d, COLUMNS], others, of `grid_of`.
        n: number of points in the panels.
        sums: float64[ROWS, COLUMNS], scratch memory.
        found: float64[r, n].
    """
    for p in range(len(panels)):
        begin = p * COLUMNS
        end = min(begin + COLUMNS, n)
        for top in range(0, len(rows), ROWS):
            some = rows[top : top + ROWS]
            add_squares(units, some, panels[p], sums)
            for r in range(len(some)):
                for c in range(begin, end):
                    found[top + r, c] = 0.5 * sums[r, c - begin]
