"""The test loss of training runs against that of random subsets of as many images and of the full set, as a table.

    python experiments/losses.py docs/evidence/fifth.parquet [--trials 3]

TABLE is the ``results.parquet`` of a run folder, or a copy of it. Points of fewer trials are left out. Below zero is
better; ± is half the 95% interval of a difference (Welch), after a mean the standard deviation.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import pyarrow.parquet as pq

from tenpercent.reporting.evidence.formats import NONE, loss_difference_text, loss_text, percent
from tenpercent.reporting.evidence.results import BASELINES, FULL, RANDOM, ArmResult, Evidence, gather


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
    """Return the heads and a line for each arm and fraction of at least so many trials, in columns."""
    cells = [("kept", "arm", "trials", "test loss", "vs. full", "vs. random")]
    for result in evidence.results:
        loss = result.summary("test_loss")
        if len(result.done) >= trials and loss is not None:
            random = None if result.arm in BASELINES else evidence.result(RANDOM, result.fraction)
            full = None if result.arm == FULL else evidence.full
            cells.append(
                (
                    percent(result.fraction),
                    result.name,
                    str(len(result.done)),
                    loss_text(loss),
                    against(result, full, trials),
                    against(result, random, trials),
                )
            )
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return [
        "  ".join(
            cell.ljust(width) if at == 1 else cell.rjust(width)
            for at, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in cells
    ]


def against(result: ArmResult, other: ArmResult | None, trials: int) -> str:
    """Return the difference in test loss, or a dash where the other has too few trials."""
    return NONE if other is None or len(other.done) < trials else loss_difference_text(result, other)


if __name__ == "__main__":
    main()
