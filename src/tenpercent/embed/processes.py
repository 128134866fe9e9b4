"""Where a training runs: this process on the processor, or Lightning Fabric's processes, one a device."""

from __future__ import annotations

import logging
import pickle
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import torch
from torch import nn

from ..errors import UsageError, require
from .precision import Choice
from .settings import Precision

Job = TypeVar("Job")
Result = TypeVar("Result")


class Processes(Protocol):
    """What the training loop needs of Lightning Fabric."""

    @property
    def device(self) -> torch.device:
        """The device of this process."""
        ...

    @property
    def world_size(self) -> int:
        """How many processes there are."""
        ...

    @property
    def global_rank(self) -> int:
        """Which of them this is; 0 writes."""
        ...

    def setup(self, module: nn.Module, optimizer: torch.optim.Optimizer) -> Any:
        """Return both, ready for this device, gradients averaged over the processes."""
        ...

    def autocast(self) -> AbstractContextManager[Any]:
        """Return the context that forward passes belong into."""
        ...

    def backward(self, tensor: torch.Tensor) -> Any:
        """Run the backward pass."""
        ...

    def all_reduce(self, data: torch.Tensor, group: None, reduce_op: str) -> Any:
        """Return a tensor summed over the processes."""
        ...

    def barrier(self) -> Any:
        """Wait for all processes."""
        ...


@dataclass(frozen=True)
class OneProcess:
    """This process on the processor: the same face, without Fabric's import of several seconds."""

    choice: Choice
    device = torch.device("cpu")
    world_size = 1
    global_rank = 0

    def setup(self, module: nn.Module, optimizer: torch.optim.Optimizer) -> Any:
        """Return both as they are."""
        return module, optimizer

    def autocast(self) -> AbstractContextManager[Any]:
        """Return the context that forward passes belong into."""
        return self.choice.autocast(self.device)

    def backward(self, tensor: torch.Tensor) -> None:
        """Run the backward pass."""
        tensor.backward()  # type: ignore[no-untyped-call]

    def all_reduce(self, data: torch.Tensor, group: None, reduce_op: str) -> torch.Tensor:
        """Return the tensor as it is."""
        return data

    def barrier(self) -> None:
        """Wait for nobody."""


@dataclass(frozen=True)
class Devices:
    """The devices to train on: ``cpu``, ``cuda`` or ``mps``, and how many processes, one a device."""

    kind: str
    count: int

    @property
    def first(self) -> torch.device:
        """The device for what one process does alone: the measurement, the extraction."""
        return torch.device(self.kind, 0) if self.kind == "cuda" else torch.device(self.kind)


def devices_for(count: int | None) -> Devices:
    """Return the devices to train on.

    Args:
        count: how many; None for all GPUs there are, or one process on the processor.

    Raises:
        UsageError: there are not that many.
    """
    if torch.cuda.is_available():
        there = torch.cuda.device_count()
        if count is not None and count > there:
            raise UsageError(f"devices is {count} and there are {there} GPUs; ask for {there} at most")
        return Devices("cuda", there if count is None else count)
    if torch.backends.mps.is_available():
        if count not in (None, 1):
            raise UsageError(f"devices is {count} and there is one GPU; leave it out")
        return Devices("mps", 1)
    return Devices("cpu", count or 1)


def launch(
    devices: Devices, choice: Choice, function: Callable[[Processes, Job], Result], job: Job
) -> Result:
    """Return what `function` gives in the first process.

    Args:
        devices: where; several are processes of their own, so `function` and `job` must pickle.
        choice: the precision.
        function: called in each process.
        job: handed to it.
    """
    if devices == Devices("cpu", 1):
        return function(OneProcess(choice), job)
    fabric_module = require("lightning_fabric", "images")
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
    fabric = fabric_module.Fabric(
        accelerator=devices.kind,
        devices=devices.count,
        strategy="ddp_spawn" if devices.count > 1 else "auto",
        precision="bf16-mixed" if choice.precision is Precision.BFLOAT16 else "32-true",
    )
    # As bytes: each process gets a copy of its own, not the tensors of this one through shared memory.
    result: Result = fabric.launch(_unpacked, pickle.dumps((function, job)))
    return result


def _unpacked(processes: Processes, packed: bytes) -> Any:
    function, job = pickle.loads(packed)
    return function(processes, job)
