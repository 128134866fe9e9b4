"""Source of a run: opened by the rules and options of the run, or found to be elsewhere."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

from ...errors import SourceError, UsageError
from ..store.checks import as_path
from ..store.embeddings import Embeddings
from ..store.run_folder import RunFolder
from .listing import NoImagesError
from .opening import absolute, check_options, in_store, open_source, place_of
from .options import RULES, SourceOptions
from .rereading import differences
from .source import ImageSource

log = logging.getLogger("tenpercent")


def open_recorded(run: RunFolder, options: SourceOptions) -> ImageSource | Embeddings:
    """Open the source that a run folder names.

    Raises:
        SourceError: it has moved, or its folder was emptied; the message says how to name its new place.
    """
    spec = run.source.spec
    if place_of(spec).is_absolute() and not place_of(spec).exists():
        raise moved(run)
    try:
        return open_source(spec, options)
    except NoImagesError:
        raise moved(run) from None


def moved(run: RunFolder) -> SourceError:
    """Return the error for a run's source that is not in its place."""
    spec = run.source.spec
    now = "holds no images now" if place_of(spec).exists() else "is not there"
    return SourceError(
        f"{spec}, which {run.path} was made of, {now}; report, select and exports as csv or indices still "
        f"work; if it was moved, name the new place once: {run.command('PLACE')}"
    )


def open_for_run(
    source: str | Path, options: SourceOptions, out: str | Path, *, reread: bool
) -> tuple[SourceOptions, ImageSource | Embeddings]:
    """Open a source by the rules of the run at `out`, if any, and report what newer rules would change.

    The run's own options apply too where no others are given: those of a source that is there still, else the limit of
    pixels.

    Args:
        source, options: as for `open_source`.
        out: a run folder, which may not exist yet.
        reread: use the rules of this version instead.

    Returns:
        The options with the rules and the limit in force, and the opened source.
    """
    folder = RunFolder(as_path(out, "the run folder (out)"))
    check_options(options)
    if reread or not folder.json_path.exists():
        return options, open_source(source, options)
    about = folder.source
    recorded = SourceOptions.from_json(about.options)
    asked = {name: getattr(options, name) for name in options.given()}
    if absolute(source) == about.spec:
        options = replace(recorded, **asked)
    else:
        options = replace(
            options, rules=recorded.rules, max_pixels=asked.get("max_pixels", recorded.max_pixels)
        )
    try:
        opened = open_source(source, options)
    except SourceError as error:
        lost = isinstance(error, NoImagesError) or not (in_store(about.spec) or place_of(about.spec).exists())
        if lost and absolute(source) == about.spec:
            raise moved(folder) from None
        raise
    changed = rule_changes(source, options, opened, folder)
    if changed:
        log.warning("%s", changed)
    return options, opened


def changes_of(run: str | Path) -> str:
    """Return one line on what this version would read differently from an existing run; "" for nothing."""
    folder = RunFolder.open(run)
    about = folder.source
    options = SourceOptions.from_json(about.options)
    if options.rules == RULES:
        return ""
    try:
        return rule_changes(about.spec, options, open_source(about.spec, options), folder)
    except UsageError as gone:
        return f"its source can't be compared with how this version reads it: {gone}"


def rule_changes(
    source: str | Path, options: SourceOptions, opened: ImageSource | Embeddings, folder: RunFolder
) -> str:
    """Return one line on what this version would read differently from a run made by older rules; "" for nothing."""
    changed = differences(source, options, opened)
    if not changed:
        return ""
    return (
        f"{folder.path} was made by version 0.1 and keeps its way of reading {source}. By today's rules "
        f"{'; '.join(changed)}. To read it again, add --reread to the command that made it"
    )
