"""The results of an experiment as rows, and as tables for a terminal, a paper and a spreadsheet."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .classes import ClassLoss, lowest_class, worst_class
from .findings import named
from .gathered import FULL, Evidence, Point
from .sentences import percent, plus_minus, signed
from .statistics import Comparison, Summary, gap, summary

NONE = "–"
HEADS = ("arm", "kept", "images", "trials", "accuracy", "95% interval", "against full", "against random")
BEST = "best over epochs"
OPTIMISTIC = "optimistic, as the test images choose the epoch"


@dataclass(frozen=True, eq=False)
class Row:
    """An arm at a fraction, in a table.

    Attributes:
        point: the training runs.
        name: the arm, with its layer where there are several.
        accuracy, best, top5, removed: summaries of the final accuracy, the best over the evaluations (where there were
            several), that of the first five guesses and that on the training images left out; None where not measured.
        full, random: the comparisons with the full set and with random subsets of the same size.
        lowest: the class with the lowest accuracy, and that accuracy; None where classes were not measured.
        worst: the class that loses most against the full set.
        images, seconds, epochs: means over the training runs; nan where not known.
    """

    point: Point
    name: str
    accuracy: Summary
    best: Summary | None
    top5: Summary | None
    removed: Summary | None
    full: Comparison | None
    random: Comparison | None
    lowest: tuple[int, float] | None
    worst: ClassLoss | None
    images: float
    seconds: float
    epochs: float


def rows_of(evidence: Evidence) -> tuple[Row, ...]:
    """Return a row for each point that has a completed training run, in the order of the evidence."""
    return tuple(_row(evidence, point) for point in evidence.points if point.done)


def _row(evidence: Evidence, point: Point) -> Row:
    full = evidence.full
    worst = None if full is None or point.arm == FULL else worst_class(point, full, evidence.margin)
    several = len(evidence.layers(point.arm)) > 1
    return Row(
        point=point,
        name=f"{point.arm} ({point.layer})" if several else named(point),
        accuracy=summary(point.units),
        best=_summary(point, "best_accuracy") if all(map(_tested_often, point.done)) else None,
        top5=_summary(point, "top5"),
        removed=_summary(point, "removed_accuracy"),
        full=evidence.against_full(point),
        random=evidence.against_random(point),
        lowest=lowest_class(point),
        worst=worst,
        images=float(point.values("n").mean()),
        seconds=float(point.values("seconds").mean()),
        epochs=float(point.values("epochs").mean()),
    )


def _tested_often(training: Mapping[str, Any]) -> bool:
    """Return whether the test set was evaluated more than once, so that one evaluation can be the best."""
    return sum(step.get("test_accuracy") is not None for step in training.get("curve") or ()) > 1


def _summary(point: Point, column: str) -> Summary | None:
    values = point.units_of(column)
    return summary(values) if len(values) else None


def spread_text(found: Summary | None) -> str:
    """Return mean ± standard deviation in percent, e.g. "92.79 ± 0.12"; the mean alone for one trial."""
    if found is None:
        return NONE
    std = "" if found.std is None else f" ± {100 * found.std:.2f}"
    return f"{100 * found.mean:.2f}{std}"


def loss_text(found: Summary | None) -> str:
    """Return mean ± standard deviation of a loss, e.g. "0.6512 ± 0.0054"; the mean alone for one trial."""
    if found is None:
        return NONE
    return f"{found.mean:.4f}" + ("" if found.std is None else f" ± {found.std:.4f}")


def loss_difference_text(point: Point, reference: Point) -> str:
    """Return the difference in test loss, with half Welch's 95% interval, e.g. "−0.0102 ± 0.0067".

    A dash where a training run of either has no test loss.
    """
    if point.loss is None or reference.loss is None:
        return NONE
    difference, half = gap(point.units_of("test_loss"), reference.units_of("test_loss"))
    return signed(difference, 4, plus=True) + ("" if half is None else f" ± {half:.4f}")


def interval_in_percent(found: Summary) -> tuple[float, float] | None:
    """Return the interval of a mean accuracy, in percent, clipped to 0 to 100."""
    if found.low is None or found.high is None:
        return None
    return 100 * max(found.low, 0.0), 100 * min(found.high, 1.0)


def interval_text(found: Summary) -> str:
    """Return the interval of the mean in percent, e.g. "92.70 to 92.88"."""
    ends = interval_in_percent(found)
    return NONE if ends is None else f"{ends[0]:.2f} to {ends[1]:.2f}"


def difference_text(found: Comparison | None) -> str:
    """Return a difference in points, e.g. "−0.03 ± 0.11"."""
    return NONE if found is None else plus_minus(found.difference, found.half, plus=True)


def count_text(value: float) -> str:
    """Return a mean count, e.g. "45,000"; a dash where it is not known."""
    return f"{value:,.0f}" if math.isfinite(value) else NONE


def _cells(row: Row) -> tuple[str, ...]:
    return (
        row.name,
        percent(row.point.fraction),
        count_text(row.images),
        str(len(row.point.done)),
        spread_text(row.accuracy),
        interval_text(row.accuracy),
        difference_text(row.full),
        difference_text(row.random),
    )


def text_table(rows: Sequence[Row]) -> str:
    """Return the table for a terminal."""
    lines = [HEADS, *map(_cells, rows)]
    widths = [max(len(line[at]) for line in lines) for at in range(len(HEADS))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if at == 0 else cell.rjust(width)
            for at, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


def _with_best(rows: Sequence[Row]) -> list[tuple[str, ...]]:
    """Return heads and rows for a paper, with the best over the epochs where it is known of any."""
    if all(row.best is None for row in rows):
        return [HEADS, *map(_cells, rows)]
    return [(*HEADS, BEST), *((*_cells(row), spread_text(row.best)) for row in rows)]


def markdown_table(rows: Sequence[Row], about: str = "") -> str:
    """Return the table in Markdown, with an explanation of its numbers below, and `about`."""
    heads, *body = [[cell.replace("|", "\\|") for cell in line] for line in _with_best(rows)]
    lines = [heads, ["---", *["---:"] * (len(heads) - 1)], *body]
    return "\n".join([*(f"| {' | '.join(line)} |" for line in lines), "", _caption(rows, about), ""])


def latex_table(rows: Sequence[Row], about: str = "") -> str:
    """Return the table in LaTeX, likewise; it needs the package booktabs."""
    heads, *body = [[_latex(cell) for cell in line] for line in _with_best(rows)]
    return "\n".join(
        [
            r"% \usepackage{booktabs}",
            r"\begin{table}",
            r"\centering",
            r"\begin{tabular}{l" + "r" * (len(heads) - 1) + "}",
            r"\toprule",
            " & ".join(heads) + r" \\",
            r"\midrule",
            *(" & ".join(line) + r" \\" for line in body),
            r"\bottomrule",
            r"\end{tabular}",
            rf"\caption{{{_latex(_caption(rows, about))}}}",
            r"\end{table}",
            "",
        ]
    )


def _caption(rows: Sequence[Row], about: str) -> str:
    text = (
        "Test accuracy in percent, mean ± standard deviation over the trials, and the 95% interval of the mean. "
        "Differences in points, with 95% intervals (Welch)."
    )
    if any(row.point.embeddings > 1 and row.point.layer for row in rows):
        text += " Where there are several embeddings, the mean of each counts as one value."
    if any(row.best is not None for row in rows):
        text += f" The accuracy is that at the end; the {BEST} is {OPTIMISTIC}."
    return f"{text} {about}".rstrip()


def _latex(text: str) -> str:
    escaped = "".join(
        {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}.get(
            letter, f"\\{letter}" if letter in "&%$#_{}" else letter
        )
        for letter in text
    )
    return escaped.replace("±", r"$\pm$").replace("−", "$-$").replace(NONE, "--")


def csv_table(evidences: Sequence[Evidence], class_names: Sequence[str] = ()) -> str:
    """Return everything known of every point as CSV: accuracies in 0..1, differences in points, full precision."""
    file = io.StringIO()
    writer: csv.DictWriter[str] | None = None
    for evidence in evidences:
        for row in rows_of(evidence):
            cells = _everything(evidence, row, class_names)
            if writer is None:
                writer = csv.DictWriter(file, list(cells), lineterminator="\n")
                writer.writeheader()
            writer.writerow(cells)
    return file.getvalue()


def _everything(evidence: Evidence, row: Row, class_names: Sequence[str]) -> dict[str, object]:
    point = row.point
    cells: dict[str, object] = {
        "protocol": evidence.protocol,
        "arm": point.arm,
        "layer": point.layer,
        "fraction": point.fraction,
        "images": row.images,
        "trials": len(point.done),
        "failed": len(point.failed),
        "embeddings": point.embeddings,
    }
    for name, found in (
        ("accuracy", row.accuracy),
        ("best_accuracy", row.best),
        ("top5", row.top5),
        ("removed_accuracy", row.removed),
        ("test_loss", point.loss),
    ):
        cells |= {f"{name}_{part}": getattr(found, part, None) for part in ("mean", "std", "low", "high")}
    for name, compared in (("full", row.full), ("random", row.random)):
        for part in ("difference", "low", "high", "loss_p", "gain_p"):
            cells[f"{name}_{part}"] = getattr(compared, part, None)
    cells["margin"] = evidence.margin
    cells["verdict"] = "" if row.full is None else str(row.full.verdict)
    cells["lowest_class"] = "" if row.lowest is None else class_name(row.lowest[0], class_names)
    cells["lowest_class_accuracy"] = None if row.lowest is None else row.lowest[1]
    cells["worst_class"] = "" if row.worst is None else class_name(row.worst.code, class_names)
    cells["worst_class_difference"] = None if row.worst is None else row.worst.comparison.difference
    cells["worst_class_p"] = None if row.worst is None else row.worst.p
    cells |= {"epochs": row.epochs, "seconds": row.seconds}
    return {
        name: "" if isinstance(cell, float) and math.isnan(cell) else cell for name, cell in cells.items()
    }


def class_name(code: int, names: Sequence[str]) -> str:
    """Return a class's name, or "class 7" where it has none or is a number."""
    name = names[code] if code < len(names) else str(code)
    return f"class {name}" if name.isdecimal() else name


def worst_text(row: Row, names: Sequence[str]) -> str:
    """Return the class that loses most, e.g. "cat −1.20", with a star where that is more than chance."""
    if row.worst is None:
        return NONE
    points = signed(row.worst.comparison.difference, 2, plus=True)
    return f"{class_name(row.worst.code, names)} {points}{'*' if row.worst.shown else ''}"
