"""Filters on low-precision matrix units (tensor cores, bfloat16; through torch), and the choice of a filter.

What they pass is decided by the same float64 function as with any filter, so the pairs are the same, bit for bit.

A GPU's tensor cores multiply exactly, but align the products and the sum so far with the largest of them and cut off
what is beyond some 24 bits, a handful of terms at a time (Fasi, Higham, Mikaitis and Pranesh, *Numerical behavior of
NVIDIA tensor cores*, PeerJ Computer Science 7:e330, 2021; Khattak and Mikaitis, *Accurate models of NVIDIA tensor
cores*, arXiv 2512.07004, up to Blackwell). `NumberFormat.sums` of 2⁻²² covers it; docs/clustering.md has the sum.

Nothing here depends on torch's settings. On a GPU, a bfloat16 product that is returned in bfloat16 may be a sum of
parts that were rounded to bfloat16 as well, and their number is undocumented; so there it is returned in float32. A
float32 product may be cut to TF32, so it always has TF32's margin.
"""

from __future__ import annotations

import ctypes
import importlib
import importlib.util
import math
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from pathlib import Path
from threading import Lock, local
from typing import Any, NamedTuple

import numpy as np

from .distances import Positions
from .filters import BF16, SINGLE, TF32, WIDEST, NumberFormat, PairFilter, SinglesFilter, lowest_products
from .points import CentredPoints, Singles
from .threads import one_blas_thread

Tensor = Any  # torch.Tensor; torch may not be installed

WORTH_IMPORTING = 3e12
WORTH_LOOKING = 1e11
HITS = 1 << 22  # listed at a time: their positions take 64 MiB
VALUES = 1 << 25  # multiplied again at a time: 128 MiB for each side
ROOM = 4 << 30  # bytes of a GPU that must be free
FASTER = 1.2  # least speed-up of a CPU's bfloat16 over its float32: more pairs pass its filter
CANT = (ImportError, OSError, RuntimeError)  # a broken torch, a GPU in use: numpy can do it
UNITS = {"avx512_bf16", "amx_bf16"}  # Linux's names for a CPU's bfloat16 units


class _DevicePoints(NamedTuple):
    """Points relative to a centre, on the device: as multiplied, in float32, and their halves."""

    short: Tensor
    singles: Tensor
    halves: Tensor


