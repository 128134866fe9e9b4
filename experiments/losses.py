"""The test loss of trainings against that of random subsets of as many images and of the full set, as a table.

    python experiments/losses.py docs/evidence/fifth.parquet [--trials 3]

TABLE is the ``results.parquet`` of a run folder, or a copy of it. Points of fewer trials are left out. Below zero is
better; ± is half the 95% interval of a difference (Welch), after a mean the standard deviation.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import pyarrow.parquet as pq

from tenpercent.reporting.evidence.findings import named
from tenpercent.reporting.evidence.gathered import BLIND, FULL, RANDOM, Evidence, Point, gather
from tenpercent.reporting.evidence.sentences import percent
from tenpercent.reporting.evidence.tables import NONE, loss_difference_text, loss_text


def main() -> None:
    """Print the table of each protocol."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("table", type=Path)
    parser.add_argument("--trials", type=int, default=3)
    given = parser.parse_args()
    for evidence in gather(pq.read_table(given.table)):
        print("\n".join([f"Protocol {evidence.protocol}:", *lines(evidence, given.trials)]))


def lines(evidence: Evidence, trials: int) -> list[str]:
    """Return the heads and a line for each point of at least so many trials, in columns."""
    cells = [("arm", "kept", "trials", "test loss", "against full", "against random")]
    for point in evidence.points:
        if len(point.done) >= trials and point.loss is not None:
            random = None if point.arm in BLIND else evidence.point(RANDOM, point.fraction)
            full = None if point.arm == FULL else evidence.full
            cells.append(
                (
                    named(point),
                    percent(point.fraction),
                    str(len(point.done)),
                    loss_text(point.loss),
                    _against(point, full, trials),
                    _against(point, random, trials),
                )
            )
    widths = [max(len(line[at]) for line in cells) for at in range(len(cells[0]))]
    return [
        "  ".join([line[0].ljust(widths[0]), *map(str.rjust, line[1:], widths[1:])]).rstrip()
        for line in cells
    ]


def _against(point: Point, other: Point | None, trials: int) -> str:
    return NONE if other is None or len(other.done) < trials else loss_difference_text(point, other)


if __name__ == "__main__":
    main()
