"""The report's plots: matplotlib drawings as inline SVG that follow the page's colours, light or dark."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import matplotlib
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, MaxNLocator, NullLocator

from ..errors import counted
from .removal import RemovalCurve

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

# Drawn in these, then replaced by the page's CSS variables, so that one drawing serves light and dark.
INK, MUTED, RULE, BAR, LINE, HIGH, LOW, CUT = (f"#0{digit}0{digit}0{digit}" for digit in range(1, 9))
ARMS = (*(f"#0{letter}0{letter}0{letter}" for letter in "abcdef"), "#1a1a1a")  # of an experiment, see `arms`
COLOURS = {
    INK: "var(--ink)",
    MUTED: "var(--muted)",
    RULE: "var(--rule)",
    BAR: "var(--bar)",
    LINE: "var(--line)",
    HIGH: "var(--high)",
    LOW: "var(--low)",
    CUT: "var(--kept)",
    **{colour: f"var(--arm{number})" for number, colour in enumerate(ARMS, 1)},
}
STYLE: Any = {  # matplotlib's keys are a Literal of three hundred names
    "svg.fonttype": "none",
    "svg.hashsalt": "tenpercent",
    "font.size": 11,
    "axes.edgecolor": RULE,
    "axes.labelcolor": MUTED,
    "axes.titlecolor": INK,
    "text.color": INK,
    "text.parse_math": False,
    "xtick.color": RULE,
    "ytick.color": RULE,
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": MUTED,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.unicode_minus": True,
    "path.simplify": True,
}
SIZE_TICKS = (2, 5, 10, 20, 50, 100, 200, 500, *(10**power for power in range(3, 9)))
EVERY_TICK = 12  # up to this size each has its number on the axis
EXACT_BARS = 40  # beyond this size the axis of sizes is logarithmic
POINTS = 24_000  # shared by all curves of a figure: far finer than the screen


@dataclass(frozen=True, eq=False)
class MergeCurve:
    """The merges of one class in order of height.

    Attributes:
        fraction: float64[k], the fraction of its images that the merges so far would remove, ascending.
        height: float64[k], the height of each merge, ascending.
        cut: how many of them the selection takes.
    """

    fraction: Floats
    height: Floats
    cut: int


def sizes_figure(sizes: Ints, counts: Ints, name: str, *, largest: int, most: int, width: int = 230) -> str:
    """Draw the number of groups by size on a logarithmic axis (the paper, Figs 4, 7, 10).

    Args:
        sizes, counts: int64[k], as `tables.group_sizes` returns them.
        name: the figure's name on its page, and the prefix of its ids.
        largest, most: the ends of the two axes, so that panels can share them.
        width: in pixels.
    """
    with matplotlib.rc_context(STYLE):
        figure, axes = blank(width, 150 if width < 400 else 240, left=34 if width < 300 else 52, bottom=34)
        logarithmic = largest > EXACT_BARS
        if len(sizes) and logarithmic:
            axes.vlines(sizes, 0.5, counts, colors=BAR, linewidth=1.6)
            axes.plot(sizes, counts, "o", markersize=3, color=BAR)
        elif len(sizes):
            axes.bar(sizes, counts, width=0.72, color=BAR, linewidth=0)
        axes.set_yscale("log")
        axes.set_ylim(0.5, max(most, 2) * 1.6)
        axes.yaxis.set_major_locator(LogLocator(numticks=99))
        axes.yaxis.set_minor_locator(NullLocator())
        axes.yaxis.set_major_formatter(FuncFormatter(_count))
        axes.grid(axis="y", color=RULE, linewidth=0.7)
        if logarithmic:
            axes.set_xscale("log")
            axes.set_xlim(1.8, largest * 1.15)
            marks = [tick for tick in SIZE_TICKS if tick <= largest]
            axes.xaxis.set_major_locator(
                FixedLocator(marks[:: 1 if width >= 400 else max(len(marks) // 4, 1)])
            )
            axes.xaxis.set_minor_locator(NullLocator())
        else:
            axes.set_xlim(1.3, max(largest, 5) + 0.7)
            ticks = EVERY_TICK if largest <= EVERY_TICK else 6
            axes.xaxis.set_major_locator(MaxNLocator(nbins=ticks, integer=True, min_n_ticks=2))
        axes.xaxis.set_major_formatter(FuncFormatter(_count))
        axes.set_xlabel("images in the group")
        if width >= 300:
            axes.set_ylabel("groups")
        words = "no group of two or more"
        if len(sizes):
            words = f"{counted(int(counts.sum()), 'group')} of 2 to {sizes[-1]:,} images"
        return inline(figure, name, f"Bar chart: number of groups by size; {words}.")


def curve_figure(
    curves: Sequence[MergeCurve], name: str, *, high: int | None, low: int | None, width: int
) -> str:
    """Draw the height of each merge against the fraction removed, with the cut marked on every curve.

    Args:
        curves: one a class, or one alone.
        name: the figure's name on its page.
        high, low: the curves to pick out in colour, or None.
        width: in pixels; narrow drawings keep their letters readable on a phone.
    """
    with matplotlib.rc_context(STYLE):
        figure, axes = blank(width, 270 if width < 500 else 350, left=52, bottom=40)
        each = int(np.clip(POINTS // max(len(curves), 1), 24, 600))
        many = len(curves) > 1
        picked = {high: HIGH, low: LOW} if many else {0: INK}
        lines = [_points(curve, each) for curve in curves]
        behind = [line for number, line in enumerate(lines) if len(line) and number not in picked]
        opacity = 1.0 if len(curves) <= 40 else 0.5
        axes.add_collection(LineCollection(behind, colors=LINE, linewidths=1.0, alpha=opacity, zorder=2))
        for number, colour in picked.items():
            if number is not None and len(lines[number]):
                axes.plot(*lines[number].T, color=colour, linewidth=1.8, zorder=3)
        axes.autoscale_view()
        marks = [(c.fraction[c.cut - 1], c.height[c.cut - 1]) for c in curves if c.cut]
        _mark_cut(axes, marks)
        axes.margins(x=0.02)
        _label(axes, width, "removed" + (" of the class" if many else ""), "height of the merge")
        return inline(figure, name, _in_words(curves, marks))


def removal_figure(curve: RemovalCurve, name: str, removed: float, knee: int | None, *, width: int) -> str:
    """Draw the largest and the mean dissimilarity of removed images to those kept, against the fraction removed.

    Args:
        curve: of a tree.
        name: the figure's name on its page.
        removed: the fraction that the selection removes, marked by a line.
        knee: the index of the knee, marked by a dot; None for none.
        width: in pixels.
    """
    with matplotlib.rc_context(STYLE):
        figure, axes = blank(width, 250 if width < 500 else 300, left=52, bottom=40)
        axes.plot(curve.fraction, curve.largest, color=INK, linewidth=1.8, zorder=3)
        axes.plot(curve.fraction, curve.mean, color=BAR, linewidth=1.8, zorder=3)
        axes.axvline(removed, color=CUT, linewidth=1.2, linestyle=(0, (4, 3)), zorder=1)
        if knee is not None:
            axes.plot(curve.fraction[knee], curve.largest[knee], "o", markersize=6, color=HIGH, zorder=4)
        _label(axes, width, "removed", "dissimilarity to the image kept")
        words = (
            "Line chart: dissimilarity of removed images to those kept, up to "
            f"{100 * curve.fraction[-1]:.0f}% removed: the largest is {_signed(f'{curve.largest[-1]:.3g}')} there, "
            f"the mean {_signed(f'{curve.mean[-1]:.3g}')}."
        )
        return inline(figure, name, words)


def _label(axes: Axes, width: int, x: str, y: str) -> None:
    """Let both axes begin at 0, and label them: a fraction removed in percent, and a dissimilarity."""
    axes.set_xlim(left=0)
    axes.set_ylim(bottom=0)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=5 if width < 500 else 8))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:g}%"))
    axes.yaxis.set_major_locator(MaxNLocator(nbins=5))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: _signed(f"{value:g}")))
    axes.grid(axis="y", color=RULE, linewidth=0.7)
    axes.set_xlabel(x)
    axes.set_ylabel(y)


def _points(curve: MergeCurve, most: int) -> Floats:
    """Return the points of a curve, [k, 2], thinned to `most` of them, first and last included."""
    if not len(curve.height):
        return np.empty((0, 2))
    at = np.unique(np.linspace(0, len(curve.height) - 1, most).round().astype(np.int64))
    return np.column_stack([curve.fraction[at], curve.height[at]])


def _mark_cut(axes: Axes, marks: list[tuple[float, float]]) -> None:
    """Put a dot on each curve where it is cut, and a line where the cuts share a fraction or a height."""
    if not marks:
        return
    x, y = np.array(marks).T
    axes.plot(x, y, "o", markersize=5 if len(marks) <= 40 else 2.5, color=CUT, zorder=4, linestyle="none")
    if np.ptp(x) <= 0.02:  # every class loses the same fraction, but for rounding
        axes.axvline(float(np.median(x)), color=CUT, linewidth=1.2, linestyle=(0, (4, 3)), zorder=1)
    if len(marks) == 1 or np.ptp(x) > 0.02:
        axes.axhline(float(y.max()), color=CUT, linewidth=1.2, linestyle=(0, (4, 3)), zorder=1)


def _in_words(curves: Sequence[MergeCurve], marks: list[tuple[float, float]]) -> str:
    what = f"Line chart: height of the merge against fraction removed, {counted(len(curves), 'curve')}."
    if not marks:
        return f"{what} Nothing is cut."
    x, y = np.array(marks).T
    heights = f"heights from {y.min():.3g} to {y.max():.3g}" if len(marks) > 1 else f"height {y.max():.3g}"
    return f"{what} The cut is at {100 * np.median(x):.1f}% removed, at {_signed(heights)}."


def _signed(text: str) -> str:
    """Return numbers with a true minus sign, also in the exponent of a small one."""
    return text.replace("-", "−")


def _count(value: float, _: object) -> str:
    return f"{value:,.0f}"


def blank(width: int, height: int, *, left: int, bottom: int) -> tuple[Figure, Axes]:
    """Return a figure of width × height pixels (one point is one unit of the SVG) with its axes."""
    figure = Figure(figsize=(width / 72, height / 72))
    FigureCanvasSVG(figure)
    figure.patch.set_alpha(0)
    box = (left / width, bottom / height, 1 - (left + 8) / width, 1 - (bottom + 8) / height)
    axes = figure.add_axes(box)
    axes.patch.set_alpha(0)
    axes.set_axisbelow(True)
    axes.tick_params(length=3)
    return figure, axes


def inline(figure: Figure, name: str, label: str) -> str:
    """Return `figure` as an <svg> element for a page that holds other figures.

    Its ids begin with `name`, its colours are the page's, it has a text alternative and no style sheet.
    """
    file = io.StringIO()
    figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    text = file.getvalue()[file.getvalue().index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>|<style[^>]*>.*?</style>|<!--.*?-->", "", text, flags=re.DOTALL)
    used = set(re.findall(r"url\(#([^)]+)\)", text)) | set(re.findall(r'href="#([^"]+)"', text))
    text = re.sub(r' id="([^"]*)"', lambda at: f' id="{name}-{at[1]}"' if at[1] in used else "", text)
    text = re.sub(r"url\(#([^)]+)\)", rf"url(#{name}-\1)", text)
    text = re.sub(r'(?:xlink:)?href="#([^"]+)"', rf'href="#{name}-\1"', text)
    for drawn, shown in COLOURS.items():
        text = text.replace(drawn, shown)
    text = re.sub(r"font: ([\d.]+)px [^;\"]*", r"font-size: \1px", text)
    text = re.sub(r"font-family: [^;\"]*;? ?", "", text)
    text = re.sub(r"\s*\n\s*", "\n", text)
    width, height = (72 * inches for inches in figure.get_size_inches())
    head = (
        f'<svg class="plot" xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" role="img" '
        f'aria-label="{escape(label, quote=True)}" style="max-width:{width:g}px">'
    )
    return re.sub(r"<svg[^>]*>", lambda _: head, text, count=1)
