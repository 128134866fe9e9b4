"""Embedding of a source into a run folder: check it, embed what is missing, record the origin."""

from __future__ import annotations

import logging
import time
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..data.decoding.decode import measures
from ..data.sources.first_line import account, describe_taken
from ..data.sources.holdout import split_holdout, write_holdout
from ..data.sources.listing import NoImagesError
from ..data.sources.opening import absolute, check_options, moved, open_source
from ..data.sources.options import RULES, SourceOptions
from ..data.sources.pictures import pictures_beside
from ..data.sources.rereading import differences
from ..data.sources.run_name import run_folder_of
from ..data.sources.source import ImageSource, Unreadable
from ..data.store.checks import as_path
from ..data.store.embeddings import Embeddings
from ..data.store.part_files import stored_count
from ..data.store.records import EmbedSettings, SourceRecord
from ..data.store.rejected import write_rejected
from ..data.store.run_folder import RunFolder, Stage
from ..errors import SourceError, UsageError, require
from .begun import begin_again, follow_source, forget_images, note_images
from .by_labels import ByLabels, fine_tuned
from .hub import MODEL, describe_model
from .origin import OtherOriginError
from .settings import KINDS, SMALL, Pretrained, SelfSupervised, Supervised, Timm, by_name
from .update import Update, check_same_embedder, finish_update, needed_update, update

if TYPE_CHECKING:  # torch is loaded where it is needed
    from .encoders import Embedder

log = logging.getLogger("tenpercent")


RUNS, RUN = 4, 8  # of the sample that tells photos from small images
SMALL_INPUT = 96  # pixels per side at which the pretrained network is trained on images of up to 64 pixels
SIDE = 32  # pixels per side of photos in training without labels on the CPU


@dataclass
class Stopwatch:
    """Seconds since creation."""

    started: float = field(default_factory=time.perf_counter)

    @property
    def seconds(self) -> float:
        """Number of seconds that have passed."""
        return time.perf_counter() - self.started


