"""The arguments of every command."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any, NoReturn

from . import __version__

SOURCES = """\
SOURCE is one of
  FOLDER              a subfolder a class, or flat and unlabelled; train/, val/ and test/ on top are splits
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
        "--out", type=Path, default=Path("runs/demo"), metavar="RUN", help="the run folder (runs/demo)"
    )

    run = _command(commands, "run", "embed, cluster, select and report", epilog=SOURCES)
    _add_source(run)
    _add_embedder(run)
    _add_layer(run)
    _add_within(run)
    _add_memory(run)
    _add_cut(run)
    run.add_argument(
        "--dry-run",
        action="store_true",
        help="say what would be done, with time, memory and disk; do nothing",
    )

    embed = _command(commands, "embed", "embed a source into a run folder", epilog=SOURCES)
    _add_source(embed)
    _add_embedder(embed)

    cluster = _command(commands, "cluster", "build the tree of merges, exactly, as deep as asked")
    _add_run(cluster)
    depth = cluster.add_mutually_exclusive_group()
    depth.add_argument(
        "--keep", type=_number, metavar="FRACTION", help="the smallest fraction the tree must serve (0.5)"
    )
    depth.add_argument("--threshold", type=_number, metavar="HEIGHT", help="the height the tree must reach")
    _add_within(cluster)
    _add_layer(cluster)
    _add_memory(cluster)

    select = _command(
        commands, "select", "cut the stored tree, or choose by another strategy: which images stay"
    )
    _add_run(select)
    _add_memory(select)
    _add_cut(select)
    _add_strategy(select)

    report = _command(commands, "report", "write RUN/report.html")
    _add_run(report)

    explain = _command(commands, "explain", "why an image was removed or kept")
    _add_run(explain)
    explain.add_argument(
        "id", metavar="ID", help="the image's id: its path within the source, else its row number"
    )

    export = _command(commands, "export", "write the kept images in another tool's format")
    _add_run(export)
    export.add_argument(
        "--format",
        required=True,
        metavar="indices|folder|csv|hf",
        help="row numbers (.npy, .txt); class folders; all columns; a Hugging Face data set",
    )
    export.add_argument(
        "--to", type=Path, required=True, metavar="PATH", help="where to; nothing there is overwritten"
    )

    _add_leaks(commands)
    _add_probe(commands)
    _add_evaluate(commands)
    bench = _command(
        commands, "bench", "evaluate several data sets, embedders and strategies, as a file asks for"
    )
    bench.add_argument(
        "file", type=Path, metavar="FILE", help="TOML; docs/evidence.md shows one. Interrupted, it goes on"
    )

    _command(commands, "presets", "the settings of trainings that have a name, each with its source")

    info = _command(commands, "info", "what a run folder holds, and what made it")
    _add_run(info)
    return parser


def _add_leaks(commands: Any) -> None:
    leaks = _command(
        commands,
        "leaks",
        "find the test images that have a twin in the training set",
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
        type=_number,
        metavar="HEIGHT",
        help="the largest dissimilarity of twins (as near as the nearest 1%% of the training images are)",
    )
    leaks.add_argument(
        "--out",
        type=Path,
        default=Path("runs/leaks"),
        metavar="FOLDER",
        help="for the page, the table and what is embedded (runs/leaks)",
    )
    leaks.add_argument("--table", type=Path, metavar="FILE", help="the pairs once more, as .csv or .parquet")
    leaks.add_argument(
        "--fail-above", type=_whole, metavar="N", help="exit with 1 where more than N test images have a twin"
    )
    leaks.add_argument(
        "--export",
        metavar="indices|folder|csv|hf",
        help="write the test images without a twin, in this format",
    )
    leaks.add_argument(
        "--to", type=Path, metavar="PATH", help="where --export writes; nothing is overwritten"
    )
    leaks.add_argument("--layer", metavar="start|middle|end", help="whose vectors to compare (end)")
    group = leaks.add_argument_group("sources")
    for side in ("train", "test"):
        group.add_argument(f"--{side}-split", metavar="NAME", help=f"of a source with splits ({side})")
        group.add_argument(
            f"--{side}-labels", type=Path, metavar="FILE", help="vectors: one label a row, .npy or .txt"
        )
        group.add_argument(
            f"--{side}-ids", type=Path, metavar="FILE", help="vectors: one id a row, .npy or .txt"
        )
    _add_columns(group)
    _add_embedder(leaks)


