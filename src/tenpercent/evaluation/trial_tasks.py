"""Training runs as tasks, one each, on a GPU where the machines have some, else on one CPU."""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

from ..data.sources.opening import absolute
from ..data.store.run_folder import RunFolder
from ..tasks.task import Runner, Task, complete
from .claims import BEAT
from .preparation import EvaluationRequest, Preparation
from .presets import Protocol
from .trials import Trial

if TYPE_CHECKING:  # torch is loaded only for training
    from .experiment import Trainer


def train_by_tasks(ready: Preparation, protocol: Protocol, runner: Runner) -> None:
    """Train what is missing, a task a training run; the files of finished ones are there already.

    Raises:
        TenpercentError: see `Runner.run`, or that of a task; finished training runs stay.
    """
    results, key = ready.results, ready.key(protocol)
    run = results.run.path.absolute()
    request = _anywhere(ready.request)
    tasks = [
        Task(
            str(trial),
            partial(_train, request, protocol, trial),
            (run / results.run.json_path.name,),
            run / results.path(trial, key).relative_to(results.run.path),
            gpu=True,
        )
        for trial in ready.trials
        if not results.done(trial, key)
    ]
    complete(runner, tasks)


def _anywhere(request: EvaluationRequest) -> EvaluationRequest:
    """Return a request whose paths hold in every folder."""
    arms = [arm.partition("=") for arm in request.arms]
    lists = tuple(f"{name}={Path(file).absolute()}" if is_list else name for name, is_list, file in arms)
    return replace(request, arms=lists, test=None if request.test is None else absolute(request.test))


def _train(
    request: EvaluationRequest, protocol: Protocol, trial: Trial, inputs: Sequence[Path], output: Path
) -> None:
    """Train once, unless another process does, whose result is then waited for."""
    from ..embedding.loop import threads
    from .experiment import run_trials

    ready, train = _prepared(inputs[0].parent, request, protocol)
    key = ready.key(protocol)
    with threads(1):
        run_trials([trial], ready.arms, ready.results, key, train)
        while not ready.results.done(trial, key):
            time.sleep(BEAT)
            run_trials([trial], ready.arms, ready.results, key, train)
    shutil.copyfile(ready.results.path(trial, key), output)  # which replaces it by the same bytes


@cache
def _prepared(run: Path, request: EvaluationRequest, protocol: Protocol) -> tuple[Preparation, Trainer]:
    """Open a run and read its images, once in a process."""
    ready = Preparation.of(RunFolder.open(run), request)
    return ready, ready.trainer(protocol)[0]
