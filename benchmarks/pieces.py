"""All vectors together in pieces, beside the engine in memory: seconds, and the largest memory of any one process.

    python benchmarks/pieces.py --data FOLDER [--rows 300000 1300000 3000000] [--keep 0.9] [--workers 2] [--memory 1.5]
                                [--json FILE]

A measurement that was killed resumes: what is done is kept in --scratch, also the tasks of an unfinished clustering in
pieces, of which then only what was left is measured, as "resumed" in the JSON says.

The vectors are made of CIFAR-10's (`made.py`), once. The two engines work on one file, one after the other, each in a
process of its own and, in pieces, its workers; both have as many CPUs. Memory is RssAnon, looked at every 20 ms: what
no file can bring back, so without the vectors, which both map. The merges must be the same bytes. The last line is the
law of growth: the exponents over the sizes. In brackets are the seconds of CPUs, those to start all processes among
them, which say more on a busy machine.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from made import more_rows, near_neighbours, real, write_rows

from tenpercent.linkage.pieces.plan import Pieces
from tenpercent.tree.piece_forecast import NearPairs, PiecesForecast

EVERY = 0.02  # seconds between two looks at the memory
GIB = 1 << 30


def anonymous(process: psutil.Process) -> int:
    """Return the bytes of a process that are no file's; 0 for one that has ended."""
    try:
        status = Path(f"/proc/{process.pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return next(
        (int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("RssAnon")), 0
    )


