"""The proof on CIFAR-10, in order of importance: what is first is worth most when somebody stops.

    python experiments/proof.py --data FOLDER --out runs/cifar10 [--preset quick] [--until 1] [--to docs/evidence]

FOLDER holds CIFAR-10 as Parquet, with the splits train and test. The embedding is that of the network `fast-wide`
after 6 epochs of the preset `quick`, the training runs use `--preset`. Every step is a command that is printed,
and can be typed alone; called again, each resumes. With `--to` the table of all training runs, with the rows that each
was given as bits, is copied there as `cifar10.parquet`. Where such a table exists, its training runs are not repeated;
it is refused if it is of other images or settings. The embedding is trained again then, with its seed.
"""

from __future__ import annotations

import argparse
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pyarrow.parquet as pq

from tenpercent.data.store.files import read_metadata, write_table
from tenpercent.data.store.run_folder import RunFolder
from tenpercent.evaluation.results import Results
from tenpercent.evaluation.trials import Trial
from tenpercent.selection.stored import load_embeddings

EMBEDDING = "--split train --preset quick --network fast-wide --epochs 6"
STEPS = [
    "--keep 0.9 --trials 5 --arms full random semantic",
    "--keep 0.5 0.3 --trials 3 --arms full random semantic spread mixed",
    "--keep 0.95 0.8 0.7 --trials 3 --arms full random semantic",
    "--keep 0.95 0.9 0.8 --trials 3 --arms semantic --layer start middle",
    "--keep 0.9 0.5 --trials 3 --arms kcenter graph-remove semdedup",
]


def main() -> None:
    """Embed, evaluate step by step, report."""
    parser = arguments(__doc__, Path("runs/cifar10"), len(STEPS))
    parser.add_argument(
        "--preset", default="quick", help="of the training runs; paper-cifar where there is a GPU"
    )
    given = parser.parse_args()
    command("run", given.data, f"{EMBEDDING} --out {shlex.quote(str(given.out))}")
    steps = [f"--preset {given.preset} {step}" for step in STEPS[: given.until]]
    carry_out(given.out, steps, None if given.to is None else given.to / "cifar10.parquet")


def arguments(about: str | None, out: Path, steps: int, data: Path | None = None) -> argparse.ArgumentParser:
    """Return a parser for the data, the run folder, how many of the steps, and where the results go."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=data, required=data is None)
    parser.add_argument("--out", type=Path, default=out)
    parser.add_argument("--until", type=int, default=steps, help="how many of the steps")
    parser.add_argument("--to", type=Path, help="the folder that the results are to be copied to")
    return parser


def carry_out(run: Path, steps: Iterable[str], table: Path | None) -> None:
    """Evaluate a run step by step, from the table that exists if there is one, and copy the results there.

    What is there is copied as well where a step is interrupted (Ctrl-C).
    """
    if table is not None and table.exists():
        restore(run, table)
    for step in steps:
        try:
            command("evaluate", run, step)
        finally:
            if table is not None and (run / "results.parquet").exists():
                table.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(run / "results.parquet", table)
    command("report", run)


def restore(run: Path, table: Path) -> None:
    """Give a run the training runs of a table that it lacks. Which images an arm keeps is not compared."""
    about, folder = read_metadata(table), RunFolder.open(run)
    ours = f"{folder.source.fingerprint}-{load_embeddings(folder).origin}"
    if about["images"] != ours:
        raise SystemExit(f"{table} is of other images or settings than {run}; give another folder with --to")
    results = Results(folder, ours)
    results.folder.mkdir(exist_ok=True)
    rows = pq.read_table(table).replace_schema_metadata(None)
    for number, row in enumerate(rows.to_pylist()):
        trial = Trial(row["trial"], row["embedding"], row["layer"], row["fraction"], row["arm"])
        if not results.done(trial, row["protocol"]):
            write_table(results.path(trial, row["protocol"]), rows.slice(number, 1), about)


def command(name: str, path: Path, flags: str = "") -> None:
    """Print and run a command of tenpercent, and end where it fails."""
    print(f"tenpercent {name} {shlex.quote(str(path))} {flags}".rstrip(), flush=True)
    words = [name, str(path), *shlex.split(flags)]
    status = subprocess.run([sys.executable, "-m", "tenpercent", *words]).returncode
    if status:
        raise SystemExit(status)


if __name__ == "__main__":
    main()
