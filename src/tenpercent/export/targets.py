"""Where an export goes: never over anything, and whole or not at all."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import TenpercentError, UsageError
from ..images.source import ImageSource
from ..store.files import TEMPORARY


def check_free(*targets: Path) -> None:
    """Raise `UsageError` where one of `targets` is there already; an empty folder counts as free."""
    for target in targets:
        if target.is_dir() and not target.is_symlink():
            if any(target.iterdir()):
                raise UsageError(f"{target} is not empty and an export never overwrites; choose another --to")
        elif os.path.lexists(target):
            raise UsageError(f"{target} exists already and an export never overwrites; choose another --to")
        for parent in target.parents:
            if parent.exists() and not parent.is_dir():
                raise UsageError(
                    f"--to {target} leads through {parent}, which is a file; choose another --to"
                )


def check_outside(target: Path, source: ImageSource) -> None:
    """Raise `UsageError` where `target` lies in the folder of `source`, which would grow by it."""
    root = Path(source.spec)
    if root.is_dir() and target.resolve().is_relative_to(root.resolve()):
        raise UsageError(f"{target} lies within the source {root} and would add to it; choose a --to outside")


@contextmanager
def building(target: Path) -> Iterator[Path]:
    """Yield an empty temporary folder beside `target`; what was not moved out is gone afterwards.

    Raises:
        TenpercentError: the disk is full, or the folder can't be written.
    """
    temporary = target.parent / f".{target.name}.{os.getpid()}{TEMPORARY}"
    try:
        temporary.parent.mkdir(parents=True, exist_ok=True)
        temporary.mkdir()
        yield temporary
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        remedy = "free some space or choose another --to"
        raise TenpercentError(f"can't write {target}: {reason}; {remedy}") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def place(moves: dict[Path, Path]) -> tuple[Path, ...]:
    """Move each finished temporary to its target, all of them or none, and return the targets."""
    done: list[Path] = []
    try:
        for temporary, target in moves.items():
            check_free(target)
            temporary.replace(target)
            done.append(target)
    except (OSError, UsageError):
        for target in done:
            shutil.rmtree(target) if target.is_dir() else target.unlink()
        raise
    return tuple(done)
