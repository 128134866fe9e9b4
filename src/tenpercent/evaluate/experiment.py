"""The experiment: every trial of a plan trained once, by whichever process comes first; killed, it goes on."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ..errors import TrainingFailedError
from .arms import Arms
from .claims import Claims
from .results import DONE, FAILED, Results, packed
from .trials import Trial

if TYPE_CHECKING:  # torch is loaded by whoever trains
    from .training import Outcome

log = logging.getLogger("tenpercent")

Ints = npt.NDArray[np.int64]
Train = Callable[[Ints, int, Path], "Outcome"]  # (positions, seed, folder for checkpoints)


@dataclass(frozen=True)
class Tally:
    """What became of the trials of a plan.

    Attributes:
        done: how many are there, by this process or before.
        trained: how many this process trained.
        failed: those that failed, with the reason.
        elsewhere: those that other processes are at, with who.
    """

    done: int
    trained: int
    failed: tuple[tuple[Trial, str], ...]
    elsewhere: tuple[tuple[Trial, str], ...]


def run_trials(trials: Sequence[Trial], arms: Arms, results: Results, protocol: str, train: Train) -> Tally:
    """Train what is not there yet, one after the other; each row is on disk as soon as it is known.

    Args:
        trials: what there is to be.
        arms: which images each trains on.
        results: where rows go.
        protocol: the fingerprint of how `train` trains.
        train: trains once; it resumes from what it left in its folder.

    Returns:
        What became of them. A training that another process is at is left to it.
    """
    claims = Claims(results.folder)
    trained = 0
    failed: list[tuple[Trial, str]] = []
    elsewhere: list[tuple[Trial, str]] = []
    for number, trial in enumerate(trials, start=1):
        if results.done(trial, protocol):
            continue
        name = results.path(trial, protocol).stem
        with claims.claim(name) as ours:
            if not ours:
                elsewhere.append((trial, claims.holder(name) or "a process that has just ended"))
                continue
            if results.done(trial, protocol):  # another process was at it until a moment ago
                continue
            log.info("training %d of %d: %s", number, len(trials), trial)
            scratch = results.folder / name
            try:
                results.add(trial, protocol, _trained(trial, arms, results, train, scratch))
            except TrainingFailedError as error:
                log.warning("%s failed: %s", trial, error)
                failed.append((trial, str(error)))
                results.add(trial, protocol, _failed(trial, arms, results, str(error)))
            shutil.rmtree(scratch, ignore_errors=True)
            trained += 1
    elsewhere = [(trial, who) for trial, who in elsewhere if not results.done(trial, protocol)]
    done = sum(results.done(trial, protocol) for trial in trials)
    return Tally(done, trained, tuple(failed), tuple(elsewhere))


def _trained(trial: Trial, arms: Arms, results: Results, train: Train, scratch: Path) -> dict[str, Any]:
    seed = trial.seed(results.about)
    positions = arms.positions(trial, seed)
    outcome = train(positions, seed, scratch)
    return {
        **_begun(positions, seed, arms),
        "status": DONE,
        **{
            name: getattr(outcome, name)
            for name in (
                "accuracy",
                "top5",
                "best_accuracy",
                "loss",
                "test_loss",
                "removed_accuracy",
                "steps",
                "epochs",
                "seconds",
            )
        },
        "class_accuracy": list(outcome.class_accuracy),
        "curve": list(outcome.curve),
    }


def _failed(trial: Trial, arms: Arms, results: Results, reason: str) -> dict[str, Any]:
    seed = trial.seed(results.about)
    return {**_begun(arms.positions(trial, seed), seed, arms), "status": FAILED, "reason": reason}


def _begun(positions: Ints, seed: int, arms: Arms) -> dict[str, Any]:
    rows = arms.embeddings.rows
    return {
        "seed": seed,
        "n": len(positions),
        "kept": packed(rows[positions], int(rows.max()) + 1),
    }
