"""The table of an experiment, grouped by fraction: for a terminal, a page, a paper and a spreadsheet."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence

from ...errors import worded
from .formats import (
    NONE,
    accuracy_text,
    class_name,
    count_text,
    difference_text,
    interval_in_percent,
    percent,
)
from .results import ArmResult, Evidence
from .verdicts import WORDS

HEADS = (
    "kept",
    "images",
    "arm",
    "trials",
    "accuracy, %",
    "95% interval",
    "vs. full",
    "vs. random",
    "verdict",
)
WORDY = ("arm", "verdict")  # columns of words, which stand on the left
CAPTION = (
    "Test accuracy: mean ± standard deviation over the trials, and the 95% interval of the mean. Differences in points "
    "of accuracy, each with half its 95% interval ({}); a minus is a loss."
)


def caption(evidence: Evidence, note: str = "") -> str:
    """Return the meaning of the table's numbers, with a note."""
    return f"{CAPTION.format(interval_name(evidence))} {note}".rstrip()


def interval_name(evidence: Evidence) -> str:
    """Return the kind of interval that the differences have."""
    return "heads on frozen vectors, paired by split; Nadeau and Bengio" if evidence.heads else "Welch"


def table_rows(evidence: Evidence) -> list[dict[str, str]]:
    """Return a row for each arm and fraction that has a completed training run, by the names of `HEADS`."""
    return [
        dict(zip(HEADS, _cells(evidence, result), strict=True)) for result in evidence.results if result.done
    ]


def _cells(evidence: Evidence, result: ArmResult) -> tuple[str, ...]:
    accuracy, full = result.summary("accuracy"), evidence.against_full(result)
    assert accuracy is not None  # every completed training run has one
    ends = interval_in_percent(accuracy)
    failed = f" ({len(result.failed)} failed)" if result.failed else ""
    return (
        percent(result.fraction),
        count_text(float(result.values("n").mean())),
        result.name,
        f"{len(result.done)}{failed}",
        accuracy_text(accuracy),
        NONE if ends is None else f"{ends[0]:.2f} to {ends[1]:.2f}",
        difference_text(full),
        difference_text(evidence.against_random(result)),
        NONE if full is None else WORDS[full.verdict],
    )


def _heads(evidence: Evidence) -> tuple[str, ...]:
    return tuple(worded(head, evidence.noun) for head in HEADS)


def text_table(evidence: Evidence) -> str:
    """Return the table for a terminal."""
    lines = [_heads(evidence), *(tuple(row.values()) for row in table_rows(evidence))]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    sides = ["<" if head in WORDY else ">" for head in HEADS]
    return "\n".join(
        "  ".join(
            f"{cell:{side}{width}}" for cell, side, width in zip(line, sides, widths, strict=True)
        ).rstrip()
        for line in lines
    )


def markdown_table(evidence: Evidence, note: str = "") -> str:
    """Return the table in Markdown, with the meaning of its numbers and `note` below."""
    body = [[cell.replace("|", "\\|") for cell in row.values()] for row in table_rows(evidence)]
    rule = ["---" if head in WORDY else "---:" for head in HEADS]
    lines = [f"| {' | '.join(line)} |" for line in (_heads(evidence), rule, *body)]
    return "\n".join([*lines, "", caption(evidence, note), ""])


def latex_table(evidence: Evidence, note: str = "") -> str:
    """Return the table in LaTeX, likewise; it needs the package booktabs."""
    heads, *body = [
        " & ".join(map(_latex, line)) + r" \\"
        for line in (_heads(evidence), *(row.values() for row in table_rows(evidence)))
    ]
    columns = "".join("l" if head in WORDY else "r" for head in HEADS)
    return "\n".join(
        [
            r"% \usepackage{booktabs}",
            rf"\begin{{table}}\centering\begin{{tabular}}{{{columns}}}",
            *(r"\toprule", heads, r"\midrule", *body, r"\bottomrule", r"\end{tabular}"),
            rf"\caption{{{_latex(caption(evidence, note))}}}",
            *(r"\end{table}", ""),
        ]
    )


def _latex(text: str) -> str:
    special = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    special |= {"±": r"$\pm$", "−": "$-$", NONE: "--", **{letter: f"\\{letter}" for letter in "&%$#_{}"}}
    return "".join(special.get(letter, letter) for letter in text)


def csv_table(evidences: Sequence[Evidence], class_names: Sequence[str] = ()) -> str:
    """Return everything known of every arm and fraction: accuracies in 0..1, differences in points, full precision."""
    rows = [
        _everything(evidence, result, class_names)
        for evidence in evidences
        for result in evidence.results
        if result.done
    ]
    file = io.StringIO()
    writer = csv.DictWriter(file, list(rows[0]) if rows else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return file.getvalue()


def _everything(evidence: Evidence, result: ArmResult, class_names: Sequence[str]) -> dict[str, object]:
    cells: dict[str, object] = {
        "protocol": evidence.protocol,
        "arm": result.arm,
        "layer": result.layer,
        "fraction": result.fraction,
        "images": float(result.values("n").mean()),
        "trials": len(result.done),
        "failed": len(result.failed),
        "embeddings": result.embeddings,
    }
    for name in ("accuracy", "best_accuracy", "top5", "removed_accuracy", "test_loss"):
        found = result.summary(name)
        cells |= {f"{name}_{part}": getattr(found, part, None) for part in ("mean", "std", "low", "high")}
    full, worst = evidence.against_full(result), evidence.worst_class(result)
    for name, compared in (("full", full), ("random", evidence.against_random(result))):
        for part in ("difference", "low", "high", "loss_p", "gain_p"):
            cells[f"{name}_{part}"] = getattr(compared, part, None)
    cells |= {"margin": evidence.margin, "verdict": "" if full is None else str(full.verdict)}
    cells["worst_class"] = "" if worst is None else class_name(worst.code, class_names)
    cells["worst_class_difference"] = None if worst is None else worst.comparison.difference
    cells["worst_class_p"] = None if worst is None else worst.p
    cells |= {name: float(result.values(name).mean()) for name in ("steps", "epochs", "seconds")}
    return {
        name: "" if isinstance(cell, float) and math.isnan(cell) else cell for name, cell in cells.items()
    }
