"""Section "Does it hold?" of a report, the files for papers, and the summary for the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
from matplotlib.figure import Figure

from ...data.store.files import write_text
from ..gallery import clean
from .arms import looks_of
from .classes import class_means
from .cost import duration
from .figures import Level, Line, Sheet, class_figure, epochs_figure, fraction_figure, on_page, save
from .findings import Claim, claims, in_words, lead, main_arm, power
from .gathered import FULL, RANDOM, Evidence, Point, gather
from .sentences import percent
from .series import Shown, class_lines, fraction_lines, layer_lines, level_of, traces_of
from .statistics import MARGIN, Verdict
from .tables import (
    Row,
    class_name,
    count_text,
    csv_table,
    difference_text,
    interval_text,
    latex_table,
    loss_text,
    markdown_table,
    rows_of,
    spread_text,
    text_table,
    worst_text,
)
from .words import beyond_the_mean, cost_words, loss_words, spread_words

SAID = {  # one word beside a sentence
    Verdict.BETTER: "better",
    Verdict.AS_GOOD: "holds",
    Verdict.SMALL_LOSS: "holds",
    Verdict.LOSS: "open",
    Verdict.WORSE: "loses",
    Verdict.OPEN: "open",
    Verdict.UNKNOWN: "open",
}
FAILURES = 20  # named; of more only the number is given


def describe_evidence(
    table: pa.Table,
    margin: float | None = None,
    class_names: Sequence[str] = (),
    run: Mapping[str, Any] | None = None,
) -> str:
    """Return the summary of an experiment for the terminal: the headline, a table, and sentences on the main arm.

    Args:
        table: the rows of ``results.parquet``.
        margin: the loss in points that is still accepted; None for the usual one.
        class_names: the name of each code; a code without one is shown as its number.
        run: the content of ``run.json``, for the seconds of its stages; None where they are not known.
    """
    found = gather(table, MARGIN if margin is None else margin)
    if not found:
        return "No training is done yet."
    names = [clean(name) for name in class_names]
    parts = []
    for evidence in found:
        rows = rows_of(evidence)
        parts += [
            [f"Protocol {evidence.protocol}:"] * (len(found) > 1) + [lead(evidence).text],
            [text_table(rows)],
            _sentences(evidence),
            beyond_the_mean(Shown.of(evidence, names), rows, run or {}),
        ]
    return "\n\n".join("\n".join(lines) for lines in parts if lines)


def _sentences(evidence: Evidence) -> list[str]:
    """Return sentences on the main arm at each fraction, on the power of the trials, and on failures."""
    arm = main_arm(evidence)
    lines = []
    for claim in () if arm is None else claims(evidence, arm):
        lines.append(f"{_sentence_case(claim.text)}.")
        lines += [f"  {_sentence_case(claim.rival)}."] if claim.rival else []
    lines += [said] if (said := power(evidence)) else []
    failures = evidence.failures
    return [*lines, f"{len(failures)} failed: {'; '.join(failures)}"] if failures else lines


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
    found = gather(table, MARGIN if margin is None else margin)
    looks = looks_of(arm for evidence in found for arm in evidence.arms)
    names = tuple(clean(name) for name in class_names)
    blocks = [_block(Shown(one, looks, names), f"evidence{at}", run) for at, one in enumerate(found)]
    return {"blocks": blocks, "margin": found[0].margin} if blocks else None


def _block(shown: Shown, name: str, run: dict[str, Any]) -> dict[str, Any]:
    """Return the template's data on one protocol."""
    evidence = shown.evidence
    first = lead(evidence)
    rows = rows_of(evidence)
    told = {claim.text for claim in first.claims}
    others = [claim for claim in _all_claims(evidence) if claim.text not in told]
    return {
        "protocol": evidence.protocol,
        "trials": evidence.trials,
        "lead": first.text,
        "holds": first.fraction is not None,
        "claims": [_claim(claim) for claim in first.claims],
        "others": [_claim(claim) for claim in others],
        "fractions": _fractions(shown, name),
        "layers": _layers(shown, f"{name}-layers"),
        "rows": [_table_row(shown, row) for row in rows],
        "curves": _curves(shown, f"{name}-curves"),
        "classes": _classes(shown, f"{name}-classes"),
        "details": [_detail_row(shown, row) for row in rows],
        "power": power(evidence),
        "loss": _of_point(shown.point, loss_words(shown)),
        "cost": cost_words(shown, run),
        "spreads": [_of_point(point, said) for point in evidence.points for said in spread_words(point)],
        "failures": [clean(line) for line in evidence.failures[:FAILURES]],
        "failed": len(evidence.failures),
    }


def _of_point(point: Point | None, said: str) -> str:
    """Return a sentence with the arm and fraction it is about in front; "" stays ""."""
    return clean(f"{in_words(point)}: {said[:1].lower()}{said[1:]}") if point is not None and said else ""


