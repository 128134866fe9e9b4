"""Errors of the package, as a tree.

    TenpercentError                exit status 1
    ├── UsageError                 2  an argument or its value: says the value, the limit and the remedy
    │   ├── SourceError            2  a source that is missing, empty or not of the stated kind
    │   └── MissingExtraError      2  an optional dependency that is not installed: says the command
    ├── TrainingFailedError        1  a training run whose loss is nan or infinite: marked, and the others continue
    ├── MemoryBudgetError          1  clustering needs more memory than there is: says what fits (`linkage/memory.py`)
    └── RunFolderError             1  a run folder that can't be used
        ├── LockedError            1  another process works on the same stage: says which
        └── StageError             1  a stage that has not run yet, or was made by something else
            └── OtherOriginError   1  embeddings of other settings or other images (`embedding/origin.py`)

Each message is one line that names the value, the limit and the remedy.
"""

from __future__ import annotations

import copyreg
import errno
import importlib
import importlib.util
import math
import os
import re
import shlex
import shutil
from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path
from types import ModuleType
from typing import Any

_FLAG = re.compile(r"(?<![\w-])--([a-z][a-z-]+)")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2028\u2029\u2066-\u2069\ud800-\udfff]")
_IMAGE = re.compile(r"(?<![\w.-])(an )?(image)(?=s?\b(?!-))", re.IGNORECASE)
# On the web a name alone may be a token; az://CONTAINER@ACCOUNT is none.
_PASSWORD = re.compile(
    r"(?<=://)[^/@\s]*:[^/@\s]*@|(?<=\bhttps://)[^/@\s]+@|(?<=\bhttp://)[^/@\s]+@", re.IGNORECASE
)
_QUERY = re.compile(r"(\bhttps?://[^\s'\"?]*)\?[^\s'\"]*", re.IGNORECASE)  # which may be a signature
_COMMAND = re.compile(r"\b(?:tenpercent|ray|pip) [a-z]+\b[^;]*")  # its flags are its own


class TenpercentError(Exception):
    """Base of all errors: one line for a person, never a traceback; a note names the arguments for a program."""

    exit_status = 1

    def __init__(self, *said: object) -> None:
        said = tuple(without_secrets(one) if isinstance(one, str) else one for one in said)
        super().__init__(*said)
        if flags := flags_named(" ".join(map(str, said))):
            names = ", ".join(flag.replace("-", "_") for flag in flags)
            self.add_note(
                f"In Python, as arguments, or as fields of SourceOptions, Cut and the embedder: {names}"
            )

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the message and attributes: classes below take other arguments than the message."""
        return copyreg.__newobj__, (type(self), *self.args), self.__dict__  # type: ignore[attr-defined]


class UsageError(TenpercentError, ValueError):
    """An argument has a value that can't be used."""

    exit_status = 2


class SourceError(UsageError):
    """A source is missing, empty, unreadable or not of the stated kind."""


class MissingExtraError(UsageError, ImportError):
    """An optional dependency is not installed."""


class TrainingFailedError(TenpercentError):
    """The loss of a training run became nan or infinite."""


class RunFolderError(TenpercentError):
    """A run folder can't be used: another format, another source, not writable."""


class LockedError(RunFolderError):
    """Another process holds the stage."""


class StageError(RunFolderError):
    """A stage is missing, or its files were made with other settings."""


def flags_named(message: str) -> list[str]:
    """Return the options that a message names without dashes, each once, but for those of commands in it."""
    return list(dict.fromkeys(_FLAG.findall(_COMMAND.sub("", message))))


def nearest(name: object, known: Iterable[str], limit: int = 3) -> str:
    """Return ``"; did you mean a, b?"`` for the known names closest to `name`, or an empty string."""
    found = get_close_matches(str(name), list(known), n=limit, cutoff=0.6)
    return f"; did you mean {', '.join(map(shown, found))}?" if found else ""


def one_line(error: object, most: int | None = None) -> str:
    """Return the text of an error without line breaks, at most `most` characters; its kind where it has no text."""
    return shown(" ".join(str(error).split()))[:most] or type(error).__name__


def shown(name: object) -> str:
    """Return a name with control characters escaped: it stays on its line, and no terminal obeys it."""
    return _CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode(), str(name))


