"""The whole flow, stage by stage: embed, cluster, select, report. Every stage resumes in its run folder."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow.compute as pc
import pyarrow.parquet as pq

from .cut import Cut, check_cut, one_cut
from .embed.settings import SelfSupervised, Supervised
from .errors import StageError, UsageError, require
from .images.holdout import split_holdout, write_holdout
from .images.options import SourceOptions
from .images.source import ImageSource
from .images.sources import open_source
from .select.memory import checked_memory
from .store.embeddings import Embeddings, stored_count
from .store.files import read_table
from .store.run import RunFolder, Stage

if TYPE_CHECKING:  # numba and torch are loaded by the stage that needs them
    from .embed.encoders import Embedder
    from .export import ExportSummary, Format
    from .select.cut import Within
    from .select.explain import Explanation
    from .select.merges import Merges
    from .select.selection import Selection
    from .select.strategies.strategy import Strategy

log = logging.getLogger("tenpercent")


@dataclass
class _Clock:
    started: float = field(default_factory=time.perf_counter)

    @property
    def seconds(self) -> float:
        return time.perf_counter() - self.started


def run(
    source: str | Path,
    *,
    out: str | Path,
    keep: float | None = None,
    embedder: Embedder | None = None,
    holdout: float = 0.0,
    options: SourceOptions = SourceOptions(),  # noqa: B008 – frozen
    cut: Cut | None = None,
    memory: int | str | None = None,
) -> Selection:
    """Embed, cluster, select and report: the whole flow, resumed where it was interrupted.

    Args:
        source: a folder, ``hf:NAME``, ``torchvision:NAME``, ``digits``, Parquet or ready vectors.
        out: the run folder.
        keep: the fraction kept, in (0, 1]; 0.9 unless said. A shortcut for ``cut=Cut(keep=keep)``.
        embedder: `Supervised` (the default where there are labels), `SelfSupervised` (where there are none), `Timm`,
            a torch module or a function.
        holdout: the fraction of each class kept out of embedding and selection, for `evaluate`.
        options: column names, split and the like.
        cut: everything else about clustering and cutting.
        memory: what clustering may take, in bytes or as ``"4GiB"``; None for half of what is free.

    Returns:
        The selection, stored in the run folder beside the report.
    """
    cut = one_cut(cut, keep)
    allowed = checked_memory(memory)
    opened = open_source(source, options)
    check_cut(cut, opened)
    _embed(source, opened, out, embedder, holdout, options)
    folder = Path(out)
    _cluster_beyond(folder, cut, allowed)
    selection = select(folder, cut, memory=allowed)
    report(folder)
    return selection


def _cluster_beyond(folder: Path, cut: Cut, memory: int | None) -> None:
    """Cluster somewhat deeper than the cut, so that the report can show what lies beyond it."""
    from .cluster.memory import MemoryBudgetError

    where: dict[str, Any] = {"within": cut.within, "layer": cut.layer, "memory": memory}
    fraction = cut.fraction
    if fraction is None:
        cluster(folder, threshold=cut.threshold, **where)
        return
    try:
        cluster(folder, round(fraction - min(0.05, (1 - fraction) / 2, fraction / 2), 6), **where)
    except MemoryBudgetError:
        cluster(folder, fraction, **where)
        log.info("the tree ends at the cut: deeper would not fit into memory")


def embed(
    source: str | Path,
    *,
    out: str | Path,
    embedder: Embedder | None = None,
    holdout: float = 0.0,
    options: SourceOptions = SourceOptions(),  # noqa: B008 – frozen
) -> Embeddings:
    """Embed a source into a run folder, or go on where that was interrupted.

    Args, raises: see `run`. Ready vectors are checked and left where they lie.

    Returns:
        The embeddings of the last layer, in id order.
    """
    return _embed(source, open_source(source, options), out, embedder, holdout, options)


def _embed(
    source: str | Path,
    opened: ImageSource | Embeddings,
    out: str | Path,
    embedder: Embedder | None,
    holdout: float,
    options: SourceOptions,
) -> Embeddings:
    clock = _Clock()
    about = describe(source, opened, options, holdout)
    if isinstance(opened, Embeddings):
        check_vectors_alone(source, embedder, holdout)
        folder = RunFolder.create(out, about)
        if folder.stage(Stage.EMBED) is None:
            with folder.lock(Stage.EMBED):
                folder.record(
                    Stage.EMBED,
                    {"embedder": "vectors"},
                    clock.seconds,
                    n=len(opened),
                    layers={"end": opened.width},
                )
        return opened
    if embedder is None and RunFolder(Path(out)).json_path.exists():
        folder = RunFolder.create(out, about)
        done = _embedded(folder)
        if done is not None and done["holdout"] == holdout:
            return Embeddings.load(folder.embeddings)  # nothing asked for that could differ
    chosen = default_embedder(opened) if embedder is None else embedder
    rows, held_out = split_holdout(opened, holdout)
    require("torch", "images")
    from .embed.encoders import embedder_json
    from .embed.extract import check_embedder, check_labels, embed_source

    check_labels(opened, chosen, rows)
    settings = {"embedder": embedder_json(chosen), "holdout": holdout}
    if not RunFolder(Path(out)).json_path.exists():
        check_embedder(chosen)
    folder = RunFolder.create(out, about)
    if _embedded(folder) == settings:
        return Embeddings.load(folder.embeddings)
    with folder.lock(Stage.EMBED):
        summary = embed_source(opened, folder, chosen, rows)  # refuses what was begun with other settings
        write_holdout(folder, opened, held_out)
        folder.forget(Stage.EMBED)  # where part files were deleted, what was made from them may be of others
        folder.record(Stage.EMBED, settings, clock.seconds, **summary)
    return Embeddings.load(folder.embeddings)


def _embedded(folder: RunFolder) -> dict[str, Any] | None:
    """Return the settings that a run's embeddings were made with, or None where they are not all there."""
    done = folder.stage(Stage.EMBED)
    if done is None or stored_count(folder.embeddings) != done["n"]:
        return None
    return dict(done["settings"])


