"""The plot of docs/speed.md: seconds and memory against the number of vectors, both axes logarithmic."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullFormatter, NullLocator

Points = list[tuple[float, float]]
STYLE: Any = {
    "font.size": 11,
    "font.family": "DejaVu Sans",
    "svg.fonttype": "path",
    "svg.hashsalt": "tenpercent",
    "axes.spines.top": False,
    "axes.spines.right": False,
}
INK, MUTED, RULE, PAPER = "#1f2328", "#59636e", "#d8dee4", "#ffffff"
COLOURS = {"tenpercent": "#0b66c3", "scikit-learn": "#c2410c", "fastcluster": "#7a5c9e"}
MARKS = {"tenpercent": "o", "scikit-learn": "s", "fastcluster": "^"}
TICKS = (10_000, 40_000, 160_000, 640_000)


def series(rows: dict[str, Any], key: str) -> dict[str, Points]:
    """Return the points (vectors, value) of each contestant, by size; scikit-learn's last is the real 50,000."""
    found: dict[str, Points] = {label: [] for label in COLOURS}
    for name, row in rows.items():
        n = row.get("n", 50_000 if name == "sklearn-together" else None)
        for label, result in row.get("contestants", {}).items():
            own = name.startswith("growth-") or label == "scikit-learn"
            if n is not None and own and label in found and key in result:
                found[label].append((float(n), float(result[key])))
    return {label: sorted(points) for label, points in found.items() if points}


def draw(rows: dict[str, Any], path: Path) -> bool:
    """Write the plot as SVG; return False, and write nothing, where fewer than two sizes were measured.

    Args:
        rows: those of the JSON.
        path: where to.
    """
    if len(series(rows, "seconds").get("tenpercent", ())) < 2:
        return False
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(8.0, 4.1), dpi=100, facecolor=PAPER, layout="constrained")
        FigureCanvasSVG(figure)
        left, right = figure.subplots(1, 2)
        _panel(left, series(rows, "seconds"), "Seconds", _seconds, guides=True)
        _panel(
            right, series(rows, "MB above imports"), "Peak memory above the imports", _megabytes, guides=False
        )
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, format="svg", metadata={"Date": None})
    return True


def _panel(axes: Axes, lines: dict[str, Points], title: str, words: Any, *, guides: bool) -> None:
    axes.set(xscale="log", yscale="log")
    axes.set_title(title, loc="left", color=INK, fontsize=12, pad=10)
    axes.set_xlabel("vectors of 64 values", color=MUTED)
    values = [value for points in lines.values() for _, value in points]
    axes.set_ylim(min(values) / 2.5, max(values) * 4)
    axes.set_xlim(7_000, max(n for points in lines.values() for n, _ in points) * 1.6)
    axes.xaxis.set_major_locator(FixedLocator(TICKS))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda n, _: f"{n / 1000:,.0f}k"))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(words))
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.tick_params(colors=MUTED, which="both", length=0)
    axes.grid(True, which="major", color=RULE, linewidth=0.8)
    axes.set_axisbelow(True)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(RULE)
    for label, points in lines.items():
        x, y = np.asarray(points).T
        axes.plot(x, y, color=COLOURS[label], marker=MARKS[label], linewidth=2.2, markersize=6, zorder=3)
        _label(axes, label, points)
    if guides:
        _guides(axes, lines["tenpercent"])


def _label(axes: Axes, label: str, points: Points) -> None:
    """Write a line's name where no other line comes: beside the end, under the start, or under the middle."""
    at, offset = {
        "scikit-learn": (-1, (9, -3)),
        "fastcluster": (0, (4, -16)),
        "tenpercent": (-(len(points) // 3), (8, -14)),
    }[label]
    axes.annotate(
        label,
        points[at],
        xytext=offset,
        textcoords="offset points",
        color=COLOURS[label],
        fontweight="bold",
    )


def _guides(axes: Axes, points: Points) -> None:
    """Draw how lines of n and n² rise from the first point."""
    n = np.asarray([points[0][0], points[-1][0]])
    for power, name in ((1, "n"), (2, "n²")):
        y = points[0][1] * (n / n[0]) ** power
        axes.plot(n, y, color=MUTED, linewidth=1.0, linestyle=(0, (2, 3)), zorder=1)
        top = axes.get_ylim()[1]
        at = n[1] if y[1] < top else n[0] * (top / points[0][1]) ** (1 / power) / 1.35
        axes.annotate(
            name,
            (at, points[0][1] * (at / n[0]) ** power),
            xytext=(4, -3) if power == 1 else (6, -8),
            textcoords="offset points",
            color=MUTED,
            fontsize=10,
        )


def _seconds(value: float, _: object) -> str:
    return f"{value:g} s"


def _megabytes(value: float, _: object) -> str:
    return f"{value / 1000:g} GB" if value >= 1000 else f"{value:g} MB"
