"""Names of the strategies, with what each needs and guarantees; a caller's choice is checked here, once."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from ...errors import UsageError, nearest


class Strategy(StrEnum):
    """A way to choose images; docs/strategies.md compares them."""

    SEMANTIC = "semantic"
    RANDOM = "random"
    KCENTER = "kcenter"
    GRAPH_REMOVE = "graph-remove"
    GRAPH_ADD = "graph-add"
    SEMDEDUP = "semdedup"
    CCS = "ccs"
    SPREAD = "spread"
    MIXED = "mixed"


DRAWS = frozenset({Strategy.RANDOM, Strategy.SEMDEDUP, Strategy.CCS, Strategy.SPREAD, Strategy.MIXED})
REMOVED = ("el2n", "forgetting")  # strategies of earlier versions; their results are still read and shown
STOPS_AT_THRESHOLD = frozenset({Strategy.SEMANTIC, Strategy.KCENTER, Strategy.GRAPH_REMOVE})
# The value that may follow the name after a colon: its name and range.
VALUES = {
    Strategy.SEMDEDUP: ("a whole number of clusters", 1.0, float(2**31)),
    Strategy.CCS: ("the share of the hardest that goes first", 0.0, 1.0),
    Strategy.MIXED: ("the power of a group's size", 0.0, 1.0),
}
GUARANTEES = {
    Strategy.SEMANTIC: "no two images of a group are farther apart than the height of the cut",
    Strategy.RANDOM: "none on dissimilarities; every image of a class is as likely to stay as any other",
    Strategy.KCENTER: "no removed image is farther than the radius from a kept one, and no choice of as many images "
    "has a radius below a quarter of it",
    Strategy.GRAPH_REMOVE: "no two kept images are nearer to each other than the last pair one was dropped of",
    Strategy.GRAPH_ADD: "the sum of 1 + cosine to the nearest kept image is at least 63% of the best possible",
    Strategy.SEMDEDUP: "none on dissimilarities; images of different clusters are never compared",
    Strategy.CCS: "none on dissimilarities; strata of the score get equal shares as far as they have images",
    Strategy.SPREAD: "of each group of the tree, keep times its size stay, rounded down or up",
    Strategy.MIXED: "none on dissimilarities; an image stays with a probability that falls with its group's size",
}


@dataclass(frozen=True)
class CheckedStrategy:
    """A strategy and the value that follows its name.

    Attributes:
        name: the strategy.
        value: for those that take one; None for the strategy's default.
    """

    name: Strategy
    value: float | None = None

    @classmethod
    def of(cls, strategy: object) -> CheckedStrategy:
        """Check what a caller gave: a name, or a name with a value, ``"mixed:0.3"``.

        Raises:
            UsageError: no such strategy, one that takes no value, or a value out of its range.
        """
        if isinstance(strategy, CheckedStrategy):
            return strategy
        name, colon, text = str(strategy).partition(":")
        known = [str(member) for member in Strategy]
        if name in REMOVED:
            raise UsageError(
                f"strategy {name} was removed; evaluate your own list of images with --arms {name}=FILE, or select by "
                "your own scores with --strategy ccs --scores FILE"
            )
        if name not in known:
            raise UsageError(
                f"strategy is {strategy!r}; it must be one of {', '.join(known)}{nearest(name, known)}"
            )
        chosen = Strategy(name)
        return cls(chosen, _checked_value(chosen, text) if colon else None)

    @property
    def draws(self) -> bool:
        """True where the strategy draws at random, so that a seed matters."""
        return self.name in DRAWS

    @property
    def guarantee(self) -> str:
        """Guarantee of its selections, in words."""
        return GUARANTEES[self.name]

    def __str__(self) -> str:
        return str(self.name) if self.value is None else f"{self.name}:{self.value:g}"


def _checked_value(strategy: Strategy, text: str) -> float:
    if strategy not in VALUES:
        takers = ", ".join(VALUES)
        raise UsageError(
            f"strategy {strategy} takes no value, but {text!r} is given; those that do: {takers}"
        )
    what, low, high = VALUES[strategy]
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not low <= value <= high or (strategy is Strategy.SEMDEDUP and value != int(value)):
        raise UsageError(
            f"strategy {strategy} has the value {text[:40]!r}; it must be {what}, from {low:,.0f} to {high:,.0f}"
        )
    return value
