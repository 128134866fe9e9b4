"""Processes of a training run: one on the CPU, or those of Lightning Fabric, one per device."""

from __future__ import annotations

import logging
import pickle
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

import torch
from torch import nn
from torch.multiprocessing.spawn import ProcessExitedException, ProcessRaisedException

from ..errors import TenpercentError, UsageError, require
from .precision import Choice
from .settings import Precision

if TYPE_CHECKING:
    from lightning_fabric import Fabric

Job = TypeVar("Job")
Result = TypeVar("Result")
TrainingProcess: TypeAlias = "Fabric | OneProcess"


@dataclass(frozen=True)
class Devices:
    """Devices to train on: ``cpu``, ``cuda`` or ``mps``, and the number of processes, one per device."""

    kind: str
    count: int

    @property
    def first(self) -> torch.device:
        """Device for the work of a single process: the measurement, the extraction."""
        return torch.device(self.kind, 0) if self.kind == "cuda" else torch.device(self.kind)


class OneProcess:
    """This process alone, training on the CPU in float32: what `Fabric` does there, without 2 s of CPU to import it."""

    device, global_rank, world_size = torch.device("cpu"), 0, 1

    def setup(
        self, network: nn.Module, optimizer: torch.optim.Optimizer
    ) -> tuple[nn.Module, torch.optim.Optimizer]:
        """Return both as they are."""
        return network, optimizer

    def autocast(self) -> AbstractContextManager[None]:
        """Return a context that changes nothing."""
        return nullcontext()

    def backward(self, loss: torch.Tensor) -> None:
        """Compute the gradients."""
        loss.backward()  # type: ignore[no-untyped-call]

    def all_reduce(self, values: torch.Tensor, reduce_op: str) -> torch.Tensor:
        """Return the values of this process, which are all there are."""
        return values

    def broadcast(self, value: bool) -> bool:
        """Return this process's value."""
        return value

    def barrier(self) -> None:
        """Wait for nobody."""


def devices_for(count: int | None) -> Devices:
    """Return the devices to train on.

    Args:
        count: number of devices; None for all GPUs, or one process on the CPU.

    Raises:
        UsageError: there are fewer.
    """
    if torch.cuda.is_available():
        there = torch.cuda.device_count()
        if count is not None and count > there:
            raise UsageError(f"devices is {count}, but there are {there} GPUs; use at most {there}")
        return Devices("cuda", there if count is None else count)
    if torch.backends.mps.is_available():
        if count not in (None, 1):
            raise UsageError(f"devices is {count}, but there is one GPU; leave it out")
        return Devices("mps", 1)
    return Devices("cpu", count or 1)


def launch(
    devices: Devices, choice: Choice, function: Callable[[TrainingProcess, Job], Result], job: Job
) -> Result:
    """Return the result of `function` in the first process.

    Args:
        devices: the devices; with several, each has its own process, so `function` and `job` must pickle.
        choice: the precision.
        function: called in each process.
        job: its argument.

    Raises:
        TenpercentError: one of several processes failed or was killed.
    """
    if devices == Devices("cpu", 1) and choice.precision is Precision.FLOAT32:
        return function(OneProcess(), job)
    fabric_module = require("lightning_fabric", "images")
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
    fabric = fabric_module.Fabric(
        accelerator=devices.kind,
        devices=devices.count,
        strategy="ddp_spawn" if devices.count > 1 else "auto",
        precision="bf16-mixed" if choice.precision is Precision.BFLOAT16 else "32-true",
    )
    if devices.count == 1:
        fabric.launch()
        return function(fabric, job)
    # As bytes: each process gets its own copy, not the tensors of this one through shared memory.
    try:
        result: Result = fabric.launch(_unpacked, pickle.dumps((function, job)))
    except (ProcessExitedException, ProcessRaisedException) as error:
        last = str(error).strip().splitlines()[-1]  # of the process's traceback: the exception
        raise TenpercentError(
            f"one of {devices.count} training processes failed ({last}); fix the cause and run the same command "
            "again: it resumes from the last checkpoint"
        ) from error
    return result


def _unpacked(fabric: Fabric, packed: bytes) -> Any:
    function, job = pickle.loads(packed)
    return function(fabric, job)