def without_secrets(text: str) -> str:
    """Return an address, or a text with addresses, without passwords and without the queries of web addresses."""
    return _QUERY.sub(r"\1", _PASSWORD.sub("", text))


def quoted(path: object) -> str:
    """Return a path as an argument of a command that a person copies into a shell."""
    return shlex.quote(str(path))


def counted(n: int, noun: str) -> str:
    """Return a number with its noun: ``1 image``, ``1,437 images``, ``2 classes``."""
    plural = f"{noun}es" if noun.endswith(("s", "x", "sh", "tch")) else f"{noun}s"
    return f"{n:,} {noun if n == 1 else plural}"


def worded(text: str, noun: str) -> str:
    """Return a text of this package, without names of others, that says another noun than "image": object or frame."""

    def put(found: re.Match[str]) -> str:
        article, word = found.groups(default="")
        a = article and article[0] + ("n " if noun[0] in "aeiou" else " ")
        return a + (noun.capitalize() if word[0].isupper() else noun)

    return text if noun == "image" else _IMAGE.sub(put, text)


def bytes_text(size: float) -> str:
    """Return a number of bytes in words, rounded up: ``9.5 GiB``; without the space it suits ``--memory``."""
    for unit, least in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if size >= least:
            tenths = math.ceil(10 * size / least)
            return f"{tenths / 10:g} {unit}" if tenths < 100 else f"{math.ceil(size / least)} {unit}"
    return f"{math.ceil(size)} B"


def duration_text(seconds: float) -> str:
    """Return a duration in words: ``0.4 s``, ``31 s``, ``4.2 min``, ``1.9 h`` or ``354 days``."""
    if seconds < 100:
        return f"{seconds:.0f} s" if seconds >= 10 else f"{round(max(seconds, 0.1), 1):g} s"
    if seconds < 360_000:
        return f"{round(seconds / 60, 1):g} min" if seconds < 5400 else f"{round(seconds / 3600, 1):g} h"
    days = seconds / 86_400
    return f"{days:.0f} days" if days >= 10 else f"{round(days, 1):g} days"


def reason_of(error: Exception) -> str:
    """Return the reason why something can't be read or written, without the number and path of an `OSError`."""
    return one_line((error.strerror if isinstance(error, OSError) else None) or error)


def cant_write(path: Path, error: OSError) -> str:
    """Return the line on a file that can't be written: path, reason, what is free on a full disk, remedy."""
    reason, free = os.strerror(error.errno) if error.errno else one_line(error), ""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        place = next((folder for folder in path.parents if folder.is_dir()), Path.cwd())
        free = f" ({bytes_text(shutil.disk_usage(place).free)} free)"
    return f"can't write {path}: {reason}{free}; {disk_remedy(error)}"


def disk_remedy(error: OSError) -> str:
    """Return the remedy for a file that can't be written: a full disk, missing rights, too many open files."""
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return "make the folder writable"
    if error.errno in (errno.EMFILE, errno.ENFILE):
        return "allow more open files (ulimit -n)"
    if error.errno == errno.ENAMETOOLONG:
        return "choose a shorter name"
    if error.errno in (errno.EISDIR, errno.ENOTEMPTY, errno.EEXIST):
        return "move away the folder of that name"
    if error.errno == errno.ENOTDIR:
        return "move away the file in the place of its folder"
    return "free some space there"


def require(module: str, extra: str = "") -> ModuleType:
    """Import `module`, or raise `MissingExtraError` naming the extra that brings it, or else its package."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        root = module.partition(".")[0]
        if error.name is not None and error.name.partition(".")[0] != root:
            raise  # the module is installed, but something it needs is broken: show that
        raise _missing(root, extra) from None


def require_installed(package: str, extra: str) -> None:
    """Raise `MissingExtraError` where a package is not installed; it is not imported, which may take seconds."""
    if importlib.util.find_spec(package) is None:
        raise _missing(package, extra)


def _missing(package: str, extra: str) -> MissingExtraError:
    return MissingExtraError(
        f"{package} is not installed; install it with: pip install {repr(f'tenpercent[{extra}]') if extra else package}"
    )
