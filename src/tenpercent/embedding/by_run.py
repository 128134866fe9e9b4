"""Embedding of other images by the network of a run: those of a test set, or new ones of its own source."""

from __future__ import annotations

import logging
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..data.sources.first_line import account
from ..data.sources.options import SourceOptions
from ..data.sources.source import ImageSource
from ..data.store.run_folder import RunFolder, Stage
from ..errors import StageError, UsageError, counted, require
from .by_labels import ByLabels
from .identity import borrowed, is_borrowed
from .settings import Pretrained

if TYPE_CHECKING:  # torch is loaded where it is needed
    from .encoders import Embedder

log = logging.getLogger("tenpercent")


def embed_by_run(
    run: RunFolder,
    source: ImageSource,
    options: SourceOptions,
    to: Path,
    embedder: Embedder | ByLabels | None = None,
    *,
    reread: bool = False,
) -> RunFolder:
    """Embed other images by the network of a run, unless that is done; return the folder of their vectors.

    Args:
        run: the embedded run.
        source: the other images.
        options: those that the source was opened with.
        to: the folder.
        embedder: needed where the run's is a module or a function, which no folder can store.
        reread: set aside what the folder holds where that is of other images.

    Raises:
        StageError, UsageError: see `of_run.embed_like`.
    """
    made_by = borrowed(run)
    about = replace(account(source), options=options.as_json())
    if reread and (old := RunFolder.at(to)).json_path.exists() and old.source.differences(about):
        old.set_aside(about)
    folder = RunFolder.create(to, about)
    if is_borrowed(folder, made_by):
        return folder
    log.info(
        "embedding %s of %s by the network of %s", counted(len(source), source.noun), source.spec, run.path
    )
    stored = run.require(Stage.EMBED).settings.embedder
    if isinstance(stored, dict) and stored["embedder"] == "pretrained":
        if embedder is not None and not isinstance(embedder, Pretrained):
            raise UsageError(
                f"{run.path} was embedded by the pretrained network; leave out the embedder, and it is used"
            )
        _embed_each_like(run, stored, source, folder)
        return folder
    require("torch", "images")
    from .of_run import embed_like

    embed_like(run, source, folder, made_by, embedder)
    return folder


def _embed_each_like(run: RunFolder, stored: dict[str, Any], source: ImageSource, folder: RunFolder) -> None:
    """Embed images of another source by the pretrained network, which a run's vectors were made by."""
    from .one_by_one import embed_each
    from .pretrained import PretrainedNetwork

    now, made_by = Pretrained().as_json(), borrowed(run)
    if stored != now:
        raise StageError(
            f"{run.path} was embedded by another version of the pretrained network (hash {stored['weights_hash']}, now "
            f"{now['weights_hash']}); embed it again into a new folder"
        )
    started = time.perf_counter()
    with folder.lock(Stage.EMBED):
        summary = embed_each(source, folder, PretrainedNetwork(), np.arange(len(source)), made_by)
        folder.forget(Stage.EMBED)
        folder.record(
            Stage.EMBED, {"embedder": made_by, "holdout": 0.0}, time.perf_counter() - started, **summary
        )
