"""The commands, one function each: call one function of the library, print what it found."""

from __future__ import annotations

import logging
from argparse import Namespace
from pathlib import Path

import tenpercent as tp

from ..errors import UsageError, counted, quoted
from .values import (
    ENGINES,
    by_heads,
    cut_of,
    embedder_of,
    engine_of,
    given,
    options_of,
    options_of_both,
    read_ids,
    read_scores,
    refuse,
    request_of,
)


def demo(arguments: Namespace) -> None:
    """Run the whole flow on bundled images of handwritten digits, and on some photographs; needs no network."""
    from ..evaluation.presets import preset
    from ..evaluation.stage import EvaluationRequest, evaluate, finish
    from ..reporting.summary import describe_run
    from .demo_photos import THRESHOLD, demo_photos

    tp.run("digits", out=arguments.out)
    _say(describe_run(arguments.out))
    _say("\nDoes it hold? Three small training runs on all images, on those kept and on random ones:")
    request = EvaluationRequest(trials=3)
    _say(finish(arguments.out, evaluate(arguments.out, request, preset("digits").protocol)))
    _say("\nAnd photographs, without labels, most of them taken twice:")
    photos = demo_photos(arguments.out.with_name(f"{arguments.out.name}-photos"))
    run = photos.with_name(f"{photos.name}-run")
    tp.run(photos, out=run, cut=tp.Cut(threshold=THRESHOLD))
    _say(describe_run(run))


def run(arguments: Namespace) -> None:
    """Embed, cluster, select and report."""
    from ..data.sources.run_name import run_folder_of
    from ..reporting.summary import describe_run

    request = {
        **given(arguments, tp.run, "keep", "labels", "ids"),  # `options` has the files of these
        "options": options_of(arguments),
        "embedder": embedder_of(arguments),
        "cut": cut_of(arguments),
    }
    engine = engine_of(arguments)
    if arguments.dry_run:
        from .dry_run import plan

        _say(str(plan(**request, engine=engine)))
        return
    tp.run(**request, engine=engine)
    _say(describe_run(run_folder_of(arguments.source, arguments.out)))


def embed(arguments: Namespace) -> None:
    """Embed a source into a run folder."""
    from ..data.sources.run_name import run_folder_of

    request = {
        **given(arguments, tp.embed),
        "options": options_of(arguments),
        "embedder": embedder_of(arguments),
    }
    engine = engine_of(arguments)
    if arguments.dry_run:
        from .dry_run import plan_embedding

        _say(str(plan_embedding(**request, engine=engine)))
        return
    embeddings = tp.embed(**request, engine=engine)
    place = run_folder_of(arguments.source, arguments.out)
    _say(f"{_images(place, len(embeddings))} embedded, {counted(embeddings.width, 'value')} each: {place}")


def _images(run: Path, count: int) -> str:
    from ..data.store.run_folder import RunFolder

    return counted(count, RunFolder.open(run).source.noun)


def cluster(arguments: Namespace) -> None:
    """Build the exact tree of merges, down to a depth."""
    merges = tp.cluster(arguments.run, **given(arguments, tp.cluster), engine=engine_of(arguments))
    found = f"{counted(len(merges), 'merge')} of {_images(arguments.run, len(merges.embeddings))}"
    _say(f"{found}: {arguments.run / 'merges.parquet'}")


def select(arguments: Namespace) -> None:
    """Cut the stored tree, or choose images by another strategy."""
    from ..reporting.summary import describe_selection

    cut = cut_of(arguments)
    if arguments.strategy in (None, "semantic"):
        refuse(arguments, ("seed", "scores"), "--strategy semantic")
        selection = tp.select(arguments.run, cut, **given(arguments, tp.select, "keep", "locked"))
        _say(describe_selection(arguments.run, selection))
    else:
        _say(describe_selection(arguments.run, _select_by(arguments)))
    if (arguments.run / "report.html").exists():
        _say(
            f"The report still shows the previous selection; update it with: tenpercent report {quoted(arguments.run)}"
        )


