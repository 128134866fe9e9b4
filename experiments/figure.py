"""Test accuracy against the fraction kept, of some arms of a table of results, as a picture for the docs.

    python experiments/figure.py docs/evidence/fifth.parquet --arms full semantic random spread

TABLE is the ``results.parquet`` of a run folder, or a copy of it; the picture lies beside it, as TABLE.png.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq

from tenpercent.reporting.evidence.figure import write_figure
from tenpercent.reporting.evidence.results import gather


def main() -> None:
    """Draw the arms of the protocol with the most training runs, of the last layer."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("table", type=Path)
    parser.add_argument("--arms", nargs="+", default=["full", "semantic", "random"])
    given = parser.parse_args()
    draw(given.table, given.arms)


def draw(table: Path, arms: list[str]) -> None:
    """Write the picture."""
    evidence = gather(pq.read_table(table))[0]
    chosen = tuple(result for result in evidence.results if result.name in arms)
    write_figure(table.with_suffix(""), [("", replace(evidence, results=chosen))])
    table.with_suffix(".svg").unlink()


if __name__ == "__main__":
    main()
