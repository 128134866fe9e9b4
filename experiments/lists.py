"""What experiments with other choices of images share: their arguments, and lists as arms of an evaluation."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from proof import command

Ints = npt.NDArray[np.int64]


def arguments(about: str | None, keep: Sequence[float], trials: int) -> argparse.ArgumentParser:
    """Return a parser for a run, fractions and trials; training runs are those of experiments/fifth.py by default."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--keep", type=float, nargs="+", default=list(keep))
    parser.add_argument("--trials", type=int, default=trials)
    parser.add_argument("--preset", default="quick")
    parser.add_argument("--epochs", type=int, default=12)
    return parser


def evaluate(given: argparse.Namespace, lists: Mapping[str, Ints]) -> None:
    """Write lists of row numbers of the source to RUN/lists, and train on each of them and on what `semantic` keeps."""
    folder = given.run / "lists"
    folder.mkdir(exist_ok=True)
    arms = ["semantic"]
    for name, rows in lists.items():
        np.save(folder / f"{name}.npy", rows)
        arms.append(shlex.quote(f"{name}={folder / name}.npy"))
    flags = [f"--preset {given.preset} --epochs {given.epochs} --trials {given.trials}"]
    command("evaluate", given.run, " ".join([*flags, "--keep", *map(str, given.keep), "--arms", *arms]))
