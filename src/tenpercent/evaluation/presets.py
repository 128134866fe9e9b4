"""Settings that all training runs of an experiment share, and presets of them; nothing here imports torch."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Any, Self

from ..data.store.files import fingerprint
from ..embedding.recipe import Flip, Recipe, Schedule, Statistics
from ..embedding.settings import FAST_WIDTHS, Precision, Supervised, Timm, batch_of
from ..errors import UsageError, nearest

# Settings in which training runs of one protocol may differ; weights are identified by the hash of their file.
APART = ("seed", "devices", "weights")


class SharedLength(StrEnum):
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
    length: SharedLength = SharedLength.STEPS
    evaluations: int = 20
    mirrored: bool = False

    def __post_init__(self) -> None:
        names = [str(known) for known in SharedLength]
        if self.length not in names:
            raise UsageError(
                f"length {self.length!r} is not one of {', '.join(names)}{nearest(str(self.length), names)}"
            )
        object.__setattr__(self, "length", SharedLength(self.length))
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
        length: SharedLength | str | None = None,
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
        new_length: Any = self.length if length is None else length
        return replace(self, training=replace(self.training, **changed), length=new_length)

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


class ValueSource(StrEnum):
    """The source of a setting's value."""

    PAPER = "the paper"
    UNCONFIRMED = "arXiv 1901.11409, not confirmed"
    ARTICLE = "the article"
    OPEN = "ours: open in the article"
    OURS = "ours"


@dataclass(frozen=True)
class Preset:
    """A protocol with a name, from ``presets.toml``.

    Attributes:
        name: for ``--preset``.
        about: its purpose, in a sentence.
        protocol: its settings; all presets train from scratch.
        trials: training runs of each arm and fraction.
        within: ``class`` or ``all``: the images among which the selection groups and the random arm draws.
        best: take the best accuracy over the evaluations as the headline, not the final one.
        sources: sources of the values that are not ours, by their names in `settings_of`.
    """

    name: str
    about: str
    protocol: Protocol
    trials: int
    within: str
    best: bool
    sources: dict[str, ValueSource]

    @classmethod
    def of(cls, name: str, table: dict[str, Any]) -> Self:
        """Return the preset that a table of ``presets.toml`` describes."""
        protocol = {**table["protocol"], "training": Supervised.from_json(table["protocol"]["training"])}
        named = {
            setting: ValueSource(source)
            for source, names in table.get("sources", {}).items()
            for setting in names
        }
        return cls(
            name,
            table["about"],
            Protocol(**protocol),
            table["trials"],
            table["within"],
            table.get("best", False),
            named,
        )

    @property
    def training(self) -> Supervised:
        """Training settings."""
        assert isinstance(self.protocol.training, Supervised)
        return self.protocol.training


def preset(name: str) -> Preset:
    """Return the preset of that name.

    Raises:
        UsageError: there is none; the message offers the nearest.
    """
    if name not in PRESETS:
        raise UsageError(
            f"preset {name!r} is not one of {', '.join(PRESETS)}{nearest(name, PRESETS)}; "
            "tenpercent presets lists their settings"
        )
    return PRESETS[name]


def describe_presets() -> str:
    """Return all presets as tables: each setting, its value, and the source of the value."""
    blocks = []
    for known in PRESETS.values():
        rows = list(settings_of(known))
        first, second = (max(len(row[column]) for row in rows) for column in range(2))
        lines = [f"  {name:{first}}  {value:{second}}  {source}" for name, value, source in rows]
        blocks.append("\n".join([f"{known.name}: {known.about}", "", *lines]))
    return "\n\n".join(blocks)


def settings_of(preset: Preset) -> Iterator[tuple[str, str, ValueSource]]:
    """Yield name, value in words and source of each setting of a preset, made from the settings themselves."""
    protocol, training, recipe = preset.protocol, preset.training, preset.training.recipe
    where = "class by class" if preset.within == "class" else "over all images together"
    values = {
        "network": training.network or f"resnet-{training.depth} v2 up to 64 pixels",
        "length": f"{training.epochs} epochs of the full set"
        if training.steps is None
        else f"{training.steps:,} steps",
        "same for every size": str(protocol.length),
        "batch": f"{batch_of(training):,} images",
        "optimiser": "SGD",
        "momentum": f"{training.momentum:g}" + (", Nesterov" if recipe.nesterov else ""),
        "weight decay": f"{training.weight_decay:g}" + ("" if recipe.bias_decay else ", none for biases"),
        "rate": f"{training.rate:g}"
        + ("" if recipe.bias_rate == 1 else f", biases {recipe.bias_rate:g} times that"),
        "schedule": _schedule(recipe),
        **({"drop factor": f"{recipe.drop_factor:g}"} if recipe.schedule is Schedule.DROPS else {}),
        "warm-up": _warm_up(training),
        "label smoothing": f"{recipe.smoothing:g}",
        "class weights": "n / (C · n_c), from the subset's own counts" if recipe.class_weights else "none",
        "crops": _crops(recipe),
        "smaller images": _smaller(recipe),
        "mirrored in training": FLIPS[recipe.flip],
        "normalised by": STATISTICS[recipe.statistics],
        "tested on": "each test image" + (" and its mirror image" if protocol.mirrored else ""),
        "evaluations": f"{protocol.evaluations}",
        "headline": "best test accuracy over the evaluations (optimistic)"
        if preset.best
        else "final test accuracy",
        "precision": PRECISIONS[Precision(training.precision)],
        "trials": f"{preset.trials}",
        "selection": where,
        "random arm": f"drawn {where}" if preset.within == "class" else "drawn from all images",
    }
    for name, value in values.items():
        yield name, value, preset.sources.get(name, ValueSource.OURS)


FLIPS = {
    Flip.RANDOM: "each image with probability 1/2 in each epoch",
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


def _schedule(recipe: Recipe) -> str:
    if recipe.schedule is Schedule.DROPS:
        places = " and ".join(f"{100 * drop:g}%" for drop in recipe.drops)
        return f"constant, drops at {places} of the length"
    return "half a cosine to 0" if recipe.schedule is Schedule.COSINE else "linear to 0"


def _warm_up(training: Supervised) -> str:
    share = training.recipe.warm_up
    if share == 0:
        return "none"
    over = f"{100 * share:g}% of the" if training.steps is None else f"{round(share * training.steps):,}"
    return f"from 0 over {over} steps"


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


PRESETS = {
    name: Preset.of(name, table)
    for name, table in tomllib.loads(Path(__file__).with_name("presets.toml").read_text("utf-8")).items()
}
