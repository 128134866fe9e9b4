"""Compilation of kernels: once per installation, without the interpreter's lock, and without unused wrappers.

A first call waits for all compilation, so the kernels of every join and walk are written for one type of arguments
(`distances.fixed`), take their memory from the caller, compare by themselves (np.empty, np.arange, min and max are
kernels of their own, one per type), and leave out the wrappers that they do not need.

A stored kernel is identified by its own file alone: after a change of one that others call, `make recompile`.

Compiled kernels are stored beside the source, else in the user's cache. If neither is writable (a read-only
installation and no home), they are stored in a private temporary folder, and if that fails, not at all.
"""

from __future__ import annotations

import atexit
import logging
import os
import shutil
import stat
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numba
from numba import njit
from numba.core.compiler_lock import global_compiler_lock

log = logging.getLogger("tenpercent")

KERNEL: dict[str, Any] = {"cache": True, "nogil": True, "no_cfunc_wrapper": True}
INNER: dict[str, Any] = {"nogil": True, "no_cfunc_wrapper": True, "no_cpython_wrapper": True}

# For kernels that only other kernels call, and that are stored within these.
inner: Callable[[Callable[..., Any]], Any] = njit(**INNER)


def kernel(function: Callable[..., Any]) -> Any:
    """Return a function as a kernel that is compiled once and stored, wherever that is possible."""
    try:
        return njit(**KERNEL)(function)
    except RuntimeError as nowhere:  # numba finds no writable folder
        if "cannot cache function" not in str(nowhere):
            raise
    stored = store_elsewhere()
    return njit(**{**KERNEL, "cache": stored})(function)


@cache
def store_elsewhere() -> bool:
    """Make numba store compiled kernels in a private temporary folder; return whether that is possible.

    Other packages' kernels and child processes use it too: their folders are not writable either.
    """
    folder = _private_folder()
    if folder is None:
        log.warning(
            "compiled kernels can't be stored, so each process compiles them again (about 10 s): neither the "
            "installation, the home folder nor %s can be written; NUMBA_CACHE_DIR names another folder",
            tempfile.gettempdir() if _has_temporary() else "a temporary folder",
        )
        return False
    log.info(
        "compiled kernels are stored in %s: neither the installation nor the home folder can be written",
        folder,
    )
    os.environ["NUMBA_CACHE_DIR"] = numba.config.CACHE_DIR = str(folder)  # type: ignore[attr-defined]
    return True


def _private_folder() -> Path | None:
    """Return a folder that only this user can write, as its files are executed; None where there can be none."""
    if not _has_temporary():
        return None
    user = os.getuid() if hasattr(os, "getuid") else os.getpid()
    folder = Path(tempfile.gettempdir()) / f"tenpercent-kernels-{user}"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
        tempfile.TemporaryFile(dir=folder).close()
    except OSError:
        return None
    if (
        not stat.S_ISDIR(found.st_mode)
        or (hasattr(os, "getuid") and found.st_uid != user)
        or found.st_mode & 0o022
    ):
        folder = Path(tempfile.mkdtemp(prefix="tenpercent-kernels-"))  # another user has that name
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def _has_temporary() -> bool:
    try:
        tempfile.gettempdir()
    except OSError:
        return False
    return True


if hasattr(os, "register_at_fork"):  # a child forked while another thread compiles would wait for it for ever
    os.register_at_fork(
        before=global_compiler_lock.acquire,
        after_in_parent=global_compiler_lock.release,
        after_in_child=global_compiler_lock.release,
    )
