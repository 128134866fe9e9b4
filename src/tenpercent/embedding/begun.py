"""Runs that were begun and have finished nothing yet: they start again where their source or settings have changed."""

from __future__ import annotations

import json
import logging

from ..data.sources.changes import some
from ..data.sources.source import ImageSource
from ..data.store.embeddings import Embeddings
from ..data.store.files import write_text
from ..data.store.records import SourceRecord
from ..data.store.run_folder import RunFolder
from ..errors import counted, one_line

IMAGES = "images.json"  # in `scratch`: the names of the images that the run was begun with

log = logging.getLogger("tenpercent")


def note_images(run: RunFolder, source: ImageSource) -> None:
    """Store the names of the images of a run that is not embedded yet, so that a lost one can be named."""
    path = run.scratch / IMAGES
    if run.nothing_finished and not path.exists():
        write_text(path, json.dumps(source.ids, ensure_ascii=False))


def forget_images(run: RunFolder) -> None:
    """Remove what `note_images` has stored: the embeddings name the images now."""
    (run.scratch / IMAGES).unlink(missing_ok=True)


def follow_source(run: RunFolder, opened: ImageSource | Embeddings, now: SourceRecord) -> None:
    """Begin a run again that has finished nothing, where its source is another now; a line says what differs."""
    if not run.json_path.exists() or not run.nothing_finished:
        return
    differ = run.source.differences(now)
    if differ:
        begin_again(run, now, "; ".join(filter(None, (differ, _changed_images(run, opened)))))


def begin_again(run: RunFolder, now: SourceRecord, differ: str) -> None:
    """Start a run again that has finished nothing; what it had made moves to ``earlier/``.

    Args:
        run: the run folder.
        now: its source.
        differ: what differs, in words.
    """
    to = run.set_aside(now)
    kept = "" if to is None else f"; what it had made moved to {to}"
    log.warning("%s was not finished, and starts again, since %s%s", run.path, differ, kept)


def _changed_images(run: RunFolder, opened: ImageSource | Embeddings) -> str:
    """Return how many images are gone, and how many new, with some names; "" where that is not known."""
    try:
        then = set(json.loads((run.scratch / IMAGES).read_text(encoding="utf-8")))
    except (OSError, ValueError) as unknown:
        log.debug("the images that %s was begun with are not known: %s", run.path, one_line(unknown))
        return ""
    now = set(opened.ids) if isinstance(opened, ImageSource) else set()
    return ", ".join(
        f"{counted(len(names), 'image')} {what} ({some(names)})"
        for names, what in ((then - now, "gone"), (now - then, "new"))
        if names and now & then
    )
