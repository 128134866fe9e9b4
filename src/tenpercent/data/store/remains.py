"""What killed processes leave half-written: told by a lock from what living ones write, and removed."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows: nothing can be told there, so nothing is removed
    fcntl = None  # type: ignore[assignment]

TEMPORARY = ".partial"


@contextmanager
def held(path: Path) -> Iterator[None]:
    """Hold a file or folder that is being written; the kernel lets go of it when the process ends, however it ends."""
    if fcntl is None:
        yield
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        with suppress(OSError):  # a file system without locks: then `is_abandoned` says no
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)


def is_abandoned(path: Path) -> bool:
    """Return whether nobody holds a file or folder any more; False where that can't be told."""
    if fcntl is None:
        return False
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    except OSError:
        return False  # gone meanwhile, somebody else's, or a link
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return True


def remains(output: Path, before: str = "") -> list[Path]:
    """Return what killed processes left of an output: ``[before]NAME.PID.partial`` beside it.

    Args:
        output: a file or folder as it is called once it is whole.
        before: what stands before the name of the temporary.
    """
    if not output.parent.is_dir():
        return []
    ours = re.compile(rf"{re.escape(before + output.name)}\.\d+(-[0-9a-f]+)?{re.escape(TEMPORARY)}")
    found = [path for path in output.parent.iterdir() if ours.fullmatch(path.name)]
    return sorted(path for path in found if is_abandoned(path))


def remove_remains(*outputs: Path) -> None:
    """Remove what killed processes left of single files."""
    for output in outputs:
        for path in remains(output):
            path.unlink(missing_ok=True)


def remove_tree(path: Path) -> None:
    """Remove a file or a folder; what can't be removed now is passed over the next time."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
