"""How much memory clustering may take, as people write it: ``4GiB``, ``500MB``, or bytes."""

from __future__ import annotations

import math
import re
from decimal import Decimal
from numbers import Integral

from ..errors import UsageError

UNITS = {
    "": 1,
    **{f"{letter}b": 1000**power for power, letter in enumerate(("", *"kmgt"))},
    **{f"{letter}ib": 1024**power for power, letter in enumerate("kmgt", start=1)},
}


def checked_memory(memory: int | str | None) -> int | None:
    """Return a number of bytes; None stays None, which is half of what is free when clustering begins.

    Args:
        memory: bytes, or a number with a unit: B, KB, MB, GB, TB (powers of 1,000), KiB, MiB, GiB, TiB (of 1,024).

    Raises:
        UsageError: something else, or nothing at all (0).
    """
    if memory is None:
        return None
    if isinstance(memory, Integral) and not isinstance(memory, bool):
        size = int(memory)
    else:
        text = memory if isinstance(memory, str) else ""
        found = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)\s*([A-Za-z]*)", text.strip())
        if found is None or found[2].lower() not in UNITS:
            raise UsageError(
                f"memory is {memory!r}; it must be a number of bytes or one with a unit, e.g. 4GiB or 500MB"
            )
        size = int(Decimal(found[1]) * UNITS[found[2].lower()])
    if size < 1:
        raise UsageError(f"memory is {memory!r}; it must be above 0, e.g. 4GiB")
    return size


def in_words(size: float) -> str:
    """Return bytes for a person to read, rounded up; without the space it is what ``--memory`` takes."""
    for unit, least in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if size >= least:
            tenths = math.ceil(10 * size / least)
            return f"{tenths / 10:g} {unit}" if tenths < 100 else f"{math.ceil(size / least)} {unit}"
    return f"{math.ceil(size)} B"