def check_vectors_alone(source: str | Path, embedder: Embedder | None, holdout: float) -> None:
    """Raise `UsageError` where a source of ready vectors comes with an embedder or a hold-out."""
    if embedder is not None or holdout:
        raise UsageError(f"{source} holds vectors already; leave out the embedder and --holdout")


def default_embedder(source: ImageSource) -> Embedder:
    """Return the embedder where none was asked for: trained on the labels, or without them where there are none."""
    return Supervised() if source.labels is not None else SelfSupervised()


def describe(
    spec: str | Path, opened: ImageSource | Embeddings, options: SourceOptions, holdout: float
) -> dict[str, Any]:
    """Return what `run.json` says of a source: enough to open it again and to know it again."""
    common = {
        "options": options.as_json(),
        "n": len(opened),
        "class_names": list(opened.class_names),
        "holdout": holdout,
    }
    if isinstance(opened, Embeddings):
        path = str(Path(spec).resolve())
        return {"spec": path, "kind": "vectors", "fingerprint": opened.origin, **common}
    return {
        "spec": opened.spec,
        "kind": "images",
        "fingerprint": opened.fingerprint,
        "split": opened.split,
        "skipped": opened.skipped,
        **common,
    }


def cluster(
    what: str | Path | Embeddings,
    keep: float | None = None,
    *,
    threshold: float | None = None,
    within: Within | str | None = None,
    layer: str | None = None,
    memory: int | str | None = None,
) -> Merges:
    """Build the first merges of the complete-linkage tree, as deep as asked.

    Args:
        what: embeddings, or a run folder, which then stores the merges.
        keep: the smallest fraction that the tree must be able to keep; 0.5 where neither it nor `threshold` is given.
        threshold: the height that it must reach, instead of `keep`.
        within: ``class`` or ``all``; None for class by class where there are labels.
        layer: of a run folder, whose vectors to take: ``start``, ``middle`` or ``end`` (the default).
        memory: what may be used, in bytes or as ``"4GiB"``; None for half of what is free.

    Raises:
        MemoryBudgetError: this depth needs more memory: says what fits.
    """
    from .cluster.memory import Resources
    from .select.merges import cluster as cluster_embeddings
    from .select.merges import uncut
    from .select.stored import load_embeddings, stored_merges

    allowed = checked_memory(memory)
    if keep is None and threshold is None:
        keep = 0.5
    if isinstance(what, np.ndarray):
        raise UsageError(
            "cluster takes embeddings or a run folder, not an array; wrap it: Embeddings.from_numpy(array)"
        )
    if isinstance(what, Embeddings):
        resources = Resources(memory=allowed)
        return cluster_embeddings(what, keep, threshold=threshold, within=within, resources=resources)
    folder = RunFolder.open(what)
    folder.require(Stage.EMBED)
    with folder.lock(Stage.CLUSTER, Stage.SELECT, Stage.REPORT):
        embeddings = load_embeddings(folder, layer or "end")
        clock = _Clock()
        stored = stored_merges(folder, embeddings, within)
        if stored is not None and stored.covers(keep, threshold=threshold):
            folder.clear_scratch()  # a process that was killed when the merges were whole may have left it
            return stored
        log.info("clustering %s images, %d values each", f"{len(embeddings):,}", embeddings.width)
        resources = Resources(memory=allowed, scratch=folder.scratch)
        known = uncut(embeddings, within) if stored is None else stored
        merges = known.deepened(keep, threshold=threshold, resources=resources)
        # The record of a tree that only grows stays: a kill leaves one of both, and going on from it is the same again.
        folder.forget(Stage.CLUSTER if stored is None else Stage.SELECT)
        _store_merges(folder, merges, clock, keep=keep, threshold=threshold)
        return merges


