"""Test accuracy against the fraction kept, a line an arm: on a page that is light or dark, and as files for papers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
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
from ..figures import ARMS, COLOURS, CUT, INK, MUTED, RULE, STYLE, Floats, blank, inline
from .formats import interval_in_percent, points_text
from .results import FULL, ArmResult, Evidence

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
PAPER_STYLE: Any = {key: PAPER.get(value, value) for key, value in STYLE.items()} | {"svg.fonttype": "path"}
FIXED = ("semantic", "random", "kcenter", "graph-remove", "graph-add", "semdedup")  # places of their own
MARKERS = {  # differ as well as the colours; on the page drawn as these shapes
    "o": '<circle cx="13" cy="6" r="3.6"/>',
    "s": '<rect x="9.6" y="2.6" width="6.8" height="6.8"/>',
    "^": '<path d="M13 1.6 17.2 9.6H8.8z"/>',
    "D": '<path d="M13 1.4 17.6 6 13 10.6 8.4 6z"/>',
    "v": '<path d="M13 10.4 17.2 2.4H8.8z"/>',
    "P": '<path d="M11.6 2h2.8v2.6H17v2.8h-2.6V10h-2.8V7.4H9V4.6h2.6z"/>',
    "X": '<path d="M10.6 2 13 4.4 15.4 2l1.8 1.8L14.8 6l2.4 2.2-1.8 1.8L13 7.6 10.6 10 8.8 8.2 11.2 6 8.8 3.8z"/>',
}
DODGE = 0.008  # of the axis, between arms at the same fraction, so that their intervals stand side by side
CROWD = 0.1  # of the axis, the most that all arms of a fraction take
BETWEEN = 0.6  # the same, of the way to the next fraction
STEPS = (1, 2, 2.5, 5, 10)  # between two ticks, times a power of ten
DOTS = 200  # per inch, of PNG files
PANEL, ACROSS = (4.6, 3.4), 3  # inches, and panels beside each other


@dataclass(frozen=True)
class ArmStyle:
    """The look of an arm, the same in every figure.

    Attributes:
        colour: used in drawing figures (see `figures.COLOURS`).
        marker: matplotlib's letter of it.
    """

    colour: str
    marker: str

    @property
    def swatch(self) -> Markup:
        """Line with the marker on it, for a key on the page."""
        return Markup(
            f'<svg class="swatch" viewBox="0 0 26 12" aria-hidden="true" style="color:{COLOURS[self.colour]}">'
            f'<path d="M0 6H26" stroke="currentColor" stroke-width="2"/>{MARKERS[self.marker]}</svg>'
        )


def arm_styles(names: Iterable[str]) -> dict[str, ArmStyle]:
    """Return the style of each arm: some have a fixed one, the others take what is left; up to 49 are different."""
    arms = sorted(set(names) - {FULL})
    places = {name: FIXED.index(name) for name in arms if name in FIXED}
    free = [place for place in range(len(arms) + len(FIXED)) if place not in places.values()]
    places |= dict(zip((name for name in arms if name not in FIXED), free, strict=False))
    signs = list(MARKERS)
    return {FULL: ArmStyle(INK, "D")} | {
        name: ArmStyle(ARMS[place % len(ARMS)], signs[(place + place // len(ARMS)) % len(signs)])
        for name, place in places.items()
    }


def curves(evidence: Evidence) -> dict[str, Floats]:
    """Return a curve for each arm and layer but the full set, by its name.

    Returns:
        float64[k, 4], all in percent: the fraction kept, the mean accuracy and its 95% interval, nan for none.
    """
    return {name: np.array([_point(one) for one in results]) for name, results in evidence.curves.items()}


def _point(result: ArmResult) -> tuple[float, float, float, float]:
    accuracy = result.summary("accuracy")
    assert accuracy is not None  # every completed training run has one
    ends = interval_in_percent(accuracy) or (np.nan, np.nan)
    return 100 * result.fraction, 100 * accuracy.mean, *ends


def page_figure(evidence: Evidence, width: int, name: str, label: str) -> Markup:
    """Return the figure as an <svg> element in a page's own colours, without a key (the paper, Figs 2, 5, 8 and 9).

    Args:
        evidence: the training runs.
        width: in pixels.
        name: the prefix of its ids on the page.
        label: its content in words.
    """
    with matplotlib.rc_context(STYLE):
        figure, axes = blank(width, 280 if width < 500 else 380, left=66, bottom=44)
        _draw(axes, evidence, arm_styles(curves(evidence)), {}, narrow=width < 500)
        return Markup(inline(figure, name, label))


def write_figure(path: Path, panels: Sequence[tuple[str, Evidence]]) -> None:
    """Draw a panel for each experiment, and write them as `path`.svg and `path`.png, on white, whole or not at all.

    Args:
        path: without the ending.
        panels: a title each, empty for none, and the training runs.

    Raises:
        RunFolderError: they can't be written.
    """
    across = min(len(panels), ACROSS)
    down = -(-len(panels) // across)
    styles = arm_styles(name for _, evidence in panels for name in curves(evidence))
    with matplotlib.rc_context(PAPER_STYLE):
        # A panel alone is twice as wide, as its key has to fit below it.
        size = (9.0, 5.6) if len(panels) == 1 else (PANEL[0] * across, PANEL[1] * down + 0.4)
        figure = Figure(figsize=size, layout="constrained")
        every = figure.subplots(down, across, squeeze=False).ravel()
        keys: dict[str, Any] = {}
        for axes, (title, evidence) in zip(every, panels, strict=False):
            _draw(axes, evidence, styles, PAPER, narrow=len(panels) > 1)
            axes.set_title(title, fontsize=11)
            handles, labels = axes.get_legend_handles_labels()
            keys |= dict(zip(labels, handles, strict=True))
        for axes in every[len(panels) :]:
            axes.set_visible(False)
        figure.legend(keys.values(), keys, loc="outside lower center", ncols=min(len(keys), 3), frameon=False)
        with replacing(path.with_name(f"{path.name}.svg")) as file:
            figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None}, facecolor="white")
        FigureCanvasAgg(figure)
        with replacing(path.with_name(f"{path.name}.png")) as file:
            figure.savefig(file, format="png", dpi=DOTS, metadata={"Software": None}, facecolor="white")


def _draw(
    axes: Axes,
    evidence: Evidence,
    styles: Mapping[str, ArmStyle],
    colours: Mapping[str, str],
    *,
    narrow: bool,
) -> None:
    """Draw the full set as a level and each arm as a line; `colours` replaces those that the page replaces later."""
    arms = curves(evidence)
    every = np.concatenate([curve[:, 0] for curve in arms.values()]) if arms else np.array([100.0])
    span = max(100.0 - float(every.min()), 5.0)
    if evidence.full is not None:
        _draw_full(axes, _point(evidence.full), evidence.margin, colours)
    shifts = _side_by_side(
        [curve[:, 0] for curve in arms.values()], span, (1.8 if narrow else 1) * DODGE * span
    )
    for (name, curve), shift in zip(arms.items(), shifts, strict=True):
        _draw_arm(
            axes,
            name,
            curve,
            shift,
            styles[name].marker,
            colours.get(styles[name].colour, styles[name].colour),
        )
    axes.set_xlim(100 - 1.06 * span, 100 + 0.06 * span)
    axes.margins(y=0.08)
    ticks = np.unique(np.append(np.round(every, 6), 100.0))
    axes.xaxis.set_major_locator(FixedLocator(_apart(ticks, span * (0.11 if narrow else 0.045))))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{round(value, 2):g}%"))
    axes.yaxis.set_major_locator(MaxNLocator(steps=STEPS, nbins=6))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{round(value, 6):g}%"))
    axes.grid(axis="y", color=colours.get(RULE, RULE), linewidth=0.7)
    axes.set_axisbelow(True)
    axes.set_xlabel(f"training {evidence.noun}s kept")
    axes.set_ylabel("test accuracy")


def _draw_full(
    axes: Axes, point: tuple[float, float, float, float], margin: float, colours: Mapping[str, str]
) -> None:
    _, mean, low, high = point
    ink, shaded = colours.get(INK, INK), bool(np.isfinite(low))
    if shaded:
        axes.axhspan(low, high, color=ink, alpha=0.09, linewidth=0, zorder=0)
    label = "full set, 95% interval shaded" if shaded else "full set"
    axes.axhline(mean, color=ink, linewidth=1.6, zorder=1, label=label)
    axes.plot([100], [mean], "D", color=ink, markersize=6, zorder=4)
    if margin < mean:  # no accuracy lies below zero
        dashed: Any = {"linewidth": 1.2, "linestyle": (0, (5, 3)), "zorder": 1}
        axes.axhline(
            mean - margin, color=colours.get(CUT, CUT), label=f"margin of {points_text(margin)}", **dashed
        )


def _draw_arm(axes: Axes, name: str, curve: Floats, shift: Floats, marker: str, colour: str) -> None:
    """Draw the means joined, their intervals as bars; a mean without an interval is hollow."""
    _, y, low, high = curve.T
    x, known = curve[:, 0] + shift, np.isfinite(low)
    axes.plot(x, y, color=colour, linewidth=1.6, zorder=3)
    bars: Any = {"fmt": "none", "elinewidth": 1.6, "capsize": 3.5, "capthick": 1.6, "zorder": 3}
    axes.errorbar(x[known], y[known], [(y - low)[known], (high - y)[known]], color=colour, **bars)
    shape: Any = {"color": colour, "markersize": 6, "zorder": 4}
    axes.plot(x[known], y[known], marker, label=name if known.any() else "_", **shape)
    hollow: Any = {"markerfacecolor": "none", "markeredgewidth": 1.6, "label": "_" if known.any() else name}
    axes.plot(x[~known], y[~known], marker, **shape, **hollow)


def _side_by_side(series: Sequence[Floats], span: float, step: float) -> list[Floats]:
    """Return the offset to the right of each point of each line, so that arms at one fraction don't hide each other.

    At each fraction the points keep the order of the lines, centred on it, and are never nearer to the next fraction.
    """
    places = np.unique(np.concatenate(series)) if series else np.empty(0)
    new = np.diff(places, prepend=-np.inf) > step  # a list of nearly as many images is set beside the others
    room = min([CROWD * span, *(BETWEEN * np.diff(places[new]))])
    shifts = [np.zeros(len(x)) for x in series]
    which = np.cumsum(new) - 1
    for place in range(np.count_nonzero(new)):
        at = [which[np.searchsorted(places, x)] == place for x in series]
        here = [number for number, found in enumerate(at) if found.any()]
        apart = min(step, room / max(len(here) - 1, 1))
        for rank, number in enumerate(here):
            shifts[number][at[number]] = (rank - (len(here) - 1) / 2) * apart
    return shifts


def _apart(ticks: Floats, least: float) -> list[float]:
    """Return ticks from the largest, leaving out those nearer than `least` to the one before."""
    found: list[float] = []
    for tick in ticks[::-1].tolist():
        if not found or found[-1] - tick >= least:
            found.append(tick)
    return found
