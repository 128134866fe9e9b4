"""Loss and accuracy over the course of training, of some arms at one fraction: the article's three plots.

    python experiments/curves.py docs/evidence/fashion.parquet --keep 0.9 [--arms full semantic random]

TABLE is the ``results.parquet`` of a run folder, or a copy of it; the picture lies beside it, as TABLE-curves.png. Left
the loss of the training images, of the subsets alone; in the middle the test accuracy of all; right the same from the
middle of training on. A line is the mean of the training runs, their number in the key, the band one deviation.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from tenpercent.reporting.evidence.figure import DOTS, PAPER, PAPER_STYLE, arm_styles
from tenpercent.reporting.evidence.results import FULL, ArmResult, gather

Floats = npt.NDArray[np.float64]


def main() -> None:
    """Draw the arms of the protocol with the most training runs."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("table", type=Path)
    parser.add_argument("--keep", type=float, default=0.9)
    parser.add_argument("--arms", nargs="+", default=["full", "semantic", "random"])
    given = parser.parse_args()
    evidence = gather(pq.read_table(given.table))[0]
    shown = [one for one in evidence.results if one.name in given.arms and one.fraction in (1, given.keep)]
    draw(given.table.with_name(f"{given.table.stem}-curves.png"), shown)


def draw(path: Path, arms: list[ArmResult]) -> None:
    """Write the picture of three panels."""
    styles = arm_styles(arm.name for arm in arms)
    with rc_context(PAPER_STYLE):
        figure = Figure(figsize=(12, 4.2), layout="constrained")
        panels = figure.subplots(1, 3)
        for axes, (name, what, first) in zip(
            panels, [("loss", "training loss", 0.0), *[("test_accuracy", "test accuracy, %", at) for at in (0, 0.5)]],
            strict=True,
        ):  # fmt: skip
            for arm in arms:
                if name != "loss" or arm.arm != FULL:
                    _line(axes, arm, name, first, PAPER[styles[arm.name].colour])
            axes.set_xlabel("epochs of its images")
            axes.set_ylabel(what)
        handles, labels = panels[1].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=len(arms), frameon=False)
        FigureCanvasAgg(figure)
        figure.savefig(path, dpi=DOTS, metadata={"Software": None}, facecolor="white")


def _line(axes: Axes, arm: ArmResult, name: str, first: float, colour: str) -> None:
    every = [run["curve"] for run in arm.done]
    values = 100 ** (name != "loss") * _column(every, name)
    epochs = _column(every, "epoch")[0]
    shown = epochs >= first * epochs[-1]
    mean, spread = values.mean(0)[shown], (values.std(0, ddof=1) if len(values) > 1 else 0 * epochs)[shown]
    axes.plot(epochs[shown], mean, color=colour, label=f"{arm.name} ({len(values)})")
    axes.fill_between(epochs[shown], mean - spread, mean + spread, color=colour, alpha=0.15, linewidth=0)


def _column(every: list[Any], name: str) -> Floats:
    """Return a value of the entries of all curves: float64[runs, entries]."""
    return np.array([[entry[name] for entry in curve] for curve in every], dtype=np.float64)


if __name__ == "__main__":
    main()
