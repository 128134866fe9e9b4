"""The command line: parse, call one library function, print."""

from __future__ import annotations

import argparse
import errno
import logging
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, NoReturn

from ..errors import TenpercentError, UsageError, counted, disk_remedy, one_line
from ..progress import quiet
from .parser import build_parser
from .values import asked_of, cut_of, embedder_of, options_of, options_of_both, read_scores, refuse

if TYPE_CHECKING:
    from ..selection.selection import Selection
    from ..tree.cut import Cut

log = logging.getLogger("tenpercent")


# ---- the commands ------------------------------------------------------------------------------------------------


def run_demo(arguments: argparse.Namespace) -> None:
    """``tenpercent demo``."""
    from ..evaluation.presets import preset
    from ..evaluation.stage import Asked, evaluate, finish
    from ..pipeline import run
    from ..reporting.summary import describe_run
    from ..tree.cut import Cut

    run("digits", out=arguments.out, cut=Cut(keep=0.9))
    _say(describe_run(arguments.out))
    _say("\nDoes it hold? Three small trainings each of all images, of those kept and of random ones:")
    evaluation = evaluate(arguments.out, Asked(keep=(0.9,), trials=3), preset("digits").protocol)
    _say(finish(arguments.out, evaluation))


def run_run(arguments: argparse.Namespace) -> None:
    """``tenpercent run``."""
    from ..data.sources.run_name import run_folder_of
    from ..pipeline import run
    from ..reporting.summary import describe_run

    options, embedder, cut = options_of(arguments), embedder_of(arguments), cut_of(arguments)
    if arguments.dry_run:
        from .dry_run import plan

        _say(
            str(
                plan(
                    arguments.source,
                    out=arguments.out,
                    embedder=embedder,
                    holdout=arguments.holdout,
                    options=options,
                    cut=cut,
                    memory=arguments.memory,
                    reread=arguments.reread,
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
        memory=arguments.memory,
        reread=arguments.reread,
    )
    _say(describe_run(run_folder_of(arguments.source, arguments.out)))


def run_embed(arguments: argparse.Namespace) -> None:
    """``tenpercent embed``."""
    from ..data.sources.run_name import run_folder_of
    from ..embedding.stage import embed

    if arguments.dry_run:
        from .dry_run import plan_embedding

        _say(
            str(
                plan_embedding(
                    arguments.source,
                    out=arguments.out,
                    embedder=embedder_of(arguments),
                    holdout=arguments.holdout,
                    options=options_of(arguments),
                    reread=arguments.reread,
                )
            )
        )
        return
    embeddings = embed(
        arguments.source,
        out=arguments.out,
        embedder=embedder_of(arguments),
        holdout=arguments.holdout,
        options=options_of(arguments),
        reread=arguments.reread,
    )
    place = run_folder_of(arguments.source, arguments.out)
    _say(f"{counted(len(embeddings), 'image')} embedded, {embeddings.width} values each: {place}")


def run_cluster(arguments: argparse.Namespace) -> None:
    """``tenpercent cluster``."""
    from ..pipeline import cluster

    merges = cluster(
        arguments.run,
        arguments.keep,
        threshold=arguments.threshold,
        within=arguments.within,
        layer=arguments.layer,
        memory=arguments.memory,
    )
    found = f"{counted(len(merges), 'merge')} of {counted(len(merges.embeddings), 'image')}"
    _say(f"{found}: {arguments.run / 'merges.parquet'}")


def run_select(arguments: argparse.Namespace) -> None:
    """``tenpercent select``."""
    from ..pipeline import select
    from ..reporting.summary import describe_selection

    cut = cut_of(arguments)
    if arguments.strategy == "semantic":
        refuse(arguments, ("seed", "scores"), "--strategy semantic")
        selection = select(
            arguments.run, cut, memory=arguments.memory, ignore_decisions=arguments.ignore_decisions
        )
        _say(describe_selection(arguments.run, selection))
    else:
        _say(describe_selection(arguments.run, _select_by(arguments, cut)))
    if (arguments.run / "report.html").exists():
        _say(f"The report still shows the cut before; make it anew with: tenpercent report {arguments.run}")


def _select_by(arguments: argparse.Namespace, cut: Cut) -> Selection:
    from ..pipeline import select_by
    from ..selection.strategies.strategy import CheckedStrategy

    strategy = CheckedStrategy.of(arguments.strategy)
    alone = ("budget", "hold", "keep_ids", "memory", *(() if strategy.draws else ("seed",)))
    refuse(arguments, alone, f"--strategy {strategy}")
    if cut.min_per_class != 1:
        raise UsageError(
            f"--min-per-class {cut.min_per_class} has no meaning for --strategy {strategy}; leave it out"
        )
    return select_by(
        arguments.run,
        cut.keep,
        strategy=str(strategy),
        threshold=cut.threshold,
        seed=arguments.seed or 0,
        scores=None if arguments.scores is None else read_scores(arguments.scores),
    )


def run_report(arguments: argparse.Namespace) -> None:
    """``tenpercent report``."""
    from ..evaluation.stage import checked_margin
    from ..pipeline import report
    from ..reporting.summary import describe_trainings

    margin = checked_margin(arguments.margin)
    path = report(arguments.run, margin, ignore_decisions=arguments.ignore_decisions)
    said = describe_trainings(arguments.run, margin)
    _say(f"{said}\nSee it: {path}" if said else str(path))


def run_explain(arguments: argparse.Namespace) -> None:
    """``tenpercent explain``."""
    from ..pipeline import explain

    _say(str(explain(arguments.run, arguments.id)))


def run_export(arguments: argparse.Namespace) -> None:
    """``tenpercent export``."""
    from ..pipeline import export

    ignore = arguments.ignore_decisions
    _say(str(export(arguments.run, arguments.format, arguments.to, ignore_decisions=ignore)))


def run_review(arguments: argparse.Namespace) -> None:
    """``tenpercent review``."""
    from ..reviewing.serve import serve

    serve(arguments.run, port=arguments.port, host=arguments.host, browser=not arguments.no_browser)


def run_decisions(arguments: argparse.Namespace) -> None:
    """``tenpercent decisions``."""
    from ..decisions.exchange import describe_decisions, read_into, write_from

    if arguments.export is not None:
        _say(write_from(arguments.run, arguments.export))
    elif arguments.read is not None:
        _say(read_into(arguments.run, arguments.read))
    else:
        _say(describe_decisions(arguments.run))


def run_leaks(arguments: argparse.Namespace) -> None:
    """``tenpercent leaks``."""
    from ..leakage.find import leaks
    from ..leakage.output import check_output, describe_leaks, write_output

    wanted = check_output(arguments.table, arguments.export, arguments.to, arguments.fail_above)
    train_options, test_options = options_of_both(arguments)
    found = leaks(
        arguments.train,
        arguments.test,
        threshold=arguments.threshold,
        embedder=embedder_of(arguments),
        out=arguments.out,
        train_options=train_options,
        test_options=test_options,
        layer=arguments.layer,
        memory=arguments.memory,
    )
    _say(describe_leaks(found, arguments.out))
    for line in write_output(found, wanted):
        _say(line)


def run_probe(arguments: argparse.Namespace) -> None:
    """``tenpercent probe``."""
    from ..embedding.settings import Timm
    from ..evaluation.probing.comparison import VectorFile, probe

    if arguments.labels is not None and not arguments.vectors:
        raise UsageError(f"--labels {arguments.labels} is of --vectors FILE; give those, or leave it out")
    found = probe(
        [
            *arguments.runs,
            *(VectorFile(file, arguments.labels) for file in arguments.vectors),
            *(Timm(name, arguments.weights) for name in arguments.timm),
        ],
        layers=arguments.layer,
        out=arguments.out,
        images=arguments.images,
        test=arguments.test,
    )
    _say(f"{found}\nTable: {arguments.out}")


def run_evaluate(arguments: argparse.Namespace) -> None:
    """``tenpercent evaluate``."""
    from ..evaluation.stage import checked_margin, evaluate, find, finish, protocol_of

    checked_margin(arguments.margin)
    protocol, trials = protocol_of(arguments.run, arguments.preset)
    given = ("length", "steps", "epochs", "network", "depth", "side", "batch", "precision")
    protocol = protocol.override(**{name: getattr(arguments, name) for name in given})
    if arguments.finetune:
        protocol = protocol.fine_tuned(arguments.weights)
    elif arguments.weights is not None:
        raise UsageError(f"--weights {arguments.weights} is for --finetune; give both, or leave it out")
    asked = asked_of(arguments, trials)
    if arguments.dry_run:
        from .dry_run import plan_evaluation

        _say(str(plan_evaluation(arguments.run, asked, protocol, searched=arguments.find)))
        return
    if arguments.find:
        evaluation, ended = find(arguments.run, asked, protocol, arguments.margin)
        _say(f"{ended.sentence}\n")
    else:
        evaluation = evaluate(arguments.run, asked, protocol)
    _say(finish(arguments.run, evaluation, arguments.margin))


def run_bench(arguments: argparse.Namespace) -> None:
    """``tenpercent bench``."""
    from ..evaluation.suite import bench, describe_suite

    _say(describe_suite(bench(arguments.file)))


def run_presets(_: argparse.Namespace) -> None:
    """``tenpercent presets``."""
    from ..evaluation.presets import describe_presets

    _say(describe_presets())


def run_info(arguments: argparse.Namespace) -> None:
    """``tenpercent info``."""
    from ..embedding.stage import changes_of
    from ..reporting.summary import describe_folder

    _say(describe_folder(arguments.run))
    changed = changes_of(arguments.run)
    if changed:
        _say(changed)


def _say(text: str) -> None:
    if not logging.getLogger("tenpercent").isEnabledFor(logging.INFO):
        return
    print(text)


COMMANDS: dict[str, Callable[[argparse.Namespace], None]] = {
    "demo": run_demo,
    "run": run_run,
    "embed": run_embed,
    "cluster": run_cluster,
    "select": run_select,
    "report": run_report,
    "explain": run_explain,
    "export": run_export,
    "review": run_review,
    "decisions": run_decisions,
    "leaks": run_leaks,
    "probe": run_probe,
    "evaluate": run_evaluate,
    "bench": run_bench,
    "presets": run_presets,
    "info": run_info,
}


# ---- the process -------------------------------------------------------------------------------------------------


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status: 0, 1 for a failure, 2 for a usage error, 130 for ctrl-C."""
    arguments = build_parser().parse_args(argv)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(message)s"))
    log.addHandler(handler)
    log.setLevel(logging.ERROR if arguments.quiet else logging.INFO)
    logging.getLogger("matplotlib").setLevel(logging.ERROR)  # it warns where the home folder can't be written
    try:
        return _call(arguments)
    finally:
        log.removeHandler(handler)


def _call(arguments: argparse.Namespace) -> int:
    """Run a command; turn an expected error into one line and an exit status."""
    try:
        with quiet(arguments.quiet), _confirmed(arguments):
            COMMANDS[arguments.command](arguments)
    except TenpercentError as error:
        return _fail(str(error), error.exit_status)
    except KeyboardInterrupt:
        return _fail("stopped; the same command resumes", 130)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except MemoryError:
        return _fail("out of memory; close other programs, or take a smaller source", 1)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EACCES, errno.EROFS, errno.EDQUOT, errno.EMFILE):
            raise
        where = f" {error.filename}" if error.filename else ""
        return _fail(f"{error.strerror}{where}; {disk_remedy(error)}, or choose another folder", 1)
    return 0


@contextmanager
def _confirmed(arguments: argparse.Namespace) -> Iterator[None]:
    """Let --yes confirm a command's question, or else a person at a terminal."""
    if not hasattr(arguments, "yes"):
        yield
        return
    from ..selection.confirmation import confirmed_by

    with confirmed_by(log.warning if arguments.yes else _ask):
        yield


def _ask(said: str) -> None:
    """Ask whether to continue.

    Raises:
        UsageError: the answer is no, or there is no terminal to answer at; nothing was stored.
    """
    if sys.stdin is not None and sys.stdin.isatty() and sys.stderr.isatty():
        print(f"{said}.\nContinue? [y/N] ", end="", file=sys.stderr, flush=True)
        if sys.stdin.readline().strip().lower() in ("y", "yes"):
            return
    raise UsageError(f"{said}. Nothing was selected; to do it all the same, give --yes")


def _fail(message: str, status: int) -> int:
    print(f"tenpercent: error: {one_line(message)}", file=sys.stderr)
    return status


def entry_point() -> NoReturn:
    """Run the ``tenpercent`` command."""
    sys.exit(main())
