"""Embedding of a source into a run folder: check it, embed what is missing, record the origin."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..data.sources.first_line import account, describe_taken
from ..data.sources.holdout import split_holdout, write_holdout
from ..data.sources.opening import absolute
from ..data.sources.options import SourceOptions
from ..data.sources.pictures import pictures_beside
from ..data.sources.run_name import run_folder_of
from ..data.sources.run_source import open_for_run
from ..data.sources.source import ImageSource
from ..data.store.embeddings import Embeddings, Ints
from ..data.store.part_files import stored_count
from ..data.store.records import EmbedSettings, SourceRecord
from ..data.store.rejected import write_rejected
from ..data.store.run_folder import RunFolder, Stage
from ..data.store.stamps import write_stamps
from ..errors import require
from ..progress import Stopwatch
from ..tasks.task import current_runner, running_on
from .begun import begin_again, follow_source, forget_images, note_images
from .by_labels import ByLabels
from .choice import check_vectors_alone, default_embedder, identity_of, recorded_embedder, settled
from .hub import describe_model
from .origin import OtherOriginError
from .settings import Pretrained, SelfSupervised, Timm, by_name
from .update import Update, check_same_embedder, finish_update, needed_update, update

if TYPE_CHECKING:  # torch is loaded where it is needed
    from ..tasks.task import Engine
    from .encoders import Embedder

log = logging.getLogger("tenpercent")


def embed(
    source: str | Path,
    *,
    out: str | Path | None = None,
    embedder: Embedder | ByLabels | str | None = None,
    holdout: float = 0.0,
    options: SourceOptions = SourceOptions(),  # noqa: B008 – frozen
    reread: bool = False,
    engine: Engine | None = None,
) -> Embeddings:
    """Embed a source into a run folder, or resume that.

    Args, raises: see `pipeline.run`. Ready vectors are checked and left in place.

    Returns:
        The embeddings of the last layer, in id order.
    """
    folder, embedder = run_folder_of(source, out), by_name(embedder)
    options, opened = open_for_run(source, options, folder, reread=reread)
    if out is None:
        log.warning("writing to %s", folder)  # a program that named no folder sees it too
    with running_on(engine, folder):
        run = embed_opened(source, opened, folder, embedder, holdout, options, reread=reread)
    if isinstance(opened, Embeddings):
        return opened
    return replace(Embeddings.load(run.embeddings, length=len(opened)), noun=opened.noun)


def embed_opened(
    source: str | Path,
    opened: ImageSource | Embeddings,
    out: str | Path,
    embedder: Embedder | ByLabels | None,
    holdout: float,
    options: SourceOptions,
    *,
    reread: bool = False,
) -> RunFolder:
    """Embed a source that is open already, and return its run folder: see `embed`."""
    about = describe(source, opened, options, holdout)
    log.info("%s", describe_taken(about))
    folder = _embed_described(source, opened, out, embedder, about, reread=reread)
    if isinstance(opened, ImageSource):
        write_stamps(folder.stamps, opened.ids, opened.stamps)
    return folder


def _embed_described(
    source: str | Path,
    opened: ImageSource | Embeddings,
    out: str | Path,
    embedder: Embedder | ByLabels | None,
    about: SourceRecord,
    *,
    reread: bool,
) -> RunFolder:
    """Embed a source whose description is known: see `embed_opened`."""
    clock, holdout = Stopwatch(), about.holdout
    if reread:
        _set_aside(RunFolder(Path(out)), opened, about)
    else:
        finish_update(RunFolder(Path(out)))
        follow_source(RunFolder(Path(out)), opened, about)
        if (needed := update_of(RunFolder(Path(out)), opened)) is not None and isinstance(
            opened, ImageSource
        ):
            return _update(RunFolder(Path(out)), opened, about, needed, embedder, clock)
    if isinstance(opened, Embeddings):
        check_vectors_alone(source, embedder, holdout)
        return _embed_vectors(RunFolder.create(out, about), opened, clock)
    if embedder is None and RunFolder(Path(out)).json_path.exists():
        folder = RunFolder.create(out, about)
        done = _embedded(folder)
        if done is not None and done.holdout == holdout:
            log.info("nothing has changed since it was embedded")
            return folder  # no request that could differ
        embedder = recorded_embedder(folder)
    return _embed_images(opened, about, out, settled(default_embedder(opened, embedder), out), clock)


def _embed_vectors(folder: RunFolder, opened: Embeddings, clock: Stopwatch) -> RunFolder:
    """Record ready vectors, which stay in place, in a run folder, unless that is done."""
    if folder.stage(Stage.EMBED) is None:
        with folder.lock(Stage.EMBED):
            set_aside = {"rejected": len(opened.rejected)} if opened.rejected else {}
            if opened.rejected:
                write_rejected(folder.rejected, opened.rejected)
            folder.record(
                Stage.EMBED,
                {"embedder": "vectors"},
                clock.seconds,
                n=len(opened),
                layers={"end": opened.width},
                **set_aside,
            )
    return folder


def _embed_images(
    opened: ImageSource, about: SourceRecord, out: str | Path, chosen: Embedder, clock: Stopwatch
) -> RunFolder:
    """Embed images by an embedder into a run folder, resume that, or begin a run again that has finished nothing."""
    rows, held_out = split_holdout(opened, about.holdout)
    identity, embed_rows = _extraction(opened, chosen, rows, begun=RunFolder(Path(out)).json_path.exists())
    settings = EmbedSettings(identity, about.holdout)
    folder = RunFolder.create(out, about)
    if _embedded(folder) == settings:
        return folder

    def make() -> None:
        with folder.lock(Stage.EMBED):
            note_images(folder, opened)
            folder.drop_missing_checksums(Stage.EMBED)
            summary = embed_rows(folder)  # refuses embeddings with other settings
            write_holdout(folder, opened, held_out)
            folder.forget(
                Stage.EMBED
            )  # where part files were deleted, what was made from them may be outdated
            folder.record(Stage.EMBED, asdict(settings), clock.seconds, **summary)
            forget_images(folder)

    try:
        make()
    except OtherOriginError as other:
        if not folder.nothing_finished:
            raise
        begin_again(folder, about, other.differ)
        make()
    return folder


def _extraction(
    opened: ImageSource, chosen: Embedder, rows: Ints, *, begun: bool
) -> tuple[dict[str, Any], Callable[[RunFolder], dict[str, Any]]]:
    """Return the identity of an embedder, and the function that embeds by it into a run folder.

    Args:
        opened: the images.
        chosen: the embedder.
        rows: int64[n], rows of those to embed.
        begun: whether the run folder exists; otherwise the network is checked before it is created.
    """
    if isinstance(chosen, Pretrained):
        from .one_by_one import embed_each
        from .pretrained import PretrainedNetwork

        network, identity = PretrainedNetwork(), chosen.as_json()
        log.info("embedding by a pretrained network (EfficientNet-Lite0, ImageNet)")
        return identity, lambda run: embed_each(opened, run, network, rows, identity, current_runner())
    require("torch", "images")
    from .encoders import embedder_json
    from .extract import check_embedder, check_labels, embed_source

    if isinstance(chosen, Timm) or (isinstance(chosen, SelfSupervised) and chosen.weights is not None):
        log.info("embedding by %s", describe_model(chosen))
    check_labels(opened, chosen, rows)
    identity = embedder_json(chosen)
    if not begun:
        check_embedder(chosen)
    return identity, lambda run: embed_source(opened, run, chosen, rows)


def update_of(folder: RunFolder, opened: ImageSource | Embeddings) -> Update | None:
    """Return the update that a run needs to hold the images of its source as they are now; None for nothing.

    Raises:
        RunFolderError: these are other images than those of the run.
    """
    if not folder.json_path.exists() or not isinstance(opened, ImageSource) or _embedded(folder) is None:
        return None
    return needed_update(folder, opened)


def _update(
    folder: RunFolder,
    opened: ImageSource,
    about: SourceRecord,
    needed: Update,
    embedder: Embedder | ByLabels | None,
    clock: Stopwatch,
) -> RunFolder:
    """Take the images of a run's source as they are now: see `update.update`."""
    if embedder is not None:
        check_same_embedder(folder, identity_of(settled(default_embedder(opened, embedder), folder.path)))
    update(folder, opened, about, needed, embedder, lambda: clock.seconds)
    return folder


