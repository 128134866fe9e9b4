"""Figure of the accuracies of embeddings: a line an embedding, with intervals, in a file of its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import matplotlib
import numpy as np
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from ...reporting.figures import BAR, HIGH, MUTED, RULE, STYLE, inline

WIDTH, ROW, AROUND = 640, 34, 74  # pixels
STYLE_SHEET = (
    "<style>svg{--ink:#1f2328;--muted:#59636e;--rule:#d1d9e0;--bar:#0969da;--line:#afb8c1;--high:#bc4c00;--low:#1a7f37;"
    "--kept:#1a7f37;background:#fff;font-family:sans-serif}</style>"
)


class Shown(Protocol):
    """The values drawn for an embedding; see `comparison.Row`."""

    @property
    def embedding(self) -> str: ...
    @property
    def layer(self) -> str: ...
    @property
    def knn(self) -> float: ...
    @property
    def knn_low(self) -> float: ...
    @property
    def knn_high(self) -> float: ...
    @property
    def linear(self) -> float: ...
    @property
    def linear_low(self) -> float: ...
    @property
    def linear_high(self) -> float: ...


def probe_figure(rows: Sequence[Shown]) -> str:
    """Draw kNN and linear accuracy of each embedding with 95% intervals, first at the top; return it as SVG."""
    height = AROUND + ROW * len(rows)
    names = [f"{row.embedding}, {row.layer}" for row in rows]
    left = min(24 + 6.5 * max(map(len, names)), 0.5 * WIDTH)
    at = np.arange(len(rows), dtype=np.float64)
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH / 72, height / 72))
        FigureCanvasSVG(figure)
        figure.patch.set_alpha(0)
        box = (left / WIDTH, 40 / height, 1 - (left + 12) / WIDTH, 1 - AROUND / height)
        axes = figure.add_axes(box)
        axes.patch.set_alpha(0)
        for kind, colour, shape, up in (("knn", BAR, "o", -0.12), ("linear", HIGH, "s", 0.12)):
            value, low, high = (
                np.array([getattr(row, kind + end) for row in rows]) for end in ("", "_low", "_high")
            )
            axes.hlines(at + up, low, high, color=colour, linewidth=1.4)
            label = "20 nearest neighbours" if kind == "knn" else "linear classifier"
            axes.plot(value, at + up, shape, color=colour, markersize=5, label=label)
        axes.set_ylim(len(rows) - 0.5, -0.5)
        axes.set_yticks(at.tolist(), names)
        axes.tick_params(length=0, labelcolor=MUTED)
        axes.margins(x=0.05)
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:g}%"))
        axes.grid(axis="x", color=RULE, linewidth=0.7)
        axes.set_xlabel("accuracy on images the embedding has not used")
        axes.legend(
            loc="lower left", bbox_to_anchor=(0, 1), ncols=2, frameon=False, borderpad=0, borderaxespad=0.4
        )
        words = "; ".join(
            f"{name}: {100 * row.knn:.1f}% and {100 * row.linear:.1f}%"
            for name, row in zip(names, rows, strict=True)
        )
        drawn = inline(figure, "probe", f"Accuracy by neighbours and by a linear classifier. {words}.")
    head, _, rest = drawn.partition(">")
    return f"{head}>{STYLE_SHEET}{rest}\n"
