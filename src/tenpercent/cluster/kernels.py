"""How kernels are compiled: once an installation, without the interpreter's lock, and without what nobody calls.

A first call waits for all that it needs, so those of every join and walk are written for one type of arguments
(`distances.fixed`), take their memory from the caller and compare by themselves (np.empty, np.arange, min and max are
kernels of their own, one a type), and leave out the wrappers that they do not need.

What is stored of a kernel is known by its own file alone: after a change of one that others call, `make recompile`.
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
