"""Plots of an experiment: accuracy against fraction, training curves, and classes against the full set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator

from ...data.store.files import replacing
from ..figures import ARMS, CUT, INK, MUTED, RULE, STYLE, Floats, blank, inline
from .arms import Look

PAPER = {  # values of the page's variables in the light theme, for figures that stand alone
    INK: "#1b1d1f",
    MUTED: "#5b6168",
    RULE: "#dcdfe2",
    CUT: "#15803d",
    **dict(
        zip(
            ARMS,
            ("#0b62a8", "#c4500a", "#00795a", "#a8457f", "#8a6d00", "#2f8fa8", "#7a4a2b"),
            strict=True,
        )
    ),
}
NAMED = 18  # letters of a class's name beside the axis
DODGE = 0.008  # of the axis, between arms at the same fraction, so that their intervals stand side by side
CROWD = 0.1  # of the axis, the most that all arms of a fraction take
BETWEEN = 0.6  # the same, of the way to the next fraction
STEPS = (1, 2, 2.5, 5, 10)  # between two ticks, times a power of ten
DOTS = 200  # per inch, of PNG files


@dataclass(frozen=True, eq=False)
class Line:
    """An arm's accuracies by fraction, or another series.

    Attributes:
        name: in words.
        look: its colour and sign.
        x: float64[k].
        y, low, high: float64[k], the mean and its 95% interval; nan for none.
    """

    name: str
    look: Look
    x: Floats
    y: Floats
    low: Floats
    high: Floats


@dataclass(frozen=True, eq=False)
class Level:
    """The accuracy of the full set with its interval, and the margin below it, all in percent."""

    mean: float
    low: float | None
    high: float | None
    margin: float


@dataclass(frozen=True, eq=False)
class Trace:
    """Training curves of an arm: the mean, and each trial.

    Attributes:
        name: in words.
        look: its colour and sign.
        epochs, mean: float64[k].
        trials: a pair of epochs and values for each.
    """

    name: str
    look: Look
    epochs: Floats
    mean: Floats
    trials: tuple[tuple[Floats, Floats], ...]


class Sheet(Enum):
    """Medium of a figure: a page, with its own variables as colours and its own key, or paper."""

    PAGE = "page"
    PAPER = "paper"

    def tint(self, colour: str) -> str:
        """Return the value that a colour is drawn in."""
        return PAPER.get(colour, colour) if self is Sheet.PAPER else colour

    @property
    def ground(self) -> str:
        """Background colour; a page has its own, light or dark."""
        return "white" if self is Sheet.PAPER else "none"

    @property
    def style(self) -> Any:
        """matplotlib's settings, to be active while drawing and while writing."""
        if self is Sheet.PAGE:
            return STYLE
        return {key: PAPER.get(value, value) for key, value in STYLE.items()} | {"svg.fonttype": "path"}


def fraction_figure(lines: Sequence[Line], level: Level | None, sheet: Sheet, width: int) -> Figure:
    """Draw accuracy against the fraction kept, one line an arm (the paper, Figs 2, 5, 8 and 9).

    Args:
        lines: x is the fraction kept in percent, y the accuracy in percent.
        level: the full set, or None where it was not trained.
        sheet: the medium.
        width: in pixels.
    """
    with matplotlib.rc_context(sheet.style):
        figure, axes = blank(width, 280 if width < 500 else 380, left=46 if width < 500 else 58, bottom=44)
        every = np.concatenate([line.x for line in lines]) if lines else np.array([100.0])
        span = max(100.0 - float(every.min()), 5.0)
        left, right = 100 - span - 0.06 * span, 100 + 0.06 * span
        if level is not None:
            _draw_level(axes, level, sheet)
        for line, shifts in zip(lines, _side_by_side(lines, span, width), strict=True):
            _draw_line(axes, line, shifts, sheet)
        axes.set_xlim(left, right)
        axes.margins(y=0.08)
        ticks = np.unique(np.append(np.round(every, 6), 100.0))
        axes.xaxis.set_major_locator(FixedLocator(_apart(ticks, span * (0.11 if width < 500 else 0.045))))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{round(value, 2):g}%"))
        axes.yaxis.set_major_locator(MaxNLocator(steps=STEPS, nbins=6))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{round(value, 6):g}%"))
        axes.grid(axis="y", color=sheet.tint(RULE), linewidth=0.7)
        axes.set_xlabel("training images kept")
        axes.set_ylabel("test accuracy")
        _draw_key(figure, axes, sheet)
        return figure


