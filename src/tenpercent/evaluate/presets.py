"""How trainings are done that are to be compared: everything but the images and the seed; and settings by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Self

from ..embed.recipe import Flip, Recipe, Schedule, Statistics
from ..embed.settings import Supervised
from ..errors import UsageError, nearest
from ..store.files import fingerprint

EVALUATIONS = 20  # looks at the test set during a training: enough for a curve, and cheap


class Length(StrEnum):
    """What is the same for subsets of every size."""

    STEPS = "steps"  # as many batches as the full set gets (the paper)
    EPOCHS = "epochs"  # as many passes over the images (the article)


@dataclass(frozen=True)
class Protocol:
    """Everything that the trainings of an experiment share.

    Attributes:
        settings: network, length on the full set, batch, rates and recipe; its seed is not used.
        length: what a smaller set keeps of the full set's length.
        evaluations: how often the test set is looked at, evenly spread, the end included.
        mirrored: whether a test image is also shown mirrored, and the mean of both logits taken.
    """

    settings: Supervised
    length: Length = Length.STEPS
    evaluations: int = EVALUATIONS
    mirrored: bool = False

    def __post_init__(self) -> None:
        known = [str(length) for length in Length]
        if self.length not in known:
            raise UsageError(f"--length is {self.length!r}; it must be {' or '.join(known)}")
        object.__setattr__(self, "length", Length(self.length))
        if not (isinstance(self.evaluations, int) and self.evaluations >= 1):
            raise UsageError(f"evaluations is {self.evaluations!r}; it must be a whole number from 1 on")
        object.__setattr__(self, "settings", replace(self.settings, seed=0))

    def as_json(self) -> dict[str, Any]:
        """Return what results are kept with; `from_json` takes it back."""
        settings = {
            key: value for key, value in self.settings.as_json().items() if key not in ("seed", "devices")
        }
        return {
            "settings": settings,
            "length": str(self.length),
            "evaluations": self.evaluations,
            "mirrored": self.mirrored,
        }

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> Self:
        """Return the protocol that `as_json` gave."""
        return cls(**{**content, "settings": Supervised.from_json(content["settings"])})

    @property
    def fingerprint(self) -> str:
        """What results of the same protocol have in common."""
        return fingerprint(self.as_json())

    def but(self, **given: Any) -> Protocol:
        """Return the protocol with some values changed, those that are not None.

        Args:
            given: attributes of `Protocol` or of its settings; `steps` and `epochs` exclude each other.
        """
        changed = {name: value for name, value in given.items() if value is not None}
        if "steps" in changed and "epochs" in changed:
            raise UsageError(
                f"--steps {changed['steps']} and --epochs {changed['epochs']} are two lengths; give one of them"
            )
        own = {name: changed.pop(name) for name in ("length", "evaluations", "mirrored") if name in changed}
        if "steps" in changed or "epochs" in changed:
            changed = {"steps": None, "epochs": None, **changed}
        return replace(self, settings=replace(self.settings, **changed), **own)


@dataclass(frozen=True)
class Line:
    """A setting of a preset, and where it comes from."""

    setting: str
    value: str
    source: str


@dataclass(frozen=True)
class Preset:
    """Settings by name.

    Attributes:
        name: what it is called.
        what: one line about it.
        protocol: how it trains.
        trials: how many trainings of each arm and fraction.
        lines: each setting with its source.
        notes: what else there is to know.
    """

    name: str
    what: str
    protocol: Protocol
    trials: int
    lines: tuple[Line, ...]
    notes: tuple[str, ...] = ()


PAPER, UNCONFIRMED = "the paper", "arXiv 1901.11409, not confirmed"
ARTICLE, OPEN, OURS = "the article", "ours; open in the article", "ours"


def _paper_cifar() -> Preset:
    settings = Supervised(depth=32, steps=100_000, batch=128, rate=0.1, momentum=0.9, weight_decay=1e-4)
    return Preset(
        "paper-cifar",
        "the paper's protocol for CIFAR-10 and CIFAR-100",
        Protocol(settings, Length.STEPS),
        trials=10,
        lines=(
            Line("network", "ResNet-32, pre-activation", PAPER),
            Line("length", "100,000 steps for every size", PAPER),
            Line("trials", "10", PAPER),
            Line("batch", "128", UNCONFIRMED),
            Line("rate", "0.1, cosine to 0", UNCONFIRMED),
            Line("warm-up", "2,500 steps", UNCONFIRMED),
            Line("momentum", "0.9", UNCONFIRMED),
            Line("weight decay", "1e-4", UNCONFIRMED),
            Line("augmentation", "crops reaching 4 pixels over the edge, flips", OURS),
        ),
    )


def _paper_imagenet() -> Preset:
    recipe = Recipe(warm_up=5_000 / 120_000, nesterov=True)
    settings = Supervised(
        "resnetv2_101", steps=120_000, batch=1024, rate=0.4, momentum=0.9, weight_decay=1e-4, recipe=recipe
    )
    return Preset(
        "paper-imagenet",
        "the paper's protocol for ImageNet; several GPUs",
        Protocol(settings, Length.STEPS),
        trials=5,
        lines=(
            Line("network", "ResNet-101, pre-activation, 2,048 values", PAPER),
            Line("warm-up", "from 0 over 5,000 steps", PAPER),
            Line("length", "120,000 steps for every size", UNCONFIRMED),
            Line("trials", "5", UNCONFIRMED),
            Line("batch", "1,024", UNCONFIRMED),
            Line("rate", "0.4, cosine to 0", UNCONFIRMED),
            Line("momentum", "0.9, Nesterov", UNCONFIRMED),
            Line("weight decay", "1e-4", UNCONFIRMED),
            Line("augmentation", "random crops of 224 from 256 pixels, flips", OURS),
        ),
        notes=("The labels of ImageNet's test set are not public: accuracy is that of the validation set.",),
    )


def _article_fashion() -> Preset:
    recipe = Recipe(
        schedule=Schedule.DROPS,
        warm_up=0.0,
        drops=(0.6, 0.8),
        drop_factor=0.1,
        class_weights=True,
        pad=0,
        statistics=Statistics.IMAGENET,
    )
    settings = Supervised(
        "resnet34", epochs=100, batch=128, rate=0.1, momentum=0.9, weight_decay=1e-4, recipe=recipe
    )
    return Preset(
        "article-fashion",
        "the article's protocol for Fashion-MNIST",
        Protocol(settings, Length.EPOCHS, evaluations=100),
        trials=1,
        lines=(
            Line("network", "ResNet-34 from scratch", ARTICLE),
            Line("length", "100 epochs for every size", ARTICLE),
            Line("batch", "128, SGD", ARTICLE),
            Line("schedule", "the rate drops at epochs 60 and 80", ARTICLE),
            Line("images", "grey to RGB, normalised by ImageNet's mean and deviation", ARTICLE),
            Line("augmentation", "flips, in training only", ARTICLE),
            Line("loss", "cross-entropy, class weights n / (C · n_c) of the subset itself", ARTICLE),
            Line("trials", "1", ARTICLE),
            Line("selection", "over everything together: run … --within all", ARTICLE),
            Line("rate", "0.1, divided by 10 at each drop", OPEN),
            Line("momentum, decay", "0.9, 1e-4", OPEN),
        ),
        notes=(
            "The article's headline is the best test accuracy over the epochs, which is optimistic; the final one is "
            "shown beside it.",
            "With --within all the random arm is drawn over all images, as the article draws it.",
            "Torchvision's Fashion-MNIST has 60,000 training images; the article says 50,000.",
        ),
    )


def _fast() -> Preset:
    recipe = Recipe(
        schedule=Schedule.LINEAR,
        warm_up=0.23,
        nesterov=True,
        bias_rate=64.0,
        bias_decay=False,
        smoothing=0.2,
        pad=2,
        flip=Flip.ALTERNATE,
    )
    settings = Supervised(
        "fast", epochs=10, batch=512, rate=1.5, momentum=0.85, weight_decay=1.33e-3, recipe=recipe
    )
    return Preset(
        "fast",
        "small images on a processor: learns in few passes",
        Protocol(settings, Length.STEPS, mirrored=True),
        trials=3,
        lines=(
            Line("network", "whitening, three groups of two convolutions, widths 32-128-128", OURS),
            Line("length", "10 epochs of the full set, the same steps for every size", OURS),
            Line(
                "batch, rate",
                "512, 1.5, up over 23% of the steps and down to 0 in a line",
                "arXiv 2404.00498, changed",
            ),
            Line("momentum", "0.85, Nesterov", "arXiv 2404.00498"),
            Line("biases", "64 times the rate, no decay", "arXiv 2404.00498, changed"),
            Line("smoothing", "0.2", "arXiv 2404.00498"),
            Line(
                "augmentation",
                "crops reaching 2 pixels over the edge; each image mirrored every other epoch",
                "arXiv 2404.00498",
            ),
            Line("test", "mean of the image's and its mirror image's logits", "arXiv 2404.00498"),
        ),
    )


def _digits() -> Preset:
    settings = Supervised(
        depth=8, epochs=12, batch=64, rate=0.1, precision="float32", recipe=Recipe(flip=Flip.NONE, pad=1)
    )
    return Preset(
        "digits",
        "the bundled digits, in seconds",
        Protocol(settings, Length.STEPS, evaluations=6),
        trials=10,
        lines=(
            Line("network", "ResNet-8, pre-activation", OURS),
            Line("length", "12 epochs of the full set, the same steps for every size", OURS),
            Line("batch, rate", "64, 0.1", OURS),
            Line(
                "augmentation",
                "crops reaching 1 pixel over the edge; no flips: a mirrored digit is none",
                OURS,
            ),
            Line("trials", "10", OURS),
        ),
    )


_MAKERS: dict[str, Callable[[], Preset]] = {
    "paper-cifar": _paper_cifar,
    "paper-imagenet": _paper_imagenet,
    "article-fashion": _article_fashion,
    "fast": _fast,
    "digits": _digits,
}


def preset(name: str) -> Preset:
    """Return a preset.

    Raises:
        UsageError: there is none of that name; the nearest are offered.
    """
    if name not in _MAKERS:
        raise UsageError(f"--preset is {name!r}; known are {', '.join(_MAKERS)}{nearest(name, _MAKERS)}")
    return _MAKERS[name]()


def describe_presets() -> str:
    """Return all presets for a person to read: each setting with its source."""
    parts = []
    for name in _MAKERS:
        found = preset(name)
        width = max(len(line.setting) for line in found.lines)
        wide = max(len(line.value) for line in found.lines)
        lines = [f"{name}: {found.what}"]
        lines += [f"  {line.setting:<{width}}  {line.value:<{wide}}  {line.source}" for line in found.lines]
        parts.append("\n".join([*lines, *(f"  {note}" for note in found.notes)]))
    return "\n\n".join(parts)
