"""The article's three plots of any table of results: the right arms in each, and none drawn wrong."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from matplotlib.figure import Figure

from tenpercent.reporting.evidence.results import gather

sys.path.append(str(Path(__file__).resolve().parents[2] / "experiments"))

import curves

EVIDENCE = Path(__file__).resolve().parents[2] / "docs" / "evidence"


def test_the_three_plots_show_means_of_the_arms(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[Figure] = []
    monkeypatch.setattr(Figure, "savefig", lambda self, *_, **__: drawn.append(self))
    (evidence,) = gather(pq.read_table(EVIDENCE / "cifar10.parquet"))
    curves.draw(tmp_path / "curves.png", list(evidence.results))
    loss, accuracy, later = drawn[0].axes
    assert [line.get_label() for line in loss.lines] == ["semantic (4)", "random (4)"]
    assert [line.get_label() for line in accuracy.lines] == ["full (4)", "semantic (4)", "random (4)"]
    for axes, column, factor in ((loss, "loss", 1), (accuracy, "test_accuracy", 100)):
        for line in axes.lines:
            runs: list[Any] = next(
                one for one in evidence.results if one.arm == line.get_label().split()[0]
            ).done
            expected = factor * np.mean([[entry[column] for entry in run["curve"]] for run in runs], axis=0)
            np.testing.assert_allclose(line.get_ydata(), expected)
    assert all(line.get_xdata()[0] >= line.get_xdata()[-1] / 2 for line in later.lines)
