"""How the seconds grow with the number of vectors."""

from __future__ import annotations

import math
from typing import Any


def growth_line(rows: dict[str, dict[str, Any]]) -> dict[str, Any] | None:
    """Return the growth exponent over all sizes by least squares on the log-log line, and the seconds it gives 1M.

    Args:
        rows: those of the JSON.
    """
    points = [
        (math.log(row["n"]), math.log(row["contestants"]["tenpercent"]["seconds"]))
        for name, row in rows.items()
        if name.startswith("growth-") and "seconds" in row.get("contestants", {}).get("tenpercent", {})
    ]
    if len(points) < 3:
        return None
    x, y = (sum(column) / len(points) for column in zip(*points, strict=True))
    exponent = sum((a - x) * (b - y) for a, b in points) / sum((a - x) ** 2 for a, _ in points)
    return {
        "exponent": round(exponent, 3),
        "sizes": len(points),
        "seconds for 1M on the line": round(math.exp(y + exponent * (math.log(1e6) - x)), 1),
    }
