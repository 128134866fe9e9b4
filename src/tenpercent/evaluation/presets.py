"""Settings that all training runs of an experiment share, and presets of them; nothing here imports torch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Any, Self

from ..data.store.files import fingerprint
from ..embedding.recipe import Flip, Recipe, Schedule, Statistics
from ..embedding.settings import FAST_WIDTHS, Precision, Supervised, Timm
from ..errors import UsageError, nearest

# Settings in which training runs of one protocol may differ; weights are identified by the hash of their file.
APART = ("seed", "devices", "weights")


class Length(StrEnum):
    """The length of training that subsets of every size share."""

    STEPS = "steps"  # as in the paper
    EPOCHS = "epochs"  # as in the article


@dataclass(frozen=True)
class Protocol:
    """The settings that all training runs of an experiment share.

    Attributes:
        training: network, length, rate and all other settings, from scratch or from the weights of a model of
            timm; its seed is not used.
        length: the steps, or the epochs, that `training` gives the full set hold for subsets of every size.
        evaluations: number of evaluations on the test set, evenly over the steps, the last one after the last step.
        mirrored: average the logits of a test image and its mirror image.
    """

    training: Supervised | Timm
    length: Length = Length.STEPS
    evaluations: int = 20
    mirrored: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "length", checked_length(self.length))
        if (
            isinstance(self.evaluations, bool)
            or not isinstance(self.evaluations, int)
            or self.evaluations < 1
        ):
            raise UsageError(f"evaluations is {self.evaluations!r}; it must be a whole number of at least 1")

    def as_json(self) -> dict[str, Any]:
        """Return the stored form, which `from_json` reads."""
        return {
            "training": self.training.as_json(),
            "length": str(self.length),
            "evaluations": self.evaluations,
            "mirrored": self.mirrored,
        }

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> Self:
        """Return the protocol that `as_json` gave."""
        kind: type[Timm] | type[Supervised] = (
            Timm if content["training"]["embedder"] == "timm" else Supervised
        )
        return cls(**{**content, "training": kind.from_json(content["training"])})

    @property
    def fingerprint(self) -> str:
        """Fingerprint, 16 hexadecimal digits: the same for two protocols that differ in nothing but the seed."""
        content = self.as_json()
        content["training"] = {key: value for key, value in content["training"].items() if key not in APART}
        return fingerprint(content)

    def override(
        self,
        *,
        steps: int | None = None,
        epochs: int | None = None,
        network: str | None = None,
        depth: int | None = None,
        side: int | None = None,
        batch: int | None = None,
        precision: str | None = None,
        length: Length | str | None = None,
    ) -> Protocol:
        """Return this protocol with the given values; steps replace epochs, and vice versa.

        Raises:
            UsageError: a value is invalid, or steps and epochs are both given.
        """
        if isinstance(self.training, Timm) and (network, depth, side) != (None, None, None):
            raise UsageError(
                f"the network is {self.training.name}, with its weights; choose network, depth and side before "
                "fine_tuned"
            )
        given = {"network": network, "depth": depth, "side": side, "batch": batch, "precision": precision}
        changed: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
        if steps is not None or epochs is not None:
            changed |= {"steps": steps, "epochs": epochs}
        return replace(
            self,
            training=replace(self.training, **changed),
            length=self.length if length is None else checked_length(length),
        )

    def fine_tuned(self, weights: Path | None = None) -> Protocol:
        """Return this protocol starting from a model's weights instead of random ones, as long, at its own rate.

        Args:
            weights: a local file; None for timm's own.

        Raises:
            UsageError: the network is not one of timm's.
        """
        own = self.training
        if isinstance(own, Timm) or own.network is None or own.network in FAST_WIDTHS or ":" in own.network:
            name = own.name if isinstance(own, Timm) else own.network or f"the network of {own.depth} layers"
            raise UsageError(f"{name} has no weights to fine-tune from; name a model of timm with --network")
        settings = Timm(
            own.network,
            weights,
            finetune=True,
            epochs=own.epochs,
            steps=own.steps,
            batch=own.batch,
            devices=own.devices,
            precision=own.precision,
        )
        return replace(self, training=settings)


class Origin(StrEnum):
    """The source of a setting's value."""

    PAPER = "the paper"
    UNCONFIRMED = "arXiv 1901.11409, not confirmed"
    ARTICLE = "the article"
    OPEN = "ours: open in the article"
    OURS = "ours"


@dataclass(frozen=True)
class Preset:
    """A protocol with a name.

    Attributes:
        name: for ``--preset``.
        about: its purpose, in a sentence.
        protocol: its settings.
        trials: training runs of each arm and fraction.
        within: ``class`` or ``all``: the images among which the selection groups and the random arm draws.
        best: take the best accuracy over the evaluations as the headline, not the final one.
        origins: sources of the settings that are not ours, by their names in `settings_of`.
    """

    name: str
    about: str
    protocol: Protocol
    trials: int
    within: str
    best: bool
    origins: dict[str, Origin]

    @property
    def training(self) -> Supervised:
        """Training settings: all presets train from scratch."""
        assert isinstance(self.protocol.training, Supervised)
        return self.protocol.training


