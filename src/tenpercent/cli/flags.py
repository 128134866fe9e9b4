"""Flags that several commands share, and the types of their values."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

LARGEST = 2**63 - 1
LONGEST = 40  # characters of a number


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


def share(text: str) -> float:
    """Return a flag's text as a number of images where it is whole, else as a fraction."""
    return int(text) if text.isdecimal() and len(text) < LONGEST else fraction(text)


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


# By the placeholder of a value in the help; any other value is text.
TYPES: dict[str, Callable[[str], Any]] = {
    **dict.fromkeys(("FRACTION",), fraction),
    "KEEP": share,
    **dict.fromkeys(("HEIGHT", "POINTS", "RATE"), number),
    **dict.fromkeys(("N", "LAYERS", "PIXELS", "PORT"), whole),
    **dict.fromkeys(("FILE", "FOLDER", "PATH", "RUN"), path),
}


@dataclass(frozen=True)
class Flag:
    """One argument of a command.

    Attributes:
        name: as typed, ``--keep``, with other spellings after commas, or the name of a positional argument.
        value: the placeholder of its value in the help, which says its type; "" for a switch.
        help: its meaning. ``{module:name}`` stands for a default of the library, e.g. ``{tree.cut:DEFAULT_KEEP}``.
        more: further arguments of `argparse.ArgumentParser.add_argument`.
    """

    name: str
    value: str
    help: str
    more: tuple[tuple[str, Any], ...] = ()

    def add_to(self, parser: argparse._ActionsContainer) -> None:
        """Add this argument; the value of a flag that is not given is None."""
        kind: dict[str, Any] = {"action": "store_true", "default": None}
        if self.value:
            kind = {"metavar": self.value, "type": TYPES.get(self.value, str)}
        parser.add_argument(*self.name.split(", "), help=self.help, **{**kind, **dict(self.more)})


@dataclass(frozen=True)
class Group:
    """Flags below a title of the help, or without a title those of which one at most may be given."""

    title: str
    flags: tuple[Flag | Group, ...]

    def add_to(self, parser: argparse._ActionsContainer) -> None:
        """Add the flags of this group."""
        group: argparse._ActionsContainer
        group = parser.add_argument_group(self.title) if self.title else parser.add_mutually_exclusive_group()
        for one in self.flags:
            one.add_to(group)


def flag(name: str, value: str, meaning: str, **more: Any) -> Flag:
    """Return an argument with a value."""
    return Flag(name, value, meaning, tuple(more.items()))


def switch(name: str, meaning: str) -> Flag:
    """Return an argument without a value."""
    return Flag(name, "", meaning)


def group(title: str, *flags: Flag | Group) -> Group:
    """Return flags below a title."""
    return Group(title, flags)


def one_of(*flags: Flag) -> Group:
    """Return flags that exclude each other."""
    return Group("", flags)