def embed(
    source: str | Path,
    *,
    out: str | Path | None = None,
    embedder: Embedder | ByLabels | str | None = None,
    holdout: float = 0.0,
    options: SourceOptions = SourceOptions(),  # noqa: B008 – frozen
    reread: bool = False,
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
    run = embed_opened(source, opened, folder, embedder, holdout, options, reread=reread)
    if isinstance(opened, Embeddings):
        return opened
    return Embeddings.load(run.embeddings, length=len(opened))


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
        lost = isinstance(error, NoImagesError) or not Path(about.spec).exists()
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
    clock = Stopwatch()
    about = describe(source, opened, options, holdout)
    log.info("%s", describe_taken(about))
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
        folder = RunFolder.create(out, about)
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
    if embedder is None and RunFolder(Path(out)).json_path.exists():
        folder = RunFolder.create(out, about)
        done = _embedded(folder)
        if done is not None and done.holdout == holdout:
            log.info("nothing has changed since it was embedded")
            return folder  # no request that could differ
        embedder = _recorded_embedder(folder)
    rows, held_out = split_holdout(opened, holdout)
    chosen = settled(default_embedder(opened, embedder), out)
    if isinstance(chosen, Pretrained):
        from .one_by_one import embed_each
        from .pretrained import PretrainedNetwork

        network, identity = PretrainedNetwork(), chosen.as_json()
        log.info("embedding by a pretrained network (EfficientNet-Lite0, ImageNet)")
        embed_rows = partial(embed_each, opened, encoder=network, rows=rows, embedder=identity)
    else:
        require("torch", "images")
        from .encoders import embedder_json
        from .extract import check_embedder, check_labels, embed_source

        if isinstance(chosen, Timm) or (isinstance(chosen, SelfSupervised) and chosen.weights is not None):
            log.info("embedding by %s", describe_model(chosen))
        check_labels(opened, chosen, rows)
        identity = embedder_json(chosen)
        if not RunFolder(Path(out)).json_path.exists():
            check_embedder(chosen)
        embed_rows = partial(embed_source, opened, embedder=chosen, rows=rows)
    settings = EmbedSettings(identity, holdout)
    folder = RunFolder.create(out, about)
    if _embedded(folder) == settings:
        return folder

    def make() -> None:
        with folder.lock(Stage.EMBED):
            note_images(folder, opened)
            folder.drop_missing_checksums(Stage.EMBED)
            summary = embed_rows(run=folder)  # refuses embeddings with other settings
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
        check_same_embedder(folder, _identity(settled(default_embedder(opened, embedder), folder.path)))
    update(folder, opened, about, needed, embedder, lambda: clock.seconds)
    return folder


def _identity(embedder: Embedder) -> dict[str, Any]:
    """Return an embedder as JSON; torch is loaded for modules and functions only."""
    if isinstance(embedder, Pretrained | Supervised | SelfSupervised | Timm):
        return embedder.as_json()
    from .encoders import embedder_json

    return embedder_json(embedder)


def _set_aside(folder: RunFolder, opened: ImageSource | Embeddings, about: SourceRecord) -> None:
    """Start an existing run again where its source is now read differently, or has other images."""
    if not folder.json_path.exists():
        return
    old = folder.source
    now, then = (SourceOptions.from_json(each.options).decoding for each in (about, old))
    if (now, about.fingerprint) == (then, old.fingerprint) and update_of(folder, opened) is None:
        log.info("%s is read as before: nothing to do", old.spec)
        return
    log.info("what was made of %s moved to %s", old.spec, folder.set_aside(about))


def _embedded(folder: RunFolder) -> EmbedSettings | None:
    """Return the settings of a run's embeddings, or None where they are incomplete."""
    done = folder.stage(Stage.EMBED)
    if done is None or stored_count(folder.embeddings) != done.n:
        return None
    kept = folder.read().get("checksums", {})
    if any(path.name in kept and not path.exists() for path in (folder.rejected, folder.holdout)):
        return None
    return done.settings


def _recorded_embedder(folder: RunFolder) -> Embedder | None:
    """Return the embedder that a run was started with, where its settings allow to recreate it; else None."""
    from .origin import stored_embedder

    stored = stored_embedder(folder)
    kind = None if stored is None else KINDS.get(str(stored["embedder"]))
    if stored is None or kind is None or ("weights_hash" in stored and kind is not Pretrained):
        return None  # a module, a function, or weights from a file whose path is not stored
    return kind.from_json(stored)


def check_vectors_alone(source: str | Path, embedder: Embedder | ByLabels | None, holdout: float) -> None:
    """Raise `UsageError` where a source of ready vectors is combined with an embedder or a hold-out."""
    if embedder is not None or holdout:
        raise UsageError(
            f"{source} holds vectors already; leave out --holdout, --embedder and all other embedding flags"
        )


def default_embedder(source: ImageSource, asked: Embedder | ByLabels | None = None) -> Embedder:
    """Return the requested embedder; by default the pretrained network, and for small labelled images a trained one.

    By nearest neighbours on 10,000 images of CIFAR-10 the pretrained network beats a short training without labels
    (docs/embeddings.md), so images without labels get it whatever their size.
    """
    labelled = source.labels is not None
    if isinstance(asked, ByLabels):
        trained = asked.settled(labelled, source.spec)
        if isinstance(default_embedder(source), Pretrained):
            log.warning("%s", asked.describe(trained))
        return trained
    if isinstance(asked, Timm) and asked.finetune:
        small = asked.name == MODEL and asked.side is None and not are_photos(source)
        return fine_tuned(replace(asked, side=SMALL_INPUT) if small else asked, labelled)
    if asked is not None:
        return asked
    return Supervised() if labelled and not are_photos(source) else Pretrained()


def are_photos(source: ImageSource) -> bool:
    """Return whether the median longer side of a fixed sample of images is above 64 pixels.

    The sample are 4 runs of 8 consecutive rows, as Parquet is read a row group at a time. Images that can't be read
    don't count.
    """
    n = len(source)
    starts = np.linspace(0, max(n - RUN, 0), RUNS).astype(int).tolist()
    longer = []
    for row in sorted({start + step for start in starts for step in range(min(RUN, n))}):
        try:
            longer.append(max(measures(source.read(row), source.decoding)[:2]))
        except (OSError, Unreadable):
            continue
    return bool(longer) and float(np.median(longer)) > SMALL


def settled(embedder: Embedder, out: str | Path) -> Embedder:
    """Return the embedder with the machine's choices: without a GPU, training without labels sees photos small.

    The shortest training run has 200 steps. On a CPU that takes minutes at 32 pixels, and most of a day at 224 with
    the network for photos (docs/embeddings.md). A resumed run keeps its choice.

    Args:
        embedder: the requested embedder.
        out: the run folder, which may hold unfinished embeddings.
    """
    if not isinstance(embedder, SelfSupervised) or not embedder.side_open:
        return embedder
    from .origin import stored_embedder
    from .processes import devices_for

    stored = stored_embedder(RunFolder(Path(out)))
    if stored is not None:
        return embedder.at_side_of(stored)
    if devices_for(embedder.devices).kind != "cpu":
        return embedder
    log.info(
        "no GPU: images larger than 64 pixels are reduced to %d × %d; --side sets another size", SIDE, SIDE
    )
    return replace(embedder, side=SIDE)


def describe(
    spec: str | Path, opened: ImageSource | Embeddings, options: SourceOptions, holdout: float
) -> SourceRecord:
    """Return the description of a source for `run.json`: enough to open it again and to recognize it."""
    found = replace(account(opened), options=options.as_json(), holdout=holdout)
    if isinstance(opened, ImageSource):
        return found
    return replace(found, spec=absolute(spec), pictures=pictures_beside(spec, opened, options))