def _select_by(arguments: Namespace) -> tp.Selection:
    from ..selection.strategies.strategy import CheckedStrategy

    strategy = CheckedStrategy.of(arguments.strategy)
    without = (
        "budget",
        "hold",
        "keep_ids",
        "locked",
        "grow",
        "memory",
        "min_per_class",
        "representative",
        *(() if strategy.draws else ("seed",)),
    )
    refuse(arguments, without, f"--strategy {strategy}")
    scores = None if arguments.scores is None else read_scores(arguments.scores)
    return tp.select_by(arguments.run, **{**given(arguments, tp.select_by), "scores": scores})


def report(arguments: Namespace) -> None:
    """Write RUN/report.html, and RUN/evidence/ if training runs have tested the selection."""
    from ..evaluation.stage import checked_margin
    from ..reporting.summary import describe_trainings

    margin = checked_margin(arguments.margin)
    path = tp.report(arguments.run, margin, **given(arguments, tp.report, "margin"))
    found = describe_trainings(arguments.run, margin)
    _say(f"{found}\nReport: {path}" if found else str(path))


def review(arguments: Namespace) -> None:
    """Look at the groups in a browser and decide about images."""
    from ..reviewing.serve import serve

    serve(**given(arguments, serve), browser=not arguments.no_browser)


def calibrate(arguments: Namespace) -> None:
    """Ask whether pairs of images are the same, and find the threshold that the answers suggest."""
    from .questions import ask

    _say(f"\n{ask(arguments.run).estimate}")


def decisions(arguments: Namespace) -> None:
    """List, export or import decisions about images."""
    from ..decisions.exchange import describe_decisions, read_into, write_from

    if arguments.export is not None:
        _say(write_from(arguments.run, arguments.export))
    elif arguments.read is not None:
        _say(read_into(arguments.run, arguments.read))
    else:
        _say(describe_decisions(arguments.run))


def explain(arguments: Namespace) -> None:
    """Explain why an image was kept or removed."""
    _say(str(tp.explain(arguments.run, arguments.id)))


def next(arguments: Namespace) -> None:  # noqa: A001 – the command's name
    """List the images to label next: those that add most to the labelled ones."""
    from ..data.store.run_paths import RunPaths

    to = arguments.to
    if to is not None and to.exists():
        raise UsageError(f"--to {to} exists; nothing is overwritten, so give another name")
    locked = read_ids(arguments.locked, "--locked")
    found = tp.next_images(arguments.run, locked=locked, **given(arguments, tp.next_images, "locked"))
    to = to or RunPaths(arguments.run).next_images
    found.save(to)
    _say(f"{found}\nAll of them: {to}")


def export(arguments: Namespace) -> None:
    """Write the kept images in another tool's format."""
    _say(str(tp.export(arguments.run, **given(arguments, tp.export, "what"))))


def leaks(arguments: Namespace) -> None:
    """Find test images with a near-duplicate in the training set."""
    from ..leakage.output import check_output, describe_leaks, write_output

    wanted = check_output(arguments.table, arguments.export, arguments.to, arguments.fail_above)
    train_options, test_options = options_of_both(arguments)
    request = {**given(arguments, tp.leaks), "embedder": embedder_of(arguments)}
    found = tp.leaks(**request, train_options=train_options, test_options=test_options)
    _say(describe_leaks(found, arguments.out))
    for line in write_output(found, wanted):
        _say(line)


def check(arguments: Namespace) -> None:
    """Fail where a run holds more redundant images, or leaking test images, than may be."""
    from ..checking.formats import write_junit, write_markdown
    from ..checking.limits import Limits, check_leaks, check_redundant, require_kept

    limits = Limits(arguments.max_redundant, arguments.threshold, arguments.max_leaks)
    if limits.leaks is None:
        refuse(arguments, ["test", "test_split", "test_labels", "reread"], "a check without --max-leaks")
    outcomes = []
    if limits.redundant is not None:
        outcomes.append(check_redundant(arguments.run, limits))
    if limits.leaks is not None:
        options = options_of(arguments, "test_")
        again = given(arguments, check_leaks, "run", "test", "out")
        outcomes.append(check_leaks(arguments.run, limits, arguments.test, options, arguments.out, **again))
    for outcome in outcomes:
        _say(str(outcome))
    for path, write in ((arguments.junit, write_junit), (arguments.summary, write_markdown)):
        if path is not None:
            write(path, arguments.run, outcomes)
    require_kept(arguments.run, outcomes)