def epochs_figure(traces: Sequence[Trace], what: str, sheet: Sheet, width: int, since: float = 0.0) -> Figure:
    """Draw a quantity against epochs, each trial thin and their mean bold (the article's three plots).

    Args:
        traces: one an arm.
        what: the quantity, for the axis.
        sheet: the medium.
        width: in pixels.
        since: the first epoch shown; the axis of values then fits what is shown.
    """
    with matplotlib.rc_context(sheet.style):
        figure, axes = blank(width, 250, left=52, bottom=42)
        for trace in traces:
            for epochs, values in trace.trials if len(trace.trials) > 1 else ():
                shown = epochs >= since
                axes.plot(
                    epochs[shown],
                    values[shown],
                    color=sheet.tint(trace.look.colour),
                    linewidth=0.7,
                    alpha=0.3,
                )
            shown = trace.epochs >= since
            one = np.count_nonzero(shown) == 1
            axes.plot(
                trace.epochs[shown],
                trace.mean[shown],
                color=sheet.tint(trace.look.colour),
                linewidth=2,
                marker=trace.look.sign if one else "",
                label=trace.name,
                zorder=3,
            )
        axes.margins(x=0.02, y=0.06)
        axes.xaxis.set_major_locator(MaxNLocator(steps=STEPS, nbins=6))
        axes.yaxis.set_major_locator(MaxNLocator(steps=STEPS, nbins=5))
        axes.grid(axis="y", color=sheet.tint(RULE), linewidth=0.7)
        axes.set_xlabel("epochs")
        axes.set_ylabel(what)
        _draw_key(figure, axes, sheet)
        return figure


def class_figure(lines: Sequence[Line], names: Sequence[str], sheet: Sheet, width: int) -> Figure:
    """Draw each class's accuracy against the full set's, a row a class.

    Args:
        lines: one an arm; x is the row of the class, y the difference in points with its interval.
        names: of the classes, one a row from the top.
        sheet: the medium.
        width: in pixels.
    """
    with matplotlib.rc_context(sheet.style):
        shortened = [name if len(name) <= NAMED else name[: NAMED - 1] + "…" for name in names]
        left = 20 + int(6.6 * max((len(name) for name in shortened), default=1))
        figure, axes = blank(width, 60 + 26 * len(names), left=left, bottom=44)
        axes.axvline(0, color=sheet.tint(INK), linewidth=1.2, zorder=1)
        for number, line in enumerate(lines):
            y = line.x + (number - (len(lines) - 1) / 2) * min(0.22, 0.7 / len(lines))
            axes.hlines(y, line.low, line.high, color=sheet.tint(line.look.colour), linewidth=1.4, alpha=0.75)
            axes.plot(
                line.y,
                y,
                line.look.sign,
                color=sheet.tint(line.look.colour),
                markersize=5,
                label=line.name,
                zorder=3,
            )
        axes.set_ylim(len(names) - 0.5, -0.5)
        axes.yaxis.set_major_locator(FixedLocator(list(range(len(names)))))
        axes.set_yticklabels(shortened)
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
        axes.xaxis.set_major_locator(MaxNLocator(steps=STEPS, nbins=5 if width < 500 else 8))
        axes.xaxis.set_major_formatter(FuncFormatter(_points))
        axes.grid(axis="x", color=sheet.tint(RULE), linewidth=0.7)
        axes.set_xlabel("points of accuracy against the full set")
        _draw_key(figure, axes, sheet)
        return figure


def on_page(figure: Figure, name: str, label: str) -> Markup:
    """Return a figure drawn for a page as an <svg> element; see `figures.inline`."""
    with matplotlib.rc_context(Sheet.PAGE.style):
        return Markup(inline(figure, name, label))


def save(figure: Figure, path: Path) -> None:
    """Write a figure drawn for paper as `path`.svg and `path`.png, on white, each whole or not at all.

    Raises:
        RunFolderError: it can't be written.
    """
    figure.patch.set_alpha(1)  # `blank` leaves it to the page
    shape: Any = {"facecolor": Sheet.PAPER.ground, "bbox_inches": "tight", "pad_inches": 0.15}
    with matplotlib.rc_context(Sheet.PAPER.style):
        with replacing(path.with_name(f"{path.name}.svg")) as file:
            figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None}, **shape)
        FigureCanvasAgg(figure)
        with replacing(path.with_name(f"{path.name}.png")) as file:
            figure.savefig(file, format="png", dpi=DOTS, metadata={"Software": None}, **shape)