def _set_aside(folder: RunFolder, opened: ImageSource | Embeddings, about: SourceRecord) -> None:
    """Start an existing run again where its source is now read differently, or has other images."""
    if not folder.json_path.exists():
        return
    old = folder.source
    now, then = (SourceOptions.from_json(each.options).decoding for each in (about, old))
    if (now, about.fingerprint) == (then, old.fingerprint) and update_of(folder, opened) is None:
        log.info("%s is read as before: nothing to do", old.spec)
        return
    to = folder.set_aside(about)
    made = f"what was made of {old.spec} moved to {to}" if to else f"{old.spec} is read again"
    log.info("%s%s", made, about.decisions_by)


def _embedded(folder: RunFolder) -> EmbedSettings | None:
    """Return the settings of a run's embeddings, or None where they are incomplete."""
    done = folder.stage(Stage.EMBED)
    if done is None or stored_count(folder.embeddings) != done.n:
        return None
    kept = folder.read().get("checksums", {})
    if any(path.name in kept and not path.exists() for path in (folder.rejected, folder.holdout)):
        return None
    return done.settings


def describe(
    spec: str | Path, opened: ImageSource | Embeddings, options: SourceOptions, holdout: float
) -> SourceRecord:
    """Return the description of a source for `run.json`: enough to open it again and to recognize it."""
    found = replace(account(opened), options=options.as_json(), holdout=holdout)
    if isinstance(opened, ImageSource):
        return found
    return replace(found, spec=absolute(spec), pictures=pictures_beside(spec, opened, options))