def _add_probe(commands: Any) -> None:
    probe = _command(
        commands,
        "probe",
        "how well embeddings tell classes apart, side by side, on images they have not used",
        epilog="A run is judged by the images it holds out, else by its source's test or validation split; its own "
        "network embeds them.",
    )
    probe.add_argument("runs", type=Path, nargs="*", metavar="RUN", help="run folders with labels")
    probe.add_argument(
        "--layer",
        nargs="+",
        default=["end"],
        metavar="LAYER",
        help="of the runs, whose vectors: start, middle, end (end)",
    )
    probe.add_argument(
        "--vectors",
        type=Path,
        nargs="+",
        default=[],
        metavar="FILE",
        help="ready vectors, .npy; a fifth of them is judged by the others",
    )
    probe.add_argument("--labels", type=Path, metavar="FILE", help="of --vectors: one a row, .npy or .txt")
    probe.add_argument(
        "--timm", nargs="+", default=[], metavar="NAME", help="models of timm, which embed --images first"
    )
    probe.add_argument(
        "--images", metavar="SOURCE", help="for --timm: labelled images (those of the first RUN)"
    )
    probe.add_argument(
        "--weights",
        type=Path,
        metavar="FILE",
        help="for a single --timm: local weights, not those of the hub",
    )
    probe.add_argument(
        "--test", metavar="SOURCE", help="labelled images to judge by, instead of the runs' own"
    )
    probe.add_argument(
        "--out",
        type=Path,
        default=Path("runs/probe"),
        metavar="FOLDER",
        help="for table, figure and what is embedded (runs/probe)",
    )


def _add_evaluate(commands: Any) -> None:
    evaluate = _command(
        commands,
        "evaluate",
        "train from scratch on what is kept, beside random subsets and the full set",
        epilog="What is trained already is not trained again: more trials, arms and fractions add to "
        "RUN/results.parquet. Several processes may share RUN.",
    )
    _add_run(evaluate)
    evaluate.add_argument(
        "--keep",
        type=_number,
        nargs="+",
        metavar="FRACTION",
        help="the fractions kept (0.9; with --find 0.95 0.9 0.8 0.7 0.5 0.3)",
    )
    evaluate.add_argument(
        "--arms",
        nargs="+",
        default=["full", "random", "semantic"],
        metavar="ARM",
        help="how images are chosen: full, random, semantic, or NAME=FILE with row numbers or ids "
        "(full random semantic)",
    )
    evaluate.add_argument(
        "--trials", type=_whole, metavar="N", help="trainings of each, with different seeds (the preset's)"
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
        type=_whole,
        default=1,
        metavar="K",
        help="train the embedding K times, with other seeds, and choose by each (1)",
    )
    evaluate.add_argument(
        "--margin",
        type=_number,
        metavar="POINTS",
        help="the loss in points of accuracy that is still accepted (0.2)",
    )
    evaluate.add_argument(
        "--find",
        action="store_true",
        help="search the smallest fraction of --keep whose loss stays within --margin with 95%% confidence, with up "
        "to --trials trainings of each",
    )
    group = evaluate.add_argument_group("evaluation set")
    group.add_argument(
        "--test",
        metavar="SOURCE",
        help="labelled images to test on (what --holdout held out, else the source's test or validation split)",
    )
    group.add_argument("--test-split", metavar="NAME", help="of a source with splits (test)")
    _add_columns(group)
    _add_protocol(evaluate)


