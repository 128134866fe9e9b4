"""Outcome of the command: summary for the terminal, table, clean test set, exit status."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ..errors import TenpercentError, UsageError, counted
from ..exporting import Format
from ..exporting.formulas import formula_notes
from .clean import check_export
from .find import PAGE, TABLE
from .growth import threshold_rows
from .result import Leaks, check_table


class LeaksError(TenpercentError):
    """Error for more leaking test images than the caller allows: exit status 1."""


@dataclass(frozen=True)
class Outcome:
    """The output wanted beside the page.

    Attributes:
        table: the CSV or Parquet file for the pairs, or None.
        format: the format of the clean test set, or None.
        to: the target of the clean test set.
        allowed: the most test images that may leak; None for any number.
    """

    table: Path | None
    format: Format | None
    to: Path | None
    allowed: int | None


def check_outcome(table: Path | None, format: str | None, to: Path | None, allowed: int | None) -> Outcome:  # noqa: A002
    """Check the output wanted before anything is computed.

    Raises:
        UsageError: a suffix other than .csv or .parquet, an unknown format, no target, one that exists, a negative
            number.
    """
    if table is not None:
        check_table(table)
    if allowed is not None and allowed < 0:
        raise UsageError(f"--fail-above is {allowed}; it must be a whole number, 0 or more")
    if format is None and to is not None:
        raise UsageError(f"--to {to} says where, but not what to write; give --export FORMAT as well")
    return Outcome(table, None if format is None else check_export(format, to), to, allowed)


def finish(found: Leaks, outcome: Outcome) -> Iterator[str]:
    """Write the output wanted; yield a line on each.

    Raises:
        LeaksError: more test images leak than are allowed; everything is written by then.
    """
    if outcome.table is not None:
        found.save(outcome.table)
        yield f"{len(found.i):,} pairs: {outcome.table}"
        if outcome.table.suffix == ".csv":
            yield from formula_notes(found.table)
    if outcome.format is not None and outcome.to is not None:
        yield str(found.export(outcome.format, outcome.to))
    if outcome.allowed is not None and len(found) > outcome.allowed:
        raise LeaksError(
            f"{len(found):,} test images have a twin in the training set{_found_by(found)}, more than "
            f"--fail-above {outcome.allowed:,}; take them out of either set, or allow more"
        )


def describe_leaks(found: Leaks, out: Path | None) -> str:
    """Return the result in words, with the counts at several thresholds."""
    n, train = len(found.test), len(found.train)
    have = "has" if len(found) == 1 else "have"
    lines = [
        f"{len(found):,} of {n:,} test images ({found.share:.2%}) {have} a twin among {train:,} training images"
        f"{_found_by(found)}."
    ]
    lines += [said for said in (_labelled(found), describe_near(found)) if said]
    lines += ["", "  threshold   test images with a twin   training images among themselves"]
    for row in threshold_rows(found):
        mark = ">" if row.taken else " "
        lines.append(
            f"{mark} {row.threshold:<9.4g} {row.test:>12,} {row.test_share:>10.2%} {row.train_share:>22.2%}"
        )
    lines += ["", *found.notes]
    if out is not None:
        lines.append(f"See them: {out / PAGE}; all pairs: {out / TABLE}")
    return "\n".join(lines)


def _found_by(found: Leaks) -> str:
    """Return in words how the near-duplicates were found, each test image counted once, by the surest."""
    within = f"within {found.threshold:.4g} (1 − cosine)"
    if found.same_picture is None:
        same = f"; {found.equal_files:,} of them the same file" if found.equal_files else ""
        return f" {within}{same}"
    kinds = (
        (found.equal_files, "the same file"),
        (found.same_picture, "the same picture by perceptual hash"),
        (found.by_vector, f"by vector alone, {within if found.chosen else 'which are equal'}"),
    )
    said = [f"{count:,} {what}" for count, what in kinds if count]
    return f": {', '.join(said)}" if said else ""


def describe_near(found: Leaks) -> str:
    """Return in words the number of test images near by vector alone, which don't count; "" for none."""
    if found.near is None or not found.near.images:
        return ""
    threshold, verb = found.near.asked, "lies" if found.near.images == 1 else "lie"
    return (
        f"{counted(found.near.images, 'other test image')} {verb} within {threshold} of a training image by vector "
        "alone, as near as 1% of the training images are to another: look at them. "
        f"--threshold {threshold} counts them."
    )


def _labelled(found: Leaks) -> str:
    """Return in words the number of leaks with another label, as far as known."""
    if not len(found) or found.other_label is None:
        return ""
    count = found.other_label
    verb = f"{count:,} {'is' if count == 1 else 'are'}" if count else "None is"
    return (
        f"{verb} labelled otherwise than its twin."
        if count < 2
        else f"{verb} labelled otherwise than their twins."
    )
