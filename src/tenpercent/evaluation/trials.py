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


def plan_trials(
    arms: Sequence[str],
    fractions: Sequence[float],
    trials: int,
    layers: Sequence[str] = ("end",),
    embeddings: int = 1,
    lists: Sequence[tuple[str, float]] = (),
) -> list[Trial]:
    """Return the trials of an experiment, the most useful first: one of everything, then the next of each.

    So the results of an interrupted experiment can be compared.

    Args:
        arms: ``full``, ``random``, ``semantic`` or another strategy, each once.
        fractions: in (0, 1), each once; ``full`` takes none of them, ``random`` those of the lists as well.
        trials: how many of each.
        layers: layers whose vectors the images are chosen by; ``full`` and ``random`` use none.
        embeddings: number of embeddings they are chosen by.
        lists: arms that are lists of images, with their fractions.

    Raises:
        UsageError: a value is out of its range or there twice, or there is nothing to compare.
    """
    _check_once("--arms", [*arms, *(name for name, _ in lists)])
    _check_once("--keep", fractions)
    _check_once("--layer", layers)
    for fraction in fractions:
        if not (isinstance(fraction, int | float) and 0 < fraction < 1):
            raise UsageError(
                f"--keep is {fraction}; it must be above 0 and below 1 (the arm full trains on all images)"
            )
    for name, count in (("--trials", trials), ("--embeddings", embeddings)):
        if not (isinstance(count, int) and count >= 1):
            raise UsageError(f"{name} is {count}; it must be a whole number of at least 1")
    if not fractions and set(arms) - ({FULL, RANDOM} if lists else {FULL}):
        raise UsageError("no fraction to evaluate; give at least one, e.g. --keep 0.9 0.8")
    if not arms and not lists:
        raise UsageError("no arms to compare; give some, e.g. --arms full random semantic")
    chosen = [(embedding, layer) for embedding in range(embeddings) for layer in layers]
    each: list[tuple[int, str, float, str]] = [(0, "end", WHOLE, FULL)] if FULL in arms else []
    each += [(0, "end", fraction, name) for name, fraction in lists]
    if RANDOM in arms:  # random draws of the size of each list
        sizes = dict.fromkeys(fraction for _, fraction in lists if fraction < WHOLE)
        each += [(0, "end", fraction, RANDOM) for fraction in sizes if fraction not in fractions]
    for fraction in fractions:
        for arm in arms:
            if arm != FULL:
                origins = [(0, "end")] if arm == RANDOM else chosen
                each += [(embedding, layer, float(fraction), arm) for embedding, layer in origins]
    return [Trial(trial, *one) for trial in range(trials) for one in each]


def _check_once(flag: str, values: Sequence[object]) -> None:
    for value in values:
        if values.count(value) > 1:
            raise UsageError(f"{flag} names {value} twice; name each once")
