"""Flags that several commands share."""

from __future__ import annotations

import argparse
import re
from pathlib import Path

LARGEST = 2**63 - 1
LONGEST = 40  # characters of a number
LABELS = "a folder: text with a file name and a class a line"


def add_protocol(parser: argparse.ArgumentParser) -> None:
    """Add the flags of training protocols."""
    group = parser.add_argument_group("training")
    group.add_argument(
        "--preset", metavar="NAME", help="the settings of every training; see tenpercent presets"
    )
    group.add_argument(
        "--length",
        metavar="steps|epochs",
        help="the same number of steps for every size of subset, or the same epochs (the preset's)",
    )
    group.add_argument("--steps", type=whole, metavar="N", help="batches of a training (the preset's)")
    group.add_argument("--epochs", type=whole, metavar="N", help="passes over the images, instead")
    group.add_argument(
        "--network",
        "--evaluate-network",
        metavar="NAME",
        help="another network than the preset's: fast, a timm name, or MODULE:FUNCTION, which makes one for a number "
        "of classes",
    )
    group.add_argument("--depth", type=whole, metavar="LAYERS", help="of the 6n+2-layer network")
    group.add_argument(
        "--side",
        type=whole,
        metavar="PIXELS",
        help="images above 64 pixels are brought to this shorter side and cut square (256)",
    )
    group.add_argument("--batch", type=whole, metavar="N", help="images a step (the preset's)")
    group.add_argument("--precision", metavar="auto|float32|bf16", help="of the training (the preset's)")
    group.add_argument(
        "--finetune",
        action="store_true",
        help="begin from the weights that timm knows of --network, at a tenth of the rate, not from random ones",
    )
    group.add_argument("--weights", type=path, metavar="FILE", help="with --finetune: local weights instead")


def add_run(parser: argparse.ArgumentParser) -> None:
    """Add the run folder."""
    parser.add_argument("run", type=path, metavar="RUN", help="a run folder")


def add_source(parser: argparse.ArgumentParser) -> None:
    """Add a source, its options, and the run folder."""
    parser.add_argument("source", metavar="SOURCE", help="the images, or vectors that are there already")
    parser.add_argument(
        "--out",
        type=path,
        metavar="RUN",
        help="run folder; created, or resumed if it exists (default: runs/ and the name of SOURCE)",
    )
    group = parser.add_argument_group("source")
    group.add_argument(
        "--split",
        metavar="NAME",
        help="split of the source (default: train); none: folders of such names are classes",
    )
    add_columns(group)
    group.add_argument(
        "--labels", type=path, metavar="FILE", help=f"{LABELS}; vectors: one label a row, .npy or .txt"
    )
    group.add_argument("--ids", type=path, metavar="FILE", help="vectors: one id a row, .npy or .txt")
    group.add_argument(
        "--reread",
        action="store_true",
        help="read the source of an existing run again, by the rules of this version; earlier results move to "
        "RUN/earlier, decisions stay",
    )
    group.add_argument(
        "--holdout",
        type=fraction,
        default=0.0,
        metavar="FRACTION",
        help="of each class, kept out of everything for evaluation (0)",
    )


def add_columns(group: argparse._ArgumentGroup) -> None:
    """Add the options of a source."""
    group.add_argument(
        "--image-column",
        metavar="NAME",
        help="Parquet: the column of images (default: found by type); none: take the image files beside it",
    )
    group.add_argument(
        "--label-column",
        metavar="NAME",
        help="Parquet, and the file of a folder's labels: their column, or none (default: found by name)",
    )
    group.add_argument("--embedding-column", metavar="NAME", help="Parquet: the column of ready vectors")
    group.add_argument(
        "--id-column", metavar="NAME", help="Parquet: the column of ids, or none (default: found by name)"
    )
    group.add_argument(
        "--follow-links", action="store_true", help="folders: follow links that lead out of the folder"
    )
    group.add_argument(
        "--max-pixels", type=whole, metavar="N", help="reject images with more pixels (default: 89,478,485)"
    )
    group.add_argument(
        "--drop-bad-rows",
        action="store_true",
        help="vectors: set rows that are zero, nan or infinite aside in RUN/rejected.parquet",
    )
    group.add_argument("--data-dir", type=path, metavar="FOLDER", help="where torchvision's data sets lie")


def add_embedder(parser: argparse.ArgumentParser) -> None:
    """Add the flags of embedders."""
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
        type=path,
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
        type=whole,
        metavar="LAYERS",
        help="of the network for images up to 64 pixels: 8, 14, 20, … (32)",
    )
    group.add_argument(
        "--side",
        type=whole,
        metavar="PIXELS",
        help="supervised, selfsupervised: images above 64 pixels are brought to this shorter side and cut square "
        "(256; selfsupervised without a GPU 32)",
    )
    group.add_argument(
        "--dim",
        type=whole,
        metavar="N",
        help="selfsupervised: values of the vectors that are stored and clustered (64)",
    )
    group.add_argument(
        "--epochs", type=whole, metavar="N", help="length of the training; printed where not given"
    )
    group.add_argument("--steps", type=whole, metavar="N", help="length of the training in batches, instead")
    group.add_argument("--batch", type=whole, metavar="N", help="images a step (128; selfsupervised 256)")
    group.add_argument("--seed", type=whole, metavar="N", help="of weights, order and augmentation (0)")
    group.add_argument(
        "--precision",
        metavar="auto|float32|bf16",
        help="of the training, measured on the machine unless said; of timm without --finetune (float32)",
    )
    group.add_argument(
        "--devices",
        type=whole,
        metavar="N",
        help="processes that train together (all GPUs there are, else one)",
    )


