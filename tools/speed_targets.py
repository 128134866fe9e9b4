"""What the clustering is to reach, and whether it did: the targets of docs/speed.md."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

SKLEARN = 16.6  # seconds that it takes class by class on the machine that the targets in seconds are for
Rows = dict[str, Any]
Value = float | None


@dataclass(frozen=True)
class Target:
    """One thing to reach.

    Attributes:
        work: what is done.
        unit: of the value: ``s``, ``×``, ``MB`` or ``pairs``.
        limit: the largest value allowed; with ``×``, the smallest.
        value: takes the rows; None where it was not measured.
    """

    work: str
    unit: str
    limit: float
    value: Callable[[Rows], Value]


def of(row: str, *keys: str) -> Callable[[Rows], Value]:
    """Return a function that looks a value up in the rows."""

    def value(rows: Rows) -> Value:
        found: Any = rows.get(row, {})
        for key in keys:
            found = found.get(key, {}) if isinstance(found, dict) else {}
        return None if isinstance(found, dict) else float(found)

    return value


def times(row: str, label: str) -> Callable[[Rows], Value]:
    return of(row, "ratios", label, "median")


def ours(row: str, key: str) -> Callable[[Rows], Value]:
    return of(row, "contestants", "tenpercent", key)


def compiling(rows: Rows) -> Value:
    """Return how much longer the first call after installation takes than later calls."""
    row = rows.get("first-call", {})
    if "first calls" not in row:
        return None
    first, later = sorted(row["first calls"]), sorted(row["later calls"])
    return float(first[len(first) // 2] - later[len(later) // 2])


def wrong_pairs(rows: Rows) -> Value:
    """Return the pairs that the join misses or adds, held against float64."""
    found = rows.get("join", {}).get("contestants", {}).get("tenpercent", {}).get("facts", {})
    return None if not found else float(sum(found["against float64"][key] for key in ("missed", "added")))


RSS, ANONYMOUS = "MB above imports", "anonymous MB above imports"
BY_CLASS = "class by class, keep 90%"
TARGETS = (
    Target(f"{BY_CLASS}, from array to selection", "s", 0.6, ours("classes-0.9", "seconds")),
    Target(f"{BY_CLASS}: scikit-learn takes", "×", 25, times("classes-0.9", "scikit-learn")),
    Target(f"{BY_CLASS}: fastcluster takes", "×", 15, times("classes-0.9", "fastcluster")),
    Target("class by class, keep 50%: scikit-learn takes", "×", 10, times("classes-0.5", "scikit-learn")),
    Target("class by class, keep 10%: scikit-learn takes", "×", 5, times("classes-0.1", "scikit-learn")),
    Target("all together, keep 90%, from array to selection", "s", 1.7, ours("together-0.9", "seconds")),
    Target("all together, keep 90%: memory above the imports", "MB", 500, ours("together-0.9", RSS)),
    Target("all together, keep 90%: scikit-learn takes", "×", 250, times("sklearn-together", "scikit-learn")),
    Target("all together, keep 50%, from array to selection", "s", 6, ours("together-0.5", "seconds")),
    Target("all together, keep 50%: memory above the imports", "MB", 1000, ours("together-0.5", RSS)),
    Target("the join alone: faiss range search takes", "×", 8, times("join", "faiss range_search")),
    Target("the join alone: pairs missed or added", "pairs", 0, wrong_pairs),
    Target("1.28M × 64 together, keep 90% (to reach: 1M)", "s", 300, ours("growth-1280000", "seconds")),
    Target("1.28M × 64 together: memory above the imports", "MB", 6000, ours("growth-1280000", RSS)),
    Target(
        "1.28M × 2,048 in 1,000 classes, beside reading the file",
        "s",
        120,
        of("million-2048", "seconds beside reading, cold"),
    ),
    Target(
        "1.28M × 2,048 in 1,000 classes: anonymous memory above the imports",
        "MB",
        3000,
        ours("million-2048", ANONYMOUS),
    ),
    Target("two threads instead of one, the join", "×", 1.7, of("threads", "gains", "join", "median")),
    Target(
        "two cores instead of one, class by class, from array to selection",
        "×",
        1.7,
        of("threads", "gains", "selection, class by class", "median"),
    ),
    Target("first call after installation, beside later calls", "s", 3, compiling),
)


# ---- words -----------------------------------------------------------------------------------------------------------


def number(value: float, unit: str = "") -> str:
    """Return a value with three digits or so: 0.412 s, 1,240 MB, 26 ×."""
    text = f"{value:,.0f}" if abs(value) >= 100 or value == int(value) else f"{value:.3g}"
    return f"{text} {unit}".strip()


def scale(rows: Rows) -> float | None:
    """Return how much slower this machine was than the one that the targets in seconds are for."""
    seconds = of("classes-0.9", "contestants", "scikit-learn", "seconds")(rows)
    return None if seconds is None else seconds / SKLEARN


def limit(target: Target, rows: Rows) -> float:
    """Return what is to be reached on this machine."""
    scaled = target.unit == "s" and not target.work.startswith("first call")
    return target.limit * (scale(rows) or 1.0) if scaled else target.limit


def verdict(target: Target, rows: Rows) -> tuple[str, str, str]:
    """Return the value, what was to be reached, and whether it was."""
    most, value = limit(target, rows), target.value(rows)
    sign = "≥" if target.unit == "×" else "≤"
    asked = number(most, target.unit) if target.limit else "none"
    asked = asked if not target.limit else f"{sign} {asked}"
    if most != target.limit:
        asked += f" (there {number(target.limit)})"
    if value is None:
        return "not measured", asked, "–"
    reached = value >= most if sign == "≥" else value <= most
    return number(value, target.unit), asked, "reached" if reached else "**missed**"
