"""Network behind a run's vectors: its identity, and its use on other images."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from torch import nn

from ..data.sources.source import ImageSource
from ..data.store.run_folder import RunFolder, Stage
from ..errors import StageError, UsageError, one_line
from .by_labels import ByLabels
from .encoders import Embedder, Encoder, NetworkEncoder, embedder_json, ready_encoder
from .extract import begin, extract_into
from .identity import BORROWED, is_trained
from .networks import build
from .origin import Origin, differences, stored_choice
from .pixels import Scan, scan
from .processes import devices_for
from .selfsupervised import network_for
from .settings import SelfSupervised, Supervised, Timm
from .training import Trained
from .training_files import load_weights, read_training_settings
from .weights import untrained_model


def embed_like(
    run: RunFolder,
    source: ImageSource,
    folder: RunFolder,
    made_by: dict[str, Any],
    embedder: Embedder | ByLabels | None,
) -> None:
    """Embed the images of another source with the network of a run, or resume that.

    They are prepared like the run's own images, without augmentation: the same size, crop and normalisation.

    Args:
        run: the embedded run.
        source: the other images.
        folder: a run folder for their vectors.
        made_by: the identity of the network, see `identity.borrowed`.
        embedder: needed where the run's is a module or a function, which no folder can store.

    Raises:
        StageError: the network is missing, or `folder` holds vectors of other images or of another network.
        UsageError: the embedder is not the one of the run, or is needed and missing.
        TenpercentError: more than half of the images can't be read.
    """
    started = time.perf_counter()
    load = _loader(run, embedder)
    rows = np.arange(len(source), dtype=np.int64)
    with folder.lock(Stage.EMBED):
        asked = Origin.of(source, rows, made_by)
        asked.check(folder)
        found = _as_seen_by(run, scan(source, rows))
        summary = extract_into(folder, load(found), found, source, begin(folder, asked, found))
        folder.forget(Stage.EMBED)
        folder.record(
            Stage.EMBED,
            {"embedder": made_by, "holdout": 0.0},
            time.perf_counter() - started,
            **summary,
        )


def _as_seen_by(run: RunFolder, found: Scan) -> Scan:
    """Scale scanned images to the size of the run's images."""
    pixels, size = found.pixels, run.require(Stage.EMBED).image_size or found.pixels.size
    if pixels.size == size:
        return found
    return replace(found, pixels=replace(pixels, size=size, native=False, kept=None))


def _loader(run: RunFolder, embedder: Embedder | ByLabels | None) -> Callable[[Scan], Encoder]:
    """Return a function that makes the encoder of a run from its scanned images; raise now if anything is missing.

    Raises:
        StageError: the run's network or weights are missing, damaged or changed.
        UsageError: the embedder is not the one of the run, or is needed and missing.
    """
    stored = run.require(Stage.EMBED).settings.made_by
    if isinstance(embedder, ByLabels):
        embedder = embedder.settled(stored["embedder"] != "selfsupervised", str(run.path))
    if embedder is not None:
        _check_same(run, stored, embedder)
    if is_trained(stored):
        trained = trained_network(run)
        return lambda _: NetworkEncoder(trained)
    if stored["embedder"] == "timm":
        model = embedder if isinstance(embedder, Timm) else Timm.from_json(stored)
        if model.weights is not None and model.as_json()["weights_hash"] != stored["weights_hash"]:
            raise StageError(
                f"{model.weights} has changed since {run.path} was embedded with it; restore the old file, or "
                "embed again"
            )
        return lambda found: ready_encoder(model, found.alike, stored_choice(run))[0]
    if stored["embedder"] == BORROWED:
        raise StageError(
            f"{run.path} was embedded by the network of another run; give that run, which contains the network"
        )
    if embedder is None or isinstance(embedder, Supervised | SelfSupervised | Timm):
        name = stored.get("class") or stored.get("function")
        raise UsageError(
            f"{run.path} was embedded by {name}, which a run folder can't store; give it again, from Python: "
            "embedder=…"
        )
    return lambda found: ready_encoder(embedder, found.alike, None)[0]


def _check_same(run: RunFolder, stored: dict[str, Any], embedder: Embedder) -> None:
    """Raise `UsageError` where the given embedder is not the one of the run."""
    asked = embedder_json(embedder.at_side_of(stored) if isinstance(embedder, SelfSupervised) else embedder)
    by_hash = "weights_hash" in stored and "weights_hash" in asked
    unlike = differences(stored, {**asked, "weights": stored.get("weights")} if by_hash else asked)
    if unlike:
        raise UsageError(
            f"{run.path} was embedded with other settings: {'; '.join(unlike)}; leave out the embedder "
            "to use that of the run"
        )


def trained_network(run: RunFolder) -> Trained:
    """Load the network that a run trained, without the facts of the training run.

    Raises:
        StageError: its files are missing or damaged.
    """
    known = run.require(Stage.EMBED).network_classes
    classes = len(run.source.class_names if known is None else known)
    try:
        content, view, choice = read_training_settings(run.training)
        size = run.require(Stage.EMBED).image_size or view.crop
        network: nn.Module
        if content["settings"]["embedder"] == "timm":
            network = untrained_model(Timm.from_json(content["settings"]), classes)
        elif content["settings"]["embedder"] == "selfsupervised":
            network = network_for(SelfSupervised.from_json(content["settings"]), size)
        else:
            settings = Supervised.from_json(content["settings"])
            network = build(settings.network, settings.depth, classes, size)
        load_weights(network, run.training)
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, StageError) as error:
        raise StageError(
            f"the network of {run.path} can't be loaded ({one_line(error, 200)}); bring {run.training} "
            f"back, or delete it and {run.embeddings} and embed again"
        ) from None
    return Trained(network, view, choice, devices_for(None).first, {})
