"""Settings of embedders, plain and frozen, as a run folder stores them; nothing here imports torch."""

from __future__ import annotations

import hashlib
import math
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Any, ClassVar, Literal, Self, TypedDict, TypeVar

from ..errors import UsageError, nearest
from .recipe import DEFAULT, Recipe

Embedder = TypeVar("Embedder")

NETWORK = Path(__file__).parent / "efficientnet_lite0" / "network.onnx"  # of `Pretrained`
SMALL = 64  # longer side in pixels up to which images are small: the 6n+2-layer network takes them
LARGE = 256  # the shorter side of images above 64 pixels unless another is given
BATCH = 128  # images per step
# Limits that no machine or user reaches, below what overflows a library's integers.
LARGEST = {
    "seed": 2**32 - 1,
    "batch": 2**20,
    "side": 2**14,
    "dim": 2**16,
    "devices": 2**16,
    "epochs": 2**31 - 1,
    "steps": 2**31 - 1,
    "depth": 10_000,
}
# Channels of the three groups of the networks in `fast`, by their names.
FAST_WIDTHS = {"fast": (48, 128, 256), "fast-narrow": (32, 128, 128), "fast-wide": (64, 256, 256)}


class Precision(StrEnum):
    """Precision of the network's products; the weights are always float32."""

    AUTO = "auto"  # chosen by a short measurement on the machine
    FLOAT32 = "float32"
    BFLOAT16 = "bf16"


class ChoiceRecord(TypedDict):
    """Stored form of a `precision.Choice`."""

    precision: Literal["float32", "bf16"]
    channels_last: bool
    rates: dict[str, float]


@dataclass(frozen=True)
class Supervised:
    """Network trained from scratch on the images and their labels (the paper, section 4).

    Attributes:
        network: a timm name, ``fast``, ``fast-narrow`` or ``fast-wide`` (`fast.FastNetwork`), or ``module:name`` of a
            function that makes a network for a number of classes (`function_name`); None: the 6n+2-layer one up to 64
            pixels, else ``resnetv2_50``.
        depth: layers of the 6n+2-layer network (8, 14, 20, 26, 32, ...); timm names carry their own.
        side: images of more than 64 pixels are scaled to this shorter side and cropped square; None for 256.
        epochs: passes over the images; None for `training.default_epochs`.
        steps: batches, instead of epochs (the paper's CIFAR figures are 100,000).
        batch: images per step.
        seed: of weights, order and augmentation.
        rate: the highest learning rate, after the warm-up.
        weight_decay: of the optimiser; the same for all weights.
        momentum: of the optimiser.
        devices: processes, one per device; None for all GPUs, or one process on the CPU.
        precision: ``auto``, ``float32`` or ``bf16``.
        recipe: schedule, augmentation and all other options.
    """

    network: str | None = None
    depth: int = 32
    side: int | None = None
    epochs: int | None = None
    steps: int | None = None
    batch: int = BATCH
    seed: int = 0
    rate: float = 0.1
    weight_decay: float = 1e-4
    momentum: float = 0.9
    devices: int | None = None
    precision: str = Precision.AUTO
    recipe: Recipe = DEFAULT

    def __post_init__(self) -> None:
        if callable(self.network):
            object.__setattr__(self, "network", function_name(self.network))
        _check_training(self)

    def as_json(self) -> dict[str, Any]:
        """Return the settings as a run folder stores them, for `from_json`. A default recipe or side is omitted."""
        content = {"embedder": "supervised", **asdict(self), "recipe": self.recipe.as_json() or None}
        return _given(content, "side", "recipe")

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> Self:
        """Return the settings stored by `as_json`."""
        recipe = Recipe.from_json(content.get("recipe", {}))
        return cls(**_without(content, "embedder", "recipe"), recipe=recipe)


@dataclass(frozen=True)
class Timm:
    """Model of timm, with its own weights or those of a local file, fine-tuned on the labels on request.

    Attributes:
        name: the model's name in timm.
        weights: a local file, safetensors or a state dict; None for timm's weights.
        side: pixels per side of its input; None for those that timm names.
        finetune: first train on the images, from these weights: on their labels, or without where they have none.
        dim: without labels, the values of a vector; None for 64.
        epochs: passes of the fine-tuning; None for those of `training.training_length`.
        steps: batches of the fine-tuning, instead of epochs.
        batch: images per step; None for 128, or 32 where it is trained on larger images (`choice.default_embedder`).
        seed: of order, augmentation and the new classifier's weights.
        rate: the highest learning rate of the fine-tuning; a tenth of training from scratch (without labels the
            default is `by_labels.RATE`).
        weight_decay: of the optimiser.
        momentum: of the optimiser.
        devices: processes, one per device; None for all GPUs, or one process on the CPU.
        precision: ``auto``, ``float32`` or ``bf16``.
    """

    recipe: ClassVar[Recipe] = DEFAULT  # as in training from scratch

    name: str
    weights: Path | None = None
    side: int | None = None
    finetune: bool = False
    dim: int | None = None
    epochs: int | None = None
    steps: int | None = None
    batch: int | None = None
    seed: int = 0
    rate: float = 0.01
    weight_decay: float = 1e-4
    momentum: float = 0.9
    devices: int | None = None
    precision: str = Precision.AUTO

    def __post_init__(self) -> None:
        _check_training(self)
        if self.weights is not None:
            object.__setattr__(self, "weights", Path(self.weights))

    def as_json(self) -> dict[str, Any]:
        """Return the settings as a run folder stores them, with a hash of the weights: other weights, another embedder.

        Raises:
            UsageError: the weights' file can't be read.
        """
        content = {"embedder": "timm", **asdict(self), "batch": batch_of(self)}
        return _with_hash(_given(content, "side", "dim"), self.weights)

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> Self:
        """Return the settings stored by `as_json`."""
        return cls(**_without(content, "embedder", "weights_hash"))


