"""Section "Does it hold?" of a report, the files for papers, and the summary for the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import pyarrow as pa

from ...data.store.files import write_text
from ..gallery import clean
from .figure import arm_styles, curves, page_figure, write_figure
from .formats import points_text
from .results import Evidence, gather
from .statistics import MARGIN
from .table import csv_table, interval_name, latex_table, markdown_table, table_rows, text_table
from .verdicts import headline, power, remarks, unlearned, verdicts

FAILURES = 20  # named; of more only the number is given
FORMER = (
    "layers",
    "loss-curve",
    "accuracy-curve",
    "accuracy-curve-end",
    "classes",
)  # figures of earlier versions


def describe_evidence(
    table: pa.Table,
    margin: float | None = None,
    class_names: Sequence[str] = (),
    run: Mapping[str, Any] | None = None,
) -> str:
    """Return the summary of an experiment for the terminal: the headline, the table, and a verdict for each arm.

    Args:
        table: the rows of ``results.parquet``.
        margin: the loss in points that is still accepted; None for the usual one.
        class_names: the name of each code; a code without one is shown as its number.
        run: the content of ``run.json``, for the seconds of its stages; None where they are not known.
    """
    found = gather(table, MARGIN if margin is None else margin, _noun(run or {}))
    if not found:
        return "No training run has finished yet."
    names = [clean(name) for name in class_names]
    parts = []
    for evidence in found:
        about, further = remarks(evidence, names, run or {})
        told, untested = verdicts(evidence)
        parts += [
            [f"Protocol {evidence.protocol}:"] * (len(found) > 1) + [headline(evidence)],
            [text_table(evidence)],
            [
                *(sentence for verdict in told for sentence in verdict.sentences),
                *([untested] * bool(untested)),
            ],
            [f"{about}:", *(f"  {line}" for line in further)] if further else [],
            [said] if (said := power(evidence)) else [],
            [f"{len(evidence.failures)} failed: {'; '.join(evidence.failures)}"] * bool(evidence.failures),
            [said] if (said := unlearned(evidence)) else [],
        ]
    return "\n\n".join("\n".join(lines) for lines in parts if lines)


def _noun(run: Mapping[str, Any]) -> str:
    """Return what one image of a run is called, by the content of ``run.json``."""
    return str(run.get("source", {}).get("noun", "image"))


def section(
    table: pa.Table, run: dict[str, Any], class_names: Sequence[str], margin: float | None = None
) -> dict[str, Any] | None:
    """Return the template's data on an experiment, or None where there is no training run.

    Args:
        table: the rows of ``results.parquet``.
        run: the content of ``run.json``, for the seconds of its stages.
        class_names: the name of each code.
        margin: the loss in points that is still accepted; None for the usual one.
    """
    found = gather(table, MARGIN if margin is None else margin, _noun(run))
    names = [clean(name) for name in class_names]
    blocks = [_block(one, f"evidence{number}", names, run) for number, one in enumerate(found)]
    return {"blocks": blocks, "margin": points_text(found[0].margin)} if blocks else None


def _block(evidence: Evidence, name: str, class_names: Sequence[str], run: dict[str, Any]) -> dict[str, Any]:
    """Return the template's data on one protocol."""
    about, further = remarks(evidence, class_names, run)
    told, untested = verdicts(evidence)
    styles = arm_styles(curves(evidence))
    return {
        "protocol": evidence.protocol,
        "trials": evidence.trials,
        "heads": evidence.heads,
        "interval": interval_name(evidence),
        "headline": clean(headline(evidence)),
        "holds": bool(told) and told[0].holds,
        "verdicts": [
            {
                "arm": clean(verdict.result.name),
                "swatch": styles[verdict.result.name].swatch,
                "word": verdict.word,
                "sentences": [_unbroken(sentence) for sentence in verdict.sentences],
            }
            for verdict in told
        ],
        "untested": clean(untested),
        "figure": _figure(evidence, name),
        "fractions": _fractions(evidence),
        "power": power(evidence),
        "about": clean(about),
        "remarks": [_unbroken(remark) for remark in further],
        "failures": [clean(line) for line in evidence.failures[:FAILURES]],
        "failed": len(evidence.failures),
        "unlearned": clean(unlearned(evidence)),
    }


def _unbroken(sentence: str) -> str:
    """Return a sentence for the page, in which no line ends within "0.03 ± 0.11"."""
    return clean(sentence).replace(" ± ", "\N{NO-BREAK SPACE}±\N{NO-BREAK SPACE}")


def _figure(evidence: Evidence, name: str) -> dict[str, Any] | None:
    """Return the figure for wide and narrow screens, and the content of its key; None without a subset."""
    arms = curves(evidence)
    if not arms:
        return None
    said = "; ".join(
        f"{arm} {curve[0, 1]:.2f}% at {curve[0, 0]:g}% kept to {curve[-1, 1]:.2f}% at {curve[-1, 0]:g}%"
        for arm, curve in arms.items()
    )
    words = clean(f"Line chart: test accuracy against the fraction kept. {said}.")
    full, styles = evidence.full, arm_styles(arms)
    accuracy = None if full is None else full.summary("accuracy")
    return {
        "wide": page_figure(evidence, 760, name, words),
        "narrow": page_figure(evidence, 340, f"{name}-s", words),
        "key": [(styles[arm].swatch, clean(arm)) for arm in arms],
        "full": accuracy is not None,
        "shaded": accuracy is not None and accuracy.low is not None,
        "hollow": any(bool((curve != curve).any()) for curve in arms.values()),
    }


def _fractions(evidence: Evidence) -> list[dict[str, Any]]:
    """Return the rows of the table, grouped by the fraction and number of images kept."""
    styles = arm_styles(curves(evidence))
    rows = [
        {**row, "arm": clean(row["arm"]), "swatch": styles[row["arm"]].swatch} for row in table_rows(evidence)
    ]
    return [
        {"kept": kept, "images": images, "rows": list(some)}
        for (kept, images), some in groupby(rows, key=lambda row: (row["kept"], row["images"]))
    ]


def write_evidence(
    folder: Path,
    table: pa.Table,
    class_names: Sequence[str] = (),
    margin: float | None = None,
    protocol: str | None = None,
    noun: str = "image",
) -> None:
    """Write the table and the figure for papers: table.md, table.tex, table.csv, accuracy.svg and accuracy.png.

    The tables in Markdown and LaTeX and the figure cover one protocol, table.csv all of them.

    Args:
        folder: the target; files of the same names are replaced, figures of earlier versions removed.
        table: the rows of ``results.parquet``.
        class_names: the name of each code.
        margin: the loss in points that is still accepted; None for the usual one.
        protocol: its fingerprint; None, or one without a training run, for that with the most.
        noun: what one of the images is called.

    Raises:
        RunFolderError: it can't be written.
    """
    found = gather(table, MARGIN if margin is None else margin, noun)
    if not found:
        return
    chosen = next((evidence for evidence in found if evidence.protocol == protocol), found[0])
    note = f"Protocol {chosen.protocol}, one of {len(found)} in this run." if len(found) > 1 else ""
    write_text(folder / "table.md", markdown_table(chosen, note))
    write_text(folder / "table.tex", latex_table(chosen, note))
    write_text(folder / "table.csv", csv_table(found, class_names))
    for name in FORMER if curves(chosen) else (*FORMER, "accuracy"):
        for kind in ("svg", "png"):
            (folder / f"{name}.{kind}").unlink(missing_ok=True)
    if curves(chosen):
        write_figure(folder / "accuracy", [("", chosen)])
