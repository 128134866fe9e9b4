"""What experiments with other choices of images share: their arguments, and lists as arms of an evaluation."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from proof import command

import tenpercent as tp
from tenpercent.data.store.run_folder import RunFolder
from tenpercent.selection.stored import load_merges

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
    """Train on lists of row numbers of the source, and on what `semantic` keeps."""
    arms = ["semantic", *write_lists(given.run, lists)]
    flags = [f"--preset {given.preset} --epochs {given.epochs} --trials {given.trials}"]
    command("evaluate", given.run, " ".join([*flags, "--keep", *map(str, given.keep), "--arms", *arms]))


def write_lists(run: Path, lists: Mapping[str, Ints]) -> list[str]:
    """Write lists of row numbers of the source to RUN/lists; return them as arms, for a command."""
    folder = run / "lists"
    folder.mkdir(exist_ok=True)
    for name, rows in lists.items():
        np.save(folder / f"{name}.npy", rows)
    return [shlex.quote(f"{name}={folder / name}.npy") for name in lists]


def choices_of(run: Path, name: str, keep: Sequence[float]) -> dict[str, Ints]:
    """Return the rows that the tree of another run of the same images keeps: ``NAME-90`` for 0.9, and so on."""
    merges = load_merges(RunFolder.open(run)).deepened(tp.Cut(min(keep)))
    selections = {f"{name}-{100 * each:g}": tp.select(merges, keep=each) for each in keep}
    return {named: found.source_rows[found.kept_by_id] for named, found in selections.items()}
