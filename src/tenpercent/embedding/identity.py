"""Identity of the network that made a run's vectors: only vectors of one network can be compared."""

from __future__ import annotations

from typing import Any

from ..data.store.part_files import stored_count
from ..data.store.records import EmbedSettings
from ..data.store.run_folder import RunFolder, Stage
from ..errors import StageError
from .settings import file_hash

BORROWED = "the network of another run"
WEIGHTS = "weights.safetensors"  # the same name as in `loop`, which loads torch


def is_trained(stored: dict[str, Any]) -> bool:
    """Return whether the embedder that a run folder describes was trained on the run's own images."""
    kind = stored["embedder"]
    return kind in ("supervised", "selfsupervised") or bool(kind == "timm" and stored["finetune"])


def identity_of(run: RunFolder) -> dict[str, Any]:
    """Return the identity of the network that made a run's vectors, as JSON.

    A trained network is identified by a hash of its weights, a model of timm by its name and the hash of its local
    weights, a module by its class and a hash of its weights, a function by its name.

    Args:
        run: a run embedded from images.

    Raises:
        StageError: it is not embedded yet, or the weights of its network are missing.
    """
    stored = run.require(Stage.EMBED).settings.made_by
    kind = stored["embedder"]
    if kind == BORROWED:
        return {key: value for key, value in stored.items() if key != "embedder"}
    if is_trained(stored):
        weights = run.training / WEIGHTS
        if not weights.is_file():
            raise StageError(
                f"{weights} is gone, so the network behind the vectors of {run.path} is not known; restore it, or "
                f"delete {run.embeddings} and {run.training} and embed again"
            )
        return {"network": "trained", "weights_hash": file_hash(weights)}
    if kind == "pretrained":
        return {"network": stored["network"], "weights_hash": stored["weights_hash"]}
    if kind == "timm":
        return {"network": f"timm:{stored['name']}", "weights_hash": stored.get("weights_hash")}
    if kind == "module":
        return {"network": stored["class"], "weights_hash": stored["weights_hash"]}
    return {"network": stored["function"], "weights_hash": None}


def borrowed(run: RunFolder) -> dict[str, Any]:
    """Return the embedder that a folder records if the network of a run made its vectors.

    Raises:
        StageError: see `identity_of`.
    """
    return {"embedder": BORROWED, **identity_of(run)}


def is_borrowed(folder: RunFolder, made_by: dict[str, Any]) -> bool:
    """Return whether a folder's vectors are complete, and made by the embedder that `borrowed` describes."""
    done = folder.stage(Stage.EMBED)
    if done is None or done.settings != EmbedSettings(made_by, 0.0):
        return False
    return bool(stored_count(folder.embeddings) == done.n)


def identity_text(identity: dict[str, Any]) -> str:
    """Return an identity in words."""
    weights = identity["weights_hash"]
    return f"{identity['network']} (weights {weights})" if weights else str(identity["network"])
