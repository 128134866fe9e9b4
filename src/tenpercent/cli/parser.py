"""Arguments of every command."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any, NoReturn

from .. import __version__
from .flags import (
    LABELS,
    add_columns,
    add_cut,
    add_dry_run,
    add_embedder,
    add_ignore_decisions,
    add_layer,
    add_memory,
    add_protocol,
    add_run,
    add_source,
    add_strategy,
    add_within,
    fraction,
    number,
    path,
    whole,
)

SOURCES = """\
SOURCE is one of
  FOLDER              a subfolder a class, or flat and unlabelled; folders such as train/ and Testing/ are splits
  hf:NAME[:SPLIT]     a data set of the Hugging Face hub, or a local one
  FILE.parquet        a Parquet file or folder in the Hugging Face image layout, or with a vector column
  torchvision:NAME    a data set of torchvision, below --data-dir
  digits              1,797 handwritten digits that come with scikit-learn
  VECTORS.npy         ready vectors, with --labels and --ids where there are any"""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: error: {message}; see {self.prog} --help\n")


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of every command; ``docs/cli.md`` is made from it."""
    parser = _Parser(prog="tenpercent", description="Find the images a training set does not need.")
    parser.add_argument("--version", action="version", version=f"tenpercent {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)

    demo = _command(commands, "demo", "the whole flow on digits that are bundled, no network")
    demo.add_argument(
        "--out", type=path, default=Path("runs/demo"), metavar="RUN", help="the run folder (runs/demo)"
    )

    run = _command(commands, "run", "embed, cluster, select and report", epilog=SOURCES)
    add_source(run)
    add_embedder(run)
    add_layer(run)
    add_within(run)
    add_memory(run)
    add_cut(run)
    add_dry_run(run)

    embed = _command(commands, "embed", "embed a source into a run folder", epilog=SOURCES)
    add_source(embed)
    add_embedder(embed)
    add_dry_run(embed)

    cluster = _command(commands, "cluster", "build the tree of merges, exactly, as deep as asked")
    add_run(cluster)
    depth = cluster.add_mutually_exclusive_group()
    depth.add_argument(
        "--keep", type=fraction, metavar="FRACTION", help="the smallest fraction the tree must serve (0.5)"
    )
    depth.add_argument("--threshold", type=number, metavar="HEIGHT", help="the height the tree must reach")
    add_within(cluster)
    add_layer(cluster)
    add_memory(cluster)

    select = _command(
        commands, "select", "cut the stored tree, or choose by another strategy: which images stay"
    )
    add_run(select)
    add_memory(select)
    add_cut(select)
    add_ignore_decisions(select)
    add_strategy(select)

    report = _command(
        commands,
        "report",
        "write RUN/report.html, and RUN/evidence/ where trainings have tried the selection",
    )
    add_run(report)
    add_ignore_decisions(report)
    report.add_argument(
        "--margin",
        type=number,
        metavar="POINTS",
        help="the loss in points of accuracy that the trainings are held against (0.2)",
    )

    _add_review(commands)
    explain = _command(commands, "explain", "why an image was removed or kept")
    add_run(explain)
    explain.add_argument(
        "id", metavar="ID", help="the image's id: its path within the source, else its row number"
    )

    export = _command(commands, "export", "write the kept images in another tool's format")
    add_run(export)
    export.add_argument(
        "--format",
        required=True,
        metavar="indices|folder|csv|hf",
        help="row numbers (.npy, .txt); class folders; all columns; a Hugging Face data set",
    )
    export.add_argument(
        "--to", type=path, required=True, metavar="PATH", help="where to; nothing there is overwritten"
    )
    add_ignore_decisions(export)

    _add_leaks(commands)
    _add_probe(commands)
    _add_evaluate(commands)
    bench = _command(
        commands, "bench", "evaluate several data sets, embedders and strategies, as a file asks for"
    )
    bench.add_argument(
        "file", type=path, metavar="FILE", help="TOML; docs/evidence.md shows one. The same command resumes"
    )

    _command(commands, "presets", "the settings of trainings that have a name, each with its source")

    info = _command(commands, "info", "what a run folder holds, and what made it")
    add_run(info)
    return parser


def _add_review(commands: Any) -> None:
    review = _command(
        commands,
        "review",
        "look at the groups in a browser, decide about images",
        epilog="Decisions are kept in RUN/decisions.sqlite and hold at every fraction and after every new embedding.",
    )
    add_run(review)
    review.add_argument(
        "--port", type=whole, metavar="PORT", help="where to listen (8410, or the next that is free)"
    )
    review.add_argument(
        "--host",
        default="127.0.0.1",
        metavar="ADDRESS",
        help="other than this machine's own, others can open it",
    )
    review.add_argument("--no-browser", action="store_true", help="only print the address")

    decisions = _command(
        commands,
        "decisions",
        "list what was decided about images, or share it",
    )
    add_run(decisions)
    share = decisions.add_mutually_exclusive_group()
    share.add_argument(
        "--export",
        type=path,
        metavar="FILE",
        help="write all decisions as lines of JSON; nothing is overwritten",
    )
    share.add_argument("--import", dest="read", type=path, metavar="FILE", help="add those of such a file")


def _add_leaks(commands: Any) -> None:
    leaks = _command(
        commands,
        "leaks",
        "find test images with a near-duplicate in the training set",
        epilog="TRAIN and TEST are run folders, or sources. " + SOURCES,
    )
    leaks.add_argument("train", metavar="TRAIN", help="the training set: a run folder or a source")
    leaks.add_argument(
        "test",
        metavar="TEST",
        nargs="?",
        help="the test set, likewise; without it the test split of TRAIN's source",
    )
    leaks.add_argument(
        "--threshold",
        type=number,
        metavar="HEIGHT",
        help="largest dissimilarity of near-duplicates by vector (default: 0 where images are compared by perceptual "
        "hash, else that within which 1%% of the training images have another one)",
    )
    leaks.add_argument(
        "--out",
        type=path,
        default=Path("runs/leaks"),
        metavar="FOLDER",
        help="folder for the page, the table and new embeddings (runs/leaks)",
    )
    leaks.add_argument(
        "--table", type=path, metavar="FILE", help="also write the pairs here, as .csv or .parquet"
    )
    leaks.add_argument(
        "--fail-above",
        type=whole,
        metavar="N",
        help="exit with status 1 if more than N test images have a near-duplicate",
    )
    leaks.add_argument(
        "--export",
        metavar="indices|folder|csv|hf",
        help="write the test images without a near-duplicate in this format",
    )
    leaks.add_argument(
        "--to", type=path, metavar="PATH", help="where --export writes; nothing is overwritten"
    )
    leaks.add_argument("--layer", metavar="start|middle|end", help="whose vectors to compare (end)")
    add_memory(leaks)
    group = leaks.add_argument_group("sources")
    for side in ("train", "test"):
        group.add_argument(f"--{side}-split", metavar="NAME", help=f"of a source with splits ({side})")
        group.add_argument(
            f"--{side}-labels",
            type=path,
            metavar="FILE",
            help=f"{LABELS}; vectors: one label a row, .npy or .txt",
        )
        group.add_argument(
            f"--{side}-ids", type=path, metavar="FILE", help="vectors: one id a row, .npy or .txt"
        )
    add_columns(group)
    add_embedder(leaks)


def _add_probe(commands: Any) -> None:
    probe = _command(
        commands,
        "probe",
        "compare how well embeddings separate classes, on images they were not trained on",
        epilog="A run is tested on its hold-out, else on its source's test or validation split, embedded by its own "
        "network.",
    )
    probe.add_argument("runs", type=path, nargs="*", metavar="RUN", help="run folders with labels")
    probe.add_argument(
        "--layer",
        nargs="+",
        default=["end"],
        metavar="LAYER",
        help="of the runs, whose vectors: start, middle, end (end)",
    )
    probe.add_argument(
        "--vectors",
        type=path,
        nargs="+",
        default=[],
        metavar="FILE",
        help="ready vectors, .npy; a fifth of them is the test set",
    )
    probe.add_argument("--labels", type=path, metavar="FILE", help="of --vectors: one a row, .npy or .txt")
    probe.add_argument(
        "--timm", nargs="+", default=[], metavar="NAME", help="models of timm, which embed --images first"
    )
    probe.add_argument(
        "--images", metavar="SOURCE", help="for --timm: labelled images (those of the first RUN)"
    )
    probe.add_argument(
        "--weights",
        type=path,
        metavar="FILE",
        help="for a single --timm: local weights, not those of the hub",
    )
    probe.add_argument(
        "--test", metavar="SOURCE", help="labelled images to test on, instead of the runs' own"
    )
    probe.add_argument(
        "--out",
        type=path,
        default=Path("runs/probe"),
        metavar="FOLDER",
        help="folder for the table and new embeddings (runs/probe)",
    )


def _add_evaluate(commands: Any) -> None:
    evaluate = _command(
        commands,
        "evaluate",
        "train from scratch on what is kept, beside random subsets and the full set",
        epilog="What is trained already is not trained again: more trials, arms and fractions add to "
        "RUN/results.parquet. Several processes may share RUN.",
    )
    add_run(evaluate)
    add_ignore_decisions(evaluate)
    evaluate.add_argument(
        "--keep",
        type=fraction,
        nargs="+",
        metavar="FRACTION",
        help="the fractions kept (that of RUN's selection, else 0.9; with --find 0.95 0.9 0.8 0.7 0.5 0.3)",
    )
    evaluate.add_argument(
        "--arms",
        nargs="+",
        metavar="ARM",
        help="how images are chosen: full, a strategy of select (random, semantic, kcenter, …), or NAME=FILE with row "
        "numbers or ids (full random, and the strategy of RUN's selection)",
    )
    evaluate.add_argument(
        "--trials", type=whole, metavar="N", help="trainings of each, with different seeds (the preset's)"
    )
    evaluate.add_argument(
        "--layer",
        nargs="+",
        default=[],
        metavar="LAYER",
        help="whose vectors the images are chosen by (that which RUN was clustered by)",
    )
    evaluate.add_argument(
        "--embeddings",
        type=whole,
        default=1,
        metavar="K",
        help="train the embedding K times, with other seeds, and choose by each (1)",
    )
    evaluate.add_argument(
        "--margin",
        type=number,
        metavar="POINTS",
        help="the loss in points of accuracy that is still accepted (0.2)",
    )
    evaluate.add_argument(
        "--find",
        action="store_true",
        help="search the smallest fraction of --keep whose loss stays within --margin with 95%% confidence, with up "
        "to --trials trainings of each",
    )
    add_dry_run(evaluate)
    group = evaluate.add_argument_group("evaluation set")
    group.add_argument(
        "--test",
        metavar="SOURCE",
        help="labelled images to test on (what --holdout held out, else the source's test or validation split)",
    )
    group.add_argument("--test-split", metavar="NAME", help="of a source with splits (test)")
    group.add_argument("--test-labels", type=path, metavar="FILE", help=f"of the images of --test: {LABELS}")
    add_columns(group)
    add_protocol(evaluate)


def _command(commands: Any, name: str, what: str, epilog: str | None = None) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(
        name,
        help=what,
        description=what[0].upper() + what[1:] + ".",
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--quiet", action="store_true", help="print errors only")
    return parser