def settings_of(preset: Preset) -> Iterator[tuple[str, str, Origin]]:
    """Yield name, value in words and origin of each setting of a preset, made from the settings themselves."""
    for name, value in _words(preset):
        yield name, value, preset.origins.get(name, Origin.OURS)


def preset(name: str) -> Preset:
    """Return the preset of that name.

    Raises:
        UsageError: there is none; the message offers the nearest.
    """
    if name not in PRESETS:
        raise UsageError(
            f"preset {name!r} is not one of {', '.join(PRESETS)}{nearest(name, PRESETS)}; "
            "tenpercent presets prints what they are"
        )
    return PRESETS[name]


def describe_presets() -> str:
    """Return all presets as tables: each setting, its value, and the source of the value."""
    blocks = []
    for known in PRESETS.values():
        rows = list(settings_of(known))
        widths = [max(len(row[column]) for row in rows) for column in range(2)]
        lines = [f"  {name:{widths[0]}}  {value:{widths[1]}}  {origin}" for name, value, origin in rows]
        blocks.append("\n".join([f"{known.name}: {known.about}", "", *lines]))
    return "\n\n".join(blocks)


def checked_length(length: str) -> Length:
    """Return the length of that name.

    Raises:
        UsageError: there is none.
    """
    names = [str(known) for known in Length]
    if length not in names:
        raise UsageError(f"length {length!r} is not one of {', '.join(names)}{nearest(str(length), names)}")
    return Length(length)


def _words(preset: Preset) -> Iterator[tuple[str, str]]:
    protocol, training = preset.protocol, preset.training
    recipe = training.recipe
    network = f"resnet-{training.depth} v2 up to 64 pixels" if training.network is None else training.network
    yield "network", network
    yield "length", _amount(training)
    yield "same for every size", str(protocol.length)
    yield "batch", f"{training.batch:,} images"
    yield "optimiser", "SGD"
    yield "momentum", f"{training.momentum:g}" + (", Nesterov's" if recipe.nesterov else "")
    yield "weight decay", f"{training.weight_decay:g}" + ("" if recipe.bias_decay else ", none of biases")
    yield (
        "rate",
        f"{training.rate:g}" + ("" if recipe.bias_rate == 1 else f", biases {recipe.bias_rate:g} times that"),
    )
    yield "schedule", _schedule(recipe)
    if recipe.schedule is Schedule.DROPS:
        yield "drop factor", f"{recipe.drop_factor:g}"
    yield "warm-up", _warm_up(training)
    yield "label smoothing", f"{recipe.smoothing:g}"
    yield "class weights", "n / (C · n_c), of the subset's own counts" if recipe.class_weights else "none"
    yield "crops", _crops(recipe)
    yield "smaller images", _smaller(recipe)
    yield "mirrored in training", FLIPS[recipe.flip]
    yield "normalised by", STATISTICS[recipe.statistics]
    yield (
        "tested on",
        "each test image and its mirror image" if protocol.mirrored else "each test image as it is",
    )
    yield "evaluations", f"{protocol.evaluations}"
    yield (
        "headline",
        "best test accuracy over the evaluations (optimistic)" if preset.best else "final test accuracy",
    )
    yield "precision", PRECISIONS[Precision(training.precision)]
    yield "trials", f"{preset.trials}"
    where = "class by class" if preset.within == "class" else "over everything together"
    yield "selection", where
    yield "random arm", f"drawn {where}" if preset.within == "class" else "drawn from all images"


FLIPS = {
    Flip.RANDOM: "each image every second time on average",
    Flip.ALTERNATE: "each image in every second epoch",
    Flip.NONE: "none",
}
STATISTICS = {
    Statistics.DATA: "mean and deviation of the images trained on",
    Statistics.IMAGENET: "ImageNet's mean and deviation",
}
PRECISIONS = {
    Precision.AUTO: "the fastest on the machine, measured",
    Precision.FLOAT32: "float32",
    Precision.BFLOAT16: "bfloat16, weights in float32",
}


def _amount(training: Supervised) -> str:
    return (
        f"{training.steps:,} steps"
        if training.steps is not None
        else f"{training.epochs} epochs of the full set"
    )


def _schedule(recipe: Recipe) -> str:
    if recipe.schedule is Schedule.DROPS:
        places = " and ".join(f"{100 * drop:g}%" for drop in recipe.drops)
        return f"constant, drops at {places} of the length"
    return "half a cosine to 0" if recipe.schedule is Schedule.COSINE else "a straight line to 0"


def _warm_up(training: Supervised) -> str:
    share = training.recipe.warm_up
    if share == 0:
        return "none"
    if training.steps is None:
        return f"from 0 over {100 * share:g}% of the steps"
    return f"from 0 over {round(share * training.steps):,} steps"