def _all_claims(evidence: Evidence) -> list[Claim]:
    """Return the claims: of the main arm first, then of the others by name, for every layer."""
    first = main_arm(evidence)
    arms = sorted(
        (arm for arm in evidence.arms if arm != FULL), key=lambda arm: (arm != first, arm == RANDOM, arm)
    )
    found = []
    for arm in arms:
        layers = sorted(evidence.layers(arm), key=lambda layer: layer != evidence.main_layer(arm))
        found += [claim for layer in layers for claim in claims(evidence, arm, layer)]
    return found


def _claim(claim: Claim) -> dict[str, str]:
    return {
        "verdict": SAID[claim.comparison.verdict],
        "text": clean(_sentence_case(claim.text)),
        "rival": clean(_sentence_case(claim.rival)),
    }


def _sentence_case(text: str) -> str:
    return text[:1].upper() + text[1:] if text.startswith("keeping") else text


def _fractions(shown: Shown, name: str) -> dict[str, Any]:
    """Return accuracy against the fraction, one line an arm."""
    lines, level = fraction_lines(shown.evidence, shown.looks), level_of(shown.evidence)
    return _twice(name, lines, level)


def _layers(shown: Shown, name: str) -> dict[str, Any] | None:
    lines = layer_lines(shown.evidence, shown.arm) if shown.arm is not None else []
    level = level_of(shown.evidence)
    return _twice(name, lines, level) if lines else None


def _twice(name: str, lines: list[Line], level: Level | None) -> dict[str, Any]:
    """Return the figure for wide and narrow screens, and the content of its key."""
    words = _in_words(lines)
    wide = fraction_figure(lines, level, Sheet.PAGE, 760)
    narrow = fraction_figure(lines, level, Sheet.PAGE, 340)
    return {
        "wide": on_page(wide, name, words),
        "narrow": on_page(narrow, f"{name}-s", words),
        "key": [(line.look.swatch, clean(line.name)) for line in lines],
        "level": level is not None,
        "shaded": level is not None and level.low is not None,
        "hollow": any(line.low.size and not _all_known(line) for line in lines),
    }


def _all_known(line: Line) -> bool:
    return bool((line.low == line.low).all())


def _in_words(lines: Sequence[Line]) -> str:
    said = "; ".join(
        f"{line.name} {line.y[0]:.2f}% at {line.x[0]:g}% kept to {line.y[-1]:.2f}% at {line.x[-1]:g}%"
        for line in lines
    )
    return clean(f"Line chart: test accuracy against the fraction kept. {said}.")


def _curves(shown: Shown, name: str) -> dict[str, Any] | None:
    """Return training loss, test accuracy and its last half against epochs; None where no curve was stored."""
    points = shown.points
    loss = traces_of(points, shown.looks, "loss", 1)
    accuracy = traces_of(points, shown.looks, "test_accuracy", 100)
    if not accuracy:
        return None
    half = max(float(trace.epochs[-1]) for trace in accuracy) / 2
    figures = [
        ("Training loss", epochs_figure(loss, "training loss", Sheet.PAGE, 370)) if loss else None,
        ("Test accuracy", epochs_figure(accuracy, "test accuracy, %", Sheet.PAGE, 370)),
        ("Its last half, enlarged", epochs_figure(accuracy, "test accuracy, %", Sheet.PAGE, 370, half)),
    ]
    made = [
        (
            title,
            on_page(figure, f"{name}{at}", f"Line chart: {title.lower()} against epochs, one line an arm."),
        )
        for at, (title, figure) in enumerate(pair for pair in figures if pair is not None)
    ]
    assert shown.fraction is not None
    key = [(trace.look.swatch, clean(trace.name)) for trace in accuracy]
    return {"figures": made, "key": key, "kept": percent(shown.fraction)}


def _classes(shown: Shown, name: str) -> dict[str, Any] | None:
    """Return accuracy per class at the fraction shown, against the full set; None where classes were not measured."""
    full = shown.evidence.full
    points = [point for point in shown.points if point.arm != FULL]
    if full is None or not points:
        return None
    lines, codes = class_lines(points, full, shown.looks, shown.evidence.margin)
    if not lines:
        return None
    names = [class_name(code, shown.class_names) for code in codes]
    words = f"Dot plot: accuracy of {len(codes)} classes against the full set, {len(lines)} arms."
    every = [full, *points]
    means = [class_means(point) for point in every]
    return {
        "wide": on_page(class_figure(lines, names, Sheet.PAGE, 760), name, words),
        "narrow": on_page(class_figure(lines, names, Sheet.PAGE, 340), f"{name}-s", words),
        "key": [(line.look.swatch, clean(line.name)) for line in lines],
        "heads": [in_words(point) if point.arm != FULL else FULL for point in every],
        "rows": [
            (label, [f"{100 * mean[code]:.2f}" if len(mean) > code else "–" for mean in means])
            for label, code in zip(names, codes, strict=True)
        ],
        "left_out": int((means[0] == means[0]).sum()) - len(codes),
        "kept": percent(points[0].fraction),
    }


