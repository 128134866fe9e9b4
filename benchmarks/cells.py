"""What cells cost where they can't help: the join with the cells it would choose, and with one cell, turn by turn.

    python benchmarks/cells.py [--points 20000] [--widths 64 512] [--rounds 5] [--threads 2]

The data are made with seed 0: directions uniform on the sphere; one tight ball, all within 1e-6 of each other; copies
that differ by 1e-9 only, and one point far from them; and, to see that cells do help elsewhere, 300 groups. (Rows that
are equal are one point before they are compared.) The radius is the one that a cut at keep 0.9 would begin with. It
prints the medians and their ratio, that of the processor time (which a busy machine disturbs less), and how many cells
were chosen.
"""

from __future__ import annotations

import argparse
import platform
import time
from statistics import median

import numpy as np
import numpy.typing as npt

from tenpercent.linkage.cells import make_cells, one_cell
from tenpercent.linkage.neighbors import neighbor_graph
from tenpercent.linkage.points import Points
from tenpercent.linkage.sample import sample_pairs

Rows = npt.NDArray[np.float64]


def uniform(n: int, width: int, rng: np.random.Generator) -> Rows:
    """Return directions that know no centre."""
    return rng.normal(size=(n, width))


def ball(n: int, width: int, rng: np.random.Generator) -> Rows:
    """Return one tight ball."""
    return rng.normal(size=width) + 1e-6 * rng.normal(size=(n, width))


def copies(n: int, width: int, rng: np.random.Generator) -> Rows:
    """Return copies of one vector that are not quite equal, and one other vector."""
    rows = rng.normal(size=width) + 1e-9 * rng.normal(size=(n, width))
    rows[n // 2] = rng.normal(size=width)
    return rows


def groups(n: int, width: int, rng: np.random.Generator) -> Rows:
    """Return points around 300 others."""
    return rng.normal(size=(300, width))[rng.integers(0, 300, size=n)] + 0.1 * rng.normal(size=(n, width))


def main() -> None:
    """Time all of them, and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--points", type=int, default=20_000)
    parser.add_argument("--widths", type=int, nargs="+", default=[64, 512])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    print(f"{platform.machine()}, Python {platform.python_version()}, numpy {np.__version__}; {arguments}")
    for make in (uniform, ball, copies, groups):
        for width in arguments.widths:
            points = Points.of(make(arguments.points, width, np.random.default_rng(0)))
            print(f"{make.__name__:8} × {width:4}: {compared(points, arguments.rounds, arguments.threads)}")


def compared(points: Points, rounds: int, threads: int) -> str:
    """Return what a join takes with the cells it chooses, and with one."""
    radius = sample_pairs(points).radius_of(0.1)
    chosen = len(make_cells(points, radius, len(points), threads))
    taken: tuple[list[tuple[float, float]], list[tuple[float, float]]] = ([], [])
    for _ in range(rounds + 1):
        for cells, times in zip((None, one_cell(points)), taken, strict=True):
            start = time.perf_counter(), time.process_time()
            graph = neighbor_graph(points, radius, cells=cells, threads=threads)
            times.append((time.perf_counter() - start[0], time.process_time() - start[1]))
    # The first time is for warming up.
    (own, own_cpu), (plain, plain_cpu) = (
        [median(t) for t in zip(*times[1:], strict=True)] for times in taken
    )
    return (
        f"{own:6.3f} s with {chosen:4} cells, {plain:6.3f} s with one, ratio {own / plain:.2f} "
        f"({own_cpu / plain_cpu:.2f} in processor time), {len(graph):,} pairs"
    )


if __name__ == "__main__":
    main()
