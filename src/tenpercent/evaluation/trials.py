"""Trials of an experiment: arm × fraction × trial, each with a seed of its own."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from ..errors import UsageError

FULL, RANDOM, SEMANTIC = "full", "random", "semantic"
WHOLE = 1.0  # the fraction of the arm `full`


@dataclass(frozen=True, order=True)
class Trial:
    """One training run from scratch.

    Attributes:
        trial: its number, from 0.
        embedding: the embedding that the images were chosen by, 0 for the run's own.
        layer: the layer of it.
        fraction: of the images, in (0, 1]; 1 for the arm ``full``.
        arm: how the images are chosen.
    """

    trial: int
    embedding: int
    layer: str
    fraction: float
    arm: str

    @property
    def name(self) -> str:
        """File name, different for different trials."""
        code = hashlib.blake2b(self.arm.encode(), digest_size=4).hexdigest()
        plain = "".join(letter if letter.isalnum() or letter in "-_" else "_" for letter in self.arm)[:40]
        arm = plain if plain == self.arm else f"{plain}-{code}"
        chosen = "" if self.arm in (FULL, RANDOM) else f"-{self.layer}-{self.embedding}"
        return f"{arm}{chosen}-{self.fraction!r}-{self.trial:03d}"

    def seed(self, run: str) -> int:
        """Return the seed of weights, batches and draws, made from run, arm, fraction and trial, in [0, 2³¹).

        Args:
            run: the fingerprint of the images.
        """
        text = f"{run} {self.arm} {self.layer} {self.embedding} {self.fraction!r} {self.trial}"
        return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=4).digest(), "little") >> 1

    def __str__(self) -> str:
        where = "" if self.arm == FULL else f" {100 * self.fraction:.4g}%"
        return f"{self.arm}{where}, trial {self.trial + 1}"


@dataclass(frozen=True)
class Plan:
    """The trials of an experiment.

    Attributes:
        arms: ``full``, ``random``, ``semantic`` or another strategy, each once.
        fractions: in (0, 1), each once; ``full`` takes none of them, ``random`` those of the lists as well.
        trials: how many of each.
        layers: layers whose vectors the images are chosen by; ``full`` and ``random`` use none.
        embeddings: number of embeddings they are chosen by.
        lists: arms that are lists of images, with their fractions.
    """

    arms: tuple[str, ...]
    fractions: tuple[float, ...]
    trials: int
    layers: tuple[str, ...] = ("end",)
    embeddings: int = 1
    lists: tuple[tuple[str, float], ...] = ()

    def __post_init__(self) -> None:
        _check_once("--arms", [*self.arms, *(name for name, _ in self.lists)])
        _check_once("--keep", self.fractions)
        _check_once("--layer", self.layers)
        for fraction in self.fractions:
            if not (isinstance(fraction, int | float) and 0 < fraction < 1):
                raise UsageError(
                    f"--keep is {fraction}; it must be above 0 and below 1: all images are the arm full"
                )
        for name, count in (("--trials", self.trials), ("--embeddings", self.embeddings)):
            if not (isinstance(count, int) and count >= 1):
                raise UsageError(f"{name} is {count}; it must be a whole number from 1 on")
        object.__setattr__(self, "fractions", tuple(float(fraction) for fraction in self.fractions))
        if not self.fractions and set(self.arms) - ({FULL, RANDOM} if self.lists else {FULL}):
            raise UsageError("no fraction to evaluate at; give some: --keep 0.9 0.8")
        if not self.arms and not self.lists:
            raise UsageError("no arms to compare; give some: --arms full random semantic")

    def all(self) -> list[Trial]:
        """Return all trials, the most useful first: one of everything, then the next of each.

        So the results of an interrupted experiment can be compared.
        """
        found = []
        for trial in range(self.trials):
            if FULL in self.arms:
                found.append(Trial(trial, 0, "end", WHOLE, FULL))
            found += [Trial(trial, 0, "end", fraction, name) for name, fraction in self.lists]
            if RANDOM in self.arms:  # a rival of their own size
                sizes = dict.fromkeys(fraction for _, fraction in self.lists)
                beside = [
                    fraction for fraction in sizes if fraction < WHOLE and fraction not in self.fractions
                ]
                found += [Trial(trial, 0, "end", fraction, RANDOM) for fraction in beside]
            for fraction in self.fractions:
                for arm in self.arms:
                    if arm == RANDOM:
                        found.append(Trial(trial, 0, "end", fraction, arm))
                    elif arm != FULL:
                        found += [
                            Trial(trial, embedding, layer, fraction, arm)
                            for embedding in range(self.embeddings)
                            for layer in self.layers
                        ]
        return found


def _check_once(flag: str, values: Sequence[object]) -> None:
    for value in values:
        if values.count(value) > 1:
            raise UsageError(f"{flag} names {value} twice; name each once")
