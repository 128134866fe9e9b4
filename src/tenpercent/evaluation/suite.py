"""A suite of experiments from one file: data sets × embedders × strategies × fractions × trials, and one table."""

from __future__ import annotations

import csv
import io
import logging
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..data.sources.holdout import split_holdout
from ..data.sources.opening import open_source
from ..data.sources.options import SourceOptions
from ..data.sources.source import ImageSource
from ..data.store.files import write_text
from ..data.store.remains import remove_remains
from ..embedding.stage import embed
from ..errors import TrainingFailedError, UsageError, require
from .stage import evaluate, protocol_of
from .suite_file import SuiteData, folder_name, read_suite, told

if TYPE_CHECKING:
    from ..reporting.evidence.results import Evidence

log = logging.getLogger("tenpercent")

COLUMNS = (
    "data",
    "embedder",
    "arm",
    "fraction",
    "n",
    "trials",
    "mean",
    "std",
    "against_full",
    "against_random",
)
HEADS = ("data", "embedder", "arm", "kept", "trials", "accuracy", "against full", "against random")


def bench(path: str | Path) -> Path:
    """Run every experiment of a suite, or those left, and write ``table.csv`` and ``figure.svg``.

    Both are rewritten after each experiment, so that an interrupted suite can be looked at.

    Args:
        path: a TOML file.

    Returns:
        The suite's folder.

    Raises:
        UsageError: the file holds an invalid value, or an experiment can't be run.
        MissingExtraError: torch is not installed.
        TrainingFailedError: training runs failed; all others are done and in the table.
    """
    require("torch", "images")
    from ..embedding.extract import check_embedder
    from ..reporting.evidence.figure import write_figure
    from ..reporting.evidence.results import gather

    suite = read_suite(path)
    for label, embedder in suite.embedders.items():  # before the first of them takes hours
        with told(f"[[embedder]] {label}"):
            check_embedder(embedder)
    for data in suite.data:
        with told(f"[[data]] {data.name} of {path}"):
            _check_images(data)
    table = suite.out / "table.csv"
    remove_remains(table, suite.out / "figure.svg")
    rows: list[dict[str, Any]] = []
    panels: list[tuple[str, Evidence]] = []
    failed: list[str] = []
    for data in suite.data:
        for label, embedder in suite.embedders.items():
            log.info("%s, embedded by %s", data.name, label)
            run = suite.out / f"{folder_name(data.name)}-{folder_name(label)}"
            embed(data.source, out=run, embedder=embedder, holdout=data.holdout, options=data.options)
            protocol = protocol_of(run, suite.preset)[0].override(**suite.override)
            found = evaluate(run, replace(suite.request, test=data.test), protocol)
            for evidence in gather(found.own):
                rows += [{"data": data.name, "embedder": label, **row} for row in _rows(evidence)]
                panels.append((f"{data.name}, {label}", evidence))
                write_figure(suite.out / "figure", panels)
            text = io.StringIO()
            writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
            write_text(table, text.getvalue())
            failed += [f"{data.name}, {label}, {trial}: {reason}" for trial, reason in found.progress.failed]
    if failed:
        raise TrainingFailedError(
            f"{len(failed)} training runs failed (the first: {failed[0]}); the others are in {table}"
        )
    return suite.out


def _check_images(data: SuiteData) -> None:
    """Check a data set before another one is embedded for hours: training runs need labels and a test set.

    Raises:
        UsageError: it doesn't exist, holds vectors, or has no labels or nothing to test on.
    """
    from .evaluation_set import given_set, own_set

    opened = open_source(data.source, data.options)
    if not isinstance(opened, ImageSource):
        raise UsageError(f"{data.source} holds vectors; evaluation trains on images, so give their source")
    if opened.labels is None or not (opened.labels >= 0).any():
        raise UsageError(
            f"the images of {data.source} have no labels; evaluation trains on labels, so give others"
        )
    _, held_out = split_holdout(opened, data.holdout)
    if data.test is not None:
        given_set(data.test, SourceOptions(), opened)
    elif not len(held_out) and own_set(opened.spec, data.options, opened) is None:
        raise UsageError(
            f'{data.source} has no test or validation split; name labelled test images with test = "SOURCE", or hold '
            "some out with holdout = 0.1"
        )


def _rows(evidence: Evidence) -> Iterator[dict[str, Any]]:
    """Yield one row an arm and fraction of an experiment."""
    for result in evidence.results:
        accuracy = result.summary("accuracy")
        if accuracy is not None:
            full, random = evidence.against_full(result), evidence.against_random(result)
            yield {
                "arm": result.arm,
                "fraction": result.fraction,
                "n": round(float(result.values("n").mean())),
                "trials": len(result.done),
                "mean": accuracy.mean,
                "std": accuracy.std,
                "against_full": None if full is None else full.difference,
                "against_random": None if random is None else random.difference,
            }


def describe_suite(folder: Path) -> str:
    """Return a suite's table for the terminal."""
    from ..reporting.evidence.formats import signed

    lines = [HEADS]
    for row in csv.DictReader(io.StringIO((folder / "table.csv").read_text(encoding="utf-8"))):
        std = f" ± {100 * float(row['std']):.2f}" if row["std"] else ""
        against = (row[name] for name in ("against_full", "against_random"))
        first, second = (signed(float(one), 2) if one else "–" for one in against)
        kept, accuracy = f"{100 * float(row['fraction']):g}%", f"{100 * float(row['mean']):.2f}{std}"
        lines.append((row["data"], row["embedder"], row["arm"], kept, row["trials"], accuracy, first, second))
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    padded = (
        "  ".join(f"{cell:<{width}}" for cell, width in zip(line, widths, strict=True)) for line in lines
    )
    return "\n".join([*(line.rstrip() for line in padded), "", f"Table and figure: {folder}"])