def _draw_level(axes: Axes, level: Level, sheet: Sheet) -> None:
    if level.low is not None and level.high is not None:
        axes.axhspan(level.low, level.high, color=sheet.tint(INK), alpha=0.09, linewidth=0, zorder=0)
    axes.axhline(
        level.mean,
        color=sheet.tint(INK),
        linewidth=1.6,
        zorder=1,
        label="full set" if level.low is None else "full set, 95% interval shaded",
    )
    axes.plot([100], [level.mean], "D", color=sheet.tint(INK), markersize=6, zorder=4)
    if level.margin < level.mean:  # no accuracy lies below zero
        axes.axhline(
            level.mean - level.margin,
            color=sheet.tint(CUT),
            linewidth=1.2,
            linestyle=(0, (5, 3)),
            zorder=1,
            label=f"margin of {level.margin:g} points",
        )


def _side_by_side(lines: Sequence[Line], span: float, width: int) -> list[Floats]:
    """Return the offset to the right of each point of each line, so that arms at one fraction don't hide each other.

    At each fraction the points keep the order of the lines, centred on it, and are never nearer to the next fraction.
    """
    step = DODGE * (1.8 if width < 500 else 1) * span
    places = np.unique(np.concatenate([line.x for line in lines])) if lines else np.empty(0)
    new = np.diff(places, prepend=-np.inf) > step  # a list of nearly as many images is set beside the others
    room = min([CROWD * span, *(BETWEEN * np.diff(places[new]))])
    shifts = [np.zeros(len(line.x)) for line in lines]
    which = np.cumsum(new) - 1
    for place in range(np.count_nonzero(new)):
        at = [which[np.searchsorted(places, line.x)] == place for line in lines]
        here = [number for number, found in enumerate(at) if found.any()]
        apart = min(step, room / max(len(here) - 1, 1))
        for rank, number in enumerate(here):
            shifts[number][at[number]] = (rank - (len(here) - 1) / 2) * apart
    return shifts


def _draw_line(axes: Axes, line: Line, shifts: Floats, sheet: Sheet) -> None:
    """Draw the means joined, their intervals as bars; a mean without an interval is hollow."""
    colour, x = sheet.tint(line.look.colour), line.x + shifts
    known = np.isfinite(line.low)
    axes.plot(x, line.y, color=colour, linewidth=1.6, zorder=3)
    axes.vlines(x[known], line.low[known], line.high[known], color=colour, linewidth=1.6, zorder=3)
    ends = np.concatenate([line.low[known], line.high[known]])
    axes.plot(np.tile(x[known], 2), ends, "_", color=colour, markersize=7, markeredgewidth=1.6, zorder=3)
    name = line.name
    for some, face in ((known, colour), (~known, sheet.ground)):
        if some.any():
            axes.plot(
                x[some],
                line.y[some],
                line.look.sign,
                color=colour,
                markersize=6,
                markerfacecolor=face,
                markeredgewidth=1.0 if face == colour else 1.6,
                zorder=4,
                label=name,
            )
            name = "_"  # named once


def _points(value: float, _: object) -> str:
    rounded = round(value, 6)
    return "0" if rounded == 0 else f"{rounded:+g}".replace("-", "−")


def _apart(ticks: Floats, least: float) -> list[float]:
    """Return ticks from the largest, leaving out those nearer than `least` to the one before."""
    found: list[float] = []
    for tick in ticks[::-1].tolist():
        if not found or found[-1] - tick >= least:
            found.append(tick)
    return found


def _draw_key(figure: Figure, axes: Axes, sheet: Sheet) -> None:
    """Draw the key of the lines below a figure on paper; a page has its own."""
    if sheet is Sheet.PAGE:
        return
    handles, names = axes.get_legend_handles_labels()
    figure.legend(
        handles,
        names,
        loc="upper center",
        bbox_to_anchor=(0.5, 0.0),
        ncols=min(len(names), 3),
        frameon=False,
        labelcolor=sheet.tint(INK),
    )
