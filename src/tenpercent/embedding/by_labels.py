"""Settings of a training run whose kind, supervised or not, depends on the labels of the source."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from ..errors import UsageError
from .hub import hub_file
from .settings import KINDS, SelfSupervised, Settings, Supervised, Timm, batch_of

RATE = 0.003  # the highest of training on from pretrained weights without labels


@dataclass(frozen=True)
class ByLabels:
    """Settings of a training run whose kind the source decides: on its labels, or without them where it has none.

    Attributes:
        given: settings by name, each valid for at least one of the two kinds.
    """

    given: tuple[tuple[str, Any], ...]

    def __post_init__(self) -> None:
        kinds = [kind for kind in (Supervised, SelfSupervised) if self._foreign(kind) is None]
        if not kinds:
            raise no_meaning(self._foreign(Supervised) or "", "supervised")
        for kind in kinds:
            kind(**dict(self.given))  # checks the values before a source is opened

    def settled(self, labelled: bool, source: str) -> Supervised | SelfSupervised:
        """Return the settings for a source.

        Args:
            labelled: whether it has labels.
            source: its name, for the error.

        Raises:
            UsageError: one of the settings does not apply to the kind.
        """
        kind = Supervised if labelled else SelfSupervised
        if flag := self._foreign(kind):
            why = f", the default for {source}, which has {'' if labelled else 'no '}labels"
            raise no_meaning(flag, kind.__name__.lower(), why)
        return kind(**dict(self.given))

    def describe(self, settled: Supervised | SelfSupervised) -> str:
        """Return in words that these settings train a network where none would be trained without them."""
        flags = ", ".join(f"--{name}" for name, _ in self.given)
        name, how = (
            ("supervised", "on the labels")
            if isinstance(settled, Supervised)
            else ("selfsupervised", "without labels")
        )
        return (
            f"{flags}: a network is trained from scratch, {how} (--embedder {name}); for the pretrained network, the "
            "default here, leave this out, or add --finetune to train that one further"
        )

    def _foreign(self, kind: type[Settings]) -> str | None:
        """Return the first setting that a kind does not have."""
        names = {one.name for one in fields(kind)}
        return next((name for name, _ in self.given if name not in names), None)


def fine_tuned(asked: Timm, labelled: bool) -> Timm | SelfSupervised:
    """Return the settings that train a model on from its weights: on labels, or without where there are none.

    Args:
        asked: with `finetune`.
        labelled: whether they have labels.

    Raises:
        UsageError: `dim` with labels; or the weights are neither here nor to be had.
    """
    if labelled:
        if asked.dim is not None:
            raise no_meaning("dim", "timm", " with labels to train on")
        return asked
    names = {field.name for field in fields(Timm)} & {field.name for field in fields(SelfSupervised)}
    shared = {name: getattr(asked, name) for name in names}
    if asked.weights is None and (file := hub_file(asked.name)) is None:
        raise UsageError(
            f"the weights of {asked.name} are not on the hub; name a local file with --weights FILE"
        )
    return SelfSupervised(
        network=asked.name,
        **{
            **shared,
            "weights": asked.weights or file,
            "batch": batch_of(asked),
            "rate": RATE if asked.rate == Timm.rate else asked.rate,
            "dim": asked.dim or SelfSupervised.dim,
        },
    )


def no_meaning(flag: str, kind: str, why: str = "") -> UsageError:
    """Return the error for a setting that does not apply to a kind of embedder; the remedy names one that has it."""
    other = next(name for name, known in KINDS.items() if flag in {one.name for one in fields(known)})
    return UsageError(
        f"--{flag} does not apply to --embedder {kind}{why}; leave it out, or use --embedder "
        f"{'timm:NAME' if other == 'timm' else other}"
    )
