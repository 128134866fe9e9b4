"""Growth of the leaks with the radius: rows of a table, and the curve of the page."""

from __future__ import annotations

from dataclasses import dataclass

import matplotlib
import numpy as np
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from ..reporting.figures import CUT, HIGH, MUTED, RULE, STYLE, inline
from ..reporting.gallery import number
from .join import rank
from .result import Floats, Growth, Leaks

SHARES = (0.001, 0.003, 0.01, 0.03, 0.1)  # of the training images: their thresholds are the rows of the table
POINTS = 600  # of a curve


@dataclass(frozen=True)
class Row:
    """The number of images with a near-duplicate within one threshold.

    Attributes:
        threshold: the dissimilarity.
        test: number of test images with a near-duplicate in the training set.
        test_share: their share of the test images.
        train_share: the share of training images with a near-duplicate among the others.
        taken: True for the threshold of the leaks.
    """

    threshold: float
    test: int
    test_share: float
    train_share: float
    taken: bool


def threshold_rows(found: Leaks) -> list[Row]:
    """Return the counts at several thresholds: one a share of `SHARES`, and the one taken."""
    growth = found.growth
    chosen = {0.0, found.threshold}
    for share in SHARES:
        at = rank(share, growth.train_images) - 1
        if at < len(growth.train):
            chosen.add(float(growth.train[at]))
    return [
        Row(
            threshold=height,
            test=growth.leaking(height),
            test_share=growth.leaking(height) / max(growth.test_images, 1),
            train_share=growth.among_training(height),
            taken=height == found.threshold,
        )
        for height in sorted(chosen)
    ]


def growth_figure(growth: Growth, threshold: float, name: str, *, width: int) -> str:
    """Draw the share of images with a near-duplicate within each radius, as inline SVG.

    Args:
        growth: of the test images, and of the training images among themselves.
        threshold: marked by a line.
        name: the figure's name on its page, and the prefix of its ids.
        width: in pixels.
    """
    height = 270 if width < 500 else 350
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(width / 72, height / 72))
        FigureCanvasSVG(figure)
        figure.patch.set_alpha(0)
        axes = figure.add_axes((52 / width, 42 / height, 1 - 62 / width, 1 - 52 / height))
        axes.patch.set_alpha(0)
        axes.set_axisbelow(True)
        axes.plot(*_steps(growth.train, growth.train_images, growth.radius), color=MUTED, linewidth=1.6)
        axes.plot(*_steps(growth.test, growth.test_images, growth.radius), color=HIGH, linewidth=2.0)
        axes.axvline(threshold, color=CUT, linewidth=1.2, linestyle=(0, (4, 3)))
        axes.set_xlim(0, growth.radius)
        axes.set_ylim(bottom=0)
        axes.margins(y=0.05)
        axes.xaxis.set_major_locator(MaxNLocator(nbins=4 if width < 500 else 8))
        axes.yaxis.set_major_locator(MaxNLocator(nbins=5))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:g}%"))
        axes.grid(axis="y", color=RULE, linewidth=0.7)
        axes.set_xlabel("threshold")
        axes.set_ylabel("images with a twin")
        shares = growth.leaking(threshold) / max(growth.test_images, 1), growth.among_training(threshold)
        words = (
            f"Line chart: share of images with a twin against the threshold. At {number(threshold)} it is "
            f"{shares[0]:.2%} of the test images and {shares[1]:.2%} of the training images among themselves."
        )
        return inline(figure, name, words)


def _steps(nearest: Floats, images: int, radius: float) -> tuple[Floats, Floats]:
    """Return the curve of the share of images whose nearest image is within x, from 0 to `radius`."""
    at = np.linspace(0.0, radius, POINTS)
    return at, np.searchsorted(nearest, at, "right") / max(images, 1)
