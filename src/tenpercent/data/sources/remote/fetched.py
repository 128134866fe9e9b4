"""Copies of remote files in the user's cache, of what is read as a whole: annotations, and vectors to be mapped."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from ....errors import SourceError, reason_of
from ...store.remains import TEMPORARY, held, remains, remove_tree
from .ahead import every
from .place import RemoteFile, RemotePath

LARGE = 64 * 2**20  # bytes; a larger file is never whole in memory


def cache_folder() -> Path:
    """Return the folder of what is kept of stores for the next command."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tenpercent"


def code_of(*texts: str) -> str:
    """Return a name in the cache for some texts."""
    return code_of_bytes("\0".join(texts).encode("utf-8", "surrogatepass"))


def code_of_bytes(content: bytes) -> str:
    """Return 32 hexadecimal digits for some bytes."""
    return hashlib.blake2b(content, digest_size=16).hexdigest()


def fetched(place: RemotePath, names: Sequence[str]) -> Path:
    """Return a folder with copies of some objects under their paths; what has not changed is not fetched again.

    Args:
        place: the folder of the objects.
        names: their paths in it, none of which leads out of it.

    Raises:
        SourceError: one can't be read, or the cache can't be written.
    """
    stamps = place.stamps(names)
    above = cache_folder() / "files" / code_of(str(place), *(names if len(names) == 1 else ()))
    kept = above / code_of(*names, *stamps)
    if all(stamps) and kept.is_dir():
        return kept
    temporary = above / f"{kept.name}.{os.getpid()}-{os.urandom(4).hex()}{TEMPORARY}"
    try:
        temporary.mkdir(parents=True)
        with held(temporary):
            _fetch(place, names, temporary)
            remove_tree(kept)
            temporary.rename(kept)
        for old in above.iterdir():  # of an earlier version, or of a killed command
            if old != kept and (old.suffix != TEMPORARY or old in remains(old.with_name(old.stem))):
                remove_tree(old)
    except FileNotFoundError as gone:
        raise SourceError(f"{gone.filename or place} is not there any more; run again") from None
    except OSError as error:
        raise SourceError(
            f"{place} can't be copied to {above} ({reason_of(error)}); free some space there, or set XDG_CACHE_HOME"
        ) from None
    finally:
        if temporary.is_dir():
            remove_tree(temporary)
    return kept


def _fetch(place: RemotePath, names: Sequence[str], to: Path) -> None:
    for name in names:
        (to / name).parent.mkdir(parents=True, exist_ok=True)
    large = [name for name in names if ((place / name).stat().st_size or 0) > LARGE]
    small = [name for name in names if name not in set(large)]
    every(lambda name: (to / name).write_bytes((place / name).read_bytes()), small)
    for name in large:
        with (to / name).open("wb") as file:
            shutil.copyfileobj(RemoteFile(place / name), file, 2**20)
