"""Arguments of every command, as a table, and the parser made of it."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from operator import attrgetter
from pathlib import Path
from typing import NoReturn

from .. import __version__
from ..errors import nearest
from . import commands
from .flags import (
    AGAIN,
    COLUMNS,
    CUT,
    DRY_RUN,
    EMBEDDER,
    ENGINE,
    IGNORE_DECISIONS,
    LABEL_FILE,
    LAYER,
    MEMORY,
    PROTOCOL,
    RUN,
    SOURCE,
    STRATEGY,
    WITHIN,
    Flag,
    Group,
    flag,
    group,
    one_of,
    switch,
)

SOURCES = """\
SOURCE is one of
  FOLDER              images, in a subfolder per class or unlabelled; folders such as train/ and Testing/ are splits
                      or idx files such as train-images-idx3-ubyte.gz, as MNIST and Fashion-MNIST come
  FILE.zip, FILE.tar  an archive of images, read in place, or a folder of them, such as the shards of WebDataset
  VIDEO               a video, or a folder of videos, of which --fps frames a second are taken
  hf:NAME[:SPLIT]     a data set of the Hugging Face hub, or a local one
  FILE.parquet        a Parquet file or folder in the Hugging Face image layout, or with a column of vectors;
                      or a Lance data set, X.lance
  s3://BUCKET/FOLDER  images, archives, Parquet, videos or .npy in a store; also gs://, az:// and https://
  'A-{000..099}.tar'  several archives or Parquet files, here or in a store (quotes keep the braces)
  torchvision:NAME    a data set of torchvision, below --data-dir
  coco:FILE.json      images with boxes: annotations of COCO; yolo:data.yaml and voc:FOLDER likewise; or an address
  digits              1,797 handwritten digits that come with scikit-learn
  VECTORS.npy         existing vectors, with --labels and --ids if there are any"""


@dataclass(frozen=True)
class Command:
    """A command: its function, whose name and docstring are those of the command, and its arguments."""

    run: Callable[[argparse.Namespace], None]
    flags: tuple[Flag | Group, ...] = ()
    epilog: str | None = None


COMMANDS = (
    Command(
        commands.demo,
        (flag("--out", "RUN", "run folder (default: runs/demo)", default=Path("runs/demo")),),
    ),
    Command(commands.run, (*SOURCE, EMBEDDER, LAYER, WITHIN, MEMORY, CUT, ENGINE, DRY_RUN), SOURCES),
    Command(commands.embed, (*SOURCE, EMBEDDER, ENGINE, DRY_RUN), SOURCES),
    Command(
        commands.cluster,
        (
            RUN,
            one_of(
                flag(
                    "--keep",
                    "KEEP",
                    "smallest fraction, or number of images, that the tree must be able to keep (default: "
                    "{tree.cut:DEPTH})",
                ),
                flag("--threshold", "HEIGHT", "instead of --keep: height that the tree must reach"),
            ),
            WITHIN,
            LAYER,
            MEMORY,
            ENGINE,
        ),
    ),
    Command(commands.select, (RUN, MEMORY, CUT, IGNORE_DECISIONS, STRATEGY)),
    Command(
        commands.report,
        (
            RUN,
            IGNORE_DECISIONS,
            flag(
                "--margin",
                "POINTS",
                "acceptable loss in points of accuracy (default: 0.2)",
            ),
        ),
    ),
    Command(
        commands.review,
        (
            RUN,
            flag("--port", "PORT", "port to listen on (default: 8410, or the next free one)"),
            flag(
                "--host",
                "ADDRESS",
                "address to listen on; any but the default, 127.0.0.1, can be reached from other machines",
            ),
            switch("--no-browser", "print the address without opening a browser"),
        ),
        "Decisions are stored in RUN/decisions.sqlite; they hold at every fraction and for new embeddings.",
    ),
    Command(
        commands.calibrate,
        (RUN,),
        "Asks about 30 to 60 pairs, six at a time, shown in RUN/calibration.png. Each answer is stored at once in\n"
        "RUN/decisions.sqlite; the same command resumes. `tenpercent review` asks the same in the browser.",
    ),
    Command(
        commands.decisions,
        (
            RUN,
            one_of(
                flag("--export", "FILE", "write all decisions as lines of JSON; nothing is overwritten"),
                flag("--import", "FILE", "add the decisions of a file that --export wrote", dest="read"),
            ),
        ),
    ),
    Command(
        commands.explain,
        (RUN, flag("id", "ID", "image id: its path within the source, or its row number")),
    ),
    Command(
        commands.next,
        (
            RUN,
            flag(
                "--locked",
                "FILE",
                "images that are labelled already: one id per line, or the column id of a .csv or .parquet",
                required=True,
            ),
            flag("--n", "N", "number of images", required=True),
            flag(
                "--strategy",
                "NAME",
                "kcenter (default): the image farthest from every labelled or listed one; graph-add: the one that most "
                "raises the similarity of all images to their nearest; spread: evenly along the tree",
            ),
            flag("--to", "FILE", "file to write (default: RUN/next.csv); no other file is overwritten"),
        ),
    ),
    Command(
        commands.export,
        (
            RUN,
            flag(
                "--format",
                "indices|folder|csv|hf|webdataset|labelstudio|cvat|fiftyone|times|cut|coco|yolo|voc",
                "row numbers (.npy, .txt), class folders, a table of the kept images, a Hugging Face data set, tar "
                "files of WebDataset, tasks of Label Studio, a zip file for CVAT, all images for FiftyOne; of videos "
                "the times of kept frames, or a list for ffmpeg of what is kept; of a coco:, yolo: or voc: "
                "source its annotations, in any of these formats",
                required=True,
            ),
            flag("--to", "PATH", "file or folder to write; nothing is overwritten"),
            flag(
                "--push",
                "NAME",
                "with --format hf, instead of --to: a data set on the Hugging Face hub, private, with a data card",
            ),
            switch("--public", "let everybody see what is pushed"),
            IGNORE_DECISIONS,
        ),
    ),
    Command(
        commands.leaks,
        (
            flag("train", "TRAIN", "training set: a run folder or a source"),
            flag(
                "test",
                "TEST",
                "test set, likewise (default: the test split of TRAIN's source, or else validation)",
                nargs="?",
            ),
            flag(
                "--threshold",
                "HEIGHT",
                "largest dissimilarity of near-duplicates by vector (default: 0 where images are compared by "
                "perceptual hash, else that within which 1%% of the training images have another one)",
            ),
            flag(
                "--out",
                "FOLDER",
                "folder for the page, the table and new embeddings (default: runs/leaks)",
                default=Path("runs/leaks"),
            ),
            flag("--table", "FILE", "also write the pairs to this .csv or .parquet file"),
            flag(
                "--fail-above",
                "N",
                "exit with status 1 if more than N test images have a near-duplicate (default: never)",
            ),
            flag(
                "--export",
                "indices|folder|csv|hf",
                "write the test images without a near-duplicate in this format",
            ),
            flag("--to", "PATH", "file or folder that --export writes; nothing is overwritten"),
            flag("--layer", "start|middle|end", "layer whose vectors are compared (default: end)"),
            flag(
                "--memory",
                "SIZE",
                "memory limit for the pairs, e.g. 4GiB or 4G (default: half of free memory)",
            ),
            group(
                "sources",
                *(
                    one
                    for side in ("train", "test")
                    for one in (
                        flag(f"--{side}-split", "NAME", f"split of a source (default: {side})"),
                        flag(
                            f"--{side}-labels",
                            "FILE",
                            f"folders: {LABEL_FILE}; vectors: a label per row, .npy or .txt",
                        ),
                        flag(f"--{side}-ids", "FILE", "vectors: an id per row, .npy or .txt"),
                    )
                ),
                AGAIN,
                *COLUMNS,
            ),
            EMBEDDER,
        ),
        f"TRAIN and TEST are run folders or sources. {SOURCES}",
    ),
    Command(
        commands.check,
        (
            RUN,
            flag("--max-redundant", "FRACTION", "largest share of images that may be redundant: 0.05 or 5%%"),
            flag(
                "--threshold",
                "HEIGHT",
                "dissimilarity up to which images are redundant (default: that of RUN's selection, if it has one)",
            ),
            flag("--max-leaks", "N", "most test images that may have a near-duplicate in RUN"),
            flag("--test", "SOURCE", "test set for --max-leaks (default: the test split of RUN's source)"),
            flag("--test-split", "NAME", "split of --test (default: test)"),
            flag("--test-labels", "FILE", f"folders: {LABEL_FILE}; vectors: a label per row, .npy or .txt"),
            flag(
                "--out",
                "FOLDER",
                "folder for the page of leaks and new embeddings (default: runs/leaks)",
                default=Path("runs/leaks"),
            ),
            AGAIN,
            flag("--junit", "FILE", "write the result as JUnit XML; an older file is replaced"),
            flag("--summary", "FILE", "write the result as Markdown; an older file is replaced"),
        ),
    ),
    Command(
        commands.probe,
        (
            flag("runs", "RUN", "run folders with labels", nargs="*"),
            flag(
                "--layer",
                "LAYER",
                "layers of the runs: start, middle, end (default: end)",
                nargs="+",
                dest="layers",
            ),
            flag(
                "--vectors",
                "FILE",
                "existing vectors, .npy; a fifth of them is the test set",
                nargs="+",
                default=[],
            ),
            flag("--labels", "FILE", "labels of --vectors, one per row, .npy or .txt"),
            flag(
                "--timm",
                "NAME",
                "timm models, which first embed the images of --images",
                nargs="+",
                default=[],
            ),
            flag("--images", "SOURCE", "labelled images for --timm (default: those of the first run)"),
            flag("--weights", "FILE", "local weights of a single --timm model, instead of the hub's"),
            flag("--test", "SOURCE", "labelled images to test on (default: each run's own, see below)"),
            flag(
                "--out",
                "FOLDER",
                "folder for the table and new embeddings (default: runs/probe)",
                default=Path("runs/probe"),
            ),
        ),
        "A run is tested on its hold-out, else on its source's test or validation split, embedded by its own network.",
    ),
    Command(
        commands.evaluate,
        (
            RUN,
            IGNORE_DECISIONS,
            flag(
                "--keep",
                "FRACTION",
                "fractions to keep (default: that of RUN's selection, else {tree.cut:DEFAULT_KEEP}; with --find "
                "{evaluation.stage:SEARCHED})",
                nargs="+",
            ),
            flag(
                "--arms",
                "ARM",
                "how images are chosen: full, a strategy of tenpercent select (random, semantic, kcenter, …), or "
                "NAME=FILE with row numbers or ids (default: full, random and the strategy of RUN's selection)",
                nargs="+",
            ),
            flag(
                "--trials",
                "N",
                "training runs per arm and fraction, with different seeds, or of heads other splits of the images "
                "(default: the preset's, of heads {evaluation.preparation:EvaluationRequest.trials})",
            ),
            flag(
                "--layer",
                "LAYER",
                "layers whose vectors choose the images (default: the one RUN was clustered by)",
                nargs="+",
            ),
            flag(
                "--embeddings",
                "N",
                "train the embedding N times, with different seeds, and choose images by each (default: 1)",
            ),
            flag("--margin", "POINTS", "acceptable loss in points of accuracy (default: 0.2)"),
            switch(
                "--find",
                "search for the smallest fraction of --keep whose loss stays within --margin with 95%% confidence, "
                "with up to --trials training runs per fraction",
            ),
            ENGINE,
            DRY_RUN,
            group(
                "evaluation set",
                flag(
                    "--test",
                    "SOURCE",
                    "labelled images to test on (default: the hold-out, else the source's test or validation split)",
                ),
                flag("--test-split", "NAME", "split of --test (default: test)"),
                flag("--test-labels", "FILE", f"labels of --test: {LABEL_FILE}"),
                *COLUMNS,
            ),
            PROTOCOL,
        ),
        "Finished training runs are not repeated: more trials, arms and fractions are added to RUN/results.parquet.\n"
        "Several processes may share RUN.",
    ),
    Command(
        commands.bench,
        (flag("file", "FILE", "TOML file, see docs/evidence/commands.md; the same command resumes"),),
    ),
    Command(commands.presets),
    Command(commands.info, (RUN,)),
)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        if both := re.fullmatch(r"argument (\S+): not allowed with argument (\S+)", message):
            message = f"{both[2]} and {both[1]} exclude each other; give one of them"
        self.exit(2, f"{self.prog}: error: {message}; see {self.prog} --help\n")

    def _check_value(self, action: argparse.Action, value: str) -> None:
        if action.choices is not None and value not in action.choices:
            raise argparse.ArgumentError(
                None, f"there is no command {value!r}{nearest(value, action.choices)}"
            )


class _Help(argparse.RawDescriptionHelpFormatter):
    def _get_help_string(self, action: argparse.Action) -> str:
        return filled(action.help or "")


def filled(text: str) -> str:
    """Return a help text with each ``{module:name}`` replaced by that default of the library."""

    def default(found: re.Match[str]) -> str:
        value = attrgetter(found[2])(import_module(f"tenpercent.{found[1]}"))
        return " ".join(f"{one:,}" for one in (value if isinstance(value, tuple) else (value,)))

    return re.sub(r"\{([\w.]+):([\w.]+)\}", default, text)


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Return the arguments of a command line, with the command's `function`; exit with 2 where it is none."""
    arguments, unknown = build_parser().parse_known_args(argv)
    if unknown:
        name = unknown[0].partition("=")[0]
        close = nearest(name, arguments.parser._option_string_actions) if name.startswith("-") else ""
        arguments.parser.error(f"{arguments.command} takes no argument {name!r}{close}")
    return arguments


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of every command; ``docs/cli.md`` is made from it."""
    parser = _Parser(prog="tenpercent", description="Find the images a training set does not need.")
    parser.add_argument("--version", action="version", version=f"tenpercent {__version__}")
    parsers = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for command in COMMANDS:
        what = command.run.__doc__ or ""
        own = parsers.add_parser(
            command.run.__name__,
            help=f"{what[:1].lower()}{what[1:].rstrip('.')}",
            description=what,
            epilog=command.epilog,
            formatter_class=_Help,
        )
        own.set_defaults(function=command.run, parser=own)
        for one in (switch("--quiet", "print errors only"), *command.flags):
            one.add_to(own)
    return parser
