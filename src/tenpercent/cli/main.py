"""The process: parse a command line, call the command, turn errors into one line and an exit status."""

from __future__ import annotations

import argparse
import errno
import io
import logging
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

from ..errors import TenpercentError, UsageError, cant_write, disk_remedy, one_line, reason_of
from .named_options import placed
from .parser import parse

log = logging.getLogger("tenpercent")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status: 0, 1 for a failure, 2 for a usage error, 130 for ctrl-C."""
    arguments = parse(argv)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(message)s"))
    log.addHandler(handler)
    before = log.level
    log.setLevel(logging.ERROR if arguments.quiet else logging.INFO)
    logging.getLogger("matplotlib").setLevel(logging.ERROR)  # it warns where the home folder can't be written
    try:
        return _call(arguments)
    finally:
        log.removeHandler(handler)
        log.setLevel(before)


def _call(arguments: argparse.Namespace) -> int:
    """Run a command; turn an expected error into one line and an exit status."""
    from ..progress import quiet

    try:
        with quiet(bool(arguments.quiet)), _confirmed(arguments):
            arguments.function(arguments)
    except TenpercentError as error:
        return _fail(placed(str(error), arguments.command), error.exit_status)
    except KeyboardInterrupt:
        return _fail("stopped; the same command resumes", 130)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except MemoryError:
        return _fail("out of memory; close other programs, or take a smaller source", 1)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EACCES, errno.EROFS, errno.EDQUOT, errno.EMFILE):
            raise
        if error.filename:
            return _fail(f"{cant_write(Path(str(error.filename)), error)}, or choose another folder", 1)
        return _fail(f"{reason_of(error)}; {disk_remedy(error)}, or choose another folder", 1)
    return 0


@contextmanager
def _confirmed(arguments: argparse.Namespace) -> Iterator[None]:
    """Let --yes confirm a command's question, or else a person at a terminal."""
    if not hasattr(arguments, "yes"):
        yield
        return
    from ..selection.confirmation import confirmed_by

    with confirmed_by(log.warning if arguments.yes else _confirm):
        yield


def _confirm(said: str) -> None:
    """Ask whether to continue.

    Raises:
        UsageError: the answer is no, or there is no terminal to answer at; nothing was stored.
    """
    if sys.stdin is not None and sys.stdin.isatty() and sys.stderr.isatty():
        print(f"{said}.\nContinue? [y/N] ", end="", file=sys.stderr, flush=True)
        if sys.stdin.readline().strip().lower() in ("y", "yes"):
            return
    raise UsageError(f"{said}. Nothing was selected; to continue anyway, give --yes")


def _fail(message: str, status: int) -> int:
    print(f"tenpercent: error: {one_line(message)}", file=sys.stderr)
    return status


def entry_point() -> NoReturn:
    """Run the ``tenpercent`` command."""
    if (encoding := sys.getfilesystemencoding()) != "utf-8":  # a run folder would seem damaged
        sys.exit(_fail(f"file names are encoded as {encoding} here, not utf-8; set PYTHONUTF8=1", 2))
    if isinstance(sys.stdout, io.TextIOWrapper):  # a name that the terminal's encoding lacks stops no command
        sys.stdout.reconfigure(errors="backslashreplace")
    sys.exit(main())