def probe(arguments: Namespace) -> None:
    """Compare how well embeddings separate classes, on images they were not trained on."""
    from ..evaluation.probing.comparison import VectorFile

    if arguments.labels is not None and not arguments.vectors:
        raise UsageError(f"--labels {arguments.labels} belong to --vectors; give both, or leave out --labels")
    what = [
        *arguments.runs,
        *(VectorFile(file, arguments.labels) for file in arguments.vectors),
        *(tp.Timm(name, arguments.weights) for name in arguments.timm),
    ]
    _say(f"{tp.probe(what, **given(arguments, tp.probe))}\nTable: {arguments.out}")


def evaluate(arguments: Namespace) -> None:
    """Train on the kept images, beside random subsets and the full set: heads on the vectors, or whole networks."""
    from ..evaluation.stage import checked_margin, evaluate, find, finish, protocol_of

    checked_margin(arguments.margin)
    if by_heads(arguments):
        _evaluate_by_heads(arguments)
        return
    if arguments.find:
        refuse(arguments, ENGINES, "--find, which makes one training run after the other")
    protocol, trials = protocol_of(arguments.run, arguments.preset)
    protocol = protocol.override(**given(arguments, protocol.override))
    if arguments.finetune:
        protocol = protocol.fine_tuned(arguments.weights)
    elif arguments.weights is not None:
        raise UsageError(
            f"--weights {arguments.weights} is for --finetune; give both, or leave out --weights"
        )
    request = request_of(arguments, trials)
    if arguments.dry_run:
        from .dry_run_evaluation import plan_evaluation

        engine, searched = engine_of(arguments), bool(arguments.find)
        _say(str(plan_evaluation(arguments.run, request, protocol, engine, searched=searched)))
        return
    if arguments.find:
        evaluation, ended = find(arguments.run, request, protocol, arguments.margin)
        _say(f"{ended.sentence}\n")
    else:
        evaluation = evaluate(arguments.run, request, protocol, engine_of(arguments))
    _say(finish(arguments.run, evaluation, arguments.margin))


def _confirming(arguments: Namespace, fraction: float | None) -> str:
    """Return the command that confirms by training networks what heads have found; "" where there are no images."""
    from ..data.store.run_folder import RunFolder

    if fraction is None or RunFolder.open(arguments.run).source.has_vectors:
        return ""
    return (
        "\nThat is by heads on frozen vectors; confirm it by training networks: "
        f"tenpercent evaluate {quoted(arguments.run)} --preset quick --keep {fraction:g}"
    )


def _evaluate_by_heads(arguments: Namespace) -> None:
    """Fit heads on the run's frozen vectors."""
    refuse(arguments, ENGINES, "heads, which are fitted here")
    from ..evaluation.heads.stage import evaluate_by_heads, find_by_heads
    from ..evaluation.preparation import EvaluationRequest
    from ..evaluation.stage import finish

    request = request_of(arguments, EvaluationRequest().trials)
    if arguments.dry_run:
        from .dry_run_evaluation import plan_heads

        _say(str(plan_heads(arguments.run, request, searched=bool(arguments.find))))
        return
    if arguments.find:
        evaluation, ended = find_by_heads(arguments.run, request, arguments.margin)
        _say(f"{ended.sentence}{_confirming(arguments, ended.fraction)}\n")
    else:
        evaluation = evaluate_by_heads(arguments.run, request)
    _say(finish(arguments.run, evaluation, arguments.margin))


def bench(arguments: Namespace) -> None:
    """Evaluate several data sets, embedders and strategies, as a file describes."""
    from ..evaluation.suite import bench, describe_suite

    _say(describe_suite(bench(arguments.file)))


def presets(_: Namespace) -> None:
    """List the named settings of training runs, with their sources."""
    from ..evaluation.presets import describe_presets

    _say(describe_presets())


def info(arguments: Namespace) -> None:
    """Describe a run folder: what it holds, and what made it."""
    from ..data.sources.run_source import changes_of
    from ..reporting.summary import describe_folder

    _say(describe_folder(arguments.run))
    changed = changes_of(arguments.run)
    if changed:
        _say(changed)


def _say(text: str) -> None:
    if logging.getLogger("tenpercent").isEnabledFor(logging.INFO):
        print(text)