class Peaks(threading.Thread):
    """The most memory of this process, and of each of those it started."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.most: dict[int, int] = {}
        self._over = threading.Event()

    def run(self) -> None:
        me = psutil.Process()
        while not self._over.wait(EVERY):
            for one in (me, *me.children(recursive=True)):
                self.most[one.pid] = max(self.most.get(one.pid, 0), anonymous(one))

    def end(self) -> dict[str, int]:
        """Return the peaks of this process and of the largest of the others."""
        self._over.set()
        self.join()
        others = [size for pid, size in self.most.items() if pid != os.getpid()]
        return {"driver": self.most[os.getpid()], "worker": max(others, default=0)}


def one_engine(path: Path, merges: int, workers: int, memory: int, *, in_pieces: bool) -> dict[str, Any]:
    """Cluster once, and return seconds, memory and what came out."""
    from tenpercent.linkage.linkage import first_merges
    from tenpercent.linkage.memory import Resources
    from tenpercent.tasks.processes import OwnProcesses
    from tenpercent.tree.together import AllTogether, first_merges_by_tasks

    rows = np.load(path, mmap_mode="r")
    peaks, said = Peaks(), {}
    peaks.start()
    begun = time.perf_counter()
    if in_pieces:
        folder, each = path.with_suffix(f".{merges}"), (1, memory)
        resumed = folder.exists()
        folder.mkdir(exist_ok=True)
        pieces = Pieces.of(rows.shape, rows.itemsize, workers, each, each)
        runner = OwnProcesses(workers)  # also more than there are CPUs
        found = first_merges_by_tasks(AllTogether(path, merges=merges), pieces, folder, runner)
        runner.end()
        seconds = time.perf_counter() - begun
        files = [file for file in folder.rglob("*") if file.is_file()]
        said = {"groups": pieces.groups, "files": sum(file.stat().st_size for file in files)}
        if resumed:
            said["resumed"] = True  # seconds and memory are those since
        shutil.rmtree(folder)
    else:
        found = first_merges(rows, merges=merges, resources=Resources(threads=workers))
        seconds = time.perf_counter() - begun
    digest = hashlib.sha256(b"".join(part.tobytes() for part in (found.a, found.b, found.height)))
    used = sum(os.times()[:4])  # of this process, and of those it has waited for
    return {
        "seconds": seconds,
        "processor": used,
        **peaks.end(),
        **said,
        "merges": len(found),
        "sha256": digest.hexdigest(),
    }


def exponent(sizes: list[int], seconds: list[float]) -> float:
    """Return the slope of the seconds over the sizes, both as logarithms."""
    return float(np.polyfit(np.log(sizes), np.log(seconds), 1)[0])


def described(row: dict[str, Any]) -> str:
    """Return a rung as a line."""
    alone, pieces = row["memory"], row["pieces"]
    times, work = (pieces[what] / alone[what] for what in ("seconds", "processor"))
    one, driver, worker, files = (
        f"{part / GIB:.2f} GiB"
        for part in (alone["driver"], pieces["driver"], pieces["worker"], pieces["files"])
    )
    return (
        f"{row['n']:>12,} | in memory {alone['seconds']:.1f} s ({alone['processor']:.1f}), {one} | "
        f"in {pieces['groups']} groups {pieces['seconds']:.1f} s ({pieces['processor']:.1f}), driver {driver}, "
        f"worker {worker}, files {files} | {times:.2f} times ({work:.2f}), the same bytes"
    )


def page_table(measured: dict[str, Any]) -> str:
    """Return the table of docs/scale.md."""
    lines = [
        "| vectors | groups | CPU seconds, whole and in pieces | memory, whole | driver | largest worker | files |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in measured["rungs"]:
        alone, pieces = row["memory"], row["pieces"]
        sizes = (alone["driver"], pieces["driver"], pieces["worker"], pieces["files"])
        memory = " | ".join(f"{size / 2**20:,.0f} MiB" for size in sizes)
        lines.append(
            f"| {row['n']:,} | {pieces['groups']} | {alone['processor']:.0f} and {pieces['processor']:.0f} | {memory} |"
        )
    return "\n".join(lines)


def forecast(measured: dict[str, Any], row: dict[str, Any], width: int = 64) -> dict[str, float]:
    """Return what the plan of a dry run says of a measured size, by the names of what was measured."""
    each = (1, measured["memory"])
    pieces = Pieces.of((row["n"], width), 4, measured["workers"], each, each)
    said = PiecesForecast.of((row["n"], width), 4, NearPairs(**row["search"]), pieces)
    return {"processor": said.seconds, "files": said.files, "driver": said.driver, "worker": said.task}


def worst(measured: dict[str, Any]) -> float:
    """Return the largest factor between the plan and what was measured, at any size."""
    factors = [
        said / row["pieces"][name]
        for row in measured["rungs"]
        for name, said in forecast(measured, row).items()
    ]
    return max(max(factors), 1 / min(factors))


def main() -> None:
    """Measure the ladder."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--data", type=Path, help="folder of CIFAR-10's vectors; without it, scikit-learn's digits"
    )
    parser.add_argument("--rows", type=int, nargs="+", default=[300_000, 1_300_000, 3_000_000])
    parser.add_argument("--keep", type=float, default=0.9)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--memory", type=float, default=1.5, help="GiB of a worker")
    parser.add_argument("--scratch", type=Path, default=Path(tempfile.gettempdir()) / "tenpercent-pieces")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)
    given = parser.parse_args()
    memory = int(given.memory * GIB)
    if given.one:
        path, merges, engine = given.one
        print(
            json.dumps(
                one_engine(Path(path), int(merges), given.workers, memory, in_pieces=engine == "pieces")
            )
        )
        return
    given.scratch.mkdir(parents=True, exist_ok=True)
    vectors, labels = real(given.data)
    versions = f"Python {platform.python_version()}, numpy {np.__version__}"
    machine = f"{platform.machine()}, {psutil.cpu_count()} CPUs, {versions}"
    print(f"{machine}; {given.workers} workers of {given.memory:g} GiB, keep {given.keep}")
    rungs: list[dict[str, Any]] = []
    for n in given.rows:
        path = given.scratch / f"made-{vectors.shape[1]}-{n}.npy"
        if not path.exists():
            write_rows(path, (n, vectors.shape[1]), more_rows(vectors, near_neighbours(vectors, labels), n))
        merges = n - round(given.keep * n)
        row: dict[str, Any] = {"n": n, "search": NearPairs.of(np.load(path, mmap_mode="r"), merges)._asdict()}
        for engine in ("memory", "pieces"):
            done = path.with_suffix(f".{engine}-{merges}-{given.workers}-{memory}.json")
            if done.exists():
                row[engine] = json.loads(done.read_text())
                continue
            call = [sys.executable, __file__, "--one", str(path), str(merges), engine]
            call += ["--workers", str(given.workers), "--memory", str(given.memory)]
            found = subprocess.run(call, stdout=subprocess.PIPE, text=True, check=True)
            row[engine] = json.loads(found.stdout)
            done.write_text(found.stdout)
        assert row["memory"]["sha256"] == row["pieces"]["sha256"]
        rungs.append(row)
        print(described(row), flush=True)
    law = {}
    if len(rungs) > 1:
        sizes = [row["n"] for row in rungs]
        law = {
            engine: exponent(sizes, [row[engine]["processor"] for row in rungs])
            for engine in ("memory", "pieces")
        }
        print(
            "seconds of CPUs grow as", ", ".join(f"n^{power:.2f} ({engine})" for engine, power in law.items())
        )
    if given.json:
        about = {"machine": machine, "workers": given.workers, "memory": memory, "keep": given.keep}
        given.json.write_text(json.dumps({**about, "rungs": rungs, "exponents": law}, indent=2) + "\n")


if __name__ == "__main__":
    main()