def add_layer(parser: argparse.ArgumentParser) -> None:
    """Add the choice of the layer."""
    parser.add_argument("--layer", metavar="start|middle|end", help="whose vectors to cluster (end)")


def add_within(parser: argparse.ArgumentParser) -> None:
    """Add the choice between clustering class by class and all together."""
    parser.add_argument(
        "--within",
        metavar="class|all",
        help="cluster class by class (default where there are labels) or everything together",
    )


def add_memory(parser: argparse.ArgumentParser) -> None:
    """Add the memory limit for clustering."""
    parser.add_argument(
        "--memory",
        metavar="SIZE",
        help="memory limit for clustering, e.g. 4GiB or 4G (default: half of free memory)",
    )


def add_dry_run(parser: argparse.ArgumentParser) -> None:
    """Add ``--dry-run``."""
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="print the plan and its estimated time, memory and disk, then exit",
    )


def add_cut(parser: argparse.ArgumentParser) -> None:
    """Add the flags of the cut."""
    group = parser.add_argument_group("cut")
    where = group.add_mutually_exclusive_group()
    where.add_argument(
        "--keep", type=fraction, metavar="FRACTION", help="the fraction kept, above 0 and up to 1 (0.9)"
    )
    where.add_argument(
        "--threshold",
        type=number,
        metavar="HEIGHT",
        help="take every merge up to this dissimilarity (1 − cosine) instead",
    )
    group.add_argument(
        "--yes",
        action="store_true",
        help="do not ask when --threshold removes more than half of the images",
    )
    group.add_argument(
        "--budget",
        metavar="class|global",
        help="the same fraction of each class, or the lowest merges of all (class)",
    )
    group.add_argument(
        "--keep-ids",
        type=path,
        metavar="FILE",
        help="images that must stay, beside what --keep keeps: one id a line",
    )
    group.add_argument(
        "--min-per-class", type=whole, default=1, metavar="N", help="what each class keeps at least (1)"
    )
    group.add_argument(
        "--hold",
        metavar="count|height",
        help="what decisions do not change: how many stay, or the height each class is cut at (default: count)",
    )


def add_ignore_decisions(parser: argparse.ArgumentParser) -> None:
    """Add the flag that ignores decisions."""
    parser.add_argument(
        "--ignore-decisions",
        action="store_true",
        help="as if nothing had been decided about any image (tenpercent review)",
    )


def add_strategy(parser: argparse.ArgumentParser) -> None:
    """Add the choice of the strategy."""
    group = parser.add_argument_group("strategy")
    group.add_argument(
        "--strategy",
        default="semantic",
        metavar="NAME[:VALUE]",
        help="semantic (default: the tree), random, kcenter, graph-remove, graph-add, semdedup[:CLUSTERS], "
        "ccs[:SHARE], spread, mixed[:POWER]",
    )
    group.add_argument("--seed", type=whole, metavar="N", help="of what a strategy draws (0)")
    group.add_argument(
        "--scores",
        type=path,
        metavar="FILE",
        help="ccs: a difficulty score for each row of the source, as .npy; larger is harder",
    )


def number(text: str) -> float:
    """Return a flag's text as a number."""
    try:
        return float(text)
    except ValueError:
        point = text.replace(",", ".")
        meant = f"; write {point}" if re.fullmatch(r"\d*\.\d+%?", point) else ""
        raise argparse.ArgumentTypeError(f"{_shown(text)} is not a number{meant}") from None


def fraction(text: str) -> float:
    """Return a flag's text as a number; 90% is 0.9."""
    return number(text.rstrip("% ")) / 100 if text.endswith("%") else number(text)


def path(text: str) -> Path:
    """Return a flag's text as a path; an empty one, which would be the current folder, is refused."""
    if not text.strip():
        raise argparse.ArgumentTypeError("the path is empty; give a name, or . for the current folder")
    return Path(text)


def whole(text: str) -> int:
    """Return a flag's text as a whole number that a machine's integers hold."""
    try:
        value = int(text) if len(text) <= LONGEST else None
    except ValueError:
        raise argparse.ArgumentTypeError(f"{_shown(text)} is not a whole number") from None
    if value is None or not -LARGEST <= value <= LARGEST:
        raise argparse.ArgumentTypeError(f"{_shown(text)} is out of range; give at most {LARGEST:,}")
    return value


def _shown(text: str) -> str:
    return repr(text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…")
