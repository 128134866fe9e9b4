"""Memory limit of clustering: its notation, and the error where it is too little."""

from __future__ import annotations

import math
import re
from decimal import Decimal
from numbers import Integral

from ..errors import UsageError, bytes_text
from ..linkage.memory import MemoryBudgetError
from .cut import Cut

LEAST = 1024  # bytes: a smaller number lacks its unit
UNITS = {  # a letter alone counts as in most tools: 4G is 4GiB, and only 4GB is in thousands
    **{f"{letter}b": 1000**power for power, letter in enumerate(("", *"kmgt"))},
    **{
        unit: 1024**power
        for power, letter in enumerate("kmgt", start=1)
        for unit in (letter, f"{letter}i", f"{letter}ib")
    },
    "": 1,
}


def checked_memory(memory: int | str | None) -> int | None:
    """Return a number of bytes; None stays None, which means half of the memory free when clustering begins.

    Args:
        memory: bytes, or a number with a unit in any case: KiB, MiB, GiB, TiB, or K, M, G, T alone (powers of 1,024);
            KB, MB, GB, TB (powers of 1,000); B.

    Raises:
        UsageError: anything else, 0, or a small number without a unit.
    """
    if memory is None:
        return None
    if isinstance(memory, Integral) and not isinstance(memory, bool):
        size, unit = int(memory), ""
    else:
        text = memory if isinstance(memory, str) else ""
        found = re.fullmatch(r"([0-9]+\.?[0-9]*|\.[0-9]+)\s*([A-Za-z]*)", text.strip())
        if found is None or found[2].lower() not in UNITS:
            raise UsageError(
                f"memory is {memory!r}; it must be a number of bytes or one with a unit, e.g. 4GiB, 4G or 500MB"
            )
        unit = found[2]
        size = int(Decimal(found[1]) * UNITS[unit.lower()])
    if size < 1:
        raise UsageError(f"memory is {memory!r}; it must be above 0, e.g. 4GiB")
    if size < LEAST and not unit:
        raise UsageError(f"memory is {memory!r}, in bytes as it has no unit; give one, e.g. {size}GiB")
    return size


def too_deep(error: MemoryBudgetError, needed: int, left: float, cut: Cut) -> MemoryBudgetError:
    """Return `error` with its meaning for a cut: what fits, what the cut needs, what to change.

    Args:
        error: the error of a class that does not fit.
        needed: the bytes of the class that needs most.
        left: the fraction that every class can be reduced to, 1 or more where nothing fits.
        cut: the requested cut.
    """
    remedy = f"give --memory {bytes_text(needed).replace(' ', '')} or more"
    over = f"needs about {bytes_text(needed)}, and {bytes_text(error.allowed)} may be used"
    keep = math.ceil(100 * left - 1e-9) / 100
    if cut.keep is None:
        fits = f", or --keep {keep:g}, which fits" if keep < 1 else ""
        said = f"--threshold {cut.threshold:g} {over}; {remedy}{fits}"
    elif cut.keep < keep < 1:
        said = f"--keep {keep:g} fits, {cut.keep:g} needs about {bytes_text(needed)}; {remedy}"
    else:
        said = f"--keep {cut.keep:g} {over}; {remedy}"
    error.needed, error.args = needed, (said,)
    return error
