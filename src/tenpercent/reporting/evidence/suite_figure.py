"""The figure of a suite: accuracy against the fraction kept, a panel for each data set and embedder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from .arms import looks_of
from .figures import PAPER, Sheet, save

ACROSS = 3  # panels beside each other
PANEL = (3.6, 2.9)  # inches


def write_suite_figure(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    """Draw mean ± one standard deviation of each arm, and write it as SVG and PNG, whole or not at all.

    Args:
        path: of the SVG file; the PNG file lies beside it.
        rows: one an arm and fraction: data, embedder, arm, fraction, mean and std (0 to 1; std None for one trial).
    """
    panels = list(dict.fromkeys((row["data"], row["embedder"]) for row in rows))
    looks = looks_of(row["arm"] for row in rows)
    across = min(len(panels), ACROSS)
    down = -(-len(panels) // across)
    with matplotlib.rc_context(Sheet.PAPER.style):
        figure = Figure(figsize=(PANEL[0] * across, PANEL[1] * down + 0.4), layout="constrained")
        every = figure.subplots(down, across, squeeze=False).ravel()
        for axes in every[len(panels) :]:
            axes.set_visible(False)
        for axes, (data, embedder) in zip(every, panels, strict=False):
            mine = [row for row in rows if (row["data"], row["embedder"]) == (data, embedder)]
            _draw(axes, mine, looks)
            axes.set_title(
                data if len({name for _, name in panels}) == 1 else f"{data}, {embedder}", fontsize=11
            )
        keys = [axes.get_legend_handles_labels() for axes in every]
        named = {
            label: handle for handles, labels in keys for handle, label in zip(handles, labels, strict=True)
        }
        figure.legend(list(named.values()), list(named), loc="outside lower center", ncols=4, frameon=False)
    save(figure, path.with_suffix(""))


def _draw(axes: Axes, rows: Sequence[dict[str, Any]], looks: dict[str, Any]) -> None:
    for arm in dict.fromkeys(row["arm"] for row in rows):
        points = sorted((row for row in rows if row["arm"] == arm), key=lambda row: row["fraction"])
        colour = PAPER.get(looks[arm].colour, looks[arm].colour)
        mean = np.array([100 * row["mean"] for row in points])
        if arm == "full":
            axes.axhline(float(mean[0]), color=colour, linewidth=1.2, linestyle=(0, (4, 3)), label="full set")
            continue
        std = np.array([100 * (row["std"] or 0.0) for row in points])
        bars = np.minimum(std, [mean, 100 - mean])  # within the range of an accuracy
        kept = [100 * row["fraction"] for row in points]
        shape: Any = {"marker": looks[arm].sign, "markersize": 4.5, "linewidth": 1.6, "capsize": 2}
        axes.errorbar(kept, mean, bars, color=colour, label=arm, **shape)
    axes.invert_xaxis()
    axes.set_xlabel("training images kept")
    axes.set_ylabel("test accuracy")
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}%"))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}%"))
    axes.yaxis.set_major_locator(MaxNLocator(5))
    axes.margins(x=0.08, y=0.12)
