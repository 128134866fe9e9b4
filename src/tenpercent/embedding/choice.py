"""Embedder of a run: the requested one, the default, or that of the run, with the choices that the machine makes."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..data.decoding.decode import measures
from ..data.sources.source import ImageSource, Unreadable
from ..data.store.run_folder import RunFolder
from ..errors import UsageError
from .by_labels import ByLabels, fine_tuned
from .hub import MODEL
from .settings import KINDS, SMALL, Pretrained, SelfSupervised, Supervised, Timm

if TYPE_CHECKING:  # torch is loaded where it is needed
    from .encoders import Embedder

log = logging.getLogger("tenpercent")

RUNS, RUN = 4, 8  # of the sample that tells photos from small images
SMALL_INPUT = 96  # pixels per side at which the pretrained network is trained on images of up to 64 pixels
LARGE_BATCH = (
    32  # images per step where it is trained on larger ones: by 128 a network for 224 pixels takes 12 GiB
)
SIDE = 32  # pixels per side of photos in training without labels on the CPU


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
    labelled = source.has_classes
    if isinstance(asked, ByLabels):
        trained = asked.settled(labelled, source.spec)
        if isinstance(default_embedder(source), Pretrained):
            log.warning("%s", asked.describe(trained))
        return trained
    if isinstance(asked, Timm) and asked.finetune:
        small = asked.name == MODEL and asked.side is None and not are_photos(source)
        side = SMALL_INPUT if small else asked.side
        few = None if side is not None and side <= SMALL_INPUT else LARGE_BATCH
        return fine_tuned(replace(asked, side=side, batch=asked.batch or few), labelled)
    if asked is not None:
        return asked
    if source.annotations:  # boxes are cut out of photos, and an image has several
        return Pretrained()
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


def recorded_embedder(folder: RunFolder) -> Embedder | None:
    """Return the embedder that a run was started with, where its settings allow to recreate it; else None."""
    from .origin import stored_embedder

    stored = stored_embedder(folder)
    kind = None if stored is None else KINDS.get(str(stored["embedder"]))
    if stored is None or kind is None or ("weights_hash" in stored and kind is not Pretrained):
        return None  # a module, a function, or weights from a file whose path is not stored
    return kind.from_json(stored)


def identity_of(embedder: Embedder) -> dict[str, Any]:
    """Return an embedder as JSON; torch is loaded for modules and functions only."""
    if isinstance(embedder, Pretrained | Supervised | SelfSupervised | Timm):
        return embedder.as_json()
    from .encoders import embedder_json

    return embedder_json(embedder)
