"""Targets of exports: nothing is overwritten, and all is written whole or not at all, even when killed."""

from __future__ import annotations

import errno
import json
import logging
import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..data.sources.source import ImageSource
from ..data.store.remains import TEMPORARY, held, remains, remove_tree
from ..errors import TenpercentError, UsageError, cant_write
from ..progress import bar
from .names import shortened

log = logging.getLogger("tenpercent")

MOVES = "moves.json"  # in a temporary folder: the pending moves out of it


def check_free(*targets: Path) -> None:
    """Raise `UsageError` where one of `targets` exists; an empty folder counts as free.

    Remains of a killed export are removed first; one that was killed with everything in place is reported.
    """
    for target in targets:
        if os.path.lexists(target) and clear_remains(target):
            raise UsageError(
                f"{target} is complete: the export that wrote it was killed when all was in place; use it, or choose "
                "another --to, since an export never overwrites"
            )
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
    """Raise `UsageError` where `target` lies in the folder of `source`, which would then hold it."""
    root = source.folder or Path(source.spec)
    if root.is_dir() and target.resolve().is_relative_to(root.resolve()):
        raise UsageError(f"{target} lies within the source {root} and would add to it; choose a --to outside")


def check_target(target: Path, source: ImageSource) -> None:
    """Raise `UsageError` where `target` exists, or lies in the folder of `source`."""
    check_free(target)
    check_outside(target, source)


@contextmanager
def new_folder(
    target: Path, images: int, noun: str = "image"
) -> Iterator[tuple[Path, Callable[[int], object]]]:
    """Yield an empty folder that becomes `target` at the end, and what to call with each number of images written.

    Args:
        target: the folder to be.
        images: their number.
        noun: what one of them is called.

    Raises:
        UsageError: `target` has come into being meanwhile.
        TenpercentError: see `building`.
    """
    with building(target) as temporary, bar(images, "Writing", f"{noun}s") as progress:
        root = temporary / "kept"
        root.mkdir()
        yield root, progress.update
        place({root: target})


@contextmanager
def building(target: Path) -> Iterator[Path]:
    """Yield an empty temporary folder beside `target`; anything not moved out is removed afterwards.

    Raises:
        TenpercentError: the disk is full, or the folder can't be written.
    """
    temporary = target.parent / f".{_short(target).name}.{os.getpid()}-{secrets.token_hex(4)}{TEMPORARY}"
    try:
        temporary.parent.mkdir(parents=True, exist_ok=True)
        clear_remains(target)
        temporary.mkdir()
        with held(temporary):
            yield temporary
    except OSError as error:
        said = cant_write(target, error)
        if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
            raise TenpercentError(f"{said.rpartition('; ')[0]}; choose another --to") from error
        raise TenpercentError(f"{said}, or choose another --to") from error
    finally:
        remove_tree(temporary)


def place(moves: dict[Path, Path]) -> tuple[Path, ...]:
    """Move each finished temporary to its target, all of them or none, and return the targets."""
    done: list[Path] = []
    _note(moves)
    try:
        for temporary, target in moves.items():
            check_free(target)
            temporary.replace(target)
            done.append(target)
    except (OSError, UsageError):
        for target in done:
            remove_tree(target)
        raise
    return tuple(done)


# ---- remains of killed exports -----------------------------------------------------------------------------------


def clear_remains(target: Path) -> bool:
    """Remove the remains of killed exports to `target`: files not moved, and incomplete sets of moved ones.

    Returns:
        True where one of them had moved everything.
    """
    complete = False
    for temporary in remains(_short(target), "."):
        moves = _noted(temporary)
        placed = [
            Path(move["target"]) for move in moves if _identity(Path(move["target"])) == move["identity"]
        ]
        complete |= 0 < len(moves) == len(placed)
        if len(placed) < len(moves):
            for path in placed:
                remove_tree(path)
        log.info("removed what a killed export to %s left", target)
        remove_tree(temporary)
    return complete


def _short(target: Path) -> Path:
    """Return a path whose name leaves room for the additions of a temporary's name."""
    return target.with_name(shortened(target.name))


def _note(moves: dict[Path, Path]) -> None:
    """Record the pending moves, with the identity of each file, so that own files are recognised later."""
    noted = [
        {"target": str(target.absolute()), "identity": _identity(temporary)}
        for temporary, target in moves.items()
    ]
    note = next(iter(moves)).parent / MOVES
    with note.open("w", encoding="utf-8") as file:
        json.dump(noted, file)
        file.flush()
        os.fsync(file.fileno())


def _noted(temporary: Path) -> list[dict[str, Any]]:
    try:
        return list(json.loads((temporary / MOVES).read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return []  # killed before it moved anything


def _identity(path: Path) -> list[int] | None:
    """Return the identity that a file or folder keeps when moved: place on the disk, time of change."""
    try:
        found = path.lstat()
    except OSError:
        return None
    return [found.st_dev, found.st_ino, found.st_mtime_ns]