def _store_merges(folder: RunFolder, merges: Merges, clock: _Clock, **depth: float | None) -> None:
    merges.save(folder.merges)
    settings = {"within": str(merges.within), "layer": merges.embeddings.layer, **depth}
    folder.record(Stage.CLUSTER, settings, clock.seconds, merges=len(merges))
    folder.clear_scratch()


def select(
    what: str | Path,
    cut: Cut | None = None,
    *,
    keep: float | None = None,
    memory: int | str | None = None,
) -> Selection:
    """Cut the stored tree of a run folder and store the selection; a deeper cut than the tree deepens it first.

    Args:
        what: a run folder.
        cut: where to cut; keep 0.9 unless said. Its `within` and `layer`, where given, must be those clustered with.
        keep: the fraction kept, a shortcut for ``cut=Cut(keep=keep)``.
        memory: what deepening may take, in bytes or as ``"4GiB"``; None for half of what is free.

    Raises:
        MemoryBudgetError: the cut needs more memory: says what fits.
    """
    from .cluster.memory import Resources
    from .select.stored import load_merges, with_source

    cut, allowed = one_cut(cut, keep), checked_memory(memory)
    folder = RunFolder.open(what)
    with folder.lock(Stage.SELECT, Stage.REPORT):
        merges = load_merges(folder)
        _check_clustered_so(folder, merges, cut)
        clock = _Clock()
        fraction = cut.fraction
        depth: dict[str, Any] = {"budget": cut.budget, "min_per_class": cut.min_per_class}
        if not merges.covers(fraction, threshold=cut.threshold, **depth):
            with folder.lock(Stage.CLUSTER):
                deepening = _Clock()
                log.info("the stored tree is not deep enough; deepening it")
                resources = Resources(memory=allowed, scratch=folder.scratch)
                merges = merges.deepened(fraction, threshold=cut.threshold, **depth, resources=resources)
                # The record of the clustering stays: both files are of one tree, and a kill leaves one of them.
                folder.forget(Stage.SELECT)
                _store_merges(folder, merges, deepening, keep=fraction, threshold=cut.threshold)
        selection = cut.select(merges)
        _store_selection(folder, selection, clock)
    return with_source(selection, folder)


def select_by(
    what: str | Path | Embeddings,
    keep: float | None = None,
    *,
    strategy: Strategy | str,
    threshold: float | None = None,
    within: Within | str | None = None,
    seed: int = 0,
    scores: npt.ArrayLike | None = None,
) -> Selection:
    """Choose which images stay by another strategy than the tree: docs/strategies.md compares them.

    Args:
        what: embeddings, or a run folder, which then stores the selection. Of a run folder that is clustered, its layer
            and `within` are taken.
        strategy: ``random``, ``kcenter``, ``graph-remove``, ``graph-add``, ``semdedup``, ``el2n``, ``forgetting``,
            ``ccs``, ``spread``, ``mixed`` or ``semantic``; some take a value, ``"mixed:0.3"``.
        keep, threshold, within, seed, scores: see `select.by_strategy.select_by`.

    Raises:
        UsageError: a value out of its range or without a meaning for the strategy, or scores that don't fit.
        StageError: the run folder holds no embeddings.
    """
    from .select.by_strategy import select_by as select_embeddings
    from .select.stored import load_embeddings, with_source

    how: dict[str, Any] = {"strategy": strategy, "threshold": threshold, "seed": seed, "scores": scores}
    if isinstance(what, Embeddings):
        return select_embeddings(what, keep, within=within, **how)
    folder = RunFolder.open(what)
    folder.require(Stage.EMBED)
    _check_one_score_a_row(scores, folder)
    with folder.lock(Stage.SELECT, Stage.REPORT):
        clock = _Clock()
        clustered = (folder.stage(Stage.CLUSTER) or {"settings": {}})["settings"]
        embeddings = load_embeddings(folder, clustered.get("layer", "end"))
        where = clustered.get("within") if within is None else within
        selection = select_embeddings(embeddings, keep, within=where, **how)
        _store_selection(folder, selection, clock)
    return with_source(selection, folder)


