"""Output of the command: the summary for the terminal, table, clean test set and exit status."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ..errors import TenpercentError, UsageError, counted, worded
from ..exporting import ExportFormat
from ..exporting.rows import formula_notes
from .clean import check_export
from .find import PAGE, TABLE
from .result import Leaks, check_table


class LeaksError(TenpercentError):
    """Error for more leaking test images than the caller allows: exit status 1."""


@dataclass(frozen=True)
class RequestedOutput:
    """The output wanted beside the page.

    Attributes:
        table: the CSV or Parquet file for the pairs, or None.
        format: the format of the clean test set, or None.
        to: the target of the clean test set.
        allowed: the most test images that may leak; None for any number.
    """

    table: Path | None
    format: ExportFormat | None
    to: Path | None
    allowed: int | None


def check_output(
    table: Path | None,
    format: str | None,  # noqa: A002
    to: Path | None,
    allowed: int | None,
) -> RequestedOutput:
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
    return RequestedOutput(table, None if format is None else check_export(format, to), to, allowed)


def write_output(found: Leaks, wanted: RequestedOutput) -> Iterator[str]:
    """Write the output wanted; yield a line on each.

    Raises:
        LeaksError: more test images leak than are allowed; everything is written by then.
    """
    if wanted.table is not None:
        found.save(wanted.table)
        yield f"{counted(len(found.pairs), 'pair')}: {wanted.table}"
        if wanted.table.suffix == ".csv":
            yield from formula_notes(found.table)
    if wanted.format is not None and wanted.to is not None:
        yield str(found.export(wanted.format, wanted.to))
    if wanted.allowed is not None and len(found) > wanted.allowed:
        raise LeaksError(
            f"{len(found):,} test {found.noun}s have a near-duplicate in the training set{_found_by(found)}, more than "
            f"--fail-above {wanted.allowed:,}; take them out of either set, or allow more"
        )


def describe_leaks(found: Leaks, out: Path | None) -> str:
    """Return the result in words."""
    n, train = len(found.test), len(found.train)
    have = "has" if len(found) == 1 else "have"
    lines = [
        f"{len(found):,} of {counted(n, f'test {found.noun}')} ({found.share:.2%}) {have} a near-duplicate among "
        f"{counted(train, f'training {found.noun}')}{_found_by(found)}."
    ]
    lines += [*_other_labels(found), *_similar(found), *found.notes]
    if out is not None:
        lines.append(f"Page: {out / PAGE}; all pairs: {out / TABLE}")
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


def _similar(found: Leaks) -> Iterator[str]:
    """Yield the number of test images with merely similar vectors, if there are any."""
    if found.similar is not None and found.similar.images:
        threshold, verb = found.similar.threshold, "is" if found.similar.images == 1 else "are"
        yield worded(
            f"{counted(found.similar.images, 'other test image')} {verb} within {threshold} of a training image by "
            "vector, as close as the closest 1% of the training images are to another one, but not the same picture by "
            f"perceptual hash. Review them on the page; --threshold {threshold} counts them.",
            found.noun,
        )


def _other_labels(found: Leaks) -> Iterator[str]:
    """Yield the number of leaks whose label differs, where labels compare."""
    if len(found) and found.other_label is not None:
        count = found.other_label
        have = "has a different label than its" if count == 1 else "have different labels than their"
        said = f"{count:,} of them {have}" if count else "None of them has a different label than its"
        yield f"{said} near-duplicate{'s' * (count > 1)}."
