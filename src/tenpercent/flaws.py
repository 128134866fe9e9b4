"""Vectors without a direction: their detection, and their description for a person."""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum
from typing import Any

import numpy as np
import numpy.typing as npt

from .errors import counted

NAMED = 5  # rows of a kind that a message names; it counts all of them
BLOCK_BYTES = 32 * 2**20  # of vectors checked at a time

Codes = npt.NDArray[np.uint8]


class Flaw(IntEnum):
    """Flaw of a vector; of several, the first below."""

    NONE = 0
    MISSING = 1
    NAN = 2
    INFINITE = 3
    ZERO = 4

    @property
    def reason(self) -> str:
        """Description of the flaw of one such vector."""
        return _WORDS[self][0]


_WORDS = {
    Flaw.MISSING: ("is null or nan throughout", "are null or nan throughout"),
    Flaw.NAN: ("holds nan", "hold nan"),
    Flaw.INFINITE: ("holds infinity", "hold infinity"),
    Flaw.ZERO: ("is zero and has no direction", "are zero and have no direction"),
}


def flaws_of(vectors: npt.NDArray[Any], *, zero: bool = True) -> Codes:
    """Return the `Flaw` of each row.

    Args:
        vectors: floats [n, d].
        zero: whether a row of zeros counts.

    Returns:
        uint8[n].
    """
    codes = np.zeros(len(vectors), dtype=np.uint8)
    bad = ~np.isfinite(vectors).all(axis=1)
    if zero:
        bad |= ~vectors.any(axis=1)
    for row in np.flatnonzero(bad).tolist():
        gaps = np.isnan(vectors[row])
        if gaps.any():
            codes[row] = Flaw.MISSING if gaps.all() else Flaw.NAN
        else:
            codes[row] = Flaw.INFINITE if vectors[row].any() else Flaw.ZERO
    return codes


def all_flaws(vectors: npt.NDArray[Any], *, zero: bool = True) -> Codes:
    """Return `flaws_of` all rows, block by block: the vectors may be a file larger than memory."""
    size = max(1, BLOCK_BYTES // max(vectors[:1].nbytes, 1))
    blocks = [flaws_of(vectors[at : at + size], zero=zero) for at in range(0, len(vectors), size)]
    return np.concatenate([np.empty(0, dtype=np.uint8), *blocks])


def describe_flaws(codes: Codes, name: Callable[[int], str] | None = None) -> str:
    """Return in words the number of rows with each flaw, with the first of each named.

    Args:
        codes: `flaws_of` all rows; at least one has a flaw.
        name: a row -> its id, where rows have ids of their own.

    Returns:
        Such as ``12 of 1,000 vectors are zero and have no direction (rows 3, 17, 40, 41, 56, …), 2 hold nan (…)``.
    """
    said = []
    for flaw in (Flaw.ZERO, Flaw.NAN, Flaw.INFINITE, Flaw.MISSING):
        rows = np.flatnonzero(codes == flaw)
        if not len(rows):
            continue
        named = [str(row) if name is None else f"{name(row)!r} in row {row}" for row in rows[:NAMED].tolist()]
        more = ", …" if len(rows) > NAMED else ""
        head = ("row " if len(rows) == 1 else "rows ") if name is None else ""
        said.append((len(rows), f"{_WORDS[flaw][len(rows) > 1]} ({head}{', '.join(named)}{more})"))
    (count, first), *others = said
    of = f"{count:,} of {counted(len(codes), 'vector')} {first}"
    return ", ".join([of, *(f"{count:,} {rest}" for count, rest in others)])