def _table_row(shown: Shown, row: Row) -> dict[str, Any]:
    verdict = None if row.full is None else row.full.verdict
    return {
        "name": clean(row.name),
        "swatch": shown.looks[row.point.arm].swatch,
        "kept": percent(row.point.fraction),
        "images": count_text(row.images),
        "trials": len(row.point.done),
        "failed": len(row.point.failed),
        "accuracy": spread_text(row.accuracy),
        "interval": interval_text(row.accuracy),
        "full": difference_text(row.full),
        "random": difference_text(row.random),
        "verdict": "" if verdict is None else SAID[verdict],
        "all": row.point.arm == FULL,
    }


def _detail_row(shown: Shown, row: Row) -> dict[str, Any]:
    lowest = "–"
    if row.lowest is not None:
        lowest = f"{class_name(row.lowest[0], shown.class_names)} {100 * row.lowest[1]:.2f}"
    return {
        "name": clean(row.name),
        "swatch": shown.looks[row.point.arm].swatch,
        "kept": percent(row.point.fraction),
        "best": spread_text(row.best),
        "top5": spread_text(row.top5),
        "removed": spread_text(row.removed),
        "loss": loss_text(row.point.loss),
        "lowest": lowest,
        "worst": worst_text(row, shown.class_names),
        "steps": count_text(float(row.point.values("steps").mean())),
        "epochs": f"{row.epochs:.1f}" if row.epochs == row.epochs else "–",
        "seconds": duration(row.seconds) if row.seconds == row.seconds else "–",
    }


def write_evidence(
    folder: Path,
    table: pa.Table,
    class_names: Sequence[str] = (),
    margin: float | None = None,
    protocol: str | None = None,
) -> None:
    """Write tables and figures for papers: table.md, table.tex, table.csv, and each figure as SVG and PNG.

    The tables in Markdown and LaTeX and the figures cover one protocol, table.csv all of them.

    Args:
        folder: the target; files of the same names are replaced, obsolete figures removed.
        table: the rows of ``results.parquet``.
        class_names: the name of each code.
        margin: the loss in points that is still accepted; None for the usual one.
        protocol: its fingerprint; None, or one without a training run, for that with the most.

    Raises:
        RunFolderError: it can't be written.
    """
    found = gather(table, MARGIN if margin is None else margin)
    if not found:
        return
    chosen = next((evidence for evidence in found if evidence.protocol == protocol), found[0])
    about = f"Protocol {chosen.protocol}, one of {len(found)} in this run." if len(found) > 1 else ""
    rows = rows_of(chosen)
    write_text(folder / "table.md", markdown_table(rows, about))
    write_text(folder / "table.tex", latex_table(rows, about))
    write_text(folder / "table.csv", csv_table(found, class_names))
    for name, figure in _figures(Shown.of(chosen, class_names)).items():
        if figure is not None:
            save(figure, folder / name)
            continue
        for kind in ("svg", "png"):  # of training runs shown before
            (folder / f"{name}.{kind}").unlink(missing_ok=True)


def _figures(shown: Shown) -> dict[str, Figure | None]:
    """Return every figure for papers by the name of its files; None where there is nothing to draw."""
    evidence, paper, width = shown.evidence, Sheet.PAPER, 640
    level = level_of(evidence)
    lines = fraction_lines(evidence, shown.looks)
    layers = layer_lines(evidence, shown.arm) if shown.arm is not None else []
    loss = traces_of(shown.points, shown.looks, "loss", 1)
    accuracy = traces_of(shown.points, shown.looks, "test_accuracy", 100)
    half = max((float(trace.epochs[-1]) for trace in accuracy), default=0.0) / 2
    subsets = [point for point in shown.points if point.arm != FULL]
    dots, codes = class_lines(subsets, evidence.full, shown.looks, evidence.margin)
    names = [class_name(code, shown.class_names) for code in codes]
    what = "test accuracy, %"
    return {
        "accuracy": fraction_figure(lines, level, paper, width) if lines else None,
        "layers": fraction_figure(layers, level, paper, width) if layers else None,
        "loss-curve": epochs_figure(loss, "training loss", paper, width) if loss else None,
        "accuracy-curve": epochs_figure(accuracy, what, paper, width) if accuracy else None,
        "accuracy-curve-end": epochs_figure(accuracy, what, paper, width, half) if accuracy else None,
        "classes": class_figure(dots, names, paper, width) if dots else None,
    }
