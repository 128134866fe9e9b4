"""Processes of their own that start at once: forked from one that has loaded what they need, which takes 5 s of CPU."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pytest

from tenpercent.cli.main import main

LOADED = (
    "exporting.targets",
    "embedding.extract",
    "embedding.training",
    "evaluation.stage",
    "evaluation.training",
    "reporting.report",
)
assert all(
    find_spec(f"tenpercent.{name}") for name in LOADED
)  # the process that loads them passes over what is not there
FORKING = "forkserver" in multiprocessing.get_all_start_methods()
_context = multiprocessing.get_context("forkserver" if FORKING else "spawn")
if FORKING:
    # Not this process: it may have threads, and locks that they hold.
    _context.set_forkserver_preload(
        ["torch._dynamo", "lightning_fabric", *(f"tenpercent.{name}" for name in LOADED), "warmed"]
    )


@dataclass(frozen=True)
class Started:
    """A process that runs, and where it writes what it says."""

    process: BaseProcess
    said: Path

    def ended(self) -> bool:
        """Whether it runs no more."""
        return not self.process.is_alive()

    def kill(self) -> None:
        """Kill it as ``kill -9`` does."""
        self.process.kill()
        self.process.join()

    def wait(self) -> subprocess.CompletedProcess[str]:
        """Wait until it ends."""
        self.process.join()
        out, err = ((self.said / name).read_text() for name in ("out", "err"))
        assert self.process.exitcode is not None
        return subprocess.CompletedProcess([], self.process.exitcode, out, err)


def start(function: Callable[..., None], *arguments: object) -> Started:
    """Call a function of a module in a process of its own, in this one's folder and environment."""
    said = Path(tempfile.mkdtemp())
    _have_it_loaded()
    words = (said, Path.cwd(), dict(os.environ), function, arguments)
    process = _context.Process(target=_child, args=words)
    process.start()
    return Started(process, said)


def start_command(*words: object) -> Started:
    """Start ``tenpercent`` with such arguments."""
    return start(_command, *map(str, words))


def command(*words: object) -> subprocess.CompletedProcess[str]:
    """Run ``tenpercent`` with such arguments until it ends."""
    return start_command(*words).wait()


@cache
def _have_it_loaded() -> None:
    """Start the process to fork from, which finds `warmed` by its environment alone."""
    if FORKING:
        from multiprocessing import forkserver

        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("PYTHONPATH", str(Path(__file__).parent), prepend=os.pathsep)
            forkserver.ensure_running()


def _child(
    said: Path, folder: Path, environment: dict[str, str], function: Callable[..., None], arguments: Any
) -> None:
    for number, name in ((1, "out"), (2, "err")):
        os.dup2(os.open(said / name, os.O_WRONLY | os.O_CREAT), number)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    function(*arguments)


def _command(*words: str) -> None:
    sys.exit(main(words))
