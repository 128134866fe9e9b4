"""How kernels are compiled: once an installation, without the interpreter's lock, and without what nobody calls.

A first call waits for all of them, so each is written for one type of arguments (`distances.fixed`), takes its memory
from the caller and compares by itself (np.empty, np.arange, min and max are kernels of their own, one a type), and
leaves out the wrappers it does not need.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba import njit

KERNEL: dict[str, Any] = {"cache": True, "nogil": True, "no_cfunc_wrapper": True}
INNER: dict[str, Any] = {"nogil": True, "no_cfunc_wrapper": True, "no_cpython_wrapper": True}

kernel: Callable[[Callable[..., Any]], Any] = njit(**KERNEL)
# For those that only other kernels call, and that are stored within these.
inner: Callable[[Callable[..., Any]], Any] = njit(**INNER)
