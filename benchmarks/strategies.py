"""Cost of each strategy, and how far removed images are from their representatives: a table, as JSON and Markdown.

    python benchmarks/strategies.py --vectors VECTORS.npy --labels LABELS [--to docs/strategies.json]
        [--within class all] [--keep 0.9 0.5 0.1] [--strategies kcenter random …]

LABELS is .npy, or Parquet with a column `label`. Each row is one selection, timed with its representatives and
diameters, after a small one that compiles; a finished row is stored at once and not measured again while vectors,
versions and machine are the same. What draws has seed 0. `ccs` gets random scores (seed 0), so only its
seconds mean something.
"""

from __future__ import annotations

import argparse
import json
import resource
import time
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq

import tenpercent as tp
from tenpercent.data.store.environment import machine, versions
from tenpercent.selection.strategies.strategy import Strategy

WARM = 300  # images of the selection that compiles


def main() -> None:
    """Measure the rows that are missing, then print all of them."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--vectors", type=Path, required=True)
    parser.add_argument("--labels", type=Path, required=True)
    parser.add_argument("--to", type=Path, default=Path("docs/strategies.json"))
    parser.add_argument("--within", nargs="+", default=["class"], choices=["class", "all"])
    parser.add_argument("--keep", nargs="+", type=float, default=[0.9, 0.5, 0.1])
    parser.add_argument("--strategies", nargs="+", default=[str(name) for name in Strategy])
    arguments = parser.parse_args()
    vectors, labels = np.load(arguments.vectors), read_labels(arguments.labels)
    embeddings = tp.Embeddings.from_numpy(vectors, labels=labels)
    small = tp.Embeddings.from_numpy(vectors[:WARM], labels=labels[:WARM])
    about = {"embeddings": embeddings.origin, "versions": versions(), "machine": machine()}
    content = json.loads(arguments.to.read_text()) if arguments.to.exists() else {}
    rows: dict[str, dict[str, Any]] = content["rows"] if content.get("about") == about else {}
    for within in arguments.within:
        for name in arguments.strategies:
            for keep in arguments.keep:
                key = f"{name} {within} {keep:g}"
                if key in rows:
                    continue
                select(small, name, keep, within)
                rows[key] = measured(embeddings, name, keep, within)
                arguments.to.write_text(json.dumps({"about": about, "rows": rows}, indent=1) + "\n")
    print(json.dumps(about), f"seeds 0; {embeddings!r}", sep="\n")
    print(table(rows))


def read_labels(path: Path) -> npt.NDArray[Any]:
    """Return the labels in a file."""
    if path.suffix == ".npy":
        return np.asarray(np.load(path))
    return np.asarray(pq.read_table(path, columns=["label"])["label"].to_numpy())


def select(embeddings: tp.Embeddings, name: str, keep: float, within: str) -> tp.Selection:
    """Select with seed 0."""
    scored = name.startswith("ccs")
    scores = np.random.default_rng(0).random(len(embeddings)) if scored else None
    return tp.select_by(embeddings, keep, strategy=name, within=within, scores=scores)


def measured(embeddings: tp.Embeddings, name: str, keep: float, within: str) -> dict[str, Any]:
    """Return one row."""
    begun, used = time.perf_counter(), time.process_time()
    selection = select(embeddings, name, keep, within)
    seconds, processor = time.perf_counter() - begun, time.process_time() - used
    removed = selection.dissimilarity[~selection.kept_by_id]
    return {
        "strategy": name,
        "within": within,
        "keep": keep,
        "kept": len(selection.kept),
        "seconds": round(seconds, 2),
        "processor": round(processor, 2),
        "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,  # of the process until now
        "mean": float(removed.mean()),
        "max": float(removed.max()),
        "diameter": float(selection.group_diameter.max()),
    }


def table(rows: dict[str, dict[str, Any]]) -> str:
    """Return the rows as a table, a line a strategy: seconds, mean and max at each keep."""
    keeps = sorted({row["keep"] for row in rows.values()}, reverse=True)
    lines = [
        "| strategy | within | " + " | ".join(f"keep {k:g}: s (processor), mean, max" for k in keeps) + " |"
    ]
    lines.append("|---|---|" + "---|" * len(keeps))
    for name, within in dict.fromkeys((row["strategy"], row["within"]) for row in rows.values()):
        found = [rows.get(f"{name} {within} {k:g}") for k in keeps]
        cells = [cell(name, row) for row in found]
        lines.append(f"| `{name}` | {within} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def cell(name: str, row: dict[str, Any] | None) -> str:
    """Return one cell; of a choice by random scores only the seconds."""
    if row is None:
        return "not measured"
    far = "–, –" if name.startswith("ccs") else f"{row['mean']:.4f}, {row['max']:.3f}"
    return f"{row['seconds']:.1f} ({row['processor']:.1f}), {far}"


if __name__ == "__main__":
    main()
