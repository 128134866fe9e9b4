"""The experiment: every trial of a plan trained once, by whichever process comes first; resumed when killed."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ..data.store.files import remove_temporaries
from ..data.store.results import DONE, FAILED
from ..errors import TrainingFailedError
from .arms import Arms
from .claims import Claims
from .results import Results
from .trials import Trial

if TYPE_CHECKING:  # torch is loaded only for training
    from .training import TrainingResult

log = logging.getLogger("tenpercent")

Ints = npt.NDArray[np.int64]
Trainer = Callable[[Ints, int, Path], "TrainingResult"]  # (positions, seed, folder for checkpoints)


@dataclass(frozen=True)
class TrialProgress:
    """The progress of a plan's trials.

    Attributes:
        done: number of completed trials.
        failed: failed trials, with the reason.
        elsewhere: trials that other processes run, with the process.
    """

    done: int
    failed: tuple[tuple[Trial, str], ...]
    elsewhere: tuple[tuple[Trial, str], ...]


def missing(trials: Sequence[Trial], results: Results, protocol: str) -> int:
    """Return the number of trials without a row."""
    return sum(not results.done(trial, protocol) for trial in trials)


def run_trials(
    trials: Sequence[Trial],
    arms: Arms,
    results: Results,
    protocol: str,
    train: Trainer,
) -> int:
    """Run the missing trials one after the other; each row is written as soon as it is known.

    Args:
        trials: the trials wanted.
        arms: the images of each.
        results: the store of the rows.
        protocol: the fingerprint of `train`'s settings.
        train: trains once; resumes from its folder.

    Returns:
        The number trained here. A trial that another process runs is left to it.
    """
    claims = Claims(results.folder)
    trained = 0
    for number, trial in enumerate(trials, start=1):
        path = results.path(trial, protocol)
        scratch = results.folder / path.stem
        if results.done(trial, protocol) and not scratch.exists():
            continue
        with claims.claim(path.stem) as ours:
            if not ours:
                continue
            remove_temporaries(path)  # of a process that was killed while it wrote
            if not results.done(trial, protocol):
                log.info("training run %d of %d: %s", number, len(trials), trial)
                try:
                    row = _row(trial, arms, results, train, scratch)
                except FileNotFoundError:
                    # This process was suspended; another took the trial over, finished and cleared up.
                    if results.done(trial, protocol):
                        continue
                    raise
                results.add(trial, protocol, row)
                trained += 1
            shutil.rmtree(scratch, ignore_errors=True)
    return trained


def progress_of(trials: Sequence[Trial], results: Results, protocol: str) -> TrialProgress:
    """Return the progress of trials, read from their folder."""
    claims = Claims(results.folder)
    failed, elsewhere, done = [], [], 0
    for trial in trials:
        if results.done(trial, protocol):
            reason = results.failure(trial, protocol)
            if reason is None:
                done += 1
            else:
                failed.append((trial, reason))
        elif (who := claims.holder(results.path(trial, protocol).stem)) is not None:
            elsewhere.append((trial, who))
    return TrialProgress(done, tuple(failed), tuple(elsewhere))


def _row(trial: Trial, arms: Arms, results: Results, train: Trainer, scratch: Path) -> dict[str, Any]:
    """Train once; return the row of results, also for a failure."""
    seed = trial.seed(results.about)
    positions = arms.positions(trial, seed)
    begun = {"seed": seed, "n": len(positions), "kept": arms.as_bits(positions)}
    try:
        result = train(positions, seed, scratch)
    except TrainingFailedError as error:
        log.warning("%s failed: %s", trial, error)
        return {**begun, "status": FAILED, "reason": str(error)}
    return {**begun, "status": DONE, **vars(result)}
