"""The questions of `tenpercent calibrate` in a terminal."""

from __future__ import annotations

from pathlib import Path

from ..calibration.calibration import Calibration, PairQuestion
from ..calibration.contact_sheet import write_contact_sheet
from ..data.sources.source import ImageSource
from ..errors import StageError, UsageError, shown
from ..selection.stored import OpenRun
from ..tree.gap import said_height

AT_ONCE = 6  # pairs of a contact sheet


def ask(run: Path) -> Calibration:
    """Ask about pairs until the threshold is found, or the person stops; answers are stored one by one."""
    calibration, sheet = Calibration.open(run), run / "calibration.png"
    images = _images(run)
    noun = calibration.merges.embeddings.noun
    print(
        f"Are the two {noun}s of a pair the same for your purpose? y yes, n no, u undo, q stop (answers are kept)."
    )
    while not calibration.done:
        batch, first = calibration.questions(AT_ONCE), len(calibration.answered) + 1
        if images is not None:
            rows = calibration.merges.embeddings.rows
            pairs = [
                (str(first + at), (int(rows[one.first]), int(rows[one.second])), calibration.ids(one))
                for at, one in enumerate(batch)
            ]
            write_contact_sheet(sheet, images, pairs)
            print(f"\nLook at {sheet}")
        at = 0
        while 0 <= at < len(batch) and not calibration.done:
            reply = _reply(first + at, calibration, batch[at])
            if reply == "q":
                return calibration
            calibration = (
                calibration.undo() if reply == "u" else calibration.answer(batch[at], same=reply == "y")
            )
            at += -1 if reply == "u" else 1
        print(f"So far: {_so_far(calibration)}")
    return calibration


def _reply(number: int, calibration: Calibration, question: PairQuestion) -> str:
    """Return y, n, u or q; the end of the input is q."""
    one, other = map(shown, calibration.ids(question))
    while True:
        try:
            reply = input(f"{number:>4}  {one}  |  {other}  [y/n/u/q] ").strip().lower()[:1]
        except EOFError:
            print()
            return "q"
        if reply and reply in "ynuq":
            return reply
        print("      y: the same, n: different, u: undo the last answer, q: stop")


def _so_far(calibration: Calibration) -> str:
    found = calibration.estimate
    return f"the same up to {said_height(found.threshold)} (90%: {said_height(found.low)} to {said_height(found.high)})"


def _images(run: Path) -> ImageSource | None:
    """Return the images of a run, as far as they still exist; None, and the reason, where there are none."""
    try:
        found = OpenRun.open(run).present()
    except (UsageError, StageError) as gone:
        print(f"No pictures, names alone: {gone}")
        return None
    if found is None:
        print("This run was made of vectors, so there are names alone.")
        return None
    return found[0]
