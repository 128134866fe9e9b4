"""Sizes of the pieces: how many there are follows from the memory of one task and the number done at once."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Self

from ..candidates import GROUP
from ..filters import WIDEST
from ..growth import BYTES_PER_COORDINATE, BYTES_PER_THREAD, LEAST, ROWS_OF_TILE
from ..memory import MemoryBudgetError
from ..walk import BYTES_PER_EDGE

SHARD = 100_000  # rows
SMALL = 2_000  # points: a group of fewer is not worth a task
BESIDE = 64  # bytes of a point beside its row: its divisors, cell, places
LIMITS = 60  # bytes of two cells of which one is in a group of candidates

ROWS, GUESTS, PAIRS, EDGES = 0.3, 0.2, 0.2, 0.7  # fractions of a task's memory


@dataclass(frozen=True)
class Pieces:
    """Numbers of pieces. They affect speed and memory, never the result.

    Attributes:
        shard: rows of a shard.
        groups: number of groups of cells.
        together: tasks done at once, and so the least number of shares of the components.
        memory: bytes of one task …
        beside: … and those that every task takes beside them.
        threads: of one task.
        alone: threads and bytes of a task that has a machine for itself.
    """

    shard: int
    groups: int
    together: int
    memory: int
    beside: int = 0
    threads: int = 1
    alone: tuple[int, int] = (1, 0)

    @classmethod
    def of(
        cls,
        shape: tuple[int, int],
        itemsize: int,
        together: int,
        each: tuple[int, int],
        alone: tuple[int, int],
    ) -> Self:
        """Divide vectors for tasks of a given size.

        Args:
            shape: of the vectors, (n, d).
            itemsize: bytes of a value.
            together: number of tasks done at once.
            each: threads and bytes of one of them.
            alone: threads and bytes of a task that has a machine for itself.

        Raises:
            MemoryBudgetError: a task's own memory is not enough for anything.
        """
        (n, width), (threads, memory) = shape, each
        cells = 1.4 * math.sqrt(n)
        row = itemsize * width
        tile = BYTES_PER_THREAD + BYTES_PER_COORDINATE * ROWS_OF_TILE * width
        beside = int(threads * tile + LIMITS * GROUP * cells + 8 * cells * width + 8 * n)
        left = memory - beside
        if left < LEAST:
            raise MemoryBudgetError("any clustering", needed=beside + LEAST, allowed=memory, fits=0, n=n)
        least = n * (row + BESIDE) / (ROWS * left)
        groups = 1 if width > WIDEST else max(math.ceil(least), min(2 * together, math.ceil(n / SMALL)))
        return cls(
            min(SHARD, max(1, math.ceil(n / together))), groups, together, left, beside, threads, alone
        )

    def shards(self, n: int) -> list[tuple[int, int]]:
        """Return where each shard of n rows begins and ends."""
        return [(start, min(start + self.shard, n)) for start in range(0, n, self.shard)]

    def shares(self, edges: float, pairs: int) -> int:
        """Return the number of shares for pairs that leave about so many edges, at most 2¹⁶ − 1."""
        by_memory = math.ceil(edges * BYTES_PER_EDGE / (EDGES * self.memory))
        return min(max(by_memory, min(self.together, math.ceil(pairs / ONE_SHARE)), 1), 2**16 - 1)


ONE_SHARE = 50_000  # pairs: fewer are not worth a task
