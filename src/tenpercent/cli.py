"""The command line: parse, call one library function, print."""

from __future__ import annotations

import argparse
import errno
import logging
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from . import __version__
from .errors import TenpercentError, UsageError
from .progress import quiet

if TYPE_CHECKING:
    from .embed.encoders import Embedder
    from .images.sources import SourceOptions
    from .pipeline import Cut

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

    demo = _command(commands, "demo", run_demo, "the whole flow on digits that are bundled, no network")
    demo.add_argument(
        "--out", type=Path, default=Path("runs/demo"), metavar="RUN", help="the run folder (runs/demo)"
    )

    run = _command(commands, "run", run_run, "embed, cluster, select and report", epilog=SOURCES)
    _add_source(run)
    _add_embedder(run)
    _add_layer(run)
    _add_within(run)
    _add_cut(run)
    run.add_argument(
        "--dry-run",
        action="store_true",
        help="say what would be done, with time, memory and disk; do nothing",
    )

    embed = _command(commands, "embed", run_embed, "embed a source into a run folder", epilog=SOURCES)
    _add_source(embed)
    _add_embedder(embed)

    cluster = _command(
        commands, "cluster", run_cluster, "build the tree of merges, exactly, as deep as asked"
    )
    _add_run(cluster)
    depth = cluster.add_mutually_exclusive_group()
    depth.add_argument(
        "--keep", type=_number, metavar="FRACTION", help="the smallest fraction the tree must serve (0.5)"
    )
    depth.add_argument("--threshold", type=_number, metavar="HEIGHT", help="the height the tree must reach")
    _add_within(cluster)
    _add_layer(cluster)

    select = _command(commands, "select", run_select, "cut the stored tree: which images stay")
    _add_run(select)
    _add_cut(select)

    report = _command(commands, "report", run_report, "write RUN/report.html")
    _add_run(report)

    explain = _command(commands, "explain", run_explain, "why an image was removed or kept")
    _add_run(explain)
    explain.add_argument(
        "id", metavar="ID", help="the image's id: its path within the source, else its row number"
    )

    export = _command(commands, "export", run_export, "write the kept images in another tool's format")
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

    info = _command(commands, "info", run_info, "what a run folder holds, and what made it")
    _add_run(info)
    return parser


