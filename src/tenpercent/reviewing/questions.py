"""Questions about pairs of images, and the threshold that the answers suggest."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from ..calibration.calibration import MOST, Calibration
from ..calibration.estimate import FEWEST
from .decide import check_writable
from .listing import with_missing
from .session import RunSession
from .views import image_name


def calibration_view(session: RunSession) -> dict[str, Any]:
    """Return the next pair to ask about, and the estimate so far.

    Raises:
        RequestError: the decisions can't be read.
        UsageError: the tree has no merges of unequal images.
    """
    state = session.state
    check_writable(state)
    calibration = Calibration(state.merges, session.log)
    found, done = calibration.estimate, calibration.done
    pair = [] if done else [place for one in calibration.questions(1) for place in (one.first, one.second)]
    return {
        **{name: value for name, value in asdict(found).items() if name != "folder"},
        "beyond": found.beyond,
        "below": found.below,
        "pair": with_missing(state, [image_name(state, position) for position in pair]),
        "done": done,
        "range": [FEWEST, MOST],
        "last": calibration.last,
    }
