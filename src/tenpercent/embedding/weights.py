"""Models of timm: their weights, from a local file (never executed) or the hub, and their view."""

from __future__ import annotations

import logging
import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..errors import UsageError, one_line, require
from .augment import PixelSource, View
from .hub import IN_PACKAGE, MODEL, config_of, hub_file
from .settings import Timm

log = logging.getLogger("tenpercent")


def timm_model(settings: Timm, n_classes: int = 0) -> nn.Module:
    """Build a model of timm with its weights.

    Args:
        settings: its name and, if local, its weights file.
        n_classes: outputs of a new classifier for fine-tuning; 0 for none.

    Raises:
        UsageError: timm has no such model, its weights can't be downloaded, or the file doesn't fit the model.
    """
    if settings.weights is not None:
        model = untrained_model(settings, n_classes)
        load_weights(model, settings.weights)
        return model
    path = hub_file(settings.name)
    try:
        return _create(settings, n_classes, {} if path is None else {"file": str(path)}, pretrained=True)
    except Exception as error:  # of many kinds: a damaged file, or no network for the few that the hub lacks
        damaged = "can't be downloaded" if path is None else f"in {path} can't be loaded"
        remedy = "" if path is None else "delete that file to download it again, or "
        raise UsageError(
            f"the weights of {settings.name} {damaged} ({one_line(error, 200)}); {remedy}name a local file with "
            "--weights FILE"
        ) from error


def untrained_model(settings: Timm, n_classes: int = 0) -> nn.Module:
    """Build a model of timm with random weights, for timing.

    Raises:
        UsageError: timm has no such model.
    """
    config_of(settings.name)
    return _create(settings, n_classes, {}, pretrained=False)


def _create(settings: Timm, n_classes: int, config: dict[str, Any], *, pretrained: bool) -> nn.Module:
    """Build the model; the weights of a new classifier are determined by the seed."""
    timm = require("timm", "images")
    if settings.side is not None:
        config = {**config, "input_size": (3, settings.side, settings.side)}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        model: nn.Module = timm.create_model(
            settings.name, pretrained=pretrained, num_classes=n_classes, pretrained_cfg_overlay=config
        )
    return model


def load_weights(model: nn.Module, path: Path) -> None:
    """Load the weights of a local file, safetensors or a state dict, into a model of timm.

    Only the classifier may differ: the file's is ignored, with a message, where the model has none or another.

    Raises:
        UsageError: the file can't be read, or its weights are not those of this model.
    """
    state = read_weights(path)
    if path.name == IN_PACKAGE:
        state = _in_timms_names(state)
    wanted = model.state_dict()
    head = _head(model)
    fits = {key: value for key, value in state.items() if key in wanted and wanted[key].shape == value.shape}
    other = [key for key in state if key not in fits]
    missing = [key for key in wanted if key not in fits]
    strange = [key for key in (*other, *missing) if not key.startswith(head)]
    if strange or not fits:
        raise UsageError(
            f"{path} doesn't hold the weights of this model: {len(strange)} of its {len(wanted)} keys are missing, "
            f"unexpected or of another shape ({', '.join(strange[:3])}); name the model it was saved from"
        )
    if other:
        log.info("%s: left out its classifier (%s)", path, ", ".join(other))
    model.load_state_dict(fits, strict=False)


def _in_timms_names(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return the weights of `hub.package_file` by the names of timm: the same tensors in the same order.

    Without those of its classifier, which no network here takes.
    """
    with torch.device("meta"):
        model = require("timm", "images").create_model(MODEL)
    names = model.state_dict()
    if [value.shape for value in names.values()] != [value.shape for value in state.values()]:
        return state
    head = _head(model)
    return {
        name: value for name, value in zip(names, state.values(), strict=True) if not name.startswith(head)
    }


def read_weights(path: Path) -> dict[str, torch.Tensor]:
    """Return the state dict of a local file; nothing in it is ever executed (``weights_only``).

    Raises:
        UsageError: it can't be read or holds something else.
    """
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        found = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch's unpickler raises nearly anything on files that are not weights
        # torch's own message advises to run the code in the file
        why = (
            "it holds more than tensors"
            if isinstance(error, pickle.UnpicklingError)
            else one_line(error, 200)
        )
        raise UsageError(
            f"can't read the weights {path} ({why}); name a safetensors or state-dict file"
        ) from error
    for key in ("state_dict", "model"):  # as training scripts wrap it
        if isinstance(found, dict) and isinstance(found.get(key), dict):
            found = found[key]
    if not isinstance(found, dict) or not all(isinstance(value, torch.Tensor) for value in found.values()):
        raise UsageError(
            f"{path} holds no state dict (names and tensors); save one with torch.save(model.state_dict())"
        )
    return {str(key).removeprefix("module."): value for key, value in found.items()}


def model_view(model: nn.Module, pixels: PixelSource) -> View:
    """Return the view for fine-tuning: normalised and scaled as in the model's training, randomly cropped."""
    config = data_config(model)
    return replace(
        View.of(pixels),
        mean=tuple(255 * value for value in config["mean"]),
        std=tuple(255 * value for value in config["std"]),
        resize=tuple(config["input_size"][1:]),
    )


def data_config(model: nn.Module) -> dict[str, Any]:
    """Return the data configuration of a model of timm."""
    return dict(require("timm.data", "images").resolve_data_config({}, model=model))


def _head(model: nn.Module) -> tuple[str, ...]:
    """Return the prefixes of the names of a timm model's classifier."""
    names = getattr(model, "pretrained_cfg", {}).get("classifier") or ()
    return tuple(f"{name}." for name in ([names] if isinstance(names, str) else names))
