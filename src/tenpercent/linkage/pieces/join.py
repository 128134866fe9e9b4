"""All pairs of one group of cells: of its points with one another, and with its guests."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from ..distances import Positions
from ..neighbors import PairSearch
from ..pairs import BYTES_IN_MEMORY, Pairs, PairStore, records_of, without
from ..points import Points, Singles
from .arrays import load, write_header
from .homes import GroupedCells, Routed, routed
from .plan import BESIDE, GUESTS, PAIRS


def join(
    inputs: Sequence[Path],
    output: Path,
    *,
    group: int,
    above: float,
    radius: float,
    memory: int,
    left: float = 1.0,
    threads: int = 1,
) -> None:
    """Write all pairs that belong to a group, in increasing (d, i, j).

    Args:
        inputs: the vectors; the `GroupedCells`; the codes i · n + j of pairs that never merge, sorted; what `route`
            wrote for all shards, in order.
        output: an array of `RECORD`.
        group: its number.
        above, radius: of the pairs sought: above < d ≤ radius.
        memory: bytes that this may take.
        left: the share of pairs that the tests leave.
        threads: number of threads.
    """
    vectors, path, apart, *routes = inputs
    rows = np.load(vectors, mmap_mode="r")
    (codes,) = load(apart)
    grouped = GroupedCells.load(path)
    own = grouped.of_group(group)
    members, guests = zip(*map(routed, routes), strict=True)
    at, cell, square = _of_group(members, group)
    points = Points.of(rows[at])
    cells = grouped.cells(own, cell, square, left)

    room = PAIRS * memory  # for larger tiles too, as the pairs come afterwards

    def found() -> Iterator[Pairs]:
        search = PairSearch(points, None, radius, above, threads, room=room)
        for _, (i, j, d) in search.parts(cells):
            yield Pairs(at[i], at[j], d)
        if not len(at):
            return
        all_away, all_cells, all_squares = _of_group(guests, group)
        size = max(1, int(GUESTS * memory) // (rows.itemsize * rows.shape[1] + BESIDE))
        for start in range(0, len(all_away), size):
            some = slice(start, start + size)
            away, others = all_away[some], grouped.others(own, all_cells[some], all_squares[some])
            visit = PairSearch(
                Points.of(rows[away]), points, radius, above, threads, room=room, others=others
            )
            for _, (i, j, d) in visit.parts(cells):
                yield Pairs(np.minimum(away[i], at[j]), np.maximum(away[i], at[j]), d)

    with tempfile.TemporaryDirectory(dir=output.parent) as folder:
        store = PairStore(max(1, int(PAIRS * memory) // BYTES_IN_MEMORY), Path(folder))
        for number, pairs in enumerate(found()):
            store.add(number, without(pairs, codes, len(rows)))
        _write(output, len(store), store.pieces())


def _of_group(parts: Sequence[Routed], group: int) -> tuple[Positions, Positions, Singles]:
    """Return positions, cells and squared distances of a group's points, or guests, of all shards."""
    at, cell, square = (
        np.concatenate(column) for column in zip(*(part.part(group) for part in parts), strict=True)
    )
    return at, cell, square


def _write(output: Path, count: int, pieces: Iterator[Pairs]) -> None:
    with output.open("wb") as file:
        write_header(file, count)
        for pairs in pieces:
            file.write(records_of(pairs).tobytes())
