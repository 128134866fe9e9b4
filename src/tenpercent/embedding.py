"""Embed a source into a run folder: check it, embed what is not there yet, note what made it."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .embed.settings import SelfSupervised, Supervised
from .errors import UsageError, require
from .images.holdout import split_holdout, write_holdout
from .images.options import SourceOptions
from .images.source import ImageSource
from .images.sources import open_source
from .store.embeddings import Embeddings, stored_count
from .store.run import RunFolder, Stage

if TYPE_CHECKING:  # torch is loaded where it is needed
    from .embed.encoders import Embedder

log = logging.getLogger("tenpercent")


SIDE = 32  # pixels a side at which photos are seen in training without labels on a processor


@dataclass
class Clock:
    """Seconds since it was made."""

    started: float = field(default_factory=time.perf_counter)

    @property
    def seconds(self) -> float:
        """How many have passed."""
        return time.perf_counter() - self.started


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
    options = by_recorded_rules(options, out)
    return embed_opened(source, open_source(source, options), out, embedder, holdout, options)


def by_recorded_rules(options: SourceOptions, out: str | Path) -> SourceOptions:
    """Return the options with the rules by which the run at `out`, where there is one, reads its source."""
    folder = RunFolder(Path(out))
    if not folder.json_path.exists():
        return options
    return replace(options, rules=SourceOptions.from_json(folder.read()["source"]["options"]).rules)


def embed_opened(
    source: str | Path,
    opened: ImageSource | Embeddings,
    out: str | Path,
    embedder: Embedder | None,
    holdout: float,
    options: SourceOptions,
) -> Embeddings:
    """Embed a source that was opened already: see `embed`."""
    clock = Clock()
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
    rows, held_out = split_holdout(opened, holdout)
    require("torch", "images")
    chosen = settled(default_embedder(opened) if embedder is None else embedder, out)
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


def settled(embedder: Embedder, out: str | Path) -> Embedder:
    """Return the embedder with what the machine decides: without a GPU, training without labels sees photos small.

    The shortest training takes 200 steps. On a processor that is minutes at 32 pixels, and most of a day at 224
    with the network for photos (docs/embeddings.md). What was begun goes on as it began.

    Args:
        embedder: as it was asked for.
        out: the run folder, which may hold embeddings that were begun.
    """
    if not isinstance(embedder, SelfSupervised) or not embedder.open:
        return embedder
    from .embed.origin import stored_embedder
    from .embed.processes import devices_for

    stored = stored_embedder(RunFolder(Path(out)))
    if stored is not None:
        return embedder.seen_as(stored)
    if devices_for(embedder.devices).kind != "cpu":
        return embedder
    log.info("no GPU: images above 64 pixels are seen at %d × %d; --side asks for more", SIDE, SIDE)
    return replace(embedder, side=SIDE)


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