class TorchFilter:
    """Filter that multiplies with torch, in large tiles, on any of its devices.

    Attributes:
        rows, columns: the largest tile.
        product: the format, with the output format on this device.
        again: whether pairs that pass are multiplied again in float32 on the device, so that fewer are returned.
    """

    def __init__(self, device: str, product: NumberFormat = BF16, *, again: bool | None = None) -> None:
        """Check that the device supports the format.

        Args:
            device: ``cpu``, ``cuda`` or another device of torch.
            product: `BF16`, or `TF32` for float32 that the device may cut to TF32. (The CPU uses full float32,
                unless torch is set to shorten it to bfloat16: there only tests use this.)
            again: see above; None for every device but the CPU.

        Raises:
            ImportError: torch is not installed.
            ValueError: the format is not supported here.
            TypeError, RuntimeError: this torch, or this device, can't do it.
        """
        if product not in (BF16, TF32):
            raise ValueError(f"product is {product.name}; it can be {BF16.name} or {TF32.name}")
        self._torch = importlib.import_module("torch")
        self._device = self._torch.device(device)
        self._on_cpu = self._device.type == "cpu"
        self._is_short = product == BF16
        self.rows, self.columns = (1024, 2048) if self._on_cpu else (2048, 8192)
        self.product = replace(product, output=product.output if self._on_cpu else 0.0)
        self.again = not self._on_cpu if again is None else again
        self._threads = self._torch.get_num_threads()
        self._busy = Lock()
        self._space = local()
        one = self._there(CentredPoints(np.ones((8, 8), np.float32), np.full(8, 4.0, np.float32)))
        self._multiplied(one, one)

    def near(
        self, left: CentredPoints, right: CentredPoints, radius: float, first: int
    ) -> tuple[Positions, Positions]:
        """See `PairFilter`. The same `right` object is assumed to hold the same points: it stays on the device."""
        lowest = lowest_products(left, right, radius, self.product)
        limits = lowest_products(left, right, radius, SINGLE) if self.again else lowest
        with self._alone(), self._torch.inference_mode():
            x, y = self._there(left), self._kept(right)
            rest = self._multiplied(x, y).float().sub_(y.halves)
            hits = rest >= self._moved(lowest)[:, None]
            if first < len(lowest):
                hits.triu_(1 - first)
            listed = list(self._listed(hits, x, y, self._moved(limits)))
        if not listed:
            return np.empty(0, dtype=np.int32), np.empty(0, dtype=np.int32)
        i, j = zip(*listed, strict=True)
        return np.concatenate(i), np.concatenate(j)

    def tile_bytes(self, width: int) -> int:
        """Return the bytes of memory that a thread takes for a tile full of hits, with vectors of `width` values."""
        # Each in float64 and float32, twice in the latter for torch, and in bfloat16.
        points = (self.columns + max(self.rows, min(self.columns, 4 * self.rows))) * width * 18
        # The product as it comes out, in float32 and as hits, listed in int64 and int32; of a GPU the list alone.
        return points + self.rows * self.columns * (2 + 4 + 1 + 24 if self._on_cpu else 8)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Limit a GPU to one tile at a time, so that its memory suffices, and torch on the CPU to one thread."""
        if not self._on_cpu:
            with self._busy:
                yield
            return
        # This sets the threads of the calling thread, and of those started later.
        self._torch.set_num_threads(1)
        try:
            yield
        finally:
            self._torch.set_num_threads(self._threads)

    def _moved(self, array: Singles) -> Tensor:
        # A copy also on the CPU: arrays from a file may be read-only, of which torch warns.
        return self._torch.tensor(array, device=self._device)

    def _there(self, points: CentredPoints) -> _DevicePoints:
        singles = self._moved(points.singles)
        return _DevicePoints(
            singles.bfloat16() if self._is_short else singles, singles, self._moved(points.halves)
        )

    def _kept(self, right: CentredPoints) -> _DevicePoints:
        space = self._space
        if getattr(space, "right", None) is not right:
            space.right, space.there = right, self._there(right)
        there: _DevicePoints = space.there
        return there

    def _multiplied(self, x: _DevicePoints, y: _DevicePoints) -> Tensor:
        if self._is_short and not self._on_cpu:
            return self._torch.mm(x.short, y.short.T, out_dtype=self._torch.float32)
        return self._torch.mm(x.short, y.short.T)

    def _listed(
        self, hits: Tensor, x: _DevicePoints, y: _DevicePoints, limits: Tensor
    ) -> Iterator[tuple[Positions, Positions]]:
        """Yield the positions of hits, some rows at a time: a whole tile may consist of them."""
        ends = hits.sum(dim=1).cumsum(dim=0).cpu().numpy()
        start = 0
        while start < len(ends):
            before = ends[start - 1] if start else 0
            stop = max(start + 1, int(np.searchsorted(ends, before + HITS, side="right")))
            if ends[stop - 1] > before:
                r, c = hits[start:stop].nonzero(as_tuple=True)
                r += start
                if self.again:
                    keep = self._still_near(x, y, r, c, limits)
                    r, c = r[keep], c[keep]
                yield r.int().cpu().numpy(), c.int().cpu().numpy()
            start = stop

    def _still_near(self, x: _DevicePoints, y: _DevicePoints, r: Tensor, c: Tensor, limits: Tensor) -> Tensor:
        """Test pairs again in float32. This is no matrix product, so nothing can shorten it."""
        step = max(1, VALUES // x.singles.shape[1])
        products = [
            (x.singles[r[k : k + step]] * y.singles[c[k : k + step]]).sum(dim=1)
            for k in range(0, len(r), step)
        ]
        return self._torch.cat(products) - y.halves[c] >= limits[r]


def worth_accelerating(width: int, products: float) -> bool:
    """Return whether so many products of vectors of `width` values are worth the start of a GPU."""
    return width <= WIDEST and width * products >= WORTH_IMPORTING


def accelerated(width: int) -> TorchFilter | None:
    """Return the filter that is faster here than numpy's float32, if there is one.

    Args:
        width: number of values per vector.
    """
    return (_on_gpu() or _on_cpu(width)) if _is_there() else None


def _is_there() -> bool:
    return importlib.util.find_spec("torch") is not None


@cache
def _on_gpu() -> TorchFilter | None:
    if not _has_driver():
        return None
    try:
        torch = importlib.import_module("torch")
        if not torch.cuda.is_available() or torch.version.cuda is None:
            return None  # the margin is read off NVIDIA's units only
        if torch.cuda.get_device_capability() < (8, 0) or torch.cuda.mem_get_info()[0] < ROOM:
            return None
        try:
            return TorchFilter("cuda", BF16)
        except TypeError:  # a torch that can't return float32 from bfloat16
            return TorchFilter("cuda", TF32)
    except CANT:
        return None


@cache
def _on_cpu(width: int) -> TorchFilter | None:
    """Return the faster one, by trying both on random vectors."""
    if not _has_units():
        return None
    try:
        short, single = TorchFilter("cpu", BF16), SinglesFilter()
    except CANT:
        return None
    with one_blas_thread():
        return short if _seconds(single, width) > FASTER * _seconds(short, width) else None


def _has_driver() -> bool:
    """Return whether there is an NVIDIA driver: to ask torch takes seconds if it is not loaded yet."""
    for name in ("libcuda.so.1", "nvcuda.dll"):
        try:
            ctypes.CDLL(name)
        except OSError:
            continue
        return True
    return False


def _has_units(info: Path = Path("/proc/cpuinfo")) -> bool:
    """Return whether the CPU multiplies bfloat16 natively, as far as Linux says."""
    try:
        lines = info.read_text().splitlines()
    except OSError:
        return False  # no Linux
    flags = next((line for line in lines if line.startswith("flags")), "")
    return not UNITS.isdisjoint(flags.split())


def _seconds(multiply: PairFilter, width: int) -> float:
    """Return the seconds per pair: the best of three tiles in which next to nothing is near."""
    rng = np.random.default_rng(0)
    sides = []
    for size in (multiply.rows, multiply.columns):
        singles = rng.standard_normal((size, width), dtype=np.float32)
        sides.append(CentredPoints(singles, np.einsum("ij,ij->i", singles, singles) / np.float32(2.0)))
    times = []
    for _ in range(4):
        start = time.perf_counter()
        multiply.near(sides[0], sides[1], 0.0, multiply.rows)
        times.append(time.perf_counter() - start)
    return min(times[1:]) / (multiply.rows * multiply.columns)


def best_filter(width: int = 0, products: float = 0.0, room: float = math.inf) -> PairFilter:
    """Return the fastest filter of this machine; all of them lead to the same pairs.

    Args:
        width: number of values per vector.
        products: approximate number of pairs to be multiplied.
        room: bytes that a thread's tile may take beyond those of `SinglesFilter`.
    """
    if width > WIDEST:
        return SinglesFilter()  # whose rows and columns are the fewest: every pair passes
    work = width * products
    if work >= (WORTH_LOOKING if "torch" in sys.modules else WORTH_IMPORTING):
        faster = accelerated(width)
        return faster if faster is not None and faster.tile_bytes(width) <= room else SinglesFilter()
    return SinglesFilter()
