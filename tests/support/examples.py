"""Numbers of examples: few in the suite, many under `make stress`."""

import os

FACTOR = int(os.environ.get("TENPERCENT_EXAMPLES", "1"))
STRIDE = 1 if FACTOR > 1 else 3  # of a long row of moments to be killed at, each third in the suite


def some(count: int) -> int:
    """Return so many in the suite, and as many times as many as TENPERCENT_EXAMPLES says."""
    return FACTOR * count
