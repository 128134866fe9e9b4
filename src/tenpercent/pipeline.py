"""Stages in their order: embed, cluster, select, report. Every stage resumes in its run folder."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy.typing as npt

from .data.sources.changes import Change, check_not_skipped, said_change, takes_it
from .data.sources.given import as_embeddings, is_place, with_columns
from .data.sources.given_file import stored_given
from .data.sources.given_images import holds_images, stored_images
from .data.sources.options import SourceOptions
from .data.sources.run_name import run_folder_of
from .data.sources.run_source import open_for_run
from .data.store.checks import as_path
from .data.store.ids import as_text, find_id
from .data.store.left_out import check_takes_part
from .data.store.run_folder import RunFolder, Stage
from .decisions.log import ANSWERS, DecisionLog
from .embedding.choice import check_vectors_alone
from .embedding.settings import by_name
from .embedding.stage import embed_opened
from .errors import StageError, UsageError
from .progress import Stopwatch
from .selection.confirmation import confirm
from .tasks.task import running_on
from .tree.cut import DEPTH, Cut, check_cut, check_grows, check_layer, one_cut, scoped
from .tree.memory_limit import checked_memory

if TYPE_CHECKING:  # numba and torch are loaded by the stage that needs them
    from .embedding.by_labels import ByLabels
    from .embedding.encoders import Embedder
    from .exporting import ExportFormat, ExportSummary
    from .selection.explanation import Explanation
    from .selection.selection import Selection
    from .selection.strategies.strategy import Strategy
    from .tasks.task import Engine
    from .tree.cut import Within
    from .tree.merges import Merges

log = logging.getLogger("tenpercent")


def run(
    source: Any,
    *,
    out: str | Path | None = None,
    keep: float | None = None,
    labels: Any = None,
    ids: Any = None,
    embeddings: Any = None,
    embedder: Embedder | ByLabels | str | None = None,
    holdout: float = 0.0,
    options: SourceOptions = SourceOptions(),  # noqa: B008 – frozen
    cut: Cut | None = None,
    memory: int | str | None = None,
    reread: bool = False,
    engine: Engine | None = None,
) -> Selection:
    """Embed, cluster, select and report: all stages, each resumed if it was interrupted.

    Args:
        source: a folder, ``hf:NAME``, ``torchvision:NAME``, ``digits``, Parquet or ready vectors, by name; or vectors
            themselves, in any form that `given_vectors` takes. Without `out` these are clustered in memory, and nothing
            is written; with it they are stored in the run folder. With it also a `datasets.Dataset` of images, which
            are copied there, or a torch data set of image files.
        out: the run folder; created, or resumed if it exists. None for ``runs/`` and the name of the source:
            ``runs/photos`` for ``data/photos/``, ``runs/cifar10`` for ``hf:uoft-cs/cifar10``.
        keep: the fraction kept, in (0, 1], or the number kept, from 2 up; default 0.9. A shortcut for
            ``cut=Cut(keep=keep)``.
        labels, ids: of vectors, one a row; or names of columns of the source.
        embeddings: name of the source's column of vectors; or, beside a folder of images, its vectors: in the order of
            the source, or with their paths in it as `ids`.
        embedder: `Supervised` (the default for small labelled images), `Pretrained` (for all others),
            `SelfSupervised`, `Timm`, each also by name with its defaults, as at ``--embedder``: ``"pretrained"``,
            ``"timm:NAME"``; a torch module or a function.
        holdout: the fraction of each class held out of embedding and selection, for `evaluate`.
        options: column names, split and the like.
        cut: all other options of clustering and cutting.
        memory: memory limit for clustering, in bytes or as ``"4GiB"``; None for half of free memory.
        reread: read the source of an existing run again, by the rules of this version (docs/sources.md); earlier
            results move to ``earlier/`` in the run folder, decisions stay.
        engine: the place for clustering and embedding: `Ray`, `Processes`; None for this process. Same result.

    Returns:
        The selection; stored in the run folder, beside the report, where there is one.

    Raises:
        UsageError: a value out of its range, or one that has no meaning for the source; `SourceError` for the source.
        RunFolderError: the run folder belongs to another source or other settings, or can't be written.
        MemoryBudgetError: the cut needs more memory: says what fits.
    """
    cut, embedder = one_cut(cut, keep), by_name(embedder)
    allowed = checked_memory(memory)
    options, values = with_columns(options, labels=labels, ids=ids, embeddings=embeddings)
    if not is_place(source) and out is None:
        from .selection.by_tree import select_vectors

        check_vectors_alone("what is given", embedder, holdout)
        _check_has_files(engine)
        return select_vectors(as_embeddings(source, options, **values), cut, allowed)
    folder = run_folder_of(source, out)
    if holds_images(source, options):
        source = stored_images(source, options, RunFolder.at(folder), values, reread=reread)
    elif values or not is_place(source):
        check_vectors_alone("what is given", embedder, holdout)
        source, options = stored_given(source, options, folder, values, reread=reread)
    options, opened = open_for_run(source, options, folder, reread=reread)
    cut = scoped(cut, opened.taken)
    check_cut(cut, opened)
    check_grows(cut, folder)
    if out is None:
        log.warning("writing to %s", folder)  # a program that named no folder sees it too
    with running_on(engine, folder):
        made = embed_opened(source, opened, folder, embedder, holdout, options, reread=reread)
        from .reporting.stage import report_run
        from .selection.stage import cluster_beyond, select_run
        from .selection.stored import OpenRun

        opened_run = OpenRun.embedded(made, opened)
        cluster_beyond(opened_run, cut, allowed)
        selection = select_run(opened_run, cut, allowed)
    report_run(opened_run)
    return selection


def cluster(
    what: Any,
    keep: float | None = None,
    *,
    threshold: float | None = None,
    within: Within | str | None = None,
    layer: str | None = None,
    memory: int | str | None = None,
    engine: Engine | None = None,
) -> Merges:
    """Build the first merges of the complete-linkage tree, to the requested depth.

    Args:
        what: embeddings, or vectors in any form that `given_vectors` takes; or a run folder, which then stores the
            merges.
        keep: the smallest fraction, or number of images, that the tree must be able to keep; 0.5 where neither
            it nor `threshold` is given.
        threshold: the height that it must reach, instead of `keep`.
        within: ``class`` or ``all``; None for class by class where there are labels.
        layer: for a run folder, the layer of the vectors: ``start``, ``middle`` or ``end`` (the default); embeddings
            have one layer, and another is an error.
        memory: memory limit for clustering, in bytes or as ``"4GiB"``; None for half of free memory.
        engine: for a run folder, the place for clustering: `Ray`, `Processes`; None for this process. Same result.

    Raises:
        UsageError: a value out of its range, or a layer that the embeddings lack.
        StageError: the run folder holds no embeddings.
        MemoryBudgetError: this depth needs more memory: says what fits.
    """
    from .linkage.memory import Resources
    from .tree.merges import cluster as cluster_embeddings

    allowed = checked_memory(memory)
    keep = DEPTH if keep is None and threshold is None else keep
    depth = Cut(keep, threshold, within=within, layer=layer)
    if not is_place(what):
        vectors = as_embeddings(what)
        check_layer(layer, vectors)
        _check_has_files(engine)
        return cluster_embeddings(vectors, depth, Resources(memory=allowed))
    from .selection.stage import cluster_run
    from .selection.stored import OpenRun

    opened = OpenRun.open(what)
    with running_on(engine, opened.folder.path):
        return cluster_run(opened, scoped(depth, opened.folder.source.taken), allowed)


def _check_has_files(engine: Engine | None) -> None:
    """Raise `UsageError` for an engine where there is no run folder: its tasks are files."""
    if engine is not None:
        raise UsageError(f"{engine} works on the files of a run folder; give one, or leave out engine")


def select(
    what: Any,
    cut: Cut | None = None,
    *,
    keep: float | None = None,
    locked: Iterable[str | int] | None = None,
    memory: int | str | None = None,
    ignore_decisions: bool = False,
) -> Selection:
    """Cut a tree and keep one image of each group; if the cut is deeper than the tree, the tree is deepened first.

    Args:
        what: merges; embeddings, or vectors in any form that `given_vectors` takes, which are clustered as deep as that
            needs; or a run folder, which then stores the selection.
        cut: the cut; default keep 0.9. Its `within` and `layer`, where given, must be those of the clustering.
        keep: the fraction kept, or the number, a shortcut for ``cut=Cut(keep=keep)``.
        locked: images that must stay because they are labelled already, by id: a shortcut for ``Cut(locked=...)``.
        memory: memory limit for clustering further, in bytes or as ``"4GiB"``; None for half of free memory.
        ignore_decisions: cut as if there were no decisions.

    Raises:
        UsageError: a value out of its range, an unknown id, or more locked images than may be kept.
        StageError: the run folder is not clustered yet, or with another `within` or `layer`.
        MemoryBudgetError: the cut needs more memory: says what fits.
    """
    from .selection.by_tree import select as select_merges
    from .selection.by_tree import select_vectors
    from .selection.stage import select_run
    from .selection.stored import OpenRun, describe_change
    from .tree.merges import Merges

    cut, allowed = one_cut(cut, keep, locked), checked_memory(memory)
    if isinstance(what, Merges):
        return select_merges(what, cut, allowed)
    if not is_place(what):
        return select_vectors(as_embeddings(what), cut, allowed)
    run = OpenRun.open(what)
    selection = select_run(run, cut, allowed, ignore_decisions=ignore_decisions)
    if changed := describe_change(run.folder):
        log.warning("%s", changed)
    return selection


def select_by(
    what: Any,
    keep: float | None = None,
    *,
    strategy: Strategy | str,
    threshold: float | None = None,
    within: Within | str | None = None,
    seed: int = 0,
    scores: npt.ArrayLike | None = None,
) -> Selection:
    """Choose the images to keep by another strategy than the tree: docs/strategies.md compares them.

    Args:
        what: embeddings, vectors in any form that `given_vectors` takes, or a run folder, which then stores the
            selection. For a clustered run folder, its layer and
            `within` are used.
        strategy: ``random``, ``kcenter``, ``graph-remove``, ``graph-add``, ``semdedup``, ``ccs``, ``spread``,
            ``mixed`` or ``semantic``; some take a value, ``"mixed:0.3"``.
        keep, threshold, within, seed, scores: see `selection.by_strategy.select_by`.

    Raises:
        UsageError: a value out of its range or without a meaning for the strategy, or scores that don't fit.
        StageError: the run folder holds no embeddings.
    """
    from .selection.by_strategy import select_by as select_embeddings
    from .selection.stage import store_selection
    from .selection.stored import load_embeddings, with_source
    from .selection.strategies.strategy import CheckedStrategy

    chosen = CheckedStrategy.of(strategy)
    how: dict[str, Any] = {"strategy": chosen, "threshold": threshold, "seed": seed, "scores": scores}
    if not is_place(what):
        return select_embeddings(as_embeddings(what), keep, within=within, **how)
    folder = RunFolder.open(what)
    folder.require(Stage.EMBED)
    if any(one.kind not in ANSWERS for one in DecisionLog(folder.path).active()):
        log.warning("decisions about images take no part: %s knows none", strategy)
    with folder.lock(Stage.SELECT, Stage.REPORT):
        clock = Stopwatch()
        clustered = folder.stage(Stage.CLUSTER)
        embeddings = load_embeddings(folder, "end" if clustered is None else clustered.settings.layer)
        if within is None and clustered is not None:
            within = clustered.settings.within
        selection = select_embeddings(embeddings, keep, within=within, **how)
        confirm(selection, threshold, folder.source.noun)
        store_selection(folder, selection, embeddings, clock)
    return with_source(selection, folder)


def report(
    what: str | Path,
    margin: float | None = None,
    *,
    ignore_decisions: bool = False,
    protocol: str | None = None,
) -> Path:
    """Write a run's report: one self-contained HTML file. Newer decisions hold in it; the stored selection stays.

    Where training runs have evaluated the selection, the report shows their results, and tables and figures for papers
    are written into ``evidence/``.

    Args:
        what: a run folder.
        margin: the loss of accuracy, in points, to test the training runs against; None for 0.2.
        ignore_decisions: show the cut as if there were no decisions.
        protocol: the fingerprint of the training runs shown in ``evidence/``; None for that with the most.

    Returns:
        Its path.

    Raises:
        UsageError: a margin out of its range.
        StageError: the run folder holds no selection.
    """
    from .reporting.stage import report_run
    from .selection.stored import OpenRun

    return report_run(OpenRun.open(what), margin, ignore_decisions=ignore_decisions, protocol=protocol)


def explain(what: str | Path, name: str | int) -> Explanation:
    """Explain why one image of a run was removed or kept.

    Args:
        what: a run folder.
        name: the image's id; where ids are row numbers, its row.

    Raises:
        UsageError: no image has that id; the message suggests the nearest.
    """
    from .selection.current import current_selection, cut_since
    from .selection.stored import OpenRun, check_known_by_that_name

    run = OpenRun.open(what)
    folder, merges = run.folder, run.decided()
    selection, embeddings = current_selection(run, merges, cut_since(run)), merges.embeddings
    text = as_text(name)
    if find_id(embeddings.ids, text, embeddings.rows) is None:
        check_takes_part(folder, text)
        check_known_by_that_name(folder, text)
        check_not_skipped(folder.source, text)
    return replace(selection.explain(name, embeddings), noun=folder.source.noun)


def export(
    what: str | Path,
    format: ExportFormat | str,  # noqa: A002 – the flag's name
    to: str | Path | None = None,
    *,
    ignore_decisions: bool = False,
    push: str | None = None,
    public: bool = False,
) -> ExportSummary:
    """Write the kept images of a run in another tool's format.

    Args:
        what: a run folder.
        format: ``indices``, ``folder``, ``csv``, ``hf`` or ``webdataset``; of videos also ``times`` or ``cut``, of
            boxes their own.
        to: the path to write to; nothing there is overwritten.
        ignore_decisions: write the cut as if there were no decisions.
        push: instead of `to`, for ``hf``: the name of a data set on the Hugging Face hub, with nothing in it.
        public: make that data set public; by default it is private.

    Returns:
        What was written and what was left out, as text by ``str``.

    Raises:
        UsageError: an unknown format, or a path at which something exists.
        StageError: the run folder holds no selection.
    """
    from .exporting import ExportFormat, HubSet, describe_change
    from .exporting import export as write
    from .exporting import push as write_to_hub
    from .reporting.card import data_card
    from .reporting.summary import describe_left_out
    from .selection.current import current_selection, cut_since
    from .selection.stored import OpenRun

    run, chosen = OpenRun.open(what), ExportFormat(format)
    if (
        (to is None) == (push is None)
        or (push is None and public)
        or (push and chosen is not ExportFormat.HF)
    ):
        raise UsageError("give --to PATH, or --format hf --push NAME, with --public if everybody may see it")
    target = run.folder.path / "push" if to is None else as_path(to, "the target of an export")
    where = run.folder.source.options.get("where")
    if where is not None and chosen is ExportFormat.INDICES:
        raise UsageError(
            f"{run.folder.path} holds the rows where {where}, whose numbers are not those of the whole table; export "
            "csv, with their ids"
        )
    cut = cut_since(run, ignore_decisions=ignore_decisions)
    merges = None if cut is None else run.decided(ignore=ignore_decisions)
    selection = current_selection(run, merges, cut)
    source, change, notes = None, Change(), []
    try:
        source, change = run.present(closely=chosen.has_images) or (None, Change())
        if change and chosen.has_boxes and source is not None and source.annotations:
            raise StageError(said_change(change, run.folder))
    except (UsageError, StageError) as gone:
        if chosen.has_images:
            raise
        notes = [f"The source was not looked at: {gone}."]
    without = {*change.gone, *change.replaced}
    card = data_card(run.folder, selection, push or target.name) if chosen is ExportFormat.HF else ""
    if push is None:
        found = write(selection, source, chosen, target, without, card)
    else:
        found = write_to_hub(selection, source, HubSet(push, not public, target), without, card)
    noun = run.folder.source.noun
    if noun == "object" and chosen.has_boxes:  # it holds the images of the objects
        noun = "image"
    notes += describe_change(change, selection.ids[selection.kept_by_id].tolist(), chosen, noun)
    if change and source is not None:
        notes.append(f"{takes_it(run.folder)}.")
    if noun == run.folder.source.noun:
        notes += describe_left_out(run.folder.path)
    return replace(found, notes=(*found.notes, *notes), noun=noun)