def _crops(recipe: Recipe) -> str:
    if recipe.pad == 0:
        return "none up to 64 pixels"
    reach = "an eighth of the side" if recipe.pad is None else f"{recipe.pad} pixels"
    return f"up to 64 pixels {reach} over the edge, mirrored there"


def _smaller(recipe: Recipe) -> str:
    if recipe.small_steps == 0:
        return "none"
    return (
        f"{recipe.small_side:g} of height and width in the first {100 * recipe.small_steps:g}% of the steps"
    )


_NOT_CONFIRMED = dict.fromkeys(
    ("batch", "optimiser", "momentum", "weight decay", "rate", "schedule", "same for every size"),
    Origin.UNCONFIRMED,
)
_OF_THE_ARTICLE = dict.fromkeys(
    (
        "network",
        "length",
        "same for every size",
        "batch",
        "optimiser",
        "schedule",
        "class weights",
        "mirrored in training",
        "normalised by",
        "headline",
        "selection",
        "random arm",
    ),
    Origin.ARTICLE,
)
_LEFT_OPEN = dict.fromkeys(
    ("momentum", "weight decay", "rate", "drop factor", "warm-up", "crops"), Origin.OPEN
)

PAPER_CIFAR = Preset(
    name="paper-cifar",
    about="the paper's CIFAR experiments, for a GPU",
    protocol=Protocol(Supervised(depth=32, steps=100_000, rate=0.1)),
    trials=10,
    within="class",
    best=False,
    origins={
        **_NOT_CONFIRMED,
        "warm-up": Origin.UNCONFIRMED,
        **dict.fromkeys(("network", "length", "trials", "selection"), Origin.PAPER),
    },
)
PAPER_IMAGENET = Preset(
    name="paper-imagenet",
    about="the paper's ImageNet experiments, for several GPUs; tested on the validation images",
    protocol=Protocol(
        Supervised(
            network="resnetv2_101",
            steps=120_000,
            batch=1024,
            rate=0.4,
            recipe=Recipe(warm_up=5_000 / 120_000, nesterov=True),
        )
    ),
    trials=5,
    within="class",
    best=False,
    origins={
        **_NOT_CONFIRMED,
        **dict.fromkeys(("length", "trials"), Origin.UNCONFIRMED),
        **dict.fromkeys(("network", "warm-up", "selection"), Origin.PAPER),
    },
)
ARTICLE_FASHION = Preset(
    name="article-fashion",
    about="the article's Fashion-MNIST experiment (it says 50,000 training images; torchvision's set has 60,000)",
    protocol=Protocol(
        Supervised(
            network="resnet34",
            epochs=100,
            rate=0.1,
            weight_decay=1e-4,
            recipe=Recipe(
                schedule=Schedule.DROPS,
                warm_up=0.0,
                drops=(0.6, 0.8),
                drop_factor=0.1,
                class_weights=True,
                pad=0,
                statistics=Statistics.IMAGENET,
            ),
        ),
        length=Length.EPOCHS,
        evaluations=100,
    ),
    trials=5,
    within="all",
    best=True,
    origins={**_OF_THE_ARTICLE, **_LEFT_OPEN},
)
_FAST = Supervised(
    network="fast",
    epochs=18,
    batch=256,
    rate=0.375,
    momentum=0.85,
    weight_decay=1.3e-3,
    recipe=Recipe(
        schedule=Schedule.LINEAR,
        warm_up=0.23,
        nesterov=True,
        bias_rate=64.0,
        bias_decay=False,
        smoothing=0.1,
        pad=4,
        flip=Flip.ALTERNATE,
        small_steps=0.6,
        small_side=0.75,
    ),
)
FAST = Preset(
    name="fast",
    about="images of 32 pixels on a processor, where 100,000 steps are out of reach",
    protocol=Protocol(_FAST, evaluations=4, mirrored=True),
    trials=10,
    within="class",
    best=False,
    origins={},
)
_BRIEF = replace(_FAST, network="fast-narrow", epochs=5, recipe=replace(_FAST.recipe, pad=2))
QUICK = replace(
    FAST,
    name="quick",
    about="as fast, with a narrower network, fewer epochs and smaller shifts: for many trainings on a processor, at "
    "lower accuracy",
    protocol=replace(FAST.protocol, training=_BRIEF),
)
DIGITS = Preset(
    name="digits",
    about="the bundled digits of 8 × 8 pixels, in seconds",
    protocol=Protocol(
        Supervised(depth=8, steps=200, batch=64, precision=Precision.FLOAT32, recipe=Recipe(flip=Flip.NONE)),
        evaluations=5,
    ),
    trials=10,
    within="class",
    best=False,
    origins={},
)

PRESETS = {known.name: known for known in (PAPER_CIFAR, PAPER_IMAGENET, ARTICLE_FASHION, FAST, QUICK, DIGITS)}
