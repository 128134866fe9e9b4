"""Limits on redundant images and leaking test images, and whether a run keeps them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from ..data.sources.options import SourceOptions
from ..data.store.records import SEMANTIC, CutSettings
from ..data.store.run_folder import RunFolder, Stage
from ..errors import TenpercentError, UsageError, counted, quoted
from ..tree.cut import Cut, checked_threshold

if TYPE_CHECKING:
    from ..selection.selection import Selection

SHOWN = 5  # groups, or leaking images, that a result names


class LimitError(TenpercentError):
    """A limit is exceeded: exit status 1."""


@dataclass(frozen=True)
class Limits:
    """Limits that a run is to keep.

    Attributes:
        redundant: the largest share of images that may be redundant, in [0, 1]; None for any.
        threshold: the dissimilarity up to which images are redundant; None for that of the run's own selection.
        leaks: the most test images that may have a near-duplicate among the run's; None for any.

    Raises:
        UsageError: a value out of its range, a threshold beside no share, or no limit.
    """

    redundant: float | None = None
    threshold: float | None = None
    leaks: int | None = None

    def __post_init__(self) -> None:
        if self.redundant is None and self.leaks is None:
            raise UsageError("there is no limit to check; give --max-redundant 0.05, --max-leaks 0 or both")
        if self.redundant is not None and not (math.isfinite(self.redundant) and 0 <= self.redundant <= 1):
            percent = (
                f"; for {self.redundant:g} percent give {self.redundant:g}%" if self.redundant > 1 else ""
            )
            raise UsageError(
                f"--max-redundant is {self.redundant:g}; it must be a fraction from 0 to 1{percent}"
            )
        if self.leaks is not None and self.leaks < 0:
            raise UsageError(f"--max-leaks is {self.leaks}; it must be a whole number, 0 or more")
        if self.threshold is not None:
            if self.redundant is None:
                raise UsageError(
                    f"--threshold {self.threshold:g} is for --max-redundant; give both, or leave it out"
                )
            checked_threshold(self.threshold)


@dataclass(frozen=True)
class Outcome:
    """What was found of one limit.

    Attributes:
        name: what is limited: ``redundant images`` or ``leaking test images``, or objects or frames.
        kept: whether the limit is kept.
        found: what was found, in words.
        limit: the limit, in words.
        examples: some of what was found, a line each.
    """

    name: str
    kept: bool
    found: str
    limit: str
    examples: tuple[str, ...]

    def __str__(self) -> str:
        return f"{'passed' if self.kept else 'FAILED'}: {self.found}; {self.limit}"


def check_redundant(run: str | Path, limits: Limits) -> Outcome:
    """Count the images of a run that its tree, cut at the threshold, makes redundant; nothing is stored.

    Args:
        run: a clustered run folder; its decisions hold.
        limits: with a share.

    Raises:
        UsageError: the run's own selection was not cut by a threshold, and none is given.
        StageError: the run is not clustered yet.
    """
    from ..selection.by_tree import select
    from ..selection.stored import OpenRun

    assert limits.redundant is not None
    opened = OpenRun.open(run)
    threshold = (
        _own_threshold(opened.folder) if limits.threshold is None else checked_threshold(limits.threshold)
    )
    selection = select(opened.decided(), Cut(threshold=threshold))
    n, removed, noun = len(selection), len(selection.removed), opened.folder.source.noun
    return Outcome(
        f"redundant {noun}s",
        removed / n <= limits.redundant,
        f"{removed:,} of {counted(n, noun)} ({100 * removed / n:.4g}%) are redundant up to {threshold:g}",
        f"at most {100 * limits.redundant:.4g}% may be",
        tuple(_groups(selection)),
    )


def check_leaks(
    run: str | Path,
    limits: Limits,
    test: str | Path | None,
    options: SourceOptions,
    out: str | Path,
    *,
    reread: bool = False,
) -> Outcome:
    """Count the test images that have a near-duplicate among those of a run: see `leakage.find.leaks`.

    Args:
        run: a run folder.
        limits: with a number of leaks.
        test: the test set; None for the test split of the run's own source.
        options: of the test set.
        out: the folder for the page that shows them, and for new embeddings.
        reread: embed a test set anew that has changed since.
    """
    from ..leakage.find import leaks

    assert limits.leaks is not None
    found = leaks(run, test, test_options=options, out=out, reread=reread)
    ids, pairs = found.ids.tolist(), found.pairs
    others = found.train.embeddings.ids[pairs.j[found.surest]].tolist()
    noun = found.noun
    return Outcome(
        f"leaking test {noun}s",
        len(found) <= limits.leaks,
        f"{len(found):,} of {counted(len(found.test), f'test {noun}')} have a near-duplicate in the training set",
        f"at most {limits.leaks:,} may",
        tuple(
            f"{one} in the test set, {other} in training"
            for one, other in islice(zip(ids, others, strict=True), SHOWN)
        ),
    )


def require_kept(run: str | Path, outcomes: list[Outcome]) -> None:
    """Raise `LimitError` where a limit is exceeded; the message says which, and by what."""
    if failed := [f"{one.found}, but {one.limit}" for one in outcomes if not one.kept]:
        raise LimitError(f"{run}: {'; '.join(failed)}")


def _own_threshold(folder: RunFolder) -> float:
    done = folder.stage(Stage.SELECT)
    settings: CutSettings | None = None if done is None else done.settings
    if settings is None or settings.strategy != SEMANTIC or settings.threshold is None:
        cut = "has no threshold of its own"
        if settings is not None and settings.keep is not None:
            cut = (
                f"was cut by keep {settings.keep:g}, a quota that goes whatever the {folder.source.noun}s are"
            )
        raise UsageError(
            f"{folder.path} {cut}; give --threshold, e.g. one found by: tenpercent calibrate {quoted(folder.path)}"
        )
    return settings.threshold


def _groups(selection: Selection) -> list[str]:
    """Return the largest groups, a line each: the image kept, and some that are redundant with it."""
    lines = []
    for positions in islice(selection.group_members(), SHOWN):
        first, *rest = (str(selection.ids[position]) for position in positions[: SHOWN + 1])
        more = f" and {len(positions) - len(rest) - 1:,} more" if len(positions) > SHOWN + 1 else ""
        lines.append(f"{first}: {', '.join(rest)}{more}")
    return lines
