"""Choice of the fastest precision and memory layout on this machine, by a few passes of the network itself."""

from __future__ import annotations

import copy
import statistics
import time
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Self

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from .networks import Size
from .settings import Precision

PAYS = 1.3  # least speed-up over float32 with channels last for another choice: less could be noise
ROUNDS = 3  # that count; one more before them warms up
ENOUGH = 6.0  # seconds after which no further round begins, once one has counted
BATCH = (
    32  # images of 32 × 32 pixels; of larger ones as many as have the same number of pixels, but at least two
)


@dataclass(frozen=True)
class Choice:
    """Precision and memory layout of the network's passes.

    Attributes:
        precision: ``float32``, or ``bf16`` for autocast to bfloat16; never ``auto``.
        channels_last: the memory layout.
        rates: images per second, forward and backward, of each measured combination; empty if none was.
    """

    precision: Precision
    channels_last: bool = True
    rates: dict[str, float] = field(default_factory=dict)

    @property
    def layout(self) -> torch.memory_format:
        """Memory format for `channels_last`."""
        return torch.channels_last if self.channels_last else torch.contiguous_format

    def autocast(self, device: torch.device) -> AbstractContextManager[Any]:
        """Return the context for forward passes."""
        if self.precision is Precision.BFLOAT16:
            return torch.autocast(device.type, torch.bfloat16)
        return nullcontext()

    def as_json(self) -> dict[str, Any]:
        """Return the choice as a run folder stores it, for `from_json`."""
        return asdict(self)

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> Self:
        """Return the choice stored by `as_json`."""
        return cls(**{**content, "precision": Precision(content["precision"])})


def float32_unless_set(precision: str) -> Choice:
    """Return the precision for a network that is not trained: float32 for ``auto``, since measuring takes too long."""
    return Choice(Precision.FLOAT32 if precision == Precision.AUTO else Precision(precision))


def choose(
    network: nn.Module, size: Size, device: torch.device, precision: Precision, enough: float = ENOUGH
) -> Choice:
    """Return the requested precision, or with ``auto`` the fastest by a short measurement.

    Float32 with channels last stays unless another combination is at least 1.3 times as fast, so that noise does not
    decide: the choice changes the last bits of every vector. `network` is left as it was.

    Args:
        network: returns logits for float32[k, 3, *size]; on any device.
        size: height and width of its images.
        device: the device to run on.
        precision: ``auto``, ``float32`` or ``bf16``.
        enough: seconds after which no further round of the measurement begins, once one has counted.
    """
    if precision is not Precision.AUTO:
        return Choice(precision)
    default = Choice(Precision.FLOAT32)
    if device.type not in ("cpu", "cuda"):
        return default
    wanted = {
        f"{p}, {'channels last' if last else 'contiguous'}": Choice(p, last)
        for p in (Precision.FLOAT32, Precision.BFLOAT16)
        for last in (True, False)
    }
    batch = min(max(2, BATCH * 32 * 32 // (size[0] * size[1])), 4 * BATCH)
    seconds: dict[str, list[float]] = {name: [] for name in wanted}
    trial = copy.deepcopy(network).to(device)
    end = time.perf_counter() + enough
    for turn in range(ROUNDS + 1):
        if turn > 1 and time.perf_counter() > end:
            break
        for name, choice in wanted.items():
            spent = _seconds(trial, choice, (batch, 3, *size), device)
            if turn:
                seconds[name].append(spent)
    rates = {name: round(batch / statistics.median(found), 1) for name, found in seconds.items()}
    best = max(rates, key=lambda name: rates[name])
    chosen = wanted[best] if rates[best] >= PAYS * rates[next(iter(wanted))] else default
    return replace(chosen, rates=rates)


def _seconds(network: nn.Module, choice: Choice, shape: tuple[int, ...], device: torch.device) -> float:
    """Return the seconds of one forward and backward pass."""
    network.to(memory_format=choice.layout).train()
    images = torch.zeros(shape, device=device).to(memory_format=choice.layout)
    labels = torch.zeros(shape[0], dtype=torch.int64, device=device)
    _wait(device)
    start = time.perf_counter()
    with choice.autocast(device):
        loss = cross_entropy(network(images), labels)
    loss.backward()  # type: ignore[no-untyped-call]
    _wait(device)
    return time.perf_counter() - start


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
