"""Accuracies from the training runs of a run, shown beside the slider."""

from __future__ import annotations

import logging
from typing import Any

from ..data.store.results import read_results
from ..data.store.run_folder import RunFolder
from ..errors import TenpercentError

log = logging.getLogger("tenpercent")


def accuracy(run: RunFolder) -> list[dict[str, Any]]:
    """Return mean accuracy and its interval by arm and fraction, of the protocol with the most training runs."""
    from ..reporting.evidence.results import gather  # loads SciPy's statistics, which takes seconds

    try:
        table = read_results(run)
        found = () if table is None else gather(table)
    except TenpercentError as error:
        log.warning("the page shows no accuracies: %s", error)
        return []
    return [
        {
            "arm": result.arm,
            "layer": result.layer,
            "fraction": result.fraction,
            "trials": len(result.done),
            "mean": summary.mean,
            "low": summary.low,
            "high": summary.high,
        }
        for evidence in found[:1]
        for result in evidence.results
        if (summary := result.summary("accuracy")) is not None
    ]