def _check_one_score_a_row(scores: npt.ArrayLike | None, folder: RunFolder) -> None:
    """Raise `UsageError` where there are not as many scores as the source has images."""
    n = int(folder.read()["source"]["n"])
    if scores is not None and np.shape(scores)[:1] != (n,):
        raise UsageError(
            f"scores have shape {np.shape(scores)} for a source of {n:,} images; give one a row of the source"
        )


def _store_selection(folder: RunFolder, selection: Selection, clock: _Clock) -> None:
    folder.forget(Stage.SELECT)
    selection.save(folder.selection)
    folder.record(
        Stage.SELECT,
        dict(selection.settings),
        clock.seconds,
        kept=len(selection.kept),
        removed=len(selection.removed),
        notes=list(selection.notes),
    )


def _check_clustered_so(folder: RunFolder, merges: Merges, cut: Cut) -> None:
    """Raise `StageError` where the stored tree is within another, or of another layer, than `cut` says."""
    for name, asked, found in (
        ("within", cut.within, str(merges.within)),
        ("layer", cut.layer, merges.embeddings.layer),
    ):
        if asked is not None and str(asked) != found:
            raise StageError(
                f"{folder.path} was clustered with --{name} {found}, not {asked}; cluster it again: "
                f"tenpercent cluster {folder.path} --{name} {asked}"
            )


def report(what: str | Path, margin: float | None = None) -> Path:
    """Write a run's report: one self-contained HTML file.

    Where trainings have tried the selection, the report shows what they prove, and tables and figures of it for
    papers are written into ``evidence/``.

    Args:
        what: a run folder.
        margin: the loss in points of accuracy that the trainings are held against; None for 0.2.

    Returns:
        Its path.
    """
    from .select.stored import load_merges, load_selection, open_images
    from .show.report import Material, write_report

    folder = RunFolder.open(what)
    folder.require(Stage.SELECT)
    with folder.lock(Stage.REPORT):
        clock = _Clock()
        merges = load_merges(folder)
        selection = load_selection(folder, merges.embeddings)
        source: ImageSource | None = None
        content = folder.read()
        if content["source"]["kind"] == "images":
            try:
                source = open_images(folder)
            except UsageError as gone:
                log.warning("the report has no pictures: %s", gone)
        rejected = pq.read_table(folder.rejected) if folder.rejected.exists() else None
        results = read_table(folder.results) if folder.results.exists() else None
        material = Material(
            merges.embeddings, merges, selection, source, rejected, content, results=results, margin=margin
        )
        write_report(folder.report, material)
        if results is not None:
            from .show.evidence import write_evidence

            write_evidence(folder.evidence, results, tuple(selection.class_names), margin)
        folder.record(Stage.REPORT, {}, clock.seconds)
    return folder.report


def explain(what: str | Path, name: str) -> Explanation:
    """Say why one image of a run was removed or kept.

    Args:
        what: a run folder.
        name: the image's id.

    Raises:
        UsageError: no image has that id; the nearest ids are offered.
    """
    from .select.stored import load_merges, load_selection

    folder = RunFolder.open(what)
    folder.require(Stage.SELECT)
    embeddings = load_merges(folder).embeddings
    if name not in embeddings.ids:
        _say_why_absent(folder, name)
    return load_selection(folder, embeddings).explain(name, embeddings)


def _say_why_absent(folder: RunFolder, name: str) -> None:
    """Raise `UsageError` where an image took no part because it could not be read or was held out."""
    wanted = pc.field("id") == name
    if folder.rejected.exists():
        for row in pq.read_table(folder.rejected).filter(wanted).to_pylist():
            raise UsageError(
                f"{name} took no part: it could not be read ({row['reason']}); mend or remove the file"
            )
    if folder.holdout.exists() and len(pq.read_table(folder.holdout).filter(wanted)):
        raise UsageError(
            f"{name} took no part: it is held out for evaluation (--holdout); ask for another image"
        )


def export(what: str | Path, format: Format | str, to: str | Path) -> ExportSummary:  # noqa: A002 – the flag's name
    """Write the kept images of a run in another tool's format.

    Args:
        what: a run folder.
        format: ``indices``, ``folder``, ``csv`` or ``hf``.
        to: where to; nothing there is overwritten.
    """
    from .export import Format
    from .export import export as write
    from .select.stored import load_selection, open_images

    folder = RunFolder.open(what)
    selection = load_selection(folder)
    source = open_images(folder) if folder.read()["source"]["kind"] == "images" else None
    return write(selection, source, Format(format), Path(to))
