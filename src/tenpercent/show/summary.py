"""A run in a few lines for the terminal."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa

from ..images.taken import describe_taken
from ..select.selection import Selection
from ..store.left_out import read_held_out, read_rejected
from ..store.results import read_results
from ..store.run import RunFolder, Stage, flat


def describe_selection(selection: Selection) -> str:
    """Return what was found in two lines and the selection's notes."""
    n, removed = len(selection.ids), int(np.count_nonzero(~selection.kept_by_id))
    sizes = selection.group_size[selection.group_size > 1]
    if not removed:
        found = [f"All {n:,} images are kept: nothing was removed at this cut."]
    else:
        groups = len(np.unique(selection.group[~selection.kept_by_id]))
        form = "They form 1 redundant group" if groups == 1 else f"They form {groups:,} redundant groups"
        stood_for = ~selection.kept_by_id & (selection.representative >= 0)
        farthest = float(selection.dissimilarity[stood_for].max(initial=0.0))
        within = f"{farthest:.2g}".replace("-", "−")  # of a power of ten
        without = removed - int(stood_for.sum())
        but = f", but for {without:,} removed by decision with nothing kept in their place" if without else ""
        what = "show again what another image shows"
        if selection.strategy != "semantic":
            what = f"are left out by {selection.strategy}"
        found = [
            f"{removed:,} of {n:,} images ({removed / n:.1%}) {what}; {n - removed:,} are kept.",
            f"{form}, the largest of {int(sizes.max(initial=1)):,} images; every removed image "
            f"is within {within} (1 − cosine) of the one kept for it{but}.",
        ]
    return "\n".join([*found, *selection.notes])


def describe_run(run: str | Path) -> str:
    """Return what a finished run found and where its report is."""
    folder = RunFolder.open(run)
    lines = [describe_selection(Selection.load(folder.selection))]
    lines += describe_rejected(run)
    lines.append(f"See them: {folder.report}")
    return "\n".join(lines)


def describe_rejected(run: str | Path) -> list[str]:
    """Return in a line how many images of a run were rejected; no line for none."""
    folder = RunFolder.open(run)
    rejected, count = folder.rejected, _count(read_rejected(folder))
    return (
        [f"{_images(count)} rejected: unreadable, or without a usable vector; {rejected} says why."]
        if count
        else []
    )


def describe_left_out(run: str | Path) -> list[str]:
    """Return in a line each what an export leaves out beside what was removed: unreadable images, those held out."""
    held_out = _count(read_held_out(RunFolder.open(run)))
    said = [f"{_images(held_out)} held out for evaluation, and not exported."] if held_out else []
    return [*describe_rejected(run), *said]


def _count(table: pa.Table | None) -> int:
    return 0 if table is None else len(table)


def _images(count: int) -> str:
    return "1 image" if count == 1 else f"{count:,} images"


def describe_trainings(run: str | Path, margin: float | None = None) -> str:
    """Return what the trainings of a run show, of each protocol; empty where there are none.

    Args:
        run: a run folder.
        margin: the loss in points that is still accepted; None for the usual one.
    """
    from .evidence import describe_evidence  # brings SciPy's statistics, which other words do not need

    folder = RunFolder.open(run)
    table = read_results(folder)
    if not table:
        return ""
    content = folder.read()
    return describe_evidence(table, margin, content["source"]["class_names"], content)


def describe_folder(run: str | Path) -> str:
    """Return what a run folder holds and what made it, a line a stage."""
    folder = RunFolder.open(run)
    content = folder.read()
    source = content["source"]
    lines = [f"source   {source['spec']}: {describe_taken(source)}"]
    for stage in Stage:
        found = content["stages"].get(stage)
        if found is None:
            lines.append(f"{stage:<8} not finished")
            continue
        settings = ", ".join(
            f"{key} {value}" for key, value in sorted(flat(found["settings"]).items()) if value is not None
        )
        counts = [
            f"{found[name]:,} {name}" for name in ("rejected", "merges", "kept", "removed") if name in found
        ]
        said = ", ".join([*counts, settings] if settings else counts)
        lines.append(f"{stage:<8} {found['finished']}, {found['seconds']:.1f} s{': ' if said else ''}{said}")
    return "\n".join(lines)