@dataclass(frozen=True)
class SelfSupervised:
    """Network trained without labels: it learns to recognise the other view of an image among those of other images.

    Attributes:
        network: a timm name; None: the 6n+2-layer one up to 64 pixels, else ``resnetv2_50``. It starts from random
            weights (``resnetv2_*`` only), unless `weights` are given.
        weights: a local file of `network`'s weights to start from, safetensors or a state dict.
        dim: width of the last layer, whose values are stored and clustered.
        depth: layers of the 6n+2-layer network (8, 14, 20, 26, 32, ...); timm names carry their own.
        side: images of more than 64 pixels are scaled to this shorter side and cropped square; None for 256, or, with
            neither a network's name nor a GPU, for `choice.SIDE`.
        epochs: passes over the images; None for `training.default_epochs`.
        steps: batches, instead of epochs.
        batch: images per step, two views of each; an image is contrasted with the others of its batch.
        seed: of weights, order and views.
        rate: the highest learning rate, after the warm-up.
        weight_decay: of the optimiser.
        momentum: of the optimiser.
        devices: processes, one per device; None for all GPUs, or one process on the CPU.
        precision: ``auto``, ``float32`` or ``bf16``.
    """

    recipe: ClassVar[Recipe] = Recipe()  # as in training on labels

    network: str | None = None
    weights: Path | None = None
    dim: int = 64
    depth: int = 32
    side: int | None = None
    epochs: int | None = None
    steps: int | None = None
    batch: int = 256
    seed: int = 0
    rate: float = 0.2
    weight_decay: float = 5e-4
    momentum: float = 0.9
    devices: int | None = None
    precision: str = Precision.AUTO

    def __post_init__(self) -> None:
        _check_training(self)
        _check_whole("dim", self.dim, 2)  # one value has two directions
        if self.weights is not None:
            object.__setattr__(self, "weights", Path(self.weights))
            if self.network is None:
                raise UsageError(
                    f"weights is {self.weights} without a network; give the name of its timm model as network"
                )

    def as_json(self) -> dict[str, Any]:
        """Return the settings as a run folder stores them, with a hash of the weights: other weights, another embedder.

        Raises:
            UsageError: the weights' file can't be read.
        """
        return _with_hash(_given({"embedder": "selfsupervised", **asdict(self)}, "side"), self.weights)

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> Self:
        """Return the settings stored by `as_json`."""
        return cls(**_without(content, "embedder", "weights_hash"))

    @property
    def side_open(self) -> bool:
        """True if the machine decides the size that photos are scaled to."""
        return self.side is None and self.network is None

    def at_side_of(self, stored: dict[str, Any]) -> Self:
        """Return these settings with the side of stored ones, as given by `as_json`, where it is `side_open`."""
        same = self.side_open and stored.get("embedder") == "selfsupervised"
        return replace(self, side=stored.get("side")) if same else self


@dataclass(frozen=True)
class Pretrained:
    """The network that comes with the package: EfficientNet-Lite0, trained on ImageNet-1k (`pretrained`)."""

    def as_json(self) -> dict[str, Any]:
        """Return the settings as a run folder stores them, with a hash of the network's file."""
        return {"embedder": "pretrained", "network": "efficientnet_lite0", "weights_hash": file_hash(NETWORK)}

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> Self:
        """Return the settings stored by `as_json`."""
        return cls()


Settings = Supervised | Timm | SelfSupervised


def batch_of(settings: Settings) -> int:
    """Return the images per step of a training run."""
    return BATCH if settings.batch is None else settings.batch


