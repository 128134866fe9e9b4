"""The cells of all points, a shard at a time, and their groups: where each point is compared.

A pair belongs to the group of the later of its two cells, as in `cells.py`. So a group needs its own points and, of
earlier cells in other groups, those that both tests leave: its guests.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, Self

import numpy as np

from ..candidates import Candidates, OtherCells
from ..cells import CellAssignment, Cells, by_cell, find_homes, reach_of, wide_first
from ..distances import Doubles, Positions
from ..points import Indices, Singles
from ..threads import one_blas_thread
from .arrays import load, save
from .rows import shard_of

WIDE = 2048  # coordinates: of wider centres the main direction takes long


def homes(inputs: Sequence[Path], output: Path, *, start: int, stop: int, threads: int = 1) -> None:
    """Write the nearest centre of each point of a shard.

    Args:
        inputs: the vectors; the positions dropped; float32[c, d], the centres, and float64[d], their middle.
        output: int32[k], the centre, and float32[k], its squared distance; and for each centre, of its points here:
            float32[c], the largest ½|x|², float32[c], the largest squared distance, int64[c], their number.
        start, stop: the shard.
        threads: number of threads.
    """
    vectors, dropped, path = inputs
    centres, middle = load(path)
    points, _ = shard_of(vectors, dropped, start, stop)
    with one_blas_thread():
        home = find_homes(points, np.array(centres), np.array(middle), threads)
    farthest = np.zeros(len(centres), dtype=np.float32)
    np.maximum.at(farthest, home.cell, home.square)
    size = np.bincount(home.cell, minlength=len(centres))
    save(output, home.cell, home.square, home.farthest, farthest, size)


class GroupedCells(NamedTuple):
    """Cells of all points, wide ones first, in groups.

    Attributes:
        centres, middle, reach: see `Cells`.
        farthest: see `CellAssignment`.
        group: int64[c], the group of each cell.
        number: int32[c], the number here of each centre as it was chosen.
    """

    centres: Singles
    middle: Doubles
    reach: Doubles
    farthest: Singles
    group: Indices
    number: Positions

    @classmethod
    def of(cls, centres: Singles, middle: Doubles, found: Sequence[Path], groups: int) -> Self:
        """Gather what `homes` found in all shards."""
        halves = np.zeros(len(centres), dtype=np.float32)
        squares, size = np.zeros_like(halves), np.zeros(len(centres), dtype=np.int64)
        for path in found:
            _, _, half, square, count = load(path)
            halves, squares, size = np.maximum(halves, half), np.maximum(squares, square), size + count
        rank = wide_first(squares)
        return cls(
            centres[rank],
            middle,
            reach_of(squares, halves, centres)[rank],
            halves[rank],
            grouped(centres, size, groups)[rank],
            np.argsort(rank).astype(np.int32),
        )

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what was saved."""
        return cls(*map(np.array, load(path)))

    def of_group(self, group: int) -> Indices:
        """Return the cells of a group, in order."""
        return np.flatnonzero(self.group == group)

    def cells(self, own: Indices, cell: Positions, square: Singles, left: float) -> Cells:
        """Return the cells of a group with its points.

        Args:
            own: int64[g], the cells.
            cell: int32[k], the cell of each point of the group.
            square: float32[k], its squared distance to the centre.
            left: the share of pairs that the tests leave.
        """
        home = np.searchsorted(own, cell).astype(np.int32)
        order = by_cell(home).astype(np.int32)
        return Cells(
            centres=self.centres[own],
            order=order,
            starts=np.searchsorted(home[order], np.arange(len(own) + 1)),
            middle=self.middle,
            home=CellAssignment(home, square, self.farthest[own]),
            reach=self.reach[own],
            left=left,
        )

    def others(self, own: Indices, cell: Positions, square: Singles) -> OtherCells:
        """Return the cells of points that are compared with those of some cells."""
        return OtherCells(self.centres, CellAssignment(cell, square, self.farthest), own)


def grouped(centres: Singles, size: Indices, groups: int) -> Indices:
    """Divide cells into groups of neighbours with about as many points each: int64[c], the group of each.

    They are halved, again and again, across the direction in which they extend most.
    """
    group = np.zeros(len(centres), dtype=np.int64)

    def halve(own: Indices, first: int, count: int) -> None:
        if count == 1 or len(own) < 2:
            group[own] = first
            return
        seen = centres[own] - centres[own].mean(axis=0)
        direction = np.linalg.eigh(seen.T @ seen)[1][:, -1] if seen.shape[1] <= WIDE else seen[0]
        own = own[np.argsort(seen @ direction, kind="stable")]
        points = np.cumsum(size[own])
        half = count // 2
        at = int(np.searchsorted(points, points[-1] * half / count)) + 1
        at = min(max(at, 1), len(own) - 1)
        halve(own[:at], first, half)
        halve(own[at:], first + half, count - half)

    halve(np.arange(len(centres)), 0, groups)
    return group


class Routed(NamedTuple):
    """Points of a shard by the group they go to: where each group begins, positions, cells, and squared distances."""

    starts: Indices
    at: Positions
    cell: Positions
    square: Singles

    def part(self, group: int) -> tuple[Positions, Positions, Singles]:
        """Return positions, cells and squared distances of the points that go to a group."""
        own = slice(int(self.starts[group]), int(self.starts[group + 1]))
        return self.at[own], self.cell[own], self.square[own]


def route(
    inputs: Sequence[Path], output: Path, *, start: int, stop: int, radius: float, threads: int = 1
) -> None:
    """Write to which groups the points of a shard go: each to its own, and as a guest to others.

    Args:
        inputs: the vectors; the positions dropped; the `GroupedCells`; the homes of the shard.
        output: two times `Routed`: the points of each group, and its guests.
        start, stop: the shard.
        radius: of the pairs sought.
        threads: number of threads.
    """
    vectors, dropped, path, found = inputs
    cells = GroupedCells.load(path)
    points, at = shard_of(vectors, dropped, start, stop)
    cell, square = load(found)[:2]
    cell = cells.number[cell]
    home, groups = cells.group[cell], int(cells.group.max()) + 1

    def guests(group: int) -> Indices:
        """Return the points of other groups that can have a partner in a later cell of this one."""
        own, away = cells.of_group(group), np.flatnonzero(home != group)
        if not len(own) or not len(away):
            return away[:0]
        search = Candidates(
            cells.cells(own, cell[:0], square[:0], left=1.0),
            points.subset(away),
            radius,
            within=False,
            threads=threads,
            others=cells.others(own, cell[away], square[away]),
        )
        found = [near for part in search.groups() for near in search.of(part)]
        return away[np.unique(np.concatenate(found))]

    def routed_by(order: Indices, size: Indices) -> Routed:
        starts = np.concatenate([[0], np.cumsum(size)])
        return Routed(starts, at[order].astype(np.int32), cell[order], square[order])

    with one_blas_thread():
        visits = [guests(group) for group in range(groups)]
    at_home = routed_by(np.argsort(home, kind="stable"), np.bincount(home, minlength=groups))
    save(output, *at_home, *routed_by(np.concatenate(visits), np.asarray([len(own) for own in visits])))


def routed(path: Path) -> tuple[Routed, Routed]:
    """Return the points and the guests of a shard by group, as `route` wrote them."""
    arrays = load(path)
    return Routed(*arrays[:4]), Routed(*arrays[4:])
