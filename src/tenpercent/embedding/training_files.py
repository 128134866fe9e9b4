"""Files of a training run, read back from its folder: settings, curve and weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NotRequired, TypedDict

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from ..data.store.tables import check_file, damaged, read_settings, remedy
from ..data.store.typed import parsed
from .augment import View
from .loop import CURVE, WEIGHTS
from .precision import Choice
from .settings import ChoiceRecord

FORMAT = 1
SETTINGS = "settings.json"


class ViewRecord(TypedDict):
    """Stored form of a `View`."""

    mean: list[float]
    std: list[float]
    crop: list[int]
    pad: int
    resize: NotRequired[list[int] | None]


class TrainingRecord(TypedDict):
    """Content of ``settings.json`` of a training run."""

    format: int
    origin: str
    settings: dict[str, Any]
    view: ViewRecord
    choice: ChoiceRecord


class Entry(TypedDict):
    """Entry of ``curve.json``."""

    step: NotRequired[int]
    epoch: float
    loss: float
    seconds: float
    accuracy: NotRequired[float | None]
    test_accuracy: NotRequired[float | None]
    test_loss: NotRequired[float | None]


def read_training_settings(folder: Path) -> tuple[dict[str, Any], View, Choice]:
    """Return ``settings.json`` of a training run, and its view and precision.

    Raises:
        StageError: it is damaged or of a newer format.
    """
    path = folder / SETTINGS
    content = read_settings(path, TrainingRecord, FORMAT, remedy(path))
    view, choice = View.from_json(content["view"]), Choice.from_json(content["choice"])
    sizes = [view.crop] if view.resize is None else [view.crop, view.resize]
    if any(len(size) != 2 or min(size) < 1 for size in sizes) or len(view.mean) != 3 or len(view.std) != 3:
        raise damaged(path, "its view is not of two sides and three channels")
    if min(view.std) <= 0 or view.pad < 0:
        raise damaged(path, "its view has a deviation of 0 or less, or a pad below 0")
    return content, view, choice


def read_curve(folder: Path) -> list[dict[str, Any]]:
    """Return the entries of ``curve.json``, one or more.

    Raises:
        StageError: it is damaged.
    """
    path = folder / CURVE
    try:
        check_file(path)
        entries: list[dict[str, Any]] = parsed(path.read_bytes(), list[Entry])
    except (OSError, ValueError) as error:
        raise damaged(path, error) from None
    if not entries:
        raise damaged(path, "it has no entry")
    return entries


def load_weights(network: nn.Module, folder: Path) -> None:
    """Load the weights of a training run into a network.

    Raises:
        StageError: they are damaged, or of another network.
    """
    path = folder / WEIGHTS
    try:
        check_file(path)
        network.load_state_dict(load_file(path))
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise damaged(path, error) from None