def _command(
    commands: Any, name: str, call: Callable[[argparse.Namespace], None], what: str, epilog: str | None = None
) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(
        name,
        help=what,
        description=what[0].upper() + what[1:] + ".",
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--quiet", action="store_true", help="print errors only")
    parser.set_defaults(call=call)
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
    group.add_argument(
        "--image-column", metavar="NAME", help="Parquet: the column of images, else found by its type"
    )
    group.add_argument(
        "--label-column", metavar="NAME", help="Parquet: the column of labels, else found by its type"
    )
    group.add_argument("--embedding-column", metavar="NAME", help="Parquet: the column of ready vectors")
    group.add_argument("--data-dir", type=Path, metavar="FOLDER", help="where torchvision's data sets lie")
    group.add_argument("--labels", type=Path, metavar="FILE", help="vectors: one label a row, .npy or .txt")
    group.add_argument("--ids", type=Path, metavar="FILE", help="vectors: one id a row, .npy or .txt")
    group.add_argument(
        "--holdout",
        type=_number,
        default=0.0,
        metavar="FRACTION",
        help="of each class, kept out of everything for evaluation (0)",
    )


def _add_embedder(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("embedding")
    group.add_argument(
        "--embedder",
        metavar="NAME",
        help="supervised: trained on the labels (default where there are any); timm:NAME: any timm model",
    )
    group.add_argument(
        "--weights", type=Path, metavar="FILE", help="timm: local weights, safetensors or a state dict"
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
        help="supervised: a resnetv2_* of timm, for images above 64 pixels (resnetv2_50)",
    )
    group.add_argument(
        "--depth",
        type=_whole,
        metavar="LAYERS",
        help="supervised: of the network for images up to 64 pixels: 8, 14, 20, … (32)",
    )
    group.add_argument(
        "--epochs", type=_whole, metavar="N", help="length of the training; printed where not given"
    )
    group.add_argument("--steps", type=_whole, metavar="N", help="length of the training in batches, instead")
    group.add_argument("--batch", type=_whole, metavar="N", help="images a step (128)")
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
    group.add_argument("--keep-ids", type=Path, metavar="FILE", help="images that must stay: one id a line")
    group.add_argument(
        "--min-per-class", type=_whole, default=1, metavar="N", help="what each class keeps at least (1)"
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


# ---- the commands ------------------------------------------------------------------------------------------------


def run_demo(arguments: argparse.Namespace) -> None:
    """``tenpercent demo``."""
    from .pipeline import Cut, run
    from .show.summary import describe_run

    run("digits", out=arguments.out, cut=Cut(keep=0.9))
    _say(describe_run(arguments.out))


def run_run(arguments: argparse.Namespace) -> None:
    """``tenpercent run``."""
    from .pipeline import run
    from .show.summary import describe_run

    options, embedder, cut = _options(arguments), _embedder(arguments), _cut(arguments)
    if arguments.dry_run:
        from .plan import plan

        _say(
            str(
                plan(
                    arguments.source,
                    out=arguments.out,
                    embedder=embedder,
                    holdout=arguments.holdout,
                    options=options,
                    cut=cut,
                )
            )
        )
        return
    run(
        arguments.source,
        out=arguments.out,
        embedder=embedder,
        holdout=arguments.holdout,
        options=options,
        cut=cut,
    )
    _say(describe_run(arguments.out))


def run_embed(arguments: argparse.Namespace) -> None:
    """``tenpercent embed``."""
    from .pipeline import embed

    embeddings = embed(
        arguments.source,
        out=arguments.out,
        embedder=_embedder(arguments),
        holdout=arguments.holdout,
        options=_options(arguments),
    )
    _say(f"{len(embeddings):,} images embedded, {embeddings.width} values each: {arguments.out}")


def run_cluster(arguments: argparse.Namespace) -> None:
    """``tenpercent cluster``."""
    from .pipeline import cluster

    merges = cluster(
        arguments.run,
        arguments.keep,
        threshold=arguments.threshold,
        within=arguments.within,
        layer=arguments.layer,
    )
    _say(f"{len(merges):,} merges of {len(merges.embeddings):,} images: {arguments.run / 'merges.parquet'}")


def run_select(arguments: argparse.Namespace) -> None:
    """``tenpercent select``."""
    from .pipeline import select
    from .show.summary import describe_selection

    _say(describe_selection(select(arguments.run, _cut(arguments))))


def run_report(arguments: argparse.Namespace) -> None:
    """``tenpercent report``."""
    from .pipeline import report

    _say(str(report(arguments.run)))


def run_explain(arguments: argparse.Namespace) -> None:
    """``tenpercent explain``."""
    from .pipeline import explain

    _say(str(explain(arguments.run, arguments.id)))


def run_export(arguments: argparse.Namespace) -> None:
    """``tenpercent export``."""
    from .pipeline import export

    _say(str(export(arguments.run, arguments.format, arguments.to)))


def run_info(arguments: argparse.Namespace) -> None:
    """``tenpercent info``."""
    from .show.summary import describe_folder

    _say(describe_folder(arguments.run))


def _options(arguments: argparse.Namespace) -> SourceOptions:
    from .images.sources import SourceOptions

    return SourceOptions(
        split=arguments.split,
        image_column=arguments.image_column,
        label_column=arguments.label_column,
        embedding_column=arguments.embedding_column,
        data_dir=arguments.data_dir,
        labels=arguments.labels,
        ids=arguments.ids,
    )


def _embedder(arguments: argparse.Namespace) -> Embedder | None:
    """Return the embedder that the flags ask for, or None where none is given."""
    from .embed.settings import Supervised, Timm

    shared = ("epochs", "steps", "batch", "seed", "precision", "devices")
    chosen = {"supervised": ("network", "depth", *shared), "timm": ("weights", "finetune", *shared)}
    kind, _, name = (arguments.embedder or "supervised").partition(":")
    if kind not in chosen or (kind == "timm") != bool(name):
        raise UsageError(f"--embedder is {arguments.embedder!r}; it must be supervised or timm:NAME")
    given = {flag: getattr(arguments, flag) for flag in {*chosen["supervised"], *chosen["timm"]}}
    given = {flag: value for flag, value in given.items() if value is not None}
    if arguments.embedder is None and not given:
        return None
    stray = sorted(set(given) - set(chosen[kind]))
    if stray:
        other = "timm:NAME" if kind == "supervised" else "supervised"
        raise UsageError(
            f"--{stray[0]} has no meaning for --embedder {kind}; leave it out, or use --embedder {other}"
        )
    return Timm(name=name, **given) if kind == "timm" else Supervised(**given)


def _cut(arguments: argparse.Namespace) -> Cut:
    from .pipeline import Cut

    return Cut(
        keep=arguments.keep,
        threshold=arguments.threshold,
        budget=arguments.budget,
        keep_ids=_read_ids(arguments.keep_ids),
        min_per_class=arguments.min_per_class,
        within=getattr(arguments, "within", None),
        layer=getattr(arguments, "layer", None),
    )


def _read_ids(path: Path | None) -> tuple[str, ...]:
    if path is None:
        return ()
    try:
        return tuple(line for line in path.read_text(encoding="utf-8").splitlines() if line.strip())
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(
            f"can't read --keep-ids {path}: {error}; give a text file with one id a line"
        ) from None


def _say(text: str) -> None:
    if not logging.getLogger("tenpercent").isEnabledFor(logging.INFO):
        return
    print(text)


# ---- the process -------------------------------------------------------------------------------------------------


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status: 0, 1 for a failure, 2 for wrong usage, 130 for ctrl-C."""
    arguments = build_parser().parse_args(argv)
    log = logging.getLogger("tenpercent")
    if not log.handlers:
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(logging.Formatter("%(message)s"))
        log.addHandler(handler)
    log.setLevel(logging.ERROR if arguments.quiet else logging.INFO)
    try:
        with quiet(arguments.quiet):
            arguments.call(arguments)
    except TenpercentError as error:
        return _fail(str(error), error.exit_status)
    except KeyboardInterrupt:
        return _fail("stopped; the same command goes on where it was", 130)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except MemoryError:
        return _fail("out of memory; close other programs, or take a smaller source", 1)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EACCES, errno.EROFS, errno.EDQUOT, errno.EMFILE):
            raise
        where = f" {error.filename}" if error.filename else ""
        return _fail(f"{error.strerror}{where}; free some space or choose another --out", 1)
    return 0


def _fail(message: str, status: int) -> int:
    line = " ".join(message.split())
    print(f"tenpercent: error: {line}", file=sys.stderr)
    return status


def entry_point() -> NoReturn:
    """What the ``tenpercent`` command calls."""
    sys.exit(main())
