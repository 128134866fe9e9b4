"""Memory and threads of a clustering, and the error that says what would fit."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import psutil

from ..errors import TenpercentError, bytes_text
from .threads import cpus


@dataclass(frozen=True)
class Resources:
    """Resources of a clustering. They affect its speed and whether it can be done, never the result.

    Attributes:
        memory: bytes for everything but the vectors themselves; None for half of the free memory.
        threads: None for as many as this process may use.
        scratch: a folder for pairs that exceed the memory, and for resuming after an interruption; None for a temporary
            one, which is removed afterwards.
    """

    memory: int | None = None
    threads: int | None = None
    scratch: Path | None = None

    @property
    def bytes(self) -> int:
        """Number of bytes that may be used now."""
        return psutil.virtual_memory().available // 2 if self.memory is None else self.memory

    @property
    def workers(self) -> int:
        """Number of threads that may be used."""
        return self.threads or cpus()


class MemoryBudgetError(TenpercentError):
    """Error for a depth that needs more memory than the budget: says needed, allowed and what fits.

    Attributes:
        needed: bytes, approximately.
        allowed: bytes.
        fits: number of merges that should fit.
        n: number of vectors.
    """

    def __init__(self, asked: str, *, needed: int, allowed: int, fits: int, n: int) -> None:
        self.needed, self.allowed, self.fits, self.n = needed, allowed, fits, n
        depth = f"{fits:,} merges (keep {1 - fits / n:.2f}) should fit, or " if fits > 0 else ""
        super().__init__(
            f"{asked} of {n:,} vectors needs about {bytes_text(needed)} of memory, and {bytes_text(allowed)} may "
            f"be used; {depth}give more memory"
        )