LABEL_FILE = "text file with a file name and a class per line"
AGAIN = switch(
    "--reread",
    "embed a set anew that has changed since FOLDER was made; its earlier vectors move to FOLDER/…/earlier",
)
COLUMNS = (
    flag(
        "--image-column",
        "NAME",
        "Parquet: column of images (default: found by type); none: use the image files beside the tables",
    ),
    flag(
        "--label-column",
        "NAME",
        "Parquet and label files: column of labels (default: found by name); none: use no labels",
    ),
    flag(
        "--embedding-column",
        "NAME",
        "Parquet: column of existing vectors (default: none where there are images)",
    ),
    flag("--id-column", "NAME", "Parquet: column of ids (default: found by name); none: use the row numbers"),
    switch("--follow-links", "folders: follow links that lead outside the folder"),
    flag(
        "--max-pixels",
        "N",
        "reject images with more pixels (default: {data.sources.options:MAX_PIXELS})",
    ),
    switch(
        "--drop-bad-rows",
        "vectors: set aside rows that are zero, nan or infinite in RUN/rejected.parquet instead of refusing them",
    ),
    flag(
        "--fps",
        "RATE",
        "videos: frames to take a second, by their times (default: {data.sources.options:FPS}); takes the videos of a "
        "folder that holds images too",
    ),
    flag("--data-dir", "FOLDER", "torchvision: folder of its data sets"),
)
RUN = flag("run", "RUN", "run folder")
ENGINE = group(
    "place",
    one_of(
        flag("--workers", "N", "work in N processes of this machine, at most one a CPU"),
        flag(
            "--ray",
            "ADDRESS",
            "work on a cluster of Ray: its address, or auto for the one around; without ADDRESS one is started on this "
            "machine (docs/scale.md)",
            nargs="?",
            const="local",
        ),
    ),
)
SOURCE = (
    flag("source", "SOURCE", "images or existing vectors, see below"),
    flag(
        "--out",
        "RUN",
        "run folder; created, or resumed if it exists (default: runs/ and the name of SOURCE)",
    ),
    group(
        "source",
        flag(
            "--split",
            "NAME",
            "split of the source (default: train); none: folders named like splits are classes",
        ),
        *COLUMNS,
        flag(
            "--where",
            "CONDITION",
            "Parquet: take the rows where it is true, e.g. \"weather = 'night' and score > 0.5\"",
        ),
        flag(
            "--by",
            "NAME",
            "Parquet: column whose values take the place of the class: camera, site, patient; videos: clip",
        ),
        flag(
            "--images",
            "FOLDER",
            "coco, yolo: folder where their paths begin, or its address (default: beside the annotations)",
        ),
        flag(
            "--unit",
            "image|object",
            "coco, yolo, voc: cluster images (default), all together or, with --within class, by the set of "
            "their classes; or objects, each box with a margin, class by class",
        ),
        flag("--labels", "FILE", f"folders, archives: {LABEL_FILE}; vectors: a label per row, .npy or .txt"),
        flag("--ids", "FILE", "vectors: an id per row, .npy or .txt"),
        switch(
            "--reread",
            "read the source of an existing run again, by the rules of this version; earlier results move to "
            "RUN/earlier, decisions stay",
        ),
        flag("--holdout", "FRACTION", "fraction of each class held out for evaluation (default: 0)"),
    ),
)
EMBEDDER = group(
    "embedding",
    flag(
        "--embedder",
        "NAME",
        "pretrained: a network of ImageNet that comes with the package (default for photos, and without labels); "
        "supervised: train on the labels (default for labelled images of up to 64 pixels); selfsupervised: train "
        "without labels; dinov2, clip, siglip2 or timm:NAME: a model of timm, for fine-grained or unusual images",
    ),
    flag(
        "--preset",
        "NAME",
        "supervised: the settings of a preset, which other flags override; see tenpercent presets",
    ),
    flag(
        "--weights",
        "FILE",
        "timm, and selfsupervised with --network: local weights to start from, safetensors or a state dict",
    ),
    switch(
        "--finetune",
        "pretrained (default), dinov2, clip, siglip2, timm: first train on the images, starting from the network's "
        "weights: on their labels, or without where they have none",
    ),
    flag(
        "--network",
        "NAME",
        "supervised, selfsupervised: timm network resnetv2_* for images above 64 pixels (default: resnetv2_50); "
        "selfsupervised with --weights: any timm model",
    ),
    flag(
        "--depth",
        "LAYERS",
        "layers of the network for images up to 64 pixels: 8, 14, 20, … "
        "(default: {embedding.settings:Supervised.depth})",
    ),
    flag(
        "--side",
        "PIXELS",
        "supervised, selfsupervised: scale images above 64 pixels to this shorter side and crop them square "
        "(default: {embedding.settings:LARGE}; selfsupervised without a GPU: {embedding.choice:SIDE}); timm: side of "
        "the model's input (default: the model's own; dinov2: 224)",
    ),
    flag(
        "--dim",
        "N",
        "selfsupervised, and --finetune without labels: values per vector (default: "
        "{embedding.settings:SelfSupervised.dim})",
    ),
    flag(
        "--epochs", "N", "epochs of the training run (default: by the number of images; printed at the start)"
    ),
    flag("--steps", "N", "length of the training run in batches, instead of --epochs"),
    flag(
        "--batch",
        "N",
        "images per step (default: {embedding.settings:Supervised.batch}; selfsupervised: "
        "{embedding.settings:SelfSupervised.batch}; --finetune above {embedding.choice:SMALL_INPUT} pixels: "
        "{embedding.choice:LARGE_BATCH})",
    ),
    flag(
        "--seed",
        "N",
        "seed of weights, order and augmentation (default: {embedding.settings:Supervised.seed})",
    ),
    flag(
        "--precision",
        "auto|float32|bf16",
        "precision of the training run (default: measured on the machine), or of timm without --finetune "
        "(default: float32)",
    ),
    flag("--devices", "N", "processes that train together (default: one per GPU, else one)"),
)
LAYER = flag("--layer", "start|middle|end", "layer whose vectors are clustered (default: end)")
WITHIN = flag(
    "--within",
    "class|clip|all",
    "cluster class by class (default if there are labels), with run video by video, or all images together",
)
MEMORY = flag(
    "--memory", "SIZE", "memory limit for clustering, e.g. 4GiB or 4G (default: half of free memory)"
)
DRY_RUN = switch("--dry-run", "print the plan and its estimated time, memory and disk, then exit")
CUT = group(
    "cut",
    one_of(
        flag(
            "--keep",
            "KEEP",
            "fraction to keep, above 0 and up to 1.0, or number of images from 2 up (default: {tree.cut:DEFAULT_KEEP})",
        ),
        flag(
            "--threshold",
            "HEIGHT",
            "instead of --keep: take every merge up to this dissimilarity (1 − cosine)",
        ),
    ),
    switch("--yes", "do not ask for confirmation if --threshold removes more than half of the images"),
    flag(
        "--budget",
        "class|global",
        "class: keep the same fraction of each class (default); global: take the lowest merges of all classes",
    ),
    flag("--keep-ids", "FILE", "images that stay in addition to those that --keep keeps: one id per line"),
    one_of(
        flag(
            "--locked",
            "FILE",
            "images that must stay, such as labelled ones, and count towards --keep: one id per line, or the column id "
            "of a .csv or .parquet; images near to them are removed first",
        ),
        switch("--grow", "lock the images that RUN's earlier selection keeps"),
    ),
    flag(
        "--representative, --keeper",
        "RULE",
        "image kept of each group: centre (default), sharpest, largest, newest, oldest, or, for a table, column:NAME: "
        "the one with the largest value there",
    ),
    flag(
        "--min-per-class",
        "N",
        "least number of images that each class keeps (default: {tree.cut:Cut.min_per_class})",
    ),
    flag(
        "--hold",
        "count|height",
        "what decisions leave unchanged: the number of images kept (default), or the height of each class's cut",
    ),
)
IGNORE_DECISIONS = switch("--ignore-decisions", "ignore all decisions about images (tenpercent review)")
STRATEGY = group(
    "strategy",
    flag(
        "--strategy",
        "NAME[:VALUE]",
        "semantic (default: the tree), random, kcenter, graph-remove, graph-add, semdedup[:CLUSTERS], "
        "ccs[:SHARE], spread, mixed[:POWER]",
    ),
    flag("--seed", "N", "seed of the strategies that draw (default: 0)"),
    flag(
        "--scores",
        "FILE",
        "ccs: difficulty score per row of the source, .npy; larger is harder",
    ),
)
PROTOCOL = group(
    "training",
    flag(
        "--preset",
        "NAME",
        "settings of all training runs, see tenpercent presets (default: those of RUN's embedding)",
    ),
    flag(
        "--length",
        "steps|epochs",
        "train on subsets of every size for the same number of steps, or of epochs (default: the preset's)",
    ),
    flag("--steps", "N", "batches per training run (default: the preset's)"),
    flag("--epochs", "N", "passes over the images per training run, instead of --steps"),
    flag(
        "--network",
        "NAME",
        "head: a linear classifier on the run's vectors (default where these were made without labels); else the "
        "network to train instead of the preset's: fast, a timm name, or MODULE:FUNCTION, which is given the number of "
        "classes",
    ),
    flag("--depth", "LAYERS", "layers of the network for images up to 64 pixels (default: the preset's)"),
    flag(
        "--side",
        "PIXELS",
        "scale images above 64 pixels to this shorter side and crop them square "
        "(default: the preset's, else {embedding.settings:LARGE})",
    ),
    flag("--batch", "N", "images per step (default: the preset's)"),
    flag("--precision", "auto|float32|bf16", "precision of the training runs (default: the preset's)"),
    switch(
        "--finetune",
        "start from timm's weights of --network, at a tenth of the learning rate, not from random weights",
    ),
    flag("--weights", "FILE", "with --finetune: local weights to start from"),
)