def _add_protocol(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("training")
    group.add_argument(
        "--preset", metavar="NAME", help="the settings of every training; see tenpercent presets"
    )
    group.add_argument(
        "--length",
        metavar="steps|epochs",
        help="the same number of steps for every size of subset, or the same epochs (the preset's)",
    )
    group.add_argument("--steps", type=_whole, metavar="N", help="batches of a training (the preset's)")
    group.add_argument("--epochs", type=_whole, metavar="N", help="passes over the images, instead")
    group.add_argument("--network", metavar="NAME", help="another network than the preset's")
    group.add_argument("--depth", type=_whole, metavar="LAYERS", help="of the 6n+2-layer network")
    group.add_argument("--batch", type=_whole, metavar="N", help="images a step (the preset's)")
    group.add_argument("--precision", metavar="auto|float32|bf16", help="of the training (the preset's)")


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


def _add_run(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", type=Path, metavar="RUN", help="a run folder")


def _add_source(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("source", metavar="SOURCE", help="the images, or vectors that are there already")
    parser.add_argument(
        "--out", type=Path, required=True, metavar="RUN", help="the run folder: made, or gone on with"
    )
    group = parser.add_argument_group("source")
    group.add_argument("--split", metavar="NAME", help="of a source with splits (train)")
    _add_columns(group)
    group.add_argument("--labels", type=Path, metavar="FILE", help="vectors: one label a row, .npy or .txt")
    group.add_argument("--ids", type=Path, metavar="FILE", help="vectors: one id a row, .npy or .txt")
    group.add_argument(
        "--holdout",
        type=_number,
        default=0.0,
        metavar="FRACTION",
        help="of each class, kept out of everything for evaluation (0)",
    )


def _add_columns(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--image-column", metavar="NAME", help="Parquet: the column of images, else found by its type"
    )
    group.add_argument(
        "--label-column", metavar="NAME", help="Parquet: the column of labels, else found by its type"
    )
    group.add_argument("--embedding-column", metavar="NAME", help="Parquet: the column of ready vectors")
    group.add_argument("--data-dir", type=Path, metavar="FOLDER", help="where torchvision's data sets lie")


def _add_embedder(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("embedding")
    group.add_argument(
        "--embedder",
        metavar="NAME",
        help="supervised: trained on the labels (default where there are any); selfsupervised: trained without "
        "labels (default elsewhere); timm:NAME: any timm model",
    )
    group.add_argument(
        "--preset",
        metavar="NAME",
        help="supervised: the settings of a preset, see tenpercent presets; other flags override them",
    )
    group.add_argument(
        "--weights",
        type=Path,
        metavar="FILE",
        help="timm, and selfsupervised with --network: local weights to start from, safetensors or a state dict",
    )
    group.add_argument(
        "--finetune",
        action="store_true",
        default=None,
        help="timm: train on the labels first, from these weights",
    )
    group.add_argument(
        "--network",
        metavar="NAME",
        help="supervised, selfsupervised: a resnetv2_* of timm, for images above 64 pixels (resnetv2_50); "
        "selfsupervised with --weights: any timm model",
    )
    group.add_argument(
        "--depth",
        type=_whole,
        metavar="LAYERS",
        help="of the network for images up to 64 pixels: 8, 14, 20, … (32)",
    )
    group.add_argument(
        "--dim",
        type=_whole,
        metavar="N",
        help="selfsupervised: values of the vectors that are stored and clustered (64)",
    )
    group.add_argument(
        "--epochs", type=_whole, metavar="N", help="length of the training; printed where not given"
    )
    group.add_argument("--steps", type=_whole, metavar="N", help="length of the training in batches, instead")
    group.add_argument("--batch", type=_whole, metavar="N", help="images a step (128; selfsupervised 256)")
    group.add_argument("--seed", type=_whole, metavar="N", help="of weights, order and augmentation (0)")
    group.add_argument(
        "--precision",
        metavar="auto|float32|bf16",
        help="of the training; measured on the machine unless said",
    )
    group.add_argument(
        "--devices",
        type=_whole,
        metavar="N",
        help="processes that train together (all GPUs there are, else one)",
    )


def _add_layer(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--layer", metavar="start|middle|end", help="whose vectors to cluster (end)")


def _add_within(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--within",
        metavar="class|all",
        help="cluster class by class (default where there are labels) or everything together",
    )


def _add_memory(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--memory",
        metavar="SIZE",
        help="what clustering may take beside the vectors, e.g. 4GiB (half of what is free)",
    )


def _add_cut(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("cut")
    where = group.add_mutually_exclusive_group()
    where.add_argument(
        "--keep", type=_number, metavar="FRACTION", help="the fraction kept, above 0 and up to 1 (0.9)"
    )
    where.add_argument(
        "--threshold",
        type=_number,
        metavar="HEIGHT",
        help="take every merge up to this dissimilarity instead",
    )
    group.add_argument(
        "--budget",
        metavar="class|global",
        help="the same fraction of each class, or the lowest merges of all (class)",
    )
    group.add_argument(
        "--keep-ids",
        type=Path,
        metavar="FILE",
        help="images that must stay, beside what --keep keeps: one id a line",
    )
    group.add_argument(
        "--min-per-class", type=_whole, default=1, metavar="N", help="what each class keeps at least (1)"
    )


def _add_strategy(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("strategy")
    group.add_argument(
        "--strategy",
        default="semantic",
        metavar="NAME[:VALUE]",
        help="semantic (default: the tree), random, kcenter, graph-remove, graph-add, semdedup[:CLUSTERS], el2n, "
        "forgetting, ccs[:SHARE], spread, mixed[:POWER]",
    )
    group.add_argument("--seed", type=_whole, metavar="N", help="of what a strategy draws (0)")
    group.add_argument(
        "--scores", type=Path, metavar="FILE", help="el2n, forgetting, ccs: a score a row of the source, .npy"
    )


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number") from None


def _whole(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number") from None