KINDS: dict[str, type[Settings | Pretrained]] = {
    "pretrained": Pretrained,
    "supervised": Supervised,
    "selfsupervised": SelfSupervised,
    "timm": Timm,
}
# Models of timm by short names. DINOv2's own side, 518 pixels, takes six times as long, and 224 are usual for vectors.
SHORT: dict[str, dict[str, Any]] = {
    "dinov2": {"name": "vit_small_patch14_dinov2.lvd142m", "side": 224},
    "clip": {"name": "vit_base_patch32_clip_quickgelu_224.openai"},
    "siglip2": {"name": "vit_base_patch16_siglip_224.v2_webli"},
}


def named(name: str) -> tuple[str, dict[str, Any]]:
    """Return the kind of an embedder, a key of `KINDS`, and the settings in its name: those of a model of timm.

    Raises:
        UsageError: there is no such embedder.
    """
    if name in SHORT:
        return "timm", SHORT[name]
    kind, colon, model = name.partition(":")
    if kind not in KINDS or (kind == "timm") != bool(model) or (colon and not model):
        known = ", ".join(["pretrained", "supervised", "selfsupervised", *SHORT])
        raise UsageError(f"--embedder is {name!r}; it must be {known} or timm:NAME")
    return kind, {"name": model} if model else {}


def by_name(embedder: Embedder | str) -> Embedder | Settings | Pretrained:
    """Return the embedder of a name with its default settings; any other is returned as it is."""
    if not isinstance(embedder, str):
        return embedder
    kind, own = named(embedder)
    return KINDS[kind](**own)


def file_hash(path: Path) -> str:
    """Return a hash of the bytes of a file, 16 hexadecimal digits.

    Raises:
        UsageError: it can't be read.
    """
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=8))
    except OSError as error:
        raise UsageError(
            f"can't read the weights {path}: {error.strerror or error}; name a safetensors or state-dict file"
        ) from None
    return digest.hexdigest()


def _without(content: dict[str, Any], *names: str) -> dict[str, Any]:
    return {key: value for key, value in content.items() if key not in names}


def _given(content: dict[str, Any], *optional: str) -> dict[str, Any]:
    """Return settings without the optional ones that are None: these are newer than the first run folders."""
    return {key: value for key, value in content.items() if value is not None or key not in optional}


def _with_hash(content: dict[str, Any], weights: Path | None) -> dict[str, Any]:
    """Return settings as JSON, with the hash of a weights file."""
    if weights is None:
        return content
    return {**content, "weights": str(weights), "weights_hash": file_hash(weights)}


def function_name(function: Callable[[int], Any]) -> str:
    """Return ``module:name`` of a function, by which another process can import it.

    Raises:
        UsageError: it can't be imported by its name: a lambda, a local function, an object.
    """
    module, name = getattr(function, "__module__", None), getattr(function, "__qualname__", None)
    found: Any = sys.modules.get(module or "")
    for part in (name or "?").split("."):
        found = getattr(found, part, None)
    if found is not function:
        raise UsageError(
            f"the network {function!r} can't be imported by its name; give a function of a module: "
            "def NAME(n_classes): return …"
        )
    return f"{module}:{name}"


def _check_training(settings: Settings) -> None:
    """Check the settings common to all training runs, and convert the name of the precision.

    Raises:
        UsageError: a value is out of its range, or there is no such precision.
    """
    if settings.epochs is not None and settings.steps is not None:
        raise UsageError(
            f"both epochs ({settings.epochs}) and steps ({settings.steps}) are given; give one of them"
        )
    for name in ("epochs", "steps", "devices"):
        _check_whole(name, getattr(settings, name), 1)
    # Batch normalisation needs two images, and self-supervised training another image to contrast with.
    _check_whole("batch", batch_of(settings), 2)
    _check_whole("seed", settings.seed, 0)
    _check_whole("side", getattr(settings, "side", None), 8)
    depth = getattr(settings, "depth", None)
    if isinstance(depth, int) and depth > LARGEST["depth"]:  # the network checks the depth
        _check_whole("depth", depth, 1)
    for name, least, below, limit in (
        ("rate", math.ulp(0.0), math.inf, "above 0"),
        ("weight_decay", 0.0, math.inf, "at least 0"),
        ("momentum", 0.0, 1.0, "from 0 to below 1"),
    ):
        value = getattr(settings, name)
        if not (isinstance(value, int | float) and least <= value < below):
            raise UsageError(f"{name} is {value!r}; it must be a number {limit}")
    names = [str(known) for known in Precision]
    if settings.precision not in names:
        raise UsageError(
            f"precision {settings.precision!r} is not one of {', '.join(names)}"
            f"{nearest(str(settings.precision), names)}"
        )
    object.__setattr__(settings, "precision", Precision(settings.precision))


def _check_whole(name: str, value: int | None, least: int) -> None:
    if value is None and name not in ("batch", "seed", "dim"):
        return
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise UsageError(f"{name} is {value!r}; it must be a whole number of at least {least}")
    if value > LARGEST[name]:
        raise UsageError(f"{name} is {value:,}; it must be a whole number of at most {LARGEST[name]:,}")
