"""How much memory the pairs may take, and the error that says what fits."""

from __future__ import annotations

import psutil

from ..errors import TenpercentError

# An upper bound per pair at the peak: found and joined (2 × 16), or ordered (8), sorted (16) and walked (up to 48).
BYTES_PER_PAIR = 72
MOST_PAIRS = 1 << 29  # the walk numbers the two ends of each pair with 32 bits


class MemoryBudgetError(TenpercentError):
    """The pairs that a cut needs don't fit into the memory budget: says needed, free and what fits."""


def affordable_pairs(memory: int | None) -> int:
    """Return how many pairs fit into `memory` bytes, or into half of what is free."""
    budget = psutil.virtual_memory().available // 2 if memory is None else memory
    return min(budget // BYTES_PER_PAIR, MOST_PAIRS)


def in_words(count: float) -> str:
    """Return the memory of so many pairs for a person to read."""
    size = count * BYTES_PER_PAIR
    return f"{size / 2**30:.1f} GiB" if size >= 2**30 / 10 else f"{size / 2**20:.1f} MiB"
