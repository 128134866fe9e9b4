"""Seconds and memory of the stages beside the clustering, at many vectors, each in a process of its own.

    python benchmarks/stages.py [--rows 1300000 3000000 10000000] [--keep 0.9] [--stages STAGE …] [--scratch FOLDER]
                                [--again STAGE …] [--json FILE]

The vectors are random ones of 64 values, and a row is merged with the one after it until as many are left as are kept:
that takes no time, and leaves as many merges and groups to the stages that follow as a clustering does, which
`pieces.py` measures. A stage whose files are there is not done again, so a killed measurement resumes; `--again`
measures one anew. Memory is what no file can bring back (`pieces.py`).
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from made import Rows, write_rows
from pieces import Peaks

STAGES = ("embed", "merges", "select", "report")
SAID = {"embed": "open and check", "select": "select", "report": "report"}
WIDTH, ROWS = 64, 100_000  # values of a vector; vectors made at a time


def random_rows(n: int) -> Iterator[Rows]:
    """Yield n random rows, some at a time."""
    random = np.random.default_rng(0)
    for start in range(0, n, ROWS):
        yield random.standard_normal((min(ROWS, n - start), WIDTH), dtype=np.float32)


def store_pairs(run: Path, keep: float) -> None:
    """Store merges of neighbours in the file."""
    from tenpercent.data.store.run_folder import RunFolder
    from tenpercent.progress import Stopwatch
    from tenpercent.selection.stage import store_merges
    from tenpercent.selection.stored import load_embeddings
    from tenpercent.tree.merges import uncut

    folder = RunFolder.open(run)
    embeddings = load_embeddings(folder)
    n = len(embeddings)
    a = 2 * np.arange(n - round(keep * n))
    height = np.linspace(0.01, 0.1, len(a))
    merges = replace(uncut(embeddings, "all"), a=a, b=a + 1, height=height, complete_to=height[-1:])
    store_merges(folder, merges, Stopwatch(), keep=keep, threshold=None)


def one_stage(stage: str, path: Path, run: Path, keep: float) -> dict[str, Any]:
    """Do one stage as the command of its name does."""
    import tenpercent as tp

    do = {
        "embed": partial(tp.embed, path, out=run),
        "merges": partial(store_pairs, run, keep),
        "select": partial(tp.select, run, keep=keep),
        "report": partial(tp.report, run),
    }[stage]
    peaks, begun = Peaks(), time.perf_counter()
    peaks.start()
    do()
    seconds = time.perf_counter() - begun
    return {"seconds": seconds, "processor": sum(os.times()[:4]), "memory": peaks.end()["driver"]}


def page_table(measured: dict[str, Any]) -> str:
    """Return the table of docs/scale.md."""
    lines = [f"| vectors | {' | '.join(SAID.values())} |", f"|---|{'---|' * len(SAID)}"]
    for row in measured["rungs"]:
        cells = [
            f"{row[stage]['processor']:.0f} s, {row[stage]['memory'] / 2**20:,.0f} MiB"
            if stage in row
            else "–"
            for stage in SAID
        ]
        lines.append(f"| {row['n']:,} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Measure the stages at each size."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rows", type=int, nargs="+", default=[1_300_000, 3_000_000, 10_000_000])
    parser.add_argument("--keep", type=float, default=0.9)
    parser.add_argument("--stages", nargs="+", choices=STAGES, default=STAGES, metavar="STAGE")
    parser.add_argument("--scratch", type=Path, default=Path(tempfile.gettempdir()) / "tenpercent-pieces")
    parser.add_argument("--again", nargs="*", choices=STAGES, default=[], metavar="STAGE")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        stage, path, run = given.one
        print(json.dumps(one_stage(stage, Path(path), Path(run), given.keep)))
        return
    given.scratch.mkdir(parents=True, exist_ok=True)
    versions = f"Python {platform.python_version()}, numpy {np.__version__}"
    machine = f"{platform.machine()}, {psutil.cpu_count()} CPUs, {versions}"
    print(f"{machine}; keep {given.keep}")
    measured: list[dict[str, Any]] = []
    for n in given.rows:
        path = given.scratch / f"random-{WIDTH}-{n}.npy"
        if not path.exists():
            write_rows(path, (n, WIDTH), random_rows(n))
        run, known = given.scratch / f"run-{n}", given.scratch / f"run-{n}.json"
        row: dict[str, Any] = json.loads(known.read_text()) if known.exists() else {"n": n}
        for stage in given.stages:
            if stage not in row or stage in given.again:
                call = [
                    sys.executable,
                    __file__,
                    "--one",
                    stage,
                    str(path),
                    str(run),
                    "--keep",
                    str(given.keep),
                ]
                done = subprocess.run(call, stdout=subprocess.PIPE, text=True, check=True)
                row[stage] = json.loads(done.stdout)
                known.write_text(json.dumps(row))
            found = row[stage]
            print(
                f"{n:>12,} {stage:8} {found['seconds']:7.1f} s ({found['processor']:.1f} of CPUs), "
                f"{found['memory'] / 2**20:,.0f} MiB",
                flush=True,
            )
        measured.append(row)
    if given.json:
        about = {"machine": machine, "keep": given.keep}
        given.json.write_text(json.dumps({**about, "rungs": measured}, indent=2) + "\n")


if __name__ == "__main__":
    main()
