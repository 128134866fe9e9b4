"""On paper: what a clustering in pieces of 10 million to a billion vectors takes, by the formulas of the plan.

    python benchmarks/paper.py

The share of pairs left by the cells is that of the trained vectors in spread.json, extrapolated by its exponent; or
all, as of the pretrained ones. Machines are 16 of 16 CPUs and 128 GiB, of which half is used. The rate of a GPU is
assumed, from its data sheet, not measured.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tenpercent.errors import bytes_text, duration_text
from tenpercent.linkage.memory import MemoryBudgetError
from tenpercent.linkage.pieces.plan import Pieces
from tenpercent.tree.piece_forecast import NearPairs, PiecesForecast

SIZES, WIDTHS, MACHINES, CPUS, MEMORY = (10**7, 10**8, 10**9), (64, 512), 16, 16, 64 << 30
GPU_PRODUCT, GPU_FLOPS = (
    1e-11,
    4e14,
)  # assumed: seconds to test a product (30 bytes moved), bfloat16 operations a second


class Machines(NamedTuple):
    """How the work lies on the machines: tasks of each at once, and the pieces."""

    each: int
    pieces: Pieces


def divided(n: int, width: int) -> Machines:
    """Return the most tasks a machine that leave each of them enough memory."""
    for each in (CPUS >> k for k in range(5)):
        try:
            share = (1, MEMORY // each)
            return Machines(each, Pieces.of((n, width), 4, MACHINES * each, share, (CPUS, MEMORY)))
        except MemoryBudgetError:
            continue
    raise ValueError(f"{n:,} vectors of {width} values fit no machine")


def lines(spread: dict[str, Any]) -> list[str]:
    """Return the rows of the table."""
    (trained,) = (of for name, of in spread["sets"].items() if name.startswith("trained"))
    last, found = trained["rungs"][-1], []
    for n in SIZES:
        for width in WIDTHS:
            each, pieces = divided(n, width)
            cells = []
            for left in (last["left"] * (n / last["n"]) ** trained["exponent"], 1.0):
                centres = 1 << round(np.log2(1.4 * np.sqrt(n))) if left < 1 else 1
                search, machines = NearPairs(last["pairs"] * n, left, centres), MACHINES * each
                said = PiecesForecast.of((n, width), 4, search, pieces)
                rest = PiecesForecast.of((n, width), 4, search._replace(left=0.0), pieces)  # of CPUs
                compared = (said.products - rest.products) * (GPU_PRODUCT + 2 * width / GPU_FLOPS) / MACHINES
                times = said.seconds / machines, compared + rest.seconds / machines
                cells += [f"{2 * width * said.products:.0e}", *map(duration_text, times)]
            sizes = map(bytes_text, (4 * n * width, said.files, said.driver, said.task))
            vectors, files, driver, task = sizes
            found.append(
                f"| {n:,} × {width} | {vectors} | {' | '.join(cells)} | {each} of {task} | {driver} | {files} |"
            )
    return found


def page_table(spread: dict[str, Any]) -> str:
    """Return the table of docs/scale.md."""
    ways = "FLOP with cells | CPUs | GPUs | FLOP without | CPUs | GPUs"
    head = f"| vectors | file | {ways} | tasks a machine | driver | files |"
    return "\n".join([head, f"|{'---|' * 11}", *lines(spread)])


if __name__ == "__main__":
    print(page_table(json.loads((Path(__file__).parent / "spread.json").read_text(encoding="utf-8"))))
