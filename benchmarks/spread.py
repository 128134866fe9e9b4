"""What a clustering in pieces has to compare: the share of pairs left by the cells, and the groups a point goes to.

    python benchmarks/spread.py trained=VECTORS.npy pretrained=RUN [--keep 0.9] [--groups 16] [--json FILE]

Of each set (an array, or a run folder) an eighth, a quarter, half and all of the rows are drawn, three times each but
the last. The exponent is that of the share over the number of rows, with the standard deviation over the draws: it is
what an extrapolation to more rows rests on.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tenpercent.data.store.embeddings import Embeddings
from tenpercent.linkage.cells import _share_left, drawn, k_means
from tenpercent.linkage.pieces.arrays import save
from tenpercent.linkage.pieces.homes import GroupedCells, homes, route, routed
from tenpercent.linkage.points import Points
from tenpercent.linkage.radii import first_radius
from tenpercent.linkage.sample import sample_pairs

PARTS, DRAWS = (8, 4, 2, 1), 3


def measured(rows: npt.NDArray[np.float32], keep: float, groups: int) -> dict[str, float]:
    """Measure one set of vectors."""
    n, points = len(rows), Points.of(rows)
    sample = sample_pairs(points)
    radius = first_radius(sample, n - round(keep * n))
    middle = points.take(drawn(n, 1024)).mean(axis=0)
    count = 1 << round(np.log2(1.4 * np.sqrt(n)))  # as `choose_centres`, which may find that they do not pay
    seen = points.seen_from(middle, drawn(n, max(8 * count, 2048))).singles
    centres = k_means(seen, count)
    left = _share_left(seen, centres, np.sqrt(2.0 * radius))
    with tempfile.TemporaryDirectory() as place:
        files = {
            name: Path(place) / name for name in ("rows", "dropped", "centres", "homes", "cells", "routes")
        }
        with files["rows"].open("wb") as file:
            np.save(file, rows)
        save(files["dropped"], np.empty(0, dtype=np.int64))
        save(files["centres"], centres, middle)
        shard = {"start": 0, "stop": n}
        homes((files["rows"], files["dropped"], files["centres"]), files["homes"], **shard)
        save(files["cells"], *GroupedCells.of(centres, middle, [files["homes"]], groups))
        inputs = (files["rows"], files["dropped"], files["cells"], files["homes"])
        route(inputs, files["routes"], radius=radius, **shard)
        guests = len(routed(files["routes"])[1].at)
    return {"n": n, "pairs": sample.pairs(radius) / n, "left": left, "visits": 1 + guests / n}


def exponent(found: list[dict[str, float]], name: str) -> float:
    """Return the slope of a value over the number of rows, both as logarithms."""
    n, value = np.log([one["n"] for one in found]), np.log([one[name] for one in found])
    return float(np.polyfit(n, value, 1)[0])


def page_table(sets: dict[str, Any]) -> str:
    """Return the table of docs/scale.md."""
    lines = [
        "| vectors | rows | near pairs a row | share of pairs left | groups of 16 a point goes to |",
        "|---|---|---|---|---|",
    ]
    for name, of in sets.items():
        for n in sorted({one["n"] for one in of["rungs"]}):
            same = [one for one in of["rungs"] if one["n"] == n]
            pairs, left, visits = (np.mean([one[key] for one in same]) for key in ("pairs", "left", "visits"))
            lines.append(f"| {name} | {n:,} | {pairs:.2f} | {100 * left:.1f}% | {visits:.1f} |")
    return "\n".join(lines)


def main() -> None:
    """Measure all sets."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("sets", nargs="+", metavar="NAME=PATH")
    parser.add_argument("--keep", type=float, default=0.9)
    parser.add_argument("--groups", type=int, default=16)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    sets: dict[str, Any] = {}
    for name, _, place in (word.partition("=") for word in given.sets):
        path = Path(place)
        rows = np.load(path) if path.suffix == ".npy" else np.asarray(Embeddings.load(path).vectors)
        rungs: list[dict[str, float]] = []
        for part in PARTS:
            for draw in range(DRAWS if part > 1 else 1):
                some = np.random.default_rng([draw, part]).permutation(len(rows))[: len(rows) // part]
                rungs.append(measured(rows[np.sort(some)], given.keep, given.groups))
                print(f"{name}: {rungs[-1]}", flush=True)
        powers = [exponent([*rungs[draw:-1:DRAWS], rungs[-1]], "left") for draw in range(DRAWS)]
        title = f"{name}, {rows.shape[1]:,} values"
        sets[title] = {
            "rungs": rungs,
            "exponent": float(np.mean(powers)),
            "std": float(np.std(powers, ddof=1)),
        }
        print(f"{title}: the share left grows as n^{np.mean(powers):.2f} ± {np.std(powers, ddof=1):.2f}")
    if given.json:
        given.json.write_text(
            json.dumps({"keep": given.keep, "groups": given.groups, "sets": sets}, indent=2) + "\n"
        )
    print(page_table(sets))


if __name__ == "__main__":
    main()
