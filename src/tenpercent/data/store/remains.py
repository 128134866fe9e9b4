"""Half-written files of killed processes: told by a lock from those of living ones, and removed."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows: no such locks, so nothing is removed
    fcntl = None  # type: ignore[assignment]

TEMPORARY = ".partial"


@contextmanager
def held(path: Path) -> Iterator[None]:
    """Hold a file or folder while it is written; the kernel releases it when the process ends, however it ends."""
    if fcntl is None:
        yield
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        with suppress(OSError):  # a file system without locks: `is_abandoned` then returns False
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)


def is_abandoned(path: Path) -> bool:
    """Return whether no process holds a file or folder any more; False where that is unknown."""
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
    """Return the temporaries that killed processes left of an output: ``[before]NAME.PID.partial`` beside it.

    Args:
        output: the final path of the file or folder.
        before: the prefix of the temporary's name.
    """
    if not output.parent.is_dir():
        return []
    ours = re.compile(rf"{re.escape(before + output.name)}\.\d+(-[0-9a-f]+)?{re.escape(TEMPORARY)}")
    found = [path for path in output.parent.iterdir() if ours.fullmatch(path.name)]
    return sorted(path for path in found if is_abandoned(path))


def remove_remains(*outputs: Path) -> None:
    """Remove the temporaries that killed processes left of single files."""
    for output in outputs:
        for path in remains(output):
            path.unlink(missing_ok=True)


def remove_tree(path: Path) -> None:
    """Remove a file or a folder; anything that can't be removed now is tried again next time."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
