"""Report of a run, written into its folder."""

from __future__ import annotations

import logging
from pathlib import Path

from ..data.sources.changes import Change, said_change
from ..data.sources.source import ImageSource
from ..data.store.left_out import read_rejected
from ..data.store.results import read_results
from ..data.store.run_folder import Stage
from ..errors import StageError, UsageError
from ..progress import Stopwatch
from ..selection.current import current_selection, cut_since
from ..selection.stored import OpenRun
from .report import ReportInput, write_report

log = logging.getLogger("tenpercent")


def report_run(
    run: OpenRun,
    margin: float | None = None,
    *,
    ignore_decisions: bool = False,
    protocol: str | None = None,
) -> Path:
    """Write the report of an open run, and return its path: see `pipeline.report`."""
    folder = run.folder
    with folder.lock(Stage.REPORT):
        clock = Stopwatch()
        folder.require(Stage.SELECT)
        merges = run.decided(ignore=ignore_decisions)
        cut = cut_since(run, ignore_decisions=ignore_decisions)
        merges = merges if cut is None else merges.deepened(cut)
        selection = current_selection(run, merges, cut)
        images, changed = _images_of(run)
        results = read_results(folder)
        given = ReportInput(
            merges.embeddings,
            merges,
            selection,
            images,
            read_rejected(folder),
            folder.read(),
            results,
            margin,
            changed,
            path=folder.path,
        )
        write_report(folder.report, given)
        if results is not None:
            from .evidence.section import write_evidence

            write_evidence(
                folder.evidence, results, selection.class_names, margin, protocol, folder.source.noun
            )
        folder.record(Stage.REPORT, {}, clock.seconds)
    return folder.report


def _images_of(run: OpenRun) -> tuple[ImageSource | None, str]:
    """Return the images of a run as far as they still exist, and what has changed, which is logged too."""
    try:
        images, change = run.present() or (None, Change())
    except (UsageError, StageError) as gone:
        log.warning("the report has no pictures: %s", gone)
        return None, str(gone)
    if images is not None and change:
        log.warning("%s", said_change(change, run.folder))
    return images, str(change)
